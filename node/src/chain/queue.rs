//! The durable outbox: a map in memory in front of an [`OutboxStore`], and the callers that wait for an outcome.
//!
//! Knows nothing about the chain. Invariants: a change is in the store before it is in memory; one job per key; at most
//! [`OUTBOX_JOBS_MAX`] jobs. Read on first use, never locked across a network request.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use assay_protocol::{
    amount::Amount,
    id::{Account, Hash, NetworkId},
};
use tokio::sync::{Mutex, Semaphore, oneshot};

use super::{
    error::ChainError,
    intent::{Intent, JOB_BYTES_MAX, Job, Stage},
};

/// Most jobs that wait, in transactions.
pub const OUTBOX_JOBS_MAX: usize = 4_096;

/// A record: key and value.
pub type OutboxRow = (Vec<u8>, Vec<u8>);

/// Where the outbox is kept. Calls may block; a write is durable when it returns.
pub trait OutboxStore: Send + Sync {
    /// All records.
    ///
    /// # Errors
    /// A sentence about what could not be read.
    fn load(&self) -> Result<Vec<OutboxRow>, String>;

    /// Writes one record over an older one with this key.
    ///
    /// # Errors
    /// A sentence about what could not be written.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), String>;

    /// Removes a record, if there is one.
    ///
    /// # Errors
    /// A sentence about what could not be written.
    fn delete(&self, key: &[u8]) -> Result<(), String>;
}

/// What became of a job, for a caller that waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// In a block.
    Included {
        tx: Hash,
        gas_used: u64,
        paid: Option<Amount>,
    },
    /// Somebody has done it.
    Already,
    /// Never.
    Refused(String),
    /// Not now; still tried.
    Pending(String),
    /// The client stopped.
    Stopped(String),
}

#[derive(Default)]
struct Jobs {
    by_key: BTreeMap<Vec<u8>, Arc<Job>>,
    next_seq: u64,
}

struct Inner {
    /// None once closed.
    store: Option<Arc<dyn OutboxStore>>,
    /// None until read.
    jobs: Option<Jobs>,
    waiters: BTreeMap<Vec<u8>, Vec<oneshot::Sender<Outcome>>>,
    /// Jobs whose end is decided and being told; a new wish of the same name takes their place.
    ending: BTreeSet<Vec<u8>>,
}

/// The outbox of one account on one network.
pub(super) struct Queue {
    network: NetworkId,
    account: Account,
    inner: Mutex<Inner>,
    /// Held by the storage call that runs, even after the task that started it was aborted.
    running: Arc<Semaphore>,
}

fn closed() -> ChainError {
    ChainError::Stopped("it was shut down".to_owned())
}

impl Queue {
    pub fn new(store: Arc<dyn OutboxStore>, network: NetworkId, account: Account) -> Self {
        let inner = Inner {
            store: Some(store),
            jobs: None,
            waiters: BTreeMap::new(),
            ending: BTreeSet::new(),
        };
        Self {
            network,
            account,
            inner: Mutex::new(inner),
            running: Arc::new(Semaphore::new(1)),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        inner: &Inner,
        work: impl FnOnce(&dyn OutboxStore) -> Result<T, String> + Send + 'static,
    ) -> Result<T, ChainError> {
        let running = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(|_| closed())?;
        let store = Arc::clone(inner.store.as_ref().ok_or_else(closed)?);
        let work = move || {
            let result = work(store.as_ref());
            // In this order: whoever waits for `running` may count on the store being free.
            drop(store);
            drop(running);
            result
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| ChainError::Store(format!("the storage task ended: {e}")))?
            .map_err(ChainError::Store)
    }

    /// Reads what an earlier run left, once.
    async fn read<'a>(&self, inner: &'a mut Inner) -> Result<&'a mut Jobs, ChainError> {
        if inner.jobs.is_none() {
            let records = self.blocking(inner, |s| s.load()).await?;
            let mut jobs = Jobs::default();
            let mut foreign = 0u64;
            for (key, value) in records {
                if !Intent::is_ours(&key, &self.network, &self.account) {
                    foreign += 1;
                    continue;
                }
                let job = Job::decode(&value)?;
                jobs.next_seq = jobs.next_seq.max(job.seq.saturating_add(1));
                jobs.by_key.insert(key, Arc::new(job));
            }
            if foreign > 0 {
                tracing::warn!(
                    records = foreign,
                    "the chain outbox holds records of another account or network; they are left alone"
                );
            }
            inner.jobs = Some(jobs);
        }
        Ok(inner.jobs.get_or_insert_default())
    }

    /// Adds a job unless its key is there; with `wait`, returns where its outcome will be told.
    pub async fn add(
        &self,
        key: Vec<u8>,
        intent: Intent,
        wait: bool,
    ) -> Result<Option<oneshot::Receiver<Outcome>>, ChainError> {
        let mut inner = self.inner.lock().await;
        let over = inner.ending.contains(&key);
        let jobs = self.read(&mut inner).await?;
        if over || !jobs.by_key.contains_key(&key) {
            if jobs.by_key.len() >= OUTBOX_JOBS_MAX {
                return Err(ChainError::Full {
                    max: OUTBOX_JOBS_MAX,
                });
            }
            let job = Job {
                seq: jobs.next_seq,
                intent,
                stage: Stage::Queued,
                reverts: 0,
            };
            let bytes = job.encode();
            // Room for the signed transactions, which repeat the content.
            if bytes.len() > JOB_BYTES_MAX / 4 {
                let why = format!(
                    "it has {} bytes, more than the outbox takes ({})",
                    bytes.len(),
                    JOB_BYTES_MAX / 4
                );
                return Err(ChainError::Refused {
                    what: job.intent.describe(),
                    why,
                });
            }
            self.write(&mut inner, key.clone(), job, bytes).await?;
            inner.ending.remove(&key);
        }
        if !wait {
            return Ok(None);
        }
        let (tell, told) = oneshot::channel();
        let stage = inner
            .jobs
            .as_ref()
            .and_then(|jobs| jobs.by_key.get(&key))
            .map(|job| &job.stage);
        if let Some(Stage::Mined(m)) = stage {
            // The receiver is in our hands, so this cannot fail.
            let _ = tell.send(Outcome::Included {
                tx: m.tx,
                gas_used: m.gas_used,
                paid: m.paid,
            });
        } else {
            inner.waiters.entry(key).or_default().push(tell);
        }
        Ok(Some(told))
    }

    async fn write(
        &self,
        inner: &mut Inner,
        key: Vec<u8>,
        job: Job,
        bytes: Vec<u8>,
    ) -> Result<(), ChainError> {
        let name = key.clone();
        self.blocking(inner, move |s| s.put(&name, &bytes)).await?;
        let jobs = self.read(inner).await?;
        jobs.next_seq = jobs.next_seq.max(job.seq.saturating_add(1));
        jobs.by_key.insert(key, Arc::new(job));
        Ok(())
    }

    /// All jobs in order of arrival.
    pub async fn jobs(&self) -> Result<Vec<(Vec<u8>, Arc<Job>)>, ChainError> {
        let mut inner = self.inner.lock().await;
        let jobs = self.read(&mut inner).await?;
        let mut jobs: Vec<_> = jobs
            .by_key
            .iter()
            .map(|(key, job)| (key.clone(), Arc::clone(job)))
            .collect();
        jobs.sort_by_key(|(_, job)| job.seq);
        Ok(jobs)
    }

    /// Replaces a job.
    pub async fn update(&self, key: &[u8], job: Job) -> Result<(), ChainError> {
        let mut inner = self.inner.lock().await;
        let bytes = job.encode();
        self.write(&mut inner, key.to_vec(), job, bytes).await
    }

    /// The end of a job is decided: tells those who wait for it. Until [`Self::remove`], a new wish takes its place.
    pub async fn end(&self, key: &[u8], outcome: &Outcome) {
        let mut inner = self.inner.lock().await;
        inner.ending.insert(key.to_vec());
        for waiter in inner.waiters.remove(key).unwrap_or_default() {
            // A caller that has gone away wants no answer.
            let _ = waiter.send(outcome.clone());
        }
    }

    /// The end of a job was not its end: the chain changed before it was final.
    pub async fn resume(&self, key: &[u8]) {
        self.inner.lock().await.ending.remove(key);
    }

    /// Forgets a job that ended, unless a newer one has its name.
    pub async fn remove(&self, key: &[u8], seq: u64) -> Result<(), ChainError> {
        let mut inner = self.inner.lock().await;
        let jobs = self.read(&mut inner).await?;
        if jobs.by_key.get(key).is_some_and(|job| job.seq == seq) {
            let name = key.to_vec();
            self.blocking(&inner, move |s| s.delete(&name)).await?;
            self.read(&mut inner).await?.by_key.remove(key);
            inner.ending.remove(key);
        }
        Ok(())
    }

    /// Lets go of the store once the storage call that runs has ended.
    pub async fn close(&self) {
        let mut inner = self.inner.lock().await;
        inner.store = None;
        inner.jobs = None;
        // Taken for good; an error means that this happened before.
        if let Ok(permit) = self.running.acquire().await {
            permit.forget();
        }
        self.running.close();
    }

    /// Tells those who wait for this job.
    pub async fn tell(&self, key: &[u8], outcome: &Outcome) {
        for waiter in self
            .inner
            .lock()
            .await
            .waiters
            .remove(key)
            .unwrap_or_default()
        {
            // A caller that has gone away wants no answer.
            let _ = waiter.send(outcome.clone());
        }
    }

    /// Tells everybody who waits.
    pub async fn tell_all(&self, outcome: &Outcome) {
        for waiter in std::mem::take(&mut self.inner.lock().await.waiters)
            .into_values()
            .flatten()
        {
            let _ = waiter.send(outcome.clone());
        }
    }
}
