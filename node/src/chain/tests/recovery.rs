//! A task whose committee is gone: opened, paid and closed on the real contracts, once each, and the books agree.

use assay_protocol::{
    codec,
    core::{Family, Notice, Op, fallback_key},
    lane::{FlatFile, FlatPay, FlatPayouts, state_root},
    message::EpochHeader,
};
use tokio::sync::broadcast;

use super::{
    money::{Committee, committee, file},
    *,
};
use crate::runtime::{Disk, Keeper, Ours};

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

/// A funded task whose lane says nothing any more after a header that names two payees.
struct Silent {
    c: Committee,
    client: Account,
    publisher: Client,
    task: TaskId,
    file: FlatFile,
}

/// The second payee is worth more than the deposit leaves.
async fn silent(ann: Account, bob: Account) -> Silent {
    let mut c = committee(3, dev_params()).await;
    let client = c.world.rich(&key(0x31), 10_000).await;
    let task = TaskId([1; 32]);
    let mut publisher = start(&c.world.profile, Some(key(0x31)), &MemoryStore::default());
    assert_eq!(publisher.chain.recovery(task, client).await, Ok(None));
    publisher.chain.submit(fund(1, 1_000, 50));
    publisher.done().await;

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
    let file = FlatFile { header, payouts };
    Silent {
        c,
        client,
        publisher,
        task,
        file,
    }
}

/// A node's own care for its tasks: chain client, disk, and who it is.
struct Home {
    client: Client,
    account: Account,
    keeper: Keeper,
    ours: Ours,
    disk: Disk,
    notices: broadcast::Receiver<Notice>,
    _dir: tempfile::TempDir,
}

impl Silent {
    /// Lets time pass until the fallback can be opened.
    async fn wait(&self) {
        let found = self.stand().await;
        pass(&self.c.world, found.possible_at - found.now);
    }

    async fn stand(&self) -> Recovery {
        let found = self.publisher.chain.recovery(self.task, self.client).await;
        found.expect("answers").expect("is funded")
    }

    async fn balance(&self, account: Account) -> Amount {
        let found = self.publisher.chain.balances(account).await;
        found.expect("answers").token
    }

    /// The home of whoever has this key; `follows` when it has the lane's last header.
    async fn home(&self, secret: [u8; 32], follows: bool) -> Home {
        let profile = &self.c.world.profile;
        let mut client = start(profile, Some(secret), &MemoryStore::default());
        client.up().await;
        let account = client.chain.account().expect("has a key");
        let dir = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(dir.path(), profile).expect("opens");
        if follows {
            let key = 0u32.to_be_bytes().to_vec();
            keep(&disk, key, codec::encode(&self.file));
        }
        let (tell, notices) = broadcast::channel(8);
        let keeper = Keeper::new(client.chain.clone(), disk.clone(), 1, tell);
        let ours = Ours {
            accounts: [account].into(),
            ..Ours::default()
        };
        Home {
            client,
            account,
            keeper,
            ours,
            disk,
            notices,
            _dir: dir,
        }
    }
}

fn keep(disk: &Disk, key: Vec<u8>, value: Vec<u8>) {
    let family = Family::Flat;
    disk.commit(&[Op::Put { family, key, value }])
        .expect("writes");
}

impl Home {
    async fn look(&mut self) {
        self.keeper.look(&self.ours).await.expect("reads");
        // Nobody reads them otherwise, and then the client waits.
        while self.client.events.try_recv().is_ok() {}
    }

    fn alarms(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        while let Ok(notice) = self.notices.try_recv() {
            match notice {
                Notice::Alarm { text } => texts.push(text),
                other => panic!("{other:?}"),
            }
        }
        texts
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labelers_nodes_open_pay_and_close_a_silent_lane_s_task_by_themselves_and_only_one_of_them()
{
    let account = |n: u8| EvmKey::from_secret(&key(n)).expect("a key").account();
    let (ann, bob) = (account(0x41), account(0x42));
    let world = silent(ann, bob).await;
    for n in [0x41, 0x42] {
        world.c.world.rich(&key(n), 0).await;
    }
    let mut homes = [
        world.home(key(0x41), true).await,
        world.home(key(0x42), true).await,
    ];
    let nonces = |homes: &[Home; 2]| homes.each_ref().map(|h| world.c.world.nonce(h.account));
    for home in &mut homes {
        home.look().await;
    }
    assert_eq!(nonces(&homes), [0, 0], "the lane was at work until lately");

    world.wait().await;
    for home in &mut homes {
        home.look().await;
    }
    let steps = nonces(&homes);
    assert!(
        steps == [3, 0] || steps == [0, 3],
        "open and two claims: {steps:?}"
    );
    assert_eq!(world.balance(ann).await, Amount(300));
    assert_eq!(world.balance(bob).await, Amount(700), "what was left");
    let open = world.stand().await.open.expect("is open");
    assert_eq!((open.left, open.closed), (Amount::ZERO, false));

    // The other one's turn comes, and there is nothing left to do; the first one has done its part.
    pass(&world.c.world, 600);
    for home in &mut homes {
        home.look().await;
    }
    assert_eq!(nonces(&homes), steps);

    let now = world.stand().await.now;
    pass(&world.c.world, open.closes_at - now);
    for home in &mut homes {
        home.look().await;
    }
    assert!(world.stand().await.open.expect("was opened").closed);
    assert_eq!(nonces(&homes), steps.map(|n| if n == 0 { 0 } else { 4 }));
    assert_eq!(
        world.balance(world.client).await,
        Amount(10_000 - 1_050 + 50),
        "the gold bond"
    );
    for home in &mut homes {
        home.look().await;
        assert_eq!(home.alarms(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_gas_money_says_so_once_and_does_the_rest_when_it_has_some() {
    let (ann, bob) = (
        Account([0xa1; 20]),
        EvmKey::from_secret(&key(0x42)).expect("a key").account(),
    );
    let world = silent(ann, bob).await;
    let mut home = world.home(key(0x42), true).await;
    world.wait().await;
    // Past everybody's turn.
    pass(&world.c.world, 600);
    home.look().await;
    home.look().await;
    let said = home.alarms();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains(&format!("0x{bob} holds 0 wei")),
        "{said:?}"
    );
    assert!(said[0].contains("assay task recover"), "{said:?}");
    assert!(world.stand().await.open.is_none());

    world.c.world.rich(&key(0x42), 0).await;
    home.look().await;
    assert_eq!(world.balance(bob).await, Amount(800), "its own pay first");
    assert_eq!(world.balance(ann).await, Amount(200), "what was left");
    assert_eq!(home.alarms(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_s_node_waits_for_the_labelers_turns_and_finds_an_opened_task_in_its_own_records()
 {
    let (ann, bob) = (Account([0xa1; 20]), Account([0xb2; 20]));
    let world = silent(ann, bob).await;
    let sent = world.c.world.nonce(world.client);
    let mut home = world.home(key(0x31), false).await;
    home.ours.funded.insert((0, world.task, world.client));
    keep(
        &home.disk,
        0u32.to_be_bytes().to_vec(),
        codec::encode(&world.file),
    );
    world.wait().await;
    home.look().await;
    assert_eq!(
        world.c.world.nonce(world.client),
        sent,
        "ann and bob come first"
    );
    pass(&world.c.world, 120);
    home.look().await;
    assert_eq!(world.c.world.nonce(world.client), sent + 3);
    assert_eq!(world.balance(bob).await, Amount(700));

    // A node that knows the task only from what it kept when the fallback was opened closes it.
    let mut other = world.home(key(0x31), false).await;
    let fallback = world.file.fallback(&world.task, &world.client);
    keep(
        &other.disk,
        fallback_key(&world.task, &world.client),
        codec::encode(&fallback),
    );
    pass(&world.c.world, SILENCE + 120);
    other.look().await;
    assert!(world.stand().await.open.expect("was opened").closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_lane_s_task_is_opened_paid_and_closed_once_each_and_the_books_agree() {
    let (ann, bob) = (Account([0xa1; 20]), Account([0xb2; 20]));
    let Silent {
        mut c,
        client,
        publisher,
        task,
        file,
    } = silent(ann, bob).await;
    let header = file.header.clone();
    let fallback = file.fallback(&task, &client);
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
