//! The one task that sends this account's transactions.
//!
//! Takes jobs from the queue in order of arrival, one transaction in flight at a time: plan, estimate, sign, record, send, watch.
//! Does not decide what should be sent. Invariants: nothing is sent that is not recorded; a nonce is signed for one step only (its
//! fee may rise); a job leaves the queue when its effect is final, or can never come; nothing is signed unless the watcher has
//! checked the chain.

mod follow;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alloy::{
    primitives::{Bytes, U64},
    rpc::types::TransactionRequest,
};
use assay_protocol::id::{Account, Hash};
use tokio::time::Instant;

use super::{
    ChainEvent, Health, Shared,
    endpoint::Endpoint,
    error::{ChainError, RpcFault},
    intent::{Intent, Job, Sent, Stage},
    plan::{Planner, Step},
    pool::{Taken, cast, market},
    queue::Outcome,
    revert::{Advice, explain},
    wallet::{Draft, Wallet},
};

/// Largest gas limit of one transaction (EIP-7825), in gas.
const TX_GAS_MAX: u64 = 1 << 24;
/// Added to every estimate, in gas, on top of a quarter.
const GAS_MARGIN: u64 = 20_000;
/// Polls without a receipt after which the same bytes are sent again.
const RESEND_POLLS: u32 = 10;
/// Polls without a receipt after which the fee is raised.
const BUMP_POLLS: u32 = 30;
/// Most times that a fee is raised (together about 3.2-fold).
const BUMPS_MAX: usize = 10;
/// Polls after which a step that waits for a missing nonce, or whose nonce was used by another transaction, is planned anew.
const LOST_POLLS: u32 = 20;
/// Mined and reverted transactions after which a job is given up.
const REVERTS_MAX: u32 = 5;
/// Longest pause of a waiting job, in polls.
const WAIT_POLLS_MAX: u32 = 16;

/// What is known about a job in this run only.
#[derive(Debug, Default)]
struct Side {
    retry_at: Option<Instant>,
    waits: u32,
    /// Polls since the bytes, or the fee, last changed.
    polls: u32,
    lost: u32,
    /// Block at which the chain first held what was asked for.
    done_at: Option<u64>,
    /// The obstacle last told, so that it is told once.
    told: Option<&'static str>,
}

/// The sending task of one account.
pub(super) struct Sender {
    shared: Arc<Shared>,
    wallet: Wallet,
    side: BTreeMap<Vec<u8>, Side>,
}

impl Sender {
    pub fn new(shared: Arc<Shared>, wallet: Wallet) -> Self {
        Self {
            shared,
            wallet,
            side: BTreeMap::new(),
        }
    }

    pub async fn run(mut self) {
        let mut health = self.shared.health.subscribe();
        let mut failures = 0;
        // What an earlier run left must be readable before anything is added to it.
        if let Err(error) = self.shared.queue.jobs().await {
            let why = error.to_string();
            self.shared
                .emit(ChainEvent::Failed {
                    what: "read the chain outbox".to_owned(),
                    why,
                    permanent: true,
                })
                .await;
            return;
        }
        loop {
            let state = match health.wait_for(|h| *h != Health::Checking).await {
                Ok(state) => state.clone(),
                Err(_) => return,
            };
            if let Health::Stopped(why) = state {
                self.shared.queue.tell_all(&Outcome::Stopped(why)).await;
                return;
            }
            match self.round().await {
                Ok(true) => failures = 0,
                Ok(false) => {
                    failures = 0;
                    // A new job, or the next poll.
                    let _ =
                        tokio::time::timeout(self.shared.poll, self.shared.wake.notified()).await;
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, "chain outbox: will try again");
                    if failures == 1 && matches!(error, ChainError::Store(_)) {
                        let what = "write the chain outbox".to_owned();
                        let why = error.to_string();
                        self.shared
                            .emit(ChainEvent::Failed {
                                what,
                                why,
                                permanent: false,
                            })
                            .await;
                    }
                    tokio::time::sleep(super::backoff(self.shared.poll, failures)).await;
                }
            }
        }
    }

    /// One look at every job; true when something moved.
    async fn round(&mut self) -> Result<bool, ChainError> {
        let jobs = self.shared.queue.jobs().await?;
        self.side
            .retain(|key, _| jobs.iter().any(|(k, _)| k == key));
        let shared = Arc::clone(&self.shared);
        let endpoint = shared.endpoints.current();
        let finalized = *shared.finalized.borrow();
        let mut moved = false;
        for (key, job) in &jobs {
            if let Stage::Mined(mined) = &job.stage
                && mined.block <= finalized
            {
                moved |= self.confirm(endpoint, key, job, mined, finalized).await?;
            }
        }
        let mut sent: Vec<_> = jobs
            .iter()
            .filter_map(|(key, job)| {
                if let Stage::Sent(sent) = &job.stage {
                    Some((key, job, sent))
                } else {
                    None
                }
            })
            .collect();
        sent.sort_by_key(|(_, _, sent)| sent.nonce);
        for (i, (key, job, step)) in sent.iter().enumerate() {
            moved |= self.follow(endpoint, key, job, step, i == 0).await?;
        }
        if !sent.is_empty() {
            return Ok(moved);
        }
        // A nonce of ours that a slow endpoint may not count yet.
        let floor = jobs
            .iter()
            .filter_map(|(_, j)| {
                if let Stage::Mined(m) = &j.stage {
                    Some(m.sent.nonce + 1)
                } else {
                    None
                }
            })
            .max();
        let now = Instant::now();
        for (key, job) in jobs.iter().filter(|(_, job)| job.stage == Stage::Queued) {
            if self
                .side
                .get(key)
                .and_then(|s| s.retry_at)
                .is_some_and(|at| at > now)
            {
                continue;
            }
            match self
                .advance(endpoint, key, job, floor.unwrap_or(0), finalized)
                .await?
            {
                Advance::Sent => return Ok(true),
                Advance::Moved => moved = true,
                Advance::Later => {}
            }
        }
        Ok(moved)
    }

    // ---- a job with nothing in flight ------------------------------------------------------

    async fn advance(
        &mut self,
        endpoint: &Endpoint,
        key: &[u8],
        job: &Job,
        floor: u64,
        finalized: u64,
    ) -> Result<Advance, ChainError> {
        let shared = Arc::clone(&self.shared);
        let planner = Planner {
            endpoint,
            profile: &shared.profile,
            account: self.wallet.account(),
        };
        let step = match planner.next(&job.intent).await {
            Ok(step) => step,
            Err(RpcFault::Refused { message, .. }) => {
                return Ok(self.later(key, &job.intent, &message));
            }
            Err(fault) => return Err(fault.into()),
        };
        match step {
            Step::Done => self.done_by_others(endpoint, key, job, finalized).await,
            Step::Wait(why) => Ok(self.later(key, &job.intent, &why)),
            Step::Fail(why) => self.fail(key, job, why).await,
            Step::Send {
                to,
                data,
                last,
                name,
            } => {
                self.side.entry(key.to_vec()).or_default().done_at = None;
                self.send(endpoint, key, job, (to, data), (last, name), floor)
                    .await
            }
        }
    }

    /// The chain holds it without us: believed once the block in which we saw it is final.
    async fn done_by_others(
        &mut self,
        endpoint: &Endpoint,
        key: &[u8],
        job: &Job,
        finalized: u64,
    ) -> Result<Advance, ChainError> {
        let side = self.side.entry(key.to_vec()).or_default();
        if side.done_at.is_some_and(|at| at <= finalized) {
            return self.finish(key, job, Hash::ZERO, 0, finalized).await;
        }
        if side.done_at.is_none() {
            side.done_at = Some(endpoint.latest().await?.number);
            self.shared.queue.tell(key, &Outcome::Already).await;
        }
        side.retry_at = Some(Instant::now() + self.shared.poll);
        Ok(Advance::Later)
    }

    async fn send(
        &mut self,
        endpoint: &Endpoint,
        key: &[u8],
        job: &Job,
        (to, data): (Account, Bytes),
        (last, name): (bool, &'static str),
        floor: u64,
    ) -> Result<Advance, ChainError> {
        let account = self.wallet.account();
        let request = TransactionRequest::default()
            .from(account.into())
            .to(to.into())
            .input(data.clone().into());
        let estimate = match endpoint.ask::<_, U64>("eth_estimateGas", (request,)).await {
            Ok(gas) => gas.to::<u64>(),
            Err(fault @ RpcFault::Refused { .. }) => return self.refused(key, job, &fault).await,
            Err(fault) => return Err(fault.into()),
        };
        let gas_limit = estimate
            .saturating_add(estimate / 4)
            .saturating_add(GAS_MARGIN)
            .min(TX_GAS_MAX);
        if estimate > gas_limit {
            let why = format!("it needs {estimate} gas, a transaction may use {TX_GAS_MAX}");
            return self.blocked(key, job, "gas", why).await;
        }
        let Some(fees) = market(endpoint).await? else {
            let why = "the chain has no base fee (EIP-1559), which this client needs".to_owned();
            return self.blocked(key, job, "base fee", why).await;
        };
        let (wei, cost) = (
            endpoint.native(account).await?,
            u128::from(gas_limit).saturating_mul(fees.max),
        );
        if wei < cost {
            let why = format!(
                "account 0x{account} holds {wei} wei and the transaction may cost {cost}; send it native currency"
            );
            return self.blocked(key, job, "native balance", why).await;
        }
        let nonce = endpoint.nonce(account, true).await?.max(floor);
        let signed = self.wallet.sign(
            Draft {
                to: Some(to),
                data,
                gas_limit,
                fees,
            },
            nonce,
        )?;
        tracing::info!(what = job.intent.describe(), step = name, nonce, tx = %signed.hash, "sending a transaction");
        let sent = Sent {
            nonce,
            last,
            step: name.to_owned(),
            txs: vec![signed.clone()],
        };
        self.restage(key, job, Stage::Sent(sent)).await?;
        // The first look at the receipt need not send again.
        *self.side.entry(key.to_vec()).or_default() = Side {
            polls: 1,
            ..Side::default()
        };
        match cast(endpoint, &signed).await? {
            Taken::Yes => {}
            // Refused for good, so these bytes cannot be mined before the gap is filled; plan with a fresh count.
            Taken::NonceTooHigh => {
                self.requeue(key, job, "the nonce is too high").await?;
            }
            Taken::NoFunds(why) | Taken::No(why) => {
                tracing::warn!(
                    step = name,
                    why,
                    "the endpoint did not take a transaction yet"
                )
            }
        }
        Ok(Advance::Sent)
    }

    /// An estimate was refused.
    async fn refused(
        &mut self,
        key: &[u8],
        job: &Job,
        fault: &RpcFault,
    ) -> Result<Advance, ChainError> {
        if let Some(data) = fault.revert() {
            let (advice, why) = explain(data);
            return match advice {
                Advice::Permanent => self.fail(key, job, why).await,
                Advice::LookAgain => Ok(self.later(key, &job.intent, &why)),
                Advice::Unknown => self.blocked(key, job, "refusal", why).await,
            };
        }
        self.blocked(key, job, "estimate", fault.to_string()).await
    }

    /// Records how far a job is, before anything is done about it.
    async fn restage(&self, key: &[u8], job: &Job, stage: Stage) -> Result<(), ChainError> {
        let job = Job {
            stage,
            ..job.clone()
        };
        self.shared.queue.update(key, job).await
    }

    // ---- ends and pauses -------------------------------------------------------------------

    /// Told before it is forgotten: after a crash in between it is told again.
    async fn finish(
        &mut self,
        key: &[u8],
        job: &Job,
        tx: Hash,
        gas_used: u64,
        block: u64,
    ) -> Result<Advance, ChainError> {
        let what = job.intent.describe();
        self.end(
            key,
            job,
            &Outcome::Already,
            ChainEvent::Done {
                what,
                tx,
                gas_used,
                block,
            },
        )
        .await
    }

    async fn fail(&mut self, key: &[u8], job: &Job, why: String) -> Result<Advance, ChainError> {
        let what = job.intent.describe();
        let event = ChainEvent::Failed {
            what,
            why: why.clone(),
            permanent: true,
        };
        self.end(key, job, &Outcome::Refused(why), event).await
    }

    async fn end(
        &mut self,
        key: &[u8],
        job: &Job,
        outcome: &Outcome,
        event: ChainEvent,
    ) -> Result<Advance, ChainError> {
        self.shared.queue.end(key, outcome).await;
        self.shared.emit(event).await;
        self.side.remove(key);
        self.shared.queue.remove(key, job.seq).await?;
        Ok(Advance::Moved)
    }

    /// Waits for something that people have to settle, and says so once.
    async fn blocked(
        &mut self,
        key: &[u8],
        job: &Job,
        kind: &'static str,
        why: String,
    ) -> Result<Advance, ChainError> {
        let told = self
            .side
            .entry(key.to_vec())
            .or_default()
            .told
            .replace(kind);
        self.shared
            .queue
            .tell(key, &Outcome::Pending(why.clone()))
            .await;
        if told != Some(kind) {
            let what = job.intent.describe();
            tracing::warn!(what, why, "a transaction waits");
            self.shared
                .emit(ChainEvent::Failed {
                    what,
                    why: why.clone(),
                    permanent: false,
                })
                .await;
        }
        Ok(self.later(key, &job.intent, &why))
    }

    /// Waits for the chain.
    fn later(&mut self, key: &[u8], intent: &Intent, why: &str) -> Advance {
        let side = self.side.entry(key.to_vec()).or_default();
        side.waits = side.waits.saturating_add(1);
        let polls = 2u32
            .saturating_pow(side.waits.min(8) - 1)
            .min(WAIT_POLLS_MAX);
        side.retry_at = Some(
            Instant::now()
                + self
                    .shared
                    .poll
                    .saturating_mul(polls)
                    .max(Duration::from_millis(1)),
        );
        tracing::debug!(
            what = intent.describe(),
            why,
            "a transaction waits for the chain"
        );
        Advance::Later
    }
}

enum Advance {
    /// A transaction is in flight.
    Sent,
    /// The job ended.
    Moved,
    /// Nothing to do now.
    Later,
}
