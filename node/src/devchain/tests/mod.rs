//! Tests of the development chain: a driver, a small contract, and one file per subject.

mod evm;
mod http;
mod persistence;
mod provider;
mod rpc;

use std::{collections::BTreeMap, path::Path};

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::Encodable2718,
    primitives::{Address, B256, Bytes, TxKind, U256, hex, keccak256},
    signers::{SignerSync, local::PrivateKeySigner},
};
use serde_json::{Value, json};

use super::{DevChain, DevChainConfig, RpcError};

/// One ether in wei.
const ETHER: u128 = 1_000_000_000_000_000_000;

/// A sender that signs with its own nonce counter.
struct Sender {
    key: PrivateKeySigner,
    nonce: u64,
}

impl Sender {
    fn new(name: &str) -> Self {
        Self {
            key: PrivateKeySigner::from_bytes(&keccak256(name)).unwrap(),
            nonce: 0,
        }
    }

    fn address(&self) -> Address {
        self.key.address()
    }

    /// A signed raw transaction with the given nonce.
    fn sign(&self, nonce: u64, to: TxKind, value: U256, input: Bytes) -> (B256, String) {
        let tx = TxEip1559 {
            chain_id: 31337,
            nonce,
            gas_limit: 1_000_000,
            max_fee_per_gas: 2_000_000_000,
            max_priority_fee_per_gas: 1,
            to,
            value,
            input,
            ..Default::default()
        };
        let signature = self.key.sign_hash_sync(&tx.signature_hash()).unwrap();
        let tx = TxEnvelope::from(tx.into_signed(signature));
        (*tx.tx_hash(), hex::encode_prefixed(tx.encoded_2718()))
    }

    /// Signs with the next nonce and sends; returns the hash.
    fn send(&mut self, chain: &DevChain, to: TxKind, value: U256, input: Bytes) -> B256 {
        let (hash, raw) = self.sign(self.nonce, to, value, input);
        self.nonce += 1;
        assert_eq!(
            chain.ask("eth_sendRawTransaction", json!([raw])),
            json!(hash)
        );
        hash
    }

    fn pay(&mut self, chain: &DevChain, to: Address, wei: u64) -> B256 {
        self.send(chain, TxKind::Call(to), U256::from(wei), Bytes::new())
    }

    /// Deploys the test contract and returns its address.
    fn deploy(&mut self, chain: &DevChain) -> Address {
        let contract = self.address().create(self.nonce);
        self.send(chain, TxKind::Create, U256::ZERO, contract_init());
        contract
    }
}

/// Short calls for tests.
trait Ask {
    fn ask(&self, method: &str, params: Value) -> Value;
    fn refuse(&self, method: &str, params: Value) -> RpcError;
    fn number(&self) -> u64;
    fn block(&self, number: u64) -> Value;
}

impl Ask for DevChain {
    fn ask(&self, method: &str, params: Value) -> Value {
        self.call(method, params.clone())
            .unwrap_or_else(|e| panic!("{method} {params}: {e:?}"))
    }

    fn refuse(&self, method: &str, params: Value) -> RpcError {
        self.call(method, params.clone())
            .expect_err(&format!("{method} {params} is refused"))
    }

    fn number(&self) -> u64 {
        from_quantity(&self.ask("eth_blockNumber", json!([])))
    }

    fn block(&self, number: u64) -> Value {
        self.ask(
            "eth_getBlockByNumber",
            json!([format!("{number:#x}"), true]),
        )
    }
}

fn from_quantity(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().strip_prefix("0x").unwrap(), 16).unwrap()
}

fn config(alice: &Sender) -> DevChainConfig {
    DevChainConfig {
        genesis: vec![(alice.address(), U256::from(1_000 * ETHER))],
        fsync: false,
        seed: [7; 32],
        ..DevChainConfig::default()
    }
}

fn in_folder(alice: &Sender, dir: &Path) -> DevChainConfig {
    DevChainConfig {
        dir: Some(dir.to_owned()),
        ..config(alice)
    }
}

fn chain_with_alice() -> (DevChain, Sender) {
    let alice = Sender::new("alice");
    (DevChain::open(config(&alice)).unwrap(), alice)
}

/// Topic of the test contract's only event.
fn counted_topic() -> B256 {
    keccak256("Counted(uint256)")
}

/// Deployment code of a contract that
/// - without call data adds one to slot 0 and logs the sum,
/// - with 1 byte reverts with `deadbeef`,
/// - with 32 bytes returns the slot they name,
/// - with more takes a block number and an RLP header and returns whether they match `BLOCKHASH`,
/// - with 2 bytes returns the block's number, time and prevrandao.
fn contract_init() -> Bytes {
    let runtime = Assembler::default()
        .ops(&[0x36, 0x15]) // CALLDATASIZE ISZERO
        .jump_if("count")
        .ops(&[0x36, 0x60, 1, 0x14]) // CALLDATASIZE == 1
        .jump_if("revert")
        .ops(&[0x36, 0x60, 2, 0x14])
        .jump_if("block")
        .ops(&[0x36, 0x60, 32, 0x14])
        .jump_if("read")
        // keccak(calldata[32..]) == BLOCKHASH(calldata[..32])
        .ops(&[
            0x60, 32, 0x36, 0x03, 0x80, 0x60, 32, 0x60, 0, 0x37, 0x60, 0, 0x20,
        ])
        .ops(&[
            0x60, 0, 0x35, 0x40, 0x14, 0x60, 0, 0x52, 0x60, 32, 0x60, 0, 0xf3,
        ])
        .label("count")
        .ops(&[
            0x60, 0, 0x54, 0x60, 1, 0x01, 0x80, 0x60, 0, 0x55, 0x60, 0, 0x52, 0x7f,
        ])
        .ops(counted_topic().as_slice())
        .ops(&[0x60, 32, 0x60, 0, 0xa1, 0x00]) // LOG1 STOP
        .label("revert")
        .ops(&[
            0x63, 0xde, 0xad, 0xbe, 0xef, 0x60, 0, 0x52, 0x60, 4, 0x60, 28, 0xfd,
        ])
        .label("read")
        .ops(&[0x60, 0, 0x35, 0x54, 0x60, 0, 0x52, 0x60, 32, 0x60, 0, 0xf3])
        .label("block")
        .ops(&[
            0x43, 0x60, 0, 0x52, 0x42, 0x60, 32, 0x52, 0x44, 0x60, 64, 0x52, 0x60, 96, 0x60, 0,
            0xf3,
        ])
        .finish();
    let size = u8::try_from(runtime.len()).unwrap();
    // PUSH1 size DUP1 PUSH1 11 PUSH1 0 CODECOPY PUSH1 0 RETURN
    let mut init = vec![0x60, size, 0x80, 0x60, 11, 0x60, 0, 0x39, 0x60, 0, 0xf3];
    init.extend(runtime);
    init.into()
}

/// Bytecode with jump labels.
#[derive(Default)]
struct Assembler {
    code: Vec<u8>,
    labels: BTreeMap<&'static str, u8>,
    jumps: Vec<(usize, &'static str)>,
}

impl Assembler {
    fn ops(mut self, bytes: &[u8]) -> Self {
        self.code.extend_from_slice(bytes);
        self
    }

    fn jump_if(mut self, label: &'static str) -> Self {
        self.jumps.push((self.code.len() + 1, label));
        self.ops(&[0x60, 0, 0x57])
    }

    fn label(mut self, label: &'static str) -> Self {
        self.labels
            .insert(label, u8::try_from(self.code.len()).unwrap());
        self.ops(&[0x5b])
    }

    fn finish(mut self) -> Vec<u8> {
        for (at, label) in self.jumps {
            self.code[at] = self.labels[label];
        }
        self.code
    }
}
