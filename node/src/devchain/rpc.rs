//! The JSON-RPC methods. Reads share the chain, changes have it alone. No input panics: parameters
//! are read through [`Params`], and everything else is already typed.

use alloy::{
    consensus::{Transaction as _, TxEnvelope, transaction::SignerRecoverable},
    eips::{BlockId, BlockNumberOrTag, Decodable2718},
    primitives::{Address, B256, Bytes, U256},
    rpc::types::{
        TransactionRequest,
        state::{AccountOverride, StateOverride},
    },
};
use revm::bytecode::Bytecode;
use serde_json::{Value, json};

use super::{
    MINE_BLOCKS_MAX, Shared,
    chain::Core,
    error::{CODE_METHOD, CODE_PARSE, CODE_REQUEST, RpcError},
    exec::{At, Executor},
    params::{Params, TX_BYTES_MAX},
    state::Codes,
    system_ms,
    view::{answer, quantity, receipt, transaction},
};

/// `web3_clientVersion`; says what this chain is.
const CLIENT_VERSION: &str = concat!(
    "assay-devchain/",
    env!("CARGO_PKG_VERSION"),
    " (development chain, no value)"
);
/// Most percentiles in one `eth_feeHistory` call (Geth's limit).
const FEE_PERCENTILES_MAX: usize = 100;

/// Answers one call.
pub(super) fn dispatch(chain: &Shared, method: &str, params: &Value) -> Result<Value, RpcError> {
    let now_ms = system_ms();
    match method {
        "eth_sendRawTransaction" => send(chain, Params::new(method, params, 1)?, now_ms),
        "dev_setBalance" => {
            let p = Params::new(method, params, 2)?;
            let (address, wei) = (p.required::<Address>(0, "address")?, p.word(1, "wei")?);
            chain.write(|c| Ok(c.set_balance(address, wei)?))?;
            Ok(json!(true))
        }
        "dev_mine" => {
            let p = Params::new(method, params, 1)?;
            let count = if p.has(0) { p.count(0, "blocks")? } else { 1 };
            if count > MINE_BLOCKS_MAX {
                return Err(p.bad(0, "blocks", &format!("at most {MINE_BLOCKS_MAX} at once")));
            }
            chain.write(|c| {
                c.mine(count, now_ms)?;
                Ok(quantity(c.ledger.head().number))
            })
        }
        "dev_increaseTime" => {
            let seconds = Params::new(method, params, 1)?.count(0, "seconds")?;
            chain.write(|c| c.increase_time(seconds)).map(quantity)
        }
        "dev_snapshot" => {
            Params::new(method, params, 0)?;
            chain.write(|c| Ok(c.snapshot())).map(quantity)
        }
        "dev_revert" => {
            let id = Params::new(method, params, 1)?.count(0, "snapshot")?;
            chain.write(|c| Ok(c.revert(id)?)).map(|known| json!(known))
        }
        "dev_reorg" => {
            let depth = Params::new(method, params, 1)?.count(0, "depth")?;
            chain.write(|c| {
                let reorg = c.reorg(depth, now_ms)?;
                let head = c.ledger.head();
                Ok(json!({"number": quantity(head.number), "hash": head.hash, "dropped": reorg.dropped}))
            })
        }
        _ => chain.read(|c| read(c, method, params, now_ms)),
    }
}

/// Decoding and signature recovery happen before the chain is locked.
fn send(chain: &Shared, p: Params<'_>, now_ms: u64) -> Result<Value, RpcError> {
    let raw: Bytes = p.required(0, "transaction")?;
    if raw.len() > TX_BYTES_MAX {
        return Err(RpcError::server(format!(
            "oversized data: transaction size {}, limit {TX_BYTES_MAX}",
            raw.len()
        )));
    }
    let tx =
        TxEnvelope::decode_2718_exact(&raw).map_err(|e| p.bad(0, "transaction", &e.to_string()))?;
    if tx.is_eip4844() {
        return Err(RpcError::server(
            "blob transactions are not supported by the development chain",
        ));
    }
    if tx.chain_id().is_none() {
        return Err(RpcError::server(
            "only replay-protected (EIP-155) transactions allowed over RPC",
        ));
    }
    let tx = tx
        .try_into_recovered()
        .map_err(|e| RpcError::server(format!("invalid sender: {e}")))?;
    chain.write(|c| c.submit(tx, now_ms)).and_then(answer)
}

fn read(c: &Core, method: &str, params: &Value, now_ms: u64) -> Result<Value, RpcError> {
    let p = |most| Params::new(method, params, most);
    match method {
        "web3_clientVersion" => p(0).map(|_| json!(CLIENT_VERSION)),
        "net_version" => p(0).map(|_| json!(c.chain_id().to_string())),
        "eth_chainId" => p(0).map(|_| quantity(c.chain_id())),
        "eth_syncing" => p(0).map(|_| json!(false)),
        "eth_accounts" => p(0).map(|_| json!([])),
        "eth_blockNumber" => p(0).map(|_| quantity(c.ledger.head().number)),
        "eth_gasPrice" => p(0).map(|_| quantity(c.gas_price())),
        "eth_maxPriorityFeePerGas" => p(0).map(|_| quantity(c.priority_fee())),
        "eth_feeHistory" => fee_history(c, p(3)?),
        "eth_getBalance" => account(c, p(2)?).map(|a| quantity(c.world.account(a).balance)),
        "eth_getTransactionCount" => account(c, p(2)?).map(|a| quantity(c.world.account(a).nonce)),
        "eth_getCode" => account(c, p(2)?).and_then(|a| answer(c.world.code(a).original_bytes())),
        "eth_getStorageAt" => {
            let p = p(3)?;
            let (address, slot): (Address, U256) = (p.required(0, "address")?, p.word(1, "slot")?);
            c.state_at(p.optional(2, "block")?)?;
            answer(B256::from(c.world.slot(address, slot)))
        }
        "eth_call" => {
            let p = p(3)?;
            let request: TransactionRequest = p.required(0, "transaction")?;
            let at = c.state_at(p.optional::<BlockId>(1, "block")?)?;
            let codes = code_overrides(&p, 2)?;
            let executor = Executor {
                codes: Some(&codes),
                ..c.executor()
            };
            answer(executor.call(&request, &c.header_for(at, now_ms)?)?)
        }
        "eth_estimateGas" => {
            let p = p(3)?;
            let request: TransactionRequest = p.required(0, "transaction")?;
            c.state_at(p.optional::<BlockId>(1, "block")?)?;
            no_overrides(&p, 2)?;
            Ok(quantity(
                c.executor()
                    .estimate(&request, &c.header_for(At::Pending, now_ms)?)?,
            ))
        }
        "eth_getTransactionByHash" => {
            let hash: B256 = p(1)?.required(0, "hash")?;
            answer(c.ledger.block_of_tx(&hash).map(transaction))
        }
        "eth_getTransactionReceipt" => {
            let hash: B256 = p(1)?.required(0, "hash")?;
            answer(c.ledger.block_of_tx(&hash).map(receipt).transpose()?)
        }
        "eth_getBlockReceipts" => {
            let number = match p(1)?.required::<BlockId>(0, "block")? {
                BlockId::Hash(hash) => c.ledger.number_of(&hash.block_hash),
                BlockId::Number(tag) => Some(c.resolve(tag)),
            };
            match number.filter(|n| *n <= c.ledger.head().number) {
                None => Ok(Value::Null),
                Some(n) => answer(
                    c.ledger
                        .tx_block(n)
                        .map(receipt)
                        .transpose()?
                        .into_iter()
                        .collect::<Vec<_>>(),
                ),
            }
        }
        "eth_getBlockByNumber" => {
            let p = p(2)?;
            let tag: BlockNumberOrTag = p.required(0, "block")?;
            let full = p.optional(1, "full")?.unwrap_or(false);
            match tag {
                BlockNumberOrTag::Pending => c.pending_json(full, now_ms),
                tag => c.block_json(c.resolve(tag), full),
            }
        }
        "eth_getBlockByHash" => {
            let p = p(2)?;
            let hash: B256 = p.required(0, "hash")?;
            let full = p.optional(1, "full")?.unwrap_or(false);
            c.ledger
                .number_of(&hash)
                .map_or(Ok(Value::Null), |n| c.block_json(n, full))
        }
        "eth_getLogs" => answer(c.logs(&p(1)?.filter(0)?)?),
        _ => Err(RpcError::new(
            CODE_METHOD,
            format!("the method {method} does not exist/is not available"),
        )),
    }
}

/// The account of a state query whose second parameter is a block.
fn account(c: &Core, p: Params<'_>) -> Result<Address, RpcError> {
    let address = p.required(0, "address")?;
    c.state_at(p.optional::<BlockId>(1, "block")?)?;
    Ok(address)
}

/// State overrides, of which code is the only kind that is known here.
fn code_overrides(p: &Params<'_>, index: usize) -> Result<Codes, RpcError> {
    let bad = |why: &str| p.bad(index, "overrides", why);
    let asked: StateOverride = p.optional(index, "overrides")?.unwrap_or_default();
    let mut codes = Codes::default();
    for (address, mut wanted) in asked {
        let code = wanted.code.take();
        if wanted != AccountOverride::default() {
            return Err(bad("the development chain overrides code and nothing else"));
        }
        if let Some(code) = code {
            let code = Bytecode::new_raw_checked(code).map_err(|e| bad(&e.to_string()))?;
            codes.insert(address, code);
        }
    }
    Ok(codes)
}

fn no_overrides(p: &Params<'_>, index: usize) -> Result<(), RpcError> {
    match p.optional::<Value>(index, "overrides")? {
        None => Ok(()),
        Some(Value::Object(fields)) if fields.is_empty() => Ok(()),
        Some(_) => Err(p.bad(
            index,
            "overrides",
            "state overrides are not supported by the development chain",
        )),
    }
}

fn fee_history(c: &Core, p: Params<'_>) -> Result<Value, RpcError> {
    let count = p.count(0, "blocks")?;
    let newest = c.resolve(p.required::<BlockNumberOrTag>(1, "newest block")?);
    let percentiles: Vec<f64> = p.optional(2, "percentiles")?.unwrap_or_default();
    let ascending = percentiles.windows(2).all(|w| w[0] <= w[1]);
    if percentiles.len() > FEE_PERCENTILES_MAX
        || !ascending
        || percentiles.iter().any(|v| !(0.0..=100.0).contains(v))
    {
        let why =
            format!("at most {FEE_PERCENTILES_MAX} ascending values from 0 to 100 are allowed");
        return Err(p.bad(2, "percentiles", &why));
    }
    answer(c.fee_history(count, newest, percentiles.len())?)
}

// ---- JSON-RPC 2.0 envelopes ----------------------------------------------------------------

/// The answer to a body that is no JSON.
pub(super) fn parse_error(why: &str) -> Value {
    failure(Value::Null, &RpcError::new(CODE_PARSE, why))
}

/// The answer to JSON that is no request.
pub(super) fn request_error(why: &str) -> Value {
    failure(Value::Null, &RpcError::new(CODE_REQUEST, why))
}

/// Answers one request object; a notification (no id) gets none.
pub(super) fn respond(chain: &Shared, request: &Value) -> Option<Value> {
    let Value::Object(fields) = request else {
        return Some(request_error("a request must be an object"));
    };
    let id = match fields.get("id") {
        None => None,
        Some(id @ (Value::Null | Value::Number(_) | Value::String(_))) => Some(id.clone()),
        Some(_) => return Some(request_error("an id must be a number, a string or null")),
    };
    if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Some(failure(
            id.unwrap_or(Value::Null),
            &RpcError::new(CODE_REQUEST, "jsonrpc must be \"2.0\""),
        ));
    }
    let Some(method) = fields.get("method").and_then(Value::as_str) else {
        return Some(failure(
            id.unwrap_or(Value::Null),
            &RpcError::new(CODE_REQUEST, "method must be a string"),
        ));
    };
    let result = dispatch(chain, method, fields.get("params").unwrap_or(&Value::Null));
    let id = id?;
    Some(match result {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(error) => failure(id, &error),
    })
}

fn failure(id: Value, error: &RpcError) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": error.to_json()})
}
