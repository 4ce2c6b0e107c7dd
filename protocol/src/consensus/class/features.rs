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
//! A second reading asks how many answers are right. An answer is right with probability
//!
//! ```text
//! pi     = r(label) C(label | label) / sum over k of r(k) C(label | k)
//! margin = (sum pi - ceil(n (1/K + 2/5 (1 - 1/K))) + 1/2) / sqrt(sum pi (1 - pi) + 1/20)
//! ```
//!
//! over `n` answers in K classes: by how many standard deviations the right answers exceed what honest work needs, two fifths of the way from
//! chance to perfect. It is the normal approximation (with continuity correction) of a sum of unequal coins; a twentieth of a vote
//! keeps the margin finite where every answer is certain. Both sums can be taken back vote by vote, which an exact tail cannot.
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
/// Part of the way from chance to perfect that honest work goes at least, in fifths.
pub(super) const HONEST_FIFTHS: u64 = 2;
/// Variance of the number of right answers where nothing is in doubt, Q16.
pub(super) const MARGIN_VARIANCE: u64 = ONE as u64 / 20;
/// Largest margin either way, in thousandths of a standard deviation.
pub(super) const MARGIN_MILLI_MAX: i64 = 64_000;
/// log2 of sixteen as a Q16 number, in Q16 bits.
const SIXTEEN_Q16_LOG: i64 = 20 << FRACTION_BITS;
/// A labeler with one favourite label slips once in two to this power.
pub(super) const SLIP_BITS: i64 = 5;

/// Log-likelihood of one labeler's answers for each entry of [`LOOKED_SHARES`], Q16 bits.
pub(super) type Looked = [i64; LOOKED_SHARES.len()];

/// What the crowd has in common.
pub(super) struct Common {
    classes: usize,
    /// P(label | class), Q16, `classes` per class.
    confusion: Vec<u32>,
    /// Label shares, Q16.
    share: Vec<u32>,
    /// Sums over earlier uses of a label, and over earlier votes, for a habit that is learnt from the answers.
    own_label: LogSums,
    all_votes: LogSums,
}

/// Sums of log2(2 s + offset) over s = 0, 1, ..., Q16 bits; the first few are kept.
struct LogSums {
    offset: u64,
    first: Vec<i64>,
}

impl LogSums {
    /// Sums that are kept, in summands.
    const KEPT: u64 = 1 << 12;

    /// Sums that serve up to `most` summands well.
    fn new(offset: u64, most: u64) -> Self {
        let mut first = Vec::with_capacity(most.min(Self::KEPT) as usize + 1);
        let mut total = 0;
        first.push(total);
        for seen in 0..most.min(Self::KEPT) {
            total += log2(2 * seen + offset);
            first.push(total);
        }
        Self { offset, first }
    }

    fn sum(&self, count: u64) -> i64 {
        let kept = count.min(self.first.len() as u64 - 1);
        let rest = (kept..count).map(|seen| log2(2 * seen + self.offset));
        self.first[kept as usize] + rest.sum::<i64>()
    }
}

impl Common {
    /// From the matrix expert: every labeler counts with the number of their votes.
    pub fn new(index: &Index, expert: &Expert) -> Self {
        let classes = index.classes;
        let mut sums = vec![1u64; classes * classes];
        let mut share = vec![1u64; classes];
        for labeler in 0..index.labelers {
            let votes = u64::from(index.count_of_labeler(labeler));
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
        let counts = (0..index.labelers).map(|labeler| index.count_of_labeler(labeler));
        let most = u64::from(counts.max().unwrap_or(0));
        Self {
            classes,
            own_label: LogSums::new(1, most),
            all_votes: LogSums::new(classes as u64, most),
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

    /// P(label) of somebody who looks at an item that has posterior `row`: sum over k of r(k) C(label | k), Q32.
    #[inline(always)]
    fn given<const K: usize>(&self, row: &[u32], label: usize) -> u64 {
        let classes = if K == 0 { self.classes } else { K };
        let column = self.confusion[label..].iter().step_by(classes);
        row[..classes]
            .iter()
            .zip(column)
            .fold(0u64, |sum, (&r, &c)| {
                sum.wrapping_add(u64::from(r) * u64::from(c)) // at most 2^8 products of at most 2^32
            })
    }

    /// P(label) by habit of a labeler who gave `label` another `uses` - 1 times in `votes` - 1 other votes, Q16, positive.
    pub fn habit(&self, label: usize, uses: u64, votes: u64) -> u32 {
        let habit = ((uses - 1) * u64::from(ONE) + HABIT_VOTES * u64::from(self.share[label]))
            / (votes - 1 + HABIT_VOTES);
        habit.max(1) as u32 // at most one
    }

    /// Adds one vote to `into` and gives P(it is right), Q16, as said by the crowd's confusions: `same` of `others` on the item gave `label`, and the labeler gives it with P = `habit` ([`Common::habit`]).
    #[inline(always)]
    pub fn add<const K: usize>(
        &self,
        row: &[u32],
        gold: bool,
        label: usize,
        (same, others): (u64, u64),
        habit: u32,
        into: &mut Looked,
    ) -> u32 {
        let one = u64::from(ONE);
        let strength = if gold {
            LOOK_STRENGTH_GOLD
        } else {
            LOOK_STRENGTH
        };
        let given = self.given::<K>(row, label);
        // Below 2^24 votes of 2^16 each; the quotient is a Q16 number up to one.
        let crowd = (same * one + strength * (given >> FRACTION_BITS)) / (others + strength);
        let (crowd, habit) = (crowd.max(1), u64::from(habit));
        for (slot, share) in into.iter_mut().zip(LOOKED_SHARES) {
            *slot += log2(share * crowd + (16 - share) * habit) - SIXTEEN_Q16_LOG;
        }
        let classes = if K == 0 { self.classes } else { K };
        let own = u64::from(row[label]) * u64::from(self.confusion[label * classes + label]);
        fixed::ratio(own, given)
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
        let mut learnt = -self.all_votes.sum(votes);
        for (_, count) in uses {
            learnt += self.own_label.sum(count);
        }
        even.max(common).max(constant).max(learnt)
    }
}

/// The margin of the header in thousandths, of `votes` answers in `classes` classes; `right` and `doubt` are the sums of pi and of
/// pi (1 - pi), Q16. Zero without answers.
pub(super) fn margin_milli(votes: u64, classes: u64, right: u64, doubt: u64) -> i32 {
    if votes == 0 {
        return 0;
    }
    // At most 2^24 votes: the sums stay below 2^40, the radicand below 2^57, the quotient's numerator below 2^51.
    let needed = (votes * (5 + HONEST_FIFTHS * (classes - 1))).div_ceil(5 * classes);
    let one = u64::from(ONE);
    let above = (right + one / 2) as i64 - (needed * one) as i64;
    let deviation = ((doubt + MARGIN_VARIANCE) << FRACTION_BITS).isqrt() as i64;
    (above * 1_000 / deviation).clamp(-MARGIN_MILLI_MAX, MARGIN_MILLI_MAX) as i32
}
