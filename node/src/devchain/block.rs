//! Blocks: headers, blocks with one transaction, and compact runs of empty blocks.
//!
//! Every header is a real Ethereum header: its hash is the keccak of its RLP, its `mixHash` is the
//! block's prevrandao. An empty block is fully determined by its parent, the seed and a schedule
//! (`anchor + i * interval`), so a run of them is a few words in memory and its headers are computed
//! again on demand.
//!
//! What it does not do: no state root (the field is zero), no execution, no IO.
//! Invariants: block numbers are contiguous from 0 to the head; `recent` ends at the head.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::OnceLock,
};

use alloy::{
    consensus::{
        Header, TxEnvelope,
        constants::{EMPTY_OMMER_ROOT_HASH, EMPTY_WITHDRAWALS},
        transaction::Recovered,
    },
    eips::{
        eip1559::{BaseFeeParams, calc_next_block_base_fee},
        eip7685::EMPTY_REQUESTS_HASH,
    },
    primitives::{B256, Log, keccak256},
};

/// Most empty blocks in one run; also the most headers computed to answer about one of them.
pub(super) const RUN_BLOCKS_MAX: u32 = 256;
/// Newest block hashes kept ready, as many as the BLOCKHASH opcode can reach.
const RECENT_HASHES: usize = 256;

/// What the next block needs to know about its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub number: u64,
    pub hash: B256,
    /// Seconds since the Unix epoch.
    pub timestamp: u64,
    /// Wei per gas.
    pub base_fee: u64,
    pub gas_used: u64,
    pub gas_limit: u64,
}

impl Head {
    pub fn of(header: &Header, hash: B256) -> Self {
        Self {
            number: header.number,
            hash,
            timestamp: header.timestamp,
            base_fee: header.base_fee_per_gas.unwrap_or_default(),
            gas_used: header.gas_used,
            gas_limit: header.gas_limit,
        }
    }

    /// Base fee of the child block, in wei per gas (EIP-1559).
    pub fn next_base_fee(&self) -> u64 {
        calc_next_block_base_fee(
            self.gas_used,
            self.gas_limit,
            self.base_fee,
            BaseFeeParams::ethereum(),
        )
    }

    /// Header of an empty child; a block with a transaction fills in the rest.
    pub fn child(&self, timestamp: u64, prevrandao: B256) -> Header {
        Header {
            parent_hash: self.hash,
            number: self.number + 1,
            timestamp,
            mix_hash: prevrandao,
            base_fee_per_gas: Some(self.next_base_fee()),
            ..blank_header(self.gas_limit)
        }
    }
}

/// Prevrandao of block `number`: unpredictable without the seed.
pub(super) fn prevrandao(seed: &[u8; 32], number: u64, parent: B256) -> B256 {
    let mut bytes = [0; 72];
    bytes[..32].copy_from_slice(seed);
    bytes[32..40].copy_from_slice(&number.to_be_bytes());
    bytes[40..].copy_from_slice(parent.as_slice());
    keccak256(bytes)
}

/// A header of the Osaka shape with nothing in it.
pub(super) fn blank_header(gas_limit: u64) -> Header {
    Header {
        gas_limit,
        state_root: B256::ZERO,
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        withdrawals_root: Some(EMPTY_WITHDRAWALS),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

/// A block with its one transaction and what came of it.
pub(super) struct TxBlock {
    pub hash: B256,
    pub header: Header,
    pub tx: Recovered<TxEnvelope>,
    pub success: bool,
    pub logs: Vec<Log>,
}

/// Consecutive empty blocks on a fixed schedule.
pub(super) struct EmptyRun {
    /// Parent of the first block.
    pub parent: Head,
    pub seed: [u8; 32],
    /// Chain time of the first block, in milliseconds since the Unix epoch.
    pub anchor_ms: u64,
    /// Time between blocks, in milliseconds; 0: all at once.
    pub interval_ms: u64,
    /// Blocks made so far.
    pub count: u32,
    /// Blocks this run may grow to.
    pub max: u32,
    /// First four bytes of each block hash, computed when a hash is looked up.
    prefixes: OnceLock<Box<[u32]>>,
}

impl EmptyRun {
    pub fn new(parent: Head, seed: [u8; 32], anchor_ms: u64, interval_ms: u64, max: u32) -> Self {
        Self {
            parent,
            seed,
            anchor_ms,
            interval_ms,
            count: 0,
            max,
            prefixes: OnceLock::new(),
        }
    }

    fn first(&self) -> u64 {
        self.parent.number + 1
    }

    /// Chain time at which block `index` of the run is due, in milliseconds.
    pub fn due_ms(&self, index: u32) -> u64 {
        self.anchor_ms
            .saturating_add(self.interval_ms.saturating_mul(index.into()))
    }

    fn timestamp(&self, index: u32) -> u64 {
        self.parent.timestamp.max(self.due_ms(index) / 1000)
    }

    /// Header of block `index`, whose parent is `head`.
    fn header(&self, head: &Head, index: u32) -> Header {
        head.child(
            self.timestamp(index),
            prevrandao(&self.seed, head.number + 1, head.hash),
        )
    }

    /// Headers and hashes from the first block on.
    fn headers(&self) -> impl Iterator<Item = (B256, Header)> + '_ {
        let mut head = self.parent;
        (0..self.count).map(move |index| {
            let header = self.header(&head, index);
            let hash = header.hash_slow();
            head = Head::of(&header, hash);
            (hash, header)
        })
    }

    /// The head at block `index`, given its hash, without computing the hashes before it.
    fn head_at(&self, index: u32, hash: B256) -> Head {
        let mut head = self.parent;
        for _ in 0..=index {
            head = Head {
                number: head.number + 1,
                base_fee: head.next_base_fee(),
                gas_used: 0,
                ..head
            };
        }
        Head {
            hash,
            timestamp: self.timestamp(index),
            ..head
        }
    }

    fn prefixes(&self) -> &[u32] {
        self.prefixes
            .get_or_init(|| self.headers().map(|(hash, _)| prefix(&hash)).collect())
    }
}

fn prefix(hash: &B256) -> u32 {
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// All blocks of the chain.
pub(super) struct Ledger {
    genesis: Header,
    genesis_hash: B256,
    blocks: BTreeMap<u64, TxBlock>,
    /// By number of the first block.
    runs: BTreeMap<u64, EmptyRun>,
    by_hash: HashMap<B256, u64>,
    by_tx: HashMap<B256, u64>,
    recent: VecDeque<B256>,
    head: Head,
}

impl Ledger {
    pub fn new(genesis: Header) -> Self {
        let genesis_hash = genesis.hash_slow();
        let head = Head::of(&genesis, genesis_hash);
        Self {
            genesis,
            genesis_hash,
            blocks: BTreeMap::new(),
            runs: BTreeMap::new(),
            by_hash: HashMap::new(),
            by_tx: HashMap::new(),
            recent: VecDeque::from([genesis_hash]),
            head,
        }
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The block of that number if it holds a transaction.
    pub fn tx_block(&self, number: u64) -> Option<&TxBlock> {
        self.blocks.get(&number)
    }

    /// Blocks with a transaction, by number, ends included.
    pub fn tx_blocks(&self, from: u64, to: u64) -> impl Iterator<Item = &TxBlock> {
        // `range` panics on an inverted range.
        let to = to.max(from);
        self.blocks.range(from..=to).map(|(_, block)| block)
    }

    /// The block that holds a transaction.
    pub fn block_of_tx(&self, tx: &B256) -> Option<&TxBlock> {
        self.by_tx.get(tx).and_then(|n| self.blocks.get(n))
    }

    /// Hash and header of a block; `None` above the head.
    pub fn header_at(&self, number: u64) -> Option<(B256, Header)> {
        if number == 0 {
            return Some((self.genesis_hash, self.genesis.clone()));
        }
        if let Some(block) = self.blocks.get(&number) {
            return Some((block.hash, block.header.clone()));
        }
        let run = self.run_with(number)?;
        let index = u32::try_from(number - run.first()).ok()?;
        if let (Some(parent), Some(hash)) = (self.recent_hash(number - 1), self.recent_hash(number))
        {
            let head = match index.checked_sub(1) {
                None => run.parent,
                Some(before) => run.head_at(before, parent),
            };
            return Some((hash, run.header(&head, index)));
        }
        run.headers().nth(usize::try_from(index).ok()?)
    }

    /// Hash of a block among the newest ones.
    fn recent_hash(&self, number: u64) -> Option<B256> {
        let back = usize::try_from(self.head.number.checked_sub(number)?).ok()?;
        let index = self.recent.len().checked_sub(back + 1)?;
        self.recent.get(index).copied()
    }

    /// Fee facts of the blocks `from..=to` that exist, in order; hashes are left zero in empty blocks.
    pub fn heads(&self, from: u64, to: u64) -> impl Iterator<Item = Head> + '_ {
        (from..=to.min(self.head.number)).filter_map(|number| {
            if let Some(block) = self.blocks.get(&number) {
                return Some(Head::of(&block.header, block.hash));
            }
            match self.run_with(number) {
                Some(run) => {
                    Some(run.head_at(u32::try_from(number - run.first()).ok()?, B256::ZERO))
                }
                None => Some(Head::of(&self.genesis, self.genesis_hash)),
            }
        })
    }

    /// Hash of a block; `None` above the head.
    pub fn hash_at(&self, number: u64) -> Option<B256> {
        self.recent_hash(number)
            .or_else(|| self.header_at(number).map(|(hash, _)| hash))
    }

    /// Number of the block with that hash.
    ///
    /// Empty blocks older than the newest 256 are found through four-byte prefixes, computed once per run.
    pub fn number_of(&self, hash: &B256) -> Option<u64> {
        if *hash == self.genesis_hash {
            return Some(0);
        }
        if let Some(number) = self.by_hash.get(hash) {
            return Some(*number);
        }
        if let Some(back) = self.recent.iter().rev().position(|h| h == hash) {
            return self.head.number.checked_sub(u64::try_from(back).ok()?);
        }
        let want = prefix(hash);
        let growing = self.growing_run().map(EmptyRun::first);
        for (first, run) in self.runs.iter().rev() {
            // A run that still grows lies within `recent`; its prefixes would not last.
            if growing == Some(*first) {
                continue;
            }
            if run.prefixes().contains(&want)
                && let Some(index) = run.headers().position(|(h, _)| h == *hash)
            {
                return Some(first + u64::try_from(index).ok()?);
            }
        }
        None
    }

    /// Appends a block with a transaction; its parent is the head.
    pub fn push(&mut self, block: TxBlock) {
        let number = block.header.number;
        self.head = Head::of(&block.header, block.hash);
        self.by_hash.insert(block.hash, number);
        self.by_tx.insert(*block.tx.tx_hash(), number);
        self.remember(block.hash);
        self.blocks.insert(number, block);
    }

    /// Opens an empty run on the head; it holds no block yet.
    pub fn begin_run(&mut self, run: EmptyRun) {
        self.runs.insert(run.first(), run);
    }

    /// The run whose next block would be the next block of the chain.
    pub fn growing_run(&self) -> Option<&EmptyRun> {
        let (_, run) = self.runs.last_key_value()?;
        (run.parent.number + u64::from(run.count) == self.head.number && run.count < run.max)
            .then_some(run)
    }

    /// Adds one empty block to the growing run; does nothing when there is none.
    pub fn grow(&mut self) {
        let Some(run) = self.growing_run() else {
            return;
        };
        let header = run.header(&self.head, run.count);
        let hash = header.hash_slow();
        self.head = Head::of(&header, hash);
        if let Some(mut run) = self.runs.last_entry() {
            let run = run.get_mut();
            run.count += 1;
            run.prefixes = OnceLock::new();
        }
        self.remember(hash);
    }

    /// Moves the growing run's end to block `number`, whose hash is known, without computing the
    /// headers before it. Returns false when no run can reach that number.
    pub fn grow_to(&mut self, number: u64, hash: B256) -> bool {
        let Some(run) = self.growing_run() else {
            return false;
        };
        if number <= self.head.number || number > run.parent.number + u64::from(run.max) {
            return false;
        }
        let Ok(index) = u32::try_from(number - run.first()) else {
            return false;
        };
        self.head = run.head_at(index, hash);
        if let Some(mut run) = self.runs.last_entry() {
            let run = run.get_mut();
            run.count = index + 1;
            run.prefixes = OnceLock::new();
        }
        self.recent.clear();
        self.remember(hash);
        true
    }

    /// Forgets every block above `number` and returns the hashes of their transactions.
    pub fn rewind(&mut self, number: u64) -> Vec<B256> {
        let Some((hash, header)) = self.header_at(number) else {
            return Vec::new();
        };
        self.head = Head::of(&header, hash);
        let mut dropped = Vec::new();
        for block in self.blocks.split_off(&(number + 1)).into_values() {
            self.by_hash.remove(&block.hash);
            self.by_tx.remove(block.tx.tx_hash());
            dropped.push(*block.tx.tx_hash());
        }
        self.runs.split_off(&(number + 1));
        if let Some(mut last) = self.runs.last_entry() {
            let run = last.get_mut();
            let left = u32::try_from(number - run.parent.number).unwrap_or(u32::MAX);
            if left < run.count {
                run.count = left;
                run.max = left;
                run.prefixes = OnceLock::new();
            }
        }
        self.refill_recent();
        dropped
    }

    /// Computes the newest hashes again, after blocks were skipped or dropped.
    pub fn refill_recent(&mut self) {
        let window = u64::try_from(RECENT_HASHES).unwrap_or(u64::MAX);
        let mut number = (self.head.number + 1).saturating_sub(window);
        let mut recent = VecDeque::with_capacity(RECENT_HASHES);
        while number <= self.head.number {
            if let Some(run) = self.run_with(number) {
                let skip = usize::try_from(number - run.first()).unwrap_or(usize::MAX);
                recent.extend(run.headers().skip(skip).map(|(hash, _)| hash));
                number = run.parent.number + u64::from(run.count) + 1;
            } else {
                let hash = self
                    .blocks
                    .get(&number)
                    .map_or(self.genesis_hash, |b| b.hash);
                recent.push_back(hash);
                number += 1;
            }
        }
        self.recent = recent;
    }

    /// Memory records held: blocks with a transaction and runs. For tests and diagnostics.
    #[cfg(test)]
    pub fn entries(&self) -> (usize, usize) {
        (self.blocks.len(), self.runs.len())
    }

    fn run_with(&self, number: u64) -> Option<&EmptyRun> {
        let (_, run) = self.runs.range(..=number).next_back()?;
        (number <= run.parent.number + u64::from(run.count)).then_some(run)
    }

    fn remember(&mut self, hash: B256) {
        if self.recent.len() == RECENT_HASHES {
            self.recent.pop_front();
        }
        self.recent.push_back(hash);
    }
}
