//! Members who signed two headers for one view, on the real contracts.

use assay_protocol::{id::EvmSignature, message::EpochHeader};

use super::{
    money::{Committee, committee, file},
    *,
};

fn own(c: &Committee, member: usize, header: &EpochHeader) -> EvmSignature {
    c.sign(header, member + 1)[member].1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_header_beside_the_posted_one_or_another_costs_its_signer_the_seat() {
    let mut c = committee(3, dev_params()).await;
    let posted = c.header(&file(1, Vec::new()), &[]).await;
    // The first two signed what was posted, the third did not.
    c.poster.chain.submit(ChainCall::PostEpoch {
        header: posted.clone(),
        settled: Vec::new(),
        signatures: c.sign(&posted, 2),
    });
    c.poster.done().await;
    let other = EpochHeader {
        records_root: Hash([9; 32]),
        ..posted.clone()
    };
    let third = EpochHeader {
        records_root: Hash([8; 32]),
        ..posted.clone()
    };
    let beside_posted = |member: usize| ChainCall::ProveEquivocation {
        account: c.members[member],
        proposed: Box::new(other.clone()),
        signature: own(&c, member, &other),
        other: Box::new(posted.clone()),
        other_signature: None,
    };
    let account = c.world.rich(&key(14), 0).await;
    let mut client = start(&c.world.profile, Some(key(14)), &MemoryStore::default());
    let before = client.chain.balances(account).await.expect("answers").token;

    client.chain.submit(beside_posted(2));
    let why = client.failure().await;
    assert!(why.contains("shows the signature of"), "{why}");
    let moved_on = EpochHeader {
        view: posted.view + 1,
        ..other.clone()
    };
    client.chain.submit(ChainCall::ProveEquivocation {
        account: c.members[2],
        signature: own(&c, 2, &moved_on),
        proposed: Box::new(moved_on),
        other_signature: Some(own(&c, 2, &third)),
        other: Box::new(third.clone()),
    });
    let why = client.failure().await;
    assert!(why.contains("NotTwoHeaders"), "{why}");

    client.chain.submit(beside_posted(0));
    let done = client.done().await;
    assert!(
        matches!(&done, ChainEvent::Done { tx, .. } if *tx != Hash::ZERO),
        "{done:?}"
    );
    // Neither of these was ever posted.
    client.chain.submit(ChainCall::ProveEquivocation {
        account: c.members[2],
        proposed: Box::new(other.clone()),
        signature: own(&c, 2, &other),
        other: Box::new(third.clone()),
        other_signature: Some(own(&c, 2, &third)),
    });
    let done = client.done().await;
    assert!(
        matches!(&done, ChainEvent::Done { tx, .. } if *tx != Hash::ZERO),
        "{done:?}"
    );
    let registry = c.world.profile.contracts.registry;
    let banned = |account: Account| {
        let account = account.into();
        c.world.view(registry, Registry::bannedCall { account })
    };
    assert_eq!(
        c.members.iter().map(|m| banned(*m)).collect::<Vec<_>>(),
        [true, false, true]
    );
    let slash = 100_000_000 * u128::from(dev_params().slash_bps) / 10_000;
    let after = client.chain.balances(account).await.expect("answers").token;
    assert_eq!(after.0 - before.0, 2 * (slash / 2));
    let head = client.chain.head(0).await.expect("answers");
    assert_eq!((head.epoch, head.header), (1, posted.hash()));

    // The same wish of another who saw it too.
    let mut late = start(&c.world.profile, Some(key(2)), &MemoryStore::default());
    late.chain.submit(beside_posted(0));
    assert!(matches!(
        late.done().await,
        ChainEvent::Done { tx: Hash::ZERO, .. }
    ));
}
