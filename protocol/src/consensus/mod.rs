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
//! | `binary` | yes-or-no questions through the class engine, with a table that recomputes one of them |
//! | `multi` | sets of labels: one binary question per label |
//! | `review` | verdicts on labels that somebody else gave |
//! | `value/` | ratings and numbers: robust estimates with bias and precision per labeler |
//! | `shape/` | spans, time segments, boxes and polygons: matching, existence, geometry |
//! | `pair/` | comparisons of two objects, and orders of several |
//! | `text/` | transcriptions and other texts |
//! | `pay` | the pay rule |
//! | `root`, `tree` | one hash for a whole score, and proofs of its parts |
//! | `cases/` | roots, and cases of one item, of every kind but class |
//! | `explain` | why an item got its label and a labeler their pay, to be checked from itself |
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

mod binary;
pub mod cases;
mod class;
mod error;
mod explain;
mod fixed;
mod multi;
mod pair;
mod pay;
mod review;
mod root;
pub mod shape;
mod text;
mod tree;
pub mod value;

#[cfg(test)]
mod draw;
#[cfg(test)]
mod tests;

pub use binary::{BinaryRow, BinaryTable};
pub use class::{
    CASE_VOTES_MAX, CaseError, Checked, ClassInput, ClassResult, ClassScoring, ClassTable,
    ClassVotes, Decision, FRAUD_FEATURES, Flag, GoldLabel, GoldPrior, GoldTest, ItemCase,
    ItemClaim, ItemResult, ItemVotes, LabelerClaim, LabelerResult, MAX_CELLS, MAX_CLASSES,
    MAX_ITEMS, MAX_LABELERS, MAX_VOTES, MIN_CLASSES, Pace, REFIT_PART, Signals, StoppingRule,
    TableColumn, TableRow, TableWeights, Vote, VoterRow, check_item, fraud_features, infer_class,
    infer_class_with, item_from_table, item_with_late_votes, majority,
};
pub use error::ConsensusError;
pub use explain::{Derived, EXPLANATION_BYTES_MAX, Explanation, Mismatch, PayClaim, PayTerms};
pub use multi::{
    MAX_BALLOTS, MAX_SET_LABELS, MultiInput, MultiItem, MultiLabeler, MultiResult, MultiTable,
    MultiVote, infer_multi, multi_item_from_table,
};
pub use pair::{
    Comparison, MAX_COMPARISONS, MAX_OBJECTS, MAX_ORDER, ObjectResult, Outcome, PairInput,
    PairLabeler, PairResult, PairTable, Ranking, RankingInput, infer_pairs, infer_rankings,
    object_from_table, ranked_object_from_table,
};
pub use pay::{Pay, PayRule, pay};
pub use review::{
    ReviewInput, ReviewItem, ReviewLabeler, ReviewResult, ReviewTable, ReviewVote, Verdict,
    class_evidence, infer_review, join_review, review_item_from_table,
};
pub use root::{InputHead, ScoreHead};
pub use shape::infer_shapes;
pub use text::{
    MAX_TEXT_BYTES, MAX_TEXT_CELLS, MAX_TEXT_PAIRS, MAX_TEXT_TOTAL_BYTES, MAX_TEXT_VOTES,
    MAX_TEXT_VOTES_PER_ITEM, MAX_TEXT_WORDS, TextInput, TextItem, TextLabeler, TextResult,
    TextTable, TextVote, infer_text, text_from_table,
};
pub use value::infer_values;

/// Identifies the scoring functions: BLAKE3 over the shared tables, then the name and all parameters of each method.
///
/// Two nodes with the same id compute the same result for the same input; a header of results names it.
#[must_use]
pub fn algorithm_id() -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    fixed::hash_tables(&mut hasher);
    hash_parameters(&mut hasher, &[u64::from(PayRule::LEAST_SKILL_PPM)]);
    class::hash_method(&mut hasher);
    binary::hash_method(&mut hasher);
    multi::hash_method(&mut hasher);
    review::hash_method(&mut hasher);
    value::hash_method(&mut hasher);
    shape::hash_method(&mut hasher);
    pair::hash_method(&mut hasher);
    text::hash_method(&mut hasher);
    root::hash_method(&mut hasher);
    cases::hash_method(&mut hasher);
    *hasher.finalize().as_bytes()
}

/// Feeds parameters to `hasher`, eight little-endian bytes each.
fn hash_parameters(hasher: &mut blake3::Hasher, parameters: &[u64]) {
    for parameter in parameters {
        hasher.update(&parameter.to_le_bytes());
    }
}
