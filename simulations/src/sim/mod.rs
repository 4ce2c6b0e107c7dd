//! The loop: takes the next event, hands it to a core, carries out what the core orders.
//!
//! Effects of a node run in order; an effect after a `Persist` waits until that batch is durable. A node that is down gets nothing. When
//! the first honest node has seen the end of every task, crashes stop and everybody comes back: from there on all must converge.

mod build;
mod effects;
mod life;
mod node;

use std::{collections::BTreeMap, io::Write, rc::Rc};

use assay_protocol::{
    codec,
    core::{ChainCall, Input, RequestFault},
    id::{Account, Hash, NodeKey, TaskId},
    message::BlockNews,
    network::NetworkProfile,
};

pub use node::Node;

use crate::{
    actor::EXTRA_REQUEST,
    chain::Chain,
    evidence::{Evidence, Timing},
    network::{Network, Port, Traffic},
    people::People,
    queue::Queue,
    scenario::Scenario,
    task::Plan,
    trace::{Payload, Trace},
};

/// Events after which a run is given up: more than any scenario within the limits needs.
const EVENTS_MAX: u64 = 2_000_000_000;

/// How to run.
#[derive(Default)]
pub struct Options {
    /// Instead of the scenario's seed.
    pub seed: Option<u64>,
    /// Where a copy of the trace goes.
    pub trace: Option<Box<dyn Write>>,
}

/// Why a run gave no result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The trace cannot be written.
    #[error("the trace could not be written: {0}; choose another file or free some space")]
    Trace(#[from] std::io::Error),
}

/// Something that will happen.
pub(crate) enum Event {
    Mine,
    Blocks {
        node: usize,
        life: u32,
    },
    Call {
        from: Account,
        call: Box<ChainCall>,
    },
    Wake {
        node: usize,
        life: u32,
    },
    Written {
        node: usize,
        life: u32,
    },
    Request {
        from: usize,
        life: u32,
        to: usize,
        id: u64,
        bytes: Rc<[u8]>,
    },
    Response {
        to: usize,
        life: u32,
        id: u64,
        bytes: Rc<[u8]>,
    },
    Timeout {
        node: usize,
        life: u32,
        id: u64,
    },
    Gossip {
        from: usize,
        to: usize,
        id: Hash,
        bytes: Rc<[u8]>,
    },
    Shards {
        node: usize,
        life: u32,
        task: TaskId,
        arrived: bool,
    },
    Enrol {
        node: usize,
        life: u32,
        task: TaskId,
    },
    Answer {
        node: usize,
        life: u32,
        task: TaskId,
        wave: u8,
        item: u32,
        place: u32,
    },
    Publish {
        plan: usize,
    },
    Crash {
        node: usize,
    },
    Revive {
        node: usize,
    },
}

/// Counters beside the network's and the chain's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub events: u64,
    pub by_kind: BTreeMap<&'static str, u64>,
    pub crashes: u64,
    pub writes_lost: u64,
    pub refused_commands: BTreeMap<String, u64>,
    /// Honest nodes blamed by honest nodes: (who blames, who is blamed, points, why).
    pub blamed: Vec<(usize, usize, u32, String)>,
    /// By blamed node: (penalties, points).
    pub penalties: BTreeMap<usize, (u64, u64)>,
    pub alarms: Vec<String>,
    pub conflicts: Vec<String>,
}

/// A simulation that is over.
pub(crate) struct Remains {
    pub scenario: Scenario,
    pub seed: u64,
    pub simulated_ms: u64,
    pub nodes: Vec<Node>,
    pub chain: Chain,
    pub plans: Vec<Plan>,
    pub published: Vec<bool>,
    pub counts: Counts,
    pub traffic: Traffic,
    pub trace: Trace,
    pub finished_ms: BTreeMap<TaskId, u64>,
}

/// A simulation under way.
pub struct Simulation {
    scenario: Scenario,
    seed: u64,
    profile: NetworkProfile,
    queue: Queue<Event>,
    nodes: Vec<Node>,
    ports: Vec<Port>,
    roster: Vec<NodeKey>,
    index: BTreeMap<NodeKey, usize>,
    network: Network,
    chain: Chain,
    people: People,
    plans: Vec<Plan>,
    published: Vec<bool>,
    places: BTreeMap<TaskId, usize>,
    trace: Trace,
    counts: Counts,
    token: u64,
    calm: bool,
    finished_ms: BTreeMap<TaskId, u64>,
}

impl Simulation {
    /// Runs until every honest node has seen the end of every task, or until the deadline, and gathers what was seen.
    ///
    /// # Errors
    /// [`RunError`] when the trace cannot be written.
    pub fn run(mut self) -> Result<Evidence, RunError> {
        let started = Timing::start();
        self.begin();
        while self.counts.events < EVENTS_MAX
            && let Some(event) = self.queue.pop()
        {
            if self.queue.now() > self.scenario.deadline_ms || self.happen(event) {
                break;
            }
        }
        let timing = started.stop();
        Ok(Evidence::gather(self.into_remains(), timing)?)
    }

    /// What is left at the end, for [`Evidence::gather`].
    fn into_remains(self) -> Remains {
        Remains {
            simulated_ms: self.queue.now().min(self.scenario.deadline_ms),
            scenario: self.scenario,
            seed: self.seed,
            nodes: self.nodes,
            chain: self.chain,
            plans: self.plans,
            published: self.published,
            counts: self.counts,
            traffic: self.network.traffic,
            trace: self.trace,
            finished_ms: self.finished_ms,
        }
    }

    fn note(&mut self, node: usize, kind: &'static str, payload: &Payload) {
        self.counts.events += 1;
        *self.counts.by_kind.entry(kind).or_default() += 1;
        self.trace.note(self.queue.now(), node, kind, payload);
    }

    /// Hands news to a core.
    fn feed(&mut self, node: usize, input: Input) {
        let now = self.queue.now();
        if let Some(core) = self.nodes[node].core.as_mut() {
            core.handle(input, now);
        }
        self.perform(node);
    }

    /// True when the run is over.
    fn happen(&mut self, event: Event) -> bool {
        match event {
            Event::Mine => return self.on_mine(),
            Event::Blocks { node, life } => self.on_blocks(node, life),
            Event::Call { from, call } => {
                self.note(
                    usize::MAX,
                    "call",
                    &crate::trace::called(Payload::default().bytes(&from.0), &call),
                );
                self.chain.enter(from, *call);
            }
            Event::Wake { node, life } => self.on_wake(node, life),
            Event::Written { node, life } => {
                if self.nodes[node].lives(life) {
                    self.note(node, "written", &Payload::default());
                    if let Some(ops) = self.nodes[node].writing.take() {
                        self.nodes[node].disk.apply(ops);
                    }
                    self.perform(node);
                }
            }
            Event::Request {
                from,
                life,
                to,
                id,
                bytes,
            } => self.on_request(from, life, to, id, &bytes),
            Event::Response {
                to,
                life,
                id,
                bytes,
            } => {
                if self.nodes[to].lives(life) && self.nodes[to].pending.remove(&id) {
                    self.note(to, "response", &Payload::default().number(id).bytes(&bytes));
                    self.feed(
                        to,
                        Input::Response {
                            id,
                            result: Ok(bytes.to_vec()),
                        },
                    );
                }
            }
            Event::Timeout { node, life, id } => {
                if self.nodes[node].lives(life) && self.nodes[node].pending.remove(&id) {
                    self.note(node, "timeout", &Payload::default().number(id));
                    self.network.traffic.timeouts += 1;
                    self.feed(
                        node,
                        Input::Response {
                            id,
                            result: Err(RequestFault("no answer in time".into())),
                        },
                    );
                }
            }
            Event::Gossip {
                from,
                to,
                id,
                bytes,
            } => self.on_gossip(from, to, id, bytes),
            Event::Shards {
                node,
                life,
                task,
                arrived,
            } => {
                if self.nodes[node].lives(life) {
                    self.note(
                        node,
                        "shards",
                        &Payload::default().bytes(&task.0).number(arrived.into()),
                    );
                    if arrived {
                        self.nodes[node].shards.insert(task);
                    }
                    let input = if arrived {
                        Input::ShardsReady { task }
                    } else {
                        Input::ShardsFailed { task }
                    };
                    self.feed(node, input);
                }
            }
            Event::Enrol { node, life, task } => self.on_enrol(node, life, task),
            Event::Answer {
                node,
                life,
                task,
                wave,
                item,
                place,
            } => self.on_answer(node, life, task, wave, item, place),
            Event::Publish { plan } => self.on_publish(plan),
            Event::Crash { node } => self.on_crash(node),
            Event::Revive { node } => self.on_revive(node),
        }
        false
    }

    fn on_mine(&mut self) -> bool {
        let now = self.queue.now();
        self.chain.mine(now);
        let tip = self
            .chain
            .final_blocks()
            .last()
            .map_or(Hash::ZERO, |b| b.block.hash);
        self.note(usize::MAX, "block", &Payload::default().bytes(&tip.0));
        if self.is_over() {
            return true;
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].core.is_some() {
                self.notice_blocks(node);
            }
        }
        self.queue.push(self.scenario.chain.block_ms, Event::Mine);
        false
    }

    /// The node's chain client will look soon.
    fn notice_blocks(&mut self, node: usize) {
        let n = &mut self.nodes[node];
        let after = n.luck.between(1, self.scenario.chain.notice_jitter_ms);
        self.queue.push(after, Event::Blocks { node, life: n.life });
    }

    fn on_blocks(&mut self, node: usize, life: u32) {
        if !self.nodes[node].lives(life) {
            return;
        }
        let news: Vec<BlockNews> = self
            .chain
            .final_blocks()
            .get(self.nodes[node].next_block..)
            .unwrap_or(&[])
            .to_vec();
        let Some(last) = news.last() else { return };
        self.note(
            node,
            "blocks",
            &Payload::default()
                .bytes(&last.block.hash.0)
                .number(news.len() as u64),
        );
        self.nodes[node].next_block += news.len();
        self.feed(node, Input::Chain(news));
    }

    fn on_wake(&mut self, node: usize, life: u32) {
        if !self.nodes[node].lives(life) {
            return;
        }
        self.nodes[node].wake_waits = false;
        let due = self.nodes[node]
            .core
            .as_ref()
            .is_some_and(|c| c.next_wakeup().at <= self.queue.now());
        if due {
            self.note(node, "wake", &Payload::default());
            self.feed(node, Input::Wake);
        } else {
            self.schedule_wake(node);
        }
    }

    fn schedule_wake(&mut self, node: usize) {
        let now = self.queue.now();
        let n = &mut self.nodes[node];
        if let (Some(core), false) = (&n.core, n.wake_waits) {
            n.wake_waits = true;
            let after = core.next_wakeup().at.saturating_sub(now).max(1);
            self.queue.push(after, Event::Wake { node, life: n.life });
        }
    }

    fn is_banned(&mut self, by: usize, peer: usize) -> bool {
        let limit = self.network.ban_points();
        let banned = limit > 0
            && self.nodes[by]
                .points
                .get(&peer)
                .is_some_and(|p| *p >= limit);
        self.network.traffic.refused_banned += u64::from(banned);
        banned
    }

    fn on_request(&mut self, from: usize, life: u32, to: usize, id: u64, bytes: &Rc<[u8]>) {
        if self.nodes[to].core.is_none() || self.is_banned(to, from) {
            return;
        }
        self.note(
            to,
            "request",
            &Payload::default()
                .number(from as u64)
                .number(id)
                .bytes(bytes),
        );
        if let Some(content) = self.nodes[to].disk.answer(bytes) {
            return self.send_response(to, from, life, id, codec::encode(&content).into());
        }
        self.token += 1;
        let token = self.token;
        self.nodes[to].replies.insert(token, (from, life, id));
        let from = self.roster[from];
        self.feed(
            to,
            Input::Request {
                token,
                from,
                bytes: bytes.to_vec(),
            },
        );
    }

    fn send_response(&mut self, from: usize, to: usize, life: u32, id: u64, bytes: Rc<[u8]>) {
        if id >= EXTRA_REQUEST {
            return;
        }
        self.network.traffic.responses += 1;
        for after in self.network.send(&mut self.ports, from, to, bytes.len()) {
            self.queue.push(
                after,
                Event::Response {
                    to,
                    life,
                    id,
                    bytes: bytes.clone(),
                },
            );
        }
    }

    fn on_gossip(&mut self, from: usize, to: usize, id: Hash, bytes: Rc<[u8]>) {
        if self.nodes[to].core.is_none() || self.is_banned(to, from) {
            return;
        }
        if !self.ports[to].is_new(id) {
            self.network.traffic.gossip_duplicates += 1;
            return;
        }
        self.network.traffic.gossip_first += 1;
        self.note(
            to,
            "gossip",
            &Payload::default().number(from as u64).bytes(&id.0),
        );
        self.token += 1;
        let token = self.token;
        self.nodes[to].held.insert(token, (from, id, bytes.clone()));
        let from = self.roster[from];
        self.feed(
            to,
            Input::Gossip {
                token,
                from,
                bytes: bytes.to_vec(),
            },
        );
    }

    /// Passes a message on to all neighbours but the one it came from.
    fn spread(&mut self, node: usize, except: Option<usize>, id: Hash, bytes: &Rc<[u8]>) {
        self.ports[node].is_new(id);
        for to in self.ports[node].neighbours.clone() {
            if Some(to) == except {
                continue;
            }
            self.network.traffic.gossip_copies += 1;
            for after in self.network.send(&mut self.ports, node, to, bytes.len()) {
                self.queue.push(
                    after,
                    Event::Gossip {
                        from: node,
                        to,
                        id,
                        bytes: bytes.clone(),
                    },
                );
            }
        }
    }
}
