//! The input of comparison inference, its checks, and the cells that the model walks.
//!
//! What for: any order of the same votes becomes the same index, and nothing below this file sees an out-of-range number.
//! What it does not do: it keeps no keys or times.
//! Invariants of [`Index`]: cells are distinct ordered pairs sorted by (left, right); votes are sorted by (cell, labeler, share, weight).

use serde::{Deserialize, Serialize};

use crate::consensus::class::{MAX_ITEMS, MAX_LABELERS};
use crate::consensus::error::ConsensusError;
use crate::consensus::fixed::ONE;

/// Most objects of one scoring run, in objects.
pub const MAX_OBJECTS: u64 = 1 << 20;
/// Most comparisons of one scoring run, those that orders are expanded to included, in comparisons.
pub const MAX_COMPARISONS: u64 = 1 << 24;
/// Most objects of one order, in objects.
pub const MAX_ORDER: u64 = 256;

/// Bits that name an object, and that name a labeler, in a packed comparison; two more hold left's share in halves.
const NAME_BITS: u32 = 20;

const _: () = assert!(MAX_OBJECTS <= MAX_ITEMS && MAX_OBJECTS <= 1 << NAME_BITS);
const _: () = assert!(MAX_LABELERS <= 1 << NAME_BITS && 3 * NAME_BITS + 2 <= u64::BITS);

/// Outcome of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The left object is better.
    Left,
    /// The right object is better.
    Right,
    /// Neither; half a win for each.
    Tie,
}

/// One comparison: `labeler` saw `left` and `right`; all three are indices that start at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Index of the labeler, below [`PairInput::labelers`].
    pub labeler: u32,
    /// The object shown on the left, below [`PairInput::objects`].
    pub left: u32,
    /// The object shown on the right, below [`PairInput::objects`].
    pub right: u32,
    /// The answer.
    pub outcome: Outcome,
}

/// Everything that [`super::infer_pairs`] may look at.
#[derive(Clone, Copy, Debug)]
pub struct PairInput<'a> {
    /// Objects compared; objects without comparisons are allowed.
    pub objects: u32,
    /// Labelers of the task; labelers without votes are allowed.
    pub labelers: u32,
    /// Whether `left` and `right` are the sides that the labeler saw; then one crowd-wide advantage of the left side is estimated.
    /// Where they only name the pair, an advantage would be an artefact of the naming.
    pub sided: bool,
    /// The comparisons in any order. A labeler who compares the same two objects several times, whichever of them is left, has one vote
    /// about them in all: the answers share its weight.
    pub votes: &'a [Comparison],
}

/// One order of several objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranking<'a> {
    /// Index of the labeler, below [`RankingInput::labelers`].
    pub labeler: u32,
    /// The objects, best first, none twice, at most [`MAX_ORDER`].
    pub order: &'a [u32],
}

/// Everything that [`super::infer_rankings`] may look at.
#[derive(Clone, Copy, Debug)]
pub struct RankingInput<'a> {
    /// Objects ordered; objects that no order names are allowed.
    pub objects: u32,
    /// Labelers of the task; labelers without votes are allowed.
    pub labelers: u32,
    /// The orders.
    pub votes: &'a [Ranking<'a>],
}

/// One vote inside a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// Position in `Index::cells`.
    pub cell: u32,
    /// The labeler.
    pub labeler: u32,
    /// Left's share of the win, Q16: all, half or nothing.
    pub share: u32,
    /// Weight, Q16.
    pub weight: u32,
}

/// The canonical form of an input.
#[derive(Debug)]
pub(super) struct Index {
    pub objects: usize,
    pub labelers: usize,
    /// Whether sides mean anything.
    pub sided: bool,
    /// Left and right object of each cell.
    pub cells: Vec<(u32, u32)>,
    pub entries: Vec<Entry>,
    /// Votes as the labeler gave them: comparisons or orders.
    pub votes_of_labeler: Vec<u32>,
    /// Comparisons per object.
    pub comparisons: Vec<u32>,
}

/// A comparison with its weight, before cells are numbered: left, right, labeler, share, weight.
type Row = (u32, u32, u32, u32, u32);

impl Index {
    pub fn of_comparisons(input: &PairInput<'_>) -> Result<Self, ConsensusError> {
        check_sizes(input.objects, input.labelers, input.votes.len() as u64)?;
        let mut packed = Vec::with_capacity(input.votes.len());
        let mut votes_of_labeler = vec![0; input.labelers as usize];
        for (index, vote) in input.votes.iter().enumerate() {
            check_labeler(index, vote.labeler, input.labelers)?;
            check_object(index, vote.left, input.objects)?;
            check_object(index, vote.right, input.objects)?;
            if vote.left == vote.right {
                return Err(ConsensusError::SelfComparison {
                    index,
                    object: vote.left,
                });
            }
            let halves = match vote.outcome {
                Outcome::Left => 2,
                Outcome::Right => 0,
                Outcome::Tie => 1,
            };
            let sides = u64::from(vote.left) << NAME_BITS | u64::from(vote.right);
            packed.push((sides << NAME_BITS | u64::from(vote.labeler)) << 2 | halves);
            votes_of_labeler[vote.labeler as usize] += 1;
        }
        packed.sort_unstable();
        let mut index = Self::empty(input.objects, votes_of_labeler, packed.len());
        index.sided = input.sided;
        index.unpack(&packed);
        Ok(index)
    }

    /// The comparisons that the orders are read as: all of them, or those of one object.
    pub fn of_rankings(
        input: &RankingInput<'_>,
        about: Option<u32>,
    ) -> Result<Self, ConsensusError> {
        let mut count: u64 = 0;
        for vote in input.votes {
            let length = vote.order.len() as u64;
            at_most("objects in one order", length, MAX_ORDER)?;
            count += length * length.saturating_sub(1) / 2;
        }
        check_sizes(input.objects, input.labelers, count)?;
        at_most("orders", input.votes.len() as u64, MAX_COMPARISONS)?;
        let mut rows = Vec::with_capacity(if about.is_none() { count as usize } else { 0 });
        let mut votes_of_labeler = vec![0; input.labelers as usize];
        for (index, vote) in input.votes.iter().enumerate() {
            check_labeler(index, vote.labeler, input.labelers)?;
            for (place, &better) in vote.order.iter().enumerate() {
                check_object(index, better, input.objects)?;
                if vote.order[..place].contains(&better) {
                    return Err(ConsensusError::SelfComparison {
                        index,
                        object: better,
                    });
                }
            }
            votes_of_labeler[vote.labeler as usize] += 1;
            let weight = (2 * ONE) / (vote.order.len() as u32).max(2);
            for (place, &better) in vote.order.iter().enumerate() {
                for &worse in &vote.order[place + 1..] {
                    if about.is_some_and(|object| object != better && object != worse) {
                        continue;
                    }
                    // An order has no sides; the smaller index stands left so that half of the wins fall to either side.
                    rows.push(if better < worse {
                        (better, worse, vote.labeler, ONE, weight)
                    } else {
                        (worse, better, vote.labeler, 0, weight)
                    });
                }
            }
        }
        rows.sort_unstable();
        let mut index = Self::empty(input.objects, votes_of_labeler, rows.len());
        rows.into_iter().for_each(|row| index.push(row));
        Ok(index)
    }

    /// An index without sides or comparisons, and room for `count` of these.
    fn empty(objects: u32, votes_of_labeler: Vec<u32>, count: usize) -> Self {
        Self {
            objects: objects as usize,
            labelers: votes_of_labeler.len(),
            sided: false,
            cells: Vec::new(),
            entries: Vec::with_capacity(count),
            votes_of_labeler,
            comparisons: vec![0; objects as usize],
        }
    }

    /// Adds a comparison; they come in their order.
    fn push(&mut self, (left, right, labeler, share, weight): Row) {
        if self.cells.last() != Some(&(left, right)) {
            self.cells.push((left, right));
        }
        self.comparisons[left as usize] += 1;
        self.comparisons[right as usize] += 1;
        self.entries.push(Entry {
            cell: self.cells.len() as u32 - 1,
            labeler,
            share,
            weight,
        });
    }

    /// Adds sorted packed comparisons, and shares the weight of a labeler's answers about the same two objects, whichever of them is left.
    fn unpack(&mut self, packed: &[u64]) {
        let name = |packed: u64| packed as u32 & ((1 << NAME_BITS) - 1);
        let cell_of = |packed: &u64| packed >> (NAME_BITS + 2);
        let cells: Vec<&[u64]> = packed.chunk_by(|x, y| cell_of(x) == cell_of(y)).collect();
        for cell in &cells {
            let sides = cell_of(&cell[0]);
            let (left, right) = (name(sides >> NAME_BITS), name(sides));
            let mirrored = u64::from(right) << NAME_BITS | u64::from(left);
            let mut other: &[u64] = cells
                .binary_search_by_key(&mirrored, |cell| cell_of(&cell[0]))
                .map_or(&[], |place| cells[place]);
            for same in cell.chunk_by(|x, y| x >> 2 == y >> 2) {
                let labeler = name(same[0] >> 2);
                // Both cells are sorted by labeler.
                let before = other.iter().take_while(|vote| name(*vote >> 2) < labeler);
                other = &other[before.count()..];
                let again = other.iter().take_while(|vote| name(*vote >> 2) == labeler);
                let weight = (ONE / (same.len() + again.count()) as u32).max(1);
                for vote in same {
                    let share = (vote & 3) as u32 * (ONE / 2);
                    self.push((left, right, labeler, share, weight));
                }
            }
        }
    }
}

fn at_most(what: &'static str, count: u64, max: u64) -> Result<(), ConsensusError> {
    if count > max {
        return Err(ConsensusError::TooMany { what, count, max });
    }
    Ok(())
}

fn check_sizes(objects: u32, labelers: u32, comparisons: u64) -> Result<(), ConsensusError> {
    at_most("objects", u64::from(objects), MAX_OBJECTS)?;
    at_most("labelers", u64::from(labelers), MAX_LABELERS)?;
    at_most("comparisons", comparisons, MAX_COMPARISONS)
}

fn check_labeler(index: usize, labeler: u32, labelers: u32) -> Result<(), ConsensusError> {
    if labeler >= labelers {
        return Err(ConsensusError::LabelerOutOfRange {
            index,
            labeler,
            labelers,
        });
    }
    Ok(())
}

fn check_object(index: usize, object: u32, objects: u32) -> Result<(), ConsensusError> {
    if object >= objects {
        return Err(ConsensusError::ItemOutOfRange {
            index,
            item: object,
            items: objects,
        });
    }
    Ok(())
}
