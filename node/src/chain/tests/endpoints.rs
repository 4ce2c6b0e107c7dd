//! Endpoints that are down, behind, of another chain, of another branch, or lie: nothing is signed in doubt, and when the fault ends
//! everything is done, once.

use alloy::sol_types::SolEvent as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{
    round::{Actor, Books, Round, STAKE, Step, TASK, account, until},
    *,
};

/// Validator, client and relayer in one.
const NODE: [u8; 32] = [1; 32];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Down,
    Garbage,
    /// A node that stopped following the chain some blocks ago.
    Stale,
    WrongChain,
    /// The same network, but other final blocks.
    OtherBranch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Start,
    Funding,
    Posting,
    Claiming,
}

/// A network whose chain can be copied, with a validator in office.
struct Town {
    dir: tempfile::TempDir,
    world: World,
    round: Round,
    start: u64,
    stranger: DevChain,
}

impl Town {
    async fn build() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let world = world_in(Some(dir.path().join("chain")), 0, dev_params()).await;
        let round = world.round(&NODE, &NODE).await;
        let setup = Actor::start(&world.profile, Some(NODE), &MemoryStore::default());
        setup
            .chain
            .register(4, Amount(STAKE), &node(1), Hash([1; 32]), round.validator)
            .await
            .expect("registers");
        setup.chain.submit(ChainCall::DrawCommittee { lane: 0 });
        let drawn = || setup.store.is_empty() && world.shows(Step::Drawn, &round);
        until("final", drawn, || {}).await;
        setup.chain.shutdown().await;
        let stranger = DevChain::open(DevChainConfig {
            chain_id: 5,
            ..dev_config(None, 0)
        })
        .expect("opens");
        stranger.call("dev_mine", json!([900])).expect("mines");
        Self {
            start: world.number("dev_snapshot", json!([])),
            dir,
            world,
            round,
            stranger,
        }
    }

    fn reset(&mut self) {
        let known = self.world.dev.call("dev_revert", json!([self.start]));
        assert_eq!(known, Ok(json!(true)));
        self.start = self.world.number("dev_snapshot", json!([]));
    }

    /// The chain as it is now, as another node that does not hear of anything that comes.
    fn copy(&self, name: &str) -> DevChain {
        let folder = self.dir.path().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        for file in std::fs::read_dir(self.dir.path().join("chain")).expect("a folder") {
            let file = file.expect("a file");
            std::fs::copy(file.path(), folder.join(file.file_name())).expect("copies");
        }
        DevChain::open(dev_config(Some(folder), 0)).expect("opens")
    }
}

/// A round with one node, through a front that can fail, alone or with a good one beside it.
struct Play<'a> {
    town: &'a Town,
    bad: Front,
    good: Option<Front>,
    profile: NetworkProfile,
    store: MemoryStore,
}

impl<'a> Play<'a> {
    async fn new(town: &'a Town, two: bool) -> Self {
        let (bad, url) = Front::open(town.world.dev.clone()).await;
        let mut profile = town.world.behind(url);
        let mut good = None;
        if two {
            let (front, url) = Front::open(town.world.dev.clone()).await;
            profile.rpc.push(url);
            good = Some(front);
        }
        Self {
            town,
            bad,
            good,
            profile,
            store: MemoryStore::default(),
        }
    }

    /// As after a restart: what is in the chain now was processed before.
    fn start(&self) -> Actor {
        let cfg = ChainConfig {
            poll: Duration::from_millis(10),
            first_block: self.town.world.head() + 1,
            ..ChainConfig::new(self.profile.clone(), Some(NODE))
        };
        let (chain, events) = Chain::start(cfg, Arc::new(self.store.clone())).expect("starts");
        let client = Client {
            chain,
            events,
            blocks: Vec::new(),
            other: Vec::new(),
        };
        Actor::read(client, &self.store)
    }

    /// Raw transactions that arrived anywhere.
    fn sent(&self) -> usize {
        let good = self.good.as_ref().map_or(0, |front| front.distinct().len());
        self.bad.distinct().len() + good
    }

    /// Begins a fault; a node that runs has seen blocks that an endpoint behind, or of another branch, does not hold.
    async fn begin(&self, fault: Fault, node: Option<&Actor>) {
        let town = self.town;
        let other = match fault {
            Fault::Down => return self.bad.rule(|_, _| Deal::LoseQuestion),
            Fault::Garbage => {
                *self.bad.garbage.lock().expect("lock") = Some(b"<html>hello</html>".to_vec());
                return;
            }
            Fault::Stale => town.copy("stale"),
            Fault::WrongChain => town.stranger.clone(),
            Fault::OtherBranch => {
                let branch = town.copy("branch");
                branch
                    .call("dev_increaseTime", json!([77]))
                    .expect("moves on");
                branch.call("dev_mine", json!([9])).expect("mines");
                branch
            }
        };
        town.world.mine(5);
        let head = town.world.head();
        let seen = || node.is_none_or(|node| node.chain.finalized() >= head);
        until("the newest blocks seen", seen, || {}).await;
        self.bad.put_behind(&other);
    }

    fn end(&self) {
        self.bad.put_behind(&self.town.world.dev);
        self.bad.rule(|_, _| Deal::Pass);
        *self.bad.garbage.lock().expect("lock") = None;
    }

    fn shows(&self, step: Step) -> bool {
        self.town.world.shows(step, &self.town.round)
    }

    async fn claim(&self, node: &Actor) {
        let (claim, all) = (self.town.round.claim(), self.town.round.subtree());
        let done = || self.shows(Step::SubtreeClaimed);
        let deadline = tokio::time::Instant::now() + WAIT;
        while !done() {
            assert!(tokio::time::Instant::now() < deadline, "never paid");
            // Refused while nobody can be asked, and by a client that has stopped; a user asks again.
            let _ = node.chain.claim(&claim).await;
            let _ = node.chain.claim_subtree(&all).await;
            tokio::task::yield_now().await;
        }
    }

    /// Asks for what the moment is about.
    async fn ask(&self, moment: Moment, node: &Actor) {
        let (world, round) = (&self.town.world, &self.town.round);
        match moment {
            Moment::Start | Moment::Funding => {
                let _ = node.chain.submit_durably(fund(1, 1_000, 50)).await;
                until("funded", || self.shows(Step::Funded), || {}).await;
                assert!(self.shows(Step::ToppedUp) || round.top_up(world));
            }
            Moment::Posting => {
                let settled = round.settled();
                let header = round.header(world, &settled);
                let call = round.post(world, header, settled);
                let _ = node.chain.submit_durably(call).await;
                until("posted", || self.shows(Step::Posted), || {}).await;
            }
            Moment::Claiming => self.claim(node).await,
        }
    }

    async fn go_on(&self, node: &Actor, from: Moment) -> Books {
        if from == Moment::Start || from == Moment::Funding {
            self.ask(Moment::Funding, node).await;
        }
        if from != Moment::Claiming {
            self.ask(Moment::Posting, node).await;
        }
        self.ask(Moment::Claiming, node).await;
        until("all final", || self.store.is_empty(), || {}).await;
        self.town.world.books(&self.town.round)
    }
}

/// What a node says about a fault that lasts: the reason, and whether it gave up for good.
async fn told(node: &Actor, from: usize, case: &str) -> (String, bool) {
    let say = || {
        node.events().into_iter().skip(from).find_map(|e| match e {
            ChainEvent::Down { why } => Some((why, false)),
            ChainEvent::Failed { why, permanent, .. } => Some((why, permanent)),
            _ => None,
        })
    };
    until(&format!("{case}: told"), || say().is_some(), || {}).await;
    say().expect("just seen")
}

async fn play(town: &mut Town, fault: Option<(Fault, Moment)>, two: bool) -> Books {
    town.reset();
    let play = Play::new(town, two).await;
    let Some((fault, moment)) = fault else {
        return play.go_on(&play.start(), Moment::Start).await;
    };
    let case = format!("{fault:?}, {moment:?}, two endpoints: {two}");
    let mut events = 0;
    let mut node = if moment == Moment::Start {
        play.begin(fault, None).await;
        play.start()
    } else {
        let node = play.start();
        let is_up = || {
            node.events()
                .iter()
                .any(|e| matches!(e, ChainEvent::Up { .. }))
        };
        until("up", is_up, || {}).await;
        if moment != Moment::Funding {
            play.ask(Moment::Funding, &node).await;
        }
        if moment == Moment::Claiming {
            play.ask(Moment::Posting, &node).await;
        }
        until("all final", || play.store.is_empty(), || {}).await;
        events = node.events().len();
        play.begin(fault, Some(&node)).await;
        node
    };
    let before = play.sent();
    let at_bad = play.bad.distinct().len();
    let passes = matches!(fault, Fault::Down | Fault::Garbage | Fault::Stale);
    if two && passes {
        // No doubt: the other endpoint is good.
        let books = play.go_on(&node, moment).await;
        assert_eq!(play.bad.distinct().len(), at_bad, "{case}");
        return books;
    }
    let stopped = {
        let asking = play.ask(moment, &node);
        tokio::select! {
            () = asking => panic!("{case}: it was done in doubt"),
            (why, permanent) = told(&node, events, &case) => {
                let expected: &[&str] = match fault {
                    Fault::Down => &["does not answer"],
                    Fault::Garbage => &["answers"],
                    Fault::Stale => &["is behind"],
                    Fault::WrongChain => &["serves chain 5", "contradicts itself", "disagree"],
                    Fault::OtherBranch => &["contradicts itself", "disagree", "is behind"],
                };
                assert!(expected.iter().any(|e| why.contains(e)), "{case}: {why}");
                permanent
            }
        }
    };
    assert_eq!(play.sent(), before, "{case}: signed in doubt");
    assert!(
        !(stopped && two),
        "{case}: one endpoint alone stops nothing"
    );
    play.end();
    if stopped {
        node.chain.shutdown().await;
        node = play.start();
    }
    play.go_on(&node, moment).await
}

async fn every_moment(faults: &[Fault]) {
    let mut town = Town::build().await;
    let undisturbed = play(&mut town, None, false).await;
    for fault in faults {
        for moment in [
            Moment::Start,
            Moment::Funding,
            Moment::Posting,
            Moment::Claiming,
        ] {
            for two in [false, true] {
                if (*fault, moment, two) == (Fault::OtherBranch, Moment::Start, false) {
                    // Nobody to compare with, and nothing seen yet in this run: it looks like the chain itself.
                    continue;
                }
                let books = play(&mut town, Some((*fault, moment)), two).await;
                let case = format!("{fault:?}, {moment:?}, two endpoints: {two}");
                assert_eq!(books, undisturbed, "{case}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_down_or_talks_nonsense_at_any_moment_is_waited_out_or_replaced() {
    every_moment(&[Fault::Down, Fault::Garbage]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_lost_the_chain_at_any_moment_is_waited_out_or_replaced() {
    every_moment(&[Fault::Stale]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_of_another_chain_or_branch_at_any_moment_keeps_everything_back() {
    every_moment(&[Fault::WrongChain, Fault::OtherBranch]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_stands_still_from_the_first_look_on_is_left_for_one_that_moves() {
    let town = Town::build().await;
    let play = Play::new(&town, true).await;
    play.bad.put_behind(&town.copy("still"));
    let node = play.start();
    let is_up = || {
        node.events()
            .iter()
            .any(|e| matches!(e, ChainEvent::Up { .. }))
    };
    until("up", is_up, || {}).await;
    town.world.mine(7);
    let head = town.world.head();
    until("caught up", || node.chain.finalized() >= head, || {}).await;
}

/// What every lie must not achieve.
struct Lie {
    name: &'static str,
    rule: fn(&str, &Value) -> Deal,
    /// What people are told, with one endpoint and with two; none when a single one cannot be seen through, or it does not matter.
    one: Option<&'static str>,
    two: Option<&'static str>,
}

fn is_call(method: &str, params: &Value, selector: [u8; 4]) -> bool {
    let input = params[0]["input"].as_str().unwrap_or_default();
    method == "eth_call" && input.starts_with(&hex::encode_prefixed(selector))
}

const WORD_ZERO: &str = "0x0000000000000000000000000000000000000000000000000000000000000000";

/// Lies about our money and what it costs, told while a task is to be funded.
fn lies() -> Vec<Lie> {
    use alloy::sol_types::SolCall as _;
    vec![
        Lie {
            name: "no tokens",
            rule: |method, params| {
                if is_call(method, params, DevToken::balanceOfCall::SELECTOR) {
                    Deal::Answer(json!(WORD_ZERO))
                } else {
                    Deal::Pass
                }
            },
            one: Some("holds 0 tokens"),
            two: Some("show different states"),
        },
        Lie {
            name: "an allowance that nobody gave",
            rule: |method, params| {
                if is_call(method, params, DevToken::allowanceCall::SELECTOR) {
                    Deal::Answer(json!(format!("0x{}", "ff".repeat(32))))
                } else {
                    Deal::Pass
                }
            },
            // The estimate tells; an endpoint that also lies there is believed alone, and costs the gas of a reverted transaction.
            one: None,
            two: Some("show different states"),
        },
        Lie {
            name: "no native currency",
            rule: |method, _| match method {
                "eth_getBalance" => Deal::Answer(json!("0x0")),
                _ => Deal::Pass,
            },
            one: Some("holds 0 wei"),
            two: Some("holds 0 wei"),
        },
        Lie {
            name: "many transactions in the pool",
            rule: |method, params| match method {
                "eth_getTransactionCount" if params[1] == "pending" => {
                    Deal::Answer(json!("0xffff"))
                }
                _ => Deal::Pass,
            },
            one: Some("wait to be mined"),
            two: Some("wait to be mined"),
        },
        Lie {
            name: "a nonce far ahead",
            rule: |method, _| match method {
                "eth_getTransactionCount" => Deal::Answer(json!("0xffff")),
                _ => Deal::Pass,
            },
            // Signed for a place in the line that never comes up, and planned anew.
            one: None,
            two: Some("nothing is signed until they agree"),
        },
        Lie {
            name: "a base fee of 2^127",
            rule: |method, _| match method {
                "eth_getBlockByNumber" => Deal::Change(|block| {
                    block["baseFeePerGas"] = json!(format!("{:#x}", 1u128 << 127));
                }),
                _ => Deal::Pass,
            },
            one: Some("gas costs"),
            two: Some("gas costs"),
        },
        Lie {
            name: "a priority fee of 2^127",
            rule: |method, _| match method {
                "eth_maxPriorityFeePerGas" => Deal::Answer(json!(format!("{:#x}", 1u128 << 127))),
                _ => Deal::Pass,
            },
            one: Some("priority fee"),
            two: Some("priority fee"),
        },
        Lie {
            name: "every transaction failed",
            rule: |method, _| match method {
                "eth_getTransactionReceipt" => Deal::Change(|receipt| {
                    if receipt.is_object() {
                        receipt["status"] = json!("0x0");
                    }
                }),
                _ => Deal::Pass,
            },
            // What the chain holds decides: it is planned anew, and found done.
            one: None,
            two: None,
        },
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_lies_about_money_or_its_price_gets_no_signature_and_an_explanation() {
    let mut town = Town::build().await;
    let mut undisturbed = play(&mut town, None, false).await;
    for lie in lies() {
        for two in [false, true] {
            let case = format!("{}, two endpoints: {two}", lie.name);
            town.reset();
            let play = Play::new(&town, two).await;
            let node = play.start();
            let is_up = || {
                node.events()
                    .iter()
                    .any(|e| matches!(e, ChainEvent::Up { .. }))
            };
            until("up", is_up, || {}).await;
            play.bad.rule(lie.rule);
            let told = if two { lie.two } else { lie.one };
            let call = fund(1, 1_000, 50);
            node.chain.submit_durably(call).await.expect("taken");
            if let Some(expected) = told {
                let said = || {
                    node.events().iter().any(
                        |e| matches!(e, ChainEvent::Failed { why, .. } if why.contains(expected)),
                    )
                };
                until(&case, said, || {}).await;
                assert_eq!(play.sent(), 0, "{case}: signed in doubt");
            } else if lie.name == "a nonce far ahead" {
                until(&case, || play.sent() > 0, || {}).await;
            } else {
                until(
                    &case,
                    || play.shows(Step::Funded) || play.sent() == 0,
                    || {},
                )
                .await;
            }
            play.end();
            let books = play.go_on(&node, Moment::Funding).await;
            assert_eq!(books, undisturbed, "{case}");
            undisturbed = books;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_for_a_transaction_that_was_never_mined_ends_nothing() {
    let town = Town::build().await;
    for two in [false, true] {
        let play = Play::new(&town, two).await;
        let node = play.start();
        let block = town
            .world
            .dev
            .call("eth_getBlockByNumber", json!(["0x5", false]));
        let hash = block.expect("a block")["hash"].clone();
        let (asked, receipts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, seen) = (Arc::clone(&asked), Arc::clone(&receipts));
        play.bad.rule(move |method, params| match method {
            "eth_sendRawTransaction" => {
                let raw = hex::decode(params[0].as_str().expect("text")).expect("hex");
                let tx = TxEnvelope::decode_2718_exact(&raw).expect("a transaction");
                count.fetch_add(1, Ordering::Relaxed);
                Deal::Answer(json!(tx.tx_hash()))
            }
            "eth_getTransactionReceipt" => {
                seen.fetch_add(1, Ordering::Relaxed);
                Deal::Answer(json!({
                    "status": "0x1", "blockNumber": "0x5", "blockHash": hash, "gasUsed": "0x5208", "logs": []
                }))
            }
            _ => Deal::Pass,
        });
        let task = if two { 3 } else { 2 };
        let call = fund(task, 1_000, 50);
        node.chain.submit_durably(call).await.expect("taken");
        // The same bytes come again, so the receipt was not believed.
        until("sent again", || asked.load(Ordering::Relaxed) >= 2, || {}).await;
        assert!(!play.store.is_empty());
        let done = |e: &ChainEvent| matches!(e, ChainEvent::Done { .. });
        assert!(!node.events().iter().any(done), "two endpoints: {two}");
        play.end();
        until("done", || node.events().iter().any(done), || {}).await;
        let held = node.chain.escrow(TaskId([task; 32]), account(&NODE)).await;
        assert!(held.expect("answers").is_some());
        assert_eq!(
            receipts.load(Ordering::Relaxed),
            0,
            "the nonce was not used"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_the_block_does_not_hold_are_not_delivered() {
    let town = Town::build().await;
    let payer = Play::new(&town, false).await;
    let node = payer.start();
    let call = fund(1, 1_000, 50);
    node.chain.submit_durably(call).await.expect("taken");
    until("funded", || payer.store.is_empty(), || {}).await;
    type Change = fn(&mut Value);
    let another_task: Change = |logs| {
        for log in logs.as_array_mut().into_iter().flatten() {
            log["topics"][1] = json!(format!("0x{}", "77".repeat(32)));
        }
    };
    let more_money: Change = |logs| {
        for log in logs.as_array_mut().into_iter().flatten() {
            let data = log["data"].as_str().unwrap_or_default().to_owned();
            if log["topics"][0] == json!(TaskEscrow::Funded::SIGNATURE_HASH) {
                log["data"] = json!(format!("{}7{}", &data[..100], &data[101..]));
            }
        }
    };
    let fewer: Change = |logs| *logs = json!([]);
    for (change, two, expected) in [
        (another_task, false, "filter does not know"),
        (another_task, true, "filter does not know"),
        (more_money, true, "disagree about the events"),
    ] {
        let play = Play::new(&town, two).await;
        play.bad.rule(move |method, _| match method {
            "eth_getLogs" => Deal::Change(change),
            _ => Deal::Pass,
        });
        let mut client = super::start(&play.profile, Some(NODE), &MemoryStore::default());
        if two && expected.starts_with("filter") {
            // The other endpoint is asked instead.
            let funded = |f: &ChainFact| matches!(f, ChainFact::Funded { task: TASK, .. });
            client.fact("Funded", funded).await;
            continue;
        }
        let why = client.down().await;
        assert!(why.contains(expected), "{why}");
        assert_eq!(client.blocks, [], "nothing was delivered");
        play.end();
        let funded = |f: &ChainFact| {
            matches!(
                f,
                ChainFact::Funded {
                    deposit: Amount(1_000),
                    ..
                }
            )
        };
        client.fact("Funded", funded).await;
    }
    // Left out altogether: asked by hash, it still says nothing, and only the other endpoint can tell.
    let play = Play::new(&town, true).await;
    play.bad.rule(move |method, _| match method {
        "eth_getLogs" => Deal::Change(fewer),
        _ => Deal::Pass,
    });
    let mut client = super::start(&play.profile, None, &MemoryStore::default());
    let why = client.down().await;
    assert!(why.contains("disagree about the events"), "{why}");
}

/// A port that answers every request with this head, and then with `more` again and again for as long as anybody reads.
async fn endless(head: &'static str, more: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut question = [0; 4096];
                let _ = socket.read(&mut question).await;
                let mut good = socket.write_all(head.as_bytes()).await.is_ok();
                while good && !more.is_empty() {
                    good = socket.write_all(more).await.is_ok();
                }
                // Held open until the asker goes.
                while good && matches!(socket.read(&mut question).await, Ok(n) if n > 0) {}
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_end_are_cut_off_and_said_to_be() {
    static BLANKS: [u8; 1 << 16] = [b' '; 1 << 16];
    let world = world().await;
    let gigabyte = "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n";
    for (url, expected) in [
        (
            endless(gigabyte, &BLANKS).await,
            "larger than 67108864 bytes",
        ),
        (
            endless("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", &BLANKS).await,
            "larger than 67108864 bytes",
        ),
        (
            endless("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", b"").await,
            "no answer in time",
        ),
    ] {
        let profile = world.behind(url);
        let client = start(&profile, Some(NODE), &MemoryStore::default());
        client.chain.submit(fund(1, 1_000, 50));
        let error = client.chain.balances(account(&NODE)).await;
        let error = error.expect_err("no answer").to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(world.nonce(account(&NODE)), 0);
}
