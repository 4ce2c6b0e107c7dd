//! The input of truth inference, its checks, and the canonical index that the model walks.
//!
//! What for: any order of the same votes becomes the same index, and nothing below this file sees an out-of-range number.
//! What it does not do: it keeps no keys, signatures or times; those were checked when the reveal was admitted.
//! Invariants of [`Index`]: votes are sorted by (item, labeler) without repetition; every offset table has one entry more than rows;
//! memory is linear in items, labelers, votes and the two products that [`MAX_CELLS`] bounds.

use std::collections::BTreeMap;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Item of each vote.
    pub vote_item: Vec<u32>,
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

impl Index {
    /// Checks the input and sorts it; all limits are enforced before anything is allocated for them.
    pub fn new(input: &ClassInput<'_>) -> Result<Self, ConsensusError> {
        check_sizes(input)?;
        check_ranges(input)?;
        let items = input.items as usize;
        let labelers = input.labelers as usize;
        let classes = usize::from(input.classes);

        let mut order: Vec<(u64, u32)> = Vec::with_capacity(input.votes.len());
        for (index, vote) in input.votes.iter().enumerate() {
            order.push((
                (u64::from(vote.item) << 32) | u64::from(vote.labeler),
                index as u32,
            ));
        }
        order.sort_unstable();
        if let Some(pair) = order.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(ConsensusError::DuplicateVote {
                first: pair[0].1 as usize,
                second: pair[1].1 as usize,
                item: (pair[0].0 >> 32) as u32,
                labeler: pair[0].0 as u32,
            });
        }

        let count = order.len();
        let mut vote_item = Vec::with_capacity(count);
        let mut vote_labeler = Vec::with_capacity(count);
        let mut vote_label = Vec::with_capacity(count);
        for &(key, index) in &order {
            vote_item.push((key >> 32) as u32);
            vote_labeler.push(key as u32);
            vote_label.push(input.votes[index as usize].label);
        }
        drop(order);
        let item_start = offsets(&vote_item, items);
        let labeler_start = offsets(&vote_labeler, labelers);
        let mut next = labeler_start.clone();
        let mut by_labeler = vec![0u32; count];
        for (vote, &labeler) in vote_labeler.iter().enumerate() {
            let slot = &mut next[labeler as usize];
            by_labeler[*slot as usize] = vote as u32;
            *slot += 1;
        }

        let mut gold = vec![None; items];
        for (&item, &label) in input.gold {
            gold[item as usize] = Some(label);
        }
        let mut index = Self {
            items,
            labelers,
            classes,
            vote_labeler,
            vote_label,
            vote_item,
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
        let mut column_of = vec![u32::MAX; self.classes];
        for labeler in 0..self.labelers {
            let first = self.column_label.len();
            self.column_start.push(first as u32);
            let range =
                self.labeler_start[labeler] as usize..self.labeler_start[labeler + 1] as usize;
            for &vote in &self.by_labeler[range.clone()] {
                column_of[usize::from(self.vote_label[vote as usize])] = 0;
            }
            for (label, slot) in column_of.iter_mut().enumerate() {
                if *slot != u32::MAX {
                    *slot = self.column_label.len() as u32;
                    self.column_label.push(label as u16);
                    self.column_labeler.push(labeler as u32);
                }
            }
            for &vote in &self.by_labeler[range] {
                self.vote_column[vote as usize] =
                    column_of[usize::from(self.vote_label[vote as usize])];
            }
            column_of.fill(u32::MAX);
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
    pub fn votes_of_item(&self, item: usize) -> std::ops::Range<usize> {
        self.item_start[item] as usize..self.item_start[item + 1] as usize
    }

    /// Columns of one labeler, by label.
    pub fn columns_of_labeler(&self, labeler: usize) -> std::ops::Range<usize> {
        self.column_start[labeler] as usize..self.column_start[labeler + 1] as usize
    }

    /// Vote numbers of one labeler, by item.
    pub fn votes_of_labeler(&self, labeler: usize) -> &[u32] {
        &self.by_labeler
            [self.labeler_start[labeler] as usize..self.labeler_start[labeler + 1] as usize]
    }
}

/// Counting-sort offsets: entry `r` is the number of keys below `r`.
fn offsets(keys: &[u32], rows: usize) -> Vec<u32> {
    let mut start = vec![0u32; rows + 1];
    for &key in keys {
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

fn check_ranges(input: &ClassInput<'_>) -> Result<(), ConsensusError> {
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
