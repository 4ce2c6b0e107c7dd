//! One simulated participant: a core and the models around it.

use std::collections::{BTreeMap, BTreeSet};

use assay_protocol::{
    core::{Config, Core, Op},
    crypto::{EvmKey, NodeKeypair},
    id::{Account, Hash, TaskId},
    lane::role,
    network::NetworkProfile,
};

use crate::{actor::Actor, disk::Disk, people::Person, rng::Stream, scenario::Role};

/// A participant.
pub struct Node {
    /// `population-place`.
    pub name: String,
    /// Place of its population in the scenario.
    pub population: usize,
    /// What it is registered as.
    pub role: Role,
    /// Its node key.
    pub keys: NodeKeypair,
    /// Its account's key.
    pub evm: EvmKey,
    /// Its account.
    pub account: Account,
    /// Its core; none while it is down.
    pub core: Option<Core>,
    /// How often it was started: what was meant for an earlier life is dropped.
    pub life: u32,
    /// What survives a crash.
    pub disk: Disk,
    /// The batch being written; what the core ordered after it waits.
    pub writing: Option<Vec<Op>>,
    /// It will crash in the middle of its next write.
    pub doomed: bool,
    /// How it deviates.
    pub actor: Actor,
    /// The person at it.
    pub person: Person,
    /// Luck of its person, its disk and its chain client.
    pub luck: Stream,
    /// Questions of its core without an answer yet.
    pub pending: BTreeSet<u64>,
    /// Who waits for which answer: token -> (asker, its life, its request).
    pub replies: BTreeMap<u64, (usize, u32, u64)>,
    /// Gossip held until its verdict: token -> (sender, message).
    pub held: BTreeMap<u64, (usize, Hash, std::rc::Rc<[u8]>)>,
    /// Penalty points by peer.
    pub points: BTreeMap<usize, u32>,
    /// Tasks whose shards it holds; they survive a crash.
    pub shards: BTreeSet<TaskId>,
    /// Next block to hear of, as a place in the chain.
    pub next_block: usize,
    /// A wake-up is in the queue.
    pub wake_waits: bool,
    /// Hashes of the headers that it adopted, by (lane, epoch).
    pub headers: BTreeMap<(u32, u64), Hash>,
    /// Answers whose reveal a quorum took in, by (task, wave).
    pub acknowledged: BTreeMap<(TaskId, u8), BTreeMap<u32, u16>>,
}

impl Node {
    /// Role bits of the registry.
    pub fn role_bits(&self) -> u8 {
        match self.role {
            Role::Client => role::CLIENT,
            Role::Labeler => role::LABELER,
            Role::Validator => role::VALIDATOR,
        }
    }

    /// Starts the core from the disk.
    pub fn start(&mut self, profile: &NetworkProfile, now_ms: u64) {
        let config = Config {
            profile: profile.clone(),
            node: self.keys.clone(),
            evm: (self.role == Role::Validator).then(|| self.evm.clone()),
        };
        self.life += 1;
        self.core = Some(Core::new(config, self.disk.restored(), now_ms));
    }

    /// The process dies: memory is gone. A batch that was being written is kept or lost as `keep_write` says.
    pub fn crash(&mut self, keep_write: bool) {
        self.core = None;
        self.life += 1;
        self.doomed = false;
        if let Some(ops) = self.writing.take().filter(|_| keep_write) {
            self.disk.apply(ops);
        }
        self.pending.clear();
        self.replies.clear();
        self.held.clear();
        self.points.clear();
        self.person.drafting.clear();
        self.person.busy_until = 0;
        self.wake_waits = false;
    }

    /// It is up, and this is the life that a message was meant for.
    pub fn lives(&self, life: u32) -> bool {
        self.core.is_some() && self.life == life
    }
}
