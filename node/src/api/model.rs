//! Shapes of the API: what the handlers send and the command line reads. Fields may be added; none changes its meaning.

use std::collections::BTreeMap;

use assay_protocol::{
    amount::Amount,
    core::GoldSecret,
    id::{Account, Hash, RecordId, TaskId},
    lane::{Claim, ReputationProof},
    message::{EpochHeader, Manifest, ShardRef},
};
use serde::{Deserialize, Serialize};

use super::error::ErrorBody;

/// What a running node writes to `api.json` (mode 0600) so that its owner's programs find it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Like `http://127.0.0.1:40123`.
    pub url: String,
    /// Bearer token of this run, 64 hexadecimal digits.
    pub token: String,
    /// Process id of the node.
    pub pid: u32,
}

/// A node at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// Version of the program.
    pub version: String,
    /// The network.
    pub network: NetworkView,
    /// The node.
    pub node: NodeView,
    /// Connected peers.
    pub peers: Vec<PeerView>,
    /// The chain as this node knows it.
    pub chain: ChainView,
    /// Lanes.
    pub lanes: Vec<LaneView>,
    /// The account; none without an account key.
    pub account: Option<AccountView>,
    /// Own records on their way to the committee.
    pub deliveries: Vec<DeliveryLine>,
    /// Kind of transaction -> (number, gas) of this run.
    pub gas: BTreeMap<String, (u64, u64)>,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkView {
    /// Name.
    pub name: String,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Development network: nothing on it has value.
    pub dev: bool,
    /// Decimals of the reward token.
    pub token_decimals: u8,
}

/// This node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// libp2p peer id.
    pub peer_id: String,
    /// Ed25519 key in hex.
    pub key: String,
    /// Addresses listened on.
    pub listen: Vec<String>,
    /// Seconds since the API started.
    pub uptime_secs: u64,
    /// Process id.
    pub pid: u32,
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// libp2p peer id.
    pub peer_id: String,
    /// Known addresses.
    pub addresses: Vec<String>,
    /// We opened the connection.
    pub outbound: bool,
    /// Only through a relay.
    pub relayed: bool,
    /// A node (and not a first-contact server).
    pub node: bool,
    /// Round trip, milliseconds.
    pub rtt_ms: Option<u64>,
    /// Standing here; negative is bad.
    pub score: i64,
}

/// The chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainView {
    /// Newest final block seen at the endpoint; 0 before the first.
    pub finalized: u64,
    /// Last block taken in by the core.
    pub followed: u64,
    /// Time of that block, seconds since 1970.
    pub block_time: u64,
    /// Final blocks not taken in yet.
    pub lag_blocks: u64,
    /// Why the endpoint could not be asked just now.
    pub error: Option<String>,
}

/// A lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneView {
    /// Number.
    pub lane: u32,
    /// Last anchored epoch that this node agrees with.
    pub epoch: u64,
    /// Its header's hash.
    pub head: Hash,
    /// Members of the committee; 0 before the first draw.
    pub committee: usize,
    /// Signatures that make a quorum; 0 before the first draw.
    pub threshold: usize,
    /// Whether this node is a member.
    pub member: bool,
    /// Tasks under way.
    pub tasks: usize,
}

/// An anchored epoch that this node cannot derive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputeView {
    /// Lane.
    pub lane: u32,
    /// Epoch.
    pub epoch: u64,
    /// Struct hash of its header.
    pub header: Hash,
    /// When it was posted, chain time in seconds.
    pub posted_at: u64,
    /// Chain time now, seconds.
    pub chain_time: u64,
    /// It does not follow from the records that it names; otherwise nobody hands these out.
    pub wrong: bool,
    /// Validators whose signature against it this node holds.
    pub votes: usize,
    /// Registered validators.
    pub validators: usize,
}

/// One place of a payout or audit tree. A leaf has `payee` and `total`, in an audit tree also `before`; a place of which only the hash is
/// known has `node`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeafRow {
    /// Who is owed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payee: Option<Account>,
    /// All that was ever owed, in base units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Amount>,
    /// Sum of the totals before it, in base units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Amount>,
    /// Hash of a place that is no known leaf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Hash>,
}

/// Asks for a proof that an anchored header has a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofOrder {
    /// Lane.
    pub lane: u32,
    /// Epoch.
    pub epoch: u64,
    /// Payout leaves in tree order, `null` for an empty place; `before` in all rows or in none. Without them only the header is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payouts: Option<Vec<Option<LeafRow>>>,
    /// Audit leaves in tree order, when they do not repeat the payout leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audits: Option<Vec<Option<LeafRow>>>,
}

/// What a proof did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofDone {
    /// Lane.
    pub lane: u32,
    /// Epoch.
    pub epoch: u64,
    /// Struct hash of its header.
    pub header: Hash,
    /// What is wrong with it, in words.
    pub fault: String,
    /// Who signed it, each with what it loses, in base units; all are banned.
    pub signers: Vec<(Account, Amount)>,
    /// What this node's account was paid for the proof, in base units.
    pub reward: Amount,
    /// The lane went back to the epoch before; otherwise the epoch pays already, and stays.
    pub taken_back: bool,
    /// The transaction; none when somebody was faster.
    pub tx: Option<Hash>,
    /// Its gas.
    pub gas_used: u64,
}

/// The node's account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// Address.
    pub account: Account,
    /// How far the registration is, one sentence.
    pub registration: String,
    /// Roles registered on chain; empty: not registered.
    pub roles: Vec<String>,
    /// Stake on chain.
    pub stake: Amount,
    /// Where pay goes.
    pub payee: Account,
    /// Total lost from the stake.
    pub lost: Amount,
    /// Native balance in wei, decimal text; none when the endpoint does not answer.
    pub native_wei: Option<String>,
    /// Token balance; none when the endpoint does not answer.
    pub tokens: Option<Amount>,
    /// Total ever owed to the payee.
    pub owed: Amount,
    /// Total ever paid to the payee; none when the endpoint does not answer.
    pub paid: Option<Amount>,
}

/// The stake of the node's account, as the registry has it at the newest block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StakeView {
    /// Address.
    pub account: Account,
    /// Whether it is registered.
    pub registered: bool,
    /// Roles registered on chain.
    pub roles: Vec<String>,
    /// Locked tokens.
    pub stake: Amount,
    /// Least stake of these roles.
    pub minimum: Amount,
    /// From when on the stake can be withdrawn, seconds of chain time; none while the account is not leaving.
    pub ready_at: Option<u64>,
    /// Whether it sits in a committee, which keeps its stake.
    pub serving: bool,
    /// Seconds between leaving and withdrawing.
    pub unbond_secs: u64,
    /// It signed a header with a proven fault: it can never register again.
    pub banned: bool,
    /// Losses burned so far.
    pub burned: Amount,
    /// Time of the newest block, seconds.
    pub chain_time: u64,
}

/// `POST /v1/stake/add`: what to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StakeAdd {
    /// Base units.
    pub amount: Amount,
}

/// A stake that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StakeDone {
    /// The transaction; none when the chain held it already.
    pub tx: Option<Hash>,
    /// Its gas.
    pub gas_used: u64,
    /// How the stake stands now.
    pub now: StakeView,
}

/// A record of ours on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryLine {
    /// Task.
    pub task: TaskId,
    /// Kind of record.
    pub kind: String,
    /// Members that gave receipts.
    pub receipts: usize,
    /// Receipts that make a quorum.
    pub threshold: usize,
    /// What a member last said against it.
    pub last_refusal: Option<String>,
}

/// A task, for lists and for following it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskView {
    /// Id.
    pub id: TaskId,
    /// Title.
    pub title: String,
    /// `announced`, `funding`, `funded`, a phase of an open task, `settled`, `cancelled`; `finished` in lists.
    pub state: String,
    /// Wave under way, from 0.
    pub wave: Option<u8>,
    /// Number of waves.
    pub waves: usize,
    /// When the phase closes at the latest, seconds of chain time.
    pub deadline: Option<u64>,
    /// Chain time here, seconds.
    pub chain_time: u64,
    /// Lane.
    pub lane: u32,
    /// Client.
    pub client: Account,
    /// Kind.
    pub kind: String,
    /// Names of the labels.
    pub labels: Vec<String>,
    /// Items.
    pub items: u32,
    /// Labels bought per item at first; none for an open task.
    pub k: Option<u16>,
    /// Most labels per item.
    pub k_max: u16,
    /// Price of one label at full skill.
    pub price: Amount,
    /// Labelers known to the lane: those whose enrolment is anchored.
    pub labelers: u32,
    /// Fewest.
    pub labelers_min: u32,
    /// Most.
    pub labelers_max: u32,
    /// Votes counted so far.
    pub votes: u64,
    /// (language, text).
    pub guideline: Vec<(String, String)>,
    /// SPDX expression.
    pub licence: String,
    /// Our own task: members that hold the shards.
    pub custody: Option<usize>,
    /// Members that must hold them before it is funded.
    pub custody_needed: Option<usize>,
    /// This node's enrolment: `none`, `sent` (on its way), `received` (receipts of a quorum), `enrolled` (anchored).
    pub enrolment: String,
}

/// What this node has to label in the wave under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentView {
    /// Task.
    pub task: TaskId,
    /// Wave, from 0.
    pub wave: u8,
    /// Phase of the task.
    pub phase: String,
    /// `drafting`, `committed` or `revealed`.
    pub stage: String,
    /// When the phase closes, seconds of chain time.
    pub deadline: Option<u64>,
    /// Chain time here, seconds.
    pub chain_time: u64,
    /// Items, rising.
    pub items: Vec<u32>,
    /// (item, label) answered so far, durable.
    pub answers: Vec<(u32, u16)>,
}

/// Body of `POST /v1/tasks/{id}/enrol`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolOrder {
    /// Most labels per wave.
    pub capacity: u32,
}

/// Body of `POST /v1/tasks/{id}/answers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswersOrder {
    /// Wave.
    pub wave: u8,
    /// (item, label).
    pub answers: Vec<(u32, u16)>,
}

/// Body of `POST /v1/tasks/{id}/commit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitOrder {
    /// Wave.
    pub wave: u8,
}

/// Body of `POST /v1/publish`; the shards were sent before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishOrder {
    /// Terms.
    pub manifest: Manifest,
    /// Secret gold by wave.
    pub gold: Vec<GoldSecret>,
}

/// Answer of `POST /v1/shards`.
pub type ShardKept = ShardRef;

/// Answer of orders about a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDone {
    /// Task.
    pub task: TaskId,
}

/// What a payee can claim, by lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimsView {
    /// Lanes that owe it something, paid or not.
    pub claims: Vec<ClaimLine>,
}

/// One lane's claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimLine {
    /// The proof.
    pub claim: Claim,
    /// Paid so far; none when the endpoint does not answer.
    pub paid: Option<Amount>,
}

/// What claiming did, by lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimsDone {
    /// Who was paid.
    pub payee: Account,
    /// One per lane with something due.
    pub paid: Vec<PaidLine>,
}

/// One paid claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaidLine {
    /// Lane.
    pub lane: u32,
    /// Amount that went to the payee.
    pub amount: Amount,
    /// Transaction.
    pub tx: Hash,
    /// Gas of it.
    pub gas_used: u64,
}

/// What paying everybody did, by transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayDone {
    /// One per group of payees with something due.
    pub paid: Vec<RelayLine>,
    /// One per group that could not be paid. Paying again later pays what is left, and nothing twice.
    pub failed: Vec<RelayFailure>,
}

/// A group of payees that could not be paid, or a lane whose groups are not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayFailure {
    /// Lane.
    pub lane: u32,
    /// Payees in the group, due or not; 0 for a whole lane.
    pub payees: u64,
    /// Why.
    pub why: String,
}

/// One group of payees, paid with one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayLine {
    /// Lane.
    pub lane: u32,
    /// Payees in the group, due or not.
    pub payees: u64,
    /// Amount that went to all of them.
    pub amount: Amount,
    /// Transaction.
    pub tx: Hash,
    /// Gas of it.
    pub gas_used: u64,
}

/// Body of `POST /v1/publish/check`: terms to look at before anything is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishCheck {
    /// Terms.
    pub manifest: Manifest,
}

/// A token in a till whose money is shared by weight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TillLine {
    /// Token.
    pub token: Account,
    /// Its short name.
    pub symbol: String,
    /// Its decimals.
    pub decimals: u8,
    /// All that arrived, in base units.
    pub income: Amount,
    /// All that was paid out.
    pub paid: Amount,
}

/// Money for a till: the body of `POST /v1/bonus/{task}/lock` and `POST /v1/datasets/{task}/pay`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayInOrder {
    /// Token; the network's reward token when absent.
    pub token: Option<Account>,
    /// Whole tokens, as decimal text.
    pub amount: String,
    /// Version of the data set; absent for a bonus.
    pub version: Option<u32>,
}

/// Money that arrived in a till.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayInDone {
    /// Short name of the token.
    pub symbol: String,
    /// Its decimals.
    pub decimals: u8,
    /// What arrived, in base units.
    pub received: Amount,
    /// Transaction.
    pub tx: Hash,
    /// Gas of it.
    pub gas_used: u64,
}

/// Whom to pay from a till: the body of `POST /v1/bonus/{task}/claim` and `POST /v1/datasets/{task}/claim`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareOrder {
    /// Token; every token that was paid in when absent.
    pub token: Option<Account>,
    /// One payee; everybody when absent.
    pub payee: Option<Account>,
    /// Version of the data set; absent for a bonus.
    pub version: Option<u32>,
}

/// What paying from a till did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharesDone {
    /// Transaction that recorded how a bonus is shared, if that was still to be done.
    pub recorded: Option<Hash>,
    /// Who was paid now.
    pub paid: Vec<ShareLine>,
    /// Why it ended early; what is listed has been done all the same.
    pub failed: Option<ErrorBody>,
}

/// A payment from a till.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareLine {
    /// To whom.
    pub payee: Account,
    /// Short name of the token.
    pub symbol: String,
    /// Its decimals.
    pub decimals: u8,
    /// How much, in base units.
    pub amount: Amount,
    /// Transaction.
    pub tx: Hash,
    /// Gas of it.
    pub gas_used: u64,
}

/// A task's bonus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BonusView {
    /// Task.
    pub task: TaskId,
    /// Something was locked.
    pub locked: bool,
    /// How it is shared is recorded on chain.
    pub recorded: bool,
    /// Unix time in seconds from which on the client can have it back, if that was asked for.
    pub refund_at: Option<u64>,
    /// By token.
    pub tokens: Vec<TillLine>,
}

/// Body of `POST /v1/datasets/{task}/publish`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetOrder {
    /// BLAKE3 of the licence's text.
    pub licence: Hash,
    /// Part of a sale of the data set that goes to the contributors, in hundredths of a per cent.
    pub royalty_bps: u16,
}

/// What publishing a data set did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetDone {
    /// Our transaction; absent when it was published before.
    pub tx: Option<Hash>,
    /// Its gas.
    pub gas_used: u64,
    /// The data set now.
    pub now: DatasetView,
}

/// The data set of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetView {
    /// Task.
    pub task: TaskId,
    /// Whose it was first: the task's client.
    pub publisher: Account,
    /// The first one first; empty before it is published.
    pub versions: Vec<VersionLine>,
}

/// A version of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionLine {
    /// From 1.
    pub version: u32,
    /// Hash of the content; of a first version that this program published, the score root of the task.
    pub content: Hash,
    /// BLAKE3 of the licence's text.
    pub licence: Hash,
    /// How many share the income.
    pub contributors: u32,
    /// Content and shares are what the task's outcome gives, as this node knows it.
    pub matches_task: bool,
    /// Income by token.
    pub tokens: Vec<TillLine>,
}

/// What the lanes say of a labeler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReputationView {
    /// Labeler.
    pub account: Account,
    /// Lanes with evidence.
    pub lanes: Vec<ReputationLine>,
}

/// What one lane says of a labeler, with the proof for any contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReputationLine {
    /// Name of the domain.
    pub domain: String,
    /// The lane's newest header that this node has adopted.
    pub header: EpochHeader,
    /// What `ReputationAnchor.prove` takes beside the header.
    pub proof: ReputationProof,
    /// Whether the chain confirms it now; absent when it cannot be asked.
    pub confirmed: Option<bool>,
}

/// Whom to pay from a task's fallback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoverOrder {
    /// One payee; everybody when absent.
    pub payee: Option<Account>,
}

/// What recovering a task did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoverDone {
    /// Task.
    pub task: TaskId,
    /// The fallback was opened now.
    pub opened: bool,
    /// Who was paid now.
    pub paid: Vec<RecoverLine>,
    /// Payees whom the last header names and who were not paid now, because they had been.
    pub paid_before: u64,
    /// What went back to the client now.
    pub returned: Option<RecoverLine>,
    /// Unix time in seconds until which payees can be paid; then the rest can go to the client.
    pub closes_at: u64,
    /// Unix time in seconds of the newest block.
    pub chain_time: u64,
    /// What is not paid yet, in base units.
    pub left: Amount,
    /// Why it ended early; what is listed has been done all the same.
    pub failed: Option<ErrorBody>,
}

/// A payment from a fallback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoverLine {
    /// To whom.
    pub payee: Account,
    /// How much.
    pub amount: Amount,
    /// Transaction.
    pub tx: Hash,
    /// Gas of it.
    pub gas_used: u64,
}

/// News since a given number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsView {
    /// Pass this as `after` next time.
    pub next: u64,
    /// Some news between `after` and the first one here was dropped.
    pub missed: bool,
    /// The news, oldest first.
    pub events: Vec<EventLine>,
}

/// One piece of news.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// Rises by one.
    pub seq: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A task was announced.
    Announced {
        /// Task.
        task: TaskId,
    },
    /// A quorum holds the shards of our task; it is being funded.
    InCustody {
        /// Task.
        task: TaskId,
    },
    /// A task entered a phase.
    Phase {
        /// Task.
        task: TaskId,
        /// Phase.
        phase: String,
        /// Wave.
        wave: Option<u8>,
    },
    /// We are to label items.
    Assigned {
        /// Task.
        task: TaskId,
        /// Wave.
        wave: u8,
        /// Number of items.
        items: usize,
        /// Commit deadline, seconds of chain time.
        deadline: u64,
    },
    /// A quorum gave receipts for a record of ours.
    Delivered {
        /// Task.
        task: TaskId,
        /// Record.
        record: RecordId,
        /// Kind of record.
        kind: String,
    },
    /// An epoch is anchored, and our own computation agrees with it.
    Anchored {
        /// Lane.
        lane: u32,
        /// Epoch.
        epoch: u64,
        /// Members who signed.
        signers: usize,
    },
    /// A task is over.
    Finished {
        /// Task.
        task: TaskId,
        /// Refunded unworked.
        cancelled: bool,
    },
    /// The task's committee is gone; its escrow pays the task from now on.
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
        /// Record.
        record: RecordId,
        /// Its kind.
        kind: String,
    },
    /// Epochs from this one on were taken back before they paid; the next committee does them again.
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
    /// Something that a person should see.
    Alarm {
        /// What, and what to do.
        text: String,
    },
}

impl Event {
    /// The task it is about, if any.
    pub fn task(&self) -> Option<TaskId> {
        match self {
            Self::Announced { task }
            | Self::InCustody { task }
            | Self::Phase { task, .. }
            | Self::Assigned { task, .. }
            | Self::Delivered { task, .. }
            | Self::Forced { task, .. }
            | Self::Finished { task, .. }
            | Self::FallbackOpened { task, .. } => Some(*task),
            Self::Anchored { .. }
            | Self::Revoked { .. }
            | Self::DoubleSigned { .. }
            | Self::Alarm { .. } => None,
        }
    }
}
