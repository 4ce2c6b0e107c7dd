//! Ratings and numbers: every vote reads an unknown quantity with the labeler's own offset and precision.
//!
//! ```text
//! start: no offsets, one precision -> ROUNDS x [ leave-one-out estimates -> offset and deviation of each labeler ] -> items, skills
//! ```
//!
//! Values are fixed-point integers on a declared scale: the manifest says how many decimals they stand for, here they are plain
//! integers from `min` to `max` in steps of `step`. An ordinal rating is a scale with few steps. Inside, values have 8 fraction bits.
//!
//! **Model.** A vote is the truth plus the labeler's offset plus an error of the labeler's mean absolute deviation. An item's value is
//! the robust estimate of `robust` over the votes with offsets removed, put on the nearest step. Offsets and deviations are measured
//! against the estimate **without the own vote** (otherwise whoever weighs most would look perfect and weigh ever more), with the error
//! of that estimate taken out of the deviation, and are drawn towards no offset and the crowd's deviation by pseudo-votes.
//!
//! **Skill** is `1 - own error / error of always answering the overall median`, where both errors are mean absolute distances from the
//! leave-one-out values (gold: the truth, with `GOLD_WEIGHT`) of the same items, and the median is that of these very values. The
//! median minimises the summed distance, so no constant answer gets above zero, whatever the scale or its skew; for answers drawn
//! without looking at the item the same holds in expectation, value by value. Offsets are not forgiven in the skill. The price: with
//! few votes per item the others' error counts against everybody.
//!
//! **Posterior** of an item, for the rule that stops buying votes: the probability that the truth lies within `tolerance`, read from the
//! interval by an exponential tail, `1 - 20^(-tolerance / half width)`; at a tolerance of one half width it is 95 % by construction.
//!
//! What it does not do: it does not estimate how hard an item is, nor group labelers; reputation is not read.
//! Invariants: values lie within plus and minus 2^40 and, with fraction bits, 2^48; residual sums over 2^22 votes stay below 2^72 and are
//! kept in 128 bits; a pure function of the set of votes and gold.

mod robust;

#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::robust::{Estimate, estimate};
pub(in crate::consensus) use self::robust::{Reading, estimate_sorted};
use super::class::{MAX_ITEMS, MAX_LABELERS};
use super::error::ConsensusError;
use super::fixed::{FRACTION_BITS, ONE, exp2_q30};
use super::hash_parameters;

/// Name and version of the method; raise it with any change of behaviour.
const METHOD: &str = "assay/consensus/value/1";
/// Rounds of estimates and labeler rows, in rounds.
const ROUNDS: u32 = 8;
/// Pseudo-votes that draw a labeler's offset towards zero, in votes.
const BIAS_STRENGTH: i128 = 4;
/// Pseudo-votes that draw a labeler's deviation towards the crowd's, in votes.
const DEVIATION_STRENGTH: u128 = 4;
/// A residual counts for the offset as at most this many crowd deviations, in deviations.
const RESIDUAL_CLAMP: i128 = 4;
/// Weight of a gold item against an item judged by other labelers, in votes.
const GOLD_WEIGHT: u64 = 2;
/// Fraction bits of values inside, in bits.
const FINE_BITS: u32 = 8;
/// log2(20) in Q16: at one half width an exponential tail holds one twentieth.
const TAIL_LOG: u64 = 283_241;
/// Largest size of a value, in units of the scale.
pub const MAX_VALUE: i64 = 1 << 40;
/// Most votes of one scoring run, in votes.
pub const MAX_VALUE_VOTES: u64 = 1 << 22;
/// Most votes for one item, in votes; leave-one-out estimates cost the square of it.
pub const MAX_VALUE_VOTES_PER_ITEM: u64 = 255;

/// Feeds the method's name and all its parameters to `hasher`.
pub(super) fn hash_method(hasher: &mut blake3::Hasher) {
    hasher.update(METHOD.as_bytes());
    hash_parameters(
        hasher,
        &[
            u64::from(ROUNDS),
            BIAS_STRENGTH as u64,
            DEVIATION_STRENGTH as u64,
            RESIDUAL_CLAMP as u64,
            GOLD_WEIGHT,
            u64::from(FINE_BITS),
            TAIL_LOG,
            u64::from(robust::HUBER_STEPS),
            robust::CLAMP.unsigned_abs(),
            robust::PRECISION_RATIO_MAX,
        ],
    );
}

/// The numbers that may be voted: `min`, `min + step`, ... up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueScale {
    /// Smallest value, at least minus [`MAX_VALUE`].
    pub min: i64,
    /// Largest value, at most [`MAX_VALUE`]; a whole number of steps above `min`.
    pub max: i64,
    /// Distance between two values, at least one.
    pub step: i64,
    /// A result this close to the truth is good enough, in units of the scale; for ratings usually half a step, rounded down.
    pub tolerance: i64,
}

/// One vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueVote {
    /// Index of the item.
    pub item: u32,
    /// Index of the labeler.
    pub labeler: u32,
    /// The value, on the scale.
    pub value: i64,
}

/// Everything that inference of values may look at.
#[derive(Clone, Copy, Debug)]
pub struct ValueInput<'a> {
    /// Items of the task.
    pub items: u32,
    /// Labelers of the task.
    pub labelers: u32,
    /// The scale.
    pub scale: ValueScale,
    /// The votes in any order, at most one per labeler and item.
    pub votes: &'a [ValueVote],
    /// Opened gold: item to its true value.
    pub gold: &'a BTreeMap<u32, i64>,
}

/// What the votes say about one item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueItem {
    /// The inferred value, on the scale; the gold value where there is one, `None` without votes and gold.
    pub value: Option<i64>,
    /// Lower end of the 95 % interval, within the scale.
    pub low: i64,
    /// Upper end of the 95 % interval, within the scale.
    pub high: i64,
    /// Probability that the truth lies within the tolerance of `value`, Q16; zero without a value.
    pub posterior: u32,
    /// Votes given.
    pub votes: u32,
}

/// How one labeler reads, in 1/256 of a unit of the scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueRow {
    /// Systematic offset.
    pub bias: i64,
    /// Mean absolute error after the offset is removed, at least one.
    pub deviation: u64,
}

/// What [`item_from_table`] needs besides the votes of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueTable {
    /// The scale.
    pub scale: ValueScale,
    /// One row per labeler.
    pub rows: Vec<ValueRow>,
}

/// What the wave says about one labeler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueLabeler {
    /// Votes given.
    pub votes: u32,
    /// Gold items answered.
    pub gold_seen: u32,
    /// Chance-corrected skill in parts per million.
    pub skill_ppm: i64,
    /// Mean distance from the leave-one-out values, in 1/256 of a unit of the scale; zero without evidence.
    pub error: u64,
}

/// Result of [`infer_values`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueResult {
    /// One entry per item.
    pub items: Vec<ValueItem>,
    /// One entry per labeler.
    pub labelers: Vec<ValueLabeler>,
    /// What [`item_from_table`] needs besides the votes of an item.
    pub table: ValueTable,
}

/// Infers the value of each item and the skill of each labeler.
///
/// # Errors
/// [`ConsensusError`] names the entry that is out of range or repeated, or the limit that is exceeded.
pub fn infer_values(input: &ValueInput<'_>) -> Result<ValueResult, ConsensusError> {
    let votes = canonical(input)?;
    let rows = Rows::fit(input, &votes);
    let table = ValueTable {
        scale: input.scale,
        rows: rows.rows,
    };
    let mut items = vec![ValueItem::default(); input.items as usize];
    for of_item in votes.chunk_by(|a, b| a.item == b.item) {
        items[of_item[0].item as usize] = item_from_table(&table, of_item);
    }
    for (&item, &value) in input.gold {
        let item = &mut items[item as usize];
        *item = with_gold(*item, value);
    }
    let labelers = judge(input, &votes, &table.rows);
    Ok(ValueResult {
        items,
        labelers,
        table,
    })
}

/// The result of an item whose true value is known.
pub(super) fn with_gold(item: ValueItem, value: i64) -> ValueItem {
    ValueItem {
        value: Some(value),
        low: value,
        high: value,
        posterior: ONE,
        votes: item.votes,
    }
}

/// Recomputes one item from its votes and the table; the same result as [`infer_values`] gives for an item that is not gold.
///
/// Votes of labelers outside the table are ignored.
#[must_use]
pub fn item_from_table(table: &ValueTable, votes: &[ValueVote]) -> ValueItem {
    let mut readings: Vec<Reading> = votes
        .iter()
        .filter_map(|vote| Some(reading(vote, table.rows.get(vote.labeler as usize)?)))
        .collect();
    let count = readings.len() as u32;
    let Some(Estimate { value, half_width }) = estimate(&mut readings) else {
        return ValueItem::default();
    };
    // Few readings say little about their own spread: wider by one over their number, much like Student's quantiles.
    let half_width = half_width.saturating_add(half_width / u64::from(count));
    let scale = &table.scale;
    let fine = |units: i64| units << FINE_BITS;
    let inside = value.clamp(fine(scale.min), fine(scale.max));
    // Half a step is at least half a unit; an exact half rounds down.
    let steps = (2 * (inside - fine(scale.min)) + fine(scale.step) - 1) / fine(2 * scale.step);
    let value = (scale.min + steps * scale.step).clamp(scale.min, scale.max);
    let width = i64::try_from(half_width)
        .unwrap_or(i64::MAX >> 8)
        .min(1 << 50);
    let end = |at: i64| (at >> FINE_BITS).clamp(scale.min, scale.max);
    // Two answers one step apart leave half a step on either side, so the tolerance is never read as less than that.
    let tolerance = fine(2 * scale.tolerance)
        .max(fine(scale.step))
        .unsigned_abs()
        / 2;
    ValueItem {
        value: Some(value),
        low: end(inside - width).min(value),
        high: end(inside + width + fine(1) - 1).max(value),
        posterior: within(tolerance, half_width),
        votes: count,
    }
}

/// `1 - 20^(-tolerance / half_width)` in Q16.
fn within(tolerance: u64, half_width: u64) -> u32 {
    let exponent = u128::from(tolerance) * u128::from(TAIL_LOG) / u128::from(half_width.max(1));
    let exponent = i64::try_from(exponent).unwrap_or(i64::MAX);
    ONE - (exp2_q30(-exponent) >> (30 - FRACTION_BITS)) as u32
}

fn reading(vote: &ValueVote, row: &ValueRow) -> Reading {
    Reading {
        value: (vote.value << FINE_BITS) - row.bias,
        deviation: row.deviation,
        share: ONE,
    }
}

/// A vote against what the others say: (position in the canonical votes, value of the others, their half width).
type Lesson = (usize, i64, u64);

/// Walks all votes with what is known without them: gold, or the estimate of the other votes of the item. Votes that stand alone are
/// left out.
fn lessons(
    input: &ValueInput<'_>,
    votes: &[ValueVote],
    rows: &[ValueRow],
    mut learn: impl FnMut(Lesson),
) {
    let mut first = 0;
    let mut sorted: Vec<(Reading, usize)> = Vec::new();
    let mut readings: Vec<Reading> = Vec::new();
    for of_item in votes.chunk_by(|a, b| a.item == b.item) {
        let positions = first..first + of_item.len();
        first = positions.end;
        if let Some(&truth) = input.gold.get(&of_item[0].item) {
            positions.for_each(|position| learn((position, truth << FINE_BITS, 0)));
            continue;
        }
        sorted.clear();
        sorted.extend(
            of_item
                .iter()
                .zip(positions)
                .map(|(vote, position)| (reading(vote, &rows[vote.labeler as usize]), position)),
        );
        sorted.sort_unstable();
        readings.clear();
        readings.extend(sorted.iter().map(|&(reading, _)| reading));
        for (own, &(_, position)) in sorted.iter().enumerate() {
            if let Some(others) = estimate_sorted(&readings, |other| other != own) {
                learn((position, others.value, others.half_width));
            }
        }
    }
}

/// Offsets and deviations of all labelers.
struct Rows {
    rows: Vec<ValueRow>,
}

/// Sums over the lessons of one labeler, in 1/256 units.
#[derive(Clone, Copy, Default)]
struct Sums {
    weight: u128,
    residual: i128,
    distance: u128,
    /// Squared error of the others' estimates.
    others: u128,
}

impl Rows {
    fn fit(input: &ValueInput<'_>, votes: &[ValueVote]) -> Self {
        let width = (input.scale.max - input.scale.min).unsigned_abs() << FINE_BITS;
        let labelers = input.labelers as usize;
        // A quarter of the scale is the deviation of an even draw; it only sets the reach of the first Huber steps.
        let mut crowd = (width / 4).max(1);
        let mut rows = vec![
            ValueRow {
                bias: 0,
                deviation: crowd,
            };
            labelers
        ];
        for _ in 0..ROUNDS {
            let mut sums = vec![Sums::default(); labelers];
            lessons(input, votes, &rows, |(position, others, half_width)| {
                let vote = &votes[position];
                let labeler = vote.labeler as usize;
                let weight = if half_width == 0 { GOLD_WEIGHT } else { 1 };
                let residual = i128::from(vote.value << FINE_BITS) - i128::from(others);
                let reach = i128::from(crowd) * RESIDUAL_CLAMP;
                let sum = &mut sums[labeler];
                sum.weight += u128::from(weight);
                sum.residual += residual.clamp(-reach, reach) * i128::from(weight);
                sum.distance +=
                    (residual - i128::from(rows[labeler].bias)).unsigned_abs() * u128::from(weight);
                // Half a width is 2.46 mean absolute errors.
                let error = u128::from(half_width.min(width)) * 100 / 246;
                sum.others += error * error * u128::from(weight);
            });
            let (mut total, mut all) = (0u128, 0u128);
            let deviations: Vec<u128> = sums.iter().map(Sums::deviation).collect();
            for (sum, deviation) in sums.iter().zip(&deviations) {
                total += sum.weight * deviation;
                all += sum.weight;
            }
            if all == 0 {
                break;
            }
            crowd = ((total / all) as u64).clamp(1, width.max(1));
            for ((row, sum), deviation) in rows.iter_mut().zip(&sums).zip(deviations) {
                let strong = sum.weight + DEVIATION_STRENGTH;
                let pooled =
                    (sum.weight * deviation + DEVIATION_STRENGTH * u128::from(crowd)) / strong;
                row.deviation = (pooled as u64).max(1);
                row.bias = (sum.residual / (sum.weight as i128 + BIAS_STRENGTH)) as i64;
            }
        }
        Self { rows }
    }
}

impl Sums {
    /// Mean distance with the others' error taken out, at least a quarter of what was seen.
    fn deviation(&self) -> u128 {
        if self.weight == 0 {
            return 0;
        }
        let seen = self.distance / self.weight;
        let square = (seen * seen).saturating_sub(self.others / self.weight);
        square.isqrt().max(seen / 4)
    }
}

/// Judges every labeler by the formula of the header.
fn judge(input: &ValueInput<'_>, votes: &[ValueVote], rows: &[ValueRow]) -> Vec<ValueLabeler> {
    let mut results = vec![ValueLabeler::default(); input.labelers as usize];
    // (truth as the others see it, own distance from it, weight), per labeler.
    let mut seen: Vec<Vec<(i64, u64, u64)>> = vec![Vec::new(); input.labelers as usize];
    lessons(input, votes, rows, |(position, others, half_width)| {
        let vote = &votes[position];
        let weight = if half_width == 0 { GOLD_WEIGHT } else { 1 };
        let distance = (vote.value << FINE_BITS).abs_diff(others);
        seen[vote.labeler as usize].push((others, distance, weight));
    });
    for vote in votes {
        let result = &mut results[vote.labeler as usize];
        result.votes += 1;
        result.gold_seen += u32::from(input.gold.contains_key(&vote.item));
    }
    for (result, lessons) in results.iter_mut().zip(&mut seen) {
        lessons.sort_unstable();
        let total: u64 = lessons.iter().map(|lesson| lesson.2).sum();
        let mut below = 0;
        let median = lessons.iter().find(|lesson| {
            below += lesson.2;
            below * 2 >= total
        });
        let Some(&(median, _, _)) = median else {
            continue;
        };
        let (mut own, mut lazy) = (0i128, 0i128);
        for &(truth, distance, weight) in lessons.iter() {
            own += i128::from(distance) * i128::from(weight);
            lazy += i128::from(truth.abs_diff(median)) * i128::from(weight);
        }
        result.error = (own / i128::from(total.max(1))) as u64;
        if lazy > 0 {
            result.skill_ppm =
                ((lazy - own) * 1_000_000 / lazy).clamp(-1_000_000, 1_000_000) as i64;
        }
    }
    results
}

/// Checks the input and sorts the votes by item and labeler.
pub(super) fn canonical(input: &ValueInput<'_>) -> Result<Vec<ValueVote>, ConsensusError> {
    let ValueScale {
        min,
        max,
        step,
        tolerance,
    } = input.scale;
    let range = -MAX_VALUE..=MAX_VALUE;
    if step < 1 || min >= max || !range.contains(&min) || !range.contains(&max) {
        return Err(ConsensusError::Scale {
            why: "the smallest value must be below the largest, both within 2^40, and the step at least one",
        });
    }
    if (max - min) % step != 0 || !(0..=max - min).contains(&tolerance) {
        return Err(ConsensusError::Scale {
            why: "the largest value must be whole steps above the smallest, and the tolerance within the scale",
        });
    }
    for (what, count, max) in [
        ("votes", input.votes.len() as u64, MAX_VALUE_VOTES),
        ("items", u64::from(input.items), MAX_ITEMS),
        ("labelers", u64::from(input.labelers), MAX_LABELERS),
    ] {
        if count > max {
            return Err(ConsensusError::TooMany { what, count, max });
        }
    }
    let on_scale = |value: i64| (min..=max).contains(&value) && (value - min) % step == 0;
    let mut order = Vec::with_capacity(input.votes.len());
    for (index, vote) in input.votes.iter().enumerate() {
        if vote.item >= input.items {
            return Err(ConsensusError::ItemOutOfRange {
                index,
                item: vote.item,
                items: input.items,
            });
        }
        if vote.labeler >= input.labelers {
            return Err(ConsensusError::LabelerOutOfRange {
                index,
                labeler: vote.labeler,
                labelers: input.labelers,
            });
        }
        if !on_scale(vote.value) {
            return Err(ConsensusError::ValueOutOfRange {
                index,
                value: vote.value,
                min,
                max,
                step,
            });
        }
        order.push((vote.item, vote.labeler, index));
    }
    for (&item, &value) in input.gold {
        if item >= input.items || !on_scale(value) {
            return Err(ConsensusError::BadGold {
                item,
                why: "the item is out of range or the value is not on the scale",
            });
        }
    }
    order.sort_unstable();
    if let Some(pair) = order
        .windows(2)
        .find(|p| (p[0].0, p[0].1) == (p[1].0, p[1].1))
    {
        return Err(ConsensusError::DuplicateVote {
            first: pair[0].2,
            second: pair[1].2,
            item: pair[0].0,
            labeler: pair[0].1,
        });
    }
    for of_item in order.chunk_by(|a, b| a.0 == b.0) {
        if of_item.len() as u64 > MAX_VALUE_VOTES_PER_ITEM {
            return Err(ConsensusError::TooManyOnItem {
                item: of_item[0].0,
                what: "votes",
                count: of_item.len() as u64,
                max: MAX_VALUE_VOTES_PER_ITEM,
            });
        }
    }
    Ok(order
        .into_iter()
        .map(|(_, _, index)| input.votes[index])
        .collect())
}
