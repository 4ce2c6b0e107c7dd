//! When an item has enough votes: the stopping rule of adaptive redundancy.
//!
//! What for: later waves buy votes only where they are likely to change a label for the better. The client names the certainty wanted
//! (`target`); this file says which items still lack it.
//!
//! The rule asks for the **odds** of the chosen label with votes taken for independent, the median of the experts', not for the
//! calibrated posterior, and makes every dissenting vote count against them:
//!
//! ```text
//! log2 odds of the label  <  log2(target / (1 - target)) + REPEAT + DISSENT x steps x dissenting votes     ->  one more vote
//! ```
//!
//! *Why not the calibrated posterior.* It answers another question. With correlated votes it hardly rises after the fifth vote, and
//! waiting for it buys votes that cannot change the label: what one more vote can change depends on how far the sum of evidence is from
//! even, and independent evidence measures that in votes.
//! *Why dissent counts.* On recorded crowds, at equal odds, another vote gains more on a split item than on a unanimous one: the item is
//! hard, and the labelers' tables, which know no items, overrate its voters. With more classes more so; the steps are those of the
//! calibration, one per class beyond the first, at most [`CORRELATION_STEPS_MAX`].
//! *Why [`REPEAT`].* The rule is asked again after every vote and ends the item when it first agrees, so luck has several chances.
//!
//! Measured figures are in `SCORING.md`; the program is `examples/early_stopping.rs`. Whom to ask next is the other half of the saving,
//! see `task::draw`.
//!
//! What it does not do: it does not know how many votes the client can pay, nor who will cast them; it changes no label and no posterior.
//! Invariants: integers only; a pure function of the item's votes, the chosen label and the table; a higher target never ends an item
//! earlier. A log is below 2^43, the discount below 2^55.

use super::ClassResult;
use super::verdict::{CORRELATION_STEPS_MAX, sum_logs};
use crate::consensus::fixed::{FRACTION_BITS, ONE, exp2_q30, log2};

/// Odds demanded beyond those of the target because an item is judged after every vote, in Q16 bits.
pub(super) const REPEAT: i64 = 2 << FRACTION_BITS;
/// Odds demanded beyond those of the target per dissenting vote and step, in Q16 bits.
pub(super) const DISSENT: i64 = 1 << FRACTION_BITS;
/// Bits of the fraction of a power of two from `exp2_q30`.
const POWER_BITS: i64 = 30;

/// Whether one more vote on `item` is worth asking for, given its (labeler, label) votes in any order and the certainty wanted.
///
/// `target` is Q16: 62,259 wants the label to be right with 0.95. The votes must be those that `result` was inferred from; when they
/// cannot be, because the result's table does not know one of them, the answer is yes.
///
/// Always true without votes. Never true for an item out of range, for a posterior of one, at a target of zero (when there are votes).
/// A posterior is one for gold, and with more than 131 classes where rounding leaves no doubt; all others want more at a target of one.
#[must_use]
pub fn wants_more(result: &ClassResult, item: u32, votes: &[(u32, u16)], target: u32) -> bool {
    let Some(found) = result.items.get(item as usize) else {
        return false;
    };
    if found.posterior >= ONE {
        return false;
    }
    let Some(label) = found.label.filter(|_| !votes.is_empty()) else {
        return true;
    };
    if target == 0 || target >= ONE {
        return target > 0;
    }
    let Some((experts, _)) = sum_logs(&result.table, votes, &[]) else {
        return true;
    };
    let mut odds = experts.map(|logs| odds(&logs, usize::from(label)));
    odds.sort_unstable();
    let [_, middle, _] = odds;
    let weight = |vote: &(u32, u16)| i64::from(result.table.weight(votes.iter(), vote.0));
    let dissent: i64 = votes.iter().filter(|v| v.1 != label).map(weight).sum();
    let steps = (result.table.classes() as u64 - 1).min(CORRELATION_STEPS_MAX) as i64;
    let wanted = log2(u64::from(target)) - log2(u64::from(ONE - target));
    middle < wanted + REPEAT + ((DISSENT * steps * dissent) >> FRACTION_BITS)
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
