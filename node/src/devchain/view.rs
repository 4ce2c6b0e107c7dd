//! What the read methods show: blocks, transactions, receipts, logs and fees as JSON.

use alloy::{
    consensus::{
        BlockBody, Eip658Value, Header, Receipt, ReceiptWithBloom, Transaction as _, TxEnvelope,
    },
    eips::{BlockId, BlockNumberOrTag, Typed2718, eip4895::Withdrawals},
    primitives::{B256, U256},
    rlp::Encodable,
    rpc::types::{
        Block, BlockTransactions, FeeHistory, Filter, FilterBlockOption, Header as RpcHeader, Log,
        Transaction, TransactionReceipt,
    },
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    block::TxBlock,
    chain::Core,
    error::{CODE_INTERNAL, RpcError},
    exec::{At, envelope, rpc_logs},
};

/// Most blocks one `eth_getLogs` call may span.
pub const LOG_RANGE_BLOCKS_MAX: u64 = 100_000;
/// Most logs one `eth_getLogs` call returns; more is an error, so that nothing is silently left out.
pub const LOG_RESULTS_MAX: usize = 20_000;
/// Most blocks one `eth_feeHistory` call covers; more are cut, as Geth does.
pub const FEE_HISTORY_BLOCKS_MAX: u64 = 1_024;
/// Priority fee suggested to senders, in wei per gas: there is no competition for block space.
const PRIORITY_FEE: u64 = 1;

/// Serialises an answer.
pub(super) fn answer(value: impl Serialize) -> Result<Value, RpcError> {
    serde_json::to_value(value).map_err(|e| RpcError::new(CODE_INTERNAL, e.to_string()))
}

/// A number as JSON-RPC writes it.
pub(super) fn quantity(value: impl std::fmt::LowerHex) -> Value {
    json!(format!("{value:#x}"))
}

impl Core {
    /// Block number behind a tag; a plain number may be above the head.
    pub(super) fn resolve(&self, tag: BlockNumberOrTag) -> u64 {
        match tag {
            BlockNumberOrTag::Number(number) => number,
            BlockNumberOrTag::Earliest => 0,
            BlockNumberOrTag::Safe | BlockNumberOrTag::Finalized => self.finalized(),
            BlockNumberOrTag::Latest | BlockNumberOrTag::Pending => self.ledger.head().number,
        }
    }

    /// Accepts block ids that mean the head, whose state is the only one kept.
    pub(super) fn state_at(&self, id: Option<BlockId>) -> Result<At, RpcError> {
        let head = self.ledger.head();
        let number = match id {
            None => return Ok(At::Latest),
            Some(BlockId::Number(BlockNumberOrTag::Pending)) => return Ok(At::Pending),
            Some(BlockId::Number(tag)) => self.resolve(tag),
            Some(BlockId::Hash(hash)) => {
                self.ledger.number_of(&hash.block_hash).ok_or_else(|| {
                    RpcError::server(format!("header not found: block {}", hash.block_hash))
                })?
            }
        };
        match number.cmp(&head.number) {
            std::cmp::Ordering::Equal => Ok(At::Latest),
            std::cmp::Ordering::Greater => Err(RpcError::server(format!(
                "header not found: block {number}, the head is {}",
                head.number
            ))),
            std::cmp::Ordering::Less => Err(RpcError::server(format!(
                "missing state of block {number}: the development chain keeps the state of its head only (block {})",
                head.number
            ))),
        }
    }

    /// The header a call runs in.
    pub(super) fn header_for(&self, at: At, now_ms: u64) -> Result<Header, RpcError> {
        let head = self.ledger.head();
        match at {
            At::Latest => self
                .ledger
                .header_at(head.number)
                .map(|(_, header)| header)
                .ok_or_else(|| RpcError::new(CODE_INTERNAL, "the head block is missing")),
            At::Pending => {
                let (timestamp, prevrandao) = self.next_block(now_ms);
                Ok(head.child(timestamp, prevrandao))
            }
        }
    }

    /// A block as JSON, null above the head.
    pub(super) fn block_json(&self, number: u64, full: bool) -> Result<Value, RpcError> {
        let Some((hash, header)) = self.ledger.header_at(number) else {
            return Ok(Value::Null);
        };
        block_json(hash, header, self.ledger.tx_block(number), full)
    }

    /// The block that would come next, as it looks now.
    pub(super) fn pending_json(&self, full: bool, now_ms: u64) -> Result<Value, RpcError> {
        let header = self.header_for(At::Pending, now_ms)?;
        block_json(header.hash_slow(), header, None, full)
    }

    /// Logs that match a filter.
    pub(super) fn logs(&self, filter: &Filter) -> Result<Vec<Log>, RpcError> {
        let (from, to) = match &filter.block_option {
            FilterBlockOption::AtBlockHash(hash) => {
                let number = self
                    .ledger
                    .number_of(hash)
                    .ok_or_else(|| RpcError::server(format!("unknown block {hash}")))?;
                (number, number)
            }
            FilterBlockOption::Range {
                from_block,
                to_block,
            } => {
                let head = self.ledger.head().number;
                let from = self.resolve(from_block.unwrap_or(BlockNumberOrTag::Latest));
                // Without an end the range ends at the head, and is empty when it starts behind it.
                let to = to_block.map_or(head.max(from), |tag| self.resolve(tag));
                if from > to {
                    return Err(RpcError::params(format!(
                        "parameter 0 (filter): block range {from} to {to} is inverted"
                    )));
                }
                (from, to.min(head))
            }
        };
        if from > to {
            return Ok(Vec::new());
        }
        if to - from >= LOG_RANGE_BLOCKS_MAX {
            return Err(RpcError::params(format!(
                "parameter 0 (filter): block range {from} to {to} is too large, ask for at most {LOG_RANGE_BLOCKS_MAX} blocks at once"
            )));
        }
        let mut found = Vec::new();
        for block in self.ledger.tx_blocks(from, to) {
            if !block.logs.is_empty() && filter.matches_bloom(block.header.logs_bloom) {
                found.extend(rpc_logs(block).filter(|log| {
                    filter.matches_address(log.address()) && filter.matches_topics(log.topics())
                }));
            }
            if found.len() > LOG_RESULTS_MAX {
                return Err(RpcError::server(format!(
                    "query returned more than {LOG_RESULTS_MAX} results, ask for fewer blocks at once"
                )));
            }
        }
        Ok(found)
    }

    /// Suggested gas price: the next block's base fee plus the suggested tip, in wei per gas.
    pub(super) fn gas_price(&self) -> u64 {
        self.ledger
            .head()
            .next_base_fee()
            .saturating_add(PRIORITY_FEE)
    }

    /// Suggested tip, in wei per gas.
    pub(super) fn priority_fee(&self) -> u64 {
        PRIORITY_FEE
    }

    /// `eth_feeHistory`; every block holds at most one transaction, so all percentiles are its tip.
    pub(super) fn fee_history(
        &self,
        count: u64,
        newest: u64,
        percentiles: usize,
    ) -> Result<FeeHistory, RpcError> {
        let head = self.ledger.head();
        if newest > head.number {
            return Err(RpcError::server(format!(
                "request beyond head block: requested {newest}, head {}",
                head.number
            )));
        }
        if count == 0 {
            return Ok(FeeHistory::default());
        }
        let first = (newest + 1).saturating_sub(count.min(FEE_HISTORY_BLOCKS_MAX));
        let mut history = FeeHistory {
            oldest_block: first,
            ..FeeHistory::default()
        };
        let mut rewards = Vec::new();
        for head in self.ledger.heads(first, newest) {
            history.base_fee_per_gas.push(head.base_fee.into());
            // The answer's type is a ratio by specification; nothing is computed from it.
            history
                .gas_used_ratio
                .push(head.gas_used as f64 / head.gas_limit as f64);
            history.base_fee_per_blob_gas.push(1);
            history.blob_gas_used_ratio.push(0.0);
            let tip = self
                .ledger
                .tx_block(head.number)
                .and_then(|b| b.tx.effective_tip_per_gas(head.base_fee));
            rewards.push(vec![tip.unwrap_or_default(); percentiles]);
            if head.number == newest {
                history.base_fee_per_gas.push(head.next_base_fee().into());
                history.base_fee_per_blob_gas.push(1);
            }
        }
        history.reward = (percentiles > 0).then_some(rewards);
        Ok(history)
    }
}

fn block_json(
    hash: B256,
    header: Header,
    block: Option<&TxBlock>,
    full: bool,
) -> Result<Value, RpcError> {
    let body = BlockBody::<TxEnvelope> {
        transactions: block.map(|b| b.tx.inner().clone()).into_iter().collect(),
        ommers: Vec::new(),
        withdrawals: Some(Withdrawals::default()),
    };
    let size = alloy::consensus::Block {
        header: header.clone(),
        body,
    }
    .length();
    let transactions = if full {
        BlockTransactions::Full(block.map(transaction).into_iter().collect())
    } else {
        BlockTransactions::Hashes(block.map(|b| *b.tx.tx_hash()).into_iter().collect())
    };
    answer(Block::<Transaction> {
        header: RpcHeader {
            hash,
            inner: header,
            total_difficulty: None,
            size: Some(U256::from(size)),
        },
        uncles: Vec::new(),
        transactions,
        withdrawals: Some(Withdrawals::default()),
    })
}

/// Wei per gas the transaction of a block paid.
fn price_paid(block: &TxBlock) -> u128 {
    block.tx.effective_gas_price(block.header.base_fee_per_gas)
}

/// The transaction of a block as RPC shows it.
pub(super) fn transaction(block: &TxBlock) -> Transaction {
    Transaction {
        inner: block.tx.clone(),
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        transaction_index: Some(0),
        effective_gas_price: Some(price_paid(block)),
        block_timestamp: Some(block.header.timestamp),
    }
}

/// The receipt of a block's transaction.
pub(super) fn receipt(block: &TxBlock) -> Result<TransactionReceipt, RpcError> {
    let signer = block.tx.signer();
    let inner = envelope(
        block.tx.ty(),
        ReceiptWithBloom {
            receipt: Receipt {
                status: Eip658Value::Eip658(block.success),
                cumulative_gas_used: block.header.gas_used,
                logs: rpc_logs(block).collect(),
            },
            logs_bloom: block.header.logs_bloom,
        },
    )?;
    Ok(TransactionReceipt {
        inner,
        transaction_hash: *block.tx.tx_hash(),
        transaction_index: Some(0),
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        gas_used: block.header.gas_used,
        effective_gas_price: price_paid(block),
        blob_gas_used: None,
        blob_gas_price: None,
        from: signer,
        to: block.tx.to(),
        contract_address: block
            .tx
            .to()
            .is_none()
            .then(|| signer.create(block.tx.nonce())),
    })
}
