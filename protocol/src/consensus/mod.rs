//! Consensus scoring: what the votes of a wave say about items and labelers, and what each labeler is paid.
//!
//! What for: every node recomputes every score, so the results are a pure function of the opened votes, the opened gold and the
//! reputation carried in, with the same bits on every machine.
//! What it does not do: no IO, no clock, no randomness, no floating point; it does not admit votes, move money or change reputation.
//! Invariants: the order of the input changes nothing; bad input is an error that names the entry, never a panic; memory is bounded by
//! the limits below; [`algorithm_id`] changes whenever a table or a parameter does.
//!
//! | file | what |
//! |---|---|
//! | `fixed` | Q16 numbers, log2 and exp2 from integer tables |
//! | `class/` | class labels: many votes on one of a few classes |
//! | `pay` | the pay rule |
//!
//! ```
//! use std::collections::BTreeMap;
//! use assay_protocol::consensus::{ClassInput, PayRule, Vote, infer_class, pay};
//!
//! let votes = [(0, 0, 1), (0, 1, 1), (1, 0, 0), (1, 1, 0), (1, 2, 0), (0, 2, 0)];
//! let votes: Vec<Vote> = votes.map(|(item, labeler, label)| Vote { item, labeler, label }).to_vec();
//! let gold = BTreeMap::from([(1, 0)]);
//! let input = ClassInput { items: 2, labelers: 3, classes: 2, votes: &votes, gold: &gold, priors: &[] };
//! let result = infer_class(&input)?;
//! assert_eq!(result.items[0].label, Some(1));
//! let first = &result.labelers[0];
//! let wage = pay(&PayRule::with_price(1_000), u64::from(first.votes), first.skill_ppm);
//! assert!(wage.earned > 1_500 && wage.lost == 0);
//! # Ok::<(), assay_protocol::consensus::ConsensusError>(())
//! ```

#![deny(clippy::float_arithmetic)]

mod class;
mod error;
mod fixed;
mod pay;

#[cfg(test)]
mod tests;

pub use class::{
    ClassInput, ClassResult, ClassTable, GoldPrior, ItemResult, LabelerResult, MAX_CELLS, MAX_CLASSES,
    MAX_ITEMS, MAX_LABELERS, MAX_VOTES, MIN_CLASSES, Vote, infer_class, item_from_table, majority,
};
pub use error::ConsensusError;
pub use pay::{Pay, PayRule, pay};

/// Identifies the scoring functions: BLAKE3 over the shared tables, then the name and all parameters of each method.
///
/// Two nodes with the same id compute the same result for the same input; a header of results names it.
#[must_use]
pub fn algorithm_id() -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    fixed::hash_tables(&mut hasher);
    hash_parameters(&mut hasher, &[u64::from(PayRule::LEAST_SKILL_PPM)]);
    class::hash_method(&mut hasher);
    *hasher.finalize().as_bytes()
}

/// Feeds parameters to `hasher`, eight little-endian bytes each.
fn hash_parameters(hasher: &mut blake3::Hasher, parameters: &[u64]) {
    for parameter in parameters {
        hasher.update(&parameter.to_le_bytes());
    }
}
