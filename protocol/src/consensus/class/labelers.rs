//! What the inferred truth says about each labeler: skill for pay, agreement and habit for people to read.
//!
//! **Skill** is a chance-corrected agreement. Over the items that say something about a labeler, with weight `w` and soft truth `r`
//! (gold: one-hot, weight [`GOLD_WEIGHT`]; otherwise the median of the experts' odds **without the labeler's own vote and without the votes of
//! their collusion cluster**, from what the other items tell about the other voters, weight one; items where nobody else voted are left
//! out), and with `W` the sum of the weights:
//!
//! ```text
//! A = sum w r(own label) / W                         observed agreement
//! E = sum over classes k of  F(k) R(k)               expected by chance, F = own label shares, R = mean of r
//! skill = (W (A - E) + m (a - c)) / (W (1 - E) + m (1 - c))
//! ```
//!
//! The second summands are gold evidence carried by reputation: `a` the past accuracy, `c` the largest R(k), `m` pseudo-votes bounded by
//! [`PRIOR_VOTES_MAX`] and by the wave's own evidence divided by [`PRIOR_SHARE`].
//!
//! **Why laziness earns nothing.** `r` does not contain the labeler's vote. If the answers are drawn without looking at the item - one
//! constant label, uniform, or following the class prior - then given how often each label and each truth occur, every pairing of
//! answers with items is equally likely, the mean of A over the pairings is E, and E, W and the denominator are the same for all of
//! them. So the expected skill is exactly zero at any class skew and any number of votes; for a constant answer A = E always. The
//! price: where the truth is the same on all items of a labeler, 1 - E vanishes and diligence cannot be told from laziness; then only
//! reputation speaks, and without it the skill is zero. (With votes by the handful, a trace of the own votes remains in what is known about others;
//! the test measures it.)
//!
//! **Interval.** Wilson's score interval (1927) at 95 % for A, with as many votes of equal weight as tell the same (W^2 / sum of w^2), is
//! moved through the formula: (bound - E) / (1 - E). E is taken as known and `r` as certain, so the interval is an approximation; where
//! the wave says nothing it reaches from minus one to one.
//!
//! What this file does not do: it pays nothing, and bans nobody.
//! Invariants: skill lies within plus and minus 1,000,000; ratios are truncated towards zero, so rounding never
//! turns a zero into a gain.

use super::features::{Common, Looked, margin_milli};
use super::fraud;
use super::model::{EXPERTS, Expert, by_classes};
use super::signals::Pace;
use super::verdict::{joint_odds, median_narrow};
use super::votes::{GoldPrior, Index};
use super::voting::Voting;
use crate::consensus::fixed::{self, ONE, log2};
use serde::{Deserialize, Serialize};

/// Weight of a gold item against an item judged by other labelers, in votes.
pub(super) const GOLD_WEIGHT: u64 = 2;
/// Most pseudo-votes that reputation may add to a labeler's evidence, in votes.
pub(super) const PRIOR_VOTES_MAX: u64 = 8;
/// Reputation may add at most one pseudo-vote per this many votes' worth of the wave's own evidence.
pub(super) const PRIOR_SHARE: u64 = 8;
/// Pseudo-votes that draw each row of the habit matrix towards the labeler's overall label shares, in votes.
pub(super) const HABIT_STRENGTH: u64 = 2;
/// Parts per million in one.
const PPM: i128 = 1_000_000;

/// What the wave says about one labeler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelerResult {
    /// Votes given.
    pub votes: u32,
    /// Gold items answered.
    pub gold_seen: u32,
    /// Gold items answered rightly.
    pub gold_right: u32,
    /// Chance-corrected skill in parts per million, negative when worse than chance; zero without evidence. The pay rule uses this.
    pub skill_ppm: i64,
    /// Mean posterior of the own label, seen without the own vote and cluster, on items that are not gold, in parts per million.
    /// Not chance-corrected: for display only.
    pub agreement_ppm: u32,
    /// How far the answers are independent of the truth, in parts per million: one million for constant or random answers (and without
    /// evidence), zero for answers that determine the truth, even when consistently wrong.
    pub spammer_ppm: u32,
    /// Bounds of a 95 % interval of the skill from this wave's own evidence, in parts per million; see the header.
    pub skill_low_ppm: i64,
    /// Upper bound of the interval.
    pub skill_high_ppm: i64,
    /// Evidence of having looked at the items, in thousandths of a bit, negative for guessers; see `features`.
    pub looked_mbits: i64,
    /// Evidence of the most suspicious pair with another labeler, in thousandths of a bit; see `collusion`.
    pub copy_mbits: u32,
    /// Entropy of the own labels less that of the crowd's labels, in thousandths of a bit.
    pub entropy_mbits: i32,
    /// By how many standard deviations the right answers exceed what honest work needs, in thousandths, zero without evidence; see
    /// `features`.
    pub margin_milli: i32,
    /// Most equal labels in a row, by item number.
    pub longest_run: u32,
    /// Answer times, where known.
    pub pace: Option<Pace>,
    /// Position in the list of collusion clusters, if flagged.
    pub cluster: Option<u32>,
    /// Suspicion in parts per million; see `fraud`. It may lower weight and new work, never pay for past work.
    pub fraud_ppm: u32,
    /// The published decision.
    pub flag: Flag,
}

/// What is publicly said about a labeler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flag {
    /// Nothing.
    #[default]
    Clear,
    /// The answers look like guesses.
    Suspect,
    /// The answers are those of a collusion cluster.
    Ring,
}

impl LabelerResult {
    /// Share of right answers among the gold items, in parts per million; `None` without any.
    #[must_use]
    pub fn gold_accuracy_ppm(&self) -> Option<u32> {
        let right = u64::from(self.gold_right) * 1_000_000;
        Some(right.checked_div(u64::from(self.gold_seen))? as u32)
    }
}

/// Sums over the votes, per labeler and per column (a labeler's use of one label); posteriors are Q16, weights are counts.
pub(super) struct Evidence {
    classes: usize,
    /// Sum of weights, per labeler.
    pub weight: Vec<u64>,
    /// Weighted soft truth, per (labeler, class).
    pub truth: Vec<u64>,
    /// Sum of weights, per column.
    pub own: Vec<u64>,
    /// Weighted soft truth, per (column, class).
    pub joint: Vec<u64>,
    /// Items that others judged, per labeler.
    pub peer_items: Vec<u32>,
    /// Posterior of the own label on them, per labeler.
    pub peer_agreement: Vec<u64>,
    /// Log-likelihood of having looked, per labeler; see `features`.
    pub looked: Vec<Looked>,
    /// Sum of P(the answer is right), per labeler, Q16; see `features`.
    pub right: Vec<u64>,
    /// Sum of that times its complement, per labeler, Q16.
    pub doubt: Vec<u64>,
    /// Votes, per column.
    pub uses: Vec<u32>,
    /// P(label) by habit, per column, Q16.
    pub habit: Vec<u32>,
    /// Votes that `looked` counts, per column.
    pub judged: Vec<u32>,
    /// Gold answers and runs of equal labels, per labeler.
    pub trail: Vec<Trail>,
}

/// What is seen of a labeler while walking the items in order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trail {
    pub gold_seen: u32,
    pub gold_right: u32,
    pub last: Option<u16>,
    pub run: u32,
    pub longest_run: u32,
}

impl Evidence {
    fn new(index: &Index, common: &Common) -> Self {
        let columns = index.column_label.len();
        let mut uses = vec![0; columns];
        for &column in &index.vote_column {
            uses[column as usize] += 1;
        }
        let habit = (0..columns)
            .map(|column| {
                let votes = index.count_of_labeler(index.column_labeler[column] as usize);
                common.habit(
                    usize::from(index.column_label[column]),
                    u64::from(uses[column]),
                    u64::from(votes),
                )
            })
            .collect();
        Self {
            classes: index.classes,
            weight: vec![0; index.labelers],
            truth: vec![0; index.labelers * index.classes],
            own: vec![0; columns],
            joint: vec![0; columns * index.classes],
            peer_items: vec![0; index.labelers],
            peer_agreement: vec![0; index.labelers],
            looked: vec![Looked::default(); index.labelers],
            right: vec![0; index.labelers],
            doubt: vec![0; index.labelers],
            uses,
            habit,
            judged: vec![0; columns],
            trail: vec![Trail::default(); index.labelers],
        }
    }

    /// Notes the label and the gold answer of one vote; items come in order.
    #[inline(always)]
    fn follow(&mut self, labeler: usize, label: u16, gold: Option<u16>) {
        let trail = &mut self.trail[labeler];
        trail.run = if trail.last == Some(label) {
            trail.run + 1
        } else {
            1
        };
        trail.last = Some(label);
        trail.longest_run = trail.longest_run.max(trail.run);
        if let Some(truth) = gold {
            trail.gold_seen += 1;
            trail.gold_right += u32::from(truth == label);
        }
    }

    /// Adds one vote whose item looks like `row` to everybody else.
    #[inline(always)]
    fn add<const K: usize>(&mut self, index: &Index, vote: usize, weight: u64, row: &[u32]) {
        let classes = if K == 0 { self.classes } else { K };
        let column = index.vote_column[vote] as usize;
        self.own[column] += weight;
        let joint = &mut self.joint[column * classes..(column + 1) * classes];
        for (cell, &r) in joint.iter_mut().zip(&row[..classes]) {
            // At most 2^24 votes of weight two and 2^16: nothing wraps.
            *cell = cell.wrapping_add(weight.wrapping_mul(u64::from(r)));
        }
    }

    /// Sums per labeler, from those per column.
    fn sum_columns(&mut self, index: &Index) {
        let columns = self.joint.chunks_exact(self.classes).zip(&self.own);
        for ((joint, &own), &labeler) in columns.zip(&index.column_labeler) {
            let labeler = labeler as usize;
            self.weight[labeler] += own;
            let truth = &mut self.truth[labeler * self.classes..(labeler + 1) * self.classes];
            truth
                .iter_mut()
                .zip(joint)
                .for_each(|(sum, cell)| *sum += cell);
        }
    }

    /// Adds the vote to the evidence of having looked; `counts` are the votes per label on its item.
    #[inline(always)]
    fn look<const K: usize>(
        &mut self,
        index: &Index,
        common: &Common,
        vote: usize,
        (counts, others): (&[u32], u64),
        gold: bool,
        row: &[u32],
    ) {
        let labeler = index.vote_labeler[vote] as usize;
        let column = index.vote_column[vote] as usize;
        let label = usize::from(index.vote_label[vote]);
        self.judged[column] += 1;
        let right = common.add::<K>(
            row,
            gold,
            label,
            (u64::from(counts[label]) - 1, others),
            self.habit[column],
            &mut self.looked[labeler],
        );
        let right = u64::from(right);
        self.right[labeler] += right;
        self.doubt[labeler] += doubt(right);
    }

    /// Gathers the evidence of all votes.
    fn collect<const K: usize, const R: usize>(
        &mut self,
        index: &Index,
        voting: &Voting,
        experts: &[Expert; EXPERTS],
        common: &Common,
    ) {
        let classes = if K == 0 { self.classes } else { K };
        let mut counts = [0u32; R];
        let mut peers = Peers::<R>::new(index, voting, experts);
        let mut row = [0u32; R];
        for item in 0..index.items {
            let votes = index.votes_of_item(item);
            let gold = index.gold[item];
            let counts = &mut counts[..classes];
            counts.fill(0);
            for vote in votes.clone() {
                let label = index.vote_label[vote];
                counts[usize::from(label)] += 1;
                self.follow(index.vote_labeler[vote] as usize, label, gold);
            }
            let others = (votes.len() as u64).saturating_sub(1);
            if let Some(label) = gold {
                row[..classes].fill(0);
                row[usize::from(label)] = ONE;
                for vote in votes {
                    self.add::<K>(index, vote, GOLD_WEIGHT, &row);
                    self.look::<K>(index, common, vote, (counts, others), true, &row);
                }
                continue;
            }
            if votes.len() < 2 {
                continue;
            }
            peers.look_at::<K>(item);
            for vote in votes {
                if !peers.without::<K>(vote, item, &mut row[..classes]) {
                    continue;
                }
                self.add::<K>(index, vote, 1, &row);
                self.look::<K>(index, common, vote, (counts, others), false, &row);
                let labeler = index.vote_labeler[vote] as usize;
                self.peer_items[labeler] += 1;
                self.peer_agreement[labeler] += u64::from(row[usize::from(index.vote_label[vote])]);
            }
        }
    }

    /// W A and W^2 E of the header, Q16.
    fn agreement(&self, columns: &[Column], labeler: usize) -> (i128, i128) {
        let truth = &self.truth[labeler * self.classes..(labeler + 1) * self.classes];
        let (mut agreement, mut expected) = (0, 0);
        for &(column, label) in columns {
            agreement += i128::from(self.joint[column * self.classes + label]);
            expected += i128::from(self.own[column]) * i128::from(truth[label]);
        }
        (agreement, expected)
    }

    /// The skill formula of the header, in parts per million.
    fn skill(&self, columns: &[Column], labeler: usize, prior: GoldPrior) -> i64 {
        let weight = i128::from(self.weight[labeler]);
        let truth = &self.truth[labeler * self.classes..(labeler + 1) * self.classes];
        let (agreement, expected) = self.agreement(columns, labeler);
        // Both sides of the fraction are scaled by W and Q16: with W below 2^26 they stay below 2^69.
        let mut above = weight * agreement - expected;
        let mut below = weight * weight * i128::from(ONE) - expected;
        let carried = u64::from(prior.alpha_milli) + u64::from(prior.beta_milli);
        if carried > 0 && weight > 0 {
            let bound = (PRIOR_VOTES_MAX * 1000).min(self.weight[labeler] * 1000 / PRIOR_SHARE);
            let mass = i128::from(carried.min(bound)) * weight;
            let accuracy = i128::from(prior.alpha_milli) * i128::from(ONE) / i128::from(carried);
            let chance =
                i128::from(truth.iter().copied().max().unwrap_or(0) / self.weight[labeler]);
            above += mass * (accuracy - chance) / 1000;
            below += mass * (i128::from(ONE) - chance) / 1000;
        }
        if below <= 0 {
            return 0;
        }
        (above * PPM / below).clamp(-PPM, PPM) as i64
    }

    /// A 95 % interval of the skill, in parts per million; see the header.
    fn interval(&self, columns: &[Column], labeler: usize, gold_seen: u32) -> (i64, i64) {
        let weight = i128::from(self.weight[labeler]);
        let (agreement, expected) = self.agreement(columns, labeler);
        let below = weight * weight * i128::from(ONE) - expected;
        if below <= 0 {
            return (-PPM as i64, PPM as i64);
        }
        // Votes of equal weight that would tell as much; 3.8416 is the square of 1.96.
        let (gold, peers) = (i128::from(gold_seen), i128::from(self.peer_items[labeler]));
        let squares = peers + gold * i128::from(GOLD_WEIGHT * GOLD_WEIGHT);
        let count = weight * weight * PPM / squares; // in millionths of a vote, positive
        let z = 3_841_600; // in millionths
        let a = (agreement * PPM / (weight * i128::from(ONE))).clamp(0, PPM);
        let spread = z * a * (PPM - a) / count + z * z * PPM / (4 * count) * PPM / count;
        let half = spread.unsigned_abs().isqrt() as i128;
        let middle = a + z * PPM / (2 * count);
        let shrink = PPM + z * PPM / count;
        let chance = expected * PPM / (weight * weight * i128::from(ONE));
        let skill = |bound: i128| {
            let agreement = bound * PPM / shrink;
            ((agreement - chance) * PPM / (PPM - chance).max(1)).clamp(-PPM, PPM) as i64
        };
        (skill(middle - half), skill(middle + half))
    }

    /// One minus the spread between the rows of the habit matrix P(label | class): equal rows mean that an answer says nothing.
    fn spammer(&self, columns: &[Column], labeler: usize) -> u32 {
        let truth = &self.truth[labeler * self.classes..(labeler + 1) * self.classes];
        let strength = HABIT_STRENGTH * u64::from(ONE);
        let mut spread: u128 = 0;
        for &(column, _) in columns {
            let share = u64::from(fixed::ratio(self.own[column], self.weight[labeler]));
            let (mut sum, mut squares) = (0u128, 0u128);
            for (class, &mass) in truth.iter().enumerate() {
                let count = self.joint[column * self.classes + class] + HABIT_STRENGTH * share;
                let p = u128::from(fixed::ratio(count, mass + strength));
                sum += p;
                squares += p * p;
            }
            // n sum(x^2) - (sum x)^2 is the sum over pairs of the squared difference, and never negative.
            spread += self.classes as u128 * squares - sum * sum;
        }
        let pairs = (self.classes * (self.classes - 1)) as u128;
        let ppm = PPM.unsigned_abs();
        (ppm - ((spread * ppm / pairs) >> 32).min(ppm)) as u32
    }
}

/// The variance of an answer that is right with probability `right`, Q16.
#[inline(always)]
pub(super) fn doubt(right: u64) -> u64 {
    (right * (u64::from(ONE) - right)) >> fixed::FRACTION_BITS
}

/// Most votes of an item that is read from the shared table: sums of so many logs, each below 2^22, stay below 2^30.
const SHARED_VOTES_MAX: usize = 255;

/// One item as the experts see it, and as it looks to everybody but one labeler.
struct Peers<'a, const R: usize> {
    index: &'a Index,
    voting: &'a Voting,
    experts: &'a [Expert; EXPERTS],
    /// What a vote says to each expert by the shared tables: per column one row per expert, `classes` entries each.
    shared: Vec<i32>,
    all_steady: bool,
    /// Whether the item's votes are read from `shared`; otherwise from `evidence`.
    steady: bool,
    /// Log posterior from all votes of a steady item, per expert.
    sums: [[i32; R]; EXPERTS],
    less: [[i32; R]; EXPERTS],
    /// Log evidence of each vote, per expert; see [`Expert::evidence_of_item`].
    evidence: [Vec<i64>; EXPERTS],
    /// Log posterior from all votes of another item, per expert.
    all: [[i64; R]; EXPERTS],
    views: [[i64; R]; EXPERTS],
    rest: [i64; R],
}

impl<'a, const R: usize> Peers<'a, R> {
    fn new(index: &'a Index, voting: &'a Voting, experts: &'a [Expert; EXPERTS]) -> Self {
        Self {
            index,
            voting,
            experts,
            shared: shared(index, experts),
            all_steady: index.all_steady(),
            steady: false,
            sums: [[0; R]; EXPERTS],
            less: [[0; R]; EXPERTS],
            evidence: Default::default(),
            all: [[0; R]; EXPERTS],
            views: [[0; R]; EXPERTS],
            rest: [0; R],
        }
    }

    #[inline(always)]
    fn look_at<const K: usize>(&mut self, item: usize) {
        let (index, voting) = (self.index, self.voting);
        let classes = if K == 0 { index.classes } else { K };
        let votes = index.votes_of_item(item);
        // Where nobody's own counts matter, the evidence of a vote is its table entry.
        self.steady = votes.len() <= SHARED_VOTES_MAX
            && voting.rows_of_item(item).is_empty()
            && (self.all_steady
                || index.vote_labeler[votes.clone()]
                    .iter()
                    .all(|&labeler| index.is_steady(labeler)));
        if self.steady {
            for (expert, sums) in self.experts.iter().zip(&mut self.sums) {
                for (sum, &log) in sums[..classes].iter_mut().zip(&expert.class_log) {
                    *sum = log as i32; // below 2^22
                }
            }
            for &column in &index.vote_column[votes] {
                let first = column as usize * EXPERTS * classes;
                let rows = &self.shared[first..first + EXPERTS * classes];
                for (sums, row) in self.sums.iter_mut().zip(rows.chunks_exact(classes)) {
                    for (sum, &value) in sums[..classes].iter_mut().zip(row) {
                        *sum = sum.wrapping_add(value); // see SHARED_VOTES_MAX
                    }
                }
            }
            return;
        }
        for ((expert, all), evidence) in self
            .experts
            .iter()
            .zip(&mut self.all)
            .zip(&mut self.evidence)
        {
            let all = &mut all[..classes];
            expert.evidence_of_item(index, voting, item, all, evidence);
            for vote in evidence.chunks_exact(classes) {
                all.iter_mut()
                    .zip(vote)
                    .for_each(|(sum, value)| *sum += value);
            }
        }
    }

    /// The joint posterior without `vote` and without the votes of its labeler's cluster; says whether anybody else voted.
    #[inline(always)]
    fn without<const K: usize>(&mut self, vote: usize, item: usize, out: &mut [u32]) -> bool {
        let (index, voting) = (self.index, self.voting);
        let classes = if K == 0 { index.classes } else { K };
        let (rest, out) = (&mut self.rest[..classes], &mut out[..classes]);
        if self.steady {
            let first = index.vote_column[vote] as usize * EXPERTS * classes;
            let rows = &self.shared[first..first + EXPERTS * classes];
            for ((less, sums), row) in
                (self.less.iter_mut().zip(&self.sums)).zip(rows.chunks_exact(classes))
            {
                for ((less, &sum), &value) in less[..classes].iter_mut().zip(sums).zip(row) {
                    *less = sum.wrapping_sub(value); // as added
                }
            }
            median_narrow(self.less.each_ref().map(|logs| &logs[..classes]), rest);
            fixed::normalise(rest, out);
            return true;
        }
        let votes = index.votes_of_item(item);
        let own = voting.cluster_of(index.vote_labeler[vote]);
        let left_out = |other: usize| {
            other == vote || (own.is_some() && voting.cluster_of(index.vote_labeler[other]) == own)
        };
        // Outside clusters only the vote itself is left out, so items with many votes stay cheap.
        let group = if own.is_some() {
            votes.clone()
        } else {
            vote..vote + 1
        };
        if group.len() == votes.len() && votes.clone().all(left_out) {
            return false;
        }
        for ((all, evidence), view) in self.all.iter().zip(&self.evidence).zip(&mut self.views) {
            let view = &mut view[..classes];
            view.copy_from_slice(&all[..classes]);
            for other in group.clone().filter(|&other| left_out(other)) {
                let first = (other - votes.start) * classes;
                let removed = &evidence[first..first + classes];
                view.iter_mut()
                    .zip(removed)
                    .for_each(|(sum, value)| *sum -= value);
            }
        }
        joint_odds(
            self.views.each_ref().map(|logs| &logs[..classes]),
            rest,
            out,
        );
        true
    }
}

/// The tables of all experts side by side; empty when no labeler is steady.
fn shared(index: &Index, experts: &[Expert; EXPERTS]) -> Vec<i32> {
    if !(0..index.labelers as u32).any(|labeler| index.is_steady(labeler)) {
        return Vec::new();
    }
    let classes = index.classes;
    let [first, second, third] = experts;
    let logs = first.column_log.chunks_exact(classes);
    let mut shared = Vec::with_capacity(EXPERTS * first.column_log.len());
    for (column, (a, b)) in logs
        .zip(second.column_log.chunks_exact(classes))
        .enumerate()
    {
        let label = usize::from(index.column_label[column]);
        let gain = third.gain[index.column_labeler[column] as usize];
        shared.extend_from_slice(a);
        shared.extend_from_slice(b);
        // The gain is below 2^22, like any log.
        shared.extend((0..classes).map(|class| if class == label { gain as i32 } else { 0 }));
    }
    shared
}

/// What was found out about labelers before they are judged; one entry per labeler each.
pub(super) struct Known<'a> {
    pub priors: &'a [GoldPrior],
    /// Evidence of the pair test, Q16 bits.
    pub copy_bits: &'a [i64],
    /// Answer times; empty when there are none.
    pub paces: &'a [Option<Pace>],
}

/// Judges every labeler.
pub(super) fn judge(
    index: &Index,
    voting: &Voting,
    experts: &[Expert; EXPERTS],
    known: &Known<'_>,
) -> Vec<LabelerResult> {
    let common = Common::new(index, &experts[0]);
    let evidence = gather(index, voting, experts, &common);
    let mut columns = Vec::new();
    (0..index.labelers)
        .map(|labeler| {
            columns.clear();
            columns.extend(columns_of(index, labeler));
            conclude(&evidence, &columns, labeler, voting, &common, known)
        })
        .collect()
}

/// The evidence of all votes.
pub(super) fn gather(
    index: &Index,
    voting: &Voting,
    experts: &[Expert; EXPERTS],
    common: &Common,
) -> Evidence {
    let mut evidence = Evidence::new(index, common);
    by_classes!(
        index.classes,
        collect(&mut evidence, index, voting, experts, common)
    );
    evidence.sum_columns(index);
    evidence
}

/// Number and label of a column.
pub(super) type Column = (usize, usize);

/// Columns of a labeler, by label.
pub(super) fn columns_of(index: &Index, labeler: usize) -> impl Iterator<Item = Column> + '_ {
    let columns = index.columns_of_labeler(labeler);
    columns.map(|column| (column, usize::from(index.column_label[column])))
}

/// What follows from the evidence about one labeler; `columns` are all of this labeler's, in any order.
pub(super) fn conclude(
    evidence: &Evidence,
    columns: &[Column],
    labeler: usize,
    voting: &Voting,
    common: &Common,
    known: &Known<'_>,
) -> LabelerResult {
    let crowd_entropy = entropy(common.shares().iter().map(|&share| u64::from(share)));
    let milli = |bits: i64| (i128::from(bits) * 1_000 / i128::from(ONE)) as i64;
    let judged = columns
        .iter()
        .map(|&(column, label)| (label, u64::from(evidence.judged[column])));
    let looked = evidence.looked[labeler].iter().max();
    let uses = columns
        .iter()
        .map(|&(column, _)| u64::from(evidence.uses[column]));
    let own = entropy(uses.clone());
    let mut result = LabelerResult {
        votes: uses.sum::<u64>() as u32, // at most 2^24 votes in all
        skill_ppm: evidence.skill(
            columns,
            labeler,
            known.priors.get(labeler).copied().unwrap_or_default(),
        ),
        spammer_ppm: evidence.spammer(columns, labeler),
        looked_mbits: milli(looked.copied().unwrap_or(0) - common.blind(judged.clone())),
        copy_mbits: milli(known.copy_bits[labeler]).clamp(0, i64::from(u32::MAX)) as u32,
        entropy_mbits: milli(own - crowd_entropy) as i32,
        margin_milli: margin_milli(
            judged.clone().map(|(_, count)| count).sum(),
            evidence.classes as u64,
            evidence.right[labeler],
            evidence.doubt[labeler],
        ),
        pace: known.paces.get(labeler).copied().flatten(),
        cluster: voting.cluster_of(labeler as u32),
        ..LabelerResult::default()
    };
    let trail = evidence.trail[labeler];
    result.longest_run = trail.longest_run;
    result.gold_seen = trail.gold_seen;
    result.gold_right = trail.gold_right;
    if evidence.peer_items[labeler] > 0 {
        let sum = u128::from(evidence.peer_agreement[labeler]) * PPM.unsigned_abs();
        result.agreement_ppm =
            ((sum / u128::from(evidence.peer_items[labeler])) >> fixed::FRACTION_BITS) as u32;
    }
    let (low, high) = evidence.interval(columns, labeler, result.gold_seen);
    // Reputation may carry the skill beyond what the wave alone allows; the interval then reaches to it.
    result.skill_low_ppm = low.min(result.skill_ppm);
    result.skill_high_ppm = high.max(result.skill_ppm);
    result.fraud_ppm = fraud::score(&result);
    result.flag = fraud::flag(&result);
    result
}

/// See [`Evidence::collect`].
fn collect<const K: usize, const R: usize>(
    evidence: &mut Evidence,
    index: &Index,
    voting: &Voting,
    experts: &[Expert; EXPERTS],
    common: &Common,
) {
    evidence.collect::<K, R>(index, voting, experts, common);
}

/// Shannon entropy of counts, Q16 bits.
fn entropy(counts: impl Iterator<Item = u64> + Clone) -> i64 {
    let total: u64 = counts.clone().sum();
    let one = u64::from(ONE);
    counts
        .map(|count| u64::from(fixed::ratio(count, total)))
        .filter(|&share| share > 0)
        .map(|share| (share as i64 * (log2(one) - log2(share))) >> fixed::FRACTION_BITS)
        .sum()
}
