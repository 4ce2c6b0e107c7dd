//! The tree under a score: positional, BLAKE3, and cheap to change in a few places.
//!
//! What for: any leaf of a score is shown by a short proof, and a few changed leaves cost their paths, not the tree.
//! What it does not do: it is not the tree that the contracts read; that one is [`crate::merkle`], of the same shape over keccak.
//! Invariants: `inner = BLAKE3(key INNER, left || right)`; leaves are padded on the right with zero words to the next power of two; one leaf
//! is its own root; no leaf has the zero root. Keys tell kinds of leaves from one another and from inner nodes.

use crate::id::Hash;

/// Key of inner nodes.
const INNER: &[u8; 32] = b"assay/consensus/tree/inner/1    ";

/// A name of 32 bytes under which one kind of leaf is hashed.
pub(super) type Key = [u8; 32];

/// Hash of `bytes` as one kind of leaf.
#[inline]
pub(super) fn keyed(key: &Key, bytes: &[u8]) -> Hash {
    Hash(*blake3::keyed_hash(key, bytes).as_bytes())
}

#[inline]
fn inner(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&left.0);
    bytes[32..].copy_from_slice(&right.0);
    keyed(INNER, &bytes)
}

/// Levels above `count` leaves.
fn depth(count: usize) -> usize {
    count.max(1).next_power_of_two().trailing_zeros() as usize
}

/// All levels of a tree, leaves first; about twice the leaves in memory. The padding is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScoreTree {
    levels: Vec<Vec<Hash>>,
    /// Root of a padded subtree per level.
    empty: Vec<Hash>,
}

impl ScoreTree {
    /// The tree over `leaves` in the given order.
    pub fn new(leaves: Vec<Hash>) -> Self {
        let mut empty = vec![Hash::ZERO];
        let mut levels = vec![leaves];
        for level in 0..depth(levels[0].len()) {
            let padding = empty[level];
            let above = levels[level]
                .chunks(2)
                .map(|pair| inner(&pair[0], pair.get(1).unwrap_or(&padding)))
                .collect();
            levels.push(above);
            empty.push(inner(&padding, &padding));
        }
        Self { levels, empty }
    }

    /// The root; zero for a tree without leaves.
    pub fn root(&self) -> Hash {
        self.levels
            .last()
            .and_then(|top| top.first())
            .copied()
            .unwrap_or(Hash::ZERO)
    }

    /// Siblings from the bottom up for the leaf at `index`; `None` when there is no such leaf.
    pub fn proof(&self, index: u32) -> Option<Vec<Hash>> {
        let index = index as usize;
        (index < self.levels[0].len()).then(|| {
            (0..self.levels.len() - 1)
                .map(|level| {
                    let sibling = self.levels[level].get((index >> level) ^ 1);
                    sibling.copied().unwrap_or(self.empty[level])
                })
                .collect()
        })
    }

    /// Replaces leaves and the nodes above them. Positions ascend and are below the number of leaves; others are ignored.
    pub fn update(&mut self, changed: &[(u32, Hash)]) {
        let mut touched: Vec<u32> = Vec::with_capacity(changed.len());
        for &(index, leaf) in changed {
            if let Some(slot) = self.levels[0].get_mut(index as usize) {
                *slot = leaf;
                touched.push(index);
            }
        }
        for level in 0..self.levels.len() - 1 {
            touched.iter_mut().for_each(|index| *index >>= 1);
            touched.dedup();
            let (below, above) = self.levels.split_at_mut(level + 1);
            let (below, above) = (&below[level], &mut above[0]);
            for &parent in &touched {
                let first = 2 * parent as usize;
                let right = below.get(first + 1).unwrap_or(&self.empty[level]);
                above[parent as usize] = inner(&below[first], right);
            }
        }
    }
}

/// Whether `leaf` stands at `index` of `count` leaves under `root`.
pub(super) fn verify(root: &Hash, leaf: &Hash, index: u32, count: u32, proof: &[Hash]) -> bool {
    if index >= count || proof.len() != depth(count as usize) {
        return false;
    }
    let node = proof
        .iter()
        .enumerate()
        .fold(*leaf, |node, (level, sibling)| {
            if index >> level & 1 == 1 {
                inner(sibling, &node)
            } else {
                inner(&node, sibling)
            }
        });
    node == *root
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEAF: &Key = b"assay/consensus/tree/test leaf/1";

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count as u64)
            .map(|i| keyed(LEAF, &i.to_le_bytes()))
            .collect()
    }

    /// The definition, with the padding written out.
    fn plain_root(mut level: Vec<Hash>) -> Hash {
        if level.is_empty() {
            return Hash::ZERO;
        }
        level.resize(level.len().next_power_of_two(), Hash::ZERO);
        while level.len() > 1 {
            level = level
                .chunks_exact(2)
                .map(|pair| inner(&pair[0], &pair[1]))
                .collect();
        }
        level[0]
    }

    proptest! {
        #[test]
        fn a_root_is_that_of_the_padded_leaves(count in 0usize..140) {
            prop_assert_eq!(ScoreTree::new(leaves(count)).root(), plain_root(leaves(count)));
        }

        #[test]
        fn every_leaf_proves_itself_and_only_at_its_place(count in 1usize..140, pick: usize, other: usize) {
            let (all, pick, other) = (leaves(count), pick % count, other % count);
            let tree = ScoreTree::new(all.clone());
            let proof = tree.proof(pick as u32).unwrap();
            let holds = |leaf: &Hash, index: usize, count: usize, proof: &[Hash]| {
                verify(&tree.root(), leaf, index as u32, count as u32, proof)
            };
            prop_assert!(holds(&all[pick], pick, count, &proof));
            if other != pick {
                prop_assert!(!holds(&all[other], pick, count, &proof));
                prop_assert!(!holds(&all[pick], other, count, &proof));
            }
            prop_assert!(!holds(&all[pick], pick, 2 * count + 2, &proof));
            prop_assert!(!holds(&all[pick], pick + proof.len().pow(2).max(count), count, &proof));
            prop_assert_eq!(tree.proof(count as u32), None);
        }

        #[test]
        fn changed_leaves_give_the_tree_of_the_new_leaves(count in 1usize..140, picks in proptest::collection::btree_set(0u32..150, 0..40)) {
            let mut all = leaves(count);
            let mut tree = ScoreTree::new(all.clone());
            let changed: Vec<(u32, Hash)> = picks.iter().map(|&i| (i, keyed(LEAF, &[1, i as u8]))).collect();
            for &(index, leaf) in changed.iter().filter(|change| (change.0 as usize) < count) {
                all[index as usize] = leaf;
            }
            tree.update(&changed);
            prop_assert_eq!(tree, ScoreTree::new(all));
        }
    }
}
