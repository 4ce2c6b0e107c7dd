//! Trees of shares, which cannot promise more than the whole: who has which part of a sum that nobody knows yet.
//!
//! `leaf = keccak256(0x0b || payee (20) || weight (16))`, `inner = keccak256(0x0c || left || sum under left (16) || right || sum under
//! right (16))`; padding on the right with the zero word and the sum zero; one leaf is its own root. A proof lists siblings with their
//! sums, which must add up to the total: so two leaves never claim the same part, whoever built the tree (`ShareTree.sol`).

use alloy_primitives::{U256, keccak256};
use serde::{Deserialize, Serialize};

use super::{SHARE_INNER, SHARE_LEAF, depth, leaf};
use crate::{
    amount::Amount,
    id::{Account, Hash},
};

/// What a contract keeps of a share tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shares {
    /// Root of the tree.
    pub root: Hash,
    /// Sum of all weights.
    pub total_weight: Amount,
    /// Number of leaves, which fixes the depth.
    pub count: u32,
}

/// A node of a share tree: a sibling in a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareNode {
    /// Its hash; zero for padding.
    pub hash: Hash,
    /// Sum of the weights under it.
    pub sum: Amount,
}

/// One payee's part with its proof: everything that a claim at `BonusPool` or `RevenueSplitter` takes beside the ledger's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareClaim {
    /// Who is paid.
    pub payee: Account,
    /// Its weight.
    pub weight: Amount,
    /// Place of the leaf.
    pub index: u64,
    /// Siblings with their sums, from the bottom.
    pub proof: Vec<ShareNode>,
}

/// All levels of a share tree, leaves first.
#[derive(Clone, Debug)]
pub struct ShareTree {
    weights: Vec<(Account, Amount)>,
    levels: Vec<Vec<ShareNode>>,
}

fn inner(left: &ShareNode, right: &ShareNode) -> Hash {
    let mut bytes = [0; 97];
    bytes[0] = SHARE_INNER;
    bytes[1..33].copy_from_slice(&left.hash.0);
    bytes[33..49].copy_from_slice(&left.sum.0.to_be_bytes());
    bytes[49..81].copy_from_slice(&right.hash.0);
    bytes[81..].copy_from_slice(&right.sum.0.to_be_bytes());
    Hash(keccak256(bytes).0)
}

impl Shares {
    /// Leaf of a payee.
    pub fn leaf(payee: &Account, weight: Amount) -> Hash {
        leaf(SHARE_LEAF, &[&payee.0, &weight.0.to_be_bytes()])
    }

    /// Whether the claim's leaf stands at its place: the check that the contracts make.
    #[must_use]
    pub fn holds(&self, claim: &ShareClaim) -> bool {
        let fits = claim.index < u64::from(self.count) && claim.proof.len() == depth(self.count);
        let mut node = ShareNode {
            hash: Self::leaf(&claim.payee, claim.weight),
            sum: claim.weight,
        };
        for (level, sibling) in claim.proof.iter().enumerate() {
            let hash = if claim.index >> level & 1 == 1 {
                inner(sibling, &node)
            } else {
                inner(&node, sibling)
            };
            // A sum beyond 128 bits is no total.
            let Some(sum) = node.sum.checked_add(sibling.sum) else {
                return false;
            };
            node = ShareNode { hash, sum };
        }
        fits && node.hash == self.root && node.sum == self.total_weight
    }

    /// What `weight` draws of `income` in all, in base units and rounded down; nothing of a tree without weight.
    #[must_use]
    pub fn part(&self, weight: Amount, income: Amount) -> Amount {
        let product = U256::from(income.0) * U256::from(weight.0);
        let part = product
            .checked_div(U256::from(self.total_weight.0))
            .unwrap_or_default();
        // Not above the income for a weight of the tree; a foreign weight is cut off.
        Amount(part.try_into().unwrap_or(u128::MAX))
    }
}

impl ShareTree {
    /// Builds the tree over (payee, weight) in the given order; `None` when there is nothing to share, or more than 2^128.
    pub fn new(weights: Vec<(Account, Amount)>) -> Option<Self> {
        u32::try_from(weights.len()).ok()?;
        let total = weights
            .iter()
            .try_fold(Amount::ZERO, |sum, (_, weight)| sum.checked_add(*weight))?;
        if total == Amount::ZERO {
            return None;
        }
        let padding = ShareNode {
            hash: Hash::ZERO,
            sum: Amount::ZERO,
        };
        let leaves = weights.iter().map(|(payee, weight)| ShareNode {
            hash: Shares::leaf(payee, *weight),
            sum: *weight,
        });
        let mut leaves: Vec<ShareNode> = leaves.collect();
        leaves.resize(leaves.len().next_power_of_two(), padding);
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let pairs = below.chunks_exact(2).map(|pair| ShareNode {
                hash: inner(&pair[0], &pair[1]),
                // Part of the total, which fits.
                sum: Amount(pair[0].sum.0 + pair[1].sum.0),
            });
            levels.push(pairs.collect());
        }
        Some(Self { weights, levels })
    }

    /// What a contract keeps.
    pub fn shares(&self) -> Shares {
        let top = self.levels[self.levels.len() - 1][0];
        Shares {
            root: top.hash,
            total_weight: top.sum,
            count: self.weights.len() as u32,
        }
    }

    /// The leaf at `index` with its proof.
    pub fn claim(&self, index: usize) -> Option<ShareClaim> {
        let (payee, weight) = *self.weights.get(index)?;
        let below = &self.levels[..self.levels.len() - 1];
        Some(ShareClaim {
            payee,
            weight,
            index: index as u64,
            proof: (0..)
                .zip(below)
                .map(|(level, nodes)| nodes[(index >> level) ^ 1])
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weights(of: &[u64]) -> Vec<(Account, Amount)> {
        (1u8..)
            .zip(of)
            .map(|(i, weight)| (Account([i; 20]), Amount(u128::from(*weight))))
            .collect()
    }

    #[test]
    fn there_is_no_tree_over_nothing_and_none_beyond_128_bits() {
        assert!(ShareTree::new(vec![]).is_none());
        assert!(ShareTree::new(weights(&[0, 0])).is_none());
        let one = |weight| (Account([1; 20]), Amount(weight));
        assert!(ShareTree::new(vec![one(u128::MAX), one(1)]).is_none());
        assert!(ShareTree::new(vec![one(u128::MAX - 1), one(1)]).is_some());
    }

    #[test]
    fn one_leaf_is_its_own_root() {
        let tree = ShareTree::new(weights(&[7])).unwrap();
        let shares = tree.shares();
        assert_eq!(shares.root, Shares::leaf(&Account([1; 20]), Amount(7)));
        assert_eq!((shares.total_weight, shares.count), (Amount(7), 1));
        assert!(shares.holds(&tree.claim(0).unwrap()));
        assert!(tree.claim(1).is_none());
    }

    /// The two sums below wrap around to the total that the tree claims.
    #[test]
    fn sums_that_wrap_around_prove_nothing() {
        let node = |i: u8, sum: u128| ShareNode {
            hash: Shares::leaf(&Account([i; 20]), Amount(sum)),
            sum: Amount(sum),
        };
        let (a, b) = (node(1, u128::MAX), node(2, 11));
        let shares = Shares {
            root: inner(&a, &b),
            total_weight: Amount(10),
            count: 2,
        };
        let claim = |i: u8, weight: Amount, index, sibling| ShareClaim {
            payee: Account([i; 20]),
            weight,
            index,
            proof: vec![sibling],
        };
        assert!(!shares.holds(&claim(1, a.sum, 0, b)));
        assert!(!shares.holds(&claim(2, b.sum, 1, a)));
    }

    proptest! {
        #[test]
        fn every_leaf_proves_itself_and_only_as_it_is(
            of in prop::collection::vec(any::<u64>(), 1..40),
            at in any::<prop::sample::Index>(),
            place in 0u64..128,
        ) {
            prop_assume!(of.iter().any(|weight| *weight > 0));
            let tree = ShareTree::new(weights(&of)).unwrap();
            let shares = tree.shares();
            let at = at.index(of.len());
            let claim = tree.claim(at).unwrap();
            prop_assert!(shares.holds(&claim));
            let more = ShareClaim { weight: Amount(claim.weight.0 + 1), ..claim.clone() };
            prop_assert!(!shares.holds(&more));
            let other = ShareClaim { payee: Account([0xee; 20]), ..claim.clone() };
            prop_assert!(!shares.holds(&other));
            let moved = ShareClaim { index: place, ..claim.clone() };
            prop_assert_eq!(shares.holds(&moved), place == at as u64);
            let mut longer = claim.clone();
            longer.proof.push(ShareNode { hash: Hash::ZERO, sum: Amount::ZERO });
            prop_assert!(!shares.holds(&longer));
            for level in 0..claim.proof.len() {
                let mut lie = claim.clone();
                lie.proof[level].sum = Amount(lie.proof[level].sum.0 ^ 1);
                prop_assert!(!shares.holds(&lie));
            }
            let total = Amount(shares.total_weight.0 + 1);
            let another = Shares { total_weight: total, ..shares };
            prop_assert!(!another.holds(&claim));
        }

        #[test]
        fn all_parts_are_at_most_the_income_and_short_of_it_by_less_than_a_unit_each(
            of in prop::collection::vec(any::<u64>(), 1..40),
            income in any::<u128>(),
        ) {
            prop_assume!(of.iter().any(|weight| *weight > 0));
            let tree = ShareTree::new(weights(&of)).unwrap();
            let shares = tree.shares();
            let parts = (0..of.len()).map(|i| tree.claim(i).unwrap().weight);
            let sum = parts.fold(U256::ZERO, |sum, weight| {
                sum + U256::from(shares.part(weight, Amount(income)).0)
            });
            prop_assert!(sum <= U256::from(income));
            prop_assert!(U256::from(income) - sum < U256::from(of.len()));
        }
    }
}
