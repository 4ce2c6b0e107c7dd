//! Running the EVM: transactions, calls at the head, and gas estimates. Pure reads: what a
//! transaction changed is returned, and committed elsewhere.
//!
//! Rules are revm's Osaka rules. Calls follow Geth: at `latest` they see the head block's number and
//! time, at `pending` (and for estimates) those of the next block.

use alloy::{
    consensus::{
        Eip658Value, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction as _,
        TxEnvelope, proofs, transaction::Recovered,
    },
    eips::{Typed2718, eip7840::BlobParams},
    primitives::{Address, Bytes, Log, TxKind, U256},
    rpc::types::TransactionRequest,
};
use revm::{
    Context, ExecuteEvm, MainBuilder, MainContext,
    context::{
        BlockEnv, CfgEnv, TxEnv,
        either::Either,
        result::{EVMError, ExecutionResult, InvalidTransaction, ResultAndState},
    },
    context_interface::block::BlobExcessGasAndPrice,
    database_interface::WrapDatabaseRef,
    primitives::hardfork::SpecId,
    state::EvmState,
};

use super::{
    block::{Ledger, TxBlock},
    error::{CODE_INTERNAL, RpcError},
    state::{Codes, MissingCode, View, World},
};

/// Most gas a call may use, in gas units (Geth's default).
pub const CALL_GAS_MAX: u64 = 50_000_000;
/// Most gas a transaction may ask for, in gas units (EIP-7825).
pub const TX_GAS_MAX: u64 = 1 << 24;

/// Which block a call runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// In the head block, after its transactions.
    Latest,
    /// In the block that would come next.
    Pending,
}

/// Everything execution reads.
#[derive(Clone, Copy)]
pub(super) struct Executor<'a> {
    pub chain_id: u64,
    pub world: &'a World,
    pub ledger: &'a Ledger,
    /// Code that calls find in the place of accounts' own; none for transactions.
    pub codes: Option<&'a Codes>,
}

enum Mode {
    Transaction,
    Simulation,
}

fn block_env(header: &Header) -> BlockEnv {
    BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or_default(),
        prevrandao: Some(header.mix_hash),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice {
            excess_blob_gas: 0,
            blob_gasprice: BlobParams::osaka().calc_blob_fee(0),
        }),
        ..Default::default()
    }
}

impl Executor<'_> {
    fn run(
        &self,
        env: BlockEnv,
        tx: TxEnv,
        mode: Mode,
    ) -> Result<ResultAndState, EVMError<MissingCode>> {
        let mut cfg = CfgEnv::new_with_spec(SpecId::OSAKA);
        cfg.chain_id = self.chain_id;
        if matches!(mode, Mode::Simulation) {
            cfg.disable_base_fee = true;
            cfg.disable_balance_check = true;
            cfg.disable_eip3607 = true;
            cfg.disable_nonce_check = true;
            cfg.disable_block_gas_limit = true;
            cfg.tx_gas_limit_cap = Some(u64::MAX);
        }
        let none = Codes::default();
        let view = View {
            world: self.world,
            ledger: self.ledger,
            codes: self.codes.unwrap_or(&none),
        };
        Context::mainnet()
            .with_db(WrapDatabaseRef(view))
            .with_cfg(cfg)
            .with_block(env)
            .build_mainnet()
            .transact(tx)
    }

    /// Executes a signed transaction as the only one of the block `header` describes, and completes
    /// that header.
    ///
    /// # Errors
    /// The transaction is not valid on the head; messages follow Geth's.
    pub fn execute(
        &self,
        mut header: Header,
        tx: Recovered<TxEnvelope>,
    ) -> Result<(TxBlock, EvmState), RpcError> {
        let env = TxEnv::builder()
            .tx_type(Some(tx.ty()))
            .caller(tx.signer())
            .kind(tx.kind())
            .value(tx.value())
            .data(tx.input().clone())
            .gas_limit(tx.gas_limit())
            .gas_price(tx.max_fee_per_gas())
            .gas_priority_fee(tx.max_priority_fee_per_gas())
            .nonce(tx.nonce())
            .chain_id(tx.chain_id())
            .access_list(tx.access_list().cloned().unwrap_or_default())
            .authorization_list(
                tx.authorization_list()
                    .unwrap_or_default()
                    .iter()
                    .cloned()
                    .map(Either::Left)
                    .collect(),
            )
            .build()
            .map_err(|e| RpcError::server(format!("invalid transaction: {e:?}")))?;
        let ResultAndState { result, state } = self
            .run(block_env(&header), env, Mode::Transaction)
            .map_err(|e| refused(e, tx.signer(), &header, tx.max_fee_per_gas()))?;
        let success = result.is_success();
        let gas_used = result.tx_gas_used();
        let logs = if success {
            result.into_logs()
        } else {
            Vec::new()
        };
        let receipt = ReceiptWithBloom::from(Receipt {
            status: Eip658Value::Eip658(success),
            cumulative_gas_used: gas_used,
            logs: logs.clone(),
        });
        header.gas_used = gas_used;
        header.logs_bloom = receipt.logs_bloom;
        header.transactions_root = proofs::calculate_transaction_root(&[tx.inner().clone()]);
        header.receipts_root = proofs::calculate_receipt_root(&[envelope(tx.ty(), receipt)?]);
        Ok((
            TxBlock {
                hash: header.hash_slow(),
                header,
                tx,
                success,
                logs,
            },
            state,
        ))
    }

    /// `eth_call`.
    ///
    /// # Errors
    /// A revert (code 3 with its data), a halt, or a request that cannot be a transaction.
    pub fn call(&self, request: &TransactionRequest, env: &Header) -> Result<Bytes, RpcError> {
        let gas = request.gas.unwrap_or(CALL_GAS_MAX).min(CALL_GAS_MAX);
        succeeded(self.simulate(request, env, gas)?).map(|(output, _)| output)
    }

    /// `eth_estimateGas`: the least gas (within 1.5 %, never too little) with which the request succeeds.
    ///
    /// # Errors
    /// As [`Self::call`]; also when the sender cannot pay for enough gas.
    pub fn estimate(&self, request: &TransactionRequest, env: &Header) -> Result<u64, RpcError> {
        let mut high = request.gas.unwrap_or(TX_GAS_MAX).min(TX_GAS_MAX);
        let price = request
            .max_fee_per_gas
            .or(request.gas_price)
            .unwrap_or_default();
        if let (Some(from), true) = (request.from, price > 0) {
            let left = self
                .world
                .account(from)
                .balance
                .saturating_sub(request.value.unwrap_or_default());
            let affordable: u64 = (left / U256::from(price)).saturating_to();
            high = high.min(affordable);
        }
        let top = self.simulate(request, env, high).map_err(|e| {
            if high < TX_GAS_MAX {
                RpcError::server(format!("gas required exceeds allowance ({high}): {e}"))
            } else {
                e
            }
        })?;
        let (_, used) = succeeded(top)?;
        let enough = |gas: u64| matches!(self.simulate(request, env, gas), Ok(result) if result.is_success());
        if enough(used) {
            return Ok(used);
        }
        // Refunds and the 63/64 rule can need more than was used: bisect.
        let mut low = used;
        while low + 1 < high && high - low > low / 67 {
            let middle = low + (high - low) / 2;
            if enough(middle) {
                high = middle
            } else {
                low = middle
            }
        }
        Ok(high)
    }

    fn simulate(
        &self,
        request: &TransactionRequest,
        env: &Header,
        gas: u64,
    ) -> Result<ExecutionResult, RpcError> {
        let from = request.from.unwrap_or_default();
        let sender = self.world.account(from);
        let value = request.value.unwrap_or_default();
        if value > sender.balance {
            return Err(RpcError::server(format!(
                "insufficient funds for gas * price + value: address {from} have {} want {value}",
                sender.balance
            )));
        }
        if request
            .blob_versioned_hashes
            .as_ref()
            .is_some_and(|b| !b.is_empty())
        {
            return Err(RpcError::server(
                "blob transactions are not supported by the development chain",
            ));
        }
        let tx = TxEnv::builder()
            .caller(from)
            .kind(request.to.unwrap_or(TxKind::Create))
            .value(value)
            .data(request.input.input().cloned().unwrap_or_default())
            .gas_limit(gas)
            .gas_price(0)
            .nonce(sender.nonce)
            .chain_id(Some(self.chain_id))
            .access_list(request.access_list.clone().unwrap_or_default())
            .authorization_list(
                request
                    .authorization_list
                    .iter()
                    .flatten()
                    .cloned()
                    .map(Either::Left)
                    .collect(),
            )
            .build()
            .map_err(|e| RpcError::params(format!("parameter 0 (transaction): {e:?}")))?;
        self.run(block_env(env), tx, Mode::Simulation)
            .map(|r| r.result)
            .map_err(|e| refused(e, from, env, 0))
    }
}

/// Output and gas used of an execution that succeeded.
fn succeeded(result: ExecutionResult) -> Result<(Bytes, u64), RpcError> {
    let used = result.tx_gas_used();
    match result {
        ExecutionResult::Success { output, .. } => Ok((output.into_data(), used)),
        ExecutionResult::Revert { output, .. } => Err(RpcError::revert(&output)),
        ExecutionResult::Halt { reason, .. } => {
            Err(RpcError::server(format!("execution halted: {reason:?}")))
        }
    }
}

/// Wraps a receipt in the envelope of its transaction type.
pub(super) fn envelope<T>(
    ty: u8,
    receipt: ReceiptWithBloom<Receipt<T>>,
) -> Result<ReceiptEnvelope<T>, RpcError> {
    Ok(match ty {
        0 => ReceiptEnvelope::Legacy(receipt),
        1 => ReceiptEnvelope::Eip2930(receipt),
        2 => ReceiptEnvelope::Eip1559(receipt),
        4 => ReceiptEnvelope::Eip7702(receipt),
        ty => {
            return Err(RpcError::server(format!(
                "transaction type {ty} is not supported by the development chain"
            )));
        }
    })
}

/// Geth's words for a transaction that cannot be executed.
fn refused(error: EVMError<MissingCode>, from: Address, env: &Header, max_fee: u128) -> RpcError {
    let invalid = match error {
        EVMError::Transaction(invalid) => invalid,
        EVMError::Database(e) => return RpcError::new(CODE_INTERNAL, e.to_string()),
        e => return RpcError::server(e.to_string()),
    };
    RpcError::server(match invalid {
        InvalidTransaction::NonceTooLow { tx, state } => nonce_too_low(from, tx, state),
        InvalidTransaction::NonceTooHigh { tx, state } => nonce_too_high(from, tx, state),
        InvalidTransaction::LackOfFundForMaxFee { fee, balance } => {
            format!(
                "insufficient funds for gas * price + value: address {from} have {balance} want {fee}"
            )
        }
        InvalidTransaction::GasPriceLessThanBasefee => format!(
            "max fee per gas less than block base fee: address {from}, maxFeePerGas: {max_fee}, baseFee: {}",
            env.base_fee_per_gas.unwrap_or_default()
        ),
        InvalidTransaction::PriorityFeeGreaterThanMaxFee => {
            format!(
                "max priority fee per gas higher than max fee per gas: address {from}, maxFeePerGas: {max_fee}"
            )
        }
        InvalidTransaction::CallGasCostMoreThanGasLimit {
            initial_gas,
            gas_limit,
        } => {
            format!("intrinsic gas too low: have {gas_limit}, want {initial_gas}")
        }
        InvalidTransaction::GasFloorMoreThanGasLimit {
            gas_floor,
            gas_limit,
        } => {
            format!("insufficient gas for floor data gas cost: have {gas_limit}, want {gas_floor}")
        }
        InvalidTransaction::CallerGasLimitMoreThanBlock => "exceeds block gas limit".to_owned(),
        InvalidTransaction::TxGasLimitGreaterThanCap { gas_limit, cap } => {
            format!("transaction gas limit too high (cap: {cap}, tx: {gas_limit})")
        }
        InvalidTransaction::RejectCallerWithCode => format!("sender not an eoa: address {from}"),
        InvalidTransaction::InvalidChainId => "invalid chain id for signer".to_owned(),
        other => format!("invalid transaction: {other}"),
    })
}

pub(super) fn nonce_too_low(from: Address, tx: u64, state: u64) -> String {
    format!("nonce too low: address {from}, tx: {tx} state: {state}")
}

pub(super) fn nonce_too_high(from: Address, tx: u64, state: u64) -> String {
    format!(
        "nonce too high: address {from}, tx: {tx} state: {state}; the development chain keeps no queue for later nonces"
    )
}

/// Logs of a block as the receipts and `eth_getLogs` show them.
pub(super) fn rpc_logs(block: &TxBlock) -> impl Iterator<Item = alloy::rpc::types::Log> + '_ {
    block
        .logs
        .iter()
        .zip(0u64..)
        .map(|(log, index)| rpc_log(block, log, index))
}

fn rpc_log(block: &TxBlock, log: &Log, index: u64) -> alloy::rpc::types::Log {
    alloy::rpc::types::Log {
        inner: log.clone(),
        block_hash: Some(block.hash),
        block_number: Some(block.header.number),
        block_timestamp: Some(block.header.timestamp),
        transaction_hash: Some(*block.tx.tx_hash()),
        transaction_index: Some(0),
        log_index: Some(index),
        removed: false,
    }
}
