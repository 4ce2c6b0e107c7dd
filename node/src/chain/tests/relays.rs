//! Paying groups of payees: what is reported is what was paid, each payment once, also when a group fails or is asked for again.

use super::{
    round::{Actor, PAYEES, Round, STAKE, Step, until},
    *,
};
use assay_protocol::lane::PayoutFile;

const NODE: [u8; 32] = [1; 32];
const FINALITY: u64 = 8;

/// A network whose first epoch owes the payees, by a node that relays.
async fn posted() -> (World, Round, Actor) {
    let world = world_with(FINALITY, dev_params()).await;
    let round = world.round(&NODE, &NODE).await;
    world.mine(2 * FINALITY);
    let node = Actor::start(&world.profile, Some(NODE), &MemoryStore::default());
    node.chain
        .register(
            4,
            Amount(STAKE),
            &super::node(1),
            Hash([1; 32]),
            round.validator,
        )
        .await
        .expect("registers");
    node.chain.submit(ChainCall::DrawCommittee { lane: 0 });
    node.chain.submit(fund(1, 1_000, 50));
    until("funded", || world.shows(Step::Funded, &round), || {}).await;
    until("drawn", || world.shows(Step::Drawn, &round), || {}).await;
    assert!(round.top_up(&world));
    world.mine(FINALITY);
    let settled = round.settled();
    let header = round.header(&world, &settled);
    node.chain.submit(round.post(&world, header, settled));
    until("posted", || world.shows(Step::Posted, &round), || {}).await;
    (world, round, node)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relayed_payment_that_is_asked_for_again_before_it_is_final_is_reported_once() {
    let (world, round, node) = posted().await;
    let group = round.subtree();
    let first = node.chain.claim_subtree(&group).await.expect("pays");
    let total: Amount = PAYEES.iter().map(|(_, total)| *total).sum();
    assert_eq!(first.map(|done| done.amount), Some(total));
    let sent = world.nonce(round.validator);
    // In a block, not final: still in the outbox.
    assert!(!node.store.is_empty());
    assert_eq!(node.chain.claim_subtree(&group).await, Ok(None));
    assert_eq!(node.chain.relay([group.clone()]).await, Relayed::default());
    until("final", || node.store.is_empty(), || world.mine(1)).await;
    assert_eq!(node.chain.claim_subtree(&group).await, Ok(None));
    assert_eq!(world.nonce(round.validator), sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_reports_what_it_paid_and_what_failed() {
    let (world, round, node) = posted().await;
    let proofs = round.file().proofs();
    let halves = [0, 2].map(|at| proofs.subtree(at, 1).expect("has leaves"));
    // A tree that the chain does not hold.
    let other = PayoutFile {
        lane: 0,
        epoch: 1,
        leaves: vec![(Account([9; 20]), Amount(1_075))],
    };
    let foreign = other.proofs().subtree(0, 0).expect("has leaves");
    let [first, second] = halves.clone();
    let relayed = node.chain.relay([first, foreign.clone(), second]).await;
    let paid: Vec<_> = relayed
        .paid
        .iter()
        .map(|(claim, done)| (claim.clone(), done.amount))
        .collect();
    let [first, second] = halves;
    assert_eq!(paid, [(first.clone(), Amount(800)), (second, Amount(275))]);
    let [(claim, ChainError::Refused { why, .. })] = relayed.failed.as_slice() else {
        panic!("{:?}", relayed.failed)
    };
    assert!(
        *claim == foreign && why.contains("the chain holds"),
        "{why}"
    );
    assert!(world.shows(Step::SubtreeClaimed, &round));

    // Without anybody to ask, nothing is tried after the first.
    node.chain.shutdown().await;
    let relayed = node.chain.relay([foreign, first]).await;
    assert_eq!((relayed.paid.len(), relayed.failed.len()), (0, 1));
}
