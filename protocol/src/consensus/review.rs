//! Review verdicts: accept, reject or fix a label that somebody else gave.
//!
//! A review task shows an item together with one proposed label. Whether the proposal stands is a binary question for the class engine:
//! `accept` is a yes, `reject` and `fix` are a no. Reviewers are judged on that question alone, chance-corrected, so accepting
//! everything earns nothing. What stands in place of a refused label is a vote among the fixes, weighted by the reviewers' evidence.
//!
//! Two ways lead back to class labels:
//! - [`class_evidence`] turns verdicts into plain class votes (accept: the proposed label, fix: the corrected one, reject: the other
//!   class where there are two, no vote otherwise) for a class task that is scored together with its review.
//! - [`join_review`] moves the posteriors of an item that is already scored, by the declared weight of the review.
//!
//! What it does not do: it judges no author; the author's own task does. It does not assume that reviewer and author are independent
//! people: a weight below one is how a client declares that reviewers tend to accept what they are shown.
//! Invariants: posteriors sum to one exactly; the order of votes changes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::binary::{self, BinaryTable};
use super::class::{GoldPrior, MAX_CLASSES, MIN_CLASSES, Vote};
use super::error::ConsensusError;
use super::fixed::{ONE, log2, normalise};
use super::hash_parameters;

/// Name and version of the method; raise it with any change of behaviour.
const METHOD: &str = "assay/consensus/review/1";

/// Feeds the method's name and all its parameters to `hasher`.
pub(super) fn hash_method(hasher: &mut blake3::Hasher) {
    hasher.update(METHOD.as_bytes());
    hash_parameters(hasher, &[]);
}

/// What a reviewer says about a proposed label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// It is right.
    Accept,
    /// It is wrong.
    Reject,
    /// It is wrong, and this class is right.
    Fix(u16),
}

/// One verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReviewVote {
    /// Index of the proposal.
    pub item: u32,
    /// Index of the reviewer.
    pub labeler: u32,
    /// The verdict.
    pub verdict: Verdict,
}

/// Everything that review inference may look at.
#[derive(Clone, Copy, Debug)]
pub struct ReviewInput<'a> {
    /// The proposed label of each item.
    pub proposed: &'a [u16],
    /// Reviewers of the task.
    pub labelers: u32,
    /// Classes of the label schema.
    pub classes: u16,
    /// The verdicts in any order, at most one per reviewer and item.
    pub votes: &'a [ReviewVote],
    /// Opened gold: item to its true class.
    pub gold: &'a BTreeMap<u32, u16>,
    /// Reputation evidence, one entry per reviewer, or empty.
    pub priors: &'a [GoldPrior],
}

/// What the verdicts say about one proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewItem {
    /// Probability that the proposed label is right, Q16.
    pub stands: u32,
    /// The label after review: the proposed one if it stands, else the best fix, `None` when it was refused without a fix.
    pub label: Option<u16>,
    /// Verdicts given.
    pub votes: u32,
}

/// What the wave says about one reviewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewLabeler {
    /// Verdicts given.
    pub votes: u32,
    /// Chance-corrected skill at telling right from wrong proposals, in parts per million.
    pub skill_ppm: i64,
}

/// What one item's result depends on besides its verdicts.
pub type ReviewTable = BinaryTable;

/// Result of [`infer_review`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewResult {
    /// One entry per item.
    pub items: Vec<ReviewItem>,
    /// One entry per reviewer.
    pub labelers: Vec<ReviewLabeler>,
    /// What [`review_item_from_table`] needs besides the verdicts of an item.
    pub table: ReviewTable,
}

/// Infers which proposals stand and how able the reviewers are.
///
/// # Errors
/// [`ConsensusError`] names the entry that is out of range or repeated, or the limit that is exceeded.
pub fn infer_review(input: &ReviewInput<'_>) -> Result<ReviewResult, ConsensusError> {
    check(input)?;
    let items = input.proposed.len() as u32;
    let ballots: Vec<Vote> = input
        .votes
        .iter()
        .map(|vote| Vote {
            item: vote.item,
            labeler: vote.labeler,
            label: u16::from(vote.verdict == Verdict::Accept),
        })
        .collect();
    let gold = input
        .gold
        .iter()
        .map(|(&item, &label)| (item, u16::from(input.proposed[item as usize] == label)))
        .collect();
    let judged = binary::infer(items, input.labelers, &ballots, &gold, input.priors)?;
    let mut sorted = input.votes.to_vec();
    sorted.sort_unstable();
    let mut rest = sorted.as_slice();
    let mut results = Vec::with_capacity(input.proposed.len());
    for (item, &proposed) in (0u32..).zip(input.proposed) {
        let count = rest.iter().take_while(|vote| vote.item == item).count();
        let mut result = review_item_from_table(&judged.table, proposed, &rest[..count]);
        rest = &rest[count..];
        if let Some(&label) = input.gold.get(&item) {
            result = with_gold(result, proposed, label);
        }
        results.push(result);
    }
    let labelers = judged.engine.labelers.iter().map(|labeler| ReviewLabeler {
        votes: labeler.votes,
        skill_ppm: labeler.skill_ppm,
    });
    Ok(ReviewResult {
        items: results,
        labelers: labelers.collect(),
        table: judged.table,
    })
}

/// The result of an item whose true class is known.
pub(super) fn with_gold(item: ReviewItem, proposed: u16, label: u16) -> ReviewItem {
    ReviewItem {
        stands: u32::from(proposed == label) * ONE,
        label: Some(label),
        ..item
    }
}

/// Recomputes one item from its verdicts and the table; the same result as [`infer_review`] gives for an item that is not gold.
#[must_use]
pub fn review_item_from_table(
    table: &ReviewTable,
    proposed: u16,
    votes: &[ReviewVote],
) -> ReviewItem {
    let answers: Vec<(u32, bool)> = votes
        .iter()
        .map(|vote| (vote.labeler, vote.verdict == Verdict::Accept))
        .collect();
    let stands = table.posterior(&answers);
    let mut fixes: BTreeMap<u16, i64> = BTreeMap::new();
    for vote in votes {
        let (Verdict::Fix(label), Some(row)) =
            (vote.verdict, table.rows.get(vote.labeler as usize))
        else {
            continue;
        };
        // The better a reviewer tells wrong from right, the more their correction counts; nobody counts for nothing.
        let weight = i64::from(row.hit) - i64::from(row.alarm);
        *fixes.entry(label).or_default() += weight.max(1);
    }
    let mut best: Option<(i64, u16)> = None;
    for (label, weight) in fixes {
        if best.is_none_or(|(top, _)| weight > top) {
            best = Some((weight, label));
        }
    }
    let label = if votes.is_empty() {
        None
    } else if stands * 2 >= ONE {
        Some(proposed)
    } else {
        best.map(|(_, label)| label)
    };
    ReviewItem {
        stands,
        label,
        votes: votes.len() as u32,
    }
}

/// Verdicts as plain class votes; a bare rejection among more than two classes names no class and gives no vote.
///
/// Verdicts on items without a proposal are dropped.
#[must_use]
pub fn class_evidence(proposed: &[u16], classes: u16, votes: &[ReviewVote]) -> Vec<Vote> {
    let mut evidence = Vec::new();
    for vote in votes {
        let Some(&shown) = proposed.get(vote.item as usize) else {
            continue;
        };
        let label = match vote.verdict {
            Verdict::Accept => shown,
            Verdict::Fix(label) => label,
            Verdict::Reject if classes == 2 && shown < 2 => 1 - shown,
            Verdict::Reject => continue,
        };
        evidence.push(Vote {
            item: vote.item,
            labeler: vote.labeler,
            label,
        });
    }
    evidence
}

/// Moves the class posteriors of an item (Q16) by what its review says, `weight` being the declared weight of the review (Q16, 65,536
/// takes it in full, zero ignores it, more is read as full).
///
/// The odds of the proposed class are multiplied by the odds that it stands to the power of `weight`, and the odds of the corrected
/// class by the odds that the proposal falls. Without verdicts, or with a proposal out of range, nothing changes.
pub fn join_review(posteriors: &mut [u32], proposed: u16, review: &ReviewItem, weight: u32) {
    if review.votes == 0 || usize::from(proposed) >= posteriors.len() {
        return;
    }
    let weight = i64::from(weight.min(ONE));
    let odds =
        log2(u64::from(review.stands.max(1))) - log2(u64::from((ONE - review.stands).max(1)));
    let odds = odds * weight / i64::from(ONE);
    let mut logs: Vec<i64> = posteriors
        .iter()
        .map(|&p| log2(u64::from(p.max(1))))
        .collect();
    logs[usize::from(proposed)] += odds;
    if let Some(label) = review.label.filter(|&label| label != proposed)
        && let Some(log) = logs.get_mut(usize::from(label))
    {
        *log -= odds.min(0);
    }
    normalise(&mut logs, posteriors);
}

/// Refuses an input that is out of range, but for what the class engine refuses.
pub(super) fn check(input: &ReviewInput<'_>) -> Result<(), ConsensusError> {
    if !(MIN_CLASSES..=MAX_CLASSES).contains(&input.classes) {
        return Err(ConsensusError::Classes {
            classes: input.classes,
            min: MIN_CLASSES,
            max: MAX_CLASSES,
        });
    }
    let items = u32::try_from(input.proposed.len()).unwrap_or(u32::MAX);
    for (item, &label) in (0u32..).zip(input.proposed) {
        if label >= input.classes {
            return Err(ConsensusError::GoldOutOfRange {
                item,
                label,
                items,
                classes: input.classes,
            });
        }
    }
    for (index, vote) in input.votes.iter().enumerate() {
        if vote.item >= items {
            return Err(ConsensusError::ItemOutOfRange {
                index,
                item: vote.item,
                items,
            });
        }
        if let Verdict::Fix(label) = vote.verdict
            && (label >= input.classes || label == input.proposed[vote.item as usize])
        {
            return Err(ConsensusError::LabelOutOfRange {
                index,
                label,
                classes: input.classes,
            });
        }
    }
    for (&item, &label) in input.gold {
        if item >= items || label >= input.classes {
            return Err(ConsensusError::GoldOutOfRange {
                item,
                label,
                items,
                classes: input.classes,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "review/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "review/reference.rs"]
mod reference;
