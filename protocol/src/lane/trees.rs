//! The trees that a header anchors, and proofs from them.

use serde::{Deserialize, Serialize};

use super::state::LaneState;
use crate::{
    amount::Amount,
    codec,
    crypto::hash,
    id::{Account, Hash, RecordId},
    merkle::{self, AUDIT_LEAF, LOSS_LEAF, PAYOUT_LEAF, RECORD_LEAF, REPUTATION_LEAF, Tree},
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

impl PayoutFile {
    /// Leaf of a payee.
    pub fn leaf(payee: &Account, total: Amount) -> Hash {
        merkle::leaf(PAYOUT_LEAF, &[&payee.0, &total.0.to_be_bytes()])
    }

    /// The tree over all leaves.
    pub fn tree(&self) -> Tree {
        Tree::new(
            self.leaves
                .iter()
                .map(|(payee, total)| Self::leaf(payee, *total))
                .collect(),
        )
    }

    /// Root of the audit tree: every payout leaf again, with the sum of the totals before it.
    pub fn audit_root(&self) -> Hash {
        let mut before = 0u128;
        let leaves = self.leaves.iter().map(|(payee, total)| {
            let fields: [&[u8]; 3] = [
                &payee.0,
                &total.0.to_be_bytes(),
                &before.to_be_bytes(),
            ];
            let leaf = merkle::leaf(AUDIT_LEAF, &fields);
            before += total.0;
            leaf
        });
        merkle::root(leaves.collect())
    }

    /// Number of leaves, as the header names it.
    pub fn count(&self) -> u32 {
        // Every leaf is owed at least one unit of a deposit that holds 112 bits; memory ends long before 2^32 leaves.
        u32::try_from(self.leaves.len()).unwrap_or(u32::MAX)
    }

    /// BLAKE3 of the canonical encoding.
    pub fn hash(&self) -> Hash {
        hash("assay/1/payout-file", &[&codec::encode(&self.leaves)])
    }

    /// The claim of a payee, if it has one.
    pub fn claim(&self, payee: &Account) -> Option<Claim> {
        let index = self.leaves.binary_search_by(|l| l.0.cmp(payee)).ok()?;
        let tree = self.tree();
        Some(Claim {
            lane: self.lane,
            epoch: self.epoch,
            payee: *payee,
            total: self.leaves[index].1,
            index: index as u64,
            proof: tree.proof(index)?,
            root: tree.root(),
        })
    }
}

impl Claim {
    /// Whether the proof leads to `root`.
    pub fn is_valid(&self) -> bool {
        merkle::verify(
            &self.root,
            &PayoutFile::leaf(&self.payee, self.total),
            self.index,
            &self.proof,
        )
    }
}

impl LaneState {
    /// The payout leaves after this epoch.
    pub fn payout_file(&self) -> PayoutFile {
        let leaves = self
            .owed
            .iter()
            .filter(|(_, total)| total.0 > 0)
            .map(|(payee, total)| (*payee, *total))
            .collect();
        PayoutFile {
            lane: self.lane,
            epoch: self.epoch,
            leaves,
        }
    }

    /// Root over (labeler, total ever lost): one leaf for every registered account, so that everybody can prove its loss.
    pub fn loss_root(&self) -> Hash {
        merkle::root(self.loss_leaves())
    }

    fn loss_leaves(&self) -> Vec<Hash> {
        self.accounts
            .keys()
            .map(|a| {
                let lost = self.lost.get(a).copied().unwrap_or_default();
                merkle::leaf(LOSS_LEAF, &[&a.0, &lost.0.to_be_bytes()])
            })
            .collect()
    }

    /// (total lost, leaf index, proof) of an account under [`Self::loss_root`].
    pub fn loss_proof(&self, account: &Account) -> Option<(Amount, u64, Vec<Hash>)> {
        let index = self.accounts.keys().position(|a| a == account)?;
        let lost = self.lost.get(account).copied().unwrap_or_default();
        Some((
            lost,
            index as u64,
            Tree::new(self.loss_leaves()).proof(index)?,
        ))
    }

    /// Root over reputation evidence.
    pub fn reputation_root(&self) -> Hash {
        merkle::root(
            self.evidence
                .iter()
                .map(|((account, domain), e)| {
                    let (alpha, beta) = (u64::from(e.alpha_milli), u64::from(e.beta_milli));
                    merkle::leaf(
                        REPUTATION_LEAF,
                        &[
                            &account.0,
                            &domain.0,
                            &alpha.to_be_bytes(),
                            &beta.to_be_bytes(),
                        ],
                    )
                })
                .collect(),
        )
    }
}

/// Root over the epoch's record names.
pub(super) fn records_root(ids: &[RecordId]) -> Hash {
    merkle::root(
        ids.iter()
            .map(|id| merkle::leaf(RECORD_LEAF, &[&id.0]))
            .collect(),
    )
}
