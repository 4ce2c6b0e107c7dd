//! Sets of labels per item: one binary question per label (binary relevance), joined per item and per labeler.
//!
//! Every label of the schema is a task of its own for the class engine: did the labeler put it into the set or not? The answers are
//! joined again: an item gets the labels whose posterior is above one half, a labeler one skill over all labels.
//!
//! **Skill** is the mean of the labels' chance-corrected skills weighted by information `W (1 - E)`, which is the ratio of the summed
//! numerators and denominators of Cohen's kappa. Each label is corrected for its own frequency, so somebody who always answers "none",
//! or always the most frequent labels, has skill zero on every label and zero in all; a label that nobody disputes weighs nothing.
//!
//! What it does not do: labels are independent given the votes; exclusions between labels are not learnt.
//! Invariants: memory is bounded by items x labels and votes; work by [`MAX_BALLOTS`]; the order of votes and of labels in a vote
//! changes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::binary::{self, BinaryTable};
use super::class::{GoldPrior, MAX_CELLS, Vote};
use super::error::ConsensusError;
use super::fixed::{FRACTION_BITS, ONE};
use super::hash_parameters;

/// Name and version of the method; raise it with any change of behaviour.
const METHOD: &str = "assay/consensus/multi/1";
/// Most labels of a schema, in labels.
pub const MAX_SET_LABELS: u16 = 256;
/// Most binary questions answered in one scoring run (votes x labels), in answers.
pub const MAX_BALLOTS: u64 = 1 << 27;

/// Feeds the method's name and all its parameters to `hasher`.
pub(super) fn hash_method(hasher: &mut blake3::Hasher) {
    hasher.update(METHOD.as_bytes());
    hash_parameters(hasher, &[u64::from(MAX_SET_LABELS)]);
}

/// One vote: the set of labels that `labeler` gave to `item`; an empty set says that none applies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MultiVote {
    /// Index of the item.
    pub item: u32,
    /// Index of the labeler.
    pub labeler: u32,
    /// Labels of the schema, in any order, each at most once.
    pub labels: Vec<u16>,
}

/// Everything that inference of label sets may look at.
#[derive(Clone, Copy, Debug)]
pub struct MultiInput<'a> {
    /// Items of the task.
    pub items: u32,
    /// Labelers of the task.
    pub labelers: u32,
    /// Labels of the schema, 1 to [`MAX_SET_LABELS`].
    pub labels: u16,
    /// The votes in any order, at most one per labeler and item.
    pub votes: &'a [MultiVote],
    /// Opened gold: item to its true set.
    pub gold: &'a BTreeMap<u32, Vec<u16>>,
    /// Reputation evidence, one entry per labeler, or empty; it counts on each label like gold of that label.
    pub priors: &'a [GoldPrior],
}

/// What the votes say about one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiItem {
    /// The labels that apply, ascending.
    pub labels: Vec<u16>,
    /// Probability that exactly this set is right, taking labels as independent, Q16; zero without votes and gold.
    pub posterior: u32,
    /// Posterior of each label of the schema, Q16.
    pub posteriors: Vec<u32>,
    /// Votes given.
    pub votes: u32,
}

/// What the wave says about one labeler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiLabeler {
    /// Votes given.
    pub votes: u32,
    /// Chance-corrected skill over all labels, in parts per million.
    pub skill_ppm: i64,
    /// Labels on which the labeler stands in a collusion cluster.
    pub flagged_labels: u32,
}

/// One binary table per label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiTable {
    /// The tables, by label.
    pub labels: Vec<BinaryTable>,
}

/// Result of [`infer_multi`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiResult {
    /// One entry per item.
    pub items: Vec<MultiItem>,
    /// One entry per labeler.
    pub labelers: Vec<MultiLabeler>,
    /// What [`multi_item_from_table`] needs besides the votes of an item.
    pub table: MultiTable,
}

/// Infers the set of each item and the skill of each labeler.
///
/// # Errors
/// [`ConsensusError`] names the entry that is out of range or repeated, or the limit that is exceeded.
pub fn infer_multi(input: &MultiInput<'_>) -> Result<MultiResult, ConsensusError> {
    check(input)?;
    let labels = usize::from(input.labels);
    let mut ballots: Vec<Vote> = input
        .votes
        .iter()
        .map(|vote| Vote {
            item: vote.item,
            labeler: vote.labeler,
            label: 0,
        })
        .collect();
    let mut posteriors = vec![0u32; input.items as usize * labels];
    let mut skill = vec![(0i128, 0i128); input.labelers as usize];
    let mut result = MultiResult {
        items: Vec::with_capacity(input.items as usize),
        labelers: vec![MultiLabeler::default(); input.labelers as usize],
        table: MultiTable { labels: Vec::new() },
    };
    for label in 0..input.labels {
        for (ballot, vote) in ballots.iter_mut().zip(input.votes) {
            ballot.label = u16::from(vote.labels.contains(&label));
        }
        let gold = input
            .gold
            .iter()
            .map(|(&item, set)| (item, u16::from(set.contains(&label))))
            .collect();
        let judged = binary::infer(input.items, input.labelers, &ballots, &gold, input.priors)?;
        for (item, &p) in judged.posterior.iter().enumerate() {
            posteriors[item * labels + usize::from(label)] = p;
        }
        for (labeler, of_label) in judged.engine.labelers.iter().enumerate() {
            let information = i128::from(judged.information[labeler]);
            skill[labeler].0 += i128::from(of_label.skill_ppm) * information;
            skill[labeler].1 += information;
            result.labelers[labeler].flagged_labels += u32::from(of_label.cluster.is_some());
        }
        result.table.labels.push(judged.table);
    }
    for (labeler, (above, below)) in skill.into_iter().enumerate() {
        if below > 0 {
            result.labelers[labeler].skill_ppm = (above / below) as i64;
        }
    }
    let mut count = vec![0u32; input.items as usize];
    for vote in input.votes {
        count[vote.item as usize] += 1;
        result.labelers[vote.labeler as usize].votes += 1;
    }
    for (item, row) in posteriors.chunks_exact(labels).enumerate() {
        let known = count[item] > 0 || input.gold.contains_key(&(item as u32));
        result.items.push(join(row.to_vec(), count[item], known));
    }
    Ok(result)
}

/// Recomputes one item from its votes and the table; the same result as [`infer_multi`] gives for an item that is not gold.
#[must_use]
pub fn multi_item_from_table(table: &MultiTable, votes: &[MultiVote]) -> MultiItem {
    let mut answers = vec![(0, false); votes.len()];
    let mut row = Vec::with_capacity(table.labels.len());
    for (label, of_label) in (0u16..).zip(&table.labels) {
        for (answer, vote) in answers.iter_mut().zip(votes) {
            *answer = (vote.labeler, vote.labels.contains(&label));
        }
        row.push(of_label.posterior(&answers));
    }
    join(row, votes.len() as u32, !votes.is_empty())
}

/// The item whose true set is known.
pub(super) fn certain(labels: u16, set: &[u16], votes: u32) -> MultiItem {
    let posteriors = (0..labels).map(|label| u32::from(set.contains(&label)) * ONE);
    join(posteriors.collect(), votes, true)
}

/// Picks the labels above one half; the set's posterior is the product of each label's own.
fn join(posteriors: Vec<u32>, votes: u32, known: bool) -> MultiItem {
    let mut item = MultiItem {
        labels: Vec::new(),
        posterior: 0,
        posteriors,
        votes,
    };
    if !known {
        return item;
    }
    // In Q32, so that the product over 256 certain labels loses nothing visible.
    let mut product = 1u64 << 32;
    for (label, &p) in (0u16..).zip(&item.posteriors) {
        if p * 2 > ONE {
            item.labels.push(label);
        }
        product = (product * u64::from(p.max(ONE - p))) >> FRACTION_BITS;
    }
    item.posterior = (product >> (32 - FRACTION_BITS)) as u32;
    item
}

/// Refuses an input that is out of range, but for what the class engine refuses.
pub(super) fn check(input: &MultiInput<'_>) -> Result<(), ConsensusError> {
    if !(1..=MAX_SET_LABELS).contains(&input.labels) {
        return Err(ConsensusError::Classes {
            classes: input.labels,
            min: 1,
            max: MAX_SET_LABELS,
        });
    }
    let labels = u64::from(input.labels);
    for (what, count, max) in [
        (
            "answers to single labels",
            input.votes.len() as u64 * labels,
            MAX_BALLOTS,
        ),
        ("posteriors", u64::from(input.items) * labels, MAX_CELLS),
        (
            "rows of the labeler table",
            u64::from(input.labelers) * labels,
            MAX_CELLS,
        ),
    ] {
        if count > max {
            return Err(ConsensusError::TooMany { what, count, max });
        }
    }
    for (index, vote) in input.votes.iter().enumerate() {
        if let Some(&label) = vote.labels.iter().find(|&&label| label >= input.labels) {
            return Err(ConsensusError::LabelOutOfRange {
                index,
                label,
                classes: input.labels,
            });
        }
        if let Some(label) = repeated(&vote.labels) {
            return Err(ConsensusError::RepeatedLabel { index, label });
        }
    }
    for (&item, set) in input.gold {
        if item >= input.items
            || set.iter().any(|&label| label >= input.labels)
            || repeated(set).is_some()
        {
            return Err(ConsensusError::BadGold {
                item,
                why: "the item or a label is out of range, or a label stands twice",
            });
        }
    }
    Ok(())
}

/// The smallest label that stands twice.
fn repeated(labels: &[u16]) -> Option<u16> {
    let mut sorted = labels.to_vec();
    sorted.sort_unstable();
    let pair = sorted.windows(2).find(|pair| pair[0] == pair[1])?;
    Some(pair[0])
}

#[cfg(test)]
#[path = "multi/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "multi/real_sets.rs"]
mod real_sets;

#[cfg(test)]
#[path = "multi/reference.rs"]
mod reference;
