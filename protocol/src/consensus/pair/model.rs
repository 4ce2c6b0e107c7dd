//! Reliabilities and scores: expectation steps over the votes, damped Newton steps over the scores.
//!
//! Invariants: scores are natural log-odds in Q16 within [`SCORE_MAX_Q16`]; probabilities lie strictly between 0 and [`ONE`]; a cell's
//! mass is below 2^24 votes x 2^16, so products with a probability stay below 2^57.

use super::ObjectResult;
use super::votes::{Entry, Index};
use crate::consensus::error::ConsensusError;
use crate::consensus::fixed::{self, FRACTION_BITS, ONE};

/// Rounds of reliability against scores.
pub(super) const ROUNDS: u32 = 25;
/// Newton steps over all scores per round.
pub(super) const SWEEPS: u32 = 4;
/// Precision of the normal prior of a score, per squared natural log-odds, Q16: a standard deviation of about four.
pub(super) const SCORE_PRECISION_Q16: i64 = 4096;
/// Precision of the normal prior of the left position's advantage, Q16: a standard deviation of a half.
pub(super) const ADVANTAGE_PRECISION_Q16: i64 = 4 << 16;
/// Pseudo-votes that draw a reliability towards the crowd's mean, in votes.
pub(super) const RELIABILITY_STRENGTH: u64 = 20;
/// Reliability of everybody before the first round, Q16.
pub(super) const RELIABILITY_START_Q16: u64 = 52_429;
/// Largest score, either way, in natural log-odds, Q16.
const SCORE_MAX_Q16: i64 = 20 << 16;
/// log2(e) in Q16.
const LOG2_E_Q16: i64 = 94_548;
/// Share of a Newton step that is taken, as a fraction: below one, since all scores move at once.
const DAMPING: (i64, i64) = (2, 3);
/// Two-sided 95 % quantile of the normal distribution, in thousandths.
const QUANTILE_MILLI: u128 = 1_960;

/// What a dispute about one object needs besides the comparisons of that object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairTable {
    /// Score of each object before the last step, natural log-odds, Q16.
    pub score: Vec<i64>,
    /// Expected information about each object, prior included, per squared natural log-odds, Q16.
    pub information: Vec<i64>,
    /// Probability of a truthful report of each labeler, Q16.
    pub reliability: Vec<u32>,
    /// Advantage of the left position, natural log-odds, Q16.
    pub advantage: i64,
}

impl PairTable {
    /// Expected wins of all votes.
    fn masses(&self, index: &Index) -> Masses {
        Masses::expected(
            index,
            &self.score,
            self.advantage,
            &self.reliability,
            |_| true,
        )
    }

    /// Refuses a table of other sizes or ranges than the task has.
    pub(super) fn check(&self, index: &Index) -> Result<(), ConsensusError> {
        let small = |value: i64| value.unsigned_abs() <= SCORE_MAX_Q16.unsigned_abs();
        let fits = self.score.len() == index.objects
            && self.information.len() == index.objects
            && self.reliability.len() == index.labelers
            && self.score.iter().all(|&score| small(score))
            && self
                .information
                .iter()
                .all(|&value| (SCORE_PRECISION_Q16..1 << 48).contains(&value))
            && self.reliability.iter().all(|&r| 0 < r && r < ONE)
            && small(self.advantage);
        if fits {
            Ok(())
        } else {
            Err(ConsensusError::ForeignTable)
        }
    }
}

/// Thousandths of a Q16 number, rounded towards zero.
pub(super) fn milli(q16: i64) -> i64 {
    q16 * 1000 / i64::from(ONE)
}

/// The logistic function of natural log-odds (Q16) as a Q16 probability strictly between zero and one; exactly antisymmetric.
pub(super) fn logistic(odds: i64) -> u32 {
    let bits = (odds.abs() * LOG2_E_Q16) >> FRACTION_BITS;
    let power = fixed::exp2_q30(-bits);
    let upper = (((1u64 << 46) / ((1 << 30) + power)) as u32).min(ONE - 1);
    if odds >= 0 { upper } else { ONE - upper }
}

/// Masses of wins of the left and of the right object of each cell, Q16.
#[derive(Debug)]
pub(super) struct Masses {
    pub left: Vec<i64>,
    pub right: Vec<i64>,
}

impl Masses {
    /// Expected wins given the scores, the reliabilities and the reports that `counts` admits.
    pub fn expected(
        index: &Index,
        score: &[i64],
        advantage: i64,
        reliability: &[u32],
        counts: impl Fn(&Entry) -> bool,
    ) -> Self {
        let mut p = Vec::with_capacity(index.cells.len());
        probabilities(index, score, advantage, &mut p);
        Self::given(index, &p, reliability, counts, |_, _| ())
    }

    /// [`Masses::expected`] given the probability of each cell's left object; `tell` hears of each report the posterior probability that the
    /// left object won, Q16.
    fn given(
        index: &Index,
        p: &[u32],
        reliability: &[u32],
        counts: impl Fn(&Entry) -> bool,
        mut tell: impl FnMut(&Entry, u32),
    ) -> Self {
        let mut masses = Self {
            left: vec![0; index.cells.len()],
            right: vec![0; index.cells.len()],
        };
        for entry in index.entries.iter().filter(|entry| counts(entry)) {
            let cell = entry.cell as usize;
            let credit = left_won(p[cell], reliability[entry.labeler as usize], entry.share);
            tell(entry, credit);
            // Weights are at most one, and a cell has less than 2^24 votes.
            let weight = i64::from(entry.weight);
            let left = weight.wrapping_mul(i64::from(credit)) >> FRACTION_BITS;
            masses.left[cell] = masses.left[cell].wrapping_add(left);
            masses.right[cell] = masses.right[cell].wrapping_add(weight.wrapping_sub(left));
        }
        masses
    }
}

/// Posterior probability that the left object won the draw, given the report of a labeler with `reliability`; Q16, and for a tie the mean
/// of both cases.
#[inline]
fn left_won(left: u32, reliability: u32, share: u32) -> u32 {
    // Reports come in no order: choosing a number is cheaper than choosing a way.
    let report = if share == 0 {
        ONE.wrapping_sub(reliability)
    } else {
        reliability
    };
    let credit = posterior(left, report);
    if share == ONE / 2 {
        return (credit + posterior(left, ONE - reliability)) / 2;
    }
    credit
}

/// Posterior of a case of probability `prior` that is reported with `truthful`, against the opposite report of the opposite case; all Q16
/// and strictly between zero and one.
#[inline]
fn posterior(prior: u32, truthful: u32) -> u32 {
    // Even odds leave the report alone.
    if prior == ONE / 2 {
        return truthful;
    }
    let (p, t, one) = (u64::from(prior), u64::from(truthful), u64::from(ONE));
    // Factors are below 2^16, so products stay below 2^32 and the shifted one below 2^48.
    let own = p.wrapping_mul(t);
    let opposite = one.wrapping_sub(p).wrapping_mul(one.wrapping_sub(t));
    ((own << FRACTION_BITS) / own.wrapping_add(opposite)) as u32
}

/// The probability of each cell's left object.
fn probabilities(index: &Index, score: &[i64], advantage: i64, out: &mut Vec<u32>) {
    out.clear();
    out.extend(
        index.cells.iter().map(|&(left, right)| {
            logistic(score[left as usize] - score[right as usize] + advantage)
        }),
    );
}

/// Gradient and curvature of the log posterior of the scores, and of the advantage in the last place.
fn slopes(
    index: &Index,
    masses: &Masses,
    p: &[u32],
    score: &[i64],
    advantage: i64,
) -> Vec<(i64, i64)> {
    let pull = |value: i64, precision: i64| (-((value * precision) >> FRACTION_BITS), precision);
    let mut slopes: Vec<(i64, i64)> = score
        .iter()
        .map(|&value| pull(value, SCORE_PRECISION_Q16))
        .collect();
    let mut of_advantage = pull(advantage, ADVANTAGE_PRECISION_Q16);
    for (cell, &(left, right)) in index.cells.iter().enumerate() {
        let mass = masses.left[cell] + masses.right[cell];
        let expected = (mass * i64::from(p[cell])) >> FRACTION_BITS;
        let surplus = masses.left[cell] - expected;
        let curvature = (expected * i64::from(ONE - p[cell])) >> FRACTION_BITS;
        for (object, sign) in [(left, 1), (right, -1)] {
            let slot = &mut slopes[object as usize];
            slot.0 += sign * surplus;
            slot.1 += curvature;
        }
        of_advantage.0 += surplus;
        of_advantage.1 += curvature;
    }
    slopes.push(of_advantage);
    slopes
}

/// One damped Newton step of one number, at most one unit of log-odds long.
fn moved(value: i64, (gradient, curvature): (i64, i64)) -> i64 {
    let one = i64::from(ONE);
    let step = (gradient * one / curvature).clamp(-one, one) * DAMPING.0 / DAMPING.1;
    (value + step).clamp(-SCORE_MAX_Q16, SCORE_MAX_Q16)
}

/// Newton steps over all scores and the advantage.
pub(super) fn sweep(
    index: &Index,
    masses: &Masses,
    times: u32,
    score: &mut [i64],
    advantage: &mut i64,
) {
    let mut p = Vec::with_capacity(index.cells.len());
    for _ in 0..times {
        probabilities(index, score, *advantage, &mut p);
        let slopes = slopes(index, masses, &p, score, *advantage);
        for (value, &slope) in score.iter_mut().zip(&slopes) {
            *value = moved(*value, slope);
        }
        if index.sided {
            *advantage = moved(*advantage, slopes[index.objects]);
        }
    }
}

/// The fitted model.
pub(super) struct Fit {
    pub table: PairTable,
}

impl Fit {
    pub fn new(index: &Index) -> Self {
        let mut fit = Self {
            table: PairTable {
                score: vec![0; index.objects],
                information: Vec::new(),
                reliability: vec![RELIABILITY_START_Q16 as u32; index.labelers],
                advantage: 0,
            },
        };
        let mut p = Vec::with_capacity(index.cells.len());
        for _ in 0..ROUNDS {
            let PairTable {
                score,
                advantage,
                reliability,
                ..
            } = &mut fit.table;
            probabilities(index, score, *advantage, &mut p);
            let mut reports = Reports::new(index.labelers);
            // One expectation serves both: the quotient in it is what a round costs.
            let masses = Masses::given(
                index,
                &p,
                reliability,
                |_| true,
                |entry, credit| reports.add(entry, credit),
            );
            reports.rely(reliability);
            sweep(index, &masses, SWEEPS, score, advantage);
        }
        fit.table.information = information(index, &fit.table).1;
        fit
    }
}

/// Truthful reports of each labeler, and all of them; weights, Q16.
struct Reports(Vec<(u64, u64)>);

impl Reports {
    fn new(labelers: usize) -> Self {
        Self(vec![(0, 0); labelers])
    }

    /// Adds a report; `credit` is the posterior probability that the left object won, Q16.
    #[inline]
    fn add(&mut self, entry: &Entry, credit: u32) {
        // A tie says nothing about truthfulness.
        if entry.share == ONE / 2 {
            return;
        }
        let truthful = if entry.share == 0 {
            ONE.wrapping_sub(credit)
        } else {
            credit
        };
        // Weights are at most one, and a labeler has less than 2^24 votes.
        let weight = u64::from(entry.weight);
        let (right, all) = &mut self.0[entry.labeler as usize];
        let earned = weight.wrapping_mul(u64::from(truthful)) >> FRACTION_BITS;
        *right = right.wrapping_add(earned);
        *all = all.wrapping_add(weight);
    }

    /// Reliabilities: share of truthful reports, drawn towards the crowd's mean.
    fn rely(self, reliability: &mut [u32]) {
        let (right, all) = self
            .0
            .iter()
            .fold((0, 0), |(right, all), sum| (right + sum.0, all + sum.1));
        // Half or less would let the crowd's scores turn over; one would trust everybody blindly.
        let mean = u64::from(fixed::ratio(right, all)).clamp(u64::from(ONE) / 2, 64_881);
        for (slot, (right, all)) in reliability.iter_mut().zip(self.0) {
            let strength = RELIABILITY_STRENGTH;
            let value = fixed::ratio(right + strength * mean, all + (strength << FRACTION_BITS));
            *slot = value.clamp(ONE / 100, ONE - ONE / 100);
        }
    }
}

/// Expected (Fisher) information about the difference in each cell, and about each object with its prior; Q16.
fn information(index: &Index, table: &PairTable) -> (Vec<i64>, Vec<i64>) {
    let mut p = Vec::with_capacity(index.cells.len());
    probabilities(index, &table.score, table.advantage, &mut p);
    let mut cells = vec![0i64; index.cells.len()];
    let one = i64::from(ONE);
    for entry in &index.entries {
        let p = i64::from(p[entry.cell as usize]);
        let r = i64::from(table.reliability[entry.labeler as usize]);
        // d P(report left) / d score = (2 r - 1) p (1 - p); the information is its square over the variance of the report.
        let variance = (p * (one - p)) >> FRACTION_BITS;
        let slope = ((2 * r - one) * variance) >> FRACTION_BITS;
        let report = (p * r + (one - p) * (one - r)) >> FRACTION_BITS;
        let spread = (report * (one - report)).max(1);
        let value = slope * slope * one / spread;
        cells[entry.cell as usize] += (value * i64::from(entry.weight)) >> FRACTION_BITS;
    }
    let mut objects = vec![SCORE_PRECISION_Q16; index.objects];
    for (&(left, right), &value) in index.cells.iter().zip(&cells) {
        objects[left as usize] += value;
        objects[right as usize] += value;
    }
    (cells, objects)
}

/// The published result of each object: one step from the table, which only the object's own comparisons enter.
pub(super) fn last_step(index: &Index, table: &PairTable) -> Vec<ObjectResult> {
    let mut p = Vec::with_capacity(index.cells.len());
    probabilities(index, &table.score, table.advantage, &mut p);
    let masses = table.masses(index);
    let slopes = slopes(index, &masses, &p, &table.score, table.advantage);
    let (cells, own) = information(index, table);
    // Inverse of the information matrix to second order, Q32: 1/h(i) + sum over j of h(ij)^2 / (h(i)^2 h(j)).
    let inverse = |value: i64| (1u128 << 48) / u128::from(value.max(1).unsigned_abs());
    let mut variance: Vec<u128> = own.iter().map(|&value| inverse(value)).collect();
    for (&(left, right), &shared) in index.cells.iter().zip(&cells) {
        for (object, other) in [(left, right), (right, left)] {
            let share = u128::from(fixed::ratio(
                shared.unsigned_abs(),
                own[object as usize].unsigned_abs(),
            ));
            variance[object as usize] +=
                (share * share * inverse(table.information[other as usize])) >> 32;
        }
    }
    (0..index.objects)
        .map(|object| ObjectResult {
            score_milli: milli(moved(table.score[object], slopes[object])),
            half_width_milli: ((variance[object].isqrt() * QUANTILE_MILLI) >> 16) as u64,
            rank: None,
            comparisons: index.comparisons[object],
        })
        .collect()
}
