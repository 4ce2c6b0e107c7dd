//! `kill -9` at hundreds of random points: before and after disk writes, before and after questions to the chain, with and without a
//! reorganisation around it. Afterwards the chain's own log and everybody's balance are those of a run that nobody disturbed.
//!
//! A torn write is a write that did not happen: the store commits atomically, which its own tests show.

use std::sync::PoisonError;

use tokio::sync::Notify;

use super::{
    round::{Again, Books, Round, STAKE, Step, until},
    *,
};

/// Deaths in one run of the test.
const DEATHS: usize = 240;
/// Deaths in one round, after which the process is left alone.
const DEATHS_A_ROUND: usize = 24;
/// Blocks that a reorganisation may replace here.
const FINALITY: u64 = 8;
/// Validator, client and relayer in one: one outbox for all.
const NODE: [u8; 32] = [1; 32];
/// Repeats a run: the seed that a failure names.
const SEED: &str = "ASSAY_KILLS_SEED";

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What the process is at when it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// About to write; nothing is written.
    Write,
    /// The write is durable, the process does not know.
    Written,
    /// About to ask; the endpoint hears nothing.
    Ask,
    /// The endpoint has done it, the process does not know.
    Asked,
    /// The same two for questions that hand over a transaction.
    Send,
    Sent,
}

const MOMENTS: [(Moment, u64); 6] = [
    (Moment::Write, 8),
    (Moment::Written, 8),
    (Moment::Ask, 50),
    (Moment::Asked, 50),
    (Moment::Send, 3),
    (Moment::Sent, 3),
];

/// One life of the process: when it ends, and the reorganisation that happens while it lives.
struct Life {
    death: Mutex<Option<(Moment, u64)>>,
    reorg: Mutex<Option<(u64, u64, Again)>>,
    world: Arc<World>,
    dead: Mutex<bool>,
    died: Notify,
}

/// Whether something happens, and whether the process lives to see it.
#[derive(PartialEq, Eq)]
enum Fate {
    Lives,
    DiesBefore,
    DiesAfter,
}

impl Life {
    fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self, before: Moment, after: Moment) -> Fate {
        let mut dead = Self::lock(&self.dead);
        if *dead {
            return Fate::DiesBefore;
        }
        let mut death = Self::lock(&self.death);
        let Some((moment, left)) = death.as_mut().filter(|(m, _)| *m == before || *m == after)
        else {
            return Fate::Lives;
        };
        if *left > 0 {
            *left -= 1;
            return Fate::Lives;
        }
        *dead = true;
        self.died.notify_one();
        if *moment == before {
            Fate::DiesBefore
        } else {
            Fate::DiesAfter
        }
    }

    /// A question arrives at the endpoint.
    fn question(&self, method: &str) -> Deal {
        let mut reorg = Self::lock(&self.reorg);
        if let Some((left, depth, again)) = reorg.as_mut() {
            if *left > 0 {
                *left -= 1;
            } else {
                self.world.reorg(*depth, *again);
                *reorg = None;
            }
        }
        drop(reorg);
        let mut fate = self.fate(Moment::Ask, Moment::Asked);
        if fate == Fate::Lives && method == "eth_sendRawTransaction" {
            fate = self.fate(Moment::Send, Moment::Sent);
        }
        match fate {
            Fate::Lives => Deal::Pass,
            Fate::DiesBefore => Deal::LoseQuestion,
            Fate::DiesAfter => Deal::LoseAnswer,
        }
    }
}

/// The disk as one life of the process sees it.
struct Disk {
    store: MemoryStore,
    life: Arc<Life>,
}

impl Disk {
    fn write(&self, write: impl FnOnce(&MemoryStore) -> Result<(), String>) -> Result<(), String> {
        let gone = || Err("the process is dead".to_owned());
        match self.life.fate(Moment::Write, Moment::Written) {
            Fate::Lives => write(&self.store),
            Fate::DiesBefore => gone(),
            Fate::DiesAfter => {
                write(&self.store)?;
                gone()
            }
        }
    }
}

impl OutboxStore for Disk {
    fn load(&self) -> Result<Vec<OutboxRow>, String> {
        self.store.load()
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.write(|store| store.put(key, value))
    }

    fn delete(&self, key: &[u8]) -> Result<(), String> {
        self.write(|store| store.delete(key))
    }
}

/// A round of the one node that does everything.
struct Play {
    world: Arc<World>,
    round: Round,
    /// Signed by the committee once its facts are final, like in life.
    epoch: Mutex<Option<ChainCall>>,
    store: MemoryStore,
}

impl Play {
    fn shows(&self, step: Step) -> bool {
        self.world.shows(step, &self.round)
    }

    /// What the node does from its start on, whatever it did before: all of it may be asked for again.
    async fn work(&self, chain: Chain) {
        // A refusal means that the process has just died, or that it is done.
        let _ = chain.submit_durably(fund(1, 1_000, 50)).await;
        let signed = || Life::lock(&self.epoch).is_some();
        while !signed() {
            until("funded", || self.shows(Step::Funded), || {}).await;
            if !self.shows(Step::ToppedUp) {
                self.round.top_up(&self.world);
            }
            self.world.mine(FINALITY);
            if self.shows(Step::ToppedUp) {
                let settled = self.round.settled();
                let header = self.round.header(&self.world, &settled);
                *Life::lock(&self.epoch) = Some(self.round.post(&self.world, header, settled));
            }
        }
        let epoch = Life::lock(&self.epoch).clone().expect("just signed");
        let _ = chain.submit_durably(epoch).await;
        until("posted", || self.shows(Step::Posted), || {}).await;
        let (claim, subtree) = (self.round.claim(), self.round.subtree());
        let _ = tokio::join!(chain.claim(&claim), chain.claim_subtree(&subtree));
        let done = || self.store.is_empty() && self.shows(Step::SubtreeClaimed);
        until("all is final", done, || self.world.mine(1)).await;
    }

    /// Lives until death or the end of the round; true when the process died.
    async fn live(&self, death: Option<(Moment, u64)>, reorg: Option<(u64, u64, Again)>) -> bool {
        let life = Arc::new(Life {
            death: Mutex::new(death),
            reorg: Mutex::new(reorg),
            world: Arc::clone(&self.world),
            dead: Mutex::new(false),
            died: Notify::new(),
        });
        // A port of its own: nothing that a dead process asked arrives in the next one's name.
        let (front, url) = Front::open(self.world.dev.clone()).await;
        let asked = Arc::clone(&life);
        front.rule(move |method, _| asked.question(method));
        let disk = Disk {
            store: self.store.clone(),
            life: Arc::clone(&life),
        };
        let mut client = start_on(&self.world.behind(url), Some(NODE), Arc::new(disk));
        let chain = client.chain.clone();
        let reader = async {
            loop {
                client.events.recv().await;
            }
        };
        tokio::select! {
            () = life.died.notified() => {}
            () = self.work(chain) => {}
            () = reader => {}
        }
        *Life::lock(&life.dead)
    }

    fn books(&self) -> Books {
        self.world.books(&self.round)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_at_any_of_hundreds_of_points_pays_and_posts_everything_exactly_once() {
    let seed = std::env::var(SEED).map_or_else(
        |_| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(0, |t| t.as_micros() as u64)
        },
        |text| text.parse().expect("a number"),
    );
    println!("repeat with {SEED}={seed}");
    let mut dice = Dice(seed);

    let world = world_with(FINALITY, dev_params()).await;
    let round = world.round(&NODE, &NODE).await;
    world.mine(2 * FINALITY);
    let setup = round::Actor::start(&world.profile, Some(NODE), &MemoryStore::default());
    setup
        .chain
        .register(4, Amount(STAKE), &node(1), Hash([1; 32]), round.validator)
        .await
        .expect("registers");
    setup.chain.submit(ChainCall::DrawCommittee { lane: 0 });
    until(
        "final",
        || setup.store.is_empty() && world.shows(Step::Drawn, &round),
        || world.mine(1),
    )
    .await;
    setup.chain.shutdown().await;

    let mut start = world.number("dev_snapshot", json!([]));
    let world = Arc::new(world);
    let mut play = Play {
        world: Arc::clone(&world),
        round,
        epoch: Mutex::default(),
        store: MemoryStore::default(),
    };
    let mut undisturbed: Option<Books> = None;
    let (mut deaths, mut reorgs) = (0, 0);
    while deaths < DEATHS {
        let known = world.dev.call("dev_revert", json!([start]));
        assert_eq!(known, Ok(json!(true)));
        start = world.number("dev_snapshot", json!([]));
        world.mine(2 * FINALITY);
        play.store = MemoryStore::default();
        *Life::lock(&play.epoch) = None;

        let mut history = Vec::new();
        // The first round is the one that nobody disturbs.
        let limit = if undisturbed.is_some() {
            DEATHS_A_ROUND
        } else {
            0
        };
        loop {
            let mortal = history.len() < limit;
            let (moment, most) = MOMENTS[dice.below(MOMENTS.len() as u64) as usize];
            let death = mortal.then(|| (moment, dice.below(most)));
            let chaos = (mortal && dice.below(3) == 0).then(|| {
                let again = [Again::Never, Again::SameOrder, Again::OtherOrder];
                let again = again[dice.below(3) as usize];
                (dice.below(60), 1 + dice.below(FINALITY), again)
            });
            let died = play.live(death, chaos).await;
            history.push((death, chaos));
            if !died {
                break;
            }
            deaths += 1;
            if let Some((_, depth, again)) = chaos {
                // Once while it lived, if it lived long enough, and once while nobody looks.
                world.reorg(depth, again);
                reorgs += 1;
            }
        }
        let books = play.books();
        let expected = undisturbed.get_or_insert_with(|| books.clone());
        assert_eq!(books, *expected, "{SEED}={seed}, after {history:?}");
    }
    println!("{deaths} deaths, {reorgs} reorganisations between lives");
}
