//! An account's stake: what the registry says of it, and the proofs of loss that a labeler shows when it leaves.

pub use assay_protocol::settlement::LossLeaf;
use assay_protocol::{
    amount::Amount,
    codec,
    id::{Account, Hash},
    lane::LaneState,
    merkle::{self, LOSS_LEAF, Tree},
};
use serde::{Deserialize, Serialize};

use super::{
    Chain, ChainError,
    bindings::{EpochAnchor, Registry},
    intent::Intent,
};

/// What the registry says of an account at the newest block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StakeState {
    /// Whether it is registered.
    pub registered: bool,
    /// Role bits; 0 when it is not registered.
    pub roles: u8,
    /// Locked tokens.
    pub stake: Amount,
    /// Least stake of these roles.
    pub minimum: Amount,
    /// From when on the stake can be withdrawn, seconds since 1970; none while the account is not leaving.
    pub ready_at: Option<u64>,
    /// Whether it sits in a committee, which keeps its stake.
    pub serving: bool,
    /// Seconds between leaving and withdrawing.
    pub unbond_secs: u64,
    /// It signed a header with a proven fault: it can never register again.
    pub banned: bool,
    /// Losses burned so far.
    pub burned: Amount,
    /// How often it has registered.
    pub registrations: u64,
    /// Time of the newest block, seconds since 1970.
    pub now: u64,
}

/// A transaction that changed a stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StakeChange {
    /// Our transaction.
    pub tx: Hash,
    /// Its gas.
    pub gas_used: u64,
}

/// What an account has lost in one lane, shown against the lane's last header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneLoss {
    /// Lane.
    pub lane: u32,
    /// Last epoch; 0 before the first.
    pub epoch: u64,
    /// Struct hash of its header.
    pub header: Hash,
    /// A block that the header was posted after.
    pub since: u64,
    /// The account's own leaf, or the leaves that show that it has none; empty for a tree without leaves.
    pub leaves: Vec<LossLeaf>,
}

impl LaneLoss {
    /// The proof for `account` in the state after a lane's last epoch.
    pub fn new(base: &LaneState, account: &Account) -> Self {
        Self {
            lane: base.lane,
            epoch: base.epoch,
            header: base.head,
            since: base.block.number,
            leaves: if base.epoch == 0 {
                Vec::new()
            } else {
                loss_leaves(base, account)
            },
        }
    }
}

/// As `Registry.withdraw` wants them: the own leaf, or the neighbours between which it would stand.
fn loss_leaves(base: &LaneState, account: &Account) -> Vec<LossLeaf> {
    let rows: Vec<(Account, Amount)> = base
        .accounts
        .keys()
        .map(|a| (*a, base.lost.get(a).copied().unwrap_or_default()))
        .collect();
    let tree = Tree::new(
        rows.iter()
            .map(|(a, lost)| merkle::leaf(LOSS_LEAF, &[&a.0, &lost.0.to_be_bytes()]))
            .collect(),
    );
    let leaf = |index: usize| {
        let (account, total) = rows.get(index).copied().unwrap_or_default();
        Some(LossLeaf {
            account,
            total,
            index: index as u64,
            proof: tree.proof(index)?,
        })
    };
    let places = match rows.binary_search_by_key(account, |row| row.0) {
        Ok(own) => vec![own],
        Err(_) if rows.is_empty() => Vec::new(),
        Err(0) => vec![0],
        // Behind the last one stands padding, or nothing.
        Err(next) => vec![next - 1, next],
    };
    places.into_iter().filter_map(leaf).collect()
}

/// A short name for proofs, so that newer ones are another wish.
pub(super) fn name(losses: &[LaneLoss]) -> Hash {
    Hash(*blake3::hash(&codec::encode(losses)).as_bytes())
}

impl Chain {
    /// What the registry says of an account.
    ///
    /// # Errors
    /// [`ChainError::Rpc`].
    pub async fn stake(&self, account: Account) -> Result<StakeState, ChainError> {
        let endpoint = self.shared.endpoints.current();
        let contracts = &self.shared.profile.contracts;
        let registry = contracts.registry;
        let whose = account.into();
        let known = endpoint
            .view(registry, Registry::accountsCall { account: whose })
            .await?;
        let minima = [
            (
                assay_protocol::lane::role::LABELER,
                endpoint
                    .view(registry, Registry::minLabelerBondCall {})
                    .await?,
            ),
            (
                assay_protocol::lane::role::VALIDATOR,
                endpoint
                    .view(registry, Registry::minValidatorStakeCall {})
                    .await?,
            ),
        ];
        let minimum = minima
            .into_iter()
            .filter(|(role, _)| known.roles & role != 0)
            .map(|(_, minimum)| minimum)
            .max()
            .unwrap_or_default();
        let service = endpoint
            .view(
                contracts.anchor,
                EpochAnchor::serviceCall { account: whose },
            )
            .await?;
        let unbond_secs = endpoint
            .view(registry, Registry::unbondSecondsCall {})
            .await?;
        let validator = known.roles & assay_protocol::lane::role::VALIDATOR != 0;
        // Who sat in a committee answers for what it signed.
        let served = if validator && service.until != 0 {
            service.until.saturating_add(unbond_secs)
        } else {
            0
        };
        Ok(StakeState {
            registered: !known.nodeKey.is_zero(),
            roles: known.roles,
            stake: Amount(known.stake),
            minimum: Amount(minimum),
            ready_at: (known.readyAt != 0).then_some(known.readyAt.max(served)),
            serving: validator && service.serving,
            unbond_secs,
            banned: endpoint
                .view(registry, Registry::bannedCall { account: whose })
                .await?,
            burned: Amount(known.burned),
            registrations: known.nonce,
            now: endpoint.latest().await?.time,
        })
    }

    async fn change_stake(&self, intent: Intent) -> Result<Option<StakeChange>, ChainError> {
        let done = self.submit_and_wait(intent).await?;
        Ok(done.map(|(tx, gas_used, _)| StakeChange { tx, gas_used }))
    }

    /// Brings our stake up to `target` base units. Returns when it is in a block (not final yet), and nothing when the stake was
    /// there already; so asking twice adds once.
    ///
    /// # Errors
    /// [`ChainError::Refused`] for an account that is not registered or is leaving, or without the tokens; [`ChainError::Pending`]
    /// and [`ChainError::Rpc`].
    pub async fn raise_stake(&self, target: Amount) -> Result<Option<StakeChange>, ChainError> {
        self.change_stake(Intent::RaiseStake { target }).await
    }

    /// Starts leaving with the whole stake; nothing when our account is leaving already.
    ///
    /// # Errors
    /// As [`Self::raise_stake`].
    pub async fn unbond(&self) -> Result<Option<StakeChange>, ChainError> {
        let account = self.account.ok_or(ChainError::NoKey)?;
        let registration = self.stake(account).await?.registrations;
        self.change_stake(Intent::Unbond { registration }).await
    }

    /// Takes the stake home and ends the registration; nothing when that has happened. `losses` has every lane in order for a
    /// labeler, and is empty for others.
    ///
    /// # Errors
    /// As [`Self::raise_stake`], before the time has come, and when a lane has a newer epoch than `losses` shows.
    pub async fn withdraw_stake(
        &self,
        losses: Vec<LaneLoss>,
    ) -> Result<Option<StakeChange>, ChainError> {
        let account = self.account.ok_or(ChainError::NoKey)?;
        let registration = self.stake(account).await?.registrations;
        self.change_stake(Intent::Withdraw {
            registration,
            losses,
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use assay_protocol::lane::AccountState;
    use proptest::prelude::*;

    use super::*;

    fn state(accounts: &[u8]) -> LaneState {
        let mut state = LaneState::genesis(0);
        state.epoch = 1;
        for n in accounts {
            let row = AccountState {
                node_key: assay_protocol::id::NodeKey([*n; 32]),
                seal_key: Hash::ZERO,
                payee: Account([*n; 20]),
                roles: 2,
                stake: Amount(5),
                leaving: false,
            };
            state.accounts.insert(Account([*n; 20]), row);
            state
                .lost
                .insert(Account([*n; 20]), Amount(u128::from(*n) * 7));
        }
        state
    }

    proptest! {
        #[test]
        fn everybody_can_show_its_loss_or_that_it_has_none(accounts in prop::collection::btree_set(1u8..=250, 0..20), who in 1u8..=250) {
            let accounts: Vec<u8> = accounts.into_iter().collect();
            let (state, who) = (state(&accounts), Account([who; 20]));
            let leaves = LaneLoss::new(&state, &who).leaves;
            for leaf in &leaves {
                let hash = if leaf.account == Account::default() {
                    Hash::ZERO
                } else {
                    merkle::leaf(LOSS_LEAF, &[&leaf.account.0, &leaf.total.0.to_be_bytes()])
                };
                prop_assert!(merkle::verify(&state.loss_root(), &hash, leaf.index, &leaf.proof));
            }
            // The contract's own rule, see `Registry._provenLoss`.
            let known = match leaves.as_slice() {
                [] => state.loss_root() == Hash::ZERO,
                [own] if own.account == who => own.total == state.lost[&who],
                [edge] => (edge.index == 0 && edge.account > who)
                    || (edge.account < who && edge.index == (1 << edge.proof.len()) - 1),
                [left, right] => left.account < who && (right.account > who || right.account == Account::default()) && right.index == left.index + 1,
                _ => false,
            };
            prop_assert!(known, "{leaves:?}");
        }
    }
}
