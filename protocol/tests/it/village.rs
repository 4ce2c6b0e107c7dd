//! A village: cores of validators, labelers and a client around one pure ledger, with messages in a queue.
//!
//! No threads, no clock: time moves when the test says so. `shuffle` delivers queued messages in a seeded order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use assay_protocol::{
    amount::Amount,
    codec,
    core::{
        ChainCall, Command, Config, Core, Effect, Family, GoldSecret, Input, Notice, Op,
        RequestFault, Restored, fallback_key,
    },
    crypto::{BINDING_DOMAIN, EvmKey, NodeKeypair, binding_message, hash},
    id::{Account, EvmSignature, Hash, NodeKey, Salt, ShardHash, TaskId},
    lane::{Claim, Fallback, LaneState, PayoutFile, role},
    message::{
        Answer, AssignmentRule, BlockNews, ChainFact, Durations, EpochBody, EpochHeader, ItemSet,
        Manifest, Request, Response, ShardRef, TaskKind, WavePlan, gold_root,
    },
    network::{CodeHashes, Contracts, Extras, NetworkProfile, Params},
    settlement::{DisputeTerms, Ledger},
    task::TaskOutcome,
};

pub type Disk = BTreeMap<(Family, Vec<u8>), Vec<u8>>;

pub struct Villager {
    pub core: Option<Core>,
    pub disk: Disk,
    pub node: NodeKeypair,
    pub evm: EvmKey,
    pub role: u8,
    pub notices: Vec<Notice>,
    pub headers: Vec<EpochHeader>,
    pub outcomes: Vec<TaskOutcome>,
    pub penalties: usize,
    replies: BTreeMap<u64, (usize, u64)>,
    next_block: usize,
}

enum Mail {
    Request {
        from: usize,
        to: usize,
        id: u64,
        bytes: Vec<u8>,
    },
    Response {
        to: usize,
        id: u64,
        result: Result<Vec<u8>, RequestFault>,
    },
    Gossip {
        from: NodeKey,
        to: usize,
        bytes: Vec<u8>,
    },
}

/// Silence after which a lane's tasks can be paid without a committee.
pub const FALLBACK_SECS: u64 = 6 * 86_400;

pub struct Village {
    pub profile: NetworkProfile,
    pub ledger: Ledger,
    pub people: Vec<Villager>,
    pub blocks: Vec<BlockNews>,
    mail: VecDeque<Mail>,
    calls: VecDeque<(usize, ChainCall)>,
    now: u64,
    time: u64,
    token: u64,
    shuffle: u64,
    /// (item, labeler) -> label.
    pub answers: fn(u32, usize) -> u16,
    /// Nodes that get no mail and no blocks.
    pub down: BTreeSet<usize>,
    pub call_errors: Vec<String>,
    /// The next epoch that settles a task is posted with this audit root, and its whole committee signs it.
    pub wicked: Option<Hash>,
    /// The committee hands out what a wicked epoch is made of.
    pub served: bool,
    /// Alarms of nodes, when they are expected.
    pub alarms: Option<Vec<(usize, String)>>,
    /// Nodes from which no validator takes a record.
    pub censored: BTreeSet<usize>,
    /// Every record that a labeler sends to a validator goes to the chain as well.
    pub doubled: bool,
    /// Who shows another header to whom than to the rest, signed as well.
    pub two_faced: BTreeSet<(usize, usize)>,
    /// What the last proposed epoch is made of.
    proposed: Option<EpochBody>,
}

pub fn profile() -> NetworkProfile {
    let a = |n: u8| Account([n; 20]);
    NetworkProfile {
        name: "village".into(),
        chain_id: 31337,
        dev: true,
        rpc: vec![],
        bootstrap: vec![],
        start_block: 1,
        contracts: Contracts {
            token: a(0xa1),
            registry: a(0xa2),
            escrow: a(0xa3),
            anchor: a(0xa4),
            distributors: vec![a(0xa5)],
            beacon: a(0xa6),
        },
        code: CodeHashes {
            token: Hash([0xb1; 32]),
            registry: Hash([0xb2; 32]),
            escrow: Hash([0xb3; 32]),
            anchor: Hash([0xb4; 32]),
            distributors: vec![Hash([0xb5; 32])],
            beacon: Hash([0xb6; 32]),
            disputes: Hash([0xb7; 32]),
        },
        extras: Extras::default(),
        params: Params::dev(),
    }
}

pub fn keys(n: u8, kind: u8) -> (NodeKeypair, EvmKey) {
    let seed = hash("village", &[&[n, kind]]).0;
    (
        NodeKeypair::from_seed(&seed),
        EvmKey::from_secret(&seed).unwrap(),
    )
}

pub const STAKE: Amount = Amount(1_000_000_000);
/// Roots wait for an hour; signing a wrong one costs a quarter of the stake.
pub const DISPUTES: DisputeTerms = DisputeTerms {
    activation_delay: 3_600,
    min_validator_stake: STAKE,
    slash_bps: 2_500,
};

impl Village {
    /// `validators` first, then one client, then `labelers`.
    pub fn new(validators: usize, labelers: usize, shuffle: u64) -> Self {
        Self::with_outsiders(validators, 0, labelers, shuffle)
    }

    /// The same, with `outsiders`: validators that registered when the first committee was drawn already. Then [`DISPUTES`] holds; without
    /// them roots pay at once.
    pub fn with_outsiders(members: usize, outsiders: usize, labelers: usize, shuffle: u64) -> Self {
        let validators = members + outsiders;
        let profile = profile();
        let mut ledger = Ledger::new(profile.clone(), Hash([9; 32])).with_fallback(FALLBACK_SECS);
        if outsiders > 0 {
            ledger = ledger.with_disputes(DISPUTES);
        }
        let roles = std::iter::repeat_n(role::VALIDATOR, validators)
            .chain([role::CLIENT])
            .chain(std::iter::repeat_n(role::LABELER, labelers));
        let mut people = Vec::new();
        for (i, role) in roles.enumerate() {
            if i == members && outsiders > 0 {
                ledger.draw_committee(0).unwrap();
            }
            let (node, evm) = keys(i as u8, 0);
            let account = evm.account();
            ledger.mint(account, Amount(1_000_000_000_000));
            let message = binding_message(
                profile.chain_id,
                profile.contracts.registry,
                account,
                0,
                node.public(),
            );
            let binding = node.sign(BINDING_DOMAIN, &message);
            ledger
                .register(
                    account,
                    node.public(),
                    Hash([1; 32]),
                    account,
                    role,
                    STAKE,
                    binding,
                )
                .unwrap();
            people.push(Villager {
                core: None,
                disk: Disk::new(),
                node,
                evm,
                role,
                notices: vec![],
                headers: vec![],
                outcomes: vec![],
                penalties: 0,
                replies: BTreeMap::new(),
                next_block: 0,
            });
        }
        let mut village = Self {
            profile,
            ledger,
            people,
            blocks: vec![],
            mail: VecDeque::new(),
            calls: VecDeque::new(),
            now: 0,
            time: 1_000,
            token: 0,
            shuffle,
            answers: |item, _| (item % 3) as u16,
            down: BTreeSet::new(),
            call_errors: vec![],
            wicked: None,
            served: false,
            alarms: None,
            censored: BTreeSet::new(),
            doubled: false,
            two_faced: BTreeSet::new(),
            proposed: None,
        };
        for i in 0..village.people.len() {
            village.start(i);
        }
        village
    }

    pub fn client(&self) -> usize {
        self.people
            .iter()
            .position(|p| p.role == role::CLIENT)
            .unwrap()
    }

    pub fn account(&self, i: usize) -> Account {
        self.people[i].evm.account()
    }

    /// Starts (or restarts) a core from its disk.
    pub fn start(&mut self, i: usize) {
        let person = &mut self.people[i];
        let values = |family| person.disk.iter().filter(move |(k, _)| k.0 == family);
        let record = |id: &[u8]| person.disk.get(&(Family::Record, id.to_vec())).cloned();
        let restored = Restored {
            snapshots: values(Family::Snapshot).map(|r| r.1.clone()).collect(),
            flat: values(Family::Flat)
                .map(|r| (r.0.1.clone(), r.1.clone()))
                .collect(),
            promised: values(Family::Promise)
                .filter_map(|r| record(&r.0.1))
                .collect(),
            announced: values(Family::Announce).map(|r| r.1.clone()).collect(),
            own: values(Family::Own)
                .map(|r| (r.0.1.clone(), r.1.clone()))
                .collect(),
            votes: values(Family::Vote)
                .map(|r| (r.0.1.clone(), r.1.clone()))
                .collect(),
        };
        let config = Config {
            profile: self.profile.clone(),
            node: person.node.clone(),
            evm: Some(person.evm.clone()),
        };
        let core = Core::new(config, restored, self.now);
        person.next_block = self
            .blocks
            .iter()
            .position(|b| b.block.number >= core.next_block())
            .unwrap_or(self.blocks.len());
        person.core = Some(core);
        person.replies.clear();
        self.perform(i);
    }

    /// `kill -9`: memory is gone, the disk stays.
    pub fn kill(&mut self, i: usize) {
        self.people[i].core = None;
        self.down.insert(i);
    }

    pub fn revive(&mut self, i: usize) {
        self.down.remove(&i);
        self.start(i);
    }

    pub fn command(
        &mut self,
        i: usize,
        command: Command,
    ) -> Result<TaskId, assay_protocol::core::CommandError> {
        let now = self.now;
        let result = self.people[i].core.as_mut().unwrap().command(command, now);
        self.perform(i);
        result
    }

    pub fn feed(&mut self, i: usize, input: Input) {
        let now = self.now;
        if let Some(core) = self.people[i].core.as_mut() {
            core.handle(input, now);
        }
        self.perform(i);
    }

    /// Asks node `i` as `from` would, and gives the answer.
    pub fn ask(&mut self, from: NodeKey, i: usize, request: &Request) -> Option<Response> {
        self.token += 1;
        let token = self.token;
        let now = self.now;
        let core = self.people[i].core.as_mut()?;
        core.handle(
            Input::Request {
                token,
                from,
                bytes: codec::encode(request),
            },
            now,
        );
        let mut answer = None;
        let mut rest = Vec::new();
        while let Some(effect) = core.next_effect() {
            match effect {
                Effect::Respond { token: t, bytes } if t == token => {
                    answer = Some(codec::decode(&bytes, usize::MAX).unwrap());
                }
                other => rest.push(other),
            }
        }
        for effect in rest {
            self.act(i, effect);
        }
        answer
    }

    fn perform(&mut self, i: usize) {
        while let Some(effect) = self.people[i].core.as_mut().and_then(Core::next_effect) {
            self.act(i, effect);
        }
    }

    fn index(&self, key: &NodeKey) -> Option<usize> {
        self.people.iter().position(|p| p.node.public() == *key)
    }

    fn act(&mut self, i: usize, effect: Effect) {
        match effect {
            Effect::Persist(ops) => {
                for op in ops {
                    match op {
                        Op::Put { family, key, value } => {
                            self.people[i].disk.insert((family, key), value)
                        }
                        Op::Delete { family, key } => self.people[i].disk.remove(&(family, key)),
                    };
                }
            }
            Effect::Publish { bytes, .. } => {
                let from = self.people[i].node.public();
                for to in (0..self.people.len()).filter(|t| *t != i) {
                    self.mail.push_back(Mail::Gossip {
                        from,
                        to,
                        bytes: bytes.clone(),
                    });
                }
            }
            Effect::Request { id, to, bytes, .. } => match self.index(&to) {
                Some(to) => self.mail.push_back(Mail::Request {
                    from: i,
                    to,
                    id,
                    bytes,
                }),
                None => self.mail.push_back(Mail::Response {
                    to: i,
                    id,
                    result: Err(RequestFault("unknown".into())),
                }),
            },
            Effect::Respond { token, bytes } => {
                if let Some((to, id)) = self.people[i].replies.remove(&token) {
                    self.mail.push_back(Mail::Response {
                        to,
                        id,
                        result: Ok(bytes),
                    });
                }
            }
            Effect::FetchShards { task, .. } => self.feed(i, Input::ShardsReady { task }),
            Effect::Submit(call) => self.calls.push_back((i, call)),
            Effect::Notify(notice) => {
                match &notice {
                    Notice::Anchored { header, .. } => {
                        self.people[i].headers.push((**header).clone())
                    }
                    Notice::Finished { outcome } => {
                        self.people[i].outcomes.push((**outcome).clone())
                    }
                    Notice::Alarm { text } => match &mut self.alarms {
                        Some(alarms) => alarms.push((i, text.clone())),
                        None => panic!("alarm at {i}: {text}"),
                    },
                    _ => {}
                }
                self.people[i].notices.push(notice);
            }
            Effect::Penalise { .. } => self.people[i].penalties += 1,
            Effect::Verdict { .. } => {}
        }
    }

    fn rand(&mut self, n: usize) -> usize {
        if self.shuffle == 0 {
            return 0;
        }
        self.shuffle = self
            .shuffle
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.shuffle >> 33) as usize % n
    }

    /// Delivers all queued mail.
    pub fn deliver(&mut self) {
        for _ in 0..200_000 {
            if self.mail.is_empty() {
                return;
            }
            let at = self.rand(self.mail.len().min(64));
            let Some(mail) = self.mail.remove(at) else {
                return;
            };
            match mail {
                Mail::Request {
                    from,
                    to,
                    id,
                    mut bytes,
                } => {
                    if self.down.contains(&to) || self.people[to].core.is_none() {
                        self.mail.push_back(Mail::Response {
                            to: from,
                            id,
                            result: Err(RequestFault("down".into())),
                        });
                        continue;
                    }
                    if let Some(content) = self.content(to, &bytes) {
                        self.mail.push_back(Mail::Response {
                            to: from,
                            id,
                            result: Ok(codec::encode(&content)),
                        });
                        continue;
                    }
                    match codec::decode(&bytes, usize::MAX) {
                        Ok(Request::Propose { body, header, .. }) => {
                            if self.two_faced.contains(&(from, to)) {
                                bytes = self.other_proposal(from, &body, header);
                            }
                            self.proposed = Some(body);
                        }
                        Ok(Request::Submit { .. }) if self.censored.contains(&from) => {
                            let refused = Response::refused(true, "not you");
                            self.mail.push_back(Mail::Response {
                                to: from,
                                id,
                                result: Ok(codec::encode(&refused)),
                            });
                            continue;
                        }
                        Ok(Request::Submit { envelope })
                            if self.doubled && self.people[from].role == role::LABELER =>
                        {
                            let call = ChainCall::ForceRecord {
                                client: self.account(self.client()),
                                record: Box::new(envelope),
                            };
                            self.calls.push_back((from, call));
                        }
                        _ => {}
                    }
                    self.token += 1;
                    let token = self.token;
                    self.people[to].replies.insert(token, (from, id));
                    let from = self.people[from].node.public();
                    self.feed(to, Input::Request { token, from, bytes });
                }
                Mail::Response { to, id, result } => {
                    if !self.down.contains(&to) {
                        self.feed(to, Input::Response { id, result });
                    }
                }
                Mail::Gossip { from, to, bytes } => {
                    if !self.down.contains(&to) {
                        self.token += 1;
                        let token = self.token;
                        self.feed(to, Input::Gossip { token, from, bytes });
                    }
                }
            }
        }
        panic!("the mail never ends");
    }

    /// A proposal of another header for the same view, with its proposer's signature.
    fn other_proposal(&self, from: usize, body: &EpochBody, mut header: EpochHeader) -> Vec<u8> {
        header.total_owed.0 += 1;
        let digest = header.signing_digest(&self.profile);
        codec::encode(&Request::Propose {
            body: body.clone(),
            signature: self.people[from].evm.sign(&digest),
            header,
        })
    }

    /// What a node's storage answers without its core.
    fn content(&self, i: usize, bytes: &[u8]) -> Option<Response> {
        let disk = &self.people[i].disk;
        let refused = || Response::refused(true, "not here");
        Some(match codec::decode::<Request>(bytes, usize::MAX).ok()? {
            Request::GetEpoch { lane, epoch } => disk
                .get(&(Family::Epoch, assay_protocol::core::epoch_key(lane, epoch)))
                .map_or_else(refused, |b| {
                    Response::Epoch(codec::decode::<EpochBody>(b, usize::MAX).unwrap())
                }),
            Request::GetRecords { ids } => Response::Records(
                ids.iter()
                    .filter_map(|id| disk.get(&(Family::Record, id.0.to_vec())))
                    .map(|b| codec::decode(b, usize::MAX).unwrap())
                    .collect(),
            ),
            Request::GetAnnounce { task } => disk
                .get(&(Family::Announce, task.0.to_vec()))
                .map_or_else(refused, |b| {
                    Response::Announce(codec::decode(b, usize::MAX).unwrap())
                }),
            _ => return None,
        })
    }

    /// Everybody but one goes to sleep, and nothing that they were about to send reaches the chain.
    pub fn leave_awake(&mut self, only: usize) {
        self.down = (0..self.people.len()).filter(|i| *i != only).collect();
        self.calls.retain(|(from, _)| *from == only);
    }

    /// Mines a block after the given seconds, with the calls that are waiting.
    pub fn mine(&mut self, secs: u64) {
        self.time += secs;
        self.now += secs * 1_000;
        self.ledger.begin(self.time);
        while let Some((i, call)) = self.calls.pop_front() {
            let account = self.account(i);
            let settles =
                matches!(&call, ChainCall::PostEpoch { settled, .. } if !settled.is_empty());
            let wicked = self.wicked.take_if(|_| settles);
            let result = match (call, wicked) {
                (
                    ChainCall::PostEpoch {
                        header, settled, ..
                    },
                    Some(audit_root),
                ) => {
                    let header = EpochHeader {
                        audit_root,
                        ..header
                    };
                    let signatures = self.committee_signs(&header);
                    self.serve(&header);
                    self.ledger
                        .post_epoch(account, &header, &settled, &signatures)
                }
                (call, _) => call.play(&mut self.ledger, account),
            };
            if let Err(error) = result {
                self.call_errors.push(error.to_string());
            }
        }
        let news = self.ledger.mine(self.time);
        self.blocks.push(news);
        for i in 0..self.people.len() {
            self.sync(i);
        }
    }

    /// Places of the people who sit in the committee.
    pub fn committee(&self) -> Vec<usize> {
        let live = self.people.iter().find_map(|p| p.core.as_ref()?.live(0));
        let members = live.and_then(|l| l.committee.clone()).unwrap().members;
        let place = |m: &Account| (0..self.people.len()).find(|i| self.account(*i) == *m);
        members.iter().map(|m| place(m).unwrap()).collect()
    }

    /// Signatures of the whole committee, by their places in it.
    fn committee_signs(&self, header: &EpochHeader) -> Vec<(u8, EvmSignature)> {
        let digest = header.signing_digest(&self.profile);
        let members = self.committee().into_iter();
        let signed = members.map(|i| self.people[i].evm.sign(&digest));
        (0..).zip(signed).collect()
    }

    /// Gives the members what a wicked epoch is made of, as if their nodes had adopted it.
    fn serve(&mut self, header: &EpochHeader) {
        let Some(body) = self.proposed.clone().filter(|_| self.served) else {
            return;
        };
        assert_eq!((body.epoch, body.view), (header.epoch, header.view));
        let key = assay_protocol::core::epoch_key(header.lane, header.epoch);
        for i in self.committee() {
            self.people[i]
                .disk
                .insert((Family::Epoch, key.clone()), codec::encode(&body));
        }
    }

    fn sync(&mut self, i: usize) {
        if self.down.contains(&i) || self.people[i].core.is_none() {
            return;
        }
        let news = self.blocks[self.people[i].next_block..].to_vec();
        self.people[i].next_block = self.blocks.len();
        if !news.is_empty() {
            self.feed(i, Input::Chain(news));
        }
    }

    /// One round: people act, mail flows, a block comes.
    pub fn round(&mut self) {
        self.act_as_people();
        self.deliver();
        self.now += 150;
        for i in 0..self.people.len() {
            if !self.down.contains(&i) {
                self.feed(i, Input::Wake);
            }
        }
        self.deliver();
        self.mine(1);
        self.deliver();
    }

    fn act_as_people(&mut self) {
        for i in 0..self.people.len() {
            if self.people[i].role != role::LABELER || self.down.contains(&i) {
                continue;
            }
            for notice in std::mem::take(&mut self.people[i].notices) {
                match notice {
                    Notice::Phase {
                        task,
                        phase: "enrolling",
                        ..
                    } => {
                        let _ = self.command(
                            i,
                            Command::Enrol {
                                task,
                                capacity: 10_000,
                            },
                        );
                    }
                    Notice::Assigned {
                        task, wave, items, ..
                    } => {
                        let answers = items
                            .iter()
                            .map(|item| Answer(*item, (self.answers)(*item, i)))
                            .collect();
                        let _ = self.command(
                            i,
                            Command::Answer {
                                task,
                                wave,
                                answers,
                            },
                        );
                    }
                    _ => {}
                }
            }
        }
    }

    /// Rounds until `done`, at most `rounds`.
    pub fn run(&mut self, rounds: usize, done: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..rounds {
            if done(self) {
                return true;
            }
            self.round();
        }
        done(self)
    }

    pub fn manifest(
        &self,
        items: u32,
        edit: impl FnOnce(&mut Manifest),
    ) -> (Manifest, Vec<GoldSecret>) {
        let fresh0 = items * 3 / 4;
        let gold = |range: std::ops::Range<u32>, n: u8| GoldSecret {
            entries: range.step_by(7).map(|i| (i, (i % 3) as u16)).collect(),
            salt: Salt([n; 32]),
        };
        let secrets = vec![gold(0..fresh0, 1), gold(fresh0..items, 2)];
        let plan = |s: &GoldSecret, fresh| WavePlan {
            fresh,
            gold_count: s.entries.len() as u32,
            gold_root: gold_root(&s.salt, &s.entries),
        };
        let shard = |n: u8| ShardRef {
            hash: ShardHash([n; 32]),
            bytes: 100,
        };
        let mut manifest = Manifest {
            v: 1,
            network: self.profile.id(),
            client: self.account(self.client()),
            title: "three classes".into(),
            guideline: vec![("en".into(), "pick one".into())],
            kind: TaskKind::Class {
                labels: vec!["a".into(), "b".into(), "c".into()],
            },
            items: ItemSet {
                count: items,
                index: shard(1),
                shards: vec![shard(2)],
            },
            waves: vec![plan(&secrets[0], fresh0), plan(&secrets[1], items - fresh0)],
            assignment: AssignmentRule::Drawn { k: 3, k_max: 5 },
            target_posterior_ppm: 950_000,
            price: Amount(1_000),
            gold_bond: Amount(1_000_000),
            full_skill_ppm: 600_000,
            loss_cap_ppm: 1_000_000,
            labelers_min: 3,
            labelers_max: 100,
            durations: Durations {
                enrol_secs: 4,
                commit_secs: 20,
                reveal_secs: 10,
                gold_secs: 6,
            },
            licence: "CC-BY-4.0".into(),
            nonce: Salt([7; 32]),
        };
        edit(&mut manifest);
        (manifest, secrets)
    }

    pub fn publish(&mut self, items: u32, edit: impl FnOnce(&mut Manifest)) -> TaskId {
        let (manifest, gold) = self.manifest(items, edit);
        let client = self.client();
        self.command(
            client,
            Command::Publish {
                manifest: Box::new(manifest),
                gold,
            },
        )
        .unwrap()
    }

    /// The lane as node `i`, which lives, sees it now.
    pub fn live(&self, i: usize) -> &LaneState {
        self.people[i].core.as_ref().unwrap().live(0).unwrap()
    }

    pub fn outcome(&self, i: usize) -> Option<&TaskOutcome> {
        self.people[i].outcomes.last()
    }

    pub fn payout_file(&self, i: usize) -> PayoutFile {
        codec::decode(
            &self.people[i].disk[&(Family::Payout, 0u32.to_be_bytes().to_vec())],
            usize::MAX,
        )
        .unwrap()
    }

    /// What node `i` keeps for paying a task of the village's client without a committee.
    pub fn fallback(&self, i: usize, task: TaskId) -> Option<Fallback> {
        let key = fallback_key(&task, &self.account(self.client()));
        let row = self.people[i].disk.get(&(Family::Flat, key))?;
        Some(codec::decode(row, usize::MAX).unwrap())
    }

    /// The header that the chain took last.
    pub fn last_posted(&self) -> EpochHeader {
        let facts = self.blocks.iter().flat_map(|b| &b.facts);
        let mut headers = facts.filter_map(|fact| match fact {
            ChainFact::EpochPosted { header, .. } => Some((**header).clone()),
            _ => None,
        });
        headers.next_back().unwrap()
    }

    /// Claims everything that node `i` can prove, for everybody; returns what was paid to whom.
    pub fn claim_all(&mut self, i: usize) -> BTreeMap<Account, Amount> {
        let proofs = self.payout_file(i).proofs();
        let payees = proofs.file().leaves.iter();
        let claims: Vec<Claim> = payees.map(|l| proofs.claim(&l.0).unwrap()).collect();
        let mut paid = BTreeMap::new();
        for claim in claims {
            if let Ok(amount) = self.ledger.claim(&claim) {
                paid.insert(claim.payee, amount);
            }
        }
        paid
    }
}
