//! News from the chain: blocks and the events of our contracts in them, already decoded by the chain client.
//!
//! The core acts on finalised blocks only; a reorganisation below finality is invisible here.

use serde::{Deserialize, Serialize};

use super::EpochHeader;
use crate::{
    amount::Amount,
    id::{Account, Blob, Hash, NodeKey, Signature, TaskId},
};

/// A block by number and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockRef {
    /// Block number.
    pub number: u64,
    /// Block hash.
    pub hash: Hash,
    /// Timestamp, seconds.
    pub time: u64,
}

/// A finalised block and what happened in it, in log order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockNews {
    /// The block.
    pub block: BlockRef,
    /// Its randomness (`prevrandao`).
    pub randao: Hash,
    /// Events of our contracts.
    pub facts: Vec<ChainFact>,
}

/// An event of one of the network's contracts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ChainFact {
    /// `Registry.Registered`.
    Registered {
        /// EVM account.
        account: Account,
        /// Claimed Ed25519 key; counts only when `binding` fits.
        node_key: NodeKey,
        /// Claimed X25519 key.
        seal_key: Hash,
        /// Where pay goes.
        payee: Account,
        /// Bits: 1 client, 2 labeler, 4 validator.
        roles: u8,
        /// Stake in base units.
        stake: Amount,
        /// Registration counter of the account.
        nonce: u64,
        /// Ed25519 signature over [`crate::crypto::binding_message`].
        binding: Signature,
    },
    /// `Registry.StakeAdded`: the stake after it.
    StakeAdded {
        /// Account.
        account: Account,
        /// New stake.
        stake: Amount,
    },
    /// `Registry.UnbondRequested`.
    UnbondRequested {
        /// Account.
        account: Account,
    },
    /// `TaskEscrow.Funded`.
    Funded {
        /// Task id as the client claims it.
        task: TaskId,
        /// Who paid.
        client: Account,
        /// Lane as the client claims it.
        lane: u32,
        /// Deposit.
        deposit: Amount,
        /// Gold bond.
        gold_bond: Amount,
    },
    /// `TaskEscrow.ToppedUp`: the deposit after it.
    ToppedUp {
        /// Task.
        task: TaskId,
        /// Client of the escrow.
        client: Account,
        /// New deposit.
        deposit: Amount,
    },
    /// `EpochAnchor.CommitteeDrawn`.
    CommitteeDrawn {
        /// Lane.
        lane: u32,
        /// Term number.
        term: u64,
        /// Members in ascending order.
        members: Vec<Account>,
        /// Signatures that make a quorum.
        threshold: u16,
    },
    /// `EpochAnchor.EpochPosted`.
    EpochPosted {
        /// The header, which names its lane and epoch.
        header: Box<EpochHeader>,
        /// Indexes of the signers in the committee.
        signers: Vec<u8>,
        /// Who sent the transaction.
        poster: Account,
    },
    /// `TaskEscrow.Released`: an epoch took the task's money to the lane's distributor.
    Released {
        /// Task.
        task: TaskId,
        /// Client of the escrow.
        client: Account,
        /// What moved; later top-ups are the client's again.
        amount: Amount,
    },
    /// `TaskEscrow.FallbackOpened`: the task is paid without a committee, and no epoch settles it any more.
    FallbackOpened {
        /// Task.
        task: TaskId,
        /// Client of the escrow.
        client: Account,
        /// Hash of the lane's last header, which decides who is paid; zero when there was none.
        header: Hash,
    },
    /// `TaskEscrow.RecordForced`: counts like a record that the whole committee took in when the block was made.
    RecordForced {
        /// Task.
        task: TaskId,
        /// Client of the escrow.
        client: Account,
        /// Canonical bytes of a signed record, or anything else.
        record: Blob,
    },
    /// `EpochAnchor.EpochsRevoked`: a proven fault, or most of the registry, took back this epoch and all after it, and dismissed the
    /// committee.
    EpochsRevoked {
        /// Lane.
        lane: u32,
        /// First epoch that does not count any more.
        from: u64,
    },
}
