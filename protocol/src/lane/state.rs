//! What a lane remembers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    amount::Amount,
    codec::{self, pairs},
    crypto::hash,
    id::{Account, Hash, NodeKey, TaskId},
    message::BlockRef,
    task::{LabelerView, TaskState},
};

/// Role bits of a registered account.
pub mod role {
    /// May publish tasks.
    pub const CLIENT: u8 = 1;
    /// May label.
    pub const LABELER: u8 = 2;
    /// May sit on committees.
    pub const VALIDATOR: u8 = 4;
}

/// A registered participant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountState {
    /// Its node.
    pub node_key: NodeKey,
    /// Its sealing key.
    pub seal_key: Hash,
    /// Where pay goes.
    pub payee: Account,
    /// Bits of [`role`].
    pub roles: u8,
    /// Stake in base units.
    pub stake: Amount,
    /// Asked for the stake back: takes no new work.
    pub leaving: bool,
}

impl AccountState {
    /// Has `role` and is not leaving.
    pub fn can(&self, role: u8) -> bool {
        self.roles & role != 0 && !self.leaving
    }
}

/// The committee of the term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committee {
    /// Term.
    pub term: u64,
    /// Members in ascending order; a signer is named by its place.
    pub members: Vec<Account>,
    /// Signatures that make a quorum.
    pub threshold: u16,
    /// Epoch that was the last one when it was drawn.
    pub since_epoch: u64,
}

/// Money locked for a task that is not open yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EscrowState {
    /// For labels and fees.
    pub deposit: Amount,
    /// Against withheld gold.
    pub gold_bond: Amount,
    /// Chain time of the funding, seconds.
    pub since: u64,
}

/// Gold answers of a labeler in one domain, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Right.
    pub alpha_milli: u32,
    /// Wrong.
    pub beta_milli: u32,
}

/// State of a lane after an epoch, plus the chain facts up to `block`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneState {
    /// Lane.
    pub lane: u32,
    /// Last epoch; 0 before the first.
    pub epoch: u64,
    /// Struct hash of its header.
    pub head: Hash,
    /// Its header was seen in `EpochAnchor`; true before the first.
    pub head_posted: bool,
    /// Last chain block taken in.
    pub block: BlockRef,
    /// Registered accounts with a valid node key binding.
    #[serde(with = "pairs")]
    pub accounts: BTreeMap<Account, AccountState>,
    /// The committee, once drawn.
    pub committee: Option<Committee>,
    /// Funded, not open yet: by (task, client).
    #[serde(with = "pairs")]
    pub escrows: BTreeMap<(TaskId, Account), EscrowState>,
    /// Open tasks.
    #[serde(with = "pairs")]
    pub tasks: BTreeMap<TaskId, TaskState>,
    /// Total ever owed by payee.
    #[serde(with = "pairs")]
    pub owed: BTreeMap<Account, Amount>,
    /// Total ever lost by labeler.
    #[serde(with = "pairs")]
    pub lost: BTreeMap<Account, Amount>,
    /// Reputation evidence by (labeler, domain).
    #[serde(with = "pairs")]
    pub evidence: BTreeMap<(Account, Hash), Evidence>,
    /// Sum of `owed`: everything the lane's escrows released.
    pub total_owed: Amount,
    /// Score roots of the tasks that the last epoch settled; the next epoch forgets them.
    #[serde(with = "pairs", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<TaskId, Hash>,
    /// Tasks not settled here whose money has moved all the same, with an epoch that was revoked.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub moved: BTreeSet<(TaskId, Account)>,
}

/// The state root over its two parts.
pub(super) fn join_root(rest: &Hash, scores: &Hash) -> Hash {
    hash("assay/2/lane-state", &[&rest.0, &scores.0])
}

impl LaneState {
    /// The state before the first epoch and before any chain fact.
    pub fn genesis(lane: u32) -> Self {
        let block = BlockRef {
            number: 0,
            hash: Hash::ZERO,
            time: 0,
        };
        Self {
            lane,
            epoch: 0,
            head: Hash::ZERO,
            head_posted: true,
            block,
            accounts: BTreeMap::new(),
            committee: None,
            escrows: BTreeMap::new(),
            tasks: BTreeMap::new(),
            owed: BTreeMap::new(),
            lost: BTreeMap::new(),
            evidence: BTreeMap::new(),
            total_owed: Amount::ZERO,
            scores: BTreeMap::new(),
            moved: BTreeSet::new(),
        }
    }

    /// BLAKE3 over two hashes: that of the score roots, which so have short proofs, and that of everything else.
    pub fn root(&self) -> Hash {
        join_root(&self.rest_hash(), &self.scores_tree().root())
    }

    /// BLAKE3 over the canonical encoding without the scores and the head: the header that names the root is itself the next head.
    pub(super) fn rest_hash(&self) -> Hash {
        let mut bare = self.clone();
        bare.head = Hash::ZERO;
        bare.scores.clear();
        hash("assay/1/lane-state", &[&codec::encode(&bare)])
    }

    /// The account whose node has this key.
    pub fn account_of(&self, key: &NodeKey) -> Option<(Account, &AccountState)> {
        self.accounts
            .iter()
            .find(|(_, a)| a.node_key == *key)
            .map(|(account, a)| (*account, a))
    }

    /// Place of a node in the committee.
    pub fn member_index(&self, key: &NodeKey) -> Option<u8> {
        let (account, _) = self.account_of(key)?;
        self.committee
            .as_ref()?
            .members
            .binary_search(&account)
            .ok()
            .map(|i| i as u8)
    }

    /// Node keys of the committee in member order.
    pub fn member_keys(&self) -> Vec<NodeKey> {
        let Some(committee) = &self.committee else {
            return Vec::new();
        };
        committee
            .members
            .iter()
            .filter_map(|m| self.accounts.get(m))
            .map(|a| a.node_key)
            .collect()
    }

    /// Signatures that make a quorum; unreachable while there is no committee.
    pub fn threshold(&self) -> usize {
        self.committee
            .as_ref()
            .map_or(usize::MAX, |c| usize::from(c.threshold))
    }

    /// Domain of reputation for a kind of task.
    pub fn domain(kind: &str) -> Hash {
        hash("assay/1/reputation-domain", &[kind.as_bytes()])
    }

    /// What scoring may know about the labelers of `task`.
    pub(crate) fn views(&self, task: &TaskState) -> BTreeMap<Account, LabelerView> {
        let domain = Self::domain(task.manifest.kind.name());
        task.labelers
            .iter()
            .map(|l| {
                let account = self.accounts.get(&l.account);
                let lost = self.lost.get(&l.account).copied().unwrap_or_default();
                let evidence = self
                    .evidence
                    .get(&(l.account, domain))
                    .copied()
                    .unwrap_or_default();
                let view = LabelerView {
                    payee: account.map_or(l.account, |a| a.payee),
                    bond_left: account
                        .and_then(|a| a.stake.checked_sub(lost))
                        .unwrap_or_default(),
                    alpha_milli: evidence.alpha_milli,
                    beta_milli: evidence.beta_milli,
                };
                (l.account, view)
            })
            .collect()
    }

    /// Where an account's money goes.
    pub fn payee_of(&self, account: &Account) -> Account {
        self.accounts.get(account).map_or(*account, |a| a.payee)
    }
}
