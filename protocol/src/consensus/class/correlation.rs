//! How far the votes on an item share their errors, estimated from the votes of the task.
//!
//! What for: the calibration in `verdict` counts `n` correlated votes as fewer. How many fewer depends on the crowd: where items differ in
//! difficulty or mislead several labelers alike, votes on an item are right together and wrong together; simulated labelers who err
//! independently need no discount at all.
//!
//! The statistic is the intraclass correlation of being right, over pairs of votes on an item (Ridout, Demetrio and Firth 1999 compare its
//! relatives). With `p` the share of right votes of a voter on items of a class (of the first matrix expert), `x` one for a vote for it and
//! zero for another, and the mean over the posterior of the item's class:
//!
//! ```text
//! excess = sum over items, pairs i != j of  E[(x_i - p_i)(x_j - p_j)]  /  sum of E[sd_i sd_j],     sd^2 = p (1 - p)
//! ```
//!
//! If the model holds, every summand has mean zero, however few the votes. The posterior is the sharp one with one part in [`SPREAD`]
//! spread evenly: with many classes and few votes little else could show shared errors.
//!
//! The excess is in the first place a **test**: a shared mistake of most voters becomes the inferred class and hides, so the excess of real
//! crowds lies far below the correlation that calibrates them. It does tell real crowds from independent ones: 21 recorded ones show 0.003 to
//! 0.16, simulated ones without shared errors -0.07 to 0.0035, and once 0.0045. So most of the discount is a constant,
//! [`STEP_Q16`] per class beyond the first, from an excess of [`FULL_EXCESS_Q16`] on, and nothing up to [`FREE_EXCESS_Q16`]; crowds that show
//! more also need more, which the term `excess x` [`SLOPE_TENTHS`] `/ 10` follows. [`DOUBT_PAIRS`] pairs that show [`FULL_EXCESS_Q16`] keep
//! tasks with few votes on the careful side: the excess of independent votes scatters by one part in the root of their pairs, so 1,500 items
//! with five votes often cannot show that there is nothing to doubt, and 20,000 can.
//!
//! What it does not do: votes of the members of a collusion cluster are left out.
//! Invariants: an item has at most 2^20 votes, so a summand stays below 2^88 and the sums over 2^24 items below 2^112 in an `i128`.

use super::model::{EXPERTS, Expert, stride};
use super::verdict::sharp;
use super::votes::Index;
use super::voting::Voting;
use crate::consensus::fixed::ONE;

/// Correlation of the votes on an item per class beyond the first where errors are shared, before what the excess adds, Q16: 0.22.
pub(super) const STEP_Q16: u32 = 14_418;
/// One item in this many is taken to be of any class, in items.
pub(super) const SPREAD: u32 = 2_000;
/// Excess up to which errors are taken to be independent, Q16: 0.003.
pub(super) const FREE_EXCESS_Q16: u32 = 197;
/// Excess at which errors are taken to be shared, Q16: 0.0039.
pub(super) const FULL_EXCESS_Q16: u32 = 256;
/// Excess from which that is certain, Q16: 0.016.
pub(super) const SHARED_Q16: u32 = 1_049;
/// What an excess adds to the step, in tenths of it.
pub(super) const SLOPE_TENTHS: u32 = 16;
/// Largest step, Q16: 0.5.
pub(super) const STEP_MAX_Q16: u32 = 1 << 15;
/// Pairs of votes of variance one that are taken to have shown [`FULL_EXCESS_Q16`] before any vote, in pairs.
pub(super) const DOUBT_PAIRS: u32 = 4_096;
/// Pairs that are taken to have shown no excess where more than doubt follows from it, in pairs.
pub(super) const PRIOR_PAIRS: u32 = 256;

/// An excess as it is used, Q16, zero where it is negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Excess {
    /// After [`DOUBT_PAIRS`] that ask for the discount.
    pub doubted: u32,
    /// After [`PRIOR_PAIRS`] that ask for none.
    pub shown: u32,
}

impl Excess {
    /// From [`sums`].
    fn new([excess, pairs]: [i128; 2]) -> Self {
        let part = |prior: u32, already: u32| {
            let shown = excess + ((i128::from(prior) * i128::from(already)) << 32);
            let of = (pairs + (i128::from(prior) << 48)) >> 16;
            (shown.max(0) / of).min(i128::from(ONE)) as u32
        };
        Self {
            doubted: part(DOUBT_PAIRS, FULL_EXCESS_Q16),
            shown: part(PRIOR_PAIRS, 0),
        }
    }

    /// The correlation per class beyond the first, Q16, at most [`STEP_MAX_Q16`].
    pub fn step(self) -> u32 {
        let (free, full) = (FREE_EXCESS_Q16, FULL_EXCESS_Q16);
        let base = STEP_Q16 * (self.doubted.clamp(free, full) - free) / (full - free);
        (base + self.shown * SLOPE_TENTHS / 10).min(STEP_MAX_Q16)
    }

    /// Whether errors are shared for certain.
    pub fn is_clear(self) -> bool {
        self.shown >= SHARED_Q16
    }
}

/// The excess of a crowd.
pub(super) fn excess(index: &Index, voting: &Voting, experts: &[Expert; EXPERTS]) -> Excess {
    Excess::new(sums(index, voting, experts))
}

/// Numerator and denominator of the excess over all pairs, Q48 both.
///
/// Crowds of many votes are read as sparsely as the early rounds of the experts read them.
pub(super) fn sums(index: &Index, voting: &Voting, experts: &[Expert; EXPERTS]) -> [i128; 2] {
    let stride = stride(index.vote_labeler.len());
    let sharp = sharp(index, voting, experts, stride);
    let classes = index.classes;
    let right = &experts[0].habits.right;
    let deviation: Vec<u32> = right.iter().map(|&p| (p * (ONE - p)).isqrt()).collect();
    let even = ONE / (SPREAD * classes as u32);
    let mut sums = vec![Sums::default(); classes];
    let (mut excess, mut pairs) = (0i128, 0i128);
    let taken = (0..index.items).step_by(stride);
    for (item, row) in taken.zip(sharp.chunks_exact(classes)) {
        sums.fill(Sums::default());
        for vote in index.votes_of_item(item) {
            let labeler = index.vote_labeler[vote];
            if voting.cluster_of(labeler).is_some() {
                continue;
            }
            let first = labeler as usize * classes;
            let cells = first..first + classes;
            let known = right[cells.clone()].iter().zip(&deviation[cells]);
            for (class, (sums, (&p, &deviation))) in sums.iter_mut().zip(known).enumerate() {
                let named = class == usize::from(index.vote_label[vote]);
                sums.add(i64::from(u32::from(named) * ONE) - i64::from(p), deviation);
            }
        }
        for (sums, &q) in sums.iter().zip(row) {
            let q = i128::from(q - q / SPREAD + even);
            excess += q * sums.misses();
            pairs += q * sums.deviations();
        }
    }
    [excess, pairs]
}

/// Sums over the voters of an item, for one class: misses `x - p`, deviations, and the squares of both.
#[derive(Clone, Copy, Default)]
struct Sums {
    miss: i64,
    miss_square: u64,
    deviation: u64,
    deviation_square: u64,
}

impl Sums {
    fn add(&mut self, miss: i64, deviation: u32) {
        let deviation = u64::from(deviation);
        self.miss += miss;
        self.miss_square += miss.unsigned_abs() * miss.unsigned_abs();
        self.deviation += deviation;
        self.deviation_square += deviation * deviation;
    }

    /// Sum of products of misses over ordered pairs of voters, Q32.
    fn misses(&self) -> i128 {
        i128::from(self.miss) * i128::from(self.miss) - i128::from(self.miss_square)
    }

    /// The same of deviations.
    fn deviations(&self) -> i128 {
        i128::from(self.deviation) * i128::from(self.deviation) - i128::from(self.deviation_square)
    }
}
