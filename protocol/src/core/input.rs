//! News: everything that can happen to a core. There is no other door.

use crate::{
    id::{NodeKey, TaskId},
    message::{Answer, BlockNews, Manifest},
};

use crate::id::Salt;

/// Milliseconds of a local clock that never goes backwards. Only for retries and view changes: no decision that is signed, scored or
/// paid depends on it.
pub type Millis = u64;

/// A client's secret gold of one wave.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GoldSecret {
    /// (item, label), rising by item.
    pub entries: Vec<(u32, u16)>,
    /// Salt of the manifest's root.
    pub salt: Salt,
}

/// A person, or a program acting for one, wants something. Answered by the return value of [`super::Core::command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Announce a task of ours; once the committee holds its shards it is funded.
    Publish {
        /// Terms.
        manifest: Box<Manifest>,
        /// Per wave.
        gold: Vec<GoldSecret>,
    },
    /// Take part in a task.
    Enrol {
        /// Task.
        task: TaskId,
        /// Most labels per wave.
        capacity: u32,
    },
    /// Keep answers; the last one per item counts. When all assigned items are answered the wave is committed.
    Answer {
        /// Task.
        task: TaskId,
        /// Wave.
        wave: u8,
        /// Answers.
        answers: Vec<Answer>,
    },
    /// Commit what is answered so far; nothing can be added afterwards.
    Commit {
        /// Task.
        task: TaskId,
        /// Wave.
        wave: u8,
    },
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The task is unknown here.
    #[error("task {0} is not known here; check the id, or wait until its announcement arrives")]
    UnknownTask(TaskId),
    /// The node has no registered account for this.
    #[error("this node is not registered as a {0}; register it first")]
    NotRegistered(&'static str),
    /// The phase does not allow it.
    #[error("the task is {phase}: {why}")]
    WrongPhase {
        /// Present phase.
        phase: &'static str,
        /// What would be needed.
        why: String,
    },
    /// The manifest is wrong.
    #[error(transparent)]
    Manifest(#[from] crate::message::ManifestError),
    /// An answer is wrong.
    #[error("item {item}: {why}")]
    Answer {
        /// Item.
        item: u32,
        /// What is wrong.
        why: String,
    },
    /// The gold given does not fit the manifest.
    #[error("gold of wave {wave}: {why}")]
    Gold {
        /// Wave.
        wave: usize,
        /// What is wrong.
        why: String,
    },
}

/// Why a direct request got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RequestFault(pub String);

/// News.
#[derive(Clone, Debug)]
pub enum Input {
    /// A gossip message, held until its verdict.
    Gossip {
        /// Comes back in [`super::Effect::Verdict`].
        token: u64,
        /// Who passed it on.
        from: NodeKey,
        /// Message.
        bytes: Vec<u8>,
    },
    /// A question for the core (content look-ups are answered by the body).
    Request {
        /// Comes back in [`super::Effect::Respond`].
        token: u64,
        /// Who asks.
        from: NodeKey,
        /// Canonical bytes.
        bytes: Vec<u8>,
    },
    /// The answer to a request of ours.
    Response {
        /// Of the request.
        id: u64,
        /// Bytes, or why there are none.
        result: Result<Vec<u8>, RequestFault>,
    },
    /// All shards of a task are here and verified.
    ShardsReady {
        /// Task.
        task: TaskId,
    },
    /// Some shards could not be had; will be tried again.
    ShardsFailed {
        /// Task.
        task: TaskId,
    },
    /// Finalised blocks in order.
    Chain(Vec<BlockNews>),
    /// The time asked for by [`super::Core::next_wakeup`] has come.
    Wake,
}
