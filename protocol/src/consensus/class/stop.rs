//! When an item has enough votes: the stopping rule of adaptive redundancy.
//!
//! What for: later waves buy votes only where they are likely to change a label for the better. The client names the certainty wanted
//! (`target`); this file says which items still lack it.
//!
//! The rule asks for the **odds** of the chosen label with votes taken for independent, the median of the experts', not for the
//! calibrated posterior, and makes every dissenting vote count against them:
//!
//! ```text
//! log2 odds of the label  <  log2(target / (1 - target)) + REPEAT + DISSENT x steps x dissenting votes             and
//! log2 odds of the label  <  log2(target / (1 - target)) / REACH x votes left x evidence of a vote     ->  one more vote
//! ```
//!
//! *Why not the calibrated posterior.* It answers another question. With correlated votes it hardly rises after the fifth vote, and
//! waiting for it buys votes that cannot change the label: what one more vote can change depends on how far the sum of evidence is from
//! even, and independent evidence measures that in votes.
//! *Why dissent counts.* On recorded crowds, at equal odds, another vote gains more on a split item than on a unanimous one: the item is
//! hard, and the labelers' tables, which know no items, overrate its voters. With more classes more so: a step per class beyond the first,
//! at most [`STEPS_MAX`].
//! *Why [`REPEAT`].* The rule is asked again after every vote and ends the item when it first agrees, so luck has several chances.
//! *Why the reach.* An item may get so many votes and no more. Once those left would turn the label only if most of them dissented, they
//! are better saved, however far the item is from the target. How many is most depends on the target: about half of the votes left at 0.90,
//! seven in ten at 0.95, nearly all at 0.98, so a client who wants every label that more votes can put right can have it. The evidence of a vote is
//! the log odds of a right answer over one given wrong answer, its mean over all votes of the task.
//!
//! Measured figures are in `SCORING.md`; the program is `examples/early_stopping.rs`. Whom to ask next is the other half of the saving,
//! see `task::draw`.
//!
//! What it does not do: it does not know who will cast the next vote, nor what it costs; it changes no label and no posterior.
//! Invariants: integers only; a pure function of the item's votes, the votes left, the chosen label, the table and the number of votes of
//! each labeler; neither a higher target nor more votes left ever ends an item earlier. A log is below 2^43, the discount below 2^55, a
//! gain below 2^43, the votes of a task below 2^25 and the votes left below 2^16, so products of these stay below 2^85 in 128 bits.

use super::ClassResult;
use super::verdict::sum_logs;
use crate::consensus::fixed::{FRACTION_BITS, ONE, exp2_q30, log2};

/// Odds demanded beyond those of the target because an item is judged after every vote, in Q16 bits.
pub(super) const REPEAT: i64 = 4 << FRACTION_BITS;
/// Odds demanded beyond those of the target per dissenting vote and step, in Q16 bits.
pub(super) const DISSENT: i64 = 3 << FRACTION_BITS;
/// Most steps, one per class beyond the first.
pub(super) const STEPS_MAX: u64 = 3;
/// Log2 odds of a target at which all votes left are taken to be able to turn a label together; in proportion below. In bits.
pub(super) const REACH: i64 = 6;
/// Bits of the fraction of a power of two from `exp2_q30`.
const POWER_BITS: i64 = 30;

/// The stopping rule of one scored task; see the header of `stop`.
#[derive(Clone, Copy, Debug)]
pub struct StoppingRule<'a> {
    result: &'a ClassResult,
    target: u32,
    /// What one vote can be expected to move the odds by, Q16 bits, not negative.
    step: i64,
}

impl<'a> StoppingRule<'a> {
    /// The rule for labels right with `target`, Q16: 62,259 wants the label to be right with 0.95. One pass over the labelers.
    #[must_use]
    pub fn new(result: &'a ClassResult, target: u32) -> Self {
        let (mut sum, mut votes) = (0i128, 0i128);
        for (number, labeler) in (0u32..).zip(&result.labelers) {
            let (_, gain, _) = result.table.row(number);
            sum += i128::from(gain) * i128::from(labeler.votes);
            votes += i128::from(labeler.votes);
        }
        let step = (sum / votes.max(1)).max(0);
        Self {
            result,
            target,
            step: i64::try_from(step).unwrap_or(i64::MAX),
        }
    }

    /// Whether one more vote on `item` is worth asking for, given its (labeler, label) votes in any order and how many more it may get.
    ///
    /// The votes must be those that the result was inferred from; when they cannot be, because the result's table does not know one of
    /// them, the answer is yes.
    ///
    /// Never true with no votes left, for an item out of range, for a posterior of one, at a target of zero (when there are votes);
    /// otherwise always true without votes. A posterior is one for gold, and with more than 131 classes where rounding leaves no doubt;
    /// all others want more at a target of one.
    #[must_use]
    pub fn wants_more(&self, item: u32, votes: &[(u32, u16)], left: u16) -> bool {
        let Some(found) = self.result.items.get(item as usize) else {
            return false;
        };
        if left == 0 || found.posterior >= ONE {
            return false;
        }
        let Some(label) = found.label.filter(|_| !votes.is_empty()) else {
            return true;
        };
        if self.target == 0 || self.target >= ONE {
            return self.target > 0;
        }
        let table = &self.result.table;
        let Some((experts, _)) = sum_logs(table, votes, &[]) else {
            return true;
        };
        let mut odds = experts.map(|logs| odds(&logs, usize::from(label)));
        odds.sort_unstable();
        let [_, middle, _] = odds;
        let wanted = log2(u64::from(self.target)) - log2(u64::from(ONE - self.target));
        let reach = i128::from(self.step) * i128::from(left) * i128::from(wanted);
        if (i128::from(middle) * i128::from(REACH)) << FRACTION_BITS >= reach {
            return false;
        }
        let weight = |vote: &(u32, u16)| i64::from(table.weight(votes.iter(), vote.0));
        let dissent: i64 = votes.iter().filter(|v| v.1 != label).map(weight).sum();
        let steps = (table.classes() as u64 - 1).min(STEPS_MAX) as i64;
        middle < wanted + REPEAT + ((DISSENT * steps * dissent) >> FRACTION_BITS)
    }
}

/// Log2 odds (Q16) of `label` against all other classes together, from log posteriors.
fn odds(logs: &[i64], label: usize) -> i64 {
    let others = || {
        let classes = logs.iter().enumerate();
        classes.filter(|(c, _)| *c != label).map(|(_, log)| *log)
    };
    let top = others().max().unwrap_or(0);
    // The largest contributes 2^30, so the logarithm is of at least that.
    let sum: u64 = others().map(|log| exp2_q30(log - top)).sum();
    let rest = top + log2(sum) - (POWER_BITS << FRACTION_BITS);
    logs.get(label).map_or(0, |own| own - rest)
}
