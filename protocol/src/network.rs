//! What makes a network *this* network: name, chain, contracts and parameters.
//!
//! The id over all of it stands inside every signature, so nothing signed here is valid elsewhere.

use serde::{Deserialize, Serialize};

use crate::{
    amount::Amount,
    codec,
    crypto::hash,
    id::{Account, Hash, NetworkId},
    limit,
};

/// Addresses of the contracts on the network's chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contracts {
    /// Reward token (ERC-20).
    pub token: Account,
    /// `Registry`: accounts, node keys, stake.
    pub registry: Account,
    /// `TaskEscrow`: deposits.
    pub escrow: Account,
    /// `EpochAnchor`: headers and committees.
    pub anchor: Account,
    /// `RewardDistributor` of each lane: payout roots and claims.
    pub distributors: Vec<Account>,
    /// `IBeacon` of the committee draw.
    pub beacon: Account,
}

impl Contracts {
    /// The distributor that pays for a lane; the zero account, which is nobody's, for a lane that does not exist.
    pub fn distributor(&self, lane: u32) -> Account {
        usize::try_from(lane)
            .ok()
            .and_then(|lane| self.distributors.get(lane))
            .copied()
            .unwrap_or_default()
    }
}

/// keccak-256 of the code that runs at the contracts' addresses, as `eth_getCode` gives it: what was fixed when they were deployed is part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeHashes {
    /// Of the token; where that is a proxy, of the proxy.
    pub token: Hash,
    /// Of `Registry`.
    pub registry: Hash,
    /// Of `TaskEscrow`.
    pub escrow: Hash,
    /// Of `EpochAnchor`.
    pub anchor: Hash,
    /// Of each lane's `RewardDistributor`.
    pub distributors: Vec<Hash>,
    /// Of the beacon.
    pub beacon: Hash,
    /// Of `Disputes`, whose address the anchor's code holds.
    pub disputes: Hash,
}

impl CodeHashes {
    /// For networks whose contracts are no code: simulations.
    pub fn none(lanes: u32) -> Self {
        Self {
            distributors: vec![Hash::ZERO; lanes as usize],
            ..Self::default()
        }
    }
}

/// A contract that stands beside the main reward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extra {
    /// Where it is.
    pub address: Account,
    /// keccak-256 of its code.
    pub code: Hash,
}

/// Contracts that no other one knows: they can be added to a running network, so the network's id does not name them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extras {
    /// `ReputationAnchor`: shows reputations to other contracts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reputation: Option<Extra>,
    /// `BonusPool`: bonuses in partner tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bonuses: Option<Extra>,
    /// `DatasetShares`: data sets and who has a part in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datasets: Option<Extra>,
    /// `RevenueSplitter` of the data sets: their income.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub splitter: Option<Extra>,
}

impl Extras {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A contract that the profile names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// For people.
    pub name: String,
    /// Where it is.
    pub address: Account,
    /// keccak-256 of its code.
    pub code: Hash,
}

/// Parameters that every node of a network shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Lanes; a task belongs to lane `task id mod lanes`.
    pub lanes: u32,
    /// Validators that must be registered before anyone asks for the first committee: a committee drawn earlier would be smaller.
    pub committee_min: u32,
    /// Epochs after which a lane's committee is drawn anew.
    pub term_epochs: u64,
    /// Blocks between the anchoring of a header and the block whose randomness draws the next assignment.
    pub beacon_delay_blocks: u64,
    /// Seconds of chain time in which the committee must hold the shards of a funded task.
    pub custody_secs: u32,
    /// Committee fee in parts per million of the label budget.
    pub fee_ppm: u32,
    /// Smallest gold bond in parts per million of the label budget.
    pub gold_bond_ppm: u32,
    /// Seconds of chain time after which validators hold an epoch to be wrong when nobody hands out its content. Below the activation
    /// delay of the lanes, or it comes too late to take the epoch back.
    pub overrule_secs: u32,
    /// Milliseconds after which a silent leader is replaced.
    pub view_timeout_ms: u32,
    /// Decimals of the reward token, for people only.
    pub token_decimals: u8,
}

impl Params {
    /// Defaults of a development network.
    pub const fn dev() -> Self {
        Self {
            lanes: 1,
            committee_min: 3,
            term_epochs: 1_000,
            beacon_delay_blocks: 1,
            custody_secs: 60,
            fee_ppm: 50_000,
            gold_bond_ppm: 50_000,
            overrule_secs: 60,
            view_timeout_ms: 2_000,
            token_decimals: 6,
        }
    }
}

/// The network profile: the one file that a participant is handed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkProfile {
    /// Short name, also part of the libp2p protocol names; lower-case letters, digits and dashes.
    pub name: String,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// A development network: private addresses are allowed and the token is worthless.
    pub dev: bool,
    /// JSON-RPC addresses tried in order.
    pub rpc: Vec<String>,
    /// First-contact peers, as multiaddresses ending in `/p2p/...`.
    pub bootstrap: Vec<String>,
    /// First block that can hold an event of the contracts.
    pub start_block: u64,
    /// Contract addresses.
    pub contracts: Contracts,
    /// Their code.
    pub code: CodeHashes,
    /// Contracts beside the main reward, where there are any.
    #[serde(default, skip_serializing_if = "Extras::is_empty")]
    pub extras: Extras,
    /// Shared parameters.
    pub params: Params,
}

/// What is wrong with a network profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("network profile, field `{field}`: {why}")]
pub struct ProfileError {
    /// The field.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub why: String,
}

impl NetworkProfile {
    /// The network's id: BLAKE3 over everything that changes what a signature means. First peers, RPC addresses and contracts
    /// beside the main reward do not.
    pub fn id(&self) -> NetworkId {
        let bytes = codec::encode(&(
            &self.name,
            self.chain_id,
            &self.contracts,
            &self.code,
            &self.params,
        ));
        NetworkId(hash("assay/1/network", &[&bytes]).0)
    }

    /// The contracts that are named with their addresses.
    pub fn pinned(&self) -> Vec<Pinned> {
        let (at, code) = (&self.contracts, &self.code);
        let one = |name: &str, address: Account, code: Hash| Pinned {
            name: name.to_owned(),
            address,
            code,
        };
        let mut all = vec![
            one("token", at.token, code.token),
            one("registry", at.registry, code.registry),
            one("escrow", at.escrow, code.escrow),
            one("anchor", at.anchor, code.anchor),
            one("beacon", at.beacon, code.beacon),
        ];
        let lanes = at.distributors.iter().zip(&code.distributors);
        all.extend((0..).zip(lanes).map(|(lane, (address, code)): (u32, _)| {
            one(&format!("distributor of lane {lane}"), *address, *code)
        }));
        let extras = [
            ("reputation anchor", self.extras.reputation),
            ("bonus pool", self.extras.bonuses),
            ("data sets", self.extras.datasets),
            ("revenue splitter", self.extras.splitter),
        ];
        for (name, extra) in extras {
            all.extend(extra.map(|e| one(name, e.address, e.code)));
        }
        all
    }

    /// Checks ranges.
    ///
    /// # Errors
    /// The first field out of range.
    pub fn check(&self) -> Result<(), ProfileError> {
        let bad = |field, why: &str| {
            Err(ProfileError {
                field,
                why: why.to_owned(),
            })
        };
        let letters = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if self.name.is_empty() || self.name.len() > 32 || !self.name.bytes().all(letters) {
            return bad("name", "1 to 32 lower-case letters, digits or dashes");
        }
        if self.params.lanes == 0 {
            return bad("params.lanes", "at least 1");
        }
        if self.contracts.distributors.len() != self.params.lanes as usize {
            return bad("contracts.distributors", "one address for each lane");
        }
        if self.code.distributors.len() != self.params.lanes as usize {
            return bad("code.distributors", "one hash for each lane");
        }
        if self.extras.datasets.is_some() != self.extras.splitter.is_some() {
            return bad("extras", "`datasets` and `splitter` together, or neither");
        }
        if self.params.committee_min == 0
            || self.params.committee_min as usize > crate::limit::COMMITTEE_MAX
        {
            return bad("params.committee_min", "1 to 64");
        }
        if self.params.term_epochs == 0 {
            return bad("params.term_epochs", "at least 1");
        }
        if self.params.fee_ppm > 500_000 {
            return bad("params.fee_ppm", "at most 500000 (half of the budget)");
        }
        if self.params.gold_bond_ppm > 1_000_000 {
            return bad("params.gold_bond_ppm", "at most 1000000");
        }
        if !limit::PHASE_SECS.contains(&self.params.custody_secs) {
            return bad("params.custody_secs", "1 second to 30 days");
        }
        if !limit::PHASE_SECS.contains(&self.params.overrule_secs) {
            return bad("params.overrule_secs", "1 second to 30 days");
        }
        if self.params.view_timeout_ms < 100 {
            return bad("params.view_timeout_ms", "at least 100");
        }
        if self.params.token_decimals > 36 {
            return bad("params.token_decimals", "at most 36");
        }
        Ok(())
    }
}

impl Params {
    /// `ppm` parts per million of `budget`, floored.
    pub fn ppm_of(budget: Amount, ppm: u32) -> Option<Amount> {
        budget.share(u128::from(ppm), 1_000_000)
    }
}
