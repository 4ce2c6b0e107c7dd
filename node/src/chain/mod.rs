//! The node's chain client: follows final blocks, keeps a durable outbox of transactions, reads balances, deploys development networks.
//!
//! ```text
//!   endpoint (bounded JSON-RPC) --> watch --> facts --> ChainEvent::News
//!        ^                            |
//!        |                            '-- health, final block --.
//!        +-- plan (what is left to do) <-- sender <-- queue (durable) <-- submit, register, claim
//! ```
//!
//! It decides nothing about tasks or scores; the core does. Nothing outside this folder (and tests) speaks to an endpoint.
//! Invariants: blocks are delivered once, in order, without a gap, and only when they are final; nothing is signed before chain id
//! and contracts are checked; nothing is sent that is not recorded; a record leaves the outbox when its effect is final. Events
//! about the outbox are told at least once: after a crash the last one may be told again.

mod audit;
mod bindings;
mod deploy;
mod endpoint;
mod equivocation;
mod error;
mod facts;
mod intent;
mod overrule;
mod plan;
mod pool;
mod prove;
mod queue;
mod revert;
mod sender;
mod shares;
mod stake;
mod token;
mod wallet;
mod watch;

#[cfg(all(test, feature = "devchain"))]
mod tests;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alloy::primitives::U256;
use assay_protocol::{
    amount::Amount,
    core::ChainCall,
    crypto::{BINDING_DOMAIN, NodeKeypair, binding_message},
    id::{Account, Hash, NetworkId, TaskId},
    lane::{Claim, FlatClaim, SubtreeClaim},
    message::{BlockNews, EpochHeader},
    network::{Contracts, NetworkProfile},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc, watch as cell},
    task::JoinHandle,
};

pub use audit::{Audit, audit};
use bindings::{DevToken, EpochAnchor, Registry, RewardDistributor, TaskEscrow};
pub use deploy::{DeployParams, Deployed, deploy, dev_fund};
pub use endpoint::{ANSWER_BYTES_MAX, REQUEST_TIMEOUT};
use endpoint::{Endpoint, Endpoints};
pub use error::ChainError;
use intent::Intent;
pub use intent::JOB_BYTES_MAX;
use plan::{Planner, Step};
pub use prove::Accused;
pub use queue::{OUTBOX_JOBS_MAX, OutboxRow, OutboxStore};
use queue::{Outcome, Queue};
pub use shares::{BonusState, DatasetVersion, Till, TillState};
pub use stake::{LaneLoss, LossLeaf, StakeChange, StakeState};
pub use token::TokenTerms;
use wallet::Wallet;

/// Most blocks in one [`ChainEvent::News`].
pub const NEWS_BLOCKS_MAX: usize = 256;
/// Events that wait for the reader before the client pauses, in events.
pub const EVENTS_WAITING_MAX: usize = 64;
/// Time between two looks at a development chain.
pub const POLL_DEV: Duration = Duration::from_millis(100);
/// Time between two looks at any other chain.
pub const POLL: Duration = Duration::from_secs(2);
/// Shortest time between two looks that may be configured.
pub const POLL_MIN: Duration = Duration::from_millis(5);
/// Longest pause after repeated failures.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// How the chain client is started.
#[derive(Clone)]
pub struct ChainConfig {
    /// The network: chain id, contracts, RPC addresses in order of preference (http or https).
    pub profile: NetworkProfile,
    /// secp256k1 secret of the account that signs; without it the client only reads.
    pub key: Option<[u8; 32]>,
    /// Time between two looks at the chain.
    pub poll: Duration,
    /// First block to deliver; the block after the last one that was processed, or the profile's start block.
    pub first_block: u64,
}

impl std::fmt::Debug for ChainConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChainConfig")
            .field("network", &self.profile.name)
            .field("key", &self.key.as_ref().map(|_| "set"))
            .field("poll", &self.poll)
            .field("first_block", &self.first_block)
            .finish()
    }
}

impl ChainConfig {
    /// With the poll interval that fits the kind of network, from its start block on.
    pub fn new(profile: NetworkProfile, key: Option<[u8; 32]>) -> Self {
        let poll = if profile.dev { POLL_DEV } else { POLL };
        Self {
            first_block: profile.start_block,
            profile,
            key,
            poll,
        }
    }
}

/// News from the chain client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainEvent {
    /// Final blocks, in order, without a gap to the ones before; at most [`NEWS_BLOCKS_MAX`].
    News(Vec<BlockNews>),
    /// No endpoint gives usable answers; it is tried again.
    Down {
        /// What is wrong and where.
        why: String,
    },
    /// An endpoint answers, is on our chain and knows our contracts.
    Up {
        /// EIP-155 chain id.
        chain_id: u64,
    },
    /// Something from the outbox is in a final block.
    Done {
        /// What was asked for.
        what: String,
        /// Our transaction; [`Hash::ZERO`] when none was needed because somebody else had done it.
        tx: Hash,
        /// Gas of that transaction; 0 without one.
        gas_used: u64,
        /// A final block that holds it.
        block: u64,
    },
    /// Something failed.
    Failed {
        /// What was asked for.
        what: String,
        /// Why, and what to do.
        why: String,
        /// True: it will not be tried again. False: it stays in the outbox and is tried again.
        permanent: bool,
    },
}

/// What the chain would say to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds the claim's root and pays on it.
    Pays,
    /// Not yet; the reason.
    Later(String),
    /// It does not hold this root; the reason.
    Refused(String),
}

/// Whether anything may be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Health {
    /// The endpoint in use is not checked, or fails.
    Checking,
    /// Checked and answering.
    Up,
    /// Never again in this run.
    Stopped(String),
}

/// What the tasks share.
struct Shared {
    profile: NetworkProfile,
    poll: Duration,
    endpoints: Endpoints,
    queue: Queue,
    events: mpsc::Sender<ChainEvent>,
    health: cell::Sender<Health>,
    /// The newest final block that was believed: number and hash.
    finalized: cell::Sender<(u64, Hash)>,
    /// A job was added.
    wake: Notify,
}

impl Shared {
    async fn emit(&self, event: ChainEvent) {
        if self.events.send(event).await.is_err() {
            tracing::debug!("nobody reads chain events");
        }
    }
}

/// Pause after `failures` failures in a row.
fn backoff(poll: Duration, failures: u32) -> Duration {
    poll.saturating_mul(2u32.saturating_pow(failures.min(10)))
        .min(BACKOFF_MAX)
        .min(poll.saturating_mul(64))
}

struct Tasks(Mutex<Vec<JoinHandle<()>>>);

impl Tasks {
    fn abort(&self) -> Vec<JoinHandle<()>> {
        let tasks = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for task in &tasks {
            task.abort();
        }
        tasks
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.abort();
    }
}

/// Puts submitted calls into the outbox, in order.
async fn take_in(shared: Arc<Shared>, mut calls: mpsc::Receiver<(Vec<u8>, Intent)>) {
    while let Some((key, intent)) = calls.recv().await {
        let what = intent.describe();
        match shared.queue.add(key, intent, false).await {
            Ok(_) => shared.wake.notify_one(),
            Err(error) => {
                shared
                    .emit(ChainEvent::Failed {
                        what,
                        why: error.to_string(),
                        permanent: true,
                    })
                    .await
            }
        }
    }
}

/// What a claim did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimResult {
    /// Base units that went to the payee.
    pub amount: Amount,
    /// The transaction, in a block that need not be final yet.
    pub tx: Hash,
    /// Its gas.
    pub gas_used: u64,
}

/// What paying many groups of payees did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// Groups that something was due to, in order.
    pub paid: Vec<(SubtreeClaim, ClaimResult)>,
    /// Groups that could not be paid, and why.
    pub failed: Vec<(SubtreeClaim, ChainError)>,
}

/// An account's means at the newest block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balances {
    /// Native currency, in wei.
    pub native: u128,
    /// Reward token, in base units.
    pub token: Amount,
}

/// The books of the distributors over all lanes at the newest block, in base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// All that escrows released, which is what the newest payout trees owe in all.
    pub released: Amount,
    /// What the distributors do not hold any more of it; too little by whatever anybody gave them besides.
    pub claimed: Amount,
}

/// A task's money at the newest block, in base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EscrowState {
    /// For labels and fees.
    pub deposit: Amount,
    /// Behind the gold items.
    pub gold_bond: Amount,
    /// Lane that settles it.
    pub lane: u32,
    /// An epoch has taken the money.
    pub settled: bool,
}

/// How far a task is from being paid without a committee, at the newest block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Lane of the task.
    pub lane: u32,
    /// Seconds that the lane must be silent before the fallback can be opened, and seconds of its window.
    pub silence: u64,
    /// Unix time in seconds from which on the fallback can be opened if the lane stays silent.
    pub possible_at: u64,
    /// Unix time in seconds of that block.
    pub now: u64,
    /// An epoch has settled the task: there is nothing to recover.
    pub settled: bool,
    /// The fallback, once it is open.
    pub open: Option<OpenFallback>,
}

/// A fallback that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFallback {
    /// Hash of the lane's last header, which decides who is paid; zero when there was none.
    pub header: Hash,
    /// Unix time in seconds until which payees can prove their claims.
    pub closes_at: u64,
    /// What is not paid yet, in base units.
    pub left: Amount,
    /// The rest has gone to the client.
    pub closed: bool,
}

/// A lane at the newest block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneHead {
    /// Last posted epoch, 0 when there is none.
    pub epoch: u64,
    /// Its header hash.
    pub header: Hash,
    /// Term of the committee in office, 0 when there was never one.
    pub term: u64,
}

/// A handle to the chain client; clones share it. Its tasks end with the last handle.
#[derive(Clone)]
pub struct Chain {
    shared: Arc<Shared>,
    account: Option<Account>,
    network: NetworkId,
    calls: mpsc::Sender<(Vec<u8>, Intent)>,
    tasks: Arc<Tasks>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain")
            .field("network", &self.shared.profile.name)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// What the distributors say that came in, and what they still hold.
async fn totals(endpoint: &Endpoint, contracts: &Contracts) -> Result<Totals, ChainError> {
    let (mut released, mut held) = (Amount::ZERO, Amount::ZERO);
    for distributor in &contracts.distributors {
        let call = RewardDistributor::totalReleasedCall {};
        let all = units(endpoint.view(*distributor, call).await?);
        let call = DevToken::balanceOfCall {
            account: (*distributor).into(),
        };
        let left = units(endpoint.view(contracts.token, call).await?);
        released = Amount(released.0.saturating_add(all.0));
        held = Amount(held.0.saturating_add(left.0));
    }
    Ok(Totals {
        released,
        claimed: Amount(released.0.saturating_sub(held.0)),
    })
}

fn units(amount: U256) -> Amount {
    Amount(amount.saturating_to())
}

impl Chain {
    /// Starts following the chain and working down the outbox, in tasks of the present Tokio runtime. An endpoint that is down is no
    /// error: it is tried again, and events say so.
    ///
    /// # Errors
    /// [`ChainError::Config`] for addresses, keys or intervals that cannot work, and outside a Tokio runtime.
    pub fn start(
        cfg: ChainConfig,
        store: Arc<dyn OutboxStore>,
    ) -> Result<(Self, mpsc::Receiver<ChainEvent>), ChainError> {
        cfg.profile
            .check()
            .map_err(|e| ChainError::Config(e.to_string()))?;
        if cfg.poll < POLL_MIN {
            return Err(ChainError::Config(format!(
                "a poll interval of {:?} is shorter than {POLL_MIN:?}",
                cfg.poll
            )));
        }
        let runtime = Handle::try_current()
            .map_err(|_| ChainError::Config("the chain client needs a Tokio runtime".to_owned()))?;
        let endpoints = Endpoints::new(&cfg.profile.rpc)?;
        let wallet = cfg
            .key
            .as_ref()
            .map(|key| Wallet::new(key, cfg.profile.chain_id))
            .transpose()?;
        let account = wallet.as_ref().map(Wallet::account);
        let network = cfg.profile.id();
        // Without a key nothing is ours, so nothing is touched.
        let queue = Queue::new(store, network, account.unwrap_or(Account([0; 20])));
        let (events, news) = mpsc::channel(EVENTS_WAITING_MAX);
        let shared = Arc::new(Shared {
            profile: cfg.profile,
            poll: cfg.poll,
            endpoints,
            queue,
            events,
            health: cell::Sender::new(Health::Checking),
            finalized: cell::Sender::new((0, Hash::ZERO)),
            wake: Notify::new(),
        });
        let watcher = watch::Watcher::new(Arc::clone(&shared), cfg.first_block);
        let (calls, intake) = mpsc::channel(OUTBOX_JOBS_MAX);
        let mut tasks = vec![
            runtime.spawn(watcher.run()),
            runtime.spawn(take_in(Arc::clone(&shared), intake)),
        ];
        if let Some(wallet) = wallet {
            tasks.push(runtime.spawn(sender::Sender::new(Arc::clone(&shared), wallet).run()));
        }
        Ok((
            Self {
                shared,
                account,
                network,
                calls,
                tasks: Arc::new(Tasks(Mutex::new(tasks))),
            },
            news,
        ))
    }

    /// Stops all tasks, waits until they have ended and lets go of the outbox's store. Records stay for the next start.
    pub async fn shutdown(&self) {
        for task in self.tasks.abort() {
            // An aborted task ends with an error, as wanted.
            let _ = task.await;
        }
        let why = "it was shut down".to_owned();
        self.shared
            .health
            .send_replace(Health::Stopped(why.clone()));
        self.shared.queue.close().await;
        self.shared.queue.tell_all(&Outcome::Stopped(why)).await;
    }

    /// The account that signs; none without a key.
    pub fn account(&self) -> Option<Account> {
        self.account
    }

    /// The newest final block that was seen; 0 before the first one.
    pub fn finalized(&self) -> u64 {
        self.shared.finalized.borrow().0
    }

    fn key_of(&self, intent: &Intent) -> Result<Vec<u8>, ChainError> {
        if let Health::Stopped(why) = &*self.shared.health.borrow() {
            return Err(ChainError::Stopped(why.clone()));
        }
        Ok(intent.key(&self.network, &self.account.ok_or(ChainError::NoKey)?))
    }

    /// Hands a call to the durable outbox and returns at once; [`ChainEvent::Done`] or [`ChainEvent::Failed`] follow. Calls keep
    /// their order. Asking again for what is already there changes nothing.
    pub fn submit(&self, call: ChainCall) {
        let intent = Intent::from(call);
        let what = intent.describe();
        let refused = match self.key_of(&intent) {
            Ok(key) => self
                .calls
                .try_send((key, intent))
                .map_err(|_| ChainError::Full {
                    max: OUTBOX_JOBS_MAX,
                }),
            Err(error) => Err(error),
        };
        let Err(error) = refused else { return };
        tracing::error!(what, %error, "a transaction was not taken");
        let event = ChainEvent::Failed {
            what,
            why: error.to_string(),
            permanent: true,
        };
        // A reader that lags this far finds it in the log.
        let _ = self.shared.events.try_send(event);
    }

    /// Like [`Self::submit`], and returns when the call is durable.
    ///
    /// # Errors
    /// [`ChainError::NoKey`], [`ChainError::Full`], [`ChainError::Store`] or [`ChainError::Stopped`].
    pub async fn submit_durably(&self, call: ChainCall) -> Result<(), ChainError> {
        let intent = Intent::from(call);
        let key = self.key_of(&intent)?;
        self.shared.queue.add(key, intent, false).await?;
        self.shared.wake.notify_one();
        Ok(())
    }

    async fn submit_and_wait(
        &self,
        intent: Intent,
    ) -> Result<Option<(Hash, u64, Option<Amount>)>, ChainError> {
        let what = intent.describe();
        let key = self.key_of(&intent)?;
        let told = self.shared.queue.add(key, intent, true).await?;
        self.shared.wake.notify_one();
        // Checked after the waiter stands: whoever stops later tells it.
        if let Health::Stopped(why) = &*self.shared.health.borrow() {
            return Err(ChainError::Stopped(why.clone()));
        }
        let stopped = || ChainError::Stopped("its tasks have ended".to_owned());
        match told.ok_or_else(stopped)?.await.map_err(|_| stopped())? {
            Outcome::Included { tx, gas_used, paid } => Ok(Some((tx, gas_used, paid))),
            Outcome::Already => Ok(None),
            Outcome::Refused(why) => Err(ChainError::Refused { what, why }),
            Outcome::Pending(why) => Err(ChainError::Pending { what, why }),
            Outcome::Stopped(why) => Err(ChainError::Stopped(why)),
        }
    }

    /// Registers our account with a node key: approves the stake, then `Registry.register` with the binding signature. Returns when
    /// it is in a block (not final yet). Does nothing when the account is registered with this node key.
    ///
    /// `roles` is a set of bits: 1 client, 2 labeler, 4 validator. `stake` is in base units.
    ///
    /// # Errors
    /// [`ChainError::Refused`] with the contract's reason or the missing balance; [`ChainError::Pending`] while something is missing
    /// that may come; [`ChainError::Rpc`] when the chain cannot be asked.
    pub async fn register(
        &self,
        roles: u8,
        stake: Amount,
        node: &NodeKeypair,
        seal_key: Hash,
        payee: Account,
    ) -> Result<(), ChainError> {
        let account = self.account.ok_or(ChainError::NoKey)?;
        let (registry, node_key) = (self.shared.profile.contracts.registry, node.public());
        let known = self
            .shared
            .endpoints
            .current()
            .view(
                registry,
                Registry::accountsCall {
                    account: account.into(),
                },
            )
            .await?;
        if known.nodeKey.0 == node_key.0 {
            return Ok(());
        }
        let message = binding_message(
            self.shared.profile.chain_id,
            registry,
            account,
            known.nonce,
            node_key,
        );
        let binding = node.sign(BINDING_DOMAIN, &message);
        let intent = Intent::Register {
            node_key,
            seal_key,
            payee,
            roles,
            stake,
            nonce: known.nonce,
            binding,
        };
        self.submit_and_wait(intent).await.map(|_| ())
    }

    /// Pays a payee what its claim proves; anyone may, for anyone. Returns when it is in a block (not final yet).
    ///
    /// # Errors
    /// [`ChainError::BadClaim`] before anything is asked, [`ChainError::NothingDue`], [`ChainError::Refused`] when the root is not
    /// the chain's or no longer kept, [`ChainError::Pending`] and [`ChainError::Rpc`].
    pub async fn claim(&self, claim: &Claim) -> Result<ClaimResult, ChainError> {
        let payee = claim.payee;
        if !claim.is_valid() {
            return Err(ChainError::BadClaim { payee });
        }
        self.account.ok_or(ChainError::NoKey)?;
        let paid = self.paid(claim.lane, payee).await?;
        if paid >= claim.total {
            return Err(ChainError::NothingDue { payee, paid });
        }
        match self.submit_and_wait(Intent::Claim(claim.clone())).await? {
            Some((tx, gas_used, Some(amount))) => Ok(ClaimResult {
                amount,
                tx,
                gas_used,
            }),
            Some((tx, ..)) => Err(ChainError::Rpc(format!(
                "transaction 0x{tx} is mined, but its receipt shows no payment to 0x{payee}"
            ))),
            // Somebody claimed for this payee in the meantime.
            None => Err(ChainError::NothingDue {
                payee,
                paid: self.paid(claim.lane, payee).await?,
            }),
        }
    }

    /// Pays all payees of a subtree what they have not claimed yet; anyone may. Returns when it is in a block (not final yet), and
    /// nothing when nothing was due to any of them.
    ///
    /// # Errors
    /// As [`Self::claim`]; [`ChainError::BadClaim`] names the first payee.
    pub async fn claim_subtree(
        &self,
        claim: &SubtreeClaim,
    ) -> Result<Option<ClaimResult>, ChainError> {
        if !claim.is_valid() {
            let payee = claim.leaves.first().map_or_else(Account::default, |l| l.0);
            return Err(ChainError::BadClaim { payee });
        }
        self.payment(Intent::ClaimSubtree(claim.clone())).await
    }

    /// How far a task is from being paid without a committee; none when this client never funded it.
    ///
    /// # Errors
    /// [`ChainError::Rpc`].
    pub async fn recovery(
        &self,
        task: TaskId,
        client: Account,
    ) -> Result<Option<Recovery>, ChainError> {
        let (endpoint, contracts) = (
            self.shared.endpoints.current(),
            &self.shared.profile.contracts,
        );
        let (task, client) = (task.0.into(), client.into());
        let call = TaskEscrow::escrowsCall {
            taskId: task,
            client,
        };
        let held = endpoint.view(contracts.escrow, call).await?;
        if held.deposit == 0 {
            return Ok(None);
        }
        let call = TaskEscrow::FALLBACK_SECONDSCall {};
        let silence = endpoint.view(contracts.escrow, call).await?;
        let call = EpochAnchor::lastActivityCall { lane: held.lane };
        let active = endpoint.view(contracts.anchor, call).await?;
        let call = TaskEscrow::fallbacksCall {
            taskId: task,
            client,
        };
        let fallback = endpoint.view(contracts.escrow, call).await?;
        let since: u64 = active.max(held.fundedAt).to();
        Ok(Some(Recovery {
            lane: held.lane,
            silence,
            possible_at: since.saturating_add(silence),
            now: endpoint.latest().await?.time,
            settled: held.settled,
            open: (fallback.closesAt != 0).then_some(OpenFallback {
                header: fallback.headerHash.into(),
                closes_at: fallback.closesAt,
                left: Amount(fallback.left),
                closed: fallback.closed,
            }),
        }))
    }

    /// Whether a lane has been silent for so long that tasks funded before can be paid without a committee.
    ///
    /// # Errors
    /// [`ChainError::Rpc`].
    pub async fn is_silent(&self, lane: u32) -> Result<bool, ChainError> {
        let (endpoint, contracts) = (
            self.shared.endpoints.current(),
            &self.shared.profile.contracts,
        );
        let call = TaskEscrow::FALLBACK_SECONDSCall {};
        let silence = endpoint.view(contracts.escrow, call).await?;
        let call = EpochAnchor::lastActivityCall { lane };
        let active: u64 = endpoint.view(contracts.anchor, call).await?.to();
        Ok(endpoint.latest().await?.time >= active.saturating_add(silence))
    }

    /// What our account holds, and what a transaction of `gas` may cost now, in wei.
    ///
    /// # Errors
    /// [`ChainError::NoKey`], [`ChainError::Rpc`].
    pub async fn gas_money(&self, gas: u64) -> Result<(u128, u128), ChainError> {
        let account = self.account.ok_or(ChainError::NoKey)?;
        let endpoint = self.shared.endpoints.current();
        let fees = pool::market(endpoint).await?.map_err(ChainError::Rpc)?;
        let needed = u128::from(gas).saturating_mul(fees.max);
        Ok((endpoint.native(account).await?, needed))
    }

    /// Makes a task's escrow pay it without a committee, once its lane was silent for long enough; anyone may. Returns when it is in a
    /// block (not final yet); does nothing when it is open already.
    ///
    /// # Errors
    /// [`ChainError::Refused`] with the time from which on it is possible, [`ChainError::Pending`] and [`ChainError::Rpc`].
    pub async fn open_fallback(&self, task: TaskId, client: Account) -> Result<(), ChainError> {
        let intent = Intent::OpenFallback { task, client };
        self.submit_and_wait(intent).await.map(|_| ())
    }

    /// Pays a payee from a task's fallback; anyone may. Returns when it is in a block (not final yet), and nothing when the payee was
    /// paid before.
    ///
    /// # Errors
    /// [`ChainError::BadClaim`] before anything is asked; otherwise as [`Self::open_fallback`].
    pub async fn claim_fallback(
        &self,
        header: &EpochHeader,
        claim: &FlatClaim,
    ) -> Result<Option<ClaimResult>, ChainError> {
        if !claim.is_valid(&header.state_root) {
            let payee = claim.pay.payee;
            return Err(ChainError::BadClaim { payee });
        }
        let (header, claim) = (Box::new(header.clone()), claim.clone());
        self.payment(Intent::ClaimFallback { header, claim }).await
    }

    /// Gives the client what the fallback left over, once its window is over; anyone may. Returns when it is in a block (not final yet),
    /// and nothing when it was closed before.
    ///
    /// # Errors
    /// As [`Self::open_fallback`].
    pub async fn close_fallback(
        &self,
        task: TaskId,
        client: Account,
    ) -> Result<Option<ClaimResult>, ChainError> {
        self.payment(Intent::CloseFallback { task, client }).await
    }

    /// Does what pays somebody; nothing when it was done before.
    async fn payment(&self, intent: Intent) -> Result<Option<ClaimResult>, ChainError> {
        let planner = Planner {
            endpoint: self.shared.endpoints.current(),
            profile: &self.shared.profile,
            account: self.account.ok_or(ChainError::NoKey)?,
        };
        // A payment that is mined and not final yet is still in the outbox; asked again, it would be reported a second time.
        if let Ok(Step::Done) = planner.next(&intent).await {
            return Ok(None);
        }
        match self.submit_and_wait(intent).await? {
            Some((tx, gas_used, Some(amount))) => Ok(Some(ClaimResult {
                amount,
                tx,
                gas_used,
            })),
            Some((tx, ..)) => Err(ChainError::Rpc(format!(
                "transaction 0x{tx} is mined, but its receipt shows no payment"
            ))),
            None => Ok(None),
        }
    }

    /// Pays one group after the other, as [`Self::claim_subtree`] does. A group that is refused keeps nothing from the others; when no
    /// group can be paid any more (no key, no endpoint, a broken outbox), the rest is not tried.
    pub async fn relay(&self, claims: impl IntoIterator<Item = SubtreeClaim>) -> Relayed {
        let mut relayed = Relayed::default();
        for claim in claims {
            match self.claim_subtree(&claim).await {
                Ok(Some(done)) => relayed.paid.push((claim, done)),
                Ok(None) => {}
                Err(error) => {
                    let this_one = matches!(
                        error,
                        ChainError::Refused { .. }
                            | ChainError::Pending { .. }
                            | ChainError::BadClaim { .. }
                    );
                    relayed.failed.push((claim, error));
                    if !this_one {
                        break;
                    }
                }
            }
        }
        relayed
    }

    /// An account's native and token balance.
    ///
    /// # Errors
    /// [`ChainError::Rpc`].
    pub async fn balances(&self, account: Account) -> Result<Balances, ChainError> {
        let endpoint = self.shared.endpoints.current();
        let call = DevToken::balanceOfCall {
            account: account.into(),
        };
        let token = endpoint
            .view(self.shared.profile.contracts.token, call)
            .await?;
        Ok(Balances {
            native: endpoint.native(account).await?,
            token: units(token),
        })
    }

    /// Base units that `payee` was paid from `lane` so far.
    ///
    /// # Errors
    /// [`ChainError::Rpc`].
    pub async fn paid(&self, lane: u32, payee: Account) -> Result<Amount, ChainError> {
        let call = RewardDistributor::paidCall {
            payee: payee.into(),
        };
        Ok(units(
            self.shared
                .endpoints
                .current()
                .view(self.shared.profile.contracts.distributor(lane), call)
                .await?,
        ))
    }

    /// The distributors' books.
    ///
    /// # Errors
    /// [`ChainError::Rpc`].
    pub async fn totals(&self) -> Result<Totals, ChainError> {
        let contracts = &self.shared.profile.contracts;
        totals(self.shared.endpoints.current(), contracts).await
    }

    /// A task's money; none when this client never funded it.
    ///
    /// # Errors
    /// [`ChainError::Rpc`].
    pub async fn escrow(
        &self,
        task: TaskId,
        client: Account,
    ) -> Result<Option<EscrowState>, ChainError> {
        let call = TaskEscrow::escrowsCall {
            taskId: task.0.into(),
            client: client.into(),
        };
        let held = self
            .shared
            .endpoints
            .current()
            .view(self.shared.profile.contracts.escrow, call)
            .await?;
        Ok((held.deposit != 0).then_some(EscrowState {
            deposit: Amount(held.deposit),
            gold_bond: Amount(held.goldBond),
            lane: held.lane,
            settled: held.settled,
        }))
    }

    fn planner(&self) -> plan::Planner<'_> {
        plan::Planner {
            endpoint: self.shared.endpoints.current(),
            profile: &self.shared.profile,
            account: self.account.unwrap_or_default(),
        }
    }

    /// Whether the chain holds this header as the epoch that it says it is.
    ///
    /// # Errors
    /// [`ChainError::Rpc`].
    pub async fn is_anchored(&self, header: &EpochHeader) -> Result<bool, ChainError> {
        // A revoked epoch keeps its event.
        let stands = self.head(header.lane).await?.epoch >= header.epoch;
        Ok(stands && self.planner().posted(header).await? == header.hash())
    }

    /// What the chain would say to a claim now.
    ///
    /// # Errors
    /// [`ChainError::Rpc`].
    pub async fn standing(&self, claim: &Claim) -> Result<Standing, ChainError> {
        let planner = self.planner();
        let found = planner.not_claimable(claim.lane, claim.epoch, &claim.root);
        Ok(match found.await? {
            Some(plan::Step::Fail(why)) => Standing::Refused(why),
            Some(plan::Step::Wait(why)) => Standing::Later(why),
            _ => Standing::Pays,
        })
    }

    /// The last epoch of a lane.
    ///
    /// # Errors
    /// [`ChainError::Rpc`].
    pub async fn head(&self, lane: u32) -> Result<LaneHead, ChainError> {
        let call = EpochAnchor::headCall { lane };
        let head = self
            .shared
            .endpoints
            .current()
            .view(self.shared.profile.contracts.anchor, call)
            .await?;
        Ok(LaneHead {
            epoch: head.epoch,
            header: head.hash.into(),
            term: head.term,
        })
    }
}
