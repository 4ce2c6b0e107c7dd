//! Roots of a score: two hashes that name all of its input and all that was inferred, with the parts that they are made of.
//!
//! What for: two people who scored the same answers compare one hash, and whoever has the roots can be shown any single result.
//! What it does not do: no leaves and no proofs; `assay_protocol::consensus` gives those for a task that is scored again.
//! Invariants: tasks, workers and labels are numbered by the byte order of their names, so the order of the rows changes no root; the
//! trees know numbers only, so the names have a hash of their own beside the roots.

use assay_protocol::{
    consensus::{InputHead, ScoreHead},
    id::Hash,
};
use serde::Serialize;

use super::{Kind, names::Names, votes::Votes};

/// Key of the hash over names.
const NAMES: &[u8; 32] = b"assay/score/names/1             ";

/// What `roots.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Roots {
    /// Kind of the answers.
    pub kind: String,
    /// Names the scoring functions.
    pub algorithm: Hash,
    /// Stands for all answers and all gold.
    pub input_root: Hash,
    /// Stands for the input, the table of the workers, and all results.
    pub score_root: Hash,
    /// Stands for the names of tasks, workers and labels, which the roots know by number.
    pub names: Hash,
    /// Tasks, or objects that were compared or ordered.
    pub items: u32,
    /// Workers.
    pub labelers: u32,
    /// What the input root is the hash of.
    pub input: InputHead,
    /// What the score root is the hash of.
    pub score: ScoreHead,
}

impl Roots {
    /// The roots over two heads of a score of these votes.
    pub fn new(kind: Kind, votes: &Votes, input: InputHead, score: ScoreHead) -> Self {
        Self {
            kind: kind.name(),
            algorithm: score.algorithm,
            input_root: input.root(),
            score_root: score.root(),
            names: names([&votes.tasks, &votes.workers, &votes.labels]),
            items: input.items,
            labelers: input.labelers,
            input,
            score,
        }
    }
}

/// BLAKE3, keyed, over each list: how many there are, then the length in bytes of each name and the name; numbers in eight bytes, little
/// endian.
fn names(lists: [&Names; 3]) -> Hash {
    let mut hasher = blake3::Hasher::new_keyed(NAMES);
    for list in lists {
        hasher.update(&(list.len() as u64).to_le_bytes());
        for name in list.iter() {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
        }
    }
    Hash(*hasher.finalize().as_bytes())
}
