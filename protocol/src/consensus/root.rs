//! Heads of a score: what the input root and the score root stand for, for every kind of label.
//!
//! ```text
//! input root = InputHead ( form, items, labelers, items root, labelers root )
//! score root = ScoreHead ( algorithm, input root, table head, table root, items root, labelers root )
//! ```
//!
//! What for: one hash names a whole score, and any leaf of it can be shown with a short proof; see `decisions/0007`.
//! What it does not do: it knows no leaves; each kind writes its own (`class/leaves`, `cases/`). Roots are not signed here.
//! Invariants: heads have a fixed size and keys of their own, so no head is a leaf; equal heads have equal roots and unequal ones do not.

use serde::{Deserialize, Serialize};

use super::tree::{Key, keyed};
use crate::id::Hash;

/// Name and version of the shape of heads and trees; raise it with any change of bytes.
const FORMAT: &str = "assay/consensus/root/1";
const INPUT: &Key = b"assay/consensus/root/input/1    ";
const SCORE: &Key = b"assay/consensus/root/score/1    ";

/// Feeds the name of the format to `hasher`.
pub(super) fn hash_method(hasher: &mut blake3::Hasher) {
    hasher.update(FORMAT.as_bytes());
}

/// What an input root stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputHead {
    /// Hash of the kind and its parameters.
    pub form: Hash,
    /// Items of the task, and leaves of both trees over items.
    pub items: u32,
    /// Labelers of the task, and leaves of all trees over labelers.
    pub labelers: u32,
    /// Root over the items' votes and gold.
    pub items_root: Hash,
    /// Root over the evidence that labelers bring with them.
    pub labelers_root: Hash,
}

impl InputHead {
    /// The input root.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut bytes = Vec::with_capacity(104);
        bytes.extend_from_slice(&self.form.0);
        bytes.extend_from_slice(&self.items.to_le_bytes());
        bytes.extend_from_slice(&self.labelers.to_le_bytes());
        bytes.extend_from_slice(&self.items_root.0);
        bytes.extend_from_slice(&self.labelers_root.0);
        keyed(INPUT, &bytes)
    }
}

/// What a score root stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreHead {
    /// See [`algorithm_id`](super::algorithm_id).
    pub algorithm: Hash,
    /// Input root.
    pub input: Hash,
    /// Hash of what the table says about no labeler in particular.
    pub table: Hash,
    /// Root over the table's rows, one per labeler.
    pub table_root: Hash,
    /// Root over the results of items.
    pub items_root: Hash,
    /// Root over the results of labelers.
    pub labelers_root: Hash,
}

impl ScoreHead {
    /// The score root.
    #[must_use]
    pub fn root(&self) -> Hash {
        let parts = [
            &self.algorithm,
            &self.input,
            &self.table,
            &self.table_root,
            &self.items_root,
            &self.labelers_root,
        ];
        let mut bytes = Vec::with_capacity(parts.len() * Hash::LEN);
        for part in parts {
            bytes.extend_from_slice(&part.0);
        }
        keyed(SCORE, &bytes)
    }
}
