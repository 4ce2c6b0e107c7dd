//! From three experts to one calibrated posterior per item, and the table that anybody can repeat it from.
//!
//! The joint posterior of an item is the **median** of the experts' posteriors, class by class, scaled to one: a single expert that went
//! astray (an estimated class prior that swallowed a class, or equal weights on a very skewed task) moves neither label nor confidence.
//!
//! **Calibration.** The experts take the votes of an item for independent once its class is known. They are not: an item that
//! misleads one labeler misleads the next, so `n` votes carry the evidence of fewer. With a correlation `r` between votes on an item the
//! design effect of survey sampling says how many: `n / (1 + (n - 1) r)`. All logs of an item are therefore scaled by
//! `1 / (1 + (n - 1) r)` before they become probabilities. `r` is one step per class beyond the first, up to [`CORRELATION_STEPS_MAX`]
//! steps: with two classes the wrong answer is one and its frequency is known, with more classes an item has a look-alike of its own
//! which no matrix per class can know. The size of the step is the task's, see `correlation`. Last, one item in [`LAPSE`] counts as
//! beyond the crowd's knowledge: that share of the posterior is spread evenly.
//!
//! What it does not do: no fitting; gold is clamped by the caller.
//! Invariants: [`item_from_table`] gives the bits of the result; every row sums to one exactly.

use super::model::{EXPERTS, Expert, ROOM, by_classes};
use super::votes::Index;
use super::voting::Voting;
use crate::consensus::fixed::{FRACTION_BITS, ONE, normalise};

/// Most steps of correlation, one per class beyond the first.
pub(super) const CORRELATION_STEPS_MAX: u64 = 2;
/// One in this many items is taken to be beyond the crowd's knowledge, in items.
pub(super) const LAPSE: u32 = 500;

/// Everything that turns the votes of one item into its posteriors: one entry per labeler, and the class weights.
///
/// Logarithms are base 2 in Q16. Numbers are canonical: equal votes of a task give equal tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassTable {
    classes: usize,
    /// Correlation of the votes on an item per class beyond the first, Q16.
    correlation: u32,
    /// Per matrix expert: log of the class weights.
    class_log: [Vec<i64>; 2],
    /// Per matrix expert: log P(label | class), `classes` entries per column.
    column_log: [Vec<i32>; 2],
    /// Log odds of a right answer over one given wrong answer, per labeler.
    gain: Vec<i64>,
    /// First column of each labeler, and the end.
    column_start: Vec<u32>,
    /// Label of each column, ascending within a labeler.
    column_label: Vec<u16>,
    /// Collusion cluster of each labeler.
    cluster: Vec<Option<u32>>,
}

/// What a table says about one labeler's use of one label.
pub(super) struct Row<'a> {
    pub cluster: Option<u32>,
    pub gain: i64,
    /// The label, and its logs per matrix expert; none when the label was never used.
    pub column: Option<(u16, &'a [Vec<i32>; 2])>,
}

impl ClassTable {
    /// Takes the tables out of fitted experts.
    pub(super) fn new(
        index: Index,
        voting: &Voting,
        experts: [Expert; EXPERTS],
        correlation: u32,
    ) -> Self {
        let [first, second, third] = experts;
        Self {
            classes: index.classes,
            correlation,
            class_log: [first.class_log, second.class_log],
            column_log: [first.column_log, second.column_log],
            gain: third.gain,
            cluster: (0..index.labelers as u32)
                .map(|labeler| voting.cluster_of(labeler))
                .collect(),
            column_start: index.column_start,
            column_label: index.column_label,
        }
    }

    /// The same from experts that are still needed.
    pub(super) fn of(
        index: &Index,
        voting: &Voting,
        experts: &[Expert; EXPERTS],
        correlation: u32,
    ) -> Self {
        let [first, second, third] = experts;
        Self {
            classes: index.classes,
            correlation,
            class_log: [first.class_log.clone(), second.class_log.clone()],
            column_log: [first.column_log.clone(), second.column_log.clone()],
            gain: third.gain.clone(),
            cluster: (0..index.labelers as u32)
                .map(|labeler| voting.cluster_of(labeler))
                .collect(),
            column_start: index.column_start.clone(),
            column_label: index.column_label.clone(),
        }
    }

    /// A table of the class weights and of one row per voter, which are numbered in the order given; a row holds at most one column.
    pub(super) fn of_rows(class_log: &[Vec<i64>; 2], correlation: u32, rows: &[Row<'_>]) -> Self {
        let mut table = Self {
            classes: class_log[0].len(),
            correlation,
            class_log: class_log.clone(),
            column_log: [Vec::new(), Vec::new()],
            gain: Vec::with_capacity(rows.len()),
            column_start: vec![0],
            column_label: Vec::new(),
            cluster: Vec::with_capacity(rows.len()),
        };
        for row in rows {
            table.cluster.push(row.cluster);
            table.gain.push(row.gain);
            if let Some((label, logs)) = row.column {
                table.column_label.push(label);
                for (all, logs) in table.column_log.iter_mut().zip(logs) {
                    all.extend_from_slice(logs);
                }
            }
            table.column_start.push(table.column_label.len() as u32);
        }
        table
    }

    /// Per matrix expert: log of the class weights, Q16.
    pub(super) fn class_log(&self) -> &[Vec<i64>; 2] {
        &self.class_log
    }

    /// Cluster, log odds of a right answer, and the labels used, of a labeler in range.
    pub(super) fn row(&self, labeler: u32) -> (Option<u32>, i64, &[u16]) {
        (
            self.cluster[labeler as usize],
            self.gain[labeler as usize],
            &self.column_label[self.columns(labeler)],
        )
    }

    /// The logs of both matrices for one label of a labeler in range; `None` when the label was never used.
    pub(super) fn logs(&self, labeler: u32, label: u16) -> Option<[&[i32]; 2]> {
        let columns = self.columns(labeler);
        let at = self.column_label[columns.clone()]
            .binary_search(&label)
            .ok()?;
        let first = (columns.start + at) * self.classes;
        let [a, b] = &self.column_log;
        Some([a, b].map(|logs| &logs[first..first + self.classes]))
    }

    /// Classes of the task.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Labelers of the task.
    #[must_use]
    pub fn labelers(&self) -> usize {
        self.gain.len()
    }

    /// Correlation of the votes on an item per class beyond the first, Q16: how far the task's labelers share their errors.
    #[must_use]
    pub fn correlation(&self) -> u32 {
        self.correlation
    }

    /// The entry of one labeler in canonical bytes: cluster plus one (zero for none), gain, then per used label the label and the logs
    /// of both matrices; little endian. `None` for a labeler out of range.
    #[must_use]
    pub fn labeler_bytes(&self, labeler: u32) -> Option<Vec<u8>> {
        let gain = *self.gain.get(labeler as usize)?;
        let mut bytes = Vec::new();
        let cluster = self.cluster[labeler as usize].map_or(0, |cluster| u64::from(cluster) + 1);
        bytes.extend_from_slice(&cluster.to_le_bytes());
        bytes.extend_from_slice(&gain.to_le_bytes());
        for column in self.columns(labeler) {
            bytes.extend_from_slice(&self.column_label[column].to_le_bytes());
            for logs in &self.column_log {
                for log in &logs[column * self.classes..(column + 1) * self.classes] {
                    bytes.extend_from_slice(&log.to_le_bytes());
                }
            }
        }
        Some(bytes)
    }

    /// BLAKE3 over the correlation and the class weights, then over the hash of each labeler's entry.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.correlation.to_le_bytes());
        for log in self.class_log.iter().flatten() {
            hasher.update(&log.to_le_bytes());
        }
        for labeler in 0..self.gain.len() as u32 {
            if let Some(bytes) = self.labeler_bytes(labeler) {
                hasher.update(blake3::hash(&bytes).as_bytes());
            }
        }
        *hasher.finalize().as_bytes()
    }

    /// Weight (Q16) of the vote of `labeler` among the votes of an item: the members of a cluster share one.
    pub(super) fn weight<'a>(
        &self,
        votes: impl Iterator<Item = &'a (u32, u16)>,
        labeler: u32,
    ) -> u32 {
        let members = match self.cluster.get(labeler as usize) {
            None | Some(None) => 1,
            own => votes
                .filter(|other| self.cluster.get(other.0 as usize) == own)
                .count(),
        };
        ONE / members.max(1) as u32
    }

    fn columns(&self, labeler: u32) -> std::ops::Range<usize> {
        self.column_start[labeler as usize] as usize
            ..self.column_start[labeler as usize + 1] as usize
    }
}

/// Posteriors (Q16, one per class, summing to 65,536) of an item with these (labeler, label) votes, in any order.
///
/// Equals [`posteriors_of`](super::ClassResult::posteriors_of) for every item that is not gold, so a dispute about one item needs its votes and the table
/// only. `None` when a vote names a labeler out of range, or a label that the labeler never used: the table does not belong to it.
#[must_use]
pub fn item_from_table(table: &ClassTable, votes: &[(u32, u16)]) -> Option<Vec<u32>> {
    item_with_late_votes(table, votes, &[])
}

/// [`item_from_table`] of an item with votes that came after the fit of the table.
///
/// They count like the others; one with a label that its labeler had not used by then is read by the labeler's one skill. `None` as for
/// [`item_from_table`], and when a late label is out of range.
#[must_use]
pub fn item_with_late_votes(
    table: &ClassTable,
    votes: &[(u32, u16)],
    late: &[(u32, u16)],
) -> Option<Vec<u32>> {
    let (mut logs, weights) = sum_logs(table, votes, late)?;
    let mut out = vec![0; table.classes];
    let [first, second, third] = &mut logs;
    let mut rows = [[0; ROOM]; EXPERTS];
    let scale = scale(table.correlation, table.classes, weights);
    calibrated([first, second, third], scale, &mut rows, &mut out);
    Some(out)
}

/// Each expert's log posteriors of an item before calibration (Q16, not normalised), and the sum of the voters' weights (Q16). `None` as in
/// [`item_with_late_votes`].
pub(super) fn sum_logs(
    table: &ClassTable,
    votes: &[(u32, u16)],
    late: &[(u32, u16)],
) -> Option<([Vec<i64>; EXPERTS], u64)> {
    let classes = table.classes;
    let mut logs: [Vec<i64>; EXPERTS] = [
        table.class_log[0].clone(),
        table.class_log[1].clone(),
        vec![0; classes],
    ];
    let mut weights = 0u64;
    for (number, &(labeler, label)) in votes.iter().chain(late).enumerate() {
        let gain = *table.gain.get(labeler as usize)?;
        let weight = table.weight(votes.iter().chain(late), labeler);
        weights += u64::from(weight);
        let weighted = |value: i64| value * i64::from(weight) / i64::from(ONE);
        match table.logs(labeler, label) {
            Some(columns) => {
                for (sums, source) in logs.iter_mut().zip(columns) {
                    for (sum, &value) in sums.iter_mut().zip(source) {
                        *sum += weighted(i64::from(value));
                    }
                }
            }
            None if number >= votes.len() && usize::from(label) < classes => {
                for sums in &mut logs[..EXPERTS - 1] {
                    sums[usize::from(label)] += weighted(gain);
                }
            }
            None => return None,
        }
        logs[EXPERTS - 1][usize::from(label)] += weighted(gain);
    }
    Some((logs, weights))
}

/// What the logs of an item are scaled by, Q32 and at most one: the inverse of the design effect. `correlation` per class beyond the
/// first and `weights`, the sum of the voters' weights, are Q16.
#[inline(always)]
fn scale(correlation: u32, classes: usize, weights: u64) -> u64 {
    let steps = (classes as u64 - 1).min(CORRELATION_STEPS_MAX);
    let one = u64::from(ONE);
    // The weights are below 2^36 and the correlation below 2^16, so the product stays below 2^54.
    let beyond = weights.saturating_sub(one) * steps * u64::from(correlation);
    (one << 32) / (one + (beyond >> FRACTION_BITS))
}

/// The joint posterior from the experts' log posteriors and their [`scale`]; `logs` and `rows` are scratch space.
#[inline(always)]
fn calibrated<const R: usize>(
    logs: [&mut [i64]; EXPERTS],
    scale: u64,
    rows: &mut [[u32; R]; EXPERTS],
    out: &mut [u32],
) {
    let classes = out.len();
    // Scaled differences of logs are cut where exp2 is long zero.
    for (logs, row) in logs.into_iter().zip(rows.iter_mut()) {
        let top = logs.iter().copied().max().unwrap_or(0);
        for value in logs.iter_mut() {
            let below = top.wrapping_sub(*value).unsigned_abs();
            *value = -(((u128::from(below) * u128::from(scale)) >> 32).min(1 << 40) as i64);
        }
        normalise(logs, &mut row[..classes]);
    }
    let [a, b, c] = rows;
    blend([&a[..classes], &b[..classes], &c[..classes]], out);
    let even = ONE / (LAPSE * classes as u32);
    let (mut left, mut best) = (ONE, 0);
    for class in 0..classes {
        out[class] = out[class] - out[class] / LAPSE + even;
        left = left.wrapping_sub(out[class]);
        if out[class] > out[best] {
            best = class;
        }
    }
    // The rounding misses by less than one step per class in either direction; the largest of at most 256 entries is at least 256.
    out[best] = out[best].wrapping_add(left);
}

/// The median of the experts' rows, class by class, Q16, scaled to sum to one exactly: the remainder goes to the largest entry.
#[inline(always)]
pub(super) fn blend(rows: [&[u32]; EXPERTS], out: &mut [u32]) {
    let [a, b, c] = rows;
    let mut sum = 0u64;
    for (((slot, &a), &b), &c) in out.iter_mut().zip(a).zip(b).zip(c) {
        // One step each, so that the sum is never zero.
        *slot = a.min(b).max(a.max(b).min(c)) + 1;
        sum += u64::from(*slot);
    }
    // No entry exceeds the sum, so no product exceeds 2^47.
    let factor = (1u64 << 47).checked_div(sum).unwrap_or(0);
    let (mut left, mut top) = (ONE, 0);
    for slot in out.iter_mut() {
        *slot = (u64::from(*slot).wrapping_mul(factor) >> 31) as u32;
        left = left.saturating_sub(*slot);
        top = top.max(*slot);
    }
    // The first of the largest; neither branch nor index, as in `normalise`.
    for slot in out {
        let rest = if *slot == top { left } else { 0 };
        *slot = slot.wrapping_add(rest); // at most one
        left = left.wrapping_sub(rest);
    }
}

/// Defines the median of the experts for one width of integers.
macro_rules! median_of {
    ($name:ident, $int:ty, $range:literal) => {
        /// How far each class stays behind the experts' favourites, in the middle of the three; Q16 bits, never positive.
        ///
        #[doc = $range]
        #[inline(always)]
        pub(super) fn $name(logs: [&[$int]; EXPERTS], out: &mut [i64]) {
            let top = logs.map(|logs| logs.iter().fold(<$int>::MIN, |top, &log| top.max(log)));
            let [a, b, c] = logs;
            for (((slot, &a), &b), &c) in out.iter_mut().zip(a).zip(b).zip(c) {
                let (a, b) = (a.wrapping_sub(top[0]), b.wrapping_sub(top[1]));
                let c = c.wrapping_sub(top[2]);
                *slot = i64::from(a.min(b).max(a.max(b).min(c)));
            }
        }
    };
}
median_of!(
    median,
    i64,
    "Logs are below 2^43, so differences do not wrap."
);
median_of!(
    median_narrow,
    i32,
    "Logs must be below 2^30, so that differences do not wrap."
);

/// What a labeler is judged by: the median of the experts' odds, Q16, from their log posteriors; `rest` is scratch space of equal length.
///
/// Nearly the joint posterior (with two classes the same but for rounding), at a third of its price: judging asks once per vote.
#[inline(always)]
pub(super) fn joint_odds(logs: [&[i64]; EXPERTS], rest: &mut [i64], out: &mut [u32]) {
    median(logs, rest);
    normalise(rest, out);
}

/// The last round of the experts: what they learn from it serves the labelers of whom little is known, see [`Expert::evidence_of_item`].
pub(super) fn last_round(index: &Index, voting: &Voting, experts: &mut [Expert]) {
    if index.all_steady() {
        return;
    }
    for expert in experts {
        by_classes!(index.classes, learn_once(index, voting, expert));
        expert.finish(index);
    }
}

fn learn_once<const K: usize, const R: usize>(index: &Index, voting: &Voting, expert: &mut Expert) {
    expert.pass::<K, R>(index, voting, 1);
}

/// The joint posteriors before calibration of every `stride`-th item from the first; gold rows are one-hot.
pub(super) fn sharp(
    index: &Index,
    voting: &Voting,
    experts: &[Expert; EXPERTS],
    stride: usize,
) -> Vec<u32> {
    by_classes!(index.classes, rows(index, voting, experts, stride, None))
}

/// Calibrated posteriors of all items; gold rows are one-hot.
pub(super) fn calibrate(
    index: &Index,
    voting: &Voting,
    experts: &[Expert; EXPERTS],
    correlation: u32,
) -> Vec<u32> {
    by_classes!(
        index.classes,
        rows(index, voting, experts, 1, Some(correlation))
    )
}

fn rows<const K: usize, const R: usize>(
    index: &Index,
    voting: &Voting,
    experts: &[Expert; EXPERTS],
    stride: usize,
    correlation: Option<u32>,
) -> Vec<u32> {
    let classes = if K == 0 { index.classes } else { K };
    let mut posteriors = vec![0; index.items.div_ceil(stride) * classes];
    let mut logs = [[0i64; R]; EXPERTS];
    let mut rows = [[0u32; R]; EXPERTS];
    let taken = (0..index.items).step_by(stride);
    for (item, out) in taken.zip(posteriors.chunks_exact_mut(classes)) {
        let out = &mut out[..classes];
        if let Some(label) = index.gold[item] {
            out[usize::from(label)] = ONE;
            continue;
        }
        for (expert, logs) in experts.iter().zip(&mut logs) {
            expert.add_votes::<K>(index, voting, item, &mut logs[..classes]);
        }
        let logs = logs.each_mut().map(|logs| &mut logs[..classes]);
        let Some(correlation) = correlation else {
            for (logs, row) in logs.into_iter().zip(&mut rows) {
                normalise(logs, &mut row[..classes]);
            }
            blend(rows.each_ref().map(|row| &row[..classes]), out);
            continue;
        };
        let votes = index.votes_of_item(item);
        let weights = if voting.rows_of_item(item).is_empty() {
            votes.len() as u64 * u64::from(ONE)
        } else {
            votes.map(|vote| u64::from(voting.weight(vote))).sum()
        };
        let scale = scale(correlation, classes, weights);
        calibrated(logs, scale, &mut rows, out);
    }
    posteriors
}
