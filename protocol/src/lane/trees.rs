//! The trees that a header anchors, and proofs from them.

use serde::{Deserialize, Serialize};

use super::{
    fallback::state_root,
    payout::PayoutFile,
    state::{Evidence, LaneState, join_root},
};
use crate::{
    amount::Amount,
    id::{Account, Hash, RecordId, TaskId},
    merkle::{self, LOSS_LEAF, RECORD_LEAF, REPUTATION_LEAF, SCORE_LEAF, Tree},
    message::EpochHeader,
};

/// Shows that an epoch settled a task by a score: the header leads to the score root. Whether the header is the anchored one is for the
/// caller to ask the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreProof {
    /// Header of the epoch.
    pub header: EpochHeader,
    /// Hash of the lane's state without its scores.
    pub rest: Hash,
    /// Root over (task, score root) of all tasks that the epoch settled.
    pub scores_root: Hash,
    /// Root over the flat payouts of the tasks that stayed open.
    pub flat_root: Hash,
    /// Place of the leaf.
    pub index: u64,
    /// Siblings from the bottom.
    pub proof: Vec<Hash>,
}

impl ScoreProof {
    /// Whether the header's epoch settled `task` by the score with this root.
    #[must_use]
    pub fn shows(&self, task: &TaskId, score_root: &Hash) -> bool {
        let state = join_root(&self.rest, &self.scores_root);
        state_root(&state, &self.flat_root) == self.header.state_root
            && merkle::verify(
                &self.scores_root,
                &score_leaf(task, score_root),
                self.index,
                &self.proof,
            )
    }
}

/// Shows what a lane's header says about a labeler: everything `ReputationAnchor.prove` takes beside the header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReputationProof {
    /// Labeler.
    pub account: Account,
    /// Domain, see [`LaneState::domain`].
    pub domain: Hash,
    /// Right and wrong gold answers.
    pub evidence: Evidence,
    /// Place of the leaf.
    pub index: u64,
    /// Siblings from the bottom.
    pub proof: Vec<Hash>,
}

impl ReputationProof {
    /// Whether the proof leads to a header's reputation root.
    #[must_use]
    pub fn is_valid(&self, root: &Hash) -> bool {
        let leaf = reputation_leaf(&self.account, &self.domain, &self.evidence);
        merkle::verify(root, &leaf, self.index, &self.proof)
    }
}

fn reputation_leaf(account: &Account, domain: &Hash, evidence: &Evidence) -> Hash {
    let alpha = u64::from(evidence.alpha_milli).to_be_bytes();
    let beta = u64::from(evidence.beta_milli).to_be_bytes();
    merkle::leaf(REPUTATION_LEAF, &[&account.0, &domain.0, &alpha, &beta])
}

fn score_leaf(task: &TaskId, score_root: &Hash) -> Hash {
    merkle::leaf(SCORE_LEAF, &[&task.0, &score_root.0])
}

impl LaneState {
    /// The tree over the scores of the tasks that the last epoch settled.
    pub(super) fn scores_tree(&self) -> Tree {
        let leaves = self.scores.iter();
        Tree::new(leaves.map(|(task, root)| score_leaf(task, root)).collect())
    }

    /// The proofs of the scores of all tasks that the last epoch settled, in the order of [`LaneState::scores`]; `header` is that epoch's.
    pub(super) fn score_proofs(
        &self,
        header: &EpochHeader,
        flat_root: Hash,
    ) -> Vec<(TaskId, ScoreProof)> {
        if self.scores.is_empty() {
            return Vec::new();
        }
        let (tree, rest) = (self.scores_tree(), self.rest_hash());
        let proof = |(index, task): (usize, &TaskId)| {
            let proof = ScoreProof {
                header: header.clone(),
                rest,
                scores_root: tree.root(),
                flat_root,
                index: index as u64,
                proof: tree.proof(index)?,
            };
            Some((*task, proof))
        };
        self.scores.keys().enumerate().filter_map(proof).collect()
    }

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
        merkle::root(self.reputation_leaves())
    }

    fn reputation_leaves(&self) -> Vec<Hash> {
        self.evidence
            .iter()
            .map(|((account, domain), e)| reputation_leaf(account, domain, e))
            .collect()
    }

    /// Proof of a labeler's evidence in a domain under [`Self::reputation_root`], if it has any.
    pub fn reputation_proof(&self, account: &Account, domain: &Hash) -> Option<ReputationProof> {
        let of = (*account, *domain);
        let index = self.evidence.keys().position(|key| *key == of)?;
        Some(ReputationProof {
            account: *account,
            domain: *domain,
            evidence: *self.evidence.get(&of)?,
            index: index as u64,
            proof: Tree::new(self.reputation_leaves()).proof(index)?,
        })
    }
}

/// Root over the epoch's record names.
pub(crate) fn records_root(ids: &[RecordId]) -> Hash {
    merkle::root(
        ids.iter()
            .map(|id| merkle::leaf(RECORD_LEAF, &[&id.0]))
            .collect(),
    )
}
