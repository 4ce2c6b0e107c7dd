//! Stakes of the registry after the registration: more of them, leaving, losses that are burned on the way out, and slashes.

use serde::{Deserialize, Serialize};

use super::{ALL_BPS, BURN_ADDRESS, Ledger, LedgerError, Past, role};
use crate::{
    amount::Amount,
    id::{Account, Hash},
    merkle::{self, LOSS_LEAF},
    message::{ChainFact, EpochHeader},
};

/// A leaf of a lane's loss tree with its proof; the zero account is padding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossLeaf {
    /// Whose.
    pub account: Account,
    /// Total ever lost.
    pub total: Amount,
    /// Place.
    pub index: u64,
    /// Siblings from the bottom.
    pub proof: Vec<Hash>,
}

impl LossLeaf {
    /// Whether it stands under a loss root: the check that the registry makes.
    #[must_use]
    pub fn stands(&self, root: &Hash) -> bool {
        let node = if self.account == Account::default() {
            Hash::ZERO
        } else {
            merkle::leaf(LOSS_LEAF, &[&self.account.0, &self.total.0.to_be_bytes()])
        };
        super::stands(root, &node, self.index, &self.proof)
    }
}

/// What a withdrawal gave and took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// Went home.
    pub paid: Amount,
    /// Was burned for losses.
    pub burned: Amount,
}

/// What the registry knows of an account that ever registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stake {
    /// Locked tokens; none when it is not registered.
    pub stake: Amount,
    /// Time from which they can be withdrawn; none while it is not leaving.
    pub ready_at: Option<u64>,
    /// Losses burned so far.
    pub burned: Amount,
    /// Whether it can never register again.
    pub banned: bool,
    /// How often it has registered.
    pub registrations: u64,
}

impl Ledger {
    pub(super) fn past(&self, account: &Account) -> Past {
        self.past.get(account).copied().unwrap_or_default()
    }

    pub(super) fn least_stake(&self, roles: u8) -> Amount {
        let of = |bit: u8, least: Amount| {
            if roles & bit == 0 {
                Amount::ZERO
            } else {
                least
            }
        };
        of(role::LABELER, self.terms.min_labeler_bond)
            .max(of(role::VALIDATOR, self.disputes.min_validator_stake))
    }

    /// Every account that ever registered.
    pub fn stakes(&self) -> impl Iterator<Item = (Account, Stake)> {
        self.past.iter().map(|(account, past)| {
            let member = self.members.get(account);
            let stake = Stake {
                stake: member.map_or(Amount::ZERO, |m| m.stake),
                ready_at: member.and_then(|m| m.ready_at),
                burned: past.burned,
                banned: past.banned,
                registrations: past.nonce,
            };
            (*account, stake)
        })
    }

    /// `Registry.addStake`.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`], [`LedgerError::Member`] for an account that is leaving or adds nothing, [`LedgerError::Balance`].
    pub fn add_stake(&mut self, account: Account, amount: Amount) -> Result<(), LedgerError> {
        let member = self.members.get(&account);
        let member = member.ok_or(LedgerError::Unknown(account))?;
        if member.ready_at.is_some() {
            return Err(LedgerError::Member(account, "is leaving"));
        }
        let stake = member.stake.checked_add(amount);
        let stake = stake
            .filter(|_| amount != Amount::ZERO)
            .ok_or(LedgerError::Member(account, "adds no such amount"))?;
        self.take(account, amount)?;
        self.staked = Amount(self.staked.0 + amount.0);
        if let Some(member) = self.members.get_mut(&account) {
            member.stake = stake;
        }
        self.pending.push(ChainFact::StakeAdded { account, stake });
        Ok(())
    }

    /// `Registry.requestUnbond`.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`], [`LedgerError::Member`] for an account that is leaving.
    pub fn request_unbond(&mut self, account: Account) -> Result<(), LedgerError> {
        let ready_at = self.now.saturating_add(self.terms.unbond_secs);
        let member = self.members.get_mut(&account);
        let member = member.ok_or(LedgerError::Unknown(account))?;
        if member.ready_at.is_some() {
            return Err(LedgerError::Member(account, "is leaving"));
        }
        member.ready_at = Some(ready_at);
        self.pending.push(ChainFact::UnbondRequested { account });
        Ok(())
    }

    /// `Registry.withdraw`: the stake goes home, less the losses that a labeler shows in every lane, which are burned. `heads` are the
    /// lanes' last headers in order, and `losses` one proof each; nobody but labelers has to show any.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`], [`LedgerError::Member`] before the time has come, [`LedgerError::Losses`].
    pub fn withdraw(
        &mut self,
        account: Account,
        heads: &[EpochHeader],
        losses: &[Vec<LossLeaf>],
    ) -> Result<Withdrawn, LedgerError> {
        let member = self.members.get(&account);
        let member = member.ok_or(LedgerError::Unknown(account))?;
        let past = self.past(&account);
        if member.ready_at.is_none_or(|at| self.now < at) {
            return Err(LedgerError::Member(account, "cannot leave yet"));
        }
        let served = past.served_until.saturating_add(self.terms.unbond_secs);
        if member.roles & role::VALIDATOR != 0 && (past.seats != 0 || self.now < served) {
            return Err(LedgerError::Member(account, "answers for a committee"));
        }
        let mut lost = 0u128;
        if member.roles & role::LABELER != 0 {
            let lanes = self.profile.params.lanes;
            let all = [heads.len(), losses.len()];
            if all != [lanes as usize; 2] {
                return Err(LedgerError::Losses(lanes, "one proof for each lane"));
            }
            for ((lane, head), leaves) in (0..).zip(heads).zip(losses) {
                let root = self.loss_root(lane, head)?;
                lost = lost.saturating_add(loss_of(&account, lane, &root, leaves)?.0);
            }
        }
        let (stake, node_key) = (member.stake, member.node_key);
        let burned = Amount(lost.saturating_sub(past.burned.0)).min(stake);
        let paid = Amount(stake.0 - burned.0);
        if !past.banned {
            self.node_keys.remove(&node_key);
        }
        self.members.remove(&account);
        self.past.entry(account).or_default().burned = Amount(past.burned.0 + burned.0);
        self.staked = Amount(self.staked.0 - stake.0);
        self.mint(BURN_ADDRESS, burned);
        self.mint(account, paid);
        Ok(Withdrawn { paid, burned })
    }

    /// Loss root of a lane's last header; zero before the first.
    fn loss_root(&self, lane: u32, head: &EpochHeader) -> Result<Hash, LedgerError> {
        let other = head.lane != lane || self.epoch(lane) != 0 && head.hash() != self.head(lane);
        if other {
            return Err(LedgerError::Losses(lane, "not its last header"));
        }
        Ok(if self.epoch(lane) == 0 {
            Hash::ZERO
        } else {
            head.loss_root
        })
    }

    /// `Registry.slash`: takes a part of the stake that the account has now, and sends it away for ever.
    pub(super) fn slash(&mut self, account: Account, reporter: Account) {
        self.past.entry(account).or_default().banned = true;
        let ready_at = self.now.saturating_add(self.terms.unbond_secs);
        let Some(member) = self.members.get_mut(&account) else {
            return;
        };
        let taken = Amount(member.stake.0 * u128::from(self.disputes.slash_bps) / ALL_BPS);
        let rewarded = Amount(taken.0 / 2);
        member.stake = Amount(member.stake.0 - taken.0);
        let leaves = member.ready_at.is_none();
        member.ready_at.get_or_insert(ready_at);
        self.staked = Amount(self.staked.0 - taken.0);
        self.mint(reporter, rewarded);
        self.mint(BURN_ADDRESS, Amount(taken.0 - rewarded.0));
        if leaves {
            self.pending.push(ChainFact::UnbondRequested { account });
        }
    }
}

/// An account's loss in one lane: its own leaf, or the places where it would stand.
pub(super) fn loss_of(
    account: &Account,
    lane: u32,
    root: &Hash,
    leaves: &[LossLeaf],
) -> Result<Amount, LedgerError> {
    let nobody = Account::default();
    let shown = leaves.iter().all(|leaf| leaf.stands(root));
    let loss = match leaves {
        [] => (*root == Hash::ZERO).then_some(Amount::ZERO),
        [own] if own.account == *account => Some(own.total),
        [edge] => {
            let before = edge.index == 0 && edge.account > *account;
            let behind = edge.account < *account
                && edge.account != nobody
                && edge.index.checked_add(1) == 1u64.checked_shl(edge.proof.len() as u32);
            (before || behind).then_some(Amount::ZERO)
        }
        [left, right] => {
            let between = left.account != nobody
                && left.account < *account
                && (right.account > *account || right.account == nobody);
            let neighbours = left.index.checked_add(1) == Some(right.index)
                && left.proof.len() == right.proof.len();
            (between && neighbours).then_some(Amount::ZERO)
        }
        _ => None,
    };
    loss.filter(|_| shown)
        .ok_or(LedgerError::Losses(lane, "not shown"))
}
