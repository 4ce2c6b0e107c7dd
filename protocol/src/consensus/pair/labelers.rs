//! Skill of each labeler, judged by scores to which neither the labeler nor the rest of the labeler's fold contributed.
//!
//! Labelers with votes are dealt into [`FOLDS`] folds in turn (fewer when there are fewer labelers, so each then stands alone). For each
//! fold the scores are fitted anew, from zero, to the votes of all others. With `r` the probability, by those scores, that the left
//! object is better, and `s` left's share in the answer (one, nothing, or a half for a tie), over the labeler's `n` comparisons:
//!
//! ```text
//! A = sum s r + (1 - s)(1 - r)        observed agreement
//! E = (S R + (n - S)(n - R)) / n      expected by chance: S the sum of s, R the sum of r
//! M = sum max(r, 1 - r)               the best possible answers
//! skill = (A - E) / (M - E + d / 2)   d = DOUBT_VOTES
//! ```
//!
//! Answers that do not look at the objects pair every `s` with every `r` equally often, so the mean of A is E while E, M and the
//! denominator do not change: the expected skill is zero. The doubt keeps a handful of votes between nearly equal objects from
//! producing a large skill of either sign.
//! Invariant: skill lies within plus and minus 1,000,000.

use super::PPM;
use super::model::{Fit, Masses, logistic, sweep};
use super::votes::Index;
use crate::consensus::fixed::{FRACTION_BITS, ONE};

/// Folds for cross-fitting.
pub(super) const FOLDS: usize = 5;
/// Expectation steps per fold, from zero.
pub(super) const ROUNDS: u32 = 2;
/// Newton steps over all scores after each of them.
pub(super) const SWEEPS: u32 = 8;
/// Comparisons of no skill that are added to everybody's record, in comparisons.
pub(super) const DOUBT_VOTES: i128 = 2;

/// Sums over one labeler's comparisons; weights and probabilities are Q16.
#[derive(Clone, Copy, Default)]
struct Record {
    weight: i128,
    left: i128,
    soft: i128,
    agreement: i128,
    best: i128,
}

impl Record {
    fn skill(&self) -> i64 {
        if self.weight == 0 {
            return 0;
        }
        // Everything times the weight: at most 2^40 squared.
        let expected =
            self.left * self.soft + (self.weight - self.left) * (self.weight - self.soft);
        let above = self.weight * self.agreement - expected;
        let doubt = DOUBT_VOTES * i128::from(ONE) / 2;
        let below = self.weight * (self.best + doubt) - expected;
        if below <= 0 {
            return 0;
        }
        (above * PPM / below).clamp(-PPM, PPM) as i64
    }
}

/// Skill of every labeler in parts per million.
pub(super) fn judge(index: &Index, fit: &Fit) -> Vec<i64> {
    let mut fold_of = vec![usize::MAX; index.labelers];
    let mut dealt = 0;
    for entry in &index.entries {
        fold_of[entry.labeler as usize] = 0;
    }
    for fold in fold_of.iter_mut().filter(|fold| **fold == 0) {
        *fold = dealt % FOLDS;
        dealt += 1;
    }
    let views: Vec<Vec<u32>> = (0..FOLDS.min(dealt))
        .map(|fold| view_without(index, fit, &fold_of, fold))
        .collect();

    let mut records = vec![Record::default(); index.labelers];
    for entry in &index.entries {
        let soft = i128::from(views[fold_of[entry.labeler as usize]][entry.cell as usize]);
        let (weight, share) = (i128::from(entry.weight), i128::from(entry.share));
        let one = i128::from(ONE);
        let scaled = |value: i128| (weight * value) >> FRACTION_BITS;
        let record = &mut records[entry.labeler as usize];
        record.weight += weight;
        record.left += scaled(share);
        record.soft += scaled(soft);
        record.agreement += scaled((share * soft + (one - share) * (one - soft)) / one);
        record.best += scaled(soft.max(one - soft));
    }
    records.iter().map(Record::skill).collect()
}

/// Probability that the left object of each cell is better, from the votes of all other folds.
///
/// Who won each draw is estimated anew as well: the estimates of the whole fit lean towards scores that the left-out votes shaped.
fn view_without(index: &Index, fit: &Fit, fold_of: &[usize], fold: usize) -> Vec<u32> {
    let (mut score, mut advantage) = (vec![0; index.objects], 0);
    for _ in 0..ROUNDS {
        let masses = Masses::expected(index, &score, advantage, &fit.table.reliability, |entry| {
            fold_of[entry.labeler as usize] != fold
        });
        sweep(index, &masses, SWEEPS, &mut score, &mut advantage);
    }
    index
        .cells
        .iter()
        .map(|&(left, right)| logistic(score[left as usize] - score[right as usize]))
        .collect()
}
