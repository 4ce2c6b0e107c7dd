//! A signed tree as somebody lays it out: places with or without a leaf, under the root of a header that may lie about their number.

use super::{Tree, depth, inner};
use crate::id::Hash;

/// Highest tree that the contracts climb (`PositionalMerkle.MAX_DEPTH`).
const LEVELS_MAX: usize = 40;

/// What is wrong with leaves that are said to stand under a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// They give another root.
    Root,
    /// They give the root, but their tree has fewer levels than the number of leaves asks for: no whole proof reaches any place.
    Shallow {
        /// Levels of the tree.
        levels: usize,
        /// Levels that a whole proof has.
        needed: usize,
    },
}

/// The places under a root, as many levels below it as whole proofs of its number of leaves have. Empty places behind the last leaf take no
/// memory, however many the header names.
#[derive(Clone, Debug)]
pub struct Places {
    tree: Tree,
    /// The tree's root, and those of the trees twice, four times, ... as wide.
    spine: Vec<Hash>,
    /// Roots of trees without leaves, by height.
    empty: Vec<Hash>,
    /// Height of the places above the given leaves: 0, but for a tree with too many levels.
    base: usize,
    depth: usize,
}

impl Places {
    /// The places under `root`, which says that it has `count` leaves; `leaves` in tree order, zero for an empty place.
    ///
    /// # Errors
    /// [`Misfit`].
    pub fn new(mut leaves: Vec<Hash>, root: &Hash, count: u32) -> Result<Self, Misfit> {
        let used = leaves.iter().rposition(|leaf| *leaf != Hash::ZERO);
        leaves.truncate(used.map_or(0, |last| last + 1));
        let tree = Tree::new(leaves);
        let mut empty = vec![Hash::ZERO];
        let mut spine = vec![tree.root()];
        while spine.last() != Some(root) {
            if tree.height() + spine.len() > LEVELS_MAX {
                return Err(Misfit::Root);
            }
            while empty.len() < tree.height() + spine.len() {
                empty.push(inner(&empty[empty.len() - 1], &empty[empty.len() - 1]));
            }
            let height = tree.height() + spine.len() - 1;
            spine.push(inner(&spine[spine.len() - 1], &empty[height]));
        }
        let (levels, needed) = (tree.height() + spine.len() - 1, depth(count));
        let base = levels
            .checked_sub(needed)
            .ok_or(Misfit::Shallow { levels, needed })?;
        while empty.len() <= levels {
            empty.push(inner(&empty[empty.len() - 1], &empty[empty.len() - 1]));
        }
        Ok(Self {
            tree,
            spine,
            empty,
            base,
            depth: needed,
        })
    }

    /// Whether the places are those of the given leaves, not nodes above them.
    pub fn are_leaves(&self) -> bool {
        self.base == 0
    }

    /// Number of places, a power of two.
    pub fn width(&self) -> u64 {
        1 << self.depth
    }

    /// What stands in a place; zero when it is empty.
    pub fn node(&self, place: u64) -> Hash {
        self.at(self.base, place)
    }

    /// Siblings from the bottom up for a place below [`Self::width`].
    pub fn proof(&self, place: u64) -> Vec<Hash> {
        let levels = 0..self.depth;
        levels
            .map(|up| self.at(self.base + up, place >> up ^ 1))
            .collect()
    }

    /// The first place in `range` that is empty, or is not.
    pub fn first(&self, range: std::ops::Range<u64>, is_empty: bool) -> Option<u64> {
        // Behind the last node all places are alike, so one of them speaks for all.
        let known = self.tree.levels.get(self.base).map_or(1, Vec::len) as u64;
        let end = range.end.min(known.max(range.start).saturating_add(1));
        (range.start..end).find(|place| (self.node(*place) == Hash::ZERO) == is_empty)
    }

    fn at(&self, height: usize, position: u64) -> Hash {
        let empty = || self.empty.get(height).copied().unwrap_or(Hash::ZERO);
        match self.tree.levels.get(height) {
            Some(level) => {
                let position = usize::try_from(position).ok();
                position
                    .and_then(|p| level.get(p).copied())
                    .unwrap_or_else(empty)
            }
            None if position == 0 => self.spine[height - self.tree.height()],
            None => empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::merkle::{PAYOUT_LEAF, leaf, root, verify};

    fn leaves(n: u64) -> Vec<Hash> {
        (0..n)
            .map(|i| leaf(PAYOUT_LEAF, &[&i.to_be_bytes()]))
            .collect()
    }

    proptest! {
        #[test]
        fn every_place_proves_itself_whatever_the_header_says_of_their_number(
            n in 0u64..40,
            extra in 0usize..9,
            count in 0u32..70,
            place: u64,
        ) {
            let mut all = leaves(n);
            all.resize(all.len() + extra, Hash::ZERO);
            let top = root(all.clone());
            match Places::new(all, &top, count) {
                Ok(places) => {
                    let place = place % places.width();
                    let proof = places.proof(place);
                    prop_assert_eq!(proof.len(), depth(count));
                    prop_assert!(verify(&top, &places.node(place), place, &proof));
                }
                Err(misfit) => {
                    let shallow = matches!(misfit, Misfit::Shallow { levels, needed } if levels < needed && needed == depth(count));
                    prop_assert!(shallow);
                }
            }
        }

        #[test]
        fn the_first_empty_or_filled_place_is_the_first(n in 1u64..20, holes: u32, from in 0u64..40, to in 0u64..40) {
            let mut all = leaves(n);
            for (i, place) in all.iter_mut().enumerate() {
                if holes >> i & 1 == 1 {
                    *place = Hash::ZERO;
                }
            }
            let padded = { let mut p = all.clone(); p.resize(32, Hash::ZERO); p };
            let places = Places::new(all, &root(padded.clone()), 20).unwrap();
            for is_empty in [true, false] {
                let slow = (from..to.min(32)).find(|i| (padded[*i as usize] == Hash::ZERO) == is_empty);
                prop_assert_eq!(places.first(from..to.min(32), is_empty), slow);
            }
        }
    }

    #[test]
    fn a_header_that_names_four_billion_leaves_costs_no_memory() {
        let mut top = root(leaves(1));
        let mut empty = Hash::ZERO;
        for _ in 0..32 {
            top = inner(&top, &empty);
            empty = inner(&empty, &empty);
        }
        let places = Places::new(leaves(1), &top, u32::MAX).unwrap();
        assert_eq!(places.first(0..u64::from(u32::MAX), true), Some(1));
        assert!(verify(&top, &Hash::ZERO, 1, &places.proof(1)));
        assert_eq!(
            Places::new(leaves(2), &top, 1).map(|_| ()),
            Err(Misfit::Root)
        );
    }
}
