//! A task whose committee is gone: opened, paid and closed on the real contracts, once each, and the books agree.

use assay_protocol::{
    lane::{FlatFile, FlatPay, FlatPayouts, state_root},
    message::EpochHeader,
};

use super::{
    money::{committee, file},
    *,
};

const SILENCE: u64 = 6 * 86_400;

fn pass(world: &World, seconds: u64) {
    let params = json!([seconds]);
    world.dev.call("dev_increaseTime", params).expect("passes");
    world.mine(1);
}

fn refusal(result: Result<impl std::fmt::Debug, ChainError>) -> String {
    match result.expect_err("is refused") {
        ChainError::Refused { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_lane_s_task_is_opened_paid_and_closed_once_each_and_the_books_agree() {
    let mut c = committee(3, dev_params()).await;
    let client = c.world.rich(&key(0x31), 10_000).await;
    let task = TaskId([1; 32]);
    let mut publisher = start(&c.world.profile, Some(key(0x31)), &MemoryStore::default());
    assert_eq!(publisher.chain.recovery(task, client).await, Ok(None));
    publisher.chain.submit(fund(1, 1_000, 50));
    publisher.done().await;

    // The last header names two payees; the second is worth more than the deposit leaves.
    let (ann, bob) = (Account([0xa1; 20]), Account([0xb2; 20]));
    let pay = |payee, amount| FlatPay {
        task,
        client,
        payee,
        amount: Amount(amount),
    };
    let payouts = FlatPayouts {
        state: Hash([7; 32]),
        pays: vec![pay(ann, 300), pay(bob, 800)],
        bonuses: Vec::new(),
    };
    let header = EpochHeader {
        state_root: state_root(&payouts.state, &payouts.flat_root()),
        ..c.header(&file(1, Vec::new()), &[]).await
    };
    let signatures = c.sign(&header, 3);
    c.poster.chain.submit(ChainCall::PostEpoch {
        header: header.clone(),
        settled: Vec::new(),
        signatures,
    });
    c.poster.done().await;
    let fallback = FlatFile {
        header: header.clone(),
        payouts,
    }
    .fallback(&task, &client);
    let (to_ann, to_bob) = (&fallback.claims[0], &fallback.claims[1]);

    let chain = &publisher.chain;
    let why = refusal(chain.open_fallback(task, client).await);
    let found = chain.recovery(task, client).await.expect("answers");
    let found = found.expect("is funded");
    assert!(found.open.is_none() && !found.settled);
    assert!(why.contains(&found.possible_at.to_string()), "{why}");
    refusal(chain.claim_fallback(&header, to_ann).await);
    assert!(found.possible_at - found.now <= SILENCE);
    pass(&c.world, found.possible_at - found.now);

    chain.open_fallback(task, client).await.expect("opens");
    chain.open_fallback(task, client).await.expect("is open");
    let opened = c
        .watcher
        .fact("FallbackOpened", |f| {
            matches!(f, ChainFact::FallbackOpened { .. })
        })
        .await;
    let expected = ChainFact::FallbackOpened {
        task,
        client,
        header: header.hash(),
    };
    assert_eq!(opened, expected);

    let paid = chain.claim_fallback(&header, to_ann).await.expect("pays");
    assert_eq!(paid.map(|p| p.amount), Some(Amount(300)));
    // Asked again at once: neither paid nor reported a second time.
    assert_eq!(chain.claim_fallback(&header, to_ann).await, Ok(None));
    let mut more = to_bob.clone();
    more.pay.amount = Amount(900);
    let forged = chain.claim_fallback(&header, &more).await;
    assert_eq!(forged, Err(ChainError::BadClaim { payee: bob }));
    let paid = chain.claim_fallback(&header, to_bob).await.expect("pays");
    assert_eq!(paid.map(|p| p.amount), Some(Amount(700)), "what was left");

    let why = refusal(chain.close_fallback(task, client).await);
    let open = chain.recovery(task, client).await.expect("answers");
    let open = open.and_then(|r| r.open).expect("is open");
    assert!(why.contains(&open.closes_at.to_string()), "{why}");
    assert_eq!((open.left, open.header), (Amount::ZERO, header.hash()));
    pass(&c.world, SILENCE);
    let closed = chain.close_fallback(task, client).await.expect("closes");
    assert_eq!(closed.map(|p| p.amount), Some(Amount(50)), "the gold bond");
    assert_eq!(chain.close_fallback(task, client).await, Ok(None));
    let balance = |account| async move { chain.balances(account).await.expect("answers").token };
    assert_eq!(balance(ann).await, Amount(300));
    assert_eq!(balance(bob).await, Amount(700));
    assert_eq!(balance(client).await, Amount(10_000 - 1_050 + 50));

    let books = audit(&c.world.profile).await.expect("the books agree");
    assert!(books.accepted > 0 && books.totals.released == Amount::ZERO);
}
