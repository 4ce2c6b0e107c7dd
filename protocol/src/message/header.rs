//! The epoch header: what a committee signs and `EpochAnchor` accepts. EIP-712, so that the contract checks what the members saw.

use alloy_primitives::{Address, U256};
use alloy_sol_types::{Eip712Domain, SolStruct, SolValue, sol};
use serde::{Deserialize, Serialize};

use crate::{
    amount::Amount,
    crypto::keccak,
    id::{Account, Hash, TaskId},
    network::NetworkProfile,
};

mod abi {
    #![allow(missing_docs, reason = "generated; documented on the Rust twins below")]
    use super::sol;
    sol! {
        struct EpochHeader {
            uint32 lane;
            uint64 epoch;
            uint32 view;
            uint64 term;
            bytes32 parent;
            uint64 chainBlock;
            bytes32 chainBlockHash;
            bytes32 recordsRoot;
            bytes32 stateRoot;
            bytes32 payoutRoot;
            bytes32 auditRoot;
            uint32 payoutCount;
            bytes32 lossRoot;
            bytes32 reputationRoot;
            bytes32 payoutFile;
            uint256 totalOwed;
            bytes32 settledHash;
        }
        struct SettledTask {
            bytes32 taskId;
            address client;
        }
        struct Overrule {
            bytes32 header;
        }
    }
}

/// A task whose escrow an epoch releases: what it held at the header's chain block; later top-ups go back to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettledTask {
    /// Task.
    pub task: TaskId,
    /// Its client.
    pub client: Account,
}

/// Header of one epoch of one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochHeader {
    /// Lane.
    pub lane: u32,
    /// Epoch, from 1.
    pub epoch: u64,
    /// View in which it was proposed.
    pub view: u32,
    /// Committee term.
    pub term: u64,
    /// Struct hash of the previous header; zero for epoch 1.
    pub parent: Hash,
    /// Number of the block up to which chain facts are included.
    pub chain_block: u64,
    /// Its hash.
    pub chain_block_hash: Hash,
    /// Root over record ids ([`crate::merkle::RECORD_LEAF`]).
    pub records_root: Hash,
    /// BLAKE3 of the lane's state after the epoch.
    pub state_root: Hash,
    /// Root over (payee, total ever owed).
    pub payout_root: Hash,
    /// Root over (payee, total ever owed, sum of the totals before it), in the same places: what makes a tree that owes too much
    /// provable from two neighbouring leaves.
    pub audit_root: Hash,
    /// Payout leaves.
    pub payout_count: u32,
    /// Root over (account, total ever lost).
    pub loss_root: Hash,
    /// Root over reputation evidence.
    pub reputation_root: Hash,
    /// BLAKE3 of the payout leaves' canonical list.
    pub payout_file: Hash,
    /// Sum of the payout leaves; equals what the lane's escrows released.
    pub total_owed: Amount,
    /// keccak of the ABI encoding of the settled tasks.
    pub settled_hash: Hash,
}

fn domain(profile: &NetworkProfile) -> Eip712Domain {
    Eip712Domain::new(
        Some("Assay".into()),
        Some("1".into()),
        Some(U256::from(profile.chain_id)),
        Some(Address::from(profile.contracts.anchor)),
        None,
    )
}

impl EpochHeader {
    fn abi(&self) -> abi::EpochHeader {
        abi::EpochHeader {
            lane: self.lane,
            epoch: self.epoch,
            view: self.view,
            term: self.term,
            parent: self.parent.into(),
            chainBlock: self.chain_block,
            chainBlockHash: self.chain_block_hash.into(),
            recordsRoot: self.records_root.into(),
            stateRoot: self.state_root.into(),
            payoutRoot: self.payout_root.into(),
            auditRoot: self.audit_root.into(),
            payoutCount: self.payout_count,
            lossRoot: self.loss_root.into(),
            reputationRoot: self.reputation_root.into(),
            payoutFile: self.payout_file.into(),
            totalOwed: U256::from(self.total_owed.0),
            settledHash: self.settled_hash.into(),
        }
    }

    /// The header's name: its EIP-712 struct hash.
    pub fn hash(&self) -> Hash {
        self.abi().eip712_hash_struct().into()
    }

    /// What a member signs: the EIP-712 digest under the network's chain id and anchor contract.
    pub fn signing_digest(&self, profile: &NetworkProfile) -> Hash {
        Self::digest_of(&self.hash(), profile)
    }

    /// The same for the header with this hash.
    pub fn digest_of(header: &Hash, profile: &NetworkProfile) -> Hash {
        let separator = domain(profile).separator();
        keccak(&[&[0x19, 0x01], &separator.0[..], &header.0].concat())
    }

    /// What a validator signs who cannot derive the header with this hash (`Disputes.overruleDigest`).
    pub fn overrule_digest(header: &Hash, profile: &NetworkProfile) -> Hash {
        let vote = abi::Overrule {
            header: (*header).into(),
        };
        vote.eip712_signing_hash(&domain(profile)).into()
    }

    /// keccak of the ABI encoding of the settled tasks, as the contract forms it.
    pub fn hash_settled(settled: &[SettledTask]) -> Hash {
        let list: Vec<_> = settled
            .iter()
            .map(|s| abi::SettledTask {
                taskId: s.task.0.into(),
                client: s.client.into(),
            })
            .collect();
        keccak(&list.abi_encode())
    }
}
