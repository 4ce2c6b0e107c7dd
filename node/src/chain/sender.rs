//! The one task that sends this account's transactions.
//!
//! Takes jobs from the queue in order of arrival, one transaction in flight at a time: plan, estimate, sign, record, send, watch.
//! Does not decide what should be sent. Invariants: nothing is sent that is not recorded; a nonce is signed for one step only (its
//! fee may rise); a job leaves the queue when its effect is final, or when a final block shows that it can never come; nothing is
//! signed or given up unless the watcher has checked the chain, the endpoint still holds the final block that was believed last, and
//! the other endpoint, where one answers, sees the same.

mod follow;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alloy::{primitives::U64, rpc::types::TransactionRequest};
use assay_protocol::id::Hash;
use tokio::time::Instant;

use super::{
    ChainEvent, Health, Shared,
    endpoint::{At, Endpoint},
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
/// Transactions of our account in an endpoint's pool that are not from this outbox, above which the endpoint is not believed.
const PENDING_MAX: u64 = 16;
/// Looks in doubt before it is told.
const DOUBTS_UNTOLD: u32 = 3;
/// Longest pause of a waiting job, in polls.
const WAIT_POLLS_MAX: u32 = 16;

/// How a job can end without a transaction of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Somebody has done it.
    Done,
    /// It can never be done.
    Never,
}

/// What is known about a job in this run only.
#[derive(Debug, Default)]
struct Side {
    retry_at: Option<Instant>,
    waits: u32,
    /// Polls since the bytes, or the fee, last changed.
    polls: u32,
    lost: u32,
    /// The end that the chain shows, and the newest block when it first did.
    end: Option<(End, u64, Hash)>,
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
        let finalized = shared.finalized.borrow().0;
        let mut moved = false;
        for (key, job) in &jobs {
            if let Stage::Mined(mined) = &job.stage
                && mined.block <= finalized
            {
                moved |= self.confirm(endpoint, key, job, mined, finalized).await?;
            }
        }
        if self.fell_out(endpoint, &jobs, finalized).await? {
            return Ok(true);
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
        let lowest = sent.first().map_or(0, |(_, _, step)| step.nonce);
        for (key, job, step) in &sent {
            moved |= self.follow(endpoint, key, job, step, lowest).await?;
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
        let step = match self.planner(&shared, endpoint).next(&job.intent).await {
            Ok(step) => step,
            Err(RpcFault::Refused { message, .. }) => {
                return Ok(self.later(key, &job.intent, &message));
            }
            Err(fault) => return Err(fault.into()),
        };
        match step {
            Step::Done => {
                if !self
                    .settled(endpoint, key, job, End::Done, finalized)
                    .await?
                {
                    self.shared.queue.tell(key, &Outcome::Already).await;
                    return Ok(self.again(key));
                }
                if let Some(why) = self.doubt(endpoint, &job.intent, &Step::Done).await? {
                    return self.doubtful(key, job, why).await;
                }
                self.finish(key, job, Hash::ZERO, 0, finalized).await
            }
            Step::Wait(why) => Ok(self.later(key, &job.intent, &why)),
            Step::Fail(why) => {
                let step = Step::Fail(why.clone());
                self.never(endpoint, key, job, &step, why, finalized).await
            }
            step @ Step::Send { .. } => {
                self.side.entry(key.to_vec()).or_default().end = None;
                if let Some(why) = self.doubt(endpoint, &job.intent, &step).await? {
                    return self.doubtful(key, job, why).await;
                }
                self.send(endpoint, key, job, step, floor, finalized).await
            }
        }
    }

    fn planner<'a>(&self, shared: &'a Shared, endpoint: &'a Endpoint) -> Planner<'a> {
        Planner {
            endpoint,
            profile: &shared.profile,
            account: self.wallet.account(),
        }
    }

    /// Why what the endpoint shows must not be acted on now, if there is a reason. Asked before anything that cannot be taken back.
    pub(super) async fn doubt(
        &self,
        endpoint: &Endpoint,
        intent: &Intent,
        step: &Step,
    ) -> Result<Option<String>, ChainError> {
        let shared = Arc::clone(&self.shared);
        let (number, hash) = *shared.finalized.borrow();
        if *shared.health.borrow() != Health::Up {
            return Ok(Some("the endpoint is being checked again".to_owned()));
        }
        let row = endpoint.header(At::Number(number)).await?;
        if row.is_none_or(|row| row.hash != hash) {
            return Ok(Some(format!(
                "{} does not hold final block {number} ({hash}) any more",
                endpoint.label
            )));
        }
        let Some(witness) = shared.endpoints.witness() else {
            return Ok(None);
        };
        match witness.header(At::Number(number)).await {
            Ok(Some(row)) if row.hash == hash => {}
            Ok(Some(row)) => {
                return Ok(Some(format!(
                    "the endpoints disagree about final block {number}: {} says {hash}, {} says {}",
                    endpoint.label, witness.label, row.hash
                )));
            }
            // One that is down or behind says nothing either way.
            _ => return Ok(None),
        }
        Ok(match self.planner(&shared, witness).next(intent).await {
            Ok(other) if other == *step => None,
            Err(RpcFault::Unreachable { .. }) => None,
            _ => Some(format!(
                "{} and {} show different states of the chain; nothing is signed until they agree",
                endpoint.label, witness.label
            )),
        })
    }

    /// The other endpoint, if it holds the newest final block, too; one that is down or behind has no say.
    async fn peer(&self) -> Option<Endpoint> {
        let (number, hash) = *self.shared.finalized.borrow();
        let witness = self.shared.endpoints.witness()?;
        let row = witness.header(At::Number(number)).await.ok()??;
        (row.hash == hash).then(|| witness.clone())
    }

    /// Whether a block that shows this end is final. Until then the chain may still change its mind.
    async fn settled(
        &mut self,
        endpoint: &Endpoint,
        key: &[u8],
        job: &Job,
        end: End,
        finalized: u64,
    ) -> Result<bool, ChainError> {
        let seen = self.side.get(key).and_then(|side| side.end);
        if let Some((kind, number, hash)) = seen
            && kind == end
        {
            if number > finalized {
                return Ok(false);
            }
            let row = endpoint.header(At::Number(number)).await?;
            if row.is_some_and(|row| row.hash == hash) {
                return Ok(true);
            }
            tracing::info!(
                what = job.intent.describe(),
                block = number,
                "a block that showed the end of a job was replaced"
            );
        }
        let newest = endpoint.latest().await?;
        self.side.entry(key.to_vec()).or_default().end = Some((end, newest.number, newest.hash));
        Ok(newest.number <= finalized)
    }

    /// The chain refuses: believed once a block that shows it is final. Whoever waits is told at once, and may ask anew.
    async fn never(
        &mut self,
        endpoint: &Endpoint,
        key: &[u8],
        job: &Job,
        step: &Step,
        why: String,
        finalized: u64,
    ) -> Result<Advance, ChainError> {
        if !self
            .settled(endpoint, key, job, End::Never, finalized)
            .await?
        {
            // Asked anew, every other wish is the same wish; this one would be a second payment. Nothing is on its way, so it can go.
            if matches!(job.intent, Intent::PayIn { .. }) {
                return self.fail(key, job, why).await;
            }
            self.shared
                .queue
                .end(key, &Outcome::Refused(why.clone()))
                .await;
            return self.blocked(key, job, "refusal", why).await;
        }
        if let Some(doubt) = self.doubt(endpoint, &job.intent, step).await? {
            return self.doubtful(key, job, doubt).await;
        }
        self.fail(key, job, why).await
    }

    async fn send(
        &mut self,
        endpoint: &Endpoint,
        key: &[u8],
        job: &Job,
        step: Step,
        floor: u64,
        finalized: u64,
    ) -> Result<Advance, ChainError> {
        let Step::Send {
            to,
            data,
            last,
            name,
        } = step.clone()
        else {
            return Ok(self.again(key));
        };
        let witness = self.peer().await;
        let account = self.wallet.account();
        let request = TransactionRequest::default()
            .from(account.into())
            .to(to.into())
            .input(data.clone().into());
        let estimate = match estimate(endpoint, &request).await {
            Ok(gas) => gas,
            Err(fault @ RpcFault::Refused { .. }) => {
                if let Some(witness) = &witness
                    && estimate(witness, &request).await.is_ok()
                {
                    let why = format!("{} would take it, but {fault}", witness.label);
                    return self.doubtful(key, job, why).await;
                }
                return self
                    .refused(endpoint, key, job, &step, &fault, finalized)
                    .await;
            }
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
        let fees = match market(endpoint).await? {
            Ok(fees) => fees,
            Err(why) => return self.blocked(key, job, "gas price", why).await,
        };
        let cost = u128::from(gas_limit).saturating_mul(fees.max);
        let mut wei = endpoint.native(account).await?;
        if let Some(witness) = &witness
            && let Ok(other) = witness.native(account).await
        {
            wei = wei.min(other);
        }
        if wei < cost {
            let why = format!(
                "account 0x{account} holds {wei} wei and the transaction may cost {cost}; send it native currency"
            );
            return self.blocked(key, job, "native balance", why).await;
        }
        let nonce = match self.nonce(endpoint, witness.as_ref(), floor).await? {
            Ok(nonce) => nonce,
            Err(why) => return self.blocked(key, job, "nonce", why).await,
        };
        if *self.shared.health.borrow() != Health::Up {
            return Ok(self.again(key));
        }
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
        self.shared.queue.resume(key).await;
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

    /// The nonce of the next transaction, or why there is none now.
    async fn nonce(
        &self,
        endpoint: &Endpoint,
        witness: Option<&Endpoint>,
        floor: u64,
    ) -> Result<Result<u64, String>, RpcFault> {
        let account = self.wallet.account();
        let mined = endpoint.nonce(account, false).await?;
        let pending = endpoint.nonce(account, true).await?.max(floor);
        if pending.saturating_sub(mined.max(floor)) > PENDING_MAX {
            return Ok(Err(format!(
                "{} says that {} transactions of account 0x{account} wait to be mined, and this node sent none of them; wait until \
                 they are mined, or choose another endpoint",
                endpoint.label,
                pending - mined
            )));
        }
        if let Some(witness) = witness
            && let Ok(other) = witness.nonce(account, false).await
            && other != mined
        {
            return Ok(Err(format!(
                "{} says that account 0x{account} has sent {mined} transactions, {} says {other}; nothing is signed until they agree",
                endpoint.label, witness.label
            )));
        }
        Ok(Ok(pending))
    }

    /// An estimate was refused.
    async fn refused(
        &mut self,
        endpoint: &Endpoint,
        key: &[u8],
        job: &Job,
        step: &Step,
        fault: &RpcFault,
        finalized: u64,
    ) -> Result<Advance, ChainError> {
        if let Some(data) = fault.revert() {
            let (advice, why) = explain(data);
            return match advice {
                Advice::Permanent => self.never(endpoint, key, job, step, why, finalized).await,
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

    /// Waits until there is no doubt; endpoints that are a block apart agree soon, so it is told only when it lasts.
    async fn doubtful(
        &mut self,
        key: &[u8],
        job: &Job,
        why: String,
    ) -> Result<Advance, ChainError> {
        if self.side.get(key).map_or(0, |side| side.waits) < DOUBTS_UNTOLD {
            return Ok(self.later(key, &job.intent, &why));
        }
        self.blocked(key, job, "doubt", why).await
    }

    /// Looks again at the next poll.
    fn again(&mut self, key: &[u8]) -> Advance {
        let at = Instant::now() + self.shared.poll;
        self.side.entry(key.to_vec()).or_default().retry_at = Some(at);
        Advance::Later
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

async fn estimate(endpoint: &Endpoint, request: &TransactionRequest) -> Result<u64, RpcFault> {
    let gas: U64 = endpoint.ask("eth_estimateGas", (request.clone(),)).await?;
    Ok(gas.to())
}

enum Advance {
    /// A transaction is in flight.
    Sent,
    /// The job ended.
    Moved,
    /// Nothing to do now.
    Later,
}
