//! Truth inference for class labels: canonical votes in, labels with posteriors and judged labelers out.
//!
//! ```text
//! votes -> Index -> experts -> shared errors, habits -> one reading or two -> search for rings --no more--> calibrate -> result
//!                     ^                                                              |
//!                     +----------------- rings weighted as one voter ----------------+
//! ```
//!
//! | file | what |
//! |---|---|
//! | `votes` | input, limits, canonical index, majority baseline |
//! | `voting` | weight of each vote, clusters as one voter |
//! | `counts` | expected counts, smoothing, evidence of a vote |
//! | `model` | three experts |
//! | `habits` | whether labelers differ in more than skill |
//! | `correlation` | how far the votes on an item share their errors |
//! | `verdict` | joint posterior, calibration, the table that repeats one item |
//! | `collusion`, `sheets` | pair test, sheet test, clusters |
//! | `labelers` | chance-corrected skill, and everything else that is said of a labeler |
//! | `features` | evidence that a labeler looked at the items |
//! | `signals` | answer times, declared machine labelers |
//! | `fraud`, `fraud_table` | one suspicion score with one threshold |
//! | `stop` | which items want one more vote |
//! | `sprt` | how many gold items are enough |
//! | `rescore`, `tally` | later votes on a frozen fit |
//! | `leaves`, `dispute` | canonical leaves of a score, the check of one item |
//!
//! What it does not do: no pay, no reputation update, no choice of method per task; every task of this kind is scored alike.
//! Invariants: a pure function of the set of votes, the gold and the priors; the order of `votes` changes nothing.

mod collusion;
mod correlation;
mod counts;
mod dispute;
mod features;
mod fraud;
mod fraud_table;
mod habits;
mod labelers;
mod leaves;
mod model;
mod rescore;
mod sheets;
mod signals;
mod sprt;
mod stop;
mod tally;
mod verdict;
mod votes;
mod voting;

#[cfg(test)]
mod tests;

pub use dispute::{CASE_VOTES_MAX, CaseError, Checked, ItemCase, VoterRow, check_item};
pub(super) use dispute::{case_without, check_heads, shown, sound};
pub use fraud::{FRAUD_FEATURES, fraud_features};
pub use labelers::{Flag, LabelerResult};
pub use leaves::{
    GoldLabel, ItemClaim, ItemVotes, LabelerClaim, TableColumn, TableRow, TableWeights,
};
pub use rescore::{ClassScoring, REFIT_PART};
pub use signals::{Pace, Signals};
pub use sprt::{Decision, GoldTest};
pub use stop::StoppingRule;
pub use verdict::{ClassTable, item_from_table, item_with_late_votes};
pub use votes::{
    ClassInput, GoldPrior, MAX_CELLS, MAX_CLASSES, MAX_ITEMS, MAX_LABELERS, MAX_VOTES, MIN_CLASSES,
    Vote, majority,
};

use serde::{Deserialize, Serialize};

use self::correlation::Excess;
use self::labelers::Known;
use self::model::{EXPERTS, Expert, PLAIN, SHAPES};
use self::votes::{Index, Sorted};
use self::voting::Voting;
use super::error::ConsensusError;
use super::fixed::ONE;
use super::hash_parameters;

/// Name and version of the method; raise it with any change of behaviour.
const METHOD: &str = "assay/consensus/class/6";

/// Most searches for clusters, each on posteriors without the clusters found before.
const SEARCHES_MAX: usize = 3;

/// Feeds the method's name and all its parameters to `hasher`.
pub(super) fn hash_method(hasher: &mut blake3::Hasher) {
    hasher.update(METHOD.as_bytes());
    hash_parameters(
        hasher,
        &[
            u64::from(model::ROUNDS),
            u64::from(model::FULL_ROUNDS),
            model::SAMPLE_VOTES,
            model::STEADY_VOTES,
            u64::from(correlation::STEP_Q16),
            u64::from(correlation::SPREAD),
            u64::from(correlation::FREE_EXCESS_Q16),
            u64::from(correlation::FULL_EXCESS_Q16),
            u64::from(correlation::SHARED_Q16),
            u64::from(correlation::SLOPE_TENTHS),
            u64::from(correlation::STEP_MAX_Q16),
            u64::from(correlation::DOUBT_PAIRS),
            u64::from(correlation::PRIOR_PAIRS),
            verdict::CORRELATION_STEPS_MAX,
            u64::from(verdict::LAPSE),
            counts::MATRIX_STRENGTH,
            counts::ACCURACY_STRENGTH,
            habits::OWN_PART as u64,
            model::EXPERTS as u64,
            u64::from(collusion::SHARED_MIN),
            collusion::FAMILY_BITS.unsigned_abs(),
            collusion::WINDOW as u64,
            labelers::GOLD_WEIGHT,
            labelers::PRIOR_VOTES_MAX,
            labelers::PRIOR_SHARE,
            labelers::HABIT_STRENGTH,
            collusion::LINKS_MAX as u64,
            u64::from(collusion::TRUST_Q16),
            u64::from(collusion::TRUST_FULL_Q16),
            collusion::HALF_MEMBERS_MIN as u64,
            collusion::HALF_CONTRADICTED as u64,
            collusion::BLIND_CONTRADICTED as u64,
            u64::from(collusion::CLEAR_Q16),
            collusion::LOYAL_PERCENT,
            features::LOOK_STRENGTH,
            features::LOOK_STRENGTH_GOLD,
            features::HABIT_VOTES,
            features::SLIP_BITS.unsigned_abs(),
            features::HONEST_FIFTHS,
            features::MARGIN_VARIANCE,
            features::MARGIN_MILLI_MAX.unsigned_abs(),
            signals::FAST_PART,
            SEARCHES_MAX as u64,
            u64::from(fraud::FLAG_VOTES_MIN),
            stop::REPEAT.unsigned_abs(),
            stop::DISSENT.unsigned_abs(),
            stop::STEPS_MAX,
            stop::REACH.unsigned_abs(),
            REFIT_PART,
        ],
    );
    hash_parameters(hasher, &collusion::LEVELS_Q16.map(u64::from));
    hash_parameters(hasher, &features::LOOKED_SHARES);
    hash_parameters(hasher, &sprt::parameters());
    hasher.update(&fraud::table_hash());
    for shape in SHAPES.into_iter().chain([PLAIN]) {
        hasher.update(&[shape.matrix, shape.class_prior, shape.own_rows].map(u8::from));
    }
}

/// What the votes say about one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemResult {
    /// The inferred class: the gold label where there is one, `None` without votes and gold.
    pub label: Option<u16>,
    /// Posterior of `label`, Q16 (65,536 is certain); zero without a label.
    pub posterior: u32,
    /// Votes given.
    pub votes: u32,
}

/// Result of [`infer_class`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassResult {
    /// One entry per item.
    pub items: Vec<ItemResult>,
    /// One entry per labeler.
    pub labelers: Vec<LabelerResult>,
    /// Rounds of expectation maximisation, over all experts and passes.
    pub rounds: u32,
    /// Labelers who answer from one sheet: sorted groups of at least two, by smallest member.
    pub clusters: Vec<Vec<u32>>,
    /// What turns the votes of one item into its posteriors; see [`item_from_table`].
    pub table: ClassTable,
    posteriors: Vec<u32>,
}

impl ClassResult {
    /// Posteriors of all classes of one item, Q16, summing to 65,536; `None` for an item out of range.
    ///
    /// An item without votes shows the class weights of the task.
    #[must_use]
    pub fn posteriors_of(&self, item: u32) -> Option<&[u32]> {
        let classes = self.table.classes();
        let first = (item as usize).checked_mul(classes)?;
        self.posteriors.get(first..first + classes)
    }
}

/// Infers the true class of each item and the skill of each labeler.
///
/// # Errors
/// [`ConsensusError`] names the first entry of the input that is out of range, or the limit that is exceeded.
pub fn infer_class(input: &ClassInput<'_>) -> Result<ClassResult, ConsensusError> {
    infer_class_with(input, &Signals::default())
}

/// As [`infer_class`], with answer times and declared machine labelers.
///
/// # Errors
/// As [`infer_class`], and [`ConsensusError`] for times that do not match the votes or a machine out of range.
pub fn infer_class_with(
    input: &ClassInput<'_>,
    signals: &Signals<'_>,
) -> Result<ClassResult, ConsensusError> {
    let index = Index::new(input)?;
    signals.check(input)?;
    let machine = signals.machine_of(index.labelers);
    let paces = |items: &[ItemResult]| signals.paces(input, items);
    Ok(infer_index(index, &machine, input.priors, paces))
}

/// Checked and sorted votes: what [`infer_class`] makes of its input first.
///
/// What for: whoever holds many votes of their own lets go of them before the rest is done, which takes most of the memory.
#[derive(Debug)]
pub struct ClassVotes {
    sorted: Sorted,
    priors: Vec<GoldPrior>,
}

impl ClassVotes {
    /// Checks and sorts the votes.
    ///
    /// # Errors
    /// As [`infer_class`], but for the limit of confusion cells.
    pub fn new(input: &ClassInput<'_>) -> Result<Self, ConsensusError> {
        Ok(Self {
            sorted: Sorted::new(input)?,
            priors: input.priors.to_vec(),
        })
    }

    /// The result of [`infer_class`] for the same input.
    ///
    /// # Errors
    /// [`ConsensusError::TooMany`] for too many confusion cells.
    pub fn infer(self) -> Result<ClassResult, ConsensusError> {
        let machine = vec![false; self.sorted.labelers];
        let index = Index::of(self.sorted)?;
        let nobody = |_: &[ItemResult]| Vec::new();
        Ok(infer_index(index, &machine, &self.priors, nobody))
    }
}

/// The result for an index; `paces` gives the pace of each labeler, or of none.
fn infer_index(
    mut index: Index,
    machine: &[bool],
    priors: &[GoldPrior],
    paces: impl FnOnce(&[ItemResult]) -> Vec<Option<Pace>>,
) -> ClassResult {
    let found = search(&index, machine);
    index.forget_order();
    let Fit {
        voting,
        experts,
        correlation,
        posteriors,
        rounds,
        clusters,
        copy_bits,
    } = found.decide(&index);
    let items = items(&index, &posteriors);
    let known = Known {
        priors,
        copy_bits: &copy_bits,
        paces: &paces(&items),
    };
    let labelers = labelers::judge(&index, &voting, &experts, &known);
    ClassResult {
        items,
        labelers,
        rounds,
        clusters,
        table: ClassTable::new(index, &voting, experts, correlation),
        posteriors,
    }
}

/// Everything that is learnt from all votes together.
struct Fit {
    voting: Voting,
    experts: [Expert; EXPERTS],
    /// Shared errors per class beyond the first, Q16.
    correlation: u32,
    /// One calibrated row per item, Q16.
    posteriors: Vec<u32>,
    rounds: u32,
    clusters: Vec<Vec<u32>>,
    /// Evidence of the pair test per labeler, Q16 bits.
    copy_bits: Vec<i64>,
}

/// A fit whose items are not decided yet.
struct Found {
    voting: Voting,
    /// One or two, see [`fit_experts`].
    readings: Vec<[Expert; EXPERTS]>,
    /// How far votes share their errors.
    excess: Excess,
    rounds: u32,
    clusters: Vec<Vec<u32>>,
    copy_bits: Vec<i64>,
}

impl Found {
    /// Calibrates, and decides the items.
    fn decide(mut self, index: &Index) -> Fit {
        let correlation = self.excess.step();
        let experts = self.readings.swap_remove(self.readings.len() - 1);
        Fit {
            posteriors: verdict::calibrate(index, &self.voting, &experts, correlation),
            correlation,
            voting: self.voting,
            experts,
            rounds: self.rounds,
            clusters: self.clusters,
            copy_bits: self.copy_bits,
        }
    }
}

/// Experts and clusters; `machine` says per labeler whether it is declared to be one.
fn search(index: &Index, machine: &[bool]) -> Found {
    let voting = Voting::independent(index);
    let (readings, excess) = fit_experts(index, &voting, None);
    let mut found = Found {
        voting,
        rounds: rounds(&readings),
        readings,
        excess,
        clusters: Vec::new(),
        copy_bits: vec![0; index.labelers],
    };
    for _ in 0..SEARCHES_MAX {
        let (voting, readings) = (&found.voting, &found.readings);
        let rings = collusion::clusters(index, voting, readings, machine, &found.clusters);
        let grown = rings.clusters != found.clusters;
        found.clusters = rings.clusters;
        found.copy_bits = rings.copy_bits;
        if grown {
            let mut of_labeler = vec![None; index.labelers];
            for (number, members) in found.clusters.iter().enumerate() {
                for &labeler in members {
                    of_labeler[labeler as usize] = Some(number as u32);
                }
            }
            found.voting = Voting::clustered(index, of_labeler, found.clusters.len());
            let plain = Some(found.readings.len() > 1);
            (found.readings, found.excess) = fit_experts(index, &found.voting, plain);
            found.rounds += rounds(&found.readings);
        }
        if !rings.again {
            break;
        }
    }
    found
}

/// The readings of a crowd, and how far its votes share their errors.
///
/// The first reading takes labelers for people with habits. There is a second where none of their own show although errors are shared: what
/// all of them do alike cannot be told from a class that is more frequent, so it counts as error. The last reading decides the items; copies
/// must be beyond both. Whether there is a second is asked of all votes, with `plain` unknown, before any cluster is known.
fn fit_experts(
    index: &Index,
    voting: &Voting,
    plain: Option<bool>,
) -> (Vec<[Expert; EXPERTS]>, Excess) {
    let mut experts = Expert::fit_all(index, voting);
    let excess = correlation::excess(index, voting, &experts);
    let plain =
        plain.unwrap_or_else(|| excess.is_clear() && !experts[0].habits.differ(index.classes));
    verdict::last_round(index, voting, &mut experts);
    let mut readings = Vec::new();
    if plain {
        let mut plain = [Expert::fit_plain(index, voting)];
        verdict::last_round(index, voting, &mut plain);
        let [plain] = plain;
        // Two of three decide a median.
        readings.push([plain.clone(), plain, experts[EXPERTS - 1].clone()]);
    }
    readings.insert(0, experts);
    (readings, excess)
}

/// Rounds of all experts of all readings.
fn rounds(readings: &[[Expert; EXPERTS]]) -> u32 {
    let experts = readings.iter().flatten();
    experts.map(|expert| expert.rounds).sum()
}

/// The result of each item.
fn items(index: &Index, posteriors: &[u32]) -> Vec<ItemResult> {
    let mut counts = vec![0u32; index.classes];
    let mut results = Vec::with_capacity(index.items);
    for (item, row) in posteriors.chunks_exact(index.classes).enumerate() {
        let votes = index.votes_of_item(item);
        counts.fill(0);
        for &label in &index.vote_label[votes] {
            counts[usize::from(label)] += 1;
        }
        results.push(item_result(index.gold[item], &counts, row));
    }
    results
}

/// Picks the label of an item with these votes per label: gold, or else by posterior, then by votes, then the smallest label.
fn item_result(gold: Option<u16>, counts: &[u32], row: &[u32]) -> ItemResult {
    let votes = counts.iter().sum();
    if let Some(label) = gold {
        return ItemResult {
            label: Some(label),
            posterior: ONE,
            votes,
        };
    }
    if votes == 0 {
        return ItemResult {
            label: None,
            posterior: 0,
            votes,
        };
    }
    let mut best = 0;
    for label in 1..counts.len() {
        if (row[label], counts[label]) > (row[best], counts[best]) {
            best = label;
        }
    }
    ItemResult {
        label: Some(best as u16),
        posterior: row[best],
        votes,
    }
}
