//! Pay without a committee: what the accepted labels of every open task are worth at a flat rate. Each header names it, so that a task whose
//! committees are all gone can be paid by its escrow from the lane's last header (`TaskEscrow.claimFallback`).
//!
//! Flat: no skill and no ring counts, because judging takes a committee. Accepted: revealed in time against a commit, and counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    bonus::{Bonus, BonusProof},
    state::LaneState,
};
use crate::{
    amount::Amount,
    id::{Account, Hash, TaskId},
    merkle::{self, FLAT_LEAF, STATE_ROOT, Tree},
    message::EpochHeader,
    task::TaskState,
};

/// Part of the price that an accepted label is worth without a committee, in tenths.
const FLAT_TENTHS: u128 = 7;

/// What one payee's accepted labels of one task are worth without a committee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlatPay {
    /// Task.
    pub task: TaskId,
    /// Its client.
    pub client: Account,
    /// Who is paid.
    pub payee: Account,
    /// How much, in base units.
    pub amount: Amount,
}

impl FlatPay {
    /// Its leaf.
    pub fn leaf(&self) -> Hash {
        let fields: [&[u8]; 4] = [
            &self.task.0,
            &self.client.0,
            &self.payee.0,
            &self.amount.0.to_be_bytes(),
        ];
        merkle::leaf(FLAT_LEAF, &fields)
    }
}

/// The flat payouts after an epoch and the splits of bonuses, with the hash of the state beside them: what a header's state root names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlatPayouts {
    /// [`LaneState::root`].
    pub state: Hash,
    /// Ascending by task, client and payee.
    pub pays: Vec<FlatPay>,
    /// Leaves of the same tree, after those of `pays`: the bonuses of tasks that the epoch settled, and at the flat rate those of open
    /// tasks with accepted labels. Ascending by task and client.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bonuses: Vec<Bonus>,
}

/// The flat payouts under the header that names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlatFile {
    /// The epoch's header.
    pub header: EpochHeader,
    /// The payouts.
    pub payouts: FlatPayouts,
}

/// Everything that paying one task without a committee takes: the header at which its fallback was opened, and every payee's claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// The lane's last header when the fallback was opened; none when the lane never had one.
    pub header: Option<EpochHeader>,
    /// Ascending by payee; empty when no label of the task was accepted by then.
    pub claims: Vec<FlatClaim>,
    /// How a bonus is shared then; none when no label was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bonus: Option<Box<BonusProof>>,
}

/// One flat payout with its proof: what `TaskEscrow.claimFallback` takes beside the header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlatClaim {
    /// What is paid to whom.
    pub pay: FlatPay,
    /// Hash of the lane's state.
    pub state: Hash,
    /// Place of the leaf.
    pub index: u64,
    /// Siblings from the bottom.
    pub proof: Vec<Hash>,
}

/// The state root of a header: keccak over [`STATE_ROOT`], the hash of the state and the root of the flat payouts and bonuses.
pub fn state_root(state: &Hash, flat_root: &Hash) -> Hash {
    merkle::leaf(STATE_ROOT, &[&state.0, &flat_root.0])
}

impl FlatPayouts {
    pub(super) fn tree(&self) -> Tree {
        let bonuses = self.bonuses.iter().filter_map(Bonus::leaf);
        Tree::new(self.pays.iter().map(FlatPay::leaf).chain(bonuses).collect())
    }

    /// Root of the flat payouts and bonuses.
    pub fn flat_root(&self) -> Hash {
        self.tree().root()
    }

    /// The split of the bonus of `task` of `client` with its proof, if the epoch has one; `tree` is that of these payouts and `header` the
    /// epoch's.
    pub(super) fn bonus(
        &self,
        tree: &Tree,
        task: &TaskId,
        client: &Account,
        header: &EpochHeader,
    ) -> Option<BonusProof> {
        let of = |b: &Bonus| b.task == *task && b.client == *client;
        let place = self.bonuses.iter().position(of)?;
        let index = self.pays.len() + place;
        Some(BonusProof {
            bonus: self.bonuses[place].clone(),
            header: header.clone(),
            state: self.state,
            index: index as u64,
            proof: tree.proof(index)?,
        })
    }
}

impl FlatFile {
    /// What paying `task` of `client` takes if its fallback is opened at this header.
    pub fn fallback(&self, task: &TaskId, client: &Account) -> Fallback {
        let tree = self.payouts.tree();
        let own = (0..)
            .zip(&self.payouts.pays)
            .filter(|(_, pay)| pay.task == *task && pay.client == *client);
        let claim = |(index, pay): (usize, &FlatPay)| {
            Some(FlatClaim {
                pay: *pay,
                state: self.payouts.state,
                index: index as u64,
                proof: tree.proof(index)?,
            })
        };
        Fallback {
            header: Some(self.header.clone()),
            claims: own.filter_map(claim).collect(),
            bonus: self
                .payouts
                .bonus(&tree, task, client, &self.header)
                .map(Box::new),
        }
    }
}

impl FlatClaim {
    /// Whether the proof leads to a header's state root.
    pub fn is_valid(&self, root: &Hash) -> bool {
        let flat = merkle::climb(&self.pay.leaf(), self.index, &self.proof);
        flat.is_some_and(|flat| state_root(&self.state, &flat) == *root)
    }
}

impl LaneState {
    /// The flat payouts after this epoch, which settled tasks with these bonuses.
    pub(super) fn flat_payouts(&self, settled: Vec<Bonus>) -> FlatPayouts {
        let (mut all, mut bonuses) = (Vec::new(), settled);
        for task in self.tasks.values() {
            let pays = self.flat_pays(task);
            bonuses.extend(self.flat_bonus(task, &pays));
            all.extend(pays);
        }
        bonuses.sort_unstable_by_key(|b| (b.task, b.client));
        FlatPayouts {
            state: self.root(),
            pays: all,
            bonuses,
        }
    }

    /// The bonus of an open task at the flat rate, once something is accepted.
    fn flat_bonus(&self, task: &TaskState, pays: &[FlatPay]) -> Option<Bonus> {
        if pays.is_empty() {
            return None;
        }
        let client = task.manifest.client;
        let worth: u128 = pays.iter().map(|p| p.amount.0).sum();
        let rest = task.manifest.label_budget()?.0.saturating_sub(worth);
        Bonus::new(
            (task.id, client),
            false,
            pays.iter().map(|p| (p.payee, p.amount)),
            (self.payee_of(&client), Amount(rest)),
        )
    }

    /// By payee; labelers who are paid at one address are added up.
    fn flat_pays(&self, task: &TaskState) -> Vec<FlatPay> {
        let mut labels: BTreeMap<u32, u128> = BTreeMap::new();
        for (_, labeler, _) in &task.votes {
            *labels.entry(*labeler).or_default() += 1;
        }
        let mut pays: BTreeMap<Account, u128> = BTreeMap::new();
        for (index, count) in labels {
            let Some(labeler) = task.labelers.get(index as usize) else {
                continue;
            };
            // No overflow: a task opens only when its deposit of 96 bits covers all labels it may ask for.
            let worth = task.manifest.price.0 * count * FLAT_TENTHS / 10;
            *pays.entry(self.payee_of(&labeler.account)).or_default() += worth;
        }
        let pays = pays.into_iter().filter(|(_, amount)| *amount > 0);
        pays.map(|(payee, amount)| FlatPay {
            task: task.id,
            client: task.manifest.client,
            payee,
            amount: Amount(amount),
        })
        .collect()
    }
}
