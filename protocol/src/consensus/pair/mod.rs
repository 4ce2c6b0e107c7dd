//! Truth inference for comparisons: which of two objects is better, and orders of several, become one score per object.
//!
//! ```text
//! comparisons or orders -> Index (cells of ordered pairs) -> reliability <-> scores -> one last step -> result
//! ```
//!
//! **Model.** Bradley and Terry (Biometrika 1952) with a reliability per labeler as in Chen et al. ("Pairwise ranking aggregation in a
//! crowdsourced setting", WSDM 2013) and, where
//! the sides are those that were shown, one crowd-wide advantage of the left one: labeler `k` reports the outcome of a draw with
//! `P(left) = sigma(score(left) - score(right) + advantage)` truthfully with probability `r(k)` and the opposite otherwise. Reliabilities
//! are drawn towards the crowd's mean, scores and the advantage towards zero (normal priors), so that disconnected comparison graphs and
//! objects that win every comparison stay finite. Fixed numbers of rounds; each round is one expectation step over the votes, from which the
//! reliabilities follow, and damped Newton steps over all scores at once, which cannot diverge: on a comparison graph the exact curvature is at most twice its diagonal.
//!
//! | file | what |
//! |---|---|
//! | `votes` | input, limits, checks, cells |
//! | `model` | reliabilities and scores |
//! | `labelers` | chance-corrected skill, by cross-fitting |
//!
//! What it does not do: no pay, no choice of pairs to ask, no test for groups; objects without a path of comparisons between them are
//! comparable only through the prior.
//! Invariants: a pure function of the set of votes; the order of the votes changes nothing; numbering the objects differently changes
//! only the order of equal ranks. Scores stay within plus and minus 20,000 thousandths, sums of Q16 masses below 2^56.

mod labelers;
mod model;
mod votes;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use model::PairTable;
pub use votes::{
    Comparison, MAX_COMPARISONS, MAX_OBJECTS, MAX_ORDER, Outcome, PairInput, Ranking, RankingInput,
};

use self::model::Fit;
use self::votes::Index;
use super::error::ConsensusError;
use super::fixed::ONE;
use super::hash_parameters;

/// Name and version of the method; raise it with any change of behaviour.
const METHOD: &str = "assay/consensus/pair/2";
/// Parts per million in one.
const PPM: i128 = 1_000_000;

/// Feeds the method's name and all its parameters to `hasher`.
pub(super) fn hash_method(hasher: &mut blake3::Hasher) {
    hasher.update(METHOD.as_bytes());
    hash_parameters(
        hasher,
        &[
            u64::from(model::ROUNDS),
            u64::from(model::SWEEPS),
            model::SCORE_PRECISION_Q16.unsigned_abs(),
            model::ADVANTAGE_PRECISION_Q16.unsigned_abs(),
            model::RELIABILITY_STRENGTH,
            model::RELIABILITY_START_Q16,
            labelers::FOLDS as u64,
            u64::from(labelers::ROUNDS),
            u64::from(labelers::SWEEPS),
            labelers::DOUBT_VOTES.unsigned_abs() as u64,
        ],
    );
}

/// What the votes say about one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectResult {
    /// Score in thousandths of natural log-odds: a lead of 1,000 is preferred with odds of e to 1.
    pub score_milli: i64,
    /// Half the width of the 95 % interval of the score, in thousandths, from the expected information about the object and, to second
    /// order, about those it was compared with.
    pub half_width_milli: u64,
    /// Place by score, one being best; ties by more comparisons, then the smaller index; `None` without comparisons.
    pub rank: Option<u32>,
    /// Comparisons that the object took part in.
    pub comparisons: u32,
}

/// What the votes say about one labeler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairLabeler {
    /// Votes given: comparisons, or orders of several objects.
    pub votes: u32,
    /// Chance-corrected skill in parts per million, judged by scores from which the own votes are left out: zero for answers that do
    /// not depend on the objects, one million for always preferring the better one, negative when worse than chance.
    pub skill_ppm: i64,
    /// Fitted probability that a report is truthful, in parts per million; drawn towards the crowd's mean.
    pub reliability_ppm: u32,
}

/// Result of [`infer_pairs`] and [`infer_rankings`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairResult {
    /// One entry per object.
    pub objects: Vec<ObjectResult>,
    /// One entry per labeler.
    pub labelers: Vec<PairLabeler>,
    /// Advantage of the left side in thousandths of natural log-odds; zero unless [`PairInput::sided`].
    pub left_advantage_milli: i64,
    /// What [`object_from_table`] needs besides the votes.
    pub table: PairTable,
}

/// Infers a score per object and a skill per labeler from comparisons. A tie counts as half a win for each side.
///
/// # Errors
/// [`ConsensusError`] names the first comparison that is out of range or compares an object with itself, or the limit that is exceeded.
pub fn infer_pairs(input: &PairInput<'_>) -> Result<PairResult, ConsensusError> {
    Ok(infer(&Index::of_comparisons(input)?))
}

/// Infers a score per object and a skill per labeler from orders, best object first.
///
/// An order of `k` objects is read as its `k (k - 1) / 2` comparisons with weight `2 / k` each, since it carries about as much
/// information as `k - 1` free comparisons. A labeler may give any number of orders, of overlapping objects too.
///
/// # Errors
/// [`ConsensusError`] names the first order that is out of range or names an object twice, or the limit that is exceeded.
pub fn infer_rankings(input: &RankingInput<'_>) -> Result<PairResult, ConsensusError> {
    Ok(infer(&Index::of_rankings(input, None)?))
}

/// Recomputes one object from the comparisons it took part in and the table of the whole result.
///
/// # Errors
/// The same as [`infer_pairs`]; `input` has the sizes of the whole task and the comparisons of the object (others are harmless).
pub fn object_from_table(
    table: &PairTable,
    input: &PairInput<'_>,
    object: u32,
) -> Result<ObjectResult, ConsensusError> {
    object_of(&Index::of_comparisons(input)?, table, object)
}

/// Recomputes one object from the orders that name it and the table of the whole result.
///
/// # Errors
/// The same as [`infer_rankings`]; `input` has the sizes of the whole task and the orders that name the object (others are harmless).
pub fn ranked_object_from_table(
    table: &PairTable,
    input: &RankingInput<'_>,
    object: u32,
) -> Result<ObjectResult, ConsensusError> {
    object_of(&Index::of_rankings(input, Some(object))?, table, object)
}

fn object_of(
    index: &Index,
    table: &PairTable,
    object: u32,
) -> Result<ObjectResult, ConsensusError> {
    table.check(index)?;
    let mut results = model::last_step(index, table);
    if object as usize >= results.len() {
        return Err(ConsensusError::ItemOutOfRange {
            index: 0,
            item: object,
            items: results.len() as u32,
        });
    }
    Ok(results.swap_remove(object as usize))
}

fn infer(index: &Index) -> PairResult {
    let fit = Fit::new(index);
    let mut objects = model::last_step(index, &fit.table);
    place(&mut objects);
    let skills = labelers::judge(index, &fit);
    let labelers = (0..index.labelers)
        .map(|labeler| PairLabeler {
            votes: index.votes_of_labeler[labeler],
            skill_ppm: skills[labeler],
            reliability_ppm: (i128::from(fit.table.reliability[labeler]) * PPM / i128::from(ONE))
                as u32,
        })
        .collect();
    PairResult {
        objects,
        labelers,
        left_advantage_milli: model::milli(fit.table.advantage),
        table: fit.table,
    }
}

/// Numbers the objects from the best to the worst.
fn place(objects: &mut [ObjectResult]) {
    let mut order: Vec<usize> = (0..objects.len())
        .filter(|&object| objects[object].comparisons > 0)
        .collect();
    order.sort_by_key(|&object| {
        let result = &objects[object];
        (
            std::cmp::Reverse((result.score_milli, result.comparisons)),
            object,
        )
    });
    for (place, object) in order.into_iter().enumerate() {
        objects[object].rank = Some(place as u32 + 1);
    }
}
