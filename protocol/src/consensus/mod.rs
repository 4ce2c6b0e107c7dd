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
//! | `votes` | input, limits, canonical index, majority baseline |
//! | `voting` | weight of each vote, clusters as one voter |
//! | `counts` | expected counts, smoothing, evidence of a vote |
//! | `model` | three experts and their blend |
//! | `collusion` | pair agreement test, clusters |
//! | `labelers` | chance-corrected skill |
//! | `class` | the whole for class labels |
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
mod collusion;
mod counts;
mod error;
mod fixed;
mod labelers;
mod model;
mod pay;
mod votes;
mod voting;

#[cfg(test)]
mod tests;

pub use class::{ClassResult, ItemResult, infer_class};
pub use error::ConsensusError;
pub use labelers::LabelerResult;
pub use pay::{Pay, PayRule, pay};
pub use votes::{
    ClassInput, GoldPrior, MAX_CELLS, MAX_CLASSES, MAX_ITEMS, MAX_LABELERS, MAX_VOTES, MIN_CLASSES,
    Vote, majority,
};

/// Name and version of the method, the first bytes under [`algorithm_id`]; raise it with any change of behaviour.
const METHOD: &str = "assay/consensus/class/1";

/// Identifies the scoring function: BLAKE3 over the method's name, its tables and all its parameters.
///
/// Two nodes with the same id compute the same result for the same input; a header of results names it.
#[must_use]
pub fn algorithm_id() -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(METHOD.as_bytes());
    fixed::hash_tables(&mut hasher);
    let parameters: [u64; 13] = [
        u64::from(model::ROUNDS_MAX),
        model::STILL_Q16,
        counts::MATRIX_STRENGTH,
        counts::ACCURACY_STRENGTH,
        model::EXPERTS as u64,
        u64::from(collusion::SHARED_MIN),
        collusion::FAMILY_BITS.unsigned_abs(),
        collusion::WINDOW as u64,
        labelers::GOLD_WEIGHT,
        labelers::PRIOR_VOTES_MAX,
        labelers::PRIOR_SHARE,
        labelers::HABIT_STRENGTH,
        u64::from(PayRule::LEAST_SKILL_PPM),
    ];
    for parameter in parameters {
        hasher.update(&parameter.to_le_bytes());
    }
    for shape in model::SHAPES {
        hasher.update(&[u8::from(shape.matrix), u8::from(shape.class_prior)]);
    }
    *hasher.finalize().as_bytes()
}
