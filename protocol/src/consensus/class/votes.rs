//! The input of truth inference, its checks, and the canonical index that the model walks.
//!
//! What for: any order of the same votes becomes the same index, and nothing below this file sees an out-of-range number.
//! What it does not do: it keeps no keys, signatures or times; those were checked when the reveal was admitted.
//! Invariants of [`Index`]: votes are sorted by (item, labeler) without repetition; every offset table has one entry more than rows;
//! memory is linear in items, labelers, votes and the two products that [`MAX_CELLS`] bounds.

use std::collections::BTreeMap;

use serde::Serialize;

use super::model::STEADY_VOTES;
use crate::consensus::error::ConsensusError;

/// Fewest classes of a label schema, in classes.
pub const MIN_CLASSES: u16 = 2;
/// Most classes of a label schema, in classes.
pub const MAX_CLASSES: u16 = 256;
/// Most votes of one scoring run, in votes.
pub const MAX_VOTES: u64 = 1 << 24;
/// Most items of one scoring run, in items.
pub const MAX_ITEMS: u64 = 1 << 24;
/// Most labelers of one scoring run, in labelers.
pub const MAX_LABELERS: u64 = 1 << 20;
/// Most posterior cells (items x classes), labeler cells (labelers x classes) and confusion cells (used labeler-label pairs x classes),
/// each, in cells.
pub const MAX_CELLS: u64 = 1 << 25;

/// Bits of a label, and the rest of a packed vote: a labeler below 2^20.
const LABEL_BITS: u32 = 8;
const LABEL_MASK: u16 = (1 << LABEL_BITS) - 1;

/// One vote: `labeler` gave class `label` to `item`; all three are indices that start at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vote {
    /// Index of the item, below [`ClassInput::items`].
    pub item: u32,
    /// Index of the labeler, below [`ClassInput::labelers`].
    pub labeler: u32,
    /// Index of the class, below [`ClassInput::classes`].
    pub label: u16,
}

/// Evidence about a labeler carried by reputation: right and wrong gold answers so far, in thousandths of an answer after decay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GoldPrior {
    /// Right gold answers, in thousandths.
    pub alpha_milli: u32,
    /// Wrong gold answers, in thousandths.
    pub beta_milli: u32,
}

/// Everything that truth inference for class labels may look at.
#[derive(Clone, Copy, Debug)]
pub struct ClassInput<'a> {
    /// Items of the task; items without votes are allowed.
    pub items: u32,
    /// Labelers of the task; labelers without votes are allowed.
    pub labelers: u32,
    /// Classes of the label schema, [`MIN_CLASSES`] to [`MAX_CLASSES`].
    pub classes: u16,
    /// The votes in any order, at most one per labeler and item.
    pub votes: &'a [Vote],
    /// Opened gold: item to true class. Gold clamps the truth of its item.
    pub gold: &'a BTreeMap<u32, u16>,
    /// Reputation evidence, one entry per labeler, or empty when there is none.
    pub priors: &'a [GoldPrior],
}

/// The canonical form of a [`ClassInput`].
#[derive(Debug)]
pub(super) struct Index {
    pub items: usize,
    pub labelers: usize,
    pub classes: usize,
    /// Labeler of each vote, votes sorted by (item, labeler).
    pub vote_labeler: Vec<u32>,
    /// Label of each vote.
    pub vote_label: Vec<u16>,
    /// Column of each vote: one per (labeler, label) pair in use, sorted by labeler, then label.
    pub vote_column: Vec<u32>,
    /// First vote of each item, and the end.
    pub item_start: Vec<u32>,
    /// Vote numbers sorted by (labeler, item).
    pub by_labeler: Vec<u32>,
    /// First entry of `by_labeler` of each labeler, and the end.
    pub labeler_start: Vec<u32>,
    /// Labeler of each column.
    pub column_labeler: Vec<u32>,
    /// Label of each column.
    pub column_label: Vec<u16>,
    /// First column of each labeler, and the end.
    pub column_start: Vec<u32>,
    /// True class of each gold item.
    pub gold: Vec<Option<u16>>,
}

/// The votes sorted by (item, labeler), one number each: the first half of an [`Index`], and all of it that needs the input.
#[derive(Debug)]
pub(super) struct Sorted {
    items: usize,
    pub labelers: usize,
    classes: usize,
    /// Labeler and label of each vote.
    packed: Vec<u32>,
    item_start: Vec<u32>,
    gold: Vec<Option<u16>>,
}

impl Sorted {
    /// Checks the input and sorts it; all limits are enforced before anything is allocated for them.
    pub fn new(input: &ClassInput<'_>) -> Result<Self, ConsensusError> {
        check_sizes(input)?;
        check_ranges(input)?;
        let items = input.items as usize;
        let item_start = offsets(input.votes.iter().map(|vote| vote.item), items);
        // Labeler and label in one number: a counting sort by item, then each item's few votes by labeler.
        let mut next = item_start.clone();
        let mut packed = vec![0u32; input.votes.len()];
        for vote in input.votes {
            let slot = &mut next[vote.item as usize];
            packed[*slot as usize] = (vote.labeler << LABEL_BITS) | u32::from(vote.label);
            *slot += 1;
        }
        drop(next);
        for item in 0..items {
            let range = item_start[item] as usize..item_start[item + 1] as usize;
            let votes = &mut packed[range];
            votes.sort_unstable();
            if let Some(pair) = votes
                .windows(2)
                .find(|pair| pair[0] >> LABEL_BITS == pair[1] >> LABEL_BITS)
            {
                return Err(duplicate(input.votes, item as u32, pair[0] >> LABEL_BITS));
            }
        }
        let mut gold = vec![None; items];
        for (&item, &label) in input.gold {
            gold[item as usize] = Some(label);
        }
        Ok(Self {
            items,
            labelers: input.labelers as usize,
            classes: usize::from(input.classes),
            packed,
            item_start,
            gold,
        })
    }
}

impl Index {
    /// Checks the input and sorts it; all limits are enforced before anything is allocated for them.
    pub fn new(input: &ClassInput<'_>) -> Result<Self, ConsensusError> {
        Self::of(Sorted::new(input)?)
    }

    /// The index of sorted votes.
    pub fn of(sorted: Sorted) -> Result<Self, ConsensusError> {
        let Sorted {
            items,
            labelers,
            classes,
            mut packed,
            item_start,
            gold,
        } = sorted;
        let count = packed.len();
        let vote_label = packed
            .iter()
            .map(|&vote| vote as u16 & LABEL_MASK)
            .collect();
        packed.iter_mut().for_each(|vote| *vote >>= LABEL_BITS);
        let vote_labeler = packed;
        let labeler_start = offsets(vote_labeler.iter().copied(), labelers);
        let mut next = labeler_start.clone();
        let mut by_labeler = vec![0u32; count];
        for (vote, &labeler) in vote_labeler.iter().enumerate() {
            let slot = &mut next[labeler as usize];
            by_labeler[*slot as usize] = vote as u32;
            *slot += 1;
        }
        drop(next);
        let mut index = Self {
            items,
            labelers,
            classes,
            vote_labeler,
            vote_label,
            vote_column: vec![0; count],
            item_start,
            by_labeler,
            labeler_start,
            column_labeler: Vec::new(),
            column_label: Vec::new(),
            column_start: Vec::with_capacity(labelers + 1),
            gold,
        };
        index.number_columns()?;
        Ok(index)
    }

    /// Gives every (labeler, label) pair in use a number.
    fn number_columns(&mut self) -> Result<(), ConsensusError> {
        // At most MAX_CELLS entries; zero marks a pair that is not in use.
        let mut column_of = vec![0u32; self.labelers * self.classes];
        let cell = |labeler: u32, label: u16| labeler as usize * self.classes + usize::from(label);
        for (&labeler, &label) in self.vote_labeler.iter().zip(&self.vote_label) {
            column_of[cell(labeler, label)] = 1;
        }
        for (labeler, row) in column_of.chunks_exact_mut(self.classes).enumerate() {
            self.column_start.push(self.column_label.len() as u32);
            for (label, slot) in row.iter_mut().enumerate().filter(|(_, slot)| **slot > 0) {
                *slot = self.column_label.len() as u32;
                self.column_label.push(label as u16);
                self.column_labeler.push(labeler as u32);
            }
        }
        for ((slot, &labeler), &label) in self
            .vote_column
            .iter_mut()
            .zip(&self.vote_labeler)
            .zip(&self.vote_label)
        {
            *slot = column_of[cell(labeler, label)];
        }
        self.column_start.push(self.column_label.len() as u32);
        let cells = self.column_label.len() as u64 * self.classes as u64;
        if cells > MAX_CELLS {
            return Err(ConsensusError::TooMany {
                what: "confusion cells",
                count: cells,
                max: MAX_CELLS,
            });
        }
        Ok(())
    }

    /// Vote numbers of one item.
    #[inline]
    pub fn votes_of_item(&self, item: usize) -> std::ops::Range<usize> {
        self.item_start[item] as usize..self.item_start[item + 1] as usize
    }

    /// Columns of one labeler, by label.
    #[inline]
    pub fn columns_of_labeler(&self, labeler: usize) -> std::ops::Range<usize> {
        self.column_start[labeler] as usize..self.column_start[labeler + 1] as usize
    }

    /// Whether a labeler has [`STEADY_VOTES`] votes.
    #[inline]
    pub fn is_steady(&self, labeler: u32) -> bool {
        u64::from(self.count_of_labeler(labeler as usize)) >= STEADY_VOTES
    }

    /// Whether every labeler with votes has [`STEADY_VOTES`] of them.
    pub fn all_steady(&self) -> bool {
        (0..self.labelers as u32)
            .all(|labeler| self.is_steady(labeler) || self.count_of_labeler(labeler as usize) == 0)
    }

    /// Votes that a labeler gave.
    #[inline]
    pub fn count_of_labeler(&self, labeler: usize) -> u32 {
        self.labeler_start[labeler + 1] - self.labeler_start[labeler]
    }

    /// Lets go of what only the search for clusters needs: the votes by labeler.
    pub fn forget_order(&mut self) {
        self.by_labeler = Vec::new();
    }

    /// Item of a vote. A search: the walks by item know it already.
    pub fn item_of(&self, vote: usize) -> usize {
        // Items without votes start where the next one does, so the last start that is not behind the vote is its item's.
        self.item_start
            .partition_point(|&start| start as usize <= vote)
            - 1
    }

    /// Vote numbers of one labeler, by item.
    #[inline]
    pub fn votes_of_labeler(&self, labeler: usize) -> &[u32] {
        &self.by_labeler
            [self.labeler_start[labeler] as usize..self.labeler_start[labeler + 1] as usize]
    }
}

/// The error that names the first two votes of a labeler for an item.
fn duplicate(votes: &[Vote], item: u32, labeler: u32) -> ConsensusError {
    let mut entries = votes
        .iter()
        .enumerate()
        .filter(|(_, vote)| vote.item == item && vote.labeler == labeler)
        .map(|(index, _)| index);
    let first = entries.next().unwrap_or_default();
    ConsensusError::DuplicateVote {
        first,
        second: entries.next().unwrap_or_default(),
        item,
        labeler,
    }
}

/// Counting-sort offsets: entry `r` is the number of keys below `r`.
fn offsets(keys: impl Iterator<Item = u32>, rows: usize) -> Vec<u32> {
    let mut start = vec![0u32; rows + 1];
    for key in keys {
        start[key as usize + 1] += 1;
    }
    for row in 0..rows {
        start[row + 1] += start[row];
    }
    start
}

fn check_sizes(input: &ClassInput<'_>) -> Result<(), ConsensusError> {
    if input.classes < MIN_CLASSES || input.classes > MAX_CLASSES {
        return Err(ConsensusError::Classes {
            classes: input.classes,
            min: MIN_CLASSES,
            max: MAX_CLASSES,
        });
    }
    let sizes = [
        ("items", u64::from(input.items), MAX_ITEMS),
        ("labelers", u64::from(input.labelers), MAX_LABELERS),
        ("votes", input.votes.len() as u64, MAX_VOTES),
        (
            "posterior cells",
            u64::from(input.items) * u64::from(input.classes),
            MAX_CELLS,
        ),
        (
            "labeler cells",
            u64::from(input.labelers) * u64::from(input.classes),
            MAX_CELLS,
        ),
    ];
    for (what, count, max) in sizes {
        if count > max {
            return Err(ConsensusError::TooMany { what, count, max });
        }
    }
    if !input.priors.is_empty() && input.priors.len() != input.labelers as usize {
        return Err(ConsensusError::PriorCount {
            priors: input.priors.len(),
            labelers: input.labelers,
        });
    }
    Ok(())
}

pub(super) fn check_ranges(input: &ClassInput<'_>) -> Result<(), ConsensusError> {
    for (index, vote) in input.votes.iter().enumerate() {
        if vote.item >= input.items {
            return Err(ConsensusError::ItemOutOfRange {
                index,
                item: vote.item,
                items: input.items,
            });
        }
        if vote.labeler >= input.labelers {
            return Err(ConsensusError::LabelerOutOfRange {
                index,
                labeler: vote.labeler,
                labelers: input.labelers,
            });
        }
        if vote.label >= input.classes {
            return Err(ConsensusError::LabelOutOfRange {
                index,
                label: vote.label,
                classes: input.classes,
            });
        }
    }
    for (&item, &label) in input.gold {
        if item >= input.items || label >= input.classes {
            return Err(ConsensusError::GoldOutOfRange {
                item,
                label,
                items: input.items,
                classes: input.classes,
            });
        }
    }
    Ok(())
}

/// The most frequent label of each item, ties by smallest label, `None` without votes: the baseline that every result is compared with.
///
/// Gold is ignored, as a plain majority vote would.
///
/// # Errors
/// The same input checks as [`infer_class`](super::infer_class).
pub fn majority(input: &ClassInput<'_>) -> Result<Vec<Option<u16>>, ConsensusError> {
    let index = Index::new(input)?;
    let mut counts = vec![0u32; index.classes];
    let mut result = Vec::with_capacity(index.items);
    for item in 0..index.items {
        counts.fill(0);
        for vote in index.votes_of_item(item) {
            counts[usize::from(index.vote_label[vote])] += 1;
        }
        result.push(best_label(&counts));
    }
    Ok(result)
}

/// Position of the largest count, the first among equals; `None` when all are zero.
fn best_label(counts: &[u32]) -> Option<u16> {
    let mut best = None;
    let mut top = 0;
    for (label, &count) in counts.iter().enumerate() {
        if count > top {
            top = count;
            best = Some(label as u16);
        }
    }
    best
}
