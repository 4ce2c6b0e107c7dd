//! What everybody is owed: the payout leaves of an epoch, and the proofs with which anyone can have them paid.

use serde::{Deserialize, Serialize};

use crate::{
    amount::Amount,
    codec,
    crypto::hash,
    id::{Account, Hash},
    limit,
    merkle::{self, AUDIT_LEAF, PAYOUT_LEAF, Tree},
};

/// All payout leaves of an epoch: what anyone needs to prove any claim. Named by [`PayoutFile::hash`] in the header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayoutFile {
    /// Lane.
    pub lane: u32,
    /// Epoch.
    pub epoch: u64,
    /// (payee, total ever owed), in payee order; nobody who is owed nothing.
    pub leaves: Vec<(Account, Amount)>,
}

impl PayoutFile {
    /// Leaf of a payee.
    pub fn leaf(payee: &Account, total: Amount) -> Hash {
        merkle::leaf(PAYOUT_LEAF, &[&payee.0, &total.0.to_be_bytes()])
    }

    /// Leaf of a payee in the audit tree; `before` is the sum of the totals before it.
    pub fn audit_leaf(payee: &Account, total: Amount, before: Amount) -> Hash {
        let fields: [&[u8]; 3] = [&payee.0, &total.0.to_be_bytes(), &before.0.to_be_bytes()];
        merkle::leaf(AUDIT_LEAF, &fields)
    }

    /// Root of the payout tree.
    pub fn root(&self) -> Hash {
        merkle::root(self.hashes())
    }

    fn hashes(&self) -> Vec<Hash> {
        let leaves = self.leaves.iter();
        leaves
            .map(|(payee, total)| Self::leaf(payee, *total))
            .collect()
    }

    /// Root of the audit tree: every payout leaf again, with the sum of the totals before it.
    pub fn audit_root(&self) -> Hash {
        let mut before = 0u128;
        let leaves = self.leaves.iter().map(|(payee, total)| {
            let leaf = Self::audit_leaf(payee, *total, Amount(before));
            // Only a file that no state gives can overflow, and it has no place in a header.
            before = before.saturating_add(total.0);
            leaf
        });
        merkle::root(leaves.collect())
    }

    /// Number of leaves, as the header names it.
    pub fn count(&self) -> u32 {
        // Every leaf is owed at least one unit of deposits of 96 bits; memory ends long before 2^32 leaves.
        u32::try_from(self.leaves.len()).unwrap_or(u32::MAX)
    }

    /// BLAKE3 of the canonical encoding.
    pub fn hash(&self) -> Hash {
        hash("assay/1/payout-file", &[&codec::encode(&self.leaves)])
    }

    /// The file with its tree, from which any number of claims can be taken.
    pub fn proofs(self) -> PayoutProofs {
        PayoutProofs {
            tree: Tree::new(self.hashes()),
            file: self,
        }
    }
}

/// A payout file with its tree; about 100 bytes per leaf in memory.
#[derive(Clone, Debug)]
pub struct PayoutProofs {
    file: PayoutFile,
    tree: Tree,
}

impl PayoutProofs {
    /// The leaves.
    pub fn file(&self) -> &PayoutFile {
        &self.file
    }

    /// The claim of a payee, if it has one.
    pub fn claim(&self, payee: &Account) -> Option<Claim> {
        let leaves = &self.file.leaves;
        let index = leaves.binary_search_by(|l| l.0.cmp(payee)).ok()?;
        Some(Claim {
            lane: self.file.lane,
            epoch: self.file.epoch,
            payee: *payee,
            total: leaves[index].1,
            index: index as u64,
            proof: self.tree.proof(index)?,
            root: self.tree.root(),
        })
    }

    /// The claim of `2^height` neighbours, the one at `index` among them; smaller when the tree is.
    pub fn subtree(&self, index: usize, height: u32) -> Option<SubtreeClaim> {
        let leaves = &self.file.leaves;
        if index >= leaves.len() {
            return None;
        }
        let height = (height as usize).min(self.tree.height());
        let position = index >> height;
        let first = position << height;
        let end = leaves.len().min((position + 1) << height);
        Some(SubtreeClaim {
            lane: self.file.lane,
            epoch: self.file.epoch,
            first: first as u64,
            height: height as u8,
            leaves: leaves[first..end].to_vec(),
            proof: self.tree.proof_above(position, height)?,
            root: self.tree.root(),
        })
    }
}

/// One payee's proof: everything `RewardDistributor.claim` takes. It needs no node, no client, no committee any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Lane.
    pub lane: u32,
    /// Epoch whose payout root proves it.
    pub epoch: u64,
    /// Who is paid.
    pub payee: Account,
    /// Total ever owed.
    pub total: Amount,
    /// Place of the leaf.
    pub index: u64,
    /// Siblings from the bottom.
    pub proof: Vec<Hash>,
    /// The root it leads to.
    pub root: Hash,
}

impl Claim {
    /// The root that the proof leads to; none when there is no such place.
    pub fn leads_to(&self) -> Option<Hash> {
        let leaf = PayoutFile::leaf(&self.payee, self.total);
        merkle::climb(&leaf, self.index, &self.proof)
    }

    /// Whether the proof leads to `root`.
    pub fn is_valid(&self) -> bool {
        self.leads_to() == Some(self.root)
    }
}

/// The proof of a whole subtree: everything `RewardDistributor.claimSubtree` takes to pay all its payees at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubtreeClaim {
    /// Lane.
    pub lane: u32,
    /// Epoch whose payout root proves it.
    pub epoch: u64,
    /// Place of the first leaf, a multiple of `2^height`.
    pub first: u64,
    /// Levels of the subtree, at most [`limit::SUBTREE_HEIGHT_MAX`].
    pub height: u8,
    /// (payee, total ever owed) of its leaves, at most `2^height`; the places behind them are empty, and those of the zero account.
    pub leaves: Vec<(Account, Amount)>,
    /// Siblings from the subtree's root upwards.
    pub proof: Vec<Hash>,
    /// The root it leads to.
    pub root: Hash,
}

impl SubtreeClaim {
    /// The root that the leaves and the proof lead to; none when they are no whole subtree.
    pub fn leads_to(&self) -> Option<Hash> {
        if self.height > limit::SUBTREE_HEIGHT_MAX
            || self.leaves.is_empty()
            || self.leaves.len() > 1 << self.height
            || !self.first.is_multiple_of(1 << self.height)
        {
            return None;
        }
        let leaves = self.leaves.iter();
        let mut row: Vec<Hash> = leaves
            .map(|(payee, total)| {
                if *payee == Account::default() {
                    Hash::ZERO
                } else {
                    PayoutFile::leaf(payee, *total)
                }
            })
            .collect();
        row.resize(1 << self.height, Hash::ZERO);
        merkle::climb(&merkle::root(row), self.first >> self.height, &self.proof)
    }

    /// Whether the leaves and the proof lead to `root`.
    pub fn is_valid(&self) -> bool {
        self.leads_to() == Some(self.root)
    }

    /// The leaves as the contract takes them: payee (20 bytes) and total (16, big endian) each, zero bytes for the empty places.
    pub fn packed(&self) -> Vec<u8> {
        let size = 36 << self.height.min(limit::SUBTREE_HEIGHT_MAX);
        let mut bytes = Vec::with_capacity(size);
        for (payee, total) in &self.leaves {
            bytes.extend_from_slice(&payee.0);
            bytes.extend_from_slice(&total.0.to_be_bytes());
        }
        bytes.resize(size, 0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(totals: &[u64]) -> PayoutFile {
        let leaves = totals.iter().enumerate().map(|(i, total)| {
            let mut payee = [0; 20];
            payee[..4].copy_from_slice(&(i as u32 + 1).to_be_bytes());
            (Account(payee), Amount(u128::from(*total) + 1))
        });
        PayoutFile {
            lane: 0,
            epoch: 3,
            leaves: leaves.collect(),
        }
    }

    #[test]
    fn an_empty_tree_proves_nothing() {
        let proofs = file(&[]).proofs();
        assert_eq!(proofs.claim(&Account([1; 20])), None);
        assert_eq!(proofs.subtree(0, 3), None);
        assert_eq!(proofs.file().root(), Hash::ZERO);
        assert_eq!(proofs.file().audit_root(), Hash::ZERO);
    }

    #[test]
    fn the_audit_tree_carries_the_sums_before_each_leaf() {
        let file = file(&[4, 6]);
        let leaf = |i: usize, before: u128| {
            let (payee, total) = file.leaves[i];
            let fields: [&[u8]; 3] = [&payee.0, &total.0.to_be_bytes(), &before.to_be_bytes()];
            merkle::leaf(0x05, &fields)
        };
        assert_eq!(
            file.audit_root(),
            merkle::root(vec![leaf(0, 0), leaf(1, 5)])
        );
    }

    #[test]
    fn the_zero_account_stands_for_an_empty_place_whatever_it_is_owed() {
        let (leaves, nobody) = (file(&[4, 6]).leaves, Account::default());
        let leaf = |i: usize| PayoutFile::leaf(&leaves[i].0, leaves[i].1);
        let root = merkle::root(vec![leaf(0), Hash::ZERO, leaf(1)]);
        let claim = SubtreeClaim {
            lane: 0,
            epoch: 3,
            first: 0,
            height: 2,
            leaves: vec![leaves[0], (nobody, Amount(9)), leaves[1]],
            proof: Vec::new(),
            root,
        };
        assert_eq!(claim.leads_to(), Some(root));
    }

    proptest! {
        #[test]
        fn every_payee_and_every_subtree_can_be_proven_and_nothing_else(
            totals in prop::collection::vec(any::<u64>(), 1..40),
            at in any::<prop::sample::Index>(),
            height in 0u32..8,
            wrong in any::<prop::sample::Index>(),
        ) {
            let file = file(&totals);
            let at = at.index(totals.len());
            let proofs = file.clone().proofs();
            let claim = proofs.claim(&file.leaves[at].0).unwrap();
            prop_assert!(claim.is_valid());
            prop_assert_eq!(claim.root, file.root());
            prop_assert_eq!(claim.proof.len(), merkle::depth(file.count()));
            let more = Claim { total: Amount(claim.total.0 + 1), ..claim };
            prop_assert!(!more.is_valid());

            let subtree = proofs.subtree(at, height).unwrap();
            prop_assert!(subtree.is_valid());
            prop_assert_eq!(subtree.root, file.root());
            prop_assert!(subtree.leaves.contains(&file.leaves[at]));
            prop_assert_eq!(subtree.packed().len(), 36 << subtree.height);
            prop_assert_eq!(usize::from(subtree.height) + subtree.proof.len(), merkle::depth(file.count()));
            let mut forged = subtree.clone();
            let i = wrong.index(forged.leaves.len());
            forged.leaves[i].1 = Amount(forged.leaves[i].1.0 + 1);
            prop_assert!(!forged.is_valid());
            let mut moved = subtree.clone();
            moved.first += 1 << moved.height;
            prop_assert!(!moved.is_valid());
            let mut shorter = subtree;
            shorter.leaves.pop();
            prop_assert!(!shorter.is_valid());
        }
    }
}
