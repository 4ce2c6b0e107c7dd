//! The trees that a header anchors, and proofs from them.

use super::{payout::PayoutFile, state::LaneState};
use crate::{
    amount::Amount,
    id::{Account, Hash, RecordId},
    merkle::{self, LOSS_LEAF, RECORD_LEAF, REPUTATION_LEAF, Tree},
};

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
