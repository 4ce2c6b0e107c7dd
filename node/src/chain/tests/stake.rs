//! A stake from its first unit to the way home, through the real registry.

use assay_protocol::lane::LaneState;

use super::*;

/// A labeler with 20 tokens staked of 100.
async fn labeler(world: &World) -> (Client, Account) {
    let account = world.rich(&key(1), 100_000_000).await;
    let client = start(&world.profile, Some(key(1)), &MemoryStore::default());
    client
        .chain
        .register(2, Amount(20_000_000), &node(1), Hash([1; 32]), account)
        .await
        .expect("registers");
    (client, account)
}

fn no_epochs() -> Vec<LaneLoss> {
    vec![LaneLoss::new(&LaneState::genesis(0), &Account::default())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stake_is_raised_once_however_often_it_is_asked_for() {
    let world = world().await;
    let (client, account) = labeler(&world).await;
    let before = client.chain.stake(account).await.expect("answers");
    assert_eq!(
        (
            before.registered,
            before.stake,
            before.minimum,
            before.ready_at
        ),
        (true, Amount(20_000_000), Amount(10_000_000), None)
    );
    let target = Amount(25_000_000);
    let raised = client.chain.raise_stake(target).await.expect("raises");
    assert!(raised.is_some_and(|change| change.gas_used > 0));
    let sent = world.nonce(account);
    // Once more from the outbox of another run, which knows nothing of the first.
    let again = start(&world.profile, Some(key(1)), &MemoryStore::default());
    assert_eq!(again.chain.raise_stake(target).await, Ok(None));
    assert_eq!(world.nonce(account), sent, "no second transaction");
    assert_eq!(
        client.chain.stake(account).await.expect("answers").stake,
        target
    );
    let refused = client.chain.raise_stake(Amount(500_000_000)).await;
    assert!(
        matches!(&refused, Err(ChainError::Refused { why, .. }) if why.contains("holds 75 tokens")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stake_comes_home_after_its_time_and_only_once() {
    let world = world().await;
    let (client, account) = labeler(&world).await;
    let chain = &client.chain;
    let early = chain.withdraw_stake(no_epochs()).await;
    assert!(
        matches!(&early, Err(ChainError::Refused { why, .. }) if why.contains("unbond")),
        "{early:?}"
    );
    assert!(chain.unbond().await.expect("leaves").is_some());
    let leaving = chain.stake(account).await.expect("answers");
    assert_eq!(
        leaving
            .ready_at
            .map(|at| at >= leaving.now + leaving.unbond_secs - 60),
        Some(true)
    );
    let sent = world.nonce(account);
    let again = start(&world.profile, Some(key(1)), &MemoryStore::default());
    assert_eq!(again.chain.unbond().await, Ok(None));
    assert_eq!(world.nonce(account), sent, "no second transaction");
    let refused = chain.raise_stake(Amount(30_000_000)).await;
    assert!(
        matches!(refused, Err(ChainError::Refused { .. })),
        "{refused:?}"
    );
    let early = chain.withdraw_stake(no_epochs()).await;
    assert!(
        matches!(&early, Err(ChainError::Refused { why, .. }) if why.contains("Unix time")),
        "{early:?}"
    );
    world
        .dev
        .call("dev_increaseTime", json!([leaving.unbond_secs + 1]))
        .expect("moves on");
    world.mine(1);
    let home = chain.withdraw_stake(no_epochs()).await.expect("withdraws");
    assert!(home.is_some());
    assert_eq!(
        chain.balances(account).await.expect("answers").token,
        Amount(100_000_000)
    );
    let gone = chain.stake(account).await.expect("answers");
    assert_eq!((gone.registered, gone.stake), (false, Amount::ZERO));
    assert_eq!(again.chain.withdraw_stake(no_epochs()).await, Ok(None));
    let stranger = start(&world.profile, Some(key(9)), &MemoryStore::default());
    let refused = stranger.chain.unbond().await;
    assert!(
        matches!(&refused, Err(ChainError::Refused { why, .. }) if why.contains("not registered")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_labeler_lost_is_shown_against_the_last_header_and_burned() {
    let mut c = money::committee(3, dev_params()).await;
    let account = c.world.rich(&key(9), 100_000_000).await;
    let client = start(&c.world.profile, Some(key(9)), &MemoryStore::default());
    client
        .chain
        .register(2, Amount(20_000_000), &node(9), Hash([9; 32]), account)
        .await
        .expect("registers");
    // The state that a node would hold after the epoch, as far as losses go.
    let mut state = LaneState::genesis(0);
    for member in c.members.iter().chain([&account]) {
        let row = assay_protocol::lane::AccountState {
            node_key: node(9).public(),
            seal_key: Hash::ZERO,
            payee: *member,
            roles: 2,
            stake: Amount(1),
            leaving: false,
        };
        state.accounts.insert(*member, row);
    }
    state.lost.insert(account, Amount(3_000_000));
    let header = c.post_losses(state.loss_root()).await;
    (state.epoch, state.head) = (header.epoch, header.hash());
    assert_eq!(client.chain.is_anchored(&header).await, Ok(true));
    let other = assay_protocol::message::EpochHeader {
        records_root: Hash([9; 32]),
        ..header.clone()
    };
    assert_eq!(client.chain.is_anchored(&other).await, Ok(false));
    let later = assay_protocol::message::EpochHeader { epoch: 2, ..header };
    assert_eq!(client.chain.is_anchored(&later).await, Ok(false));
    client.chain.unbond().await.expect("leaves");
    c.world
        .dev
        .call("dev_increaseTime", json!([700]))
        .expect("moves on");
    c.world.mine(1);
    let stale = client.chain.withdraw_stake(no_epochs()).await;
    assert!(
        matches!(&stale, Err(ChainError::Refused { why, .. }) if why.contains("epoch")),
        "{stale:?}"
    );
    let losses = vec![LaneLoss::new(&state, &account)];
    assert!(
        client
            .chain
            .withdraw_stake(losses)
            .await
            .expect("withdraws")
            .is_some()
    );
    assert_eq!(
        client.chain.balances(account).await.expect("answers").token,
        Amount(97_000_000)
    );
    assert_eq!(
        client.chain.stake(account).await.expect("answers").burned,
        Amount(3_000_000)
    );
}
