//! How a bonus in a partner token is shared (`BonusPool`): by what the main reward pays for labels. Any client may lock a bonus for its task,
//! and the lane need not know: a split names weights and no token, and every task has one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fallback::state_root;
use crate::{
    amount::Amount,
    id::{Account, Hash, TaskId},
    merkle::{self, BONUS_LEAF, ShareClaim, ShareTree, Shares},
    message::EpochHeader,
};

/// How one task's bonus is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bonus {
    /// Task.
    pub task: TaskId,
    /// Its client.
    pub client: Account,
    /// By the scores of a settled task; otherwise at the flat rate, for a task without a committee.
    pub scored: bool,
    /// (payee, weight) in payee order, in base units of the main reward; not empty, and nobody without weight.
    pub weights: Vec<(Account, Amount)>,
}

impl Bonus {
    /// Everybody by what the main reward pays for labels; `rest` goes to the client: what is left of the price of all labels that the
    /// task could have bought. So a label earns the same part of a bonus however many others were made. `None` when no label
    /// has a price.
    pub(super) fn new(
        (task, client): (TaskId, Account),
        scored: bool,
        pays: impl IntoIterator<Item = (Account, Amount)>,
        rest: (Account, Amount),
    ) -> Option<Self> {
        let mut weights: BTreeMap<Account, u128> = BTreeMap::new();
        for (payee, pay) in pays.into_iter().chain([rest]) {
            // No overflow: all labels of a task cost less than 2^95, and an escrow holds 96 bits.
            *weights.entry(payee).or_default() += pay.0;
        }
        let weights = weights.into_iter().filter(|(_, weight)| *weight > 0);
        let bonus = Self {
            task,
            client,
            scored,
            weights: weights.map(|(p, weight)| (p, Amount(weight))).collect(),
        };
        (!bonus.weights.is_empty()).then_some(bonus)
    }

    /// The tree of its shares; `None` for weights that no task gives.
    pub fn tree(&self) -> Option<ShareTree> {
        ShareTree::new(self.weights.clone())
    }

    /// Its leaf; `None` for weights that no task gives.
    pub fn leaf(&self) -> Option<Hash> {
        let shares = self.tree()?.shares();
        Some(leaf(&self.task, &self.client, self.scored, &shares))
    }
}

fn leaf(task: &TaskId, client: &Account, scored: bool, shares: &Shares) -> Hash {
    let fields: [&[u8]; 6] = [
        &task.0,
        &client.0,
        &[u8::from(scored)],
        &shares.root.0,
        &shares.total_weight.0.to_be_bytes(),
        &shares.count.to_be_bytes(),
    ];
    merkle::leaf(BONUS_LEAF, &fields)
}

/// A split with its way to a header: with the headers after it up to the lane's last, what `BonusPool.recordSplit` takes. Whether
/// the header is an anchored one is for the caller to ask the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BonusProof {
    /// The split.
    pub bonus: Bonus,
    /// Header whose state root holds it.
    pub header: EpochHeader,
    /// Hash of the lane's state.
    pub state: Hash,
    /// Place of the leaf.
    pub index: u64,
    /// Siblings from the bottom.
    pub proof: Vec<Hash>,
}

impl BonusProof {
    /// Whether the proof leads to the header's state root.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let leaf = self.bonus.leaf();
        let flat = leaf.and_then(|leaf| merkle::climb(&leaf, self.index, &self.proof));
        flat.is_some_and(|flat| state_root(&self.state, &flat) == self.header.state_root)
    }

    /// A payee's claim, if it has a part: for any token that was locked, once the split is recorded.
    pub fn claim(&self, payee: &Account) -> Option<ShareClaim> {
        let weights = &self.bonus.weights;
        let index = weights.binary_search_by(|w| w.0.cmp(payee)).ok()?;
        self.bonus.tree()?.claim(index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OF: (TaskId, Account) = (TaskId([1; 32]), Account([0xcc; 20]));

    #[test]
    fn payees_are_added_up_and_nobody_stands_without_weight() {
        let account = |i| Account([i; 20]);
        let pays = [(2, 5), (1, 3), (2, 4), (3, 0)].map(|(i, pay)| (account(i), Amount(pay)));
        let bonus = Bonus::new(OF, true, pays, (account(1), Amount(10))).unwrap();
        assert_eq!(
            bonus.weights,
            [(account(1), Amount(13)), (account(2), Amount(9))]
        );
        assert_eq!(
            Bonus::new(OF, true, [], (account(1), Amount::ZERO)),
            None,
            "free labels have no weight"
        );
    }

    proptest! {
        /// What a label earns of a bonus follows from its pay and the label budget alone: others' work neither adds nor takes.
        #[test]
        fn everybodys_part_is_its_pay_by_the_label_budget(
            pays in prop::collection::vec(1u64..1 << 40, 1..20),
            unspent in any::<u32>(),
            income in any::<u64>(),
        ) {
            let account = |i: usize| Account([i as u8 + 1; 20]);
            let paid = pays.iter().enumerate();
            let paid = paid.map(|(i, pay)| (account(i), Amount(u128::from(*pay))));
            let rest = (OF.1, Amount(u128::from(unspent)));
            let bonus = Bonus::new(OF, true, paid, rest).unwrap();
            let budget: u128 = pays.iter().map(|p| u128::from(*p)).sum::<u128>() + u128::from(unspent);
            let shares = bonus.tree().unwrap().shares();
            prop_assert_eq!(shares.total_weight, Amount(budget));
            for (payee, weight) in &bonus.weights {
                let part = shares.part(*weight, Amount(u128::from(income)));
                let due = if *payee == OF.1 { u128::from(unspent) } else { u128::from(pays[usize::from(payee.0[0]) - 1]) };
                prop_assert_eq!(part, Amount(u128::from(income) * due / budget));
            }
        }
    }
}
