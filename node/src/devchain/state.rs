//! The world state at the head: accounts, storage and code, with an undo entry per change.
//!
//! What it does not do: no Merkle root, no history other than undo (so calls run at the head only).
//! Invariant: undo entries are ordered by height, and popping entry *i* restores exactly the state
//! before it was applied. Zero storage values and empty accounts are never stored.

use std::collections::HashMap;

use alloy::{
    consensus::constants::KECCAK_EMPTY,
    primitives::{Address, B256, U256},
};
use revm::{
    DatabaseRef,
    bytecode::Bytecode,
    database_interface::DBErrorMarker,
    state::{AccountInfo, EvmState},
};

use super::block::Ledger;

/// Nonce, balance and code of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub nonce: u64,
    pub balance: U256,
    pub code_hash: B256,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            nonce: 0,
            balance: U256::ZERO,
            code_hash: KECCAK_EMPTY,
        }
    }
}

impl Account {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Previous values of everything one change touched.
struct Undo {
    height: u64,
    accounts: Vec<(Address, Option<Account>)>,
    slots: Vec<(Address, U256, U256)>,
}

/// All state at the head block.
#[derive(Default)]
pub(super) struct World {
    accounts: HashMap<Address, Account>,
    storage: HashMap<(Address, U256), U256>,
    code: HashMap<B256, Bytecode>,
    undo: Vec<Undo>,
}

impl World {
    /// The state before the first block: balances only.
    pub fn genesis(balances: &[(Address, U256)]) -> Self {
        let mut world = Self::default();
        for &(address, balance) in balances {
            if !balance.is_zero() {
                world.accounts.insert(
                    address,
                    Account {
                        balance,
                        ..Account::default()
                    },
                );
            }
        }
        world
    }

    /// The account, or an empty one.
    pub fn account(&self, address: Address) -> Account {
        self.accounts.get(&address).copied().unwrap_or_default()
    }

    /// A storage word, zero when never written.
    pub fn slot(&self, address: Address, slot: U256) -> U256 {
        self.storage
            .get(&(address, slot))
            .copied()
            .unwrap_or_default()
    }

    /// The code of an account; empty when it has none.
    pub fn code(&self, address: Address) -> Bytecode {
        self.code
            .get(&self.account(address).code_hash)
            .cloned()
            .unwrap_or_default()
    }

    /// Number of undo entries; a mark to rewind to.
    pub fn undo_len(&self) -> usize {
        self.undo.len()
    }

    /// Number of undo entries that belong to blocks up to and including `height`.
    pub fn undo_len_at(&self, height: u64) -> usize {
        self.undo.partition_point(|u| u.height <= height)
    }

    /// Commits what one transaction of block `height` changed.
    pub fn apply(&mut self, height: u64, changes: EvmState) {
        let mut undo = Undo {
            height,
            accounts: Vec::new(),
            slots: Vec::new(),
        };
        for (address, change) in changes {
            if !change.is_touched() {
                continue;
            }
            let info = &change.info;
            let after = Account {
                nonce: info.nonce,
                balance: info.balance,
                code_hash: info.code_hash,
            };
            // EIP-161 removes touched empty accounts. EIP-6780 lets SELFDESTRUCT remove only accounts
            // of the same transaction, which therefore have no earlier storage to clear.
            let removed = change.is_selfdestructed() || after.is_empty();
            let before = if removed {
                self.accounts.remove(&address)
            } else {
                self.accounts.insert(address, after)
            };
            undo.accounts.push((address, before));
            if removed {
                continue;
            }
            if let Some(code) = info.code.as_ref().filter(|c| !c.is_empty()) {
                self.code
                    .entry(info.code_hash)
                    .or_insert_with(|| code.clone());
            }
            for (slot, value) in change.storage.iter().filter(|(_, v)| v.is_changed()) {
                let before = self.put_slot(address, *slot, value.present_value());
                undo.slots.push((address, *slot, before));
            }
        }
        self.undo.push(undo);
    }

    /// Sets a balance between two blocks; `height` is the head at that moment.
    pub fn set_balance(&mut self, height: u64, address: Address, balance: U256) {
        let before = self.accounts.get(&address).copied();
        self.put_account(
            address,
            Some(Account {
                balance,
                ..before.unwrap_or_default()
            }),
        );
        self.undo.push(Undo {
            height,
            accounts: vec![(address, before)],
            slots: Vec::new(),
        });
    }

    /// Takes changes back until `len` undo entries are left.
    pub fn rewind(&mut self, len: usize) {
        while self.undo.len() > len {
            let Some(undo) = self.undo.pop() else { return };
            for (address, slot, value) in undo.slots.into_iter().rev() {
                self.put_slot(address, slot, value);
            }
            for (address, account) in undo.accounts.into_iter().rev() {
                self.put_account(address, account);
            }
        }
    }

    fn put_account(&mut self, address: Address, account: Option<Account>) {
        match account.filter(|a| !a.is_empty()) {
            Some(account) => self.accounts.insert(address, account),
            None => self.accounts.remove(&address),
        };
    }

    /// Writes a word and returns the one before.
    fn put_slot(&mut self, address: Address, slot: U256, value: U256) -> U256 {
        let before = if value.is_zero() {
            self.storage.remove(&(address, slot))
        } else {
            self.storage.insert((address, slot), value)
        };
        before.unwrap_or_default()
    }
}

/// An account names code the chain does not hold; a defect, never caused by a caller.
#[derive(Debug, thiserror::Error)]
#[error("code {0} is missing from the state")]
pub(super) struct MissingCode(B256);

impl DBErrorMarker for MissingCode {}

/// What the EVM sees: the state plus the block hashes.
pub(super) struct View<'a> {
    pub world: &'a World,
    pub ledger: &'a Ledger,
    /// Code that stands in the place of accounts' own.
    pub codes: &'a Codes,
}

/// Code by account.
pub(super) type Codes = HashMap<Address, Bytecode>;

impl DatabaseRef for View<'_> {
    type Error = MissingCode;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, MissingCode> {
        if let Some(code) = self.codes.get(&address) {
            let account = self.world.account(address);
            return Ok(Some(AccountInfo {
                nonce: account.nonce,
                balance: account.balance,
                code_hash: code.hash_slow(),
                code: Some(code.clone()),
                ..Default::default()
            }));
        }
        Ok(self.world.accounts.get(&address).map(|a| AccountInfo {
            nonce: a.nonce,
            balance: a.balance,
            code_hash: a.code_hash,
            code: None,
            ..Default::default()
        }))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, MissingCode> {
        if hash == KECCAK_EMPTY || hash.is_zero() {
            return Ok(Bytecode::default());
        }
        self.world.code.get(&hash).cloned().ok_or(MissingCode(hash))
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, MissingCode> {
        Ok(self.world.slot(address, slot))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, MissingCode> {
        // The EVM itself limits BLOCKHASH to the last 256 blocks.
        Ok(self.ledger.hash_at(number).unwrap_or_default())
    }
}
