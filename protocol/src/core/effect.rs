//! Orders: what the body must do, in this order. An effect after a [`Effect::Persist`] starts only when that one is durable.

use crate::{
    amount::Amount,
    id::{Account, Blob, EvmSignature, NodeKey, RecordId, TaskId},
    message::{Envelope, EpochHeader, SettledTask, ShardRef},
    settlement::{Ledger, LedgerError, fault::TreeFault},
    task::TaskOutcome,
    verify::{Penalty, Verdict},
};

/// A family of durable records; storage gives each a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Lane states: key = lane (4 bytes, big endian).
    Snapshot,
    /// Signed records by id.
    Record,
    /// Epoch bodies: key = lane (4), epoch (8).
    Epoch,
    /// Records that we gave a receipt for and that no epoch holds yet: key = record id, value = chain time.
    Promise,
    /// Own enrolments, drafts, commits, published tasks: key as [`super::OwnKey`] says.
    Own,
    /// Header votes: key = lane (4), epoch (8), view (4); value = header hash.
    Vote,
    /// Announcements by task: value = envelope.
    Announce,
    /// Outcomes by task.
    Outcome,
    /// Latest payout file: key = lane (4).
    Payout,
    /// What tasks pay without a committee: key = lane (4) for the latest file, task (32) and client (20) for a task in fallback.
    Flat,
}

/// One change of the durable records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Write.
    Put {
        /// Table.
        family: Family,
        /// Key.
        key: Vec<u8>,
        /// Value.
        value: Vec<u8>,
    },
    /// Remove.
    Delete {
        /// Table.
        family: Family,
        /// Key.
        key: Vec<u8>,
    },
}

/// A transaction for the chain client's outbox; each is idempotent by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainCall {
    /// `TaskEscrow.fund`.
    Fund {
        /// Task.
        task: TaskId,
        /// Lane.
        lane: u32,
        /// Deposit.
        deposit: Amount,
        /// Gold bond.
        gold_bond: Amount,
    },
    /// `EpochAnchor.drawCommittee`.
    DrawCommittee {
        /// Lane.
        lane: u32,
    },
    /// `EpochAnchor.post`.
    PostEpoch {
        /// Header.
        header: EpochHeader,
        /// Settled tasks in it.
        settled: Vec<SettledTask>,
        /// (place in the committee, signature), rising by place.
        signatures: Vec<(u8, EvmSignature)>,
    },
    /// `TaskEscrow.forceRecord`.
    ForceRecord {
        /// Client of the escrow.
        client: Account,
        /// The record, which names its task.
        record: Box<Envelope>,
    },
    /// `Disputes.overrule`.
    Overrule {
        /// The header to take back.
        header: EpochHeader,
        /// Validators against it and their signatures, rising by account.
        votes: Vec<(Account, EvmSignature)>,
    },
    /// `Disputes.proveEquivocation`: a member signed two headers for one view.
    ProveEquivocation {
        /// The member.
        account: Account,
        /// The header that it proposed.
        proposed: Box<EpochHeader>,
        /// Its signature of that.
        signature: EvmSignature,
        /// The other header.
        other: Box<EpochHeader>,
        /// Its signature of the other; none when that is posted, and the signature stands in the posting transaction.
        other_signature: Option<EvmSignature>,
    },
    /// `Disputes.proveDisorder`, `provePlace` and so on: the fault of a posted header.
    ProveFault {
        /// The accused header.
        header: EpochHeader,
        /// What is wrong with it.
        fault: Box<TreeFault>,
    },
}

impl ChainCall {
    /// A short name, for counts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fund { .. } => "fund",
            Self::DrawCommittee { .. } => "draw-committee",
            Self::PostEpoch { .. } => "post-epoch",
            Self::ForceRecord { .. } => "force-record",
            Self::Overrule { .. } => "overrule",
            Self::ProveEquivocation { .. } => "prove-equivocation",
            Self::ProveFault { .. } => "prove-fault",
        }
    }

    /// What the chain does when `from` sends it, on the ledger twin. Evidence is what stands there.
    ///
    /// # Errors
    /// What the twin refuses.
    pub fn play(&self, ledger: &mut Ledger, from: Account) -> Result<(), LedgerError> {
        const GONE: LedgerError = LedgerError::Header("not posted, or taken back");
        match self {
            Self::Fund {
                task,
                lane,
                deposit,
                gold_bond,
            } => ledger.fund(from, *task, *lane, *deposit, *gold_bond),
            Self::DrawCommittee { lane } => ledger.draw_committee(*lane),
            Self::PostEpoch {
                header,
                settled,
                signatures,
            } => ledger.post_epoch(from, header, settled, signatures),
            Self::ForceRecord { client, record } => {
                ledger.force_record(record.task, *client, Blob(record.to_bytes()))
            }
            Self::Overrule { header, votes } => {
                let evidence = ledger.evidence(header, from).ok_or(GONE)?;
                ledger.overrule(&evidence, votes)
            }
            Self::ProveEquivocation {
                account,
                proposed,
                signature,
                other,
                other_signature,
            } => {
                let posted = || ledger.posted_signature(other, account);
                let second = other_signature.or_else(posted).ok_or(GONE)?;
                let pair = [(*signature, second)];
                ledger
                    .prove_equivocation(proposed, other, &pair, from)
                    .map(|_| ())
            }
            Self::ProveFault { header, fault } => {
                let evidence = ledger.evidence(header, from).ok_or(GONE)?;
                ledger.prove(&evidence, fault).map(|_| ())
            }
        }
    }
}

/// News for people and for the programs that act for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A task was announced.
    Announced {
        /// Task.
        task: TaskId,
    },
    /// A quorum of the committee holds the shards of our task; it can be funded.
    InCustody {
        /// Task.
        task: TaskId,
    },
    /// A task entered a phase.
    Phase {
        /// Task.
        task: TaskId,
        /// Name of the phase.
        phase: &'static str,
        /// Wave, where there is one.
        wave: Option<u8>,
    },
    /// We are to label these items; all of them for open tasks.
    Assigned {
        /// Task.
        task: TaskId,
        /// Wave.
        wave: u8,
        /// Items, rising.
        items: Vec<u32>,
        /// Chain time of the commit deadline, seconds.
        deadline: u64,
    },
    /// A quorum of the committee gave receipts for our record.
    Delivered {
        /// Task.
        task: TaskId,
        /// The record.
        record: RecordId,
        /// What it is: enrol, commit, reveal, ...
        kind: &'static str,
    },
    /// An epoch is anchored and our own computation agrees with it.
    Anchored {
        /// Its header.
        header: Box<EpochHeader>,
        /// Members who signed.
        signers: usize,
    },
    /// A task is over.
    Finished {
        /// Its outcome.
        outcome: Box<TaskOutcome>,
    },
    /// A task is paid by its escrow from now on, without a committee; what that takes is durable.
    FallbackOpened {
        /// Task.
        task: TaskId,
        /// Client of the escrow.
        client: Account,
        /// Payees whose accepted labels the last header names.
        payees: usize,
    },
    /// The committee gave too few receipts for a record of ours, and its deadline is near: it goes to the chain.
    Forced {
        /// Task.
        task: TaskId,
        /// The record.
        record: RecordId,
        /// Its kind.
        kind: &'static str,
    },
    /// An epoch and all after it were taken back before they paid; the next committee does them again.
    Revoked {
        /// Lane.
        lane: u32,
        /// First epoch taken back.
        from: u64,
    },
    /// A committee member signed two headers for one view; this node takes both to the chain.
    DoubleSigned {
        /// Lane.
        lane: u32,
        /// Epoch.
        epoch: u64,
        /// The member.
        account: Account,
    },
    /// Something is wrong that a person should see.
    Alarm {
        /// What, and what to do.
        text: String,
    },
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "moved through one queue, never stored in bulk"
)]
pub enum Effect {
    /// Tell gossip what to do with a held message.
    Verdict {
        /// The token of [`super::Input::Gossip`].
        token: u64,
        /// Fate.
        verdict: Verdict,
    },
    /// Write these changes in one transaction.
    Persist(Vec<Op>),
    /// Gossip.
    Publish {
        /// Topic.
        topic: String,
        /// Message.
        bytes: Vec<u8>,
    },
    /// Ask a node.
    Request {
        /// Comes back in [`super::Input::Response`].
        id: u64,
        /// Whom.
        to: NodeKey,
        /// Canonical bytes of a [`crate::message::Request`].
        bytes: Vec<u8>,
        /// Give up after this many milliseconds.
        timeout_ms: u64,
    },
    /// Answer a node.
    Respond {
        /// The token of [`super::Input::Request`].
        token: u64,
        /// Canonical bytes of a [`crate::message::Response`].
        bytes: Vec<u8>,
    },
    /// Get these shards, verify and keep them; answer with [`super::Input::ShardsReady`] or [`super::Input::ShardsFailed`].
    FetchShards {
        /// For this task.
        task: TaskId,
        /// The shards.
        shards: Vec<ShardRef>,
        /// Who should have them, best first.
        from: Vec<NodeKey>,
    },
    /// A peer misbehaved.
    Penalise {
        /// Who.
        peer: NodeKey,
        /// How badly.
        penalty: Penalty,
        /// What it did.
        why: String,
    },
    /// Send a transaction.
    Submit(ChainCall),
    /// Tell people.
    Notify(Notice),
}

/// Keys of [`Family::Vote`].
pub(super) fn vote_key(lane: u32, epoch: u64, view: u32) -> Vec<u8> {
    let mut key = lane.to_be_bytes().to_vec();
    key.extend_from_slice(&epoch.to_be_bytes());
    key.extend_from_slice(&view.to_be_bytes());
    key
}

/// Keys of [`Family::Flat`] for a task in fallback.
pub fn fallback_key(task: &TaskId, client: &Account) -> Vec<u8> {
    [task.0.as_slice(), client.0.as_slice()].concat()
}

/// Keys of [`Family::Epoch`].
pub fn epoch_key(lane: u32, epoch: u64) -> Vec<u8> {
    let mut key = lane.to_be_bytes().to_vec();
    key.extend_from_slice(&epoch.to_be_bytes());
    key
}
