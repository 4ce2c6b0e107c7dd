//! An epoch that most of the registry takes back on the real contracts, and the books after it.

use assay_protocol::{id::EvmSignature, message::EpochHeader};

use super::{
    money::{committee, file},
    *,
};

const DELAY: u32 = 3_600;

/// Signatures of these validators against a header, rising by account.
fn votes(world: &World, header: &EpochHeader, of: &[u8]) -> Vec<(Account, EvmSignature)> {
    let digest = EpochHeader::overrule_digest(&header.hash(), &world.profile);
    let signed = of.iter().map(|n| {
        let key = EvmKey::from_secret(&key(*n)).expect("a key");
        (key.account(), key.sign(&digest))
    });
    let mut votes: Vec<_> = signed.collect();
    votes.sort_by_key(|v| v.0);
    votes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn most_of_the_registry_takes_an_epoch_and_its_children_back_and_the_books_agree() {
    let params = DeployParams {
        activation_delay: DELAY,
        unbond_seconds: 3 * u64::from(DELAY),
        ..dev_params()
    };
    // Three members; four validators come after the draw.
    let mut c = committee(3, params).await;
    for n in 11..=14 {
        let account = c.world.rich(&key(n), 500_000_000).await;
        let client = start(&c.world.profile, Some(key(n)), &MemoryStore::default());
        let stake = Amount(100_000_000);
        client
            .chain
            .register(4, stake, &node(n), Hash([n; 32]), account)
            .await
            .expect("registers");
        c.watcher
            .fact(
                "Registered",
                |f| matches!(f, ChainFact::Registered { account: a, .. } if *a == account),
            )
            .await;
    }
    let mut posted = Vec::new();
    for epoch in 1..=3 {
        let header = EpochHeader {
            records_root: Hash([epoch; 32]),
            ..c.header(&file(1, Vec::new()), &[]).await
        };
        let signatures = c.sign(&header, 2);
        c.poster.chain.submit(ChainCall::PostEpoch {
            header: header.clone(),
            settled: Vec::new(),
            signatures,
        });
        c.poster.done().await;
        posted.push(header);
    }
    let accused = &posted[1];
    let reporter = EvmKey::from_secret(&key(14)).expect("a key").account();
    let mut client = start(&c.world.profile, Some(key(14)), &MemoryStore::default());
    let before = client
        .chain
        .balances(reporter)
        .await
        .expect("answers")
        .token;
    let overrule = |header: &EpochHeader, of: &[u8]| ChainCall::Overrule {
        header: header.clone(),
        votes: votes(&c.world, header, of),
    };

    let few = overrule(accused, &[11, 12, 13]);
    client.chain.submit(few);
    let why = client.failure().await;
    assert!(
        why.contains("NoMajority { given: 300000000, all: 700000000 }"),
        "{why}"
    );
    let other = EpochHeader {
        view: 9,
        ..accused.clone()
    };
    client.chain.submit(overrule(&other, &[11, 12, 13, 14]));
    let why = client.failure().await;
    assert!(why.contains("not posted"), "{why}");

    let most = overrule(accused, &[11, 12, 13, 14]);
    client.chain.submit(most.clone());
    let done = client.done().await;
    assert!(
        matches!(&done, ChainEvent::Done { tx, .. } if *tx != Hash::ZERO),
        "{done:?}"
    );
    let fact = c.watcher.fact("EpochsRevoked", |f| {
        matches!(f, ChainFact::EpochsRevoked { .. })
    });
    assert_eq!(fact.await, ChainFact::EpochsRevoked { lane: 0, from: 2 });
    let head = client.chain.head(0).await.expect("answers");
    assert_eq!((head.epoch, head.header), (1, posted[0].hash()));
    let registry = c.world.profile.contracts.registry;
    let banned = |account: Account| {
        let account = account.into();
        c.world.view(registry, Registry::bannedCall { account })
    };
    // The posting names its two signers; the third member had not signed.
    assert_eq!(
        c.members.iter().map(|m| banned(*m)).collect::<Vec<_>>(),
        [true, true, false]
    );
    let slash = 100_000_000 * u128::from(dev_params().slash_bps) / 10_000;
    let after = client
        .chain
        .balances(reporter)
        .await
        .expect("answers")
        .token;
    assert_eq!(after.0 - before.0, 2 * (slash / 2));

    // The same wish again, by the same node and by another that heard of the votes later.
    client.chain.submit(most.clone());
    assert!(matches!(
        client.done().await,
        ChainEvent::Done { tx: Hash::ZERO, .. }
    ));
    let mut late = start(&c.world.profile, Some(key(13)), &MemoryStore::default());
    late.chain.submit(most);
    assert!(matches!(
        late.done().await,
        ChainEvent::Done { tx: Hash::ZERO, .. }
    ));

    let audit = audit(&c.world.profile).await.expect("the books agree");
    assert!(audit.accepted > 0);
}
