//! The node's body: one event loop that owns the core, and everything around it that touches the world.
//!
//! ```text
//! net events --+                         +--> disk (durable before anything after it)
//! chain news --+--> event loop -- Core --+--> net (publish, request, respond, verdict, penalise)
//! people ------+      (one task)         +--> chain (outbox)
//! answers -----+                         +--> notices (broadcast)
//! ```
//! It holds no rule: what to do is the core's word, how to do it is this module's.

mod content;
mod disk;
mod event_loop;
mod faults;
mod fetch;
mod recovery;

use std::{path::PathBuf, sync::Arc, time::Duration};

use assay_protocol::{
    codec,
    core::{Command, CommandError, Core, Family, GoldSecret, Notice, fallback_key},
    crypto::{EvmKey, NodeKeypair},
    id::{Account, Hash, NodeKey, ShardHash, TaskId},
    lane::{Claim, Fallback, PayoutFile},
    message::{Announce, Envelope, EpochHeader, ItemEntry, Manifest, ShardRef, topic},
    network::NetworkProfile,
    task::TaskOutcome,
};
use libp2p::Multiaddr;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

pub use disk::Disk;
pub use faults::{Laid, ProveError, Proven};
pub use fetch::FetchError;
pub use recovery::Recovered;
#[cfg(all(test, feature = "devchain"))]
pub(crate) use recovery::{Keeper, Ours};

use crate::{
    chain::{Chain, ChainConfig, ChainError},
    net::{Net, NetConfig, NetError, NetHandle},
};
use fetch::blocking;

/// Orders waiting for the event loop; past it the caller waits.
const ORDERS_MAX: usize = 256;
/// Notices that a slow listener may lag behind.
const NOTICES_MAX: usize = 4_096;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Database, shards, lock.
    pub data_dir: PathBuf,
    /// The network.
    pub profile: NetworkProfile,
    /// Node key.
    pub node: NodeKeypair,
    /// Account key: for transactions, and for signing headers when the account is a validator.
    pub evm: Option<EvmKey>,
    /// Addresses to listen on.
    pub listen: Vec<Multiaddr>,
    /// How often the chain is asked for news.
    pub poll: Duration,
}

/// Why a node does not start or does not answer.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory.
    #[error(transparent)]
    Disk(#[from] assay_storage::StoreError),
    /// The swarm.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The chain client.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A command was refused.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Shards could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The node is shutting down.
    #[error("the node has stopped; see its log for the reason")]
    Stopped,
    /// Something asked for does not exist.
    #[error("{0}")]
    NotFound(String),
}

type CoreCall = Box<dyn FnOnce(&mut Core, u64) + Send>;

/// A running node.
#[derive(Clone)]
pub struct Node {
    orders: mpsc::Sender<CoreCall>,
    notices: broadcast::Sender<Notice>,
    stopped: watch::Receiver<Option<String>>,
    stop: mpsc::Sender<()>,
    net: NetHandle,
    chain: Chain,
    disk: Disk,
    config: Arc<NodeConfig>,
    gas: GasSpent,
}

/// Transactions and gas of this node by kind (`fund`, `post`, ...).
pub type GasSpent = Arc<std::sync::Mutex<std::collections::BTreeMap<String, (u64, u64)>>>;

impl Node {
    /// Opens the data directory, starts swarm and chain client, and the event loop around the core.
    ///
    /// # Errors
    /// [`NodeError`] when the directory or a listening address cannot be had. A chain that does not answer is no error: the node waits.
    pub async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let (dir, profile) = (config.data_dir.clone(), config.profile.clone());
        let (disk, restored, known) = blocking(move || {
            let disk = Disk::open(&dir, &profile)?;
            let (restored, known) = (disk.restore()?, disk.known()?);
            Ok::<_, assay_storage::StoreError>((disk, restored, known))
        })
        .await?;
        let core_config = assay_protocol::core::Config {
            profile: config.profile.clone(),
            node: config.node.clone(),
            evm: config.evm.clone(),
        };
        let core = Core::new(core_config, restored, 0);

        let mut net_config = if config.profile.dev {
            NetConfig::dev(config.node.seed(), &config.profile.name)
        } else {
            NetConfig::home(config.node.seed(), &config.profile.name)
        };
        // A node that looks at the chain less often has no use for a faster gossip upkeep.
        net_config.heartbeat = net_config
            .heartbeat
            .max(config.poll.min(Duration::from_secs(1)));
        net_config.listen = config.listen.clone();
        net_config.bootstrap = config
            .profile
            .bootstrap
            .iter()
            .filter_map(|a| a.parse().ok())
            .collect();
        net_config.known = known;
        net_config.topics = vec![topic(&config.profile.name, "class")];
        let (net, net_events) = Net::start(net_config).await?;

        let chain_config = ChainConfig {
            profile: config.profile.clone(),
            key: config.evm.as_ref().map(EvmKey::secret),
            poll: config.poll,
            first_block: core.next_block(),
        };
        let (chain, chain_events) = Chain::start(chain_config, Arc::new(disk.clone()))?;

        let (orders, orders_out) = mpsc::channel(ORDERS_MAX);
        let (notices, _) = broadcast::channel(NOTICES_MAX);
        let (stop, stop_out) = mpsc::channel(1);
        let (stopped_in, stopped) = watch::channel(None);
        let gas = GasSpent::default();
        let event_loop = event_loop::EventLoop::new(
            core,
            disk.clone(),
            net.clone(),
            chain.clone(),
            notices.clone(),
            gas.clone(),
        );
        let sources = event_loop::Sources {
            net: net_events,
            chain: chain_events,
            orders: orders_out,
            stop: stop_out,
        };
        let keeper = config.evm.as_ref().map(|evm| {
            let lanes = config.profile.params.lanes;
            let keeper = recovery::Keeper::new(chain.clone(), disk.clone(), lanes, notices.clone());
            let (stop, stopping) = watch::channel(false);
            let run = keeper.run(evm.account(), config.poll, orders.downgrade(), stopping);
            event_loop::Helper {
                stop,
                task: tokio::spawn(run),
            }
        });
        tokio::spawn(event_loop.run(sources, keeper, stopped_in));
        Ok(Self {
            orders,
            notices,
            stopped,
            stop,
            net,
            chain,
            disk,
            config: Arc::new(config),
            gas,
        })
    }

    /// Reads the core between two inputs.
    ///
    /// # Errors
    /// [`NodeError::Stopped`].
    pub async fn with_core<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, NodeError> {
        self.call(move |core, _| read(core)).await
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Core, u64) -> T + Send + 'static,
    ) -> Result<T, NodeError> {
        let (tx, rx) = oneshot::channel();
        let call: CoreCall = Box::new(move |core, now| {
            // Whoever asked may have gone.
            let _ = tx.send(work(core, now));
        });
        self.orders
            .send(call)
            .await
            .map_err(|_| NodeError::Stopped)?;
        rx.await.map_err(|_| NodeError::Stopped)
    }

    /// Gives the core a command. What it changes is durable when this returns.
    ///
    /// # Errors
    /// [`NodeError::Command`] with what to do instead.
    pub async fn command(&self, command: Command) -> Result<TaskId, NodeError> {
        let result = self
            .call(move |core, now| core.command(command, now))
            .await?;
        // The effects of a call are performed before the next one is taken, so an empty call waits for durability.
        self.call(|_, _| ()).await?;
        Ok(result?)
    }

    /// Keeps a task's shards and announces it.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn publish(
        &self,
        manifest: Manifest,
        gold: Vec<GoldSecret>,
        shards: Vec<(ShardRef, Vec<u8>)>,
    ) -> Result<TaskId, NodeError> {
        let (disk, task) = (self.disk.clone(), manifest.id());
        blocking(move || {
            shards
                .iter()
                .try_for_each(|(_, bytes)| disk.put_shard(&task, bytes))
        })
        .await?;
        self.command(Command::Publish {
            manifest: Box::new(manifest),
            gold,
        })
        .await
    }

    /// Keeps one shard of a task that is about to be published; tells its name and size.
    ///
    /// # Errors
    /// [`NodeError::Disk`].
    pub async fn keep_shard(&self, task: TaskId, bytes: Vec<u8>) -> Result<ShardRef, NodeError> {
        let disk = self.disk.clone();
        Ok(blocking(move || {
            let kept = ShardRef {
                hash: ShardHash(*blake3::hash(&bytes).as_bytes()),
                bytes: bytes.len() as u64,
            };
            disk.put_shard(&task, &bytes).map(|()| kept)
        })
        .await?)
    }

    /// The first of `shards` that is not here, verified.
    ///
    /// # Errors
    /// [`NodeError::Disk`].
    pub async fn missing_shard(
        &self,
        shards: Vec<ShardRef>,
    ) -> Result<Option<ShardRef>, NodeError> {
        let disk = self.disk.clone();
        Ok(blocking(move || {
            for shard in shards {
                if !disk.has_shard(&shard.hash)? {
                    return Ok::<_, assay_storage::StoreError>(Some(shard));
                }
            }
            Ok(None)
        })
        .await?)
    }

    /// Tasks whose outcome is kept here.
    ///
    /// # Errors
    /// [`NodeError::Disk`].
    pub async fn finished_tasks(&self) -> Result<Vec<TaskId>, NodeError> {
        let disk = self.disk.clone();
        let keys = blocking(move || disk.keys(Family::Outcome)).await?;
        Ok(keys
            .iter()
            .filter_map(|k| k.as_slice().try_into().ok().map(TaskId))
            .collect())
    }

    /// News from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// The manifest of a task.
    ///
    /// # Errors
    /// [`NodeError::NotFound`].
    pub async fn manifest(&self, task: TaskId) -> Result<Manifest, NodeError> {
        let disk = self.disk.clone();
        let row = blocking(move || disk.get(Family::Announce, &task.0)).await?;
        row.and_then(|bytes| codec::decode::<Envelope>(&bytes, usize::MAX).ok())
            .and_then(|e| e.open::<Announce>().ok())
            .map(|a| a.manifest)
            .ok_or_else(|| NodeError::NotFound(format!("task {task} is not known here")))
    }

    /// The item index of a task, fetched if it is not here.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn item_index(&self, task: TaskId) -> Result<Vec<ItemEntry>, NodeError> {
        let index = self.manifest(task).await?.items.index;
        let bytes = self.shard(task, index).await?;
        codec::decode(&bytes, usize::MAX).map_err(|e| {
            NodeError::NotFound(format!("the item index of task {task} is unreadable: {e}"))
        })
    }

    /// The bytes of an item, fetched if they are not here.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn item(&self, task: TaskId, entry: &ItemEntry) -> Result<Vec<u8>, NodeError> {
        let shards = self.manifest(task).await?.items.shards;
        let outside =
            || NodeError::NotFound(format!("item {} points outside its shard", entry.name));
        let wanted = *shards.get(entry.shard as usize).ok_or_else(outside)?;
        if entry
            .offset
            .checked_add(entry.bytes)
            .is_none_or(|end| end > wanted.bytes)
        {
            return Err(outside());
        }
        self.ensure(task, wanted).await?;
        let (disk, offset, bytes) = (self.disk.clone(), entry.offset, entry.bytes);
        Ok(blocking(move || {
            disk.store()
                .shards()
                .read_range(&disk::shard(&wanted.hash), offset, bytes)
        })
        .await?)
    }

    async fn shard(&self, task: TaskId, wanted: ShardRef) -> Result<Vec<u8>, NodeError> {
        self.ensure(task, wanted).await?;
        let disk = self.disk.clone();
        Ok(blocking(move || disk.store().shards().read(&disk::shard(&wanted.hash))).await?)
    }

    async fn ensure(&self, task: TaskId, wanted: ShardRef) -> Result<(), NodeError> {
        let mut from: Vec<NodeKey> = self
            .with_core(move |core| {
                let announced = core
                    .announcements()
                    .find(|a| a.envelope().task == task)
                    .map(|a| a.envelope().sender);
                let me = core.node_key();
                // The committee holds what it voted for; start somewhere else on every node.
                let mut members = core
                    .live(0)
                    .map(assay_protocol::lane::LaneState::member_keys)
                    .unwrap_or_default();
                let turn = usize::from(me.0[2]) % members.len().max(1);
                members.rotate_left(turn);
                members.extend(announced);
                members.retain(|m| *m != me);
                members
            })
            .await?;
        from.dedup();
        fetch::fetch(&self.net, &self.disk, task, &[wanted], &from).await?;
        Ok(())
    }

    /// What a finished task left behind.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] while it is not finished.
    pub async fn outcome(&self, task: TaskId) -> Result<TaskOutcome, NodeError> {
        let disk = self.disk.clone();
        blocking(move || disk.get(Family::Outcome, &task.0))
            .await?
            .and_then(|bytes| codec::decode(&bytes, usize::MAX).ok())
            .ok_or_else(|| {
                NodeError::NotFound(format!("task {task} is not finished, or not known here"))
            })
    }

    /// The payout leaves of the last anchored epoch.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] before the first epoch.
    pub async fn payout_file(&self, lane: u32) -> Result<PayoutFile, NodeError> {
        let disk = self.disk.clone();
        blocking(move || disk.get(Family::Payout, &lane.to_be_bytes()))
            .await?
            .and_then(|bytes| codec::decode(&bytes, usize::MAX).ok())
            .ok_or_else(|| NodeError::NotFound(format!("lane {lane} has no anchored epoch yet")))
    }

    /// The proof with which anyone can claim for `payee`.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] when nothing is owed to it.
    pub async fn claim_proof(&self, lane: u32, payee: Account) -> Result<Claim, NodeError> {
        let proofs = self.payout_file(lane).await?.proofs();
        proofs.claim(&payee).ok_or_else(|| {
            NodeError::NotFound(format!("nothing is owed to 0x{payee} in lane {lane}"))
        })
    }

    /// The header of the last epoch of a lane that this node has adopted.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] before the first epoch.
    pub async fn last_header(&self, lane: u32) -> Result<EpochHeader, NodeError> {
        let disk = self.disk.clone();
        let found = blocking(move || recovery::flat_file(&disk, lane)).await?;
        let found = found.map(|file| file.header);
        found.ok_or_else(|| NodeError::NotFound(format!("lane {lane} has no anchored epoch yet")))
    }

    /// Tasks that are paid by their escrows, without a committee, with their clients.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn fallback_tasks(&self) -> Result<Vec<(TaskId, Account)>, NodeError> {
        let disk = self.disk.clone();
        let keys = blocking(move || disk.keys(Family::Flat)).await?;
        Ok(keys
            .iter()
            .filter_map(|k| recovery::fallback_of(k))
            .collect())
    }

    /// Whether a task is paid by its escrow, without a committee.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn in_fallback(&self, task: TaskId, client: Account) -> Result<bool, NodeError> {
        let disk = self.disk.clone();
        let row = blocking(move || disk.get(Family::Flat, &fallback_key(&task, &client)));
        Ok(row.await?.is_some())
    }

    /// What paying a task takes whose fallback was opened at the header with this hash.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] when this node did not follow the lane up to that header.
    pub async fn fallback(
        &self,
        task: TaskId,
        client: Account,
        header: Hash,
    ) -> Result<Fallback, NodeError> {
        let lane = self
            .manifest(task)
            .await?
            .lane(self.config.profile.params.lanes);
        let disk = self.disk.clone();
        blocking(move || recovery::proofs(&disk, lane, &task, &client, header))
            .await?
            .ok_or_else(|| recovery::not_adopted(task, header))
    }

    /// The chain client.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Transactions and gas of this run by kind.
    pub fn gas_spent(&self) -> std::collections::BTreeMap<String, (u64, u64)> {
        self.gas.lock().map(|g| g.clone()).unwrap_or_default()
    }

    /// The swarm.
    pub fn net(&self) -> &NetHandle {
        &self.net
    }

    /// What the node was started with.
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// Our node key.
    pub fn key(&self) -> NodeKey {
        self.config.node.public()
    }

    /// Stops swarm, chain client and event loop in order, and waits until the directory is free.
    pub async fn shutdown(&self) {
        // A second call finds the channel closed.
        let _ = self.stop.send(()).await;
        self.wait().await;
    }

    /// Waits until the node has stopped; the reason when it stopped by itself.
    pub async fn wait(&self) -> Option<String> {
        let mut stopped = self.stopped.clone();
        // An error means that the loop is gone, which is what is waited for.
        let _ = stopped.wait_for(Option::is_some).await;
        let reason = stopped.borrow().clone();
        reason.filter(|r| !r.is_empty())
    }
}
