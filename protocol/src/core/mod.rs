//! The core: composes the specialists into one participant.
//!
//! Plain enums in ([`Input`], [`Command`]), a plain queue out ([`Effect`]), time as an argument. The same core is client, labeler, validator
//! and watcher; what it does depends on the roles of its account. Every node follows its lanes and recomputes every epoch.
//!
//! ```text
//! chain facts --> live state --> due? --> gather --> propose --> votes --> Submit(PostEpoch)
//! records ------> pool ----------^                                             |
//! EpochPosted <---------------------------------------------------------------+
//!     '--> body + records --> apply --> same header? --> new state, else Alarm and Overrule
//! ```
//!
//! Contract with both bodies: effects run in order; an effect after a `Persist` starts only when that one is durable; `now` never goes backwards.

mod admit;
mod agree;
mod client;
mod custody;
mod deliver;
mod effect;
mod equivocation;
mod fault;
mod follow;
mod input;
mod labeler;
mod overrule;
mod restore;

use std::collections::{BTreeMap, VecDeque};

pub use client::OwnTask;
pub use deliver::DeliveryView;
pub use effect::{ChainCall, Effect, Family, Notice, Op, epoch_key, fallback_key};
pub use input::{Command, CommandError, GoldSecret, Input, Millis, RequestFault};
pub use labeler::{Work, WorkStage};
pub use overrule::Dispute;
pub use restore::{OwnKey, Restored};

use crate::{
    codec,
    crypto::{EvmKey, NodeKeypair},
    id::{Hash, NetworkId, NodeKey, RecordId, TaskId},
    lane::{LaneState, role},
    limit,
    message::{Envelope, Kind, Request, Response},
    network::NetworkProfile,
    verify::{Authentic, Fault, Penalty},
};

/// Milliseconds between two looks at everything that may be due.
const TICK_MS: u64 = 100;

/// Who we are and where.
#[derive(Clone, Debug)]
pub struct Config {
    /// The network.
    pub profile: NetworkProfile,
    /// Our node key.
    pub node: NodeKeypair,
    /// Our account's key, when this node may sign headers.
    pub evm: Option<EvmKey>,
}

/// When the core wants to be woken, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wakeup {
    /// Local time, milliseconds.
    pub at: Millis,
    /// For logs.
    pub reason: &'static str,
}

/// A question of ours under way.
#[derive(Clone, Debug)]
enum Asked {
    Deliver {
        record: RecordId,
        to: NodeKey,
    },
    Gather {
        lane: u32,
        epoch: u64,
        view: u32,
        from: NodeKey,
    },
    Vote {
        lane: u32,
        epoch: u64,
        view: u32,
        from: NodeKey,
    },
    Epoch {
        lane: u32,
        epoch: u64,
    },
    Records {
        lane: u32,
        from: NodeKey,
    },
    Overrule {
        lane: u32,
        header: Hash,
        from: NodeKey,
    },
    Announce {
        task: TaskId,
    },
}

/// One participant.
pub struct Core {
    config: Config,
    network: NetworkId,
    now: Millis,
    effects: VecDeque<Effect>,
    lanes: BTreeMap<u32, follow::Follower>,
    announced: BTreeMap<TaskId, custody::Announced>,
    deliveries: BTreeMap<RecordId, deliver::Delivery>,
    work: BTreeMap<(TaskId, u8), Work>,
    own_tasks: BTreeMap<TaskId, OwnTask>,
    asked: BTreeMap<u64, Asked>,
    next_request: u64,
    next_tick: Millis,
}

impl Core {
    /// A core that continues from what was durable; [`Restored::default`] for a new one.
    pub fn new(config: Config, restored: Restored, now: Millis) -> Self {
        let network = config.profile.id();
        let lanes = (0..config.profile.params.lanes)
            .map(|l| (l, follow::Follower::new(LaneState::genesis(l))))
            .collect();
        let mut core = Self {
            network,
            config,
            now,
            effects: VecDeque::new(),
            lanes,
            announced: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            work: BTreeMap::new(),
            own_tasks: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_request: 0,
            next_tick: now,
        };
        core.restore(restored);
        core
    }

    /// Something happened.
    pub fn handle(&mut self, input: Input, now: Millis) {
        self.now = self.now.max(now);
        match input {
            Input::Gossip { token, from, bytes } => self.on_gossip(token, from, &bytes),
            Input::Request { token, from, bytes } => self.on_request(token, from, &bytes),
            Input::Response { id, result } => self.on_response(id, result),
            Input::ShardsReady { task } => self.on_shards_ready(task),
            Input::ShardsFailed { task } => self.on_shards_failed(task),
            Input::Chain(news) => self.on_chain(news),
            Input::Wake => {}
        }
        if self.now >= self.next_tick {
            self.tick();
            self.next_tick = self.now + TICK_MS;
        }
    }

    /// A person wants something.
    ///
    /// # Errors
    /// [`CommandError`] saying what to do instead.
    pub fn command(&mut self, command: Command, now: Millis) -> Result<TaskId, CommandError> {
        self.now = self.now.max(now);
        match command {
            Command::Publish { manifest, gold } => self.publish(*manifest, gold),
            Command::Enrol { task, capacity } => self.enrol(task, capacity).map(|()| task),
            Command::Answer {
                task,
                wave,
                answers,
            } => self.answer(task, wave, answers).map(|()| task),
            Command::Commit { task, wave } => self.commit(task, wave).map(|()| task),
        }
    }

    /// The next order.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`Self::handle`] with [`Input::Wake`] at the latest.
    pub fn next_wakeup(&self) -> Wakeup {
        Wakeup {
            at: self.next_tick,
            reason: "retries, view changes and deadlines",
        }
    }

    /// A lane as far as the chain is known: the last anchored state plus newer chain facts.
    pub fn live(&self, lane: u32) -> Option<&LaneState> {
        self.lanes.get(&lane).map(|f| &f.live)
    }

    /// A lane after its last anchored epoch.
    pub fn base(&self, lane: u32) -> Option<&LaneState> {
        self.lanes.get(&lane).map(|f| &f.base)
    }

    /// The first block not taken in yet: where the chain client must go on after a restart.
    pub fn next_block(&self) -> u64 {
        let next = |f: &follow::Follower| {
            f.live.block.number + u64::from(f.live.block.hash != crate::id::Hash::ZERO)
        };
        self.lanes
            .values()
            .map(next)
            .min()
            .unwrap_or(0)
            .max(self.config.profile.start_block)
    }

    /// Announcements known here, open or not.
    pub fn announcements(&self) -> impl Iterator<Item = &Authentic> {
        self.announced.values().map(|a| &a.record)
    }

    /// Our work by (task, wave).
    pub fn work(&self) -> &BTreeMap<(TaskId, u8), Work> {
        &self.work
    }

    /// Tasks that we published.
    pub fn own_tasks(&self) -> &BTreeMap<TaskId, OwnTask> {
        &self.own_tasks
    }

    /// Our node key.
    pub fn node_key(&self) -> NodeKey {
        self.config.node.public()
    }

    /// The network.
    pub fn profile(&self) -> &NetworkProfile {
        &self.config.profile
    }

    fn emit(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    fn notify(&mut self, notice: Notice) {
        self.emit(Effect::Notify(notice));
    }

    fn persist(&mut self, ops: Vec<Op>) {
        if !ops.is_empty() {
            self.emit(Effect::Persist(ops));
        }
    }

    fn put(&mut self, family: Family, key: impl Into<Vec<u8>>, value: Vec<u8>) {
        self.persist(vec![Op::Put {
            family,
            key: key.into(),
            value,
        }]);
    }

    fn penalise(&mut self, peer: NodeKey, fault: &Fault) {
        if fault.penalty != Penalty::None {
            self.emit(Effect::Penalise {
                peer,
                penalty: fault.penalty,
                why: fault.why.clone(),
            });
        }
    }

    /// Sends a request and remembers what its answer is for. Past the limit of open requests it is dropped and tried again later.
    fn ask(&mut self, to: NodeKey, request: &Request, asked: Asked) -> bool {
        if self.asked.len() >= limit::REQUESTS_MAX {
            return false;
        }
        self.next_request += 1;
        let id = self.next_request;
        self.asked.insert(id, asked);
        let bytes = codec::encode(request);
        self.emit(Effect::Request {
            id,
            to,
            bytes,
            timeout_ms: limit::REQUEST_TIMEOUT_MS,
        });
        true
    }

    fn respond(&mut self, token: u64, response: &Response) {
        self.emit(Effect::Respond {
            token,
            bytes: codec::encode(response),
        });
    }

    fn sign<B: serde::Serialize>(
        &self,
        kind: Kind,
        task: TaskId,
        wave: u8,
        seq: u64,
        body: &B,
    ) -> Envelope {
        Envelope::sign(&self.config.node, self.network, kind, task, wave, seq, body)
    }

    /// The lane in which a task is open, escrowed or announced.
    fn lane_of(&self, task: &TaskId) -> Option<u32> {
        self.lanes
            .iter()
            .find(|(_, f)| {
                f.live.tasks.contains_key(task) || f.live.escrows.keys().any(|k| k.0 == *task)
            })
            .map(|(l, _)| *l)
            .or_else(|| self.announced.get(task).map(|a| a.lane))
    }

    fn on_request(&mut self, token: u64, from: NodeKey, bytes: &[u8]) {
        match codec::decode::<Request>(bytes, limit::REQUEST_BYTES_MAX) {
            Err(error) => {
                let fault = Fault::from(error);
                self.penalise(from, &fault);
                self.respond(token, &Response::refused(false, fault.why));
            }
            Ok(Request::Submit { envelope }) => self.on_submit(token, from, envelope),
            Ok(Request::Gather { body }) => self.on_gather(token, &body),
            Ok(Request::Propose {
                body,
                header,
                signature,
            }) => self.on_propose(token, from, body, header, &signature),
            Ok(Request::Overrule { lane, header }) => self.on_overrule(token, lane, &header),
            Ok(
                Request::GetEpoch { .. }
                | Request::GetRecords { .. }
                | Request::GetAnnounce { .. }
                | Request::GetShard { .. },
            ) => self.respond(
                token,
                &Response::refused(false, "content is served by the node's storage"),
            ),
        }
    }

    fn on_response(&mut self, id: u64, result: Result<Vec<u8>, RequestFault>) {
        let Some(asked) = self.asked.remove(&id) else {
            return;
        };
        let response = match result {
            Ok(bytes) => match codec::decode::<Response>(&bytes, limit::RESPONSE_BYTES_MAX) {
                Ok(response) => response,
                Err(error) => {
                    let from = match &asked {
                        Asked::Deliver { to, .. } => Some(*to),
                        Asked::Gather { from, .. }
                        | Asked::Vote { from, .. }
                        | Asked::Overrule { from, .. }
                        | Asked::Records { from, .. } => Some(*from),
                        Asked::Epoch { .. } | Asked::Announce { .. } => None,
                    };
                    if let Some(from) = from {
                        self.penalise(from, &Fault::from(error));
                    }
                    Response::refused(true, "unreadable answer")
                }
            },
            Err(fault) => Response::refused(true, fault.0),
        };
        match asked {
            Asked::Deliver { record, to } => self.on_delivered(record, to, response),
            Asked::Gather {
                lane,
                epoch,
                view,
                from,
            } => self.on_gathered(lane, epoch, view, from, response),
            Asked::Vote {
                lane,
                epoch,
                view,
                from,
            } => self.on_vote(lane, epoch, view, from, response),
            Asked::Epoch { lane, epoch } => self.on_epoch_body(lane, epoch, response),
            Asked::Records { lane, from } => self.on_records(lane, from, response),
            Asked::Overrule { lane, header, from } => {
                self.on_overrule_vote(lane, header, from, response);
            }
            Asked::Announce { task } => self.on_announce_fetched(task, response),
        }
    }

    fn tick(&mut self) {
        self.tick_deliveries();
        self.tick_labeler();
        self.tick_client();
        self.tick_custody();
        let lanes: Vec<u32> = self.lanes.keys().copied().collect();
        for lane in lanes {
            self.tick_follow(lane);
            self.tick_overrule(lane);
            self.tick_fault(lane);
            self.tick_agree(lane);
        }
    }

    /// Our account on a lane, if it is registered with the given role.
    fn own_account(&self, lane: u32, role: u8) -> Option<crate::id::Account> {
        let live = self.live(lane)?;
        live.account_of(&self.node_key())
            .filter(|(_, a)| a.can(role))
            .map(|(account, _)| account)
    }

    fn is_member(&self, lane: u32) -> bool {
        self.config.evm.is_some()
            && self.own_account(lane, role::VALIDATOR).is_some()
            && self
                .live(lane)
                .is_some_and(|l| l.member_index(&self.node_key()).is_some())
    }
}
