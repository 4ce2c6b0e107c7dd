//! What the node wants done on chain, and how far each wish has come: the records of the durable outbox.
//!
//! An intent names an end ("this task is funded"), not a transaction; so asking twice, or after somebody else did it, is harmless.
//! Invariant: a signed transaction is recorded before it is sent, and a nonce has one transaction unless its fee was raised.

use assay_protocol::{
    amount::Amount,
    codec,
    core::ChainCall,
    id::{Account, Blob, EvmSignature, Hash, NetworkId, NodeKey, Signature, TaskId},
    lane::{BonusProof, Claim, FlatClaim, SubtreeClaim},
    merkle::ShareClaim,
    message::{Envelope, EpochHeader, SettledTask},
    settlement::fault::TreeFault,
};
use serde::{Deserialize, Serialize};

use super::{
    equivocation::Equivocation,
    error::ChainError,
    shares::{DatasetVersion, Till},
    stake::{self, LaneLoss},
};

/// Largest record, in bytes (8 MiB): a header with very many settled tasks.
pub const JOB_BYTES_MAX: usize = 8 << 20;
/// Version of the records' form, the first byte of every key.
const FORM: u8 = 1;

/// An end to reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Intent {
    /// The task's escrow holds this money of ours.
    Fund {
        task: TaskId,
        lane: u32,
        deposit: Amount,
        gold_bond: Amount,
    },
    /// The lane has a committee in office.
    Draw { lane: u32 },
    /// The header is the lane's epoch.
    Post {
        header: Box<EpochHeader>,
        settled: Vec<SettledTask>,
        signatures: Vec<(u8, EvmSignature)>,
    },
    /// The record stands in the chain's log.
    ForceRecord {
        client: Account,
        record: Box<Envelope>,
    },
    /// The header is taken back.
    Overrule {
        header: Box<EpochHeader>,
        /// Rising by account.
        votes: Vec<(Account, EvmSignature)>,
    },
    /// The member is punished for two headers of one view.
    ProveEquivocation(Equivocation),
    /// The header's fault is proven.
    ProveFault {
        header: Box<EpochHeader>,
        fault: Box<TreeFault>,
    },
    /// Our account is registered with this node key.
    Register {
        node_key: NodeKey,
        seal_key: Hash,
        payee: Account,
        roles: u8,
        stake: Amount,
        /// The account's registration counter that `binding` signs.
        nonce: u64,
        binding: Signature,
    },
    /// The payee has all that the claim proves.
    Claim(Claim),
    /// All payees of a subtree have all that it proves.
    ClaimSubtree(SubtreeClaim),
    /// The escrow pays the task without a committee.
    OpenFallback { task: TaskId, client: Account },
    /// The payee has what the header proves for the task's fallback.
    ClaimFallback {
        header: Box<EpochHeader>,
        claim: FlatClaim,
    },
    /// What the fallback left over is the client's.
    CloseFallback { task: TaskId, client: Account },
    /// Our money is in a till: paid in after block `since`, so that a wish that is repeated pays once.
    PayIn {
        till: Till,
        token: Account,
        amount: Amount,
        since: u64,
    },
    /// The pool knows how a task's bonus is shared.
    RecordSplit(Box<BonusProof>),
    /// A leaf of a till's tree has been paid more than `paid`, or nothing more is due to it.
    ClaimShare {
        till: Till,
        token: Account,
        claim: ShareClaim,
        paid: Amount,
    },
    /// The data set of our task is published.
    PublishDataset {
        task: TaskId,
        first: DatasetVersion,
        royalty_bps: u16,
    },
    /// Our stake is at least this; so a wish that is repeated adds once.
    RaiseStake { target: Amount },
    /// Our registration of this number is leaving, or has left.
    Unbond { registration: u64 },
    /// Our registration of this number has left with its stake.
    Withdraw {
        registration: u64,
        /// Every lane in order for a labeler; empty for others.
        losses: Vec<LaneLoss>,
    },
}

impl From<ChainCall> for Intent {
    fn from(call: ChainCall) -> Self {
        match call {
            ChainCall::Fund {
                task,
                lane,
                deposit,
                gold_bond,
            } => Self::Fund {
                task,
                lane,
                deposit,
                gold_bond,
            },
            ChainCall::DrawCommittee { lane } => Self::Draw { lane },
            ChainCall::PostEpoch {
                header,
                settled,
                signatures,
            } => Self::Post {
                header: Box::new(header),
                settled,
                signatures,
            },
            ChainCall::ForceRecord { client, record } => Self::ForceRecord { client, record },
            ChainCall::Overrule { header, votes } => Self::Overrule {
                header: Box::new(header),
                votes,
            },
            ChainCall::ProveEquivocation {
                account,
                proposed,
                signature,
                other,
                other_signature,
            } => Self::ProveEquivocation(Equivocation {
                account,
                proposed,
                signature,
                other,
                other_signature,
            }),
            ChainCall::ProveFault { header, fault } => Self::ProveFault {
                header: Box::new(header),
                fault,
            },
        }
    }
}

impl Intent {
    /// The name of the intent in the outbox: network, account, kind and ids. Two equal wishes have one name, of at most
    /// `assay_storage::KEY_BYTES_MAX` bytes.
    pub fn key(&self, network: &NetworkId, account: &Account) -> Vec<u8> {
        let mut key = vec![FORM];
        key.extend_from_slice(&network.0);
        key.extend_from_slice(&account.0);
        match self {
            Self::Fund { task, .. } => {
                key.push(b'F');
                key.extend_from_slice(&task.0);
            }
            Self::Draw { lane } => {
                key.push(b'D');
                key.extend_from_slice(&lane.to_be_bytes());
            }
            Self::Post { header, .. } => {
                key.push(b'P');
                key.extend_from_slice(&header.lane.to_be_bytes());
                key.extend_from_slice(&header.epoch.to_be_bytes());
                key.extend_from_slice(&header.hash().0);
            }
            Self::ForceRecord { record, .. } => {
                key.push(b'X');
                key.extend_from_slice(&record.id().0);
            }
            Self::Overrule { header, votes } => {
                key.push(b'V');
                key.extend_from_slice(&header.hash().0);
                // More votes can do what fewer cannot.
                key.extend_from_slice(&(votes.len() as u32).to_be_bytes());
            }
            Self::ProveEquivocation(e) => {
                key.push(b'Y');
                key.extend_from_slice(&e.offence().0);
                key.extend_from_slice(&e.account.0);
            }
            // Another fault of the same header would change nothing.
            Self::ProveFault { header, .. } => {
                key.push(b'T');
                key.extend_from_slice(&header.hash().0);
            }
            Self::Register { node_key, .. } => {
                key.push(b'R');
                key.extend_from_slice(&node_key.0);
            }
            Self::Claim(claim) => {
                key.push(b'C');
                key.extend_from_slice(&claim.lane.to_be_bytes());
                key.extend_from_slice(&claim.payee.0);
                key.extend_from_slice(&claim.total.0.to_be_bytes());
            }
            Self::ClaimSubtree(claim) => {
                key.push(b'S');
                key.extend_from_slice(&claim.lane.to_be_bytes());
                key.extend_from_slice(&claim.epoch.to_be_bytes());
                key.extend_from_slice(&claim.first.to_be_bytes());
                key.push(claim.height);
            }
            Self::OpenFallback { task, client } => {
                key.push(b'O');
                key.extend_from_slice(&task.0);
                key.extend_from_slice(&client.0);
            }
            Self::ClaimFallback { claim, .. } => {
                key.push(b'G');
                key.extend_from_slice(&claim.pay.leaf().0);
            }
            Self::CloseFallback { task, client } => {
                key.push(b'E');
                key.extend_from_slice(&task.0);
                key.extend_from_slice(&client.0);
            }
            Self::PayIn {
                till,
                token,
                amount,
                since,
            } => {
                key.push(b'I');
                key.extend_from_slice(&till.name(token).0);
                key.extend_from_slice(&amount.0.to_be_bytes());
                key.extend_from_slice(&since.to_be_bytes());
            }
            Self::RecordSplit(proof) => {
                key.push(b'K');
                key.extend_from_slice(&proof.bonus.task.0);
                key.extend_from_slice(&proof.bonus.client.0);
            }
            Self::ClaimShare {
                till,
                token,
                claim,
                paid,
            } => {
                key.push(b'H');
                key.extend_from_slice(&till.name(token).0);
                key.extend_from_slice(&claim.index.to_be_bytes());
                key.extend_from_slice(&paid.0.to_be_bytes());
            }
            Self::PublishDataset { task, .. } => {
                key.push(b'B');
                key.extend_from_slice(&task.0);
            }
            Self::RaiseStake { target } => {
                key.push(b'A');
                key.extend_from_slice(&target.0.to_be_bytes());
            }
            Self::Unbond { registration } => {
                key.push(b'U');
                key.extend_from_slice(&registration.to_be_bytes());
            }
            Self::Withdraw {
                registration,
                losses,
            } => {
                key.push(b'W');
                key.extend_from_slice(&registration.to_be_bytes());
                key.extend_from_slice(&stake::name(losses).0);
            }
        }
        key
    }

    /// Whether an outbox key belongs to this network and account.
    pub fn is_ours(key: &[u8], network: &NetworkId, account: &Account) -> bool {
        let (n, a) = (1 + NetworkId::LEN, 1 + NetworkId::LEN + Account::LEN);
        key.len() > a && key[0] == FORM && key[1..n] == network.0 && key[n..a] == account.0
    }

    /// For people: completes "cannot ..." and "... done".
    pub fn describe(&self) -> String {
        match self {
            Self::Fund { task, .. } => format!("fund task {task}"),
            Self::Draw { lane } => format!("draw the committee of lane {lane}"),
            Self::Post { header, .. } => {
                format!("post epoch {} of lane {}", header.epoch, header.lane)
            }
            Self::ForceRecord { record, .. } => {
                format!("put a record about task {} on the chain", record.task)
            }
            Self::Overrule { header, votes } => format!(
                "take back epoch {} of lane {} with {} votes",
                header.epoch,
                header.lane,
                votes.len()
            ),
            Self::ProveEquivocation(e) => format!(
                "show that 0x{} signed two headers for epoch {} of lane {}",
                e.account, e.other.epoch, e.other.lane
            ),
            Self::ProveFault { header, .. } => format!(
                "prove the fault of epoch {} of lane {}",
                header.epoch, header.lane
            ),
            Self::Register { node_key, .. } => format!("register node key {node_key}"),
            Self::Claim(c) => format!(
                "claim up to epoch {} of lane {} for 0x{}",
                c.epoch, c.lane, c.payee
            ),
            Self::ClaimSubtree(c) => format!(
                "claim up to epoch {} of lane {} for {} payees from place {}",
                c.epoch,
                c.lane,
                c.leaves.len(),
                c.first
            ),
            Self::OpenFallback { task, .. } => format!("open the fallback of task {task}"),
            Self::ClaimFallback { claim, .. } => format!(
                "pay 0x{} from the fallback of task {}",
                claim.pay.payee, claim.pay.task
            ),
            Self::CloseFallback { task, .. } => format!("close the fallback of task {task}"),
            Self::PayIn { till, .. } => format!("pay into {till}"),
            Self::RecordSplit(proof) => {
                format!(
                    "record how the bonus of task {} is shared",
                    proof.bonus.task
                )
            }
            Self::ClaimShare { till, claim, .. } => {
                format!("pay 0x{} from {till}", claim.payee)
            }
            Self::PublishDataset { task, .. } => format!("publish the data set of task {task}"),
            Self::RaiseStake { target } => format!("raise the stake to {target} base units"),
            Self::Unbond { .. } => "leave with the stake".to_owned(),
            Self::Withdraw { .. } => "withdraw the stake".to_owned(),
        }
    }
}

/// A transaction as it was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Signed {
    /// EIP-2718 bytes.
    pub raw: Blob,
    /// Its hash.
    pub hash: Hash,
}

/// A step on its way. Several transactions share the nonce when the fee was raised; at most one of them can be mined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    pub nonce: u64,
    /// Whether the intent is reached with it; false for an approval.
    pub last: bool,
    /// What the step does, for logs.
    pub step: String,
    /// Newest last, never empty.
    pub txs: Vec<Signed>,
}

/// A mined last step that is not final yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mined {
    /// How it was sent, to send it again should the chain drop it.
    pub sent: Sent,
    pub tx: Hash,
    pub block: u64,
    pub gas_used: u64,
    /// What a claim paid.
    pub paid: Option<Amount>,
}

/// How far an intent has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// Nothing on its way.
    Queued,
    /// Signed, recorded and, unless the process died in between, sent.
    Sent(Sent),
    /// In a block.
    Mined(Mined),
}

/// One record of the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    /// Order of arrival.
    pub seq: u64,
    pub intent: Intent,
    pub stage: Stage,
    /// Transactions of this job that were mined and reverted.
    pub reverts: u32,
}

impl Job {
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, ChainError> {
        let job: Self = codec::decode(bytes, JOB_BYTES_MAX).map_err(|e| {
            ChainError::Store(format!("a record is damaged or of another version ({e})"))
        })?;
        match &job.stage {
            Stage::Sent(sent) | Stage::Mined(Mined { sent, .. }) if sent.txs.is_empty() => Err(
                ChainError::Store("a record of a sent step holds no transaction".to_owned()),
            ),
            _ => Ok(job),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fund(task: u8, deposit: u128) -> Intent {
        Intent::Fund {
            task: TaskId([task; 32]),
            lane: 0,
            deposit: Amount(deposit),
            gold_bond: Amount(1),
        }
    }

    #[test]
    fn equal_wishes_share_a_key_and_other_networks_and_accounts_do_not() {
        let (n, a) = (NetworkId([1; 32]), Account([2; 20]));
        assert_eq!(fund(1, 5).key(&n, &a), fund(1, 9).key(&n, &a));
        assert_ne!(fund(1, 5).key(&n, &a), fund(2, 5).key(&n, &a));
        assert_ne!(
            Intent::Draw { lane: 1 }.key(&n, &a),
            Intent::Draw { lane: 2 }.key(&n, &a)
        );
        let key = fund(1, 5).key(&n, &a);
        assert!(Intent::is_ours(&key, &n, &a));
        assert!(!Intent::is_ours(&key, &NetworkId([3; 32]), &a));
        assert!(!Intent::is_ours(&key, &n, &Account([3; 20])));
        assert!(!Intent::is_ours(&[], &n, &a));
    }

    #[test]
    fn records_survive_the_round_trip() {
        let sent = Sent {
            nonce: 7,
            last: true,
            step: "fund".into(),
            txs: vec![Signed {
                raw: Blob(vec![2, 3]),
                hash: Hash([4; 32]),
            }],
        };
        let mined = Mined {
            sent: sent.clone(),
            tx: Hash([4; 32]),
            block: 9,
            gas_used: 10,
            paid: Some(Amount(1)),
        };
        for stage in [Stage::Queued, Stage::Sent(sent), Stage::Mined(mined)] {
            let job = Job {
                seq: 3,
                intent: fund(1, 5),
                stage,
                reverts: 0,
            };
            assert_eq!(Job::decode(&job.encode()), Ok(job));
        }
        let empty = Stage::Sent(Sent {
            nonce: 7,
            last: true,
            step: String::new(),
            txs: Vec::new(),
        });
        assert!(
            Job::decode(
                &Job {
                    seq: 3,
                    intent: fund(1, 5),
                    stage: empty,
                    reverts: 0
                }
                .encode()
            )
            .is_err()
        );
    }

    proptest! {
        #[test]
        fn damaged_records_are_errors_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), flip in 1u8..) {
            let _ = Job::decode(&bytes);
            let mut good = Job { seq: 3, intent: fund(1, 5), stage: Stage::Queued, reverts: 0 }.encode();
            let at = at.index(good.len());
            good[at] ^= flip;
            let _ = Job::decode(&good);
        }
    }
}
