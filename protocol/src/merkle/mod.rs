//! The positional Merkle tree that Rust and Solidity share.
//!
//! `leaf = keccak256(prefix || fields)`, `inner = keccak256(0x01 || left || right)`; leaves are padded on the right with zero words
//! to the next power of two; one leaf is its own root; no leaf has the zero root. The prefix byte tells kinds of leaves from
//! one another and from inner nodes, so neither a second pre-image nor a leaf of another tree fits.

mod places;
mod share;

use alloy_primitives::keccak256;

use crate::id::Hash;
pub use places::{Misfit, Places};
pub use share::{ShareClaim, ShareNode, ShareTree, Shares};

/// Prefix of a payout leaf: `0x00 || payee (20) || total (16)`.
pub const PAYOUT_LEAF: u8 = 0x00;
/// Prefix of a loss leaf: `0x02 || account (20) || total (16)`.
pub const LOSS_LEAF: u8 = 0x02;
/// Prefix of a record leaf: `0x03 || record id (32)`.
pub const RECORD_LEAF: u8 = 0x03;
/// Prefix of a reputation leaf: `0x04 || account (20) || domain (32) || alpha (8) || beta (8)`.
pub const REPUTATION_LEAF: u8 = 0x04;
/// Prefix of an audit leaf: `0x05 || payee (20) || total (16) || sum of the totals before it (16)`.
pub const AUDIT_LEAF: u8 = 0x05;
/// Prefix of a flat payout leaf: `0x06 || task (32) || client (20) || payee (20) || amount (16)`.
pub const FLAT_LEAF: u8 = 0x06;
/// Prefix of a header's state root: `0x07 || hash of the state (32) || root of the flat payouts and bonuses (32)`.
pub const STATE_ROOT: u8 = 0x07;
/// Prefix of a score leaf: `0x08 || task (32) || score root (32)`.
pub const SCORE_LEAF: u8 = 0x08;
/// Prefix of a bonus leaf: `0x0a || task (32) || client (20) || scored (1) || shares root (32) || total weight (16) || shares (4)`.
pub const BONUS_LEAF: u8 = 0x0a;
const SHARE_LEAF: u8 = 0x0b;
const SHARE_INNER: u8 = 0x0c;
const INNER: u8 = 0x01;

/// Hash of one leaf.
pub fn leaf(prefix: u8, fields: &[&[u8]]) -> Hash {
    let mut bytes = Vec::with_capacity(1 + fields.iter().map(|f| f.len()).sum::<usize>());
    bytes.push(prefix);
    for field in fields {
        bytes.extend_from_slice(field);
    }
    Hash(keccak256(&bytes).0)
}

fn inner(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [0; 65];
    bytes[0] = INNER;
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Hash(keccak256(bytes).0)
}

/// Levels above the leaves of a tree with `leaves` leaves; every proof has that many siblings.
pub fn depth(leaves: u32) -> usize {
    u64::from(leaves.max(1))
        .next_power_of_two()
        .trailing_zeros() as usize
}

/// All levels of a tree, leaves first; about twice the leaves in memory.
#[derive(Clone, Debug)]
pub struct Tree {
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// Builds the tree over `leaves` in the given order.
    pub fn new(mut leaves: Vec<Hash>) -> Self {
        if leaves.is_empty() {
            return Self {
                levels: vec![vec![Hash::ZERO]],
            };
        }
        leaves.resize(leaves.len().next_power_of_two(), Hash::ZERO);
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            levels.push(
                below
                    .chunks_exact(2)
                    .map(|pair| inner(&pair[0], &pair[1]))
                    .collect(),
            );
        }
        Self { levels }
    }

    /// The root; zero for a tree without leaves.
    pub fn root(&self) -> Hash {
        self.levels.last().map_or(Hash::ZERO, |top| top[0])
    }

    /// Siblings from the bottom up for the leaf at `index`; `None` beyond the padded width.
    pub fn proof(&self, index: usize) -> Option<Vec<Hash>> {
        self.proof_above(index, 0)
    }

    /// Levels above the leaves.
    pub fn height(&self) -> usize {
        self.levels.len() - 1
    }

    /// Siblings upwards from the node at `position` of the level `height` above the leaves; `None` beyond the tree.
    pub fn proof_above(&self, position: usize, height: usize) -> Option<Vec<Hash>> {
        if position >= self.levels.get(height)?.len() {
            return None;
        }
        Some(
            (height..self.height())
                .map(|level| self.levels[level][(position >> (level - height)) ^ 1])
                .collect(),
        )
    }
}

/// Root of a tree over `leaves`.
pub fn root(leaves: Vec<Hash>) -> Hash {
    Tree::new(leaves).root()
}

/// Whether `leaf` stands at `index` under `root`: the check that the contracts make.
pub fn verify(root: &Hash, leaf: &Hash, index: u64, proof: &[Hash]) -> bool {
    climb(leaf, index, proof).as_ref() == Some(root)
}

/// The root that a leaf's siblings lead to; `None` when the index is beyond a tree of that depth.
pub fn climb(leaf: &Hash, index: u64, proof: &[Hash]) -> Option<Hash> {
    if proof.len() > 63 || index >> proof.len() != 0 {
        return None;
    }
    let mut node = *leaf;
    for (level, sibling) in proof.iter().enumerate() {
        node = if index >> level & 1 == 1 {
            inner(sibling, &node)
        } else {
            inner(&node, sibling)
        };
    }
    Some(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaves(n: usize) -> Vec<Hash> {
        (0..n as u64)
            .map(|i| leaf(PAYOUT_LEAF, &[&i.to_be_bytes()]))
            .collect()
    }

    #[test]
    fn no_leaf_one_leaf_and_two_leaves() {
        assert_eq!(root(vec![]), Hash::ZERO);
        assert_eq!(root(leaves(1)), leaves(1)[0]);
        assert_eq!(root(leaves(2)), inner(&leaves(2)[0], &leaves(2)[1]));
        assert!(verify(&root(leaves(1)), &leaves(1)[0], 0, &[]));
        assert!(!verify(&root(leaves(1)), &leaves(1)[0], 1, &[]));
    }

    proptest! {
        #[test]
        fn every_leaf_proves_itself_and_only_at_its_place(n in 1usize..70, pick: usize, other: usize) {
            let (all, pick) = (leaves(n), pick % n);
            let tree = Tree::new(all.clone());
            let proof = tree.proof(pick).expect("inside");
            prop_assert!(verify(&tree.root(), &all[pick], pick as u64, &proof));
            let other = other % n;
            if other != pick {
                prop_assert!(!verify(&tree.root(), &all[other], pick as u64, &proof));
                prop_assert!(!verify(&tree.root(), &all[pick], other as u64, &proof));
            }
            prop_assert!(!verify(&tree.root(), &all[pick], pick as u64 + (1 << proof.len()), &proof));
        }
    }
}
