//! Execution and blocks: BLOCKHASH, prevrandao, nonces, snapshots, reorganisations.

use alloy::{consensus::Header, rlp::Encodable, rpc::types::Block};

use super::*;

fn header(chain: &DevChain, number: u64) -> (B256, Header) {
    let block: Block = serde_json::from_value(chain.block(number)).unwrap();
    (block.header.hash, block.header.inner)
}

/// Asks the contract whether an RLP header is the block of that number.
fn contract_agrees(chain: &DevChain, contract: Address, number: u64, header: &Header) -> bool {
    let mut input = U256::from(number).to_be_bytes::<32>().to_vec();
    header.encode(&mut input);
    let out = chain.ask(
        "eth_call",
        json!([{"to": contract, "input": hex::encode_prefixed(input)}, "pending"]),
    );
    out.as_str().unwrap().ends_with('1')
}

#[test]
fn a_contract_verifies_an_rlp_header_against_blockhash_for_the_last_256_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let mut alice = Sender::new("alice");
    let cfg = in_folder(&alice, dir.path());
    let chain = DevChain::open(cfg.clone()).unwrap();
    let contract = alice.deploy(&chain);
    chain.ask("dev_mine", json!([300]));
    alice.pay(&chain, Address::repeat_byte(1), 1);
    chain.ask("dev_mine", json!([20]));

    let check = |chain: &DevChain| {
        let next = chain.number() + 1;
        for back in [1, 2, 20, 21, 22, 100, 255, 256] {
            let (hash, header) = header(chain, next - back);
            assert_eq!(hash, header.hash_slow());
            assert!(
                contract_agrees(chain, contract, next - back, &header),
                "{back} blocks back"
            );
            let forged = Header {
                mix_hash: B256::repeat_byte(1),
                ..header
            };
            assert!(!contract_agrees(chain, contract, next - back, &forged));
        }
        let (_, old) = header(chain, next - 257);
        assert!(
            !contract_agrees(chain, contract, next - 257, &old),
            "BLOCKHASH ends after 256 blocks"
        );
    };
    check(&chain);
    drop(chain);
    check(&DevChain::open(cfg).unwrap());
}

#[test]
fn every_block_is_found_by_its_hash_also_long_after_it_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let mut alice = Sender::new("alice");
    let cfg = in_folder(&alice, dir.path());
    let chain = DevChain::open(cfg.clone()).unwrap();
    chain.ask("dev_mine", json!([700]));
    alice.pay(&chain, Address::repeat_byte(1), 1);
    chain.ask("dev_mine", json!([300]));
    let check = |chain: &DevChain| {
        for number in [0, 1, 255, 256, 257, 512, 513, 700, 701, 702, 900, 1001] {
            let block = chain.block(number);
            assert_eq!(
                chain.ask("eth_getBlockByHash", json!([block["hash"], true])),
                block,
                "block {number}"
            );
        }
        assert!(
            chain
                .ask("eth_getBlockByHash", json!([B256::repeat_byte(3), false]))
                .is_null()
        );
        assert!(chain.block(1002).is_null());
    };
    check(&chain);
    drop(chain);
    check(&DevChain::open(cfg).unwrap());
}

#[test]
fn prevrandao_depends_on_the_seed_and_a_contract_sees_the_headers_values() {
    let mut mixes = Vec::new();
    for seed in [1, 2] {
        let mut alice = Sender::new("alice");
        let chain = DevChain::open(DevChainConfig {
            seed: [seed; 32],
            ..config(&alice)
        })
        .unwrap();
        let contract = alice.deploy(&chain);
        let (_, head) = header(&chain, 1);
        let out = chain.ask(
            "eth_call",
            json!([{"to": contract, "data": "0x0000"}, "latest"]),
        );
        let words = hex::decode(out.as_str().unwrap()).unwrap();
        assert_eq!(U256::from_be_slice(&words[..32]), U256::from(head.number));
        assert_eq!(
            U256::from_be_slice(&words[32..64]),
            U256::from(head.timestamp)
        );
        assert_eq!(B256::from_slice(&words[64..]), head.mix_hash);
        mixes.push(head.mix_hash);
    }
    assert_ne!(mixes[0], mixes[1]);
}

#[test]
fn nonces_must_follow_each_other() {
    let (chain, mut alice) = chain_with_alice();
    let bob = Address::repeat_byte(0xb);
    let (_, gap) = alice.sign(1, TxKind::Call(bob), U256::from(1), Bytes::new());
    let error = chain.refuse("eth_sendRawTransaction", json!([gap]));
    assert!(
        error.code == -32000 && error.message.starts_with("nonce too high"),
        "{error}"
    );
    let (_, first) = alice.sign(0, TxKind::Call(bob), U256::from(1), Bytes::new());
    alice.pay(&chain, bob, 1);
    assert_eq!(
        chain
            .refuse("eth_sendRawTransaction", json!([first]))
            .message,
        "already known"
    );
    let (_, stale) = alice.sign(0, TxKind::Call(bob), U256::from(2), Bytes::new());
    let error = chain.refuse("eth_sendRawTransaction", json!([stale]));
    assert!(error.message.starts_with("nonce too low"), "{error}");
    for tag in ["latest", "pending"] {
        assert_eq!(
            chain.ask("eth_getTransactionCount", json!([alice.address(), tag])),
            json!("0x1")
        );
    }
    assert_eq!(chain.number(), 1, "a refused transaction makes no block");
}

#[test]
fn a_poor_sender_and_a_foreign_chain_are_refused() {
    let (chain, _) = chain_with_alice();
    let mallory = Sender::new("mallory");
    let (_, raw) = mallory.sign(0, TxKind::Call(Address::ZERO), U256::from(1), Bytes::new());
    assert!(
        chain
            .refuse("eth_sendRawTransaction", json!([raw]))
            .message
            .starts_with("insufficient funds")
    );
    let alice = Sender::new("alice");
    let other = DevChain::open(DevChainConfig {
        chain_id: 5,
        ..config(&alice)
    })
    .unwrap();
    let (_, raw) = alice.sign(0, TxKind::Call(Address::ZERO), U256::from(1), Bytes::new());
    assert_eq!(
        other.refuse("eth_sendRawTransaction", json!([raw])).message,
        "invalid chain id for signer"
    );
}

#[test]
fn a_reverting_transaction_gets_a_block_a_failed_receipt_and_no_logs() {
    let (chain, mut alice) = chain_with_alice();
    let contract = alice.deploy(&chain);
    let hash = alice.send(
        &chain,
        TxKind::Call(contract),
        U256::ZERO,
        Bytes::from(vec![1]),
    );
    let receipt = chain.ask("eth_getTransactionReceipt", json!([hash]));
    assert_eq!(receipt["status"], json!("0x0"));
    assert_eq!(receipt["logs"], json!([]));
    assert_eq!(
        chain.ask("eth_getTransactionCount", json!([alice.address()])),
        json!("0x2")
    );
}

#[test]
fn an_estimate_is_enough_and_one_gas_less_is_not() {
    let (chain, mut alice) = chain_with_alice();
    let contract = alice.deploy(&chain);
    let request =
        |gas: u64| json!([{"from": alice.address(), "to": contract, "gas": format!("{gas:#x}")}]);
    let gas = from_quantity(&chain.ask(
        "eth_estimateGas",
        json!([{"from": alice.address(), "to": contract}]),
    ));
    assert_eq!(chain.ask("eth_call", request(gas)), json!("0x"));
    assert!(
        chain
            .refuse("eth_call", request(gas - 1))
            .message
            .contains("OutOfGas")
    );
    let transfer =
        json!([{"from": alice.address(), "to": Address::repeat_byte(1), "value": "0x1"}]);
    assert_eq!(chain.ask("eth_estimateGas", transfer), json!("0x5208"));
    let error = chain.refuse(
        "eth_estimateGas",
        json!([{"to": contract, "input": "0x01"}]),
    );
    assert_eq!((error.code, error.data), (3, Some(json!("0xdeadbeef"))));
}

#[test]
fn a_revert_to_a_snapshot_restores_state_blocks_and_clock_also_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let mut alice = Sender::new("alice");
    let cfg = in_folder(&alice, dir.path());
    let chain = DevChain::open(cfg.clone()).unwrap();
    let contract = alice.deploy(&chain);
    alice.send(&chain, TxKind::Call(contract), U256::ZERO, Bytes::new());
    chain.ask("dev_mine", json!([10]));
    let before = summary(&chain, &alice, contract);
    let early = chain.ask("dev_snapshot", json!([]));
    let nonce = alice.nonce;

    chain.ask("dev_setBalance", json!([alice.address(), "0x5"]));
    chain.ask(
        "dev_setBalance",
        json!([alice.address(), "0xde0b6b3a7640000"]),
    );
    chain.ask("dev_increaseTime", json!([1000]));
    let lost = alice.send(&chain, TxKind::Call(contract), U256::ZERO, Bytes::new());
    chain.ask("dev_mine", json!([5]));
    let late = chain.ask("dev_snapshot", json!([]));
    assert_ne!(summary(&chain, &alice, contract), before);

    assert_eq!(chain.ask("dev_revert", json!([early])), json!(true));
    assert_eq!(summary(&chain, &alice, contract), before);
    assert!(
        chain
            .ask("eth_getTransactionReceipt", json!([lost]))
            .is_null()
    );
    assert_eq!(
        chain.ask("dev_revert", json!([late])),
        json!(false),
        "later snapshots are gone"
    );
    assert_eq!(
        chain.ask("dev_revert", json!([early])),
        json!(false),
        "a snapshot is used up"
    );
    drop(chain);

    let chain = DevChain::open(cfg).unwrap();
    assert_eq!(summary(&chain, &alice, contract), before);
    alice.nonce = nonce;
    alice.send(&chain, TxKind::Call(contract), U256::ZERO, Bytes::new());
    assert_eq!(
        chain.ask("eth_getStorageAt", json!([contract, "0x0", "latest"])),
        json!(B256::with_last_byte(2))
    );
}

fn summary(chain: &DevChain, alice: &Sender, contract: Address) -> Value {
    json!([
        chain.ask("eth_getBlockByNumber", json!(["latest", true])),
        chain.ask("eth_getBalance", json!([alice.address()])),
        chain.ask("eth_getTransactionCount", json!([alice.address()])),
        chain.ask("eth_getStorageAt", json!([contract, "0x0"])),
        chain.ask(
            "eth_getLogs",
            json!([{"fromBlock": "earliest", "toBlock": "latest"}])
        ),
    ])
}

#[test]
fn a_reorganisation_replaces_blocks_above_the_finalized_one_and_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let mut alice = Sender::new("alice");
    let cfg = DevChainConfig {
        finality_depth: 4,
        ..in_folder(&alice, dir.path())
    };
    let chain = DevChain::open(cfg.clone()).unwrap();
    let contract = alice.deploy(&chain);
    chain.ask("dev_mine", json!([4]));
    let kept = chain.block(5);
    let (again, raw) = alice.sign(1, TxKind::Call(contract), U256::ZERO, Bytes::new());
    chain.ask("eth_sendRawTransaction", json!([raw]));
    chain.ask("dev_mine", json!([2]));
    let old: Vec<Value> = (6..=8).map(|n| chain.block(n)["hash"].clone()).collect();

    assert!(
        chain
            .refuse("dev_reorg", json!([5]))
            .message
            .contains("final")
    );
    let done = chain.ask("dev_reorg", json!([3]));
    assert_eq!(done["dropped"], json!([again]));
    assert_eq!(done["number"], json!("0x8"));
    for (number, hash) in (6..).zip(&old) {
        assert_ne!(chain.block(number)["hash"], *hash);
        assert!(
            chain
                .ask("eth_getBlockByHash", json!([hash, false]))
                .is_null()
        );
    }
    assert_eq!(chain.block(5), kept);
    assert!(
        chain
            .ask("eth_getTransactionByHash", json!([again]))
            .is_null()
    );
    assert_eq!(
        chain.ask("eth_sendRawTransaction", json!([raw])),
        json!(again),
        "a dropped transaction can be sent again"
    );
    let head = chain.block(9);
    assert_eq!(
        chain.ask("eth_getBlockByNumber", json!(["finalized", true])),
        chain.block(5)
    );
    drop(chain);
    assert_eq!(DevChain::open(cfg).unwrap().block(9), head);
}

#[test]
fn time_moves_forward_only_and_by_what_was_asked() {
    let (chain, mut alice) = chain_with_alice();
    alice.pay(&chain, Address::repeat_byte(1), 1);
    let before = header(&chain, 1).1.timestamp;
    assert_eq!(
        chain.ask("dev_increaseTime", json!([86_400])),
        json!("0x15180")
    );
    assert_eq!(
        chain.ask("dev_increaseTime", json!(["0x1"])),
        json!("0x15181")
    );
    alice.pay(&chain, Address::repeat_byte(1), 1);
    let after = header(&chain, 2).1.timestamp;
    assert!(after >= before + 86_401);
    assert_eq!(
        chain.refuse("dev_increaseTime", json!([u64::MAX])).code,
        -32602
    );
}
