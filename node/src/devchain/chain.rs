//! The chain's brain: what a submitted transaction, a tick or a development command does, and how
//! the journal is executed again.
//!
//! ```text
//! live:    change -> execute (nothing committed) -> journal (+ fsync) -> commit to memory -> visible
//! reopen:  journal -> execute -> compare the block hash -> commit to memory
//! ```
//! Invariants: nothing is visible before its record is written; after a failed write the handle
//! accepts no further change. Time is an argument (milliseconds since the Unix epoch).

use std::{path::Path, time::Duration};

use alloy::{
    consensus::{Transaction as _, TxEnvelope, transaction::Recovered},
    eips::{Decodable2718, Encodable2718},
    primitives::{Address, B256, U256, keccak256},
};

use super::{
    DevChainConfig, GAS_LIMIT, INITIAL_BASE_FEE,
    block::{EmptyRun, Head, Ledger, RUN_BLOCKS_MAX, blank_header, prevrandao},
    error::{DevChainError, RpcError},
    exec::{Executor, nonce_too_high, nonce_too_low},
    journal::Journal,
    record::{Change, FORMAT_VERSION, Genesis, Malformed, Mark},
    state::World,
};

/// Most blocks `dev_mine` makes at once.
pub const MINE_BLOCKS_MAX: u64 = 100_000;
/// Most blocks `dev_reorg` replaces at once.
pub const REORG_DEPTH_MAX: u64 = 1_024;
/// Most snapshots kept; the oldest is forgotten first.
pub const SNAPSHOTS_MAX: usize = 1_024;
/// Furthest the clock may be moved ahead, in seconds (100 years).
pub const CLOCK_OFFSET_SECONDS_MAX: u64 = 100 * 366 * 86_400;
/// How far a tick may stray from a run's schedule before a new run is begun, in milliseconds.
const SCHEDULE_SLACK_MS: u64 = 1_000;

struct Snapshot {
    id: u64,
    number: u64,
    undo_len: usize,
    offset_seconds: u64,
}

/// What `dev_reorg` did.
pub(super) struct Reorg {
    /// Transactions that are no longer part of the chain.
    pub dropped: Vec<B256>,
}

/// All of the chain behind one lock.
pub(super) struct Core {
    chain_id: u64,
    finality_depth: u64,
    interval_ms: Option<u64>,
    seed: [u8; 32],
    pub world: World,
    pub ledger: Ledger,
    journal: Option<Journal>,
    offset_seconds: u64,
    /// Whether the newest run may still grow.
    run_open: bool,
    snapshots: Vec<Snapshot>,
    next_snapshot: u64,
    failed: Option<String>,
}

fn millis(interval: Duration) -> u64 {
    u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)
}

impl Core {
    /// Opens the chain and replays its journal; `now_ms` is the system's clock.
    pub fn open(cfg: &DevChainConfig, now_ms: u64) -> Result<Self, DevChainError> {
        let genesis = Genesis {
            chain_id: cfg.chain_id,
            gas_limit: GAS_LIMIT,
            base_fee: INITIAL_BASE_FEE,
            timestamp: now_ms / 1000,
            balances: cfg.genesis.clone(),
        };
        let Some(dir) = &cfg.dir else {
            return Ok(Self::start(cfg, &genesis));
        };
        let mut core = None;
        let journal = Journal::open(
            dir,
            cfg.fsync,
            || genesis.encode(),
            |path, offset, payload| match &mut core {
                None => {
                    core = Some(Self::start(cfg, &read_header(cfg, path, offset, payload)?));
                    Ok(())
                }
                Some(core) => {
                    let replay = |detail: String| DevChainError::Replay {
                        path: path.to_owned(),
                        offset,
                        detail,
                    };
                    let (at, change) =
                        Change::decode(payload).map_err(|e| replay(format!("{e:?}")))?;
                    core.replay(at, change).map_err(replay)
                }
            },
        )?;
        let mut core = core.ok_or_else(|| DevChainError::Corrupt {
            path: dir.join(super::journal::FILE_NAME),
            offset: 0,
            detail: "the header record is missing".to_owned(),
        })?;
        core.journal = Some(journal);
        core.finish_open_run(now_ms);
        core.ledger.refill_recent();
        Ok(core)
    }

    fn start(cfg: &DevChainConfig, genesis: &Genesis) -> Self {
        let mut header = blank_header(genesis.gas_limit);
        header.timestamp = genesis.timestamp;
        header.base_fee_per_gas = Some(genesis.base_fee);
        Self {
            chain_id: genesis.chain_id,
            finality_depth: cfg.finality_depth,
            interval_ms: cfg.block_interval.map(millis),
            seed: cfg.seed,
            world: World::genesis(&genesis.balances),
            ledger: Ledger::new(header),
            journal: None,
            offset_seconds: 0,
            run_open: false,
            snapshots: Vec::new(),
            next_snapshot: 1,
            failed: None,
        }
    }

    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Number of the newest block that a reorganisation cannot replace.
    pub fn finalized(&self) -> u64 {
        self.ledger
            .head()
            .number
            .saturating_sub(self.finality_depth)
    }

    /// The chain's clock: the system's plus what `dev_increaseTime` added, in milliseconds.
    pub fn chain_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add(self.offset_seconds.saturating_mul(1000))
    }

    /// Length of the journal in bytes, 0 without one.
    #[cfg(test)]
    pub fn journal_len(&self) -> u64 {
        self.journal.as_ref().map_or(0, Journal::len)
    }

    /// Lets every later journal write fail.
    #[cfg(test)]
    pub fn break_journal(&mut self) {
        self.journal
            .as_mut()
            .expect("a chain with a journal")
            .break_writes();
    }

    /// Timestamp and prevrandao the next block would have now.
    pub fn next_block(&self, now_ms: u64) -> (u64, B256) {
        let head = self.ledger.head();
        let timestamp = head.timestamp.max(self.chain_ms(now_ms) / 1000);
        (
            timestamp,
            prevrandao(&self.seed, head.number + 1, head.hash),
        )
    }

    pub fn executor(&self) -> Executor<'_> {
        Executor {
            chain_id: self.chain_id,
            world: &self.world,
            ledger: &self.ledger,
            codes: None,
        }
    }

    // ---- changes -------------------------------------------------------------------------

    /// Executes a transaction in its own block and makes it durable; returns its hash.
    pub fn submit(&mut self, tx: Recovered<TxEnvelope>, now_ms: u64) -> Result<B256, RpcError> {
        self.healthy()?;
        let hash = *tx.tx_hash();
        if self.ledger.block_of_tx(&hash).is_some() {
            return Err(RpcError::server("already known"));
        }
        let expected = self.world.account(tx.signer()).nonce;
        if tx.nonce() < expected {
            return Err(RpcError::server(nonce_too_low(
                tx.signer(),
                tx.nonce(),
                expected,
            )));
        }
        if tx.nonce() > expected {
            return Err(RpcError::server(nonce_too_high(
                tx.signer(),
                tx.nonce(),
                expected,
            )));
        }
        let (timestamp, prevrandao) = self.next_block(now_ms);
        let header = self.ledger.head().child(timestamp, prevrandao);
        let (block, changes) = self.executor().execute(header, tx)?;
        self.write(&Change::Block {
            timestamp,
            prevrandao,
            hash: block.hash,
            signer: block.tx.signer(),
            raw: block.tx.inner().encoded_2718(),
        })?;
        self.world.apply(block.header.number, changes);
        self.ledger.push(block);
        Ok(hash)
    }

    /// One tick of interval mining: an empty block, normally without touching the journal.
    pub fn tick(&mut self, now_ms: u64) -> Result<(), DevChainError> {
        let interval_ms = self.interval_ms.unwrap_or_default();
        let chain_ms = self.chain_ms(now_ms);
        let slack = SCHEDULE_SLACK_MS.max(interval_ms.saturating_mul(2));
        let on_schedule = self.run_open
            && self.ledger.growing_run().is_some_and(|run| {
                run.interval_ms == interval_ms && run.due_ms(run.count).abs_diff(chain_ms) <= slack
            });
        if !on_schedule {
            self.begin_run(chain_ms, interval_ms, RUN_BLOCKS_MAX)?;
        }
        self.healthy()?;
        self.ledger.grow();
        Ok(())
    }

    /// Makes `count` empty blocks at once.
    pub fn mine(&mut self, count: u64, now_ms: u64) -> Result<(), DevChainError> {
        let mut left = count;
        while left > 0 {
            let size = u32::try_from(left.min(RUN_BLOCKS_MAX.into())).unwrap_or(RUN_BLOCKS_MAX);
            self.begin_run(self.chain_ms(now_ms), 0, size)?;
            for _ in 0..size {
                self.ledger.grow();
            }
            left -= u64::from(size);
        }
        Ok(())
    }

    /// Sets a balance between two blocks.
    pub fn set_balance(&mut self, address: Address, wei: U256) -> Result<(), DevChainError> {
        self.write(&Change::Balance { address, wei })?;
        self.world
            .set_balance(self.ledger.head().number, address, wei);
        Ok(())
    }

    /// Moves the clock ahead and returns how far it is ahead now, in seconds.
    pub fn increase_time(&mut self, seconds: u64) -> Result<u64, RpcError> {
        let offset_seconds = self.offset_seconds.saturating_add(seconds);
        if offset_seconds > CLOCK_OFFSET_SECONDS_MAX {
            return Err(RpcError::params(format!(
                "parameter 0 (seconds): the clock may be at most {CLOCK_OFFSET_SECONDS_MAX} s ahead"
            )));
        }
        self.write(&Change::Clock { offset_seconds })?;
        self.set_clock(offset_seconds);
        Ok(offset_seconds)
    }

    /// Remembers the present state, in memory only; returns its id.
    pub fn snapshot(&mut self) -> u64 {
        if self.snapshots.len() == SNAPSHOTS_MAX {
            self.snapshots.remove(0);
        }
        let id = self.next_snapshot;
        self.next_snapshot += 1;
        self.snapshots.push(Snapshot {
            id,
            number: self.ledger.head().number,
            undo_len: self.world.undo_len(),
            offset_seconds: self.offset_seconds,
        });
        id
    }

    /// Goes back to a snapshot, which is used up together with all later ones; false when unknown.
    pub fn revert(&mut self, id: u64) -> Result<bool, DevChainError> {
        let Some(index) = self.snapshots.iter().position(|s| s.id == id) else {
            return Ok(false);
        };
        let Snapshot {
            number,
            undo_len,
            offset_seconds,
            ..
        } = self.snapshots[index];
        self.write(&Change::Rewind {
            number,
            undo_len: undo_len as u64,
            offset_seconds,
        })?;
        self.rewind(number, undo_len, offset_seconds);
        self.snapshots.truncate(index);
        Ok(true)
    }

    /// Replaces the newest `depth` blocks by as many empty ones with other hashes.
    pub fn reorg(&mut self, depth: u64, now_ms: u64) -> Result<Reorg, RpcError> {
        let head = *self.ledger.head();
        if depth == 0 || depth > REORG_DEPTH_MAX || depth > head.number {
            let most = REORG_DEPTH_MAX.min(head.number);
            return Err(RpcError::params(format!(
                "parameter 0 (depth): {depth} is not within 1 to {most}"
            )));
        }
        if depth > self.finality_depth {
            return Err(RpcError::server(format!(
                "block {} is final (finality depth {}); open the chain with a finality depth of at least {depth} to reorganise it",
                self.finalized(),
                self.finality_depth
            )));
        }
        let number = head.number - depth;
        let undo_len = self.world.undo_len_at(number);
        let offset_seconds = self.offset_seconds;
        self.write(&Change::Rewind {
            number,
            undo_len: undo_len as u64,
            offset_seconds,
        })?;
        let dropped = self.rewind(number, undo_len, offset_seconds);
        // Another seed, or the new empty blocks could equal the old ones.
        self.seed = keccak256([self.seed.as_slice(), head.hash.as_slice()].concat()).0;
        self.mine(depth, now_ms)?;
        Ok(Reorg { dropped })
    }

    // ---- shared by live changes and replay -------------------------------------------------

    fn begin_run(
        &mut self,
        anchor_ms: u64,
        interval_ms: u64,
        max: u32,
    ) -> Result<(), DevChainError> {
        let seed = self.seed;
        self.write(&Change::Run {
            seed,
            anchor_ms,
            interval_ms,
            max,
        })?;
        self.open_run(EmptyRun::new(
            *self.ledger.head(),
            seed,
            anchor_ms,
            interval_ms,
            max,
        ));
        Ok(())
    }

    fn open_run(&mut self, run: EmptyRun) {
        self.ledger.begin_run(run);
        self.run_open = true;
    }

    fn set_clock(&mut self, offset_seconds: u64) {
        self.offset_seconds = offset_seconds;
        self.run_open = false;
    }

    fn rewind(&mut self, number: u64, undo_len: usize, offset_seconds: u64) -> Vec<B256> {
        self.world.rewind(undo_len);
        let dropped = self.ledger.rewind(number);
        self.set_clock(offset_seconds);
        self.snapshots
            .retain(|s| s.number <= number && s.undo_len <= undo_len);
        dropped
    }

    fn healthy(&self) -> Result<(), DevChainError> {
        match &self.failed {
            Some(reason) => Err(DevChainError::Failed(reason.clone())),
            None => Ok(()),
        }
    }

    /// Makes a change durable, before it is applied.
    fn write(&mut self, change: &Change) -> Result<(), DevChainError> {
        self.healthy()?;
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        let Head { number, hash, .. } = *self.ledger.head();
        journal
            .append(&change.encode(&Mark { number, hash }))
            .inspect_err(|e| self.failed = Some(e.to_string()))
    }

    // ---- replay ----------------------------------------------------------------------------

    /// Applies a journaled change; the error says what differs from the record.
    fn replay(&mut self, at: Mark, change: Change) -> Result<(), String> {
        let head = *self.ledger.head();
        if (at.number, at.hash) != (head.number, head.hash)
            && !self.ledger.grow_to(at.number, at.hash)
        {
            return Err(format!(
                "the record continues block {} ({}), the chain is at block {} ({})",
                at.number, at.hash, head.number, head.hash
            ));
        }
        match change {
            Change::Block {
                timestamp,
                prevrandao,
                hash,
                signer,
                raw,
            } => {
                let tx =
                    TxEnvelope::decode_2718_exact(&raw).map_err(|e| format!("transaction: {e}"))?;
                let header = self.ledger.head().child(timestamp, prevrandao);
                let tx = Recovered::new_unchecked(tx, signer);
                let (block, changes) =
                    self.executor().execute(header, tx).map_err(|e| e.message)?;
                if block.hash != hash {
                    return Err(format!(
                        "block {} gives hash {}, recorded is {hash}",
                        block.header.number, block.hash
                    ));
                }
                self.world.apply(block.header.number, changes);
                self.ledger.push(block);
            }
            Change::Run {
                seed,
                anchor_ms,
                interval_ms,
                max,
            } => {
                if max == 0 || max > RUN_BLOCKS_MAX {
                    return Err(format!("a run of {max} blocks"));
                }
                self.open_run(EmptyRun::new(
                    *self.ledger.head(),
                    seed,
                    anchor_ms,
                    interval_ms,
                    max,
                ));
            }
            Change::Balance { address, wei } => self.world.set_balance(at.number, address, wei),
            Change::Clock { offset_seconds } => self.set_clock(offset_seconds),
            Change::Rewind {
                number,
                undo_len,
                offset_seconds,
            } => {
                let undo_len = usize::try_from(undo_len).map_err(|e| e.to_string())?;
                if number > at.number || undo_len > self.world.undo_len() {
                    return Err(format!(
                        "a rewind to block {number} from block {}",
                        at.number
                    ));
                }
                self.rewind(number, undo_len, offset_seconds);
            }
            Change::Seal => self.run_open = false,
        }
        Ok(())
    }

    /// Makes the blocks of a run that a crash cut off: every one that was due by now may have been
    /// shown, and comes back with the same hash.
    fn finish_open_run(&mut self, now_ms: u64) {
        if !self.run_open {
            return;
        }
        let chain_ms = self.chain_ms(now_ms);
        while let Some(run) = self.ledger.growing_run() {
            // The first block of a run was shown as soon as its record was written.
            if run.count > 0 && run.interval_ms > 0 && run.due_ms(run.count) > chain_ms {
                return;
            }
            self.ledger.grow();
        }
    }
}

impl Drop for Core {
    /// Notes where an unfinished run ended, so that reopening gives exactly the same head.
    fn drop(&mut self) {
        if self.run_open
            && self.ledger.growing_run().is_some()
            && let Err(error) = self.write(&Change::Seal)
        {
            tracing::warn!(%error, "the development chain's last empty blocks were not sealed");
        }
    }
}

/// Reads the journal's header and compares it with the configuration.
fn read_header(
    cfg: &DevChainConfig,
    path: &Path,
    offset: u64,
    payload: &[u8],
) -> Result<Genesis, DevChainError> {
    let path = path.to_owned();
    let genesis = match Genesis::decode(payload) {
        Ok(genesis) => genesis,
        Err(Malformed::Newer(found)) => {
            return Err(DevChainError::NewerFormat {
                path,
                found,
                supported: FORMAT_VERSION,
            });
        }
        Err(Malformed::NotAJournal) => {
            return Err(DevChainError::Corrupt {
                path,
                offset,
                detail: "not a chain journal".to_owned(),
            });
        }
        Err(Malformed::Detail(detail)) => {
            return Err(DevChainError::Corrupt {
                path,
                offset,
                detail: detail.to_owned(),
            });
        }
    };
    if genesis.chain_id != cfg.chain_id {
        return Err(DevChainError::OtherChain {
            path,
            found: genesis.chain_id,
            expected: cfg.chain_id,
        });
    }
    if !cfg.genesis.is_empty() && genesis.balances != cfg.genesis {
        return Err(DevChainError::OtherGenesis { path });
    }
    Ok(genesis)
}
