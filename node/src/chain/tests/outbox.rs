//! The durable outbox: nothing lost, nothing twice, whatever dies when.

use super::*;

const TASK: TaskId = TaskId([1; 32]);

async fn held(client: &Client, account: Account) -> Option<u128> {
    client
        .chain
        .escrow(TASK, account)
        .await
        .expect("answers")
        .map(|e| e.deposit.0 + e.gold_bond.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn funding_approves_exactly_pays_once_and_is_idempotent() {
    let world = world().await;
    let account = world.rich(&key(1), 10_000).await;
    let store = MemoryStore::default();
    let mut client = start(&world.profile, Some(key(1)), &store);
    for _ in 0..3 {
        client.chain.submit(fund(1, 1_000, 50));
    }
    let done = client.done().await;
    assert!(
        matches!(&done, ChainEvent::Done { tx, gas_used, block, .. } if *tx != Hash::ZERO && *gas_used > 50_000 && *block > 0),
        "{done:?}"
    );
    let funded = client
        .fact("Funded", |f| matches!(f, ChainFact::Funded { .. }))
        .await;
    assert_eq!(
        funded,
        ChainFact::Funded {
            task: TASK,
            client: account,
            lane: 0,
            deposit: Amount(1_000),
            gold_bond: Amount(50)
        }
    );
    assert_eq!(
        client.chain.balances(account).await.expect("answers").token,
        Amount(8_950)
    );
    // Asked again after it is done: the chain already holds it.
    client
        .chain
        .submit_durably(fund(1, 1_000, 50))
        .await
        .expect("taken");
    let again = client.done().await;
    assert!(
        matches!(
            again,
            ChainEvent::Done {
                tx: Hash::ZERO,
                gas_used: 0,
                ..
            }
        ),
        "{again:?}"
    );
    assert_eq!(world.nonce(account), 2, "approve and fund");
    client.chain.shutdown().await;
    assert!(store.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_the_account_cannot_pay_fails_with_both_amounts() {
    let world = world().await;
    let account = world.rich(&key(1), 1_500_000).await;
    let mut client = start(&world.profile, Some(key(1)), &MemoryStore::default());
    client.chain.submit(fund(1, 2_000_000, 250_000));
    let why = client.refused().await;
    assert!(
        why.contains("holds 1.5 tokens, the task needs 2.25; send it 0.75 more"),
        "{why}"
    );
    assert_eq!(world.nonce(account), 0);
    // A smaller one of the same id is another wish and works.
    client.chain.submit(fund(1, 1_000, 50));
    client.done().await;
    client.chain.submit(fund(1, 2_000, 50));
    let why = client.refused().await;
    assert!(why.contains("funded already"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_before_or_after_any_write_neither_loses_nor_repeats_a_payment() {
    // Queued, approve sent, queued again, fund sent, mined, deleted.
    const WRITES: usize = 6;
    let world = world().await;
    for dies_at in 0..=WRITES {
        let secret = key(0x10 + dies_at as u8);
        let account = world.rich(&secret, 10_000).await;
        let (front, url) = Front::open(world.dev.clone()).await;
        let profile = world.behind(url);
        let store = MemoryStore::default();
        *store.left.lock().expect("lock") = Some(dies_at);
        let client = start(&profile, Some(secret), &store);
        let taken = client.chain.submit_durably(fund(1, 1_000, 50)).await;
        assert_eq!(taken.is_ok(), dies_at > 0);
        // The next write after the last good one is tried, and fails.
        let deadline = tokio::time::Instant::now() + WAIT;
        while store.writes.load(Ordering::Relaxed) < (dies_at + 1).min(WRITES) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "write {dies_at} is never tried"
            );
            tokio::task::yield_now().await;
        }
        drop(client);

        *store.left.lock().expect("lock") = None;
        let mut client = start(&profile, Some(secret), &store);
        client
            .chain
            .submit_durably(fund(1, 1_000, 50))
            .await
            .expect("taken");
        client.done().await;
        assert_eq!(
            held(&client, account).await,
            Some(1_050),
            "dies at {dies_at}"
        );
        assert_eq!(
            client.chain.balances(account).await.expect("answers").token,
            Amount(8_950)
        );
        assert_eq!(world.nonce(account), 2, "dies at {dies_at}");
        let distinct: Vec<u64> = front.distinct().iter().map(|(nonce, _)| *nonce).collect();
        assert_eq!(
            distinct,
            [0, 1],
            "one signed transaction for each nonce, dies at {dies_at}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_question_or_answer_while_sending_repeats_the_same_bytes_only() {
    let world = world().await;
    for (n, (lost, answer)) in [(0, false), (0, true), (1, false), (1, true)]
        .into_iter()
        .enumerate()
    {
        for restart in [false, true] {
            let secret = key(0x20 + 2 * n as u8 + u8::from(restart));
            let account = world.rich(&secret, 10_000).await;
            let (front, url) = Front::open(world.dev.clone()).await;
            let profile = world.behind(url);
            let (store, seen) = (MemoryStore::default(), Arc::new(AtomicUsize::new(0)));
            let counter = Arc::clone(&seen);
            front.rule(move |method, _| {
                if method != "eth_sendRawTransaction"
                    || counter.fetch_add(1, Ordering::Relaxed) != lost
                {
                    Deal::Pass
                } else if answer {
                    Deal::LoseAnswer
                } else {
                    Deal::LoseQuestion
                }
            });
            let mut client = start(&profile, Some(secret), &store);
            client
                .chain
                .submit_durably(fund(1, 1_000, 50))
                .await
                .expect("taken");
            if restart {
                let deadline = tokio::time::Instant::now() + WAIT;
                while seen.load(Ordering::Relaxed) <= lost {
                    assert!(
                        tokio::time::Instant::now() < deadline,
                        "transaction {lost} is never sent"
                    );
                    tokio::task::yield_now().await;
                }
                client.chain.shutdown().await;
                client = start(&profile, Some(secret), &store);
            }
            client.done().await;
            assert_eq!(held(&client, account).await, Some(1_050));
            assert_eq!(world.nonce(account), 2);
            assert_eq!(
                front.distinct().len(),
                2,
                "lost {lost}, answer {answer}, restart {restart}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_nobody_mines_gets_a_higher_fee_under_the_same_nonce() {
    let world = world().await;
    let account = world.rich(&key(1), 10_000).await;
    let (front, url) = Front::open(world.dev.clone()).await;
    front.rule(|method, params| {
        if method != "eth_sendRawTransaction" {
            return Deal::Pass;
        }
        let raw = hex::decode(params[0].as_str().expect("text")).expect("hex");
        let tx = TxEnvelope::decode_2718_exact(&raw).expect("a transaction");
        // A pool that takes everything and mines only what pays for its place.
        if tx.max_priority_fee_per_gas() < Some(4) {
            Deal::Answer(json!(tx.tx_hash()))
        } else {
            Deal::Pass
        }
    });
    let mut client = start(&world.behind(url), Some(key(1)), &MemoryStore::default());
    client.chain.submit(fund(1, 1_000, 50));
    client.done().await;
    assert_eq!(held(&client, account).await, Some(1_050));
    assert_eq!(world.nonce(account), 2);
    let nonces: Vec<u64> = front.distinct().iter().map(|(nonce, _)| *nonce).collect();
    assert!(
        nonces.iter().all(|n| *n < 2) && nonces.len() >= 4,
        "{nonces:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_without_native_currency_says_so_once_and_goes_on_when_it_has_some() {
    let world = world().await;
    let account = world.rich(&key(1), 10_000).await;
    dev_fund(
        &world.url(),
        world.profile.contracts.token,
        account,
        0,
        Amount::ZERO,
    )
    .await
    .expect("emptied");
    let mut client = start(&world.profile, Some(key(1)), &MemoryStore::default());
    client.chain.submit(fund(1, 1_000, 50));
    let (why, permanent) = client.failed().await;
    assert!(!permanent && why.contains("holds 0 wei"), "{why}");
    let error = client
        .chain
        .register(2, Amount(10_000), &node(1), Hash::ZERO, account)
        .await
        .expect_err("waits, or is refused");
    assert!(
        matches!(
            error,
            ChainError::Pending { .. } | ChainError::Refused { .. }
        ),
        "{error}"
    );
    dev_fund(
        &world.url(),
        world.profile.contracts.token,
        account,
        ETHER,
        Amount::ZERO,
    )
    .await
    .expect("funded");
    client.done().await;
    assert_eq!(held(&client, account).await, Some(1_050));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_the_chain_drops_before_finality_are_brought_back() {
    for depth in [1, 2] {
        let world = world_with(8, dev_params()).await;
        world.mine(10);
        let account = world.rich(&key(1), 10_000).await;
        world.mine(10);
        let mut client = start(&world.profile, Some(key(1)), &MemoryStore::default());
        client
            .chain
            .submit_durably(fund(1, 1_000, 50))
            .await
            .expect("taken");
        let deadline = tokio::time::Instant::now() + WAIT;
        while held(&client, account).await.is_none() {
            assert!(tokio::time::Instant::now() < deadline, "never mined");
        }
        // The last block holds the payment, the one before it the approval.
        world
            .dev
            .call("dev_reorg", json!([depth]))
            .expect("reorganises");
        assert_eq!(held(&client, account).await, None, "dropped");
        let dev = world.dev.clone();
        let miner = tokio::spawn(async move {
            loop {
                dev.call("dev_mine", json!([1])).expect("mines");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        client.done().await;
        miner.abort();
        assert_eq!(held(&client, account).await, Some(1_050));
        assert_eq!(
            client.chain.balances(account).await.expect("answers").token,
            Amount(8_950),
            "paid once"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_and_with_a_damaged_outbox_nothing_is_taken() {
    let world = world().await;
    let reader = start(&world.profile, None, &MemoryStore::default());
    assert_eq!(
        reader.chain.submit_durably(fund(1, 1, 0)).await,
        Err(ChainError::NoKey)
    );
    let store = MemoryStore::default();
    let account = EvmKey::from_secret(&key(1)).expect("a key").account();
    let name = intent::Intent::Draw { lane: 0 }.key(&world.profile.id(), &account);
    store
        .rows
        .lock()
        .expect("lock")
        .insert(name, b"damaged".to_vec());
    let mut client = start(&world.profile, Some(key(1)), &store);
    let why = client.refused().await;
    assert!(why.contains("damaged"), "{why}");
    assert!(matches!(
        client.chain.submit_durably(fund(1, 1, 0)).await,
        Err(ChainError::Store(_))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_disk_stops_sending_and_not_watching() {
    let world = world().await;
    let account = world.rich(&key(1), 10_000).await;
    let store = MemoryStore::default();
    *store.left.lock().expect("lock") = Some(1);
    let mut client = start(&world.profile, Some(key(1)), &store);
    client
        .chain
        .submit_durably(fund(1, 1_000, 50))
        .await
        .expect("taken");
    let (why, permanent) = client.failed().await;
    assert!(!permanent && why.contains("the disk is gone"), "{why}");
    world.mine(3);
    client
        .until("News", |e| matches!(e, ChainEvent::News(_)))
        .await;
    assert_eq!(
        world.nonce(account),
        0,
        "what cannot be recorded is not sent"
    );
    *store.left.lock().expect("lock") = None;
    client.done().await;
}
