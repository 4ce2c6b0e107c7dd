//! The chain model: the protocol's pure ledger, a block every `block_ms`, a delay for transactions, finality after some blocks.
//!
//! It does not model gas, reorganisations or a chain that stops. A call that the contracts would revert changes nothing and is counted.

use std::collections::BTreeMap;

use assay_protocol::{
    amount::Amount,
    core::ChainCall,
    crypto::{BINDING_DOMAIN, EvmKey, NodeKeypair, binding_message},
    id::{Account, Hash, TaskId},
    message::BlockNews,
    network::NetworkProfile,
    settlement::{Ledger, LedgerError},
};

/// Chain time at simulated time 0, seconds.
const GENESIS_SECS: u64 = 1_700_000_000;

/// The chain.
pub struct Chain {
    /// The contracts' twin.
    pub ledger: Ledger,
    profile: NetworkProfile,
    blocks: Vec<BlockNews>,
    waiting: Vec<(Account, ChainCall)>,
    finality_blocks: usize,
    supply: Option<Amount>,
    /// What the supply became when it changed, if ever: (block, before, after).
    pub supply_broken: Option<(u64, Amount, Amount)>,
    /// Calls that took effect, by name.
    pub done: BTreeMap<&'static str, u64>,
    /// Calls that reverted, by name and reason.
    pub reverted: BTreeMap<String, u64>,
    /// Simulated time at which each task was funded, milliseconds.
    pub funded_ms: BTreeMap<TaskId, u64>,
}

impl Chain {
    /// An empty chain.
    pub fn new(profile: NetworkProfile, seed: Hash, finality_blocks: usize) -> Self {
        Self {
            ledger: Ledger::new(profile.clone(), seed),
            profile,
            blocks: Vec::new(),
            waiting: Vec::new(),
            finality_blocks,
            supply: None,
            supply_broken: None,
            done: BTreeMap::new(),
            reverted: BTreeMap::new(),
            funded_ms: BTreeMap::new(),
        }
    }

    /// Gives an account tokens and registers its node.
    ///
    /// # Errors
    /// The ledger's refusal.
    pub fn register(
        &mut self,
        node: &NodeKeypair,
        evm: &EvmKey,
        role: u8,
        stake: Amount,
        tokens: Amount,
    ) -> Result<(), LedgerError> {
        let account = evm.account();
        self.ledger.mint(account, tokens);
        self.ledger.mint(account, stake);
        let registry = self.profile.contracts.registry;
        let message = binding_message(self.profile.chain_id, registry, account, 0, node.public());
        let binding = node.sign(BINDING_DOMAIN, &message);
        self.ledger.register(
            account,
            node.public(),
            Hash::ZERO,
            account,
            role,
            stake,
            binding,
        )
    }

    /// A transaction reached the mempool.
    pub fn enter(&mut self, from: Account, call: ChainCall) {
        self.waiting.push((from, call));
    }

    /// Closes a block at `now_ms`, with every waiting call in the order of arrival.
    pub fn mine(&mut self, now_ms: u64) {
        let before = *self.supply.get_or_insert_with(|| self.ledger.supply());
        for (from, call) in std::mem::take(&mut self.waiting) {
            let (name, result) = (call.name(), call.play(&mut self.ledger, from));
            if let (ChainCall::Fund { task, .. }, Ok(())) = (&call, &result) {
                self.funded_ms.insert(*task, now_ms);
            }
            match result {
                Ok(()) => *self.done.entry(name).or_default() += 1,
                Err(error) => *self.reverted.entry(format!("{name}: {error}")).or_default() += 1,
            }
        }
        self.blocks
            .push(self.ledger.mine(GENESIS_SECS + now_ms / 1_000));
        let after = self.ledger.supply();
        if after != before && self.supply_broken.is_none() {
            self.supply_broken = Some((self.blocks.len() as u64, before, after));
        }
    }

    /// Blocks that nodes may act on.
    pub fn final_blocks(&self) -> &[BlockNews] {
        &self.blocks[..self.blocks.len().saturating_sub(self.finality_blocks)]
    }

    /// Place of the first final block with at least this number.
    pub fn place_of(&self, number: u64) -> usize {
        self.blocks.partition_point(|b| b.block.number < number)
    }
}
