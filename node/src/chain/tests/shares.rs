//! Bonuses, data sets and reputations through the real contracts, from the first unit paid in to the last one paid out.

use alloy::sol_types::SolCall;
use assay_protocol::{
    lane::{Bonus, BonusProof, Evidence, FlatPayouts, LaneState, state_root},
    merkle::ShareTree,
    message::{EpochHeader, SettledTask},
};

use super::{
    super::{bindings::DevToken, deploy::Courier},
    money::{Committee, committee, file},
    round::until,
    *,
};

const PARTNER: [u8; 32] = [0xd2; 32];
const CLIENT: [u8; 32] = [0x31; 32];

/// A token that the network does not know, with this much of it in an account.
async fn partner_token(world: &World, holder: Account, units: u128) -> Account {
    let issuer = EvmKey::from_secret(&PARTNER).expect("a key").account();
    let url = world.url();
    dev_fund(&url, issuer, issuer, ETHER, Amount::ZERO)
        .await
        .expect("funds");
    let (mut courier, _) = Courier::new(&url, &PARTNER).await.expect("sends");
    let (code, mut gas) = (&DevToken::BYTECODE, Vec::new());
    let placed = courier.create("DevToken", code, Vec::new(), &mut gas);
    let token = Account::from(placed.await.expect("deploys").0);
    let call = DevToken::mintCall {
        to: holder.into(),
        amount: U256::from(units),
    };
    let sent = courier.send("mint", Some(token), call.abi_encode().into());
    sent.await.expect("mints");
    token
}

async fn held(chain: &Chain, token: Account, account: Account) -> Amount {
    let call = DevToken::balanceOfCall {
        account: account.into(),
    };
    let endpoint = chain.shared.endpoints.current();
    units(endpoint.view(token, call).await.expect("answers"))
}

async fn post(c: &mut Committee, header: &EpochHeader, settled: Vec<SettledTask>) {
    let signatures = c.sign(header, 3);
    c.poster.chain.submit(ChainCall::PostEpoch {
        header: header.clone(),
        settled,
        signatures,
    });
    let done = c.poster.done().await;
    assert!(
        matches!(&done, ChainEvent::Done { tx, .. } if *tx != Hash::ZERO),
        "{done:?}"
    );
}

fn why(result: Result<impl std::fmt::Debug, ChainError>) -> String {
    result.expect_err("is refused").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_payment_is_forgotten_at_once_so_that_asking_again_pays_once() {
    // No block becomes final here.
    let world = world_with(1_000, dev_params()).await;
    let client = world.rich(&CLIENT, 10_000).await;
    let token = world.profile.contracts.token;
    let store = MemoryStore::default();
    let publisher = start(&world.profile, Some(CLIENT), &store);
    let task = TaskId([1; 32]);
    let till = Till::Bonus { task, client };
    let early = why(publisher.chain.pay_in(till, token, Amount(10)).await);
    assert!(early.contains("NotFunded"), "{early}");
    until("forgotten", || store.is_empty(), || {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bonus_is_locked_shared_as_the_settling_header_says_and_drawn_once() {
    let mut c = committee(3, dev_params()).await;
    let client = c.world.rich(&CLIENT, 10_000).await;
    let token = partner_token(&c.world, client, 5_000).await;
    let store = MemoryStore::default();
    let mut publisher = start(&c.world.profile, Some(CLIENT), &store);
    let task = TaskId([1; 32]);
    let till = Till::Bonus { task, client };
    let chain = publisher.chain.clone();
    let early = why(chain.pay_in(till, token, Amount(10)).await);
    assert!(early.contains("NotFunded"), "{early}");
    chain.submit(fund(1, 1_000, 50));
    publisher.done().await;

    for amount in [400, 600] {
        let paid = chain
            .pay_in(till, token, Amount(amount))
            .await
            .expect("pays");
        assert_eq!(paid.amount, Amount(amount));
    }
    let much = why(chain.pay_in(till, token, Amount(4_001)).await);
    assert!(
        much.contains("holds 4000") && much.contains("4001"),
        "{much}"
    );
    assert_eq!(chain.till_tokens(till).await, Ok(vec![token]));
    let state = chain.till(till, token).await.expect("answers");
    assert_eq!((state.income, state.paid), (Amount(1_000), Amount::ZERO));
    let found = chain.bonus(task, client).await.expect("answers");
    assert_eq!((found.locked, found.shares), (true, None));
    let main = c.world.profile.contracts.token;
    let paid = chain.pay_in(till, main, Amount(40)).await.expect("pays");
    assert_eq!(paid.amount, Amount(40));

    // The epoch that settles the task says how its bonus is shared: ann three parts, bob one.
    let (ann, bob) = (Account([0xa1; 20]), Account([0xb2; 20]));
    let bonus = Bonus {
        task,
        client,
        scored: true,
        weights: vec![(ann, Amount(600)), (bob, Amount(200))],
    };
    let payouts = FlatPayouts {
        state: Hash([7; 32]),
        pays: Vec::new(),
        bonuses: vec![bonus.clone()],
    };
    let leaves = vec![(ann, Amount(700)), (bob, Amount(350))];
    let settled = vec![SettledTask { task, client }];
    let header = EpochHeader {
        state_root: state_root(&payouts.state, &payouts.flat_root()),
        ..c.header(&file(1, leaves.clone()), &settled).await
    };
    post(&mut c, &header, settled).await;
    let proof = BonusProof {
        bonus,
        header,
        state: payouts.state,
        index: 0,
        proof: Vec::new(),
    };
    assert!(proof.is_valid());
    let late = why(chain.pay_in(till, token, Amount(10)).await);
    assert!(late.contains("AlreadySettled"), "{late}");
    let claim = proof.claim(&ann).expect("has a part");
    let unsaid = why(chain.claim_share(till, token, &claim).await);
    assert!(unsaid.contains("NoSplit"), "{unsaid}");

    // Two epochs later the way to the head is longer; anybody walks it, and draws for anybody.
    for epoch in [2, 3] {
        let next = c.header(&file(epoch, leaves.clone()), &[]).await;
        post(&mut c, &next, Vec::new()).await;
    }
    let mut forged = proof.clone();
    forged.bonus.weights[1].1 = Amount(900);
    let stranger = c.world.rich(&key(0x51), 0).await;
    let helper = start(&c.world.profile, Some(key(0x51)), &MemoryStore::default());
    let bad = why(helper.chain.record_split(&forged).await);
    assert!(bad.contains("BadSplit"), "{bad}");
    assert!(
        helper
            .chain
            .record_split(&proof)
            .await
            .expect("records")
            .is_some()
    );
    assert_eq!(chain.record_split(&proof).await, Ok(None), "once");
    let paid = helper.chain.claim_share(till, token, &claim).await;
    assert_eq!(paid.expect("pays").map(|p| p.amount), Some(Amount(750)));
    let sent = c.world.nonce(stranger);
    assert_eq!(
        helper.chain.claim_share(till, token, &claim).await,
        Ok(None)
    );
    assert_eq!(c.world.nonce(stranger), sent, "nothing due, nothing sent");
    assert_eq!(held(&chain, token, ann).await, Amount(750));
    let to_bob = proof.claim(&bob).expect("has a part");
    let paid = chain.claim_share(till, token, &to_bob).await.expect("pays");
    assert_eq!(paid.map(|p| p.amount), Some(Amount(250)));
    let state = chain.till(till, token).await.expect("answers");
    assert_eq!((state.income, state.paid), (Amount(1_000), Amount(1_000)));
    // What went through the pool in the main token is in the books as well.
    let paid = helper.chain.claim_share(till, main, &claim).await;
    assert_eq!(paid.expect("pays").map(|p| p.amount), Some(Amount(30)));
    assert_eq!(held(&chain, main, ann).await, Amount(30));
    let books = audit(&c.world.profile).await.expect("the books agree");
    assert!(books.accepted > 0 && books.followed > 2, "{books:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_set_is_published_once_and_every_payment_is_a_receipt_that_its_labelers_share() {
    let world = world().await;
    let publisher = world.rich(&CLIENT, 0).await;
    let buyer = world.rich(&key(0x52), 100).await;
    let token = partner_token(&world, buyer, 1_000).await;
    let client = start(&world.profile, Some(CLIENT), &MemoryStore::default());
    let other = start(&world.profile, Some(key(0x52)), &MemoryStore::default());
    let task = TaskId([1; 32]);
    let till = |version| Till::Dataset {
        task,
        publisher,
        version,
    };
    let (ann, bob) = (Account([0xa1; 20]), Account([0xb2; 20]));
    let tree = ShareTree::new(vec![(ann, Amount(2)), (bob, Amount(1))]).expect("a tree");
    let first = DatasetVersion {
        content: Hash([3; 32]),
        licence: Hash([4; 32]),
        shares: tree.shares(),
    };
    assert_eq!(client.chain.dataset(task, publisher).await, Ok(Vec::new()));
    let nameless = DatasetVersion {
        licence: Hash::ZERO,
        ..first
    };
    let refused = why(client.chain.publish_dataset(task, nameless, 0).await);
    assert!(refused.contains("IncompleteVersion"), "{refused}");
    let done = client.chain.publish_dataset(task, first, 250).await;
    assert!(done.expect("publishes").is_some());
    let again = client.chain.publish_dataset(task, first, 250).await;
    assert_eq!(again, Ok(None));
    assert_eq!(world.nonce(publisher), 1, "published once");
    assert_eq!(client.chain.dataset(task, publisher).await, Ok(vec![first]));

    let unknown = why(other.chain.pay_in(till(2), token, Amount(10)).await);
    assert!(unknown.contains("UnknownVersion"), "{unknown}");
    // The same payment twice is two receipts, not one.
    for _ in 0..2 {
        let paid = other.chain.pay_in(till(1), token, Amount(300)).await;
        assert_eq!(paid.expect("pays").amount, Amount(300));
    }
    let state = client.chain.till(till(1), token).await.expect("answers");
    assert_eq!((state.income, state.paid), (Amount(600), Amount::ZERO));
    assert_eq!(client.chain.till_tokens(till(1)).await, Ok(vec![token]));
    let to_ann = tree.claim(0).expect("a leaf");
    let paid = client.chain.claim_share(till(1), token, &to_ann).await;
    assert_eq!(paid.expect("pays").map(|p| p.amount), Some(Amount(400)));
    assert_eq!(
        client.chain.claim_share(till(1), token, &to_ann).await,
        Ok(None)
    );
    // What comes later is drawn later, by the same leaf.
    other
        .chain
        .pay_in(till(1), token, Amount(30))
        .await
        .expect("pays");
    let paid = client.chain.claim_share(till(1), token, &to_ann).await;
    assert_eq!(paid.expect("pays").map(|p| p.amount), Some(Amount(20)));
    assert_eq!(held(&client.chain, token, ann).await, Amount(420));
    let main = world.profile.contracts.token;
    let paid = other.chain.pay_in(till(1), main, Amount(9)).await;
    assert_eq!(paid.expect("pays").amount, Amount(9));
    let paid = client.chain.claim_share(till(1), main, &to_ann).await;
    assert_eq!(paid.expect("pays").map(|p| p.amount), Some(Amount(6)));
    let books = audit(&world.profile).await.expect("the books agree");
    assert!(books.followed > 2, "{books:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reputation_is_confirmed_by_the_chain_until_the_lane_s_next_epoch() {
    let mut c = committee(3, dev_params()).await;
    let (ann, domain) = (Account([0xa1; 20]), LaneState::domain("class"));
    let mut state = LaneState::genesis(0);
    let evidence = Evidence {
        alpha_milli: 95_000,
        beta_milli: 4_321,
    };
    state.evidence.insert((ann, domain), evidence);
    let proof = state.reputation_proof(&ann, &domain).expect("has evidence");
    let header = EpochHeader {
        reputation_root: state.reputation_root(),
        ..c.header(&file(1, Vec::new()), &[]).await
    };
    post(&mut c, &header, Vec::new()).await;
    let chain = c.poster.chain.clone();
    assert_eq!(chain.proves_reputation(&header, &proof).await, Ok(true));
    let mut better = proof.clone();
    better.evidence.beta_milli = 0;
    assert_eq!(chain.proves_reputation(&header, &better).await, Ok(false));
    let next = c.header(&file(2, Vec::new()), &[]).await;
    post(&mut c, &next, Vec::new()).await;
    assert_eq!(chain.proves_reputation(&header, &proof).await, Ok(false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_without_these_contracts_says_so_and_one_with_other_contracts_is_refused() {
    let world = world().await;
    let mut bare = world.profile.clone();
    bare.extras = Extras::default();
    assert_eq!(
        bare.id(),
        world.profile.id(),
        "they are no part of the network"
    );
    let account = world.rich(&CLIENT, 0).await;
    let client = start(&bare, Some(CLIENT), &MemoryStore::default());
    let till = Till::Bonus {
        task: TaskId([1; 32]),
        client: account,
    };
    let said = why(client.chain.pay_in(till, account, Amount(1)).await);
    assert!(said.contains("no contract for bonuses"), "{said}");
    let mut other = world.profile.clone();
    let pool = other.extras.bonuses.as_mut().expect("is deployed");
    pool.code = Hash([9; 32]);
    let mut refused = start(&other, None, &MemoryStore::default());
    let (said, permanent) = refused.failed().await;
    assert!(permanent && said.contains("the bonus pool at"), "{said}");
}
