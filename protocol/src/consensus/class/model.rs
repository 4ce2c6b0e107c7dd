//! Three small label models ("experts") fitted by expectation maximisation, and the blend of their posteriors.
//!
//! What for: no single model is best on every crowd. Confusion matrices win where labelers have systematic habits, a single skill per
//! labeler wins where votes are few, and an estimated class prior helps on skewed data but misleads when the crowd is biased. Three
//! experts with fixed parameters, averaged, stay close to the best of the three on every real set measured.
//!
//! | expert | labeler | class weights |
//! |---|---|---|
//! | 0 | confusion matrix | estimated |
//! | 1 | confusion matrix | equal |
//! | 2 | one skill | equal |
//!
//! A labeler's matrix row is drawn towards a few pseudo-votes of a pooled row: the labeler's own accuracy (itself drawn towards the
//! crowd's) on the diagonal, and the crowd's common confusions off it. Many votes give a full Dawid-Skene matrix, few votes give a
//! one-skill model with the crowd's typical mistakes.
//!
//! ```text
//! start: vote shares -> [ maximise: counts, then log-likelihood tables -> expect: posteriors ] until still or ROUNDS_MAX -> blend
//! ```
//!
//! What it does not do: it does not read votes of a collusion cluster as independent (weights come from outside), and judges no labeler.
//! Invariants: gold rows stay one-hot; from the first round on every row sums to one exactly; a log is below 2^22 in size and an item has
//! at most 2^20 votes, so sums of logs stay below 2^43 and nothing wraps.

use super::counts::Counts;
use super::votes::Index;
use super::voting::Voting;
use crate::consensus::fixed::{self, ONE, log2, normalise};

/// Most rounds of one expert, in rounds.
pub(super) const ROUNDS_MAX: u32 = 24;
/// A fit is still when posterior rows moved by no more than this on average, in Q16 steps.
pub(super) const STILL_Q16: u64 = 64;
/// Experts in the blend, in experts.
pub(super) const EXPERTS: usize = 3;

/// How one expert describes labelers and classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// A confusion matrix per labeler, or else one skill.
    pub matrix: bool,
    /// Class weights estimated from the posteriors, or else equal.
    pub class_prior: bool,
}

/// The blend, in order; part of the algorithm id.
pub(super) const SHAPES: [Shape; EXPERTS] = [
    Shape {
        matrix: true,
        class_prior: true,
    },
    Shape {
        matrix: true,
        class_prior: false,
    },
    Shape {
        matrix: false,
        class_prior: false,
    },
];

/// One fitted expert.
pub(super) struct Expert {
    shape: Shape,
    classes: usize,
    /// Posteriors, Q16, `classes` per item.
    pub posterior: Vec<u32>,
    /// Posteriors of items as seen without one cluster, `classes` per extra row; all zero where nobody else voted.
    without: Vec<u32>,
    /// Log2 of the class weights, Q16.
    class_log: Vec<i64>,
    /// Matrix: log2 P(label of the column | class), Q16, `classes` per column.
    column_log: Vec<i32>,
    /// One skill: log2 of the odds of a right answer over one given wrong answer, Q16, per labeler.
    gain: Vec<i64>,
    /// Counts gathered from the final posteriors.
    counts: Counts,
    /// Items per class in the final posteriors with one pseudo-item each, Q16.
    class_mass: Vec<u64>,
    /// Rounds used.
    pub rounds: u32,
}

impl Expert {
    /// Fits one expert to the votes.
    pub fn fit(index: &Index, voting: &Voting, shape: Shape) -> Self {
        let classes = index.classes;
        let mut expert = Self {
            shape,
            classes,
            posterior: vec![0; index.items * classes],
            without: vec![0; voting.row_count() * classes],
            class_log: vec![0; classes],
            column_log: if shape.matrix {
                vec![0; index.column_label.len() * classes]
            } else {
                Vec::new()
            },
            gain: if shape.matrix {
                Vec::new()
            } else {
                vec![0; index.labelers]
            },
            counts: Counts::new(index, shape),
            class_mass: vec![0; classes],
            rounds: 0,
        };
        expert.start(index, voting);
        loop {
            expert.count(index, voting);
            if expert.rounds == ROUNDS_MAX {
                break;
            }
            expert.rounds += 1;
            if shape.matrix {
                expert.counts.column_logs(index, &mut expert.column_log);
            } else {
                expert.counts.gains(&mut expert.gain);
            }
            if shape.class_prior {
                expert.class_weights();
            }
            if expert.expect(index, voting) <= STILL_Q16 * index.items as u64 {
                expert.count(index, voting);
                break;
            }
        }
        expert
    }

    /// Starts from vote shares: no assumption about anybody.
    fn start(&mut self, index: &Index, voting: &Voting) {
        let classes = self.classes;
        let mut share = vec![0u64; classes];
        for item in 0..index.items {
            let votes = index.votes_of_item(item);
            let out = &mut self.posterior[item * classes..(item + 1) * classes];
            shares(index, voting, votes.clone(), None, &mut share, out);
            if let Some(label) = index.gold[item] {
                one_hot(out, label);
            }
            for row in voting.rows_of_item(item) {
                let out = &mut self.without[row * classes..(row + 1) * classes];
                if let Some(label) = index.gold[item] {
                    one_hot(out, label);
                } else {
                    shares(
                        index,
                        voting,
                        votes.clone(),
                        Some(voting.cluster_of_row(row)),
                        &mut share,
                        out,
                    );
                }
            }
        }
    }

    /// Gathers labeler counts and class masses from the current posteriors; each class gets one pseudo-item.
    fn count(&mut self, index: &Index, voting: &Voting) {
        self.counts
            .collect(index, voting, &self.posterior, &self.without);
        self.class_mass.fill(u64::from(ONE));
        for row in self.posterior.chunks_exact(self.classes) {
            for (sum, &q) in self.class_mass.iter_mut().zip(row) {
                *sum += u64::from(q);
            }
        }
    }

    /// Class weights from the class masses.
    fn class_weights(&mut self) {
        let total = log2(self.class_mass.iter().sum());
        for (slot, &mass) in self.class_log.iter_mut().zip(&self.class_mass) {
            *slot = log2(mass) - total;
        }
    }

    /// Recomputes all posteriors; returns the sum of all movements, in Q16 steps.
    fn expect(&mut self, index: &Index, voting: &Voting) -> u64 {
        let classes = self.classes;
        let mut logs = vec![0i64; classes];
        let mut scratch = vec![0i64; classes];
        let mut fresh = vec![0u32; classes];
        let mut moved = 0u64;
        for item in 0..index.items {
            if index.gold[item].is_some() {
                continue;
            }
            logs.copy_from_slice(&self.class_log);
            for vote in index.votes_of_item(item) {
                self.add_vote(index, voting, vote, 1, &mut logs);
            }
            for row in voting.rows_of_item(item) {
                let others = self.subtract(
                    index,
                    voting,
                    item,
                    voting.cluster_of_row(row),
                    &logs,
                    &mut scratch,
                );
                let out = &mut self.without[row * classes..(row + 1) * classes];
                if others {
                    normalise(&mut scratch, out)
                } else {
                    out.fill(0)
                }
            }
            normalise(&mut logs, &mut fresh);
            for (old, &new) in self.posterior[item * classes..(item + 1) * classes]
                .iter_mut()
                .zip(&fresh)
            {
                moved += u64::from(old.abs_diff(new));
                *old = new;
            }
        }
        moved
    }

    /// Puts `logs` without the votes of one cluster into `out`; says whether anybody else voted.
    fn subtract(
        &self,
        index: &Index,
        voting: &Voting,
        item: usize,
        own: u32,
        logs: &[i64],
        out: &mut [i64],
    ) -> bool {
        out.copy_from_slice(logs);
        let mut others = false;
        for vote in index.votes_of_item(item) {
            if voting.cluster_of(index.vote_labeler[vote]) == Some(own) {
                self.add_vote(index, voting, vote, -1, out);
            } else {
                others = true;
            }
        }
        others
    }

    /// Adds (`sign` 1) or removes (`sign` -1) the weighted evidence of one vote.
    #[inline]
    fn add_vote(&self, index: &Index, voting: &Voting, vote: usize, sign: i64, logs: &mut [i64]) {
        let weight = i64::from(voting.weight[vote]) * sign;
        if self.shape.matrix {
            let first = index.vote_column[vote] as usize * self.classes;
            let column = &self.column_log[first..first + self.classes];
            if weight == i64::from(ONE) {
                for (sum, &value) in logs.iter_mut().zip(column) {
                    *sum = sum.wrapping_add(i64::from(value)); // below 2^43, see the header: the check would only cost speed
                }
            } else {
                for (sum, &value) in logs.iter_mut().zip(column) {
                    // Truncation towards zero is odd, so removing a vote undoes adding it exactly.
                    *sum += i64::from(value) * weight / i64::from(ONE);
                }
            }
        } else {
            let gain = self.gain[index.vote_labeler[vote] as usize];
            let evidence = if weight == i64::from(ONE) {
                gain
            } else {
                gain * weight / i64::from(ONE)
            };
            logs[usize::from(index.vote_label[vote])] += evidence;
        }
    }

    /// What each vote of an item says by itself, given only what the **other** items tell about its labeler: Q16 log evidence,
    /// `classes` entries per vote in `evidence`; the class weights without this item go to `prior`.
    ///
    /// Taking the item out of the counts matters when votes are few: otherwise a vote would pull the posterior of its item, the
    /// posterior would credit those who agree, and their credit would confirm the vote.
    pub fn evidence_of_item(
        &self,
        index: &Index,
        voting: &Voting,
        item: usize,
        prior: &mut [i64],
        evidence: &mut Vec<i64>,
    ) {
        let classes = self.classes;
        let row = &self.posterior[item * classes..(item + 1) * classes];
        if self.shape.class_prior {
            for ((slot, &mass), &q) in prior.iter_mut().zip(&self.class_mass).zip(row) {
                *slot = log2(mass - u64::from(q));
            }
        } else {
            prior.fill(0);
        }
        evidence.clear();
        for vote in index.votes_of_item(item) {
            let lesson = voting.lesson(vote, row, &self.without, classes);
            let first = evidence.len();
            evidence.resize(first + classes, 0);
            self.counts
                .evidence(index, vote, lesson, &mut evidence[first..]);
            let weight = i64::from(voting.weight[vote]);
            if weight != i64::from(ONE) {
                evidence[first..]
                    .iter_mut()
                    .for_each(|value| *value = *value * weight / i64::from(ONE));
            }
        }
    }

    /// P(label of the column | class) in Q16, for a matrix expert.
    pub fn column_probability(&self, column: usize, class: usize) -> u32 {
        (fixed::exp2_q30(i64::from(self.column_log[column * self.classes + class])) >> 14) as u32
    }
}

fn one_hot(row: &mut [u32], label: u16) {
    row.fill(0);
    row[usize::from(label)] = ONE;
}

/// Weighted vote shares of an item, leaving out one cluster; all zero when a cluster leaves nobody, equal when nobody voted at all.
fn shares(
    index: &Index,
    voting: &Voting,
    votes: std::ops::Range<usize>,
    leave_out: Option<u32>,
    share: &mut [u64],
    out: &mut [u32],
) {
    share.fill(0);
    let mut total = 0;
    for vote in votes {
        if leave_out.is_some() && voting.cluster_of(index.vote_labeler[vote]) == leave_out {
            continue;
        }
        share[usize::from(index.vote_label[vote])] += u64::from(voting.weight[vote]);
        total += u64::from(voting.weight[vote]);
    }
    if total == 0 && leave_out.is_none() {
        share.fill(1);
        total = share.len() as u64;
    }
    for (slot, &part) in out.iter_mut().zip(share.iter()) {
        *slot = fixed::ratio(part, total);
    }
}

/// The average of the experts' rows, Q16, summing to one exactly: the remainder of the division goes to the largest entry.
pub(super) fn blend(rows: [&[u32]; EXPERTS], out: &mut [u32]) {
    let mut left = ONE;
    let mut best = 0;
    for class in 0..out.len() {
        let sum: u32 = rows.iter().map(|row| row[class]).sum();
        out[class] = sum / EXPERTS as u32;
        left = left.saturating_sub(out[class]);
        if out[class] > out[best] {
            best = class;
        }
    }
    if let Some(slot) = out.get_mut(best) {
        *slot += left;
    }
}
