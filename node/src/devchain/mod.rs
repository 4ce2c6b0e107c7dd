//! An embedded development chain: a real EVM (revm, Osaka rules) in this process, behind unmodified
//! alloy providers and a loopback JSON-RPC port, with its history in an append-only journal.
//!
//! It serves demonstrations, tests and local networks. **It has no value and no peers**: one process
//! owns it, nothing is agreed with anybody. Production uses the URL of a real chain.
//!
//! ```text
//!   alloy provider --tower--> transport --+
//!                                         +--> rpc --> chain --> exec (revm)
//!   wallet, cast ----HTTP---> http -------+              |-----> block, state (memory)
//!                                                        '-----> journal (file)
//! ```
//!
//! What it does not do: no queue for future nonces, no blobs, no state root (so no `eth_getProof`),
//! no system contracts (EIP-4788, EIP-2935), no state of blocks before the head, no subscriptions.
//! Invariants: one transaction per block; a receipt is visible only after its journal record is
//! written (and synced, when configured); reopening replays to the same block hashes.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use alloy::{providers::{Provider, ProviderBuilder}, rpc::client::RpcClient};
//! use assay_node::devchain::{DevChain, DevChainConfig};
//!
//! let chain = DevChain::open(DevChainConfig::default())?;
//! let provider = ProviderBuilder::new().connect_client(RpcClient::new(chain, true));
//! assert_eq!(provider.get_chain_id().await?, 31337);
//! # Ok(())
//! # }
//! ```

mod block;
mod chain;
mod error;
mod exec;
mod http;
mod journal;
mod params;
mod record;
mod rpc;
mod state;
mod transport;
mod view;

#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy::primitives::{Address, U256};
use tokio::{runtime::Handle, task::AbortHandle, time::MissedTickBehavior};

use chain::Core;
pub use chain::{CLOCK_OFFSET_SECONDS_MAX, MINE_BLOCKS_MAX, REORG_DEPTH_MAX, SNAPSHOTS_MAX};
pub use error::{DevChainError, RPC_MESSAGE_BYTES_MAX, RpcError};
pub use exec::{CALL_GAS_MAX, TX_GAS_MAX};
pub use http::{BATCH_REQUESTS_MAX, BODY_BYTES_MAX, CALLS_AT_ONCE_MAX, DevChainServer};
pub use params::{FILTER_VALUES_MAX, TX_BYTES_MAX};
pub use view::{FEE_HISTORY_BLOCKS_MAX, LOG_RANGE_BLOCKS_MAX, LOG_RESULTS_MAX};

/// Chain id of a development chain unless configured otherwise.
pub const DEFAULT_CHAIN_ID: u64 = 31_337;
/// Gas limit of every block, in gas units.
pub const GAS_LIMIT: u64 = 60_000_000;
/// Base fee of the first block, in wei per gas.
pub const INITIAL_BASE_FEE: u64 = 1_000_000_000;
/// Shortest block interval, in milliseconds.
pub const BLOCK_INTERVAL_MS_MIN: u64 = 10;
/// Longest block interval, in milliseconds (one hour).
pub const BLOCK_INTERVAL_MS_MAX: u64 = 3_600_000;

/// How a development chain is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevChainConfig {
    /// EIP-155 chain id. Default 31337. A journal of another chain id is refused.
    pub chain_id: u64,
    /// Folder of the journal, created when absent. Default none: the chain lives in memory only.
    pub dir: Option<PathBuf>,
    /// Time between blocks once [`DevChain::start_mining`] was called, 10 ms to 1 h. Default none:
    /// blocks come with transactions only.
    pub block_interval: Option<Duration>,
    /// How many blocks `finalized` (and `safe`) stay behind `latest`. Default 0, because this chain
    /// never reorganises by itself; `dev_reorg` reaches no deeper than this.
    pub finality_depth: u64,
    /// Balances at the start, in wei. A journal with other ones is refused, unless this is empty.
    pub genesis: Vec<(Address, U256)>,
    /// Whether each record reaches the disk before it is visible. Default true; false survives a
    /// crash of the process but not a loss of power.
    pub fsync: bool,
    /// Secret behind the blocks' randomness (prevrandao). Default zeros: predictable.
    pub seed: [u8; 32],
}

impl Default for DevChainConfig {
    fn default() -> Self {
        Self {
            chain_id: DEFAULT_CHAIN_ID,
            dir: None,
            block_interval: None,
            finality_depth: 0,
            genesis: Vec::new(),
            fsync: true,
            seed: [0; 32],
        }
    }
}

impl DevChainConfig {
    fn check(&self) -> Result<(), DevChainError> {
        if self.chain_id == 0 {
            return Err(DevChainError::Config("chain_id must not be 0".to_owned()));
        }
        if let Some(interval) = self.block_interval {
            let limits = Duration::from_millis(BLOCK_INTERVAL_MS_MIN)
                ..=Duration::from_millis(BLOCK_INTERVAL_MS_MAX);
            if !limits.contains(&interval) {
                return Err(DevChainError::Config(format!(
                    "block_interval is {} ms, allowed are {BLOCK_INTERVAL_MS_MIN} to {BLOCK_INTERVAL_MS_MAX}",
                    interval.as_millis()
                )));
            }
        }
        if self.genesis.len() > record::GENESIS_ACCOUNTS_MAX {
            return Err(DevChainError::Config(format!(
                "genesis has {} balances, allowed are {}",
                self.genesis.len(),
                record::GENESIS_ACCOUNTS_MAX
            )));
        }
        Ok(())
    }
}

/// A handle to one chain; clones share it. The chain closes with its last handle.
#[derive(Clone)]
pub struct DevChain {
    shared: Arc<Shared>,
}

struct Shared {
    core: RwLock<Core>,
    interval: Option<Duration>,
    mining: Mutex<Option<AbortHandle>>,
}

/// A panic while the chain was changing; nothing about its state can be trusted afterwards.
fn broken<T>(_: PoisonError<T>) -> DevChainError {
    DevChainError::Failed("an internal error interrupted an earlier change".to_owned())
}

/// The system's clock in milliseconds since the Unix epoch.
fn system_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Shared {
    fn read<T>(&self, f: impl FnOnce(&Core) -> Result<T, RpcError>) -> Result<T, RpcError> {
        f(&*self.core.read().map_err(broken)?)
    }

    fn write<T>(&self, f: impl FnOnce(&mut Core) -> Result<T, RpcError>) -> Result<T, RpcError> {
        f(&mut *self.core.write().map_err(broken)?)
    }

    fn tick(&self) -> Result<(), DevChainError> {
        self.core.write().map_err(broken)?.tick(system_ms())
    }
}

impl DevChain {
    /// Opens the chain, replaying its journal when a folder is configured. Blocking.
    ///
    /// # Errors
    /// See [`DevChainError`]: configuration outside its limits, a journal that is locked, damaged, of
    /// another chain or of a newer format, or input/output.
    pub fn open(cfg: DevChainConfig) -> Result<Self, DevChainError> {
        cfg.check()?;
        let core = Core::open(&cfg, system_ms())?;
        tracing::info!(
            chain_id = cfg.chain_id,
            block = core.ledger.head().number,
            persistent = cfg.dir.is_some(),
            "development chain open; it has no value"
        );
        Ok(Self {
            shared: Arc::new(Shared {
                core: RwLock::new(core),
                interval: cfg.block_interval,
                mining: Mutex::default(),
            }),
        })
    }

    /// Answers one JSON-RPC call. Blocking: a change waits for the disk when `fsync` is set.
    ///
    /// # Errors
    /// A JSON-RPC error: -32601 unknown method, -32602 malformed parameter, 3 reverted, -32000 refused.
    pub fn call(
        &self,
        method: &str,
        params: serde_json::Value,
    ) -> Result<serde_json::Value, RpcError> {
        rpc::dispatch(&self.shared, method, &params)
    }

    /// Starts making a block every `block_interval`, empty ones too, until [`Self::stop_mining`] or
    /// the last handle goes. Does nothing without an interval, or when already started.
    ///
    /// # Errors
    /// [`DevChainError::NoRuntime`] outside a Tokio runtime.
    pub fn start_mining(&self) -> Result<(), DevChainError> {
        let Some(interval) = self.shared.interval else {
            return Ok(());
        };
        let runtime =
            Handle::try_current().map_err(|_| DevChainError::NoRuntime("interval mining"))?;
        let mut mining = self
            .shared
            .mining
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if mining.as_ref().is_none_or(AbortHandle::is_finished) {
            *mining = Some(
                runtime
                    .spawn(mine(Arc::downgrade(&self.shared), interval))
                    .abort_handle(),
            );
        }
        Ok(())
    }

    /// Stops what [`Self::start_mining`] started; transactions still get their blocks.
    pub fn stop_mining(&self) {
        let mut mining = self
            .shared
            .mining
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = mining.take() {
            task.abort();
        }
    }
}

impl std::fmt::Debug for DevChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevChain")
            .field("interval", &self.shared.interval)
            .finish_non_exhaustive()
    }
}

/// Makes a block per interval; ends with the chain's last handle or its first failed write.
async fn mine(chain: Weak<Shared>, interval: Duration) {
    let mut timer = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let Some(chain) = chain.upgrade() else { return };
        match tokio::task::spawn_blocking(move || chain.tick()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                return tracing::error!(%error, "the development chain stopped making blocks");
            }
            Err(error) => {
                return tracing::error!(%error, "the development chain stopped making blocks");
            }
        }
    }
}
