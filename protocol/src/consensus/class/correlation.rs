//! How far the votes on an item share their errors, estimated from the votes of the task.
//!
//! What for: the calibration in `verdict` counts `n` correlated votes as fewer. How many fewer depends on the crowd: where items differ in
//! difficulty or mislead several labelers alike, votes on an item are right together and wrong together; simulated labelers who err
//! independently need no discount at all.
//!
//! The statistic is the intraclass correlation of being right, over pairs of votes on an item (Ridout, Demetrio and Firth 1999 compare its
//! relatives). With `p` the accuracy of a voter, `x` one for a right answer and zero for a wrong one, and the mean over the posterior
//! of the item's class:
//!
//! ```text
//! excess = sum over items, pairs i != j of  E[(x_i - p_i)(x_j - p_j)]  /  sum of sd_i sd_j,     sd^2 = p (1 - p)
//! ```
//!
//! If the model holds, every summand has mean zero, however few the votes. The posterior is the sharp one with the share of
//! [`LAPSE`](super::verdict::LAPSE) spread evenly, as in the verdict: with many classes and few votes little else could show shared errors. The excess is a **test, not the correlation itself**: a
//! shared mistake of most voters becomes the inferred class and hides, so the excess of real crowds lies far below the correlation that
//! calibrates them, and does not rank them. It does tell real from independent crowds: seven recorded crowds show 0.05 to 0.37, the eighth,
//! with ten classes and three votes an item, 0.017; eight simulated ones without shared errors -0.02 to 0.013. So the discount is a constant,
//! [`FULL_STEP_Q16`] per class beyond the first, reached at an excess of [`FULL_EXCESS_Q16`] and in proportion to the excess below.
//! [`PRIOR_PAIRS`] pairs that ask for the full discount keep tasks with few votes on the careful side.
//!
//! What it does not do: it knows no class-dependent accuracy, so labelers who know one class better than another look correlated; the
//! error is towards doubt. Items with members of a collusion cluster among their voters are left out.
//! Invariants: an item has at most 2^20 votes, so a summand stays below 2^88 and the sums over 2^24 items below 2^112 in an `i128`.

use super::model::{EXPERTS, Expert, stride};
use super::verdict::{LAPSE, sharp};
use super::votes::Index;
use super::voting::Voting;
use crate::consensus::fixed::{ONE, log2, normalise};

/// Correlation of the votes on an item per class beyond the first where errors are clearly shared, Q16: 0.22.
pub(super) const FULL_STEP_Q16: u32 = 14_418;
/// Excess at which errors are clearly shared, Q16: 0.03.
pub(super) const FULL_EXCESS_Q16: u32 = 1_966;
/// Pairs of votes of variance one that are taken to have shown [`FULL_EXCESS_Q16`] before any vote, in pairs.
pub(super) const PRIOR_PAIRS: u32 = 256;

/// The correlation per class beyond the first, Q16, at most [`FULL_STEP_Q16`], from the one-skill gains and sharp posteriors.
///
/// Crowds of many votes are read as sparsely as the early rounds of the experts read them.
pub(super) fn step(index: &Index, voting: &Voting, experts: &[Expert; EXPERTS]) -> u32 {
    let stride = stride(index.vote_labeler.len());
    let sharp = sharp(index, voting, experts, stride);
    let accuracy = accuracies(&experts[EXPERTS - 1].gain, index.classes);
    let deviation: Vec<u64> = accuracy
        .iter()
        .map(|&p| (p * (one() - p)).isqrt())
        .collect();
    let even = ONE / (LAPSE * index.classes as u32);
    let mut named = vec![(0i64, 0i64); index.classes];
    let (mut excess, mut pairs) = (0i128, 0i128);
    let taken = (0..index.items).step_by(stride);
    for (item, row) in taken.zip(sharp.chunks_exact(index.classes)) {
        let votes = index.votes_of_item(item);
        if votes.len() < 2 || !voting.rows_of_item(item).is_empty() {
            continue;
        }
        let (mut sum, mut squares, mut spread, mut variance) = (0i64, 0i64, 0u64, 0u64);
        for vote in votes.clone() {
            let labeler = index.vote_labeler[vote] as usize;
            let p = accuracy[labeler] as i64;
            sum += p;
            squares += p * p;
            spread += deviation[labeler];
            variance += deviation[labeler] * deviation[labeler];
            // Per class: its votes, and the sum of 1 - 2p, which is the square of x - p less that of p.
            let named = &mut named[usize::from(index.vote_label[vote])];
            named.0 += 1;
            named.1 += i64::from(ONE) - 2 * p;
        }
        pairs += i128::from(spread) * i128::from(spread) - i128::from(variance);
        // A class without votes has the first two terms only, so they count for all classes at once; the others only where named.
        let (sum, whole) = (i128::from(sum), i128::from(ONE));
        excess += (sum * sum - i128::from(squares)) * whole;
        for vote in votes {
            let label = usize::from(index.vote_label[vote]);
            let (count, shift) = std::mem::take(&mut named[label]);
            let count = i128::from(count) * whole;
            // Zero at the second vote for the class: its entry was taken.
            let beyond = count * (count - 2 * sum) - i128::from(shift) * whole;
            excess += beyond * i128::from(row[label] - row[label] / LAPSE + even);
        }
    }
    scaled(excess >> 16, pairs)
}

fn one() -> u64 {
    u64::from(ONE)
}

/// The step for an excess and pairs in Q32.
fn scaled(excess: i128, pairs: i128) -> u32 {
    let (full, prior) = (i128::from(FULL_EXCESS_Q16), i128::from(PRIOR_PAIRS));
    let part = (excess + ((prior * full) << 16)).max(0);
    let whole = (pairs + (prior << 32)) * full;
    // The part is below 2^113.
    let step = ((part * i128::from(FULL_STEP_Q16)) << 16).checked_div(whole);
    step.map_or(FULL_STEP_Q16, |step| {
        step.min(i128::from(FULL_STEP_Q16)) as u32
    })
}

/// Accuracies (Q16) from the log odds of a right answer over one given wrong answer.
pub(super) fn accuracies(gain: &[i64], classes: usize) -> Vec<u64> {
    let wrong = log2(classes as u64 - 1);
    let accuracy = |&gain: &i64| {
        let mut row = [0; 2];
        normalise(&mut [gain, wrong], &mut row);
        u64::from(row[0])
    };
    gain.iter().map(accuracy).collect()
}
