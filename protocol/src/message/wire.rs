//! Direct questions between nodes and their answers. Nothing here is signed as such: what must be believed is a signed record,
//! a signed vote or content that hashes to its name.

use serde::{Deserialize, Serialize};

use super::{BlockRef, Envelope, EpochHeader, Receipt};
use crate::id::{Blob, EvmSignature, Hash, RecordId, ShardHash, TaskId};

/// What an epoch is made of: the chain block up to which it reads, and the records by name, sorted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochBody {
    /// Lane.
    pub lane: u32,
    /// Epoch number, from 1.
    pub epoch: u64,
    /// The view in which it was proposed.
    pub view: u32,
    /// Chain facts up to and including this block are part of the epoch.
    pub block: BlockRef,
    /// Names of the records, strictly rising.
    pub records: Vec<RecordId>,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "lives for one decode or encode")]
pub enum Request {
    /// Take this record in.
    Submit {
        /// The signed record.
        envelope: Envelope,
    },
    /// Leader to member: what do you hold that is missing here?
    Gather {
        /// The set so far.
        body: EpochBody,
    },
    /// Leader to member: sign this header if you agree.
    Propose {
        /// The set.
        body: EpochBody,
        /// The header that the leader computed from it.
        header: EpochHeader,
        /// The leader's own EIP-712 signature over the header: two of them for one view convict it.
        signature: EvmSignature,
    },
    /// Validator to validator: can you not derive this posted header either? Then sign that it be taken back.
    Overrule {
        /// Lane.
        lane: u32,
        /// Struct hash of the header.
        header: Hash,
    },
    /// The body of an anchored epoch.
    GetEpoch {
        /// Lane.
        lane: u32,
        /// Epoch number.
        epoch: u64,
    },
    /// Records by name.
    GetRecords {
        /// At most [`crate::limit::RECORDS_ASKED_MAX`].
        ids: Vec<RecordId>,
    },
    /// The announcement of a task.
    GetAnnounce {
        /// Task id.
        task: TaskId,
    },
    /// A range of a shard; answered by the node's body, never by the core.
    GetShard {
        /// Shard name.
        hash: ShardHash,
        /// First byte.
        offset: u64,
        /// Number of bytes, at most [`crate::limit::SHARD_CHUNK_BYTES`].
        bytes: u64,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Response {
    /// To `Submit`: taken in, durable.
    Receipt(Receipt),
    /// To anything: no, and why.
    Refused {
        /// May the same request succeed later?
        later: bool,
        /// For people and logs.
        why: String,
    },
    /// To `Gather`: records that the member gave receipts for and that the set lacks.
    Missing(Vec<Envelope>),
    /// To `Propose`: the member's EIP-712 signature over the header. To `Overrule`: the validator's against it.
    Vote(EvmSignature),
    /// To `GetEpoch`.
    Epoch(EpochBody),
    /// To `GetRecords`: those that are held, as many as fit.
    Records(Vec<Envelope>),
    /// To `GetAnnounce`.
    Announce(Envelope),
    /// To `GetShard`.
    Shard(Blob),
}

/// Gossip topic of a task kind's announcements.
pub fn topic(network: &str, kind: &str) -> String {
    format!("/assay/{network}/1/tasks/{kind}")
}

impl Request {
    /// Short name for logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submit { .. } => "submit",
            Self::Gather { .. } => "gather",
            Self::Propose { .. } => "propose",
            Self::Overrule { .. } => "overrule",
            Self::GetEpoch { .. } => "get-epoch",
            Self::GetRecords { .. } => "get-records",
            Self::GetAnnounce { .. } => "get-announce",
            Self::GetShard { .. } => "get-shard",
        }
    }
}

impl Response {
    /// A refusal.
    pub fn refused(later: bool, why: impl Into<String>) -> Self {
        Self::Refused {
            later,
            why: why.into(),
        }
    }
}
