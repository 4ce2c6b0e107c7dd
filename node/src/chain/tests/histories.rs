//! Random histories of a whole network on the real contracts, right calls and wrong ones, judged by the protocol's twin call by call.
//!
//! Nothing here says what a call should do: the chain does it, [`audit`] plays it through the twin, and the two must agree. What this file
//! knows of the contracts is only how to make calls that go far.

mod papers;

use alloy::sol_types::SolCall;
use assay_protocol::{
    id::EvmSignature,
    lane::{Claim, FlatFile, FlatPay, FlatPayouts, SubtreeClaim, role, state_root},
    message::{EpochHeader, SettledTask},
    settlement::{Evidence, fault::TreeFault},
};

use self::papers::{Trees, prove_call};
use super::{
    super::{
        bindings::{DevToken, Disputes, EpochAnchor, Registry, RewardDistributor, TaskEscrow},
        facts::abi_header,
    },
    *,
};

/// Calls of one history, about.
const CALLS: usize = 400;
/// Histories of one run.
const SEEDS: u64 = 6;
const LANES: u32 = 2;
/// Keys 1 to this are people with tokens.
const PEOPLE: u8 = 24;
/// The first of them begin as validators, those behind them as labelers.
const VALIDATORS: u8 = 5;
const LABELERS: std::ops::RangeInclusive<u8> = 6..=8;
const TOKENS: u128 = 1_000_000;
const STAKE: u128 = 10_001;
const BOND: u128 = 1_003;
/// Time passes in steps that are long beside a run, so that a history is the same on every machine.
const STEP_SECS: u64 = 1_200;
const ACTIVATION_SECS: u32 = 2 * STEP_SECS as u32;
const UNBOND_SECS: u64 = 3 * STEP_SECS;
const STALL_SECS: u64 = 2 * 86_400;
const FALLBACK_SECS: u64 = 3 * 86_400;

/// A seeded source of choices (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.roll() % n.max(1) as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        let at = self.below(list.len());
        list.get(at).cloned()
    }

    fn units(&mut self, below: u128) -> u128 {
        u128::from(self.roll()) % below.max(1)
    }

    fn person(&mut self) -> u8 {
        1 + self.below(usize::from(PEOPLE)) as u8
    }
}

/// A header with everything that was signed into it.
#[derive(Clone)]
struct Epoch {
    header: EpochHeader,
    trees: Trees,
    flat: FlatPayouts,
    losses: Vec<(Account, Amount)>,
    /// Keys of its committee.
    committee: Vec<u8>,
    /// Proofs of what is wrong with the trees.
    faults: Vec<TreeFault>,
}

/// One history while it happens.
struct Story {
    world: World,
    dice: Dice,
    disputes: Account,
    tasks: Vec<(TaskId, u8, u32)>,
    /// Epochs by lane, as posted and not taken back.
    lanes: Vec<Vec<Epoch>>,
    /// Epochs that were taken back.
    revoked: Vec<Epoch>,
    /// Transactions with what they tried, in order.
    told: Vec<(Hash, String)>,
    /// Calls that were taken and refused, by name.
    counts: BTreeMap<&'static str, [u64; 2]>,
}

impl Story {
    async fn begin(seed: u64) -> Self {
        let params = DeployParams {
            lanes: LANES,
            committee_max: 6,
            term_epochs: 6,
            min_validator_stake: Amount(STAKE),
            min_labeler_bond: Amount(BOND),
            unbond_seconds: UNBOND_SECS,
            fallback_seconds: FALLBACK_SECS,
            activation_delay: ACTIVATION_SECS,
            ..DeployParams::dev()
        };
        let world = world_with(0, params).await;
        let anchor = world.profile.contracts.anchor;
        let disputes = world.view(anchor, EpochAnchor::disputesCall {}).into();
        let mut story = Self {
            world,
            dice: Dice(seed),
            disputes,
            tasks: Vec::new(),
            lanes: vec![Vec::new(); LANES as usize],
            revoked: Vec::new(),
            told: Vec::new(),
            counts: BTreeMap::new(),
        };
        story.provide();
        for n in 1..=VALIDATORS {
            story.register(n, role::VALIDATOR, STAKE);
        }
        for n in LABELERS {
            story.register(n, role::LABELER, BOND);
        }
        for lane in 0..LANES {
            story.draw(lane);
        }
        story
    }

    /// Gas, tokens and allowances for everybody; none of it is judged.
    fn provide(&self) {
        let contracts = &self.world.profile.contracts;
        for n in 1..=PEOPLE {
            let who = account(n);
            let wei = U256::from(100 * ETHER);
            let set = json!([Address::from(who), wei]);
            self.world.dev.call("dev_setBalance", set).expect("is set");
            let mint = DevToken::mintCall {
                to: who.into(),
                amount: U256::from(TOKENS),
            };
            assert!(self.world.send(&key(n), contracts.token, &mint));
            for spender in [contracts.registry, contracts.escrow] {
                let approve = DevToken::approveCall {
                    spender: spender.into(),
                    value: U256::MAX,
                };
                assert!(self.world.send(&key(n), contracts.token, &approve));
            }
        }
    }

    /// Sends a call and notes what came of it.
    fn call(&mut self, name: &'static str, who: u8, to: Account, call: &impl SolCall) -> bool {
        self.data(name, who, to, call.abi_encode())
    }

    fn data(&mut self, name: &'static str, who: u8, to: Account, data: Vec<u8>) -> bool {
        let (hash, ok) = self.world.send_data(&key(who), to, data);
        let verdict = if ok { "taken" } else { "refused" };
        let step = format!("{} {name} by {who}: {verdict}", self.told.len());
        self.told.push((hash, step));
        self.counts.entry(name).or_default()[usize::from(!ok)] += 1;
        ok
    }

    fn contracts(&self) -> assay_protocol::network::Contracts {
        self.world.profile.contracts.clone()
    }

    fn stake_of(&self, n: u8) -> Registry::Account {
        let call = Registry::accountsCall {
            account: account(n).into(),
        };
        self.world.view(self.contracts().registry, call)
    }

    /// Time of the newest block.
    fn now(&self) -> u64 {
        let block = self
            .world
            .dev
            .call("eth_getBlockByNumber", json!(["latest", false]));
        let time = block.expect("answers")["timestamp"].clone();
        let time: alloy::primitives::U64 = serde_json::from_value(time).expect("a time");
        time.to()
    }

    fn lane(&mut self) -> u32 {
        self.dice.below(LANES as usize) as u32
    }

    /// Somebody whose registration fits, most of the time.
    fn somebody(&mut self, fits: impl Fn(&Registry::Account) -> bool) -> u8 {
        let fitting: Vec<u8> = (1..=PEOPLE).filter(|n| fits(&self.stake_of(*n))).collect();
        match self.dice.pick(&fitting) {
            Some(n) if !self.dice.one_in(5) => n,
            _ => self.dice.person(),
        }
    }

    fn pass(&mut self, secs: u64) {
        let world = &self.world;
        world
            .dev
            .call("dev_increaseTime", json!([secs]))
            .expect("moves on");
    }

    /// One more call, or some time.
    fn step(&mut self) {
        match self.dice.below(100) {
            0..=6 => self.register_somebody(),
            7..=9 => self.add_stake(),
            10..=11 => self.unbond(),
            12..=14 => self.withdraw(),
            15..=23 => self.fund(),
            24..=28 => self.top_up(),
            29..=30 => {
                let lane = self.dice.below(LANES as usize + 1) as u32;
                self.draw(lane);
            }
            31..=52 => self.post(),
            53..=59 => self.claim(),
            60..=63 => self.claim_many(),
            64..=68 => self.claim_subtree(),
            69..=78 => self.prove(),
            79..=80 => self.punish(),
            81..=82 => self.equivocate(),
            83..=84 => self.overrule(),
            85 => self.open_fallback(),
            86..=87 => self.claim_fallback(),
            88 => self.close_fallback(),
            89..=90 => self.return_late(),
            91 => self.force_record(),
            92..=93 => self.transfer(),
            94 => self.trespass(),
            95..=97 => {
                let steps = 1 + self.dice.below(3) as u64;
                self.pass(steps * STEP_SECS);
            }
            98 => {
                self.pass(STALL_SECS);
                let lane = self.lane();
                self.draw(lane);
            }
            _ => self.silence(),
        }
    }

    /// Long enough for tasks to be paid without a committee, and for the window of those that are.
    fn silence(&mut self) {
        self.pass(FALLBACK_SECS);
        self.close_fallback();
        for _ in 0..3 {
            self.open_fallback();
            self.claim_fallback();
        }
    }

    /// A scene of several calls that chance would hardly bring together.
    fn scene(&mut self, which: u64) {
        let lane = self.lane();
        match which % 5 {
            0 | 1 => self.exodus(),
            2 => {
                // Draws keep a lane alive, but not for ever.
                for _ in 0..4 {
                    self.pass(STALL_SECS);
                    self.draw(lane);
                }
                self.pass(FALLBACK_SECS - STALL_SECS);
                let of: Vec<_> = self.tasks.iter().filter(|t| t.2 == lane).copied().collect();
                for (task, client, _) in of.into_iter().rev().take(4) {
                    self.open_fallback_of(task, client);
                }
            }
            3 => {
                // More epochs than a delay has room for.
                for _ in 0..17 {
                    self.post_to(lane, usize::MAX);
                }
            }
            _ => {
                // Everybody claims, also where a tree owes more than there is.
                self.pass(u64::from(ACTIVATION_SECS));
                let faulty = |e: &&Epoch| e.faults.iter().any(|p| matches!(p, TreeFault::Edge(_)));
                let all = |lane: &Vec<Epoch>| {
                    lane.iter()
                        .rev()
                        .take(8)
                        .find(faulty)
                        .or(lane.last())
                        .cloned()
                };
                let epochs: Vec<Epoch> = self.lanes.iter().filter_map(all).collect();
                for epoch in epochs {
                    for at in 0..epoch.trees.leaves.len() {
                        let claim = epoch.trees.claim(&epoch.header, at);
                        self.hand_in(&claim.expect("a leaf"));
                    }
                }
            }
        }
    }

    /// Who can leave leaves; labelers come back, and the banned try to.
    fn exodus(&mut self) {
        for n in LABELERS {
            let call = Registry::requestUnbondCall {};
            self.call("requestUnbond", n, self.contracts().registry, &call);
        }
        self.pass(2 * UNBOND_SECS);
        for n in 1..=PEOPLE {
            if self.stake_of(n).readyAt != 0 {
                self.withdraw_as(n, usize::MAX);
            }
        }
        for n in LABELERS {
            self.register(n, role::LABELER, STAKE);
        }
        for n in 1..=PEOPLE {
            let whose = account(n).into();
            let call = Registry::bannedCall { account: whose };
            let banned = self.world.view(self.contracts().registry, call);
            if banned && self.stake_of(n).nodeKey.is_zero() {
                self.register_with(n, n + 100, role::CLIENT, 0);
                let other = self.somebody(|a| a.nodeKey.is_zero());
                self.register_with(other, n, role::CLIENT, 0);
            }
        }
    }

    fn register(&mut self, n: u8, roles: u8, stake: u128) {
        self.register_with(n, n, roles, stake);
    }

    fn register_with(&mut self, n: u8, node: u8, roles: u8, stake: u128) {
        let call = Registry::registerCall {
            nodeKey: [node; 32].into(),
            sealKey: [n; 32].into(),
            payee: account(n).into(),
            roles,
            stake,
            binding: vec![n; 64].into(),
        };
        self.call("register", n, self.contracts().registry, &call);
    }

    fn register_somebody(&mut self) {
        let n = self.somebody(|a| a.nodeKey.is_zero());
        let validators = self
            .world
            .view(self.contracts().registry, Registry::validatorCountCall {});
        let scarce = validators < U256::from(VALIDATORS);
        let roles = if scarce && !self.dice.one_in(4) || self.dice.one_in(10) {
            role::VALIDATOR | (self.dice.below(2) as u8 * role::LABELER)
        } else {
            self.dice.below(4) as u8
        };
        let least = if roles & role::VALIDATOR != 0 {
            STAKE
        } else {
            BOND
        };
        let odd = self.dice.below(24);
        let call = Registry::registerCall {
            nodeKey: match odd {
                0 => [0; 32].into(),
                1 => [self.dice.person(); 32].into(),
                _ => [n; 32].into(),
            },
            sealKey: [n; 32].into(),
            payee: if odd == 2 {
                Address::ZERO
            } else {
                account(n).into()
            },
            roles: if odd == 3 { roles | 8 } else { roles },
            stake: match odd {
                4 => least - 1,
                5 => 0,
                6 => 2 * TOKENS,
                _ => least + self.dice.units(5 * STAKE),
            },
            binding: vec![n; if odd == 7 { 63 } else { 64 }].into(),
        };
        self.call("register", n, self.contracts().registry, &call);
    }

    fn add_stake(&mut self) {
        let n = self.somebody(|a| !a.nodeKey.is_zero() && a.readyAt == 0);
        let amount = match self.dice.below(6) {
            0 => 0,
            1 => 2 * TOKENS,
            _ => 1 + self.dice.units(2 * STAKE),
        };
        let call = Registry::addStakeCall { amount };
        self.call("addStake", n, self.contracts().registry, &call);
    }

    fn unbond(&mut self) {
        let n = self.somebody(|a| !a.nodeKey.is_zero() && a.readyAt == 0);
        let call = Registry::requestUnbondCall {};
        self.call("requestUnbond", n, self.contracts().registry, &call);
    }

    fn withdraw(&mut self) {
        let now = self.now();
        let n = self.somebody(|a| (1..=now).contains(&a.readyAt));
        let odd = self.dice.below(6);
        self.withdraw_as(n, odd);
    }

    /// Withdraws with the papers wrong in this way, if there is such a way.
    fn withdraw_as(&mut self, n: u8, odd: usize) {
        let labeler = self.stake_of(n).roles & role::LABELER != 0;
        let (mut heads, mut losses) = (Vec::new(), Vec::new());
        let shows = labeler || self.dice.one_in(4);
        for lane in (0..LANES).filter(|_| shows) {
            let last = self.lanes[lane as usize].last();
            let old = self.revoked.last().filter(|_| odd == 0);
            let Some(epoch) = old.or(last) else {
                heads.push(abi_header!(Registry, &papers::blank(lane)));
                losses.push(Vec::new());
                continue;
            };
            heads.push(abi_header!(Registry, &epoch.header));
            let mut shown = papers::losses(&epoch.losses, &account(n));
            match odd {
                1 => drop(shown.pop()),
                2 => shown.iter_mut().for_each(|l| l.lossTotal /= 2),
                3 => shown.reverse(),
                4 if self.dice.one_in(2) => {
                    shown = papers::losses(&epoch.losses, &account(self.dice.person()));
                }
                _ => {}
            }
            losses.push(shown);
        }
        if odd == 5 && self.dice.one_in(3) {
            heads.pop();
        }
        let call = Registry::withdrawCall {
            heads,
            perLane: losses,
        };
        self.call("withdraw", n, self.contracts().registry, &call);
    }

    fn fund(&mut self) {
        let known = self.dice.pick(&self.tasks);
        let (n, fresh) = (self.dice.person(), TaskId([self.tasks.len() as u8; 32]));
        let odd = self.dice.below(20);
        let (task, n) = match known {
            Some((task, client, _)) if odd == 0 => (task, client),
            _ => (fresh, n),
        };
        let lane = if odd == 1 { LANES } else { self.lane() };
        let call = TaskEscrow::fundCall {
            taskId: task.0.into(),
            lane,
            deposit: match odd {
                2 => 0,
                3 => 2 * TOKENS,
                4 => 1 << 96,
                _ => 1 + self.dice.units(4_000),
            },
            goldBond: if odd == 5 {
                1 << 96
            } else {
                self.dice.units(200)
            },
        };
        if self.call("fund", n, self.contracts().escrow, &call) {
            self.tasks.push((task, n, lane));
        }
    }

    /// A task, most of the time one that is funded.
    fn task(&mut self) -> (TaskId, u8) {
        match self.dice.pick(&self.tasks) {
            Some((task, client, _)) if !self.dice.one_in(12) => (task, client),
            _ => (TaskId([0xee; 32]), self.dice.person()),
        }
    }

    /// A task that the escrow still holds, most of the time.
    fn open_task(&mut self) -> (TaskId, u8) {
        let open: Vec<(TaskId, u8)> = self
            .tasks
            .iter()
            .filter(|(task, client, _)| self.funded(*task, *client, u64::MAX >> 16) != 0)
            .map(|(task, client, _)| (*task, *client))
            .collect();
        match self.dice.pick(&open) {
            Some(found) if !self.dice.one_in(8) => found,
            _ => self.task(),
        }
    }

    /// What an open task held at the end of a block.
    fn funded(&self, task: TaskId, client: u8, block: u64) -> u128 {
        let call = TaskEscrow::fundedAtCall {
            taskId: task.0.into(),
            client: account(client).into(),
            blockNumber: alloy::primitives::aliases::U48::from(block),
        };
        units(self.world.view(self.contracts().escrow, call)).0
    }

    fn top_up(&mut self) {
        let (task, client) = self.open_task();
        let call = TaskEscrow::topUpCall {
            taskId: task.0.into(),
            client: account(client).into(),
            amount: match self.dice.below(16) {
                0 => 0,
                1 => 2 * TOKENS,
                2 => 1 << 96,
                _ => 1 + self.dice.units(500),
            },
        };
        let n = self.dice.person();
        self.call("topUp", n, self.contracts().escrow, &call);
    }

    fn return_late(&mut self) {
        let late: Vec<(TaskId, u8)> = self
            .tasks
            .iter()
            .map(|(task, client, _)| (*task, *client))
            .filter(|(task, client)| {
                let call = TaskEscrow::escrowsCall {
                    taskId: task.0.into(),
                    client: account(*client).into(),
                };
                self.world.view(self.contracts().escrow, call).late != 0
            })
            .collect();
        let found = self.dice.pick(&late);
        let (task, client) = found.unwrap_or_else(|| self.task());
        let call = TaskEscrow::returnLateTopUpCall {
            taskId: task.0.into(),
            client: account(client).into(),
        };
        let n = self.dice.person();
        self.call("returnLateTopUp", n, self.contracts().escrow, &call);
    }

    fn force_record(&mut self) {
        let (task, client) = self.task();
        let long = usize::from(self.dice.one_in(3)) * 32_768;
        let call = TaskEscrow::forceRecordCall {
            taskId: task.0.into(),
            client: account(client).into(),
            record: vec![7; long + self.dice.below(2)].into(),
        };
        let n = self.dice.person();
        self.call("forceRecord", n, self.contracts().escrow, &call);
    }

    fn draw(&mut self, lane: u32) {
        let call = EpochAnchor::drawCommitteeCall { lane };
        let n = self.dice.person();
        self.call("drawCommittee", n, self.contracts().anchor, &call);
    }

    fn committee(&self, lane: u32) -> (u64, Vec<u8>, u16) {
        let call = EpochAnchor::committeeCall { lane };
        let seated = self.world.view(self.contracts().anchor, call);
        let keys = seated.members.iter().map(|m| {
            let is = |n: &u8| Address::from(account(*n)) == *m;
            (1..=PEOPLE).find(is).expect("one of the people")
        });
        (seated.term, keys.collect(), seated.threshold)
    }

    /// An epoch of a lane, with wrong trees every third time, and what it takes to post it.
    fn next_epoch(&mut self, lane: u32) -> (Epoch, Vec<SettledTask>, u16) {
        let (term, committee, threshold) = self.committee(lane);
        let chain_block = self.world.head() - self.dice.below(4) as u64;
        let mut settled = Vec::new();
        let distributor = self.contracts().distributor(lane);
        let released = RewardDistributor::totalReleasedCall {};
        let mut owed = units(self.world.view(distributor, released)).0;
        for (task, client, of) in self.tasks.clone() {
            let held = self.funded(task, client, chain_block);
            if of == lane && held != 0 && settled.len() < 3 && self.dice.one_in(2) {
                owed += held;
                settled.push(SettledTask {
                    task,
                    client: account(client),
                });
            }
        }
        let chain = &self.lanes[lane as usize];
        let before = chain.last();
        let base = before.map(|e| e.trees.leaves.clone()).unwrap_or_default();
        let mut losses = before.map(|e| e.losses.clone()).unwrap_or_default();
        for n in LABELERS.chain([PEOPLE]) {
            if !self.dice.one_in(4) {
                continue;
            }
            let more = Amount(self.dice.units(BOND));
            match losses.iter_mut().find(|l| l.0 == account(n)) {
                Some(loss) => loss.1 = Amount(loss.1.0 + more.0),
                None => losses.push((account(n), more)),
            }
        }
        losses.sort();
        let extra = [distributor, self.contracts().escrow, account(1)];
        let trees = Trees::deal(&mut self.dice, &base, owed, &extra);
        let open = self.tasks.iter().filter(|t| t.2 == lane);
        let mut pays: Vec<FlatPay> = open
            .flat_map(|(task, client, _)| {
                [0xa1, 0xa2].map(|payee| FlatPay {
                    task: *task,
                    client: account(*client),
                    payee: Account([payee; 20]),
                    amount: Amount(0),
                })
            })
            .collect();
        for pay in &mut pays {
            pay.amount = Amount(self.dice.units(2_500));
            if self.dice.one_in(20) {
                pay.payee = Account::default();
            }
        }
        let flat = FlatPayouts {
            state: Hash([3; 32]),
            pays,
            bonuses: Vec::new(),
        };
        let header = EpochHeader {
            lane,
            epoch: before.map_or(1, |e| e.header.epoch + 1),
            view: self.dice.below(3) as u32,
            term,
            parent: before.map_or(Hash::ZERO, |e| e.header.hash()),
            chain_block,
            chain_block_hash: self.world.hash_of(chain_block),
            records_root: Hash([self.dice.below(250) as u8; 32]),
            state_root: state_root(&flat.state, &flat.flat_root()),
            payout_root: trees.payout_root(),
            audit_root: trees.audit_root(),
            payout_count: trees.count,
            loss_root: papers::loss_root(&losses),
            reputation_root: Hash::ZERO,
            payout_file: Hash([4; 32]),
            total_owed: Amount(owed),
            settled_hash: EpochHeader::hash_settled(&settled),
        };
        let epoch = Epoch {
            header,
            trees,
            flat,
            losses,
            committee,
            faults: Vec::new(),
        };
        (epoch, settled, threshold)
    }

    fn sign(&self, digest: &Hash, by: &[u8]) -> Vec<u8> {
        let one = |n: &u8| evm(*n).sign(digest).0;
        by.iter().flat_map(one).collect()
    }

    fn post(&mut self) {
        let (lane, odd) = (self.lane(), self.dice.below(60));
        self.post_to(lane, odd);
    }

    /// Posts to a lane with the papers wrong in this way, if there is such a way.
    fn post_to(&mut self, lane: u32, odd: usize) {
        if self.committee(lane).1.is_empty() && !self.dice.one_in(4) {
            return self.draw(lane);
        }
        let (mut epoch, mut settled, threshold) = self.next_epoch(lane);
        let h = &mut epoch.header;
        match odd {
            0 => h.epoch += 1,
            1 => h.parent = Hash([5; 32]),
            2 => h.term += 1,
            3 => h.chain_block = self.world.head() + 1,
            4 => h.chain_block_hash = Hash([6; 32]),
            5 => h.total_owed = Amount(h.total_owed.0 + 1),
            6 => h.settled_hash = Hash([7; 32]),
            7 => h.lane = LANES,
            8 => h.payout_root = Hash::ZERO,
            9 => h.payout_count = 0,
            10 => {
                // Somebody else's task, and the sum as if it counted.
                let (task, client) = self.open_task();
                let h = &mut epoch.header;
                let more = self.funded(task, client, h.chain_block);
                h.total_owed = Amount(h.total_owed.0 + more);
                let client = account(client);
                settled.push(SettledTask { task, client });
                h.settled_hash = EpochHeader::hash_settled(&settled);
            }
            11 if !settled.is_empty() => {
                // Twice the same task, and the sum as if both counted.
                let client = settled[0].client;
                let of = |n: &u8| account(*n) == client;
                let n = (1..=PEOPLE).find(of).expect("a client");
                let more = self.funded(settled[0].task, n, h.chain_block);
                h.total_owed = Amount(h.total_owed.0 + more);
                settled.push(settled[0]);
                h.settled_hash = EpochHeader::hash_settled(&settled);
            }
            _ => {}
        }
        // As many as it takes, or a few more; the seats stay in order.
        let seats = epoch.committee.len();
        let mut out = self
            .dice
            .below(seats + 1 - usize::from(threshold).min(seats));
        if odd == 12 {
            out = seats + 1 - usize::from(threshold).max(1);
        }
        let mut signing: Vec<usize> = (0..seats).collect();
        for _ in 0..out {
            let at = self.dice.below(signing.len());
            signing.remove(at);
        }
        let digest = epoch.header.signing_digest(&self.world.profile);
        let mut keys: Vec<u8> = signing.iter().map(|i| epoch.committee[*i]).collect();
        match odd {
            13 => keys.reverse(),
            14 if !keys.is_empty() => keys[0] = PEOPLE,
            _ => {}
        }
        let mut signatures = self.sign(&digest, &keys);
        let mut signers = signing
            .iter()
            .fold(U256::ZERO, |bits, i| bits | U256::ONE << *i);
        match odd {
            15 => signatures.push(0),
            16 => signers |= U256::ONE << seats,
            17 => signatures.truncate(signatures.len().saturating_sub(64)),
            18 => signatures.iter_mut().take(1).for_each(|b| *b ^= 1),
            _ => {}
        }
        let call = EpochAnchor::postCall {
            header: abi_header!(EpochAnchor, &epoch.header),
            settled: papers::settled(&settled),
            signers,
            signatures: signatures.into(),
        };
        let n = self.dice.person();
        if let Some(late) = settled.first().filter(|_| self.dice.one_in(4)) {
            let call = TaskEscrow::topUpCall {
                taskId: late.task.0.into(),
                client: late.client.into(),
                amount: 7,
            };
            self.call("topUp", n, self.contracts().escrow, &call);
        }
        if self.call("post", n, self.contracts().anchor, &call) {
            let parent = self.lanes[lane as usize].last();
            let parent = parent.map(|p| (&p.header, &p.trees));
            let said = epoch.trees.proofs(parent).into_iter();
            epoch.faults = said.filter(|p| p.convicts(&epoch.header)).collect();
            self.lanes[lane as usize].push(epoch);
        } else if self.dice.one_in(4) {
            // The same papers once more are what a replay is made of.
            self.call("post", n, self.contracts().anchor, &call);
        }
    }

    /// An epoch to claim on or to accuse; one that was taken back now and then.
    fn epoch(&mut self) -> Option<Epoch> {
        if self.dice.one_in(8)
            && let Some(gone) = self.dice.pick(&self.revoked)
        {
            return Some(gone);
        }
        let lane = self.lane();
        let chain = &self.lanes[lane as usize];
        let back = self.dice.below(20);
        if self.dice.one_in(4) {
            return chain.iter().rev().nth(back).or(chain.first()).cloned();
        }
        let distributor = self.contracts().distributor(lane);
        let mut payable = chain.iter().rev().filter(|e| {
            let call = RewardDistributor::rootsCall {
                epoch: e.header.epoch,
            };
            self.world.view(distributor, call).claimable
        });
        payable.nth(back % 3).or(chain.last()).cloned()
    }

    /// A leaf's claim, forged six times in `rolls`.
    fn one_claim(&mut self, epoch: &Epoch, rolls: usize) -> Option<Claim> {
        let distributor = self.contracts().distributor(epoch.header.lane);
        let due = |at: &usize| {
            let (payee, total) = epoch.trees.leaves[*at];
            let payee = payee.into();
            let paid = RewardDistributor::paidCall { payee };
            units(self.world.view(distributor, paid)) < total
        };
        let count = epoch.trees.leaves.len();
        let due: Vec<usize> = (0..count).filter(due).collect();
        let at = if self.dice.one_in(4) {
            self.dice.below(count)
        } else {
            self.dice.pick(&due)?
        };
        let mut claim = epoch.trees.claim(&epoch.header, at)?;
        match self.dice.below(rolls) {
            0 => claim.total = Amount(claim.total.0 + 1),
            1 => claim.index += 1,
            2 => claim.index += 1 << claim.proof.len().min(40),
            3 => drop(claim.proof.pop()),
            4 => claim.payee = account(self.dice.person()),
            5 => claim.proof.push(Hash::ZERO),
            _ => {}
        }
        Some(claim)
    }

    fn epoch_number(&mut self, epoch: &Epoch) -> u64 {
        match self.dice.below(25) {
            0 => epoch.header.epoch + 16,
            1 => epoch.header.epoch.saturating_sub(1),
            _ => epoch.header.epoch,
        }
    }

    fn claim(&mut self) {
        let Some(epoch) = self.epoch() else { return };
        let Some(mut claim) = self.one_claim(&epoch, 30) else {
            return;
        };
        claim.epoch = self.epoch_number(&epoch);
        self.hand_in(&claim);
        if self.dice.one_in(3) {
            self.hand_in(&claim);
        }
    }

    fn hand_in(&mut self, claim: &Claim) {
        let call = RewardDistributor::claimCall {
            epoch: claim.epoch,
            payee: claim.payee.into(),
            total: claim.total.0,
            index: U256::from(claim.index),
            proof: papers::words(&claim.proof),
        };
        let distributor = self.contracts().distributor(claim.lane);
        let n = self.dice.person();
        self.call("claim", n, distributor, &call);
    }

    fn claim_many(&mut self) {
        let Some(epoch) = self.epoch() else { return };
        let count = self.dice.below(5);
        let claims: Vec<Claim> = (0..count)
            .filter_map(|_| self.one_claim(&epoch, 90))
            .collect();
        let claims = claims.iter().map(|c| RewardDistributor::Claim {
            payee: c.payee.into(),
            total: c.total.0,
            index: U256::from(c.index),
            proof: papers::words(&c.proof),
        });
        let call = RewardDistributor::claimManyCall {
            claims: claims.collect(),
            epoch: self.epoch_number(&epoch),
        };
        let distributor = self.contracts().distributor(epoch.header.lane);
        let n = self.dice.person();
        self.call("claimMany", n, distributor, &call);
    }

    fn claim_subtree(&mut self) {
        let Some(epoch) = self.epoch() else { return };
        let (at, height) = (self.dice.below(8), self.dice.below(4));
        let Some(SubtreeClaim {
            mut first,
            leaves,
            proof,
            height,
            ..
        }) = epoch.trees.subtree(&epoch.header, at, height)
        else {
            return;
        };
        let mut packed: Vec<u8> = leaves
            .iter()
            .flat_map(|(payee, total)| [&payee.0[..], &total.0.to_be_bytes()].concat())
            .collect();
        match self.dice.below(20) {
            0 => first += 1,
            1 => drop(packed.pop()),
            2 => packed.truncate(36 * 3),
            3 => packed.iter_mut().take(36).skip(35).for_each(|b| *b ^= 1),
            4 => first += 1 << (usize::from(height) + proof.len()),
            // An amount at a place without a payee is no leaf and changes nothing.
            5 => {
                let empty = packed.chunks_mut(36).find(|c| c[..20] == [0; 20]);
                if let Some(place) = empty {
                    place[35] = 9;
                }
            }
            _ => {}
        }
        let call = RewardDistributor::claimSubtreeCall {
            epoch: self.epoch_number(&epoch),
            first: U256::from(first),
            leaves: packed.into(),
            proof: papers::words(&proof),
        };
        let distributor = self.contracts().distributor(epoch.header.lane);
        let n = self.dice.person();
        self.call("claimSubtree", n, distributor, &call);
    }

    /// The headers from an epoch of a lane to its last, and signatures of the first.
    fn evidence(&mut self, lane: u32, at: usize) -> Evidence {
        let chain = &self.lanes[lane as usize][at..];
        let committee = chain[0].committee.clone();
        let mut chain: Vec<EpochHeader> = chain.iter().map(|e| e.header.clone()).collect();
        let digest = chain[0].signing_digest(&self.world.profile);
        let mut by: Vec<u8> = Vec::new();
        for _ in 0..1 + self.dice.below(2) {
            by.extend(self.dice.pick(&committee));
        }
        let odd = self.dice.below(36);
        match odd {
            0 => drop(chain.pop()),
            1 => drop(chain.remove(0)),
            // Somebody who never registered.
            2 => by.push(0x55),
            3 => by.push(PEOPLE),
            4 if chain.len() > 2 => drop(chain.remove(1)),
            _ => {}
        }
        let signed = |n: &u8| evm(*n).sign(&digest);
        let mut signatures: Vec<EvmSignature> = by.iter().map(signed).collect();
        if odd == 5 {
            signatures.push(EvmSignature([0xff; 64]));
        }
        let reporter = if odd == 6 {
            Account::default()
        } else {
            account(self.dice.person())
        };
        Evidence {
            chain,
            signatures,
            reporter,
        }
    }

    /// The lane and place of an epoch to accuse, most of the time one that can still be taken back.
    fn accused(&mut self) -> Option<(u32, usize)> {
        let lane = self.lane();
        let count = self.lanes[lane as usize].len();
        let far = if self.dice.one_in(4) { 6 } else { 2 };
        let back = self.dice.below(far);
        (count > 0).then(|| (lane, (count - 1).saturating_sub(back)))
    }

    /// What the chain took back, the story takes back.
    fn look(&mut self, lane: u32) {
        let call = EpochAnchor::headCall { lane };
        let head = self.world.view(self.contracts().anchor, call);
        let gone = self.lanes[lane as usize].split_off(head.epoch as usize);
        if !gone.is_empty() && !self.dice.one_in(4) {
            self.draw(lane);
        }
        self.revoked.extend(gone);
    }

    fn prove(&mut self) {
        // Of the faults that are there, one that was shown least so far; or something that is none.
        let taken = |p: &TreeFault| self.counts.get(papers::name(p)).map_or(0, |c| c[0]);
        let mut found = None;
        for (lane, chain) in (0..LANES).zip(&self.lanes) {
            for (at, epoch) in chain.iter().enumerate().rev().take(4) {
                let all = epoch.faults.iter().map(|p| (taken(p), lane, at, p));
                let rarest = all.min_by_key(|f| f.0);
                found = [found, rarest].into_iter().flatten().min_by_key(|f| f.0);
            }
        }
        let found = found.map(|(_, lane, at, proof)| (lane, at, proof.clone()));
        let found = found.filter(|_| !self.dice.one_in(4));
        let (lane, at, proof) = match found {
            Some(found) => found,
            None => {
                let Some((lane, at)) = self.accused() else {
                    return;
                };
                let chain = &self.lanes[lane as usize];
                let parent = at.checked_sub(1).map(|i| &chain[i]);
                let parent = parent.map(|p| (&p.header, &p.trees));
                let all = chain[at].trees.proofs(parent);
                let refused = |p: &TreeFault| self.counts.get(papers::name(p)).map_or(0, |c| c[1]);
                let rarest = all.iter().map(refused).min().unwrap_or_default();
                let few: Vec<_> = all
                    .iter()
                    .filter(|p| refused(p) == rarest)
                    .cloned()
                    .collect();
                let Some(proof) = self.dice.pick(&few) else {
                    return;
                };
                (lane, at, proof)
            }
        };
        let evidence = self.evidence(lane, at);
        let (name, data) = (papers::name(&proof), prove_call(&evidence, &proof));
        let n = self.dice.person();
        let taken = self.data(name, n, self.disputes, data.clone());
        if taken && self.dice.one_in(3) {
            self.data(name, n, self.disputes, data);
        }
        self.look(lane);
    }

    fn punish(&mut self) {
        let Some(epoch) = self.dice.pick(&self.revoked).or_else(|| self.epoch()) else {
            return;
        };
        let header = &epoch.header;
        let digest = header.signing_digest(&self.world.profile);
        let mut by: Vec<u8> = self.dice.pick(&epoch.committee).into_iter().collect();
        if self.dice.one_in(8) {
            by.push(0x55);
        }
        let call = Disputes::punishCall {
            headerHash: header.hash().into(),
            signatures: self.sign(&digest, &by).into(),
            reporter: account(self.dice.person()).into(),
        };
        let n = self.dice.person();
        self.call("punish", n, self.disputes, &call);
    }

    fn equivocate(&mut self) {
        let Some(epoch) = self.epoch() else { return };
        let first = epoch.header;
        let mut second = EpochHeader {
            records_root: Hash([self.dice.below(3) as u8; 32]),
            ..first.clone()
        };
        let odd = self.dice.below(8);
        match odd {
            0 => second.view += 1,
            1 => second = first.clone(),
            _ => {}
        }
        let by: Vec<u8> = self.dice.pick(&epoch.committee).into_iter().collect();
        let again = match odd {
            2 => vec![PEOPLE],
            3 => Vec::new(),
            _ => by.clone(),
        };
        let digests = [&first, &second].map(|h| h.signing_digest(&self.world.profile));
        let call = Disputes::proveEquivocationCall {
            first: abi_header!(Disputes, &first),
            second: abi_header!(Disputes, &second),
            firstSignatures: self.sign(&digests[0], &by).into(),
            secondSignatures: self.sign(&digests[1], &again).into(),
            reporter: if odd == 4 {
                Address::ZERO
            } else {
                account(self.dice.person()).into()
            },
        };
        let n = self.dice.person();
        let taken = self.call("proveEquivocation", n, self.disputes, &call);
        if taken && self.dice.one_in(2) {
            self.call("proveEquivocation", n, self.disputes, &call);
        }
    }

    fn overrule(&mut self) {
        let Some((lane, at)) = self.accused() else {
            return;
        };
        let evidence = self.evidence(lane, at);
        let hash = self.lanes[lane as usize][at].header.hash();
        let digest = EpochHeader::overrule_digest(&hash, &self.world.profile);
        let mut voters: Vec<u8> = (1..=PEOPLE)
            .filter(|n| self.stake_of(*n).validatorSlot != 0)
            .collect();
        while self.dice.one_in(3) && !voters.is_empty() {
            let out = self.dice.below(voters.len());
            voters.remove(out);
        }
        if self.dice.one_in(6) {
            voters.push(self.dice.person());
        }
        if self.dice.one_in(2) {
            // Somebody heavy who joins for the sake of the vote.
            let n = self.somebody(|a| a.nodeKey.is_zero());
            self.register(n, role::VALIDATOR, 4 * STAKE);
            voters.truncate(2);
            voters.push(n);
        }
        voters.sort_by_key(|n| account(*n));
        if self.dice.one_in(10) {
            voters.reverse();
        }
        let call = Disputes::overruleCall {
            e: papers::evidence(&evidence),
            votes: self.sign(&digest, &voters).into(),
        };
        let n = self.dice.person();
        self.call("overrule", n, self.disputes, &call);
        self.look(lane);
    }

    fn open_fallback(&mut self) {
        let (task, client) = self.open_task();
        self.open_fallback_of(task, client);
    }

    fn open_fallback_of(&mut self, task: TaskId, client: u8) {
        let call = TaskEscrow::openFallbackCall {
            taskId: task.0.into(),
            client: account(client).into(),
        };
        let n = self.dice.person();
        self.call("openFallback", n, self.contracts().escrow, &call);
    }

    /// Tasks in fallback, with the header that their claims are proven against.
    fn fallbacks(&self) -> Vec<(TaskId, u8, Hash)> {
        let escrow = self.contracts().escrow;
        let open = |(task, client, _): &(TaskId, u8, u32)| {
            let call = TaskEscrow::fallbacksCall {
                taskId: task.0.into(),
                client: account(*client).into(),
            };
            let state = self.world.view(escrow, call);
            (state.closesAt != 0 && !state.closed)
                .then(|| (*task, *client, state.headerHash.into()))
        };
        self.tasks.iter().filter_map(open).collect()
    }

    fn claim_fallback(&mut self) {
        let all = self.fallbacks();
        let Some((task, client, header)) = self.dice.pick(&all) else {
            // Nothing is in fallback: that must be refused, with whatever papers.
            let Some(epoch) = self.epoch() else { return };
            let Some(pay) = self.dice.pick(&epoch.flat.pays) else {
                return;
            };
            self.flat_claim(&epoch, pay.task, pay.client);
            return;
        };
        let known = self.lanes.iter().flatten().chain(&self.revoked);
        let mut known = known.filter(|e| e.header.hash() == header);
        let epoch = known.next().cloned();
        let epoch = if self.dice.one_in(10) {
            self.epoch()
        } else {
            epoch
        };
        if let Some(epoch) = epoch {
            self.flat_claim(&epoch, task, account(client));
        }
    }

    fn flat_claim(&mut self, epoch: &Epoch, task: TaskId, client: Account) {
        let file = FlatFile {
            header: epoch.header.clone(),
            payouts: epoch.flat.clone(),
        };
        let Some(mut claim) = self.dice.pick(&file.fallback(&task, &client).claims) else {
            return;
        };
        match self.dice.below(10) {
            0 => claim.pay.amount = Amount(claim.pay.amount.0 + 1),
            1 => claim.index += 1,
            2 => claim.state = Hash([9; 32]),
            _ => {}
        }
        let call = TaskEscrow::claimFallbackCall {
            taskId: task.0.into(),
            client: client.into(),
            header: abi_header!(TaskEscrow, &epoch.header),
            claim: TaskEscrow::FallbackClaim {
                payee: claim.pay.payee.into(),
                amount: claim.pay.amount.0,
                stateHash: claim.state.into(),
                index: U256::from(claim.index),
                proof: papers::words(&claim.proof),
            },
        };
        let n = self.dice.person();
        self.call("claimFallback", n, self.contracts().escrow, &call);
    }

    fn close_fallback(&mut self) {
        let all = self.fallbacks();
        let found = self.dice.pick(&all).map(|f| (f.0, f.1));
        let (task, client) = found.unwrap_or_else(|| self.task());
        let call = TaskEscrow::closeFallbackCall {
            taskId: task.0.into(),
            client: account(client).into(),
        };
        let n = self.dice.person();
        self.call("closeFallback", n, self.contracts().escrow, &call);
    }

    fn transfer(&mut self) {
        let c = self.contracts();
        let lane = self.lane();
        let to = [
            c.registry,
            c.escrow,
            c.distributor(lane),
            account(self.dice.person()),
            Account::default(),
        ];
        let to = self.dice.pick(&to).unwrap_or_default();
        let much = if self.dice.one_in(5) { 2 * TOKENS } else { 0 };
        let call = DevToken::transferCall {
            to: to.into(),
            value: U256::from(much + self.dice.units(300)),
        };
        let n = self.dice.person();
        self.call("transfer", n, c.token, &call);
    }

    /// Calls that only the contracts may make of each other.
    fn trespass(&mut self) {
        let (c, n) = (self.contracts(), self.dice.person());
        let lane = self.lane();
        let (to, data) = match self.dice.below(5) {
            0 => {
                let call = Registry::slashCall {
                    account: account(1).into(),
                    reporter: account(n).into(),
                };
                (c.registry, call.abi_encode())
            }
            1 => {
                let (task, client) = self.task();
                let call = TaskEscrow::releaseCall {
                    taskId: task.0.into(),
                    client: account(client).into(),
                    lane,
                    asOfBlock: self.world.head(),
                    distributor: account(n).into(),
                };
                (c.escrow, call.abi_encode())
            }
            2 => {
                let call = EpochAnchor::rewindCall {
                    lane,
                    epoch: 1,
                    parent: [0; 32].into(),
                };
                (c.anchor, call.abi_encode())
            }
            3 => {
                let call = RewardDistributor::activateCall {
                    epoch: 1,
                    root: [1; 32].into(),
                    count: 1,
                    moved: U256::ZERO,
                    totalOwed: U256::ZERO,
                };
                (c.distributor(lane), call.abi_encode())
            }
            _ => {
                let call = RewardDistributor::revokeCall { from: 1, to: 1 };
                (c.distributor(lane), call.abi_encode())
            }
        };
        self.data("trespass", n, to, data);
    }

    /// What happened and where the money is, in one word that is the same on every machine.
    fn digest(&self) -> String {
        let token = self.contracts().token;
        let mut hasher = blake3::Hasher::new();
        for (_, step) in &self.told {
            hasher.update(step.as_bytes());
        }
        for n in 1..=PEOPLE {
            let call = DevToken::balanceOfCall {
                account: account(n).into(),
            };
            let held = units(self.world.view(token, call));
            hasher.update(&held.0.to_be_bytes());
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }
}

fn evm(n: u8) -> EvmKey {
    EvmKey::from_secret(&key(n)).expect("a key")
}

fn account(n: u8) -> Account {
    // Deriving a key is slow beside looking it up.
    static ACCOUNTS: std::sync::LazyLock<Vec<Account>> =
        std::sync::LazyLock::new(|| (1..=PEOPLE).map(|n| evm(n).account()).collect());
    ACCOUNTS[usize::from(n) - 1]
}

type Counts = BTreeMap<&'static str, [u64; 2]>;

/// Plays one history and has it audited.
async fn play(seed: u64) -> Counts {
    let mut story = Story::begin(seed).await;
    for scene in seed..seed + 5 {
        let until = story.told.len() + CALLS / 6;
        while story.told.len() < until {
            story.step();
        }
        story.scene(scene);
    }
    let [taken, refused] = story
        .counts
        .values()
        .fold([0, 0], |sum, c| [sum[0] + c[0], sum[1] + c[1]]);
    println!(
        "seed {seed}: {} calls, {taken} accepted, {refused} refused, digest {}",
        story.told.len(),
        story.digest()
    );
    let audit = match audit(&story.world.profile).await {
        Ok(audit) => audit,
        Err(why) => {
            let text = why.to_string();
            let at = story.told.iter().find(|t| text.contains(&t.0.to_string()));
            let what = at.map_or("after the last call", |t| &t.1);
            panic!("seed {seed}, {what}: {text}")
        }
    };
    assert_eq!((audit.accepted, audit.refused), (taken, refused));
    story.counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contracts_and_twin_agree_on_every_call_and_unit_of_random_histories() {
    let mut all = Counts::new();
    for seed in 1..=SEEDS {
        for (name, [taken, refused]) in play(seed).await {
            let sum = all.entry(name).or_default();
            *sum = [sum[0] + taken, sum[1] + refused];
        }
    }
    println!("{all:?}");
    // Histories that never get far would agree about nothing.
    let one_sided = all
        .iter()
        .filter(|(name, c)| **name != "trespass" && (c[0] == 0 || c[1] == 0));
    assert_eq!(one_sided.collect::<Vec<_>>(), [], "taken and refused");
    assert_eq!(all.len(), 29, "{all:?}");
}
