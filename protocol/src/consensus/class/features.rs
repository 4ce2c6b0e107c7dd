//! The evidence that a labeler looked at the items, vote by vote.
//!
//! Every labeler is read under two explanations. *Looked*: on a share `t` of the items the labeler answers like the crowd does on this very
//! item, and by habit on the rest. *Blind*: the labels do not depend on the items.
//!
//! ```text
//! P(label | crowd)  = (others here with the same label + s sum over k of r(k) C(label | k)) / (others here + s)
//! P(label | habit)  = (own other uses of the label + h M(label)) / (own other votes + h)
//! looked            = max over t of  sum over votes of log2( t P(label | crowd) + (1 - t) P(label | habit) )
//! blind             = log2 of the best of: even draws, draws by M, one label with few slips, any habit (Dirichlet, 1/2 per label)
//! evidence          = looked - blind
//! ```
//!
//! with `r` the posterior of the item without this labeler, `C` the crowd's common confusions and `M` the crowd's label shares. A wrong
//! answer weighs little where the others are split and much where they are unanimous: this separates a weak but honest labeler from a guesser with
//! as many errors. A habit that is not known beforehand has to be learnt from the answers (the Dirichlet term), which costs a guesser nothing
//! and protects a labeler who happened to get one-sided items. A generalised likelihood-ratio test; the crowd that errs per item is ours.
//!
//! What it does not do: it neither pays nor flags; it cannot tell copies from originals.
//! Invariants: integers only; each summand lies within 64 bits either way, so a sum over 2^24 votes stays far below 2^63.

use super::model::Expert;
use super::votes::Index;
use crate::consensus::fixed::{self, FRACTION_BITS, ONE, log2};

/// Strength of the model's prediction against the shares of the others on the item, in votes.
pub(super) const LOOK_STRENGTH: u64 = 4;
/// The same where the truth is known, in votes.
pub(super) const LOOK_STRENGTH_GOLD: u64 = 8;
/// Strength of the crowd's label shares in a labeler's habit, in votes.
pub(super) const HABIT_VOTES: u64 = 2;

/// Shares of items that a labeler may have looked at, in sixteenths.
pub(super) const LOOKED_SHARES: [u64; 5] = [1, 3, 6, 10, 15];
/// log2 of sixteen as a Q16 number, in Q16 bits.
const SIXTEEN_Q16_LOG: i64 = 20 << FRACTION_BITS;
/// A labeler with one favourite label slips once in two to this power.
pub(super) const SLIP_BITS: i64 = 5;
/// Entries kept of each running sum of logarithms, in votes: more are added up when needed.
const RUNNING_MAX: usize = 4_096;

/// Log-likelihood of one labeler's answers for each entry of [`LOOKED_SHARES`], Q16 bits.
pub(super) type Looked = [i64; LOOKED_SHARES.len()];

/// What the crowd has in common.
pub(super) struct Common {
    classes: usize,
    /// P(label | class), Q16, `classes` per class.
    confusion: Vec<u32>,
    /// Label shares, Q16.
    share: Vec<u32>,
    /// Sums over `seen` below the position of log2(2 seen + 1) and of log2(2 seen + classes), Q16 bits; at least one entry each.
    running: [Vec<i64>; 2],
}

impl Common {
    /// From the matrix expert: every labeler counts with the number of their votes.
    pub fn new(index: &Index, expert: &Expert) -> Self {
        let classes = index.classes;
        let mut sums = vec![1u64; classes * classes];
        let mut share = vec![1u64; classes];
        for labeler in 0..index.labelers {
            let votes = index.votes_of_labeler(labeler).len() as u64;
            for column in index.columns_of_labeler(labeler) {
                let label = usize::from(index.column_label[column]);
                for class in 0..classes {
                    // At most 2^24 votes of 2^16 each.
                    sums[class * classes + label] +=
                        votes * u64::from(expert.column_probability(column, class));
                }
            }
        }
        for &label in &index.vote_label {
            share[usize::from(label)] += 1;
        }
        let mut confusion = Vec::with_capacity(sums.len());
        for row in sums.chunks_exact(classes) {
            let total = row.iter().sum();
            confusion.extend(row.iter().map(|&sum| fixed::ratio(sum, total)));
        }
        let total = share.iter().sum();
        let most = (0..index.labelers).map(|labeler| index.votes_of_labeler(labeler).len());
        let most = most.max().unwrap_or(0).min(RUNNING_MAX);
        Self {
            classes,
            running: [1, classes as u64].map(|first| running(first, most)),
            confusion,
            share: share
                .iter()
                .map(|&count| fixed::ratio(count, total))
                .collect(),
        }
    }

    /// Label shares of the crowd, Q16.
    pub fn shares(&self) -> &[u32] {
        &self.share
    }

    /// P(label) of somebody who looks at an item that has posterior `row`, Q16.
    #[inline(always)]
    fn look<const K: usize>(&self, row: &[u32], label: usize) -> u64 {
        let classes = if K == 0 { self.classes } else { K };
        row[..classes]
            .iter()
            .enumerate()
            .map(|(class, &r)| u64::from(r) * u64::from(self.confusion[class * classes + label]))
            .sum::<u64>()
            >> FRACTION_BITS
    }

    /// P(label) by habit of a labeler who gave `label` another `uses` - 1 times in `votes` - 1 other votes, Q16, positive.
    pub fn habit(&self, label: usize, uses: u64, votes: u64) -> u32 {
        let habit = ((uses - 1) * u64::from(ONE) + HABIT_VOTES * u64::from(self.share[label]))
            / (votes - 1 + HABIT_VOTES);
        habit.max(1) as u32 // at most one
    }

    /// Adds one vote to `into`: `same` of `others` on the item gave `label`, and the labeler gives it with P = `habit` ([`Common::habit`]).
    #[inline(always)]
    pub fn add<const K: usize>(
        &self,
        row: &[u32],
        gold: bool,
        label: usize,
        (same, others): (u64, u64),
        habit: u32,
        into: &mut Looked,
    ) {
        let one = u64::from(ONE);
        let strength = if gold {
            LOOK_STRENGTH_GOLD
        } else {
            LOOK_STRENGTH
        };
        // Below 2^24 votes of 2^16 each; the quotient is a Q16 number up to one.
        let crowd = (same * one + strength * self.look::<K>(row, label)) / (others + strength);
        let (crowd, habit) = (crowd.max(1), u64::from(habit));
        for (slot, share) in into.iter_mut().zip(LOOKED_SHARES) {
            *slot += log2(share * crowd + (16 - share) * habit) - SIXTEEN_Q16_LOG;
        }
    }

    /// log2 P(answers) of the best explanation without a look at the items, Q16 bits; `uses` are (label, times given).
    pub fn blind(&self, uses: impl Iterator<Item = (usize, u64)> + Clone) -> i64 {
        let classes = self.classes as u64;
        let votes: u64 = uses.clone().map(|(_, count)| count).sum();
        let top = uses.clone().map(|(_, count)| count).max().unwrap_or(0);
        let bit = i64::from(ONE);
        let even = -(votes as i64) * log2(classes);
        let common: i64 = uses
            .clone()
            .map(|(label, count)| {
                count as i64
                    * (log2(u64::from(self.share[label]).max(1)) - i64::from(FRACTION_BITS) * bit)
            })
            .sum();
        let constant = top as i64 * (log2((1 << SLIP_BITS) - 1) - SLIP_BITS * bit)
            - (votes - top) as i64 * (SLIP_BITS * bit + log2(classes - 1))
            - log2(classes);
        let [labels, all] = &self.running;
        let learnt: i64 = uses.map(|(_, count)| learnt(labels, 1, count)).sum();
        let learnt = learnt - self::learnt(all, classes, votes);
        even.max(common).max(constant).max(learnt)
    }
}

/// The sums over `seen` below 0, 1, up to `most` of log2(2 `seen` + `first`).
fn running(first: u64, most: usize) -> Vec<i64> {
    let mut sums = vec![0; most + 1];
    for seen in 0..most {
        sums[seen + 1] = sums[seen] + log2(2 * seen as u64 + first);
    }
    sums
}

/// The sum over `seen` below `count` of log2(2 `seen` + `first`), from as many sums as there are.
fn learnt(sums: &[i64], first: u64, count: u64) -> i64 {
    let known = (sums.len() as u64 - 1).min(count);
    let rest = (known..count).map(|seen| log2(2 * seen + first));
    sums[known as usize] + rest.sum::<i64>()
}
