//! The JSON-RPC surface: tags, limits, error codes, and that no JSON panics.

use proptest::prelude::*;

use super::{super::http::answer_body, *};

#[test]
fn a_call_runs_code_in_the_place_of_an_account_s_own_and_changes_nothing() {
    let (chain, alice) = chain_with_alice();
    // Returns its own address and its balance in one word each.
    let code = "0x306000524760205260406000f3";
    let call = json!({"to": alice.address()});
    let script = json!({alice.address().to_string(): {"code": code}});
    let answer = chain.ask("eth_call", json!([call, "latest", script]));
    let answer = answer.as_str().expect("text");
    let balance = chain.ask("eth_getBalance", json!([alice.address(), "latest"]));
    let words = (&answer[26..66], &answer[66..]);
    assert_eq!(
        words.0,
        alice.address().to_string()[2..].to_ascii_lowercase()
    );
    assert_eq!(
        words.1.trim_start_matches('0'),
        &balance.as_str().expect("text")[2..]
    );
    assert_eq!(chain.ask("eth_call", json!([call, "latest"])), json!("0x"));
    let more = json!({alice.address().to_string(): {"balance": "0x1"}});
    let error = chain.refuse("eth_call", json!([call, "latest", more]));
    assert!(error.message.contains("code and nothing else"), "{error:?}");
}

#[test]
fn unknown_methods_and_malformed_parameters_are_named() {
    let (chain, alice) = chain_with_alice();
    let error = chain.refuse("eth_magic", json!([]));
    assert_eq!(error.code, -32601);
    assert!(error.message.contains("eth_magic"));
    let cases = [
        ("eth_getBalance", json!([]), "parameter 0 (address)"),
        (
            "eth_getBalance",
            json!(["0x12", "latest"]),
            "parameter 0 (address)",
        ),
        (
            "eth_getBalance",
            json!([alice.address(), "newest"]),
            "parameter 1 (block)",
        ),
        (
            "eth_getBalance",
            json!([alice.address(), "latest", 1]),
            "parameter 2",
        ),
        (
            "eth_getBalance",
            json!({"address": alice.address()}),
            "must be an array",
        ),
        (
            "eth_getStorageAt",
            json!([alice.address(), "zz", "latest"]),
            "parameter 1 (slot)",
        ),
        ("eth_call", json!([5]), "parameter 0 (transaction)"),
        (
            "eth_call",
            json!([{}, "latest", {"0x00": {}}]),
            "parameter 2 (overrides)",
        ),
        (
            "eth_getLogs",
            json!([{"fromBlock": 1.5}]),
            "parameter 0 (filter)",
        ),
        (
            "eth_getBlockByNumber",
            json!(["0x1", "yes"]),
            "parameter 1 (full)",
        ),
        (
            "eth_sendRawTransaction",
            json!(["0x0102"]),
            "parameter 0 (transaction)",
        ),
        (
            "eth_feeHistory",
            json!([1, "latest", [50.0, 10.0]]),
            "parameter 2 (percentiles)",
        ),
        ("dev_mine", json!([-1]), "parameter 0 (blocks)"),
        (
            "dev_setBalance",
            json!([alice.address()]),
            "parameter 1 (wei)",
        ),
        ("eth_chainId", json!([1]), "parameter 0"),
    ];
    for (method, params, expected) in cases {
        let error = chain.refuse(method, params);
        assert_eq!(error.code, -32602, "{method}: {error}");
        assert!(error.message.contains(expected), "{method}: {error}");
    }
}

#[test]
fn state_before_the_head_is_refused_with_a_clear_error() {
    let (chain, mut alice) = chain_with_alice();
    alice.pay(&chain, Address::repeat_byte(1), 1);
    let error = chain.refuse("eth_call", json!([{"to": Address::ZERO}, "0x0"]));
    assert!(
        error.message.contains("missing state of block 0"),
        "{error}"
    );
    assert!(
        chain
            .refuse("eth_getBalance", json!([Address::ZERO, "0x9"]))
            .message
            .contains("header not found")
    );
    let head = chain.block(1)["hash"].clone();
    chain.ask("eth_getBalance", json!([Address::ZERO, head]));
    chain.ask(
        "eth_getBalance",
        json!([Address::ZERO, {"blockHash": head}]),
    );
    for tag in ["latest", "safe", "finalized", "pending", "0x1"] {
        chain.ask("eth_call", json!([{"to": Address::ZERO}, tag]));
    }
}

#[test]
fn finalized_and_safe_stay_behind_the_head_by_the_configured_depth() {
    let alice = Sender::new("alice");
    let chain = DevChain::open(DevChainConfig {
        finality_depth: 3,
        ..config(&alice)
    })
    .unwrap();
    let number = |tag: &str| {
        from_quantity(&chain.ask("eth_getBlockByNumber", json!([tag, false]))["number"])
    };
    assert_eq!(number("finalized"), 0);
    chain.ask("dev_mine", json!([5]));
    assert_eq!(
        ["earliest", "finalized", "safe", "latest", "pending"].map(number),
        [0, 2, 2, 5, 6]
    );
}

#[test]
fn logs_are_found_by_range_hash_address_and_topic_and_ranges_are_limited() {
    let (chain, mut alice) = chain_with_alice();
    let contract = alice.deploy(&chain);
    for _ in 0..3 {
        alice.send(&chain, TxKind::Call(contract), U256::ZERO, Bytes::new());
        chain.ask("dev_mine", json!([1]));
    }
    let count = |filter: Value| {
        chain
            .ask("eth_getLogs", json!([filter]))
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(
        count(json!({"fromBlock": "earliest", "toBlock": "latest"})),
        3
    );
    assert_eq!(count(json!({"fromBlock": "0x3", "toBlock": "0x4"})), 1);
    assert_eq!(count(json!({})), 0, "the default is the head only");
    assert_eq!(
        count(json!({"fromBlock": "0x100"})),
        0,
        "behind the head there is nothing yet"
    );
    assert_eq!(count(json!({"blockHash": chain.block(2)["hash"]})), 1);
    assert_eq!(
        count(json!({"fromBlock": "0x0", "address": Address::ZERO})),
        0
    );
    assert_eq!(
        count(json!({"fromBlock": "0x0", "address": [Address::ZERO, contract]})),
        3
    );
    assert_eq!(
        count(json!({"fromBlock": "0x0", "topics": [[B256::ZERO, counted_topic()]]})),
        3
    );
    assert_eq!(
        count(json!({"fromBlock": "0x0", "topics": [null, counted_topic()]})),
        0
    );
    assert_eq!(
        chain
            .refuse("eth_getLogs", json!([{"blockHash": B256::ZERO}]))
            .code,
        -32000
    );
    assert_eq!(
        chain
            .refuse(
                "eth_getLogs",
                json!([{"fromBlock": "0x4", "toBlock": "0x3"}])
            )
            .code,
        -32602
    );
    let log = &chain.ask(
        "eth_getLogs",
        json!([{"fromBlock": "0x2", "toBlock": "0x2"}]),
    )[0];
    let receipts = chain.ask("eth_getBlockReceipts", json!(["0x2"]));
    assert_eq!(receipts[0]["logs"][0], *log);
    assert_eq!(log["blockHash"], chain.block(2)["hash"]);

    chain.ask("dev_mine", json!([100_000]));
    let error = chain.refuse("eth_getLogs", json!([{"fromBlock": "0x0"}]));
    assert!(error.message.contains("100000 blocks"), "{error}");
    assert_eq!(count(json!({"fromBlock": "0x0", "toBlock": "0x1869f"})), 3);
}

#[test]
fn fee_history_and_prices_follow_the_base_fee() {
    let (chain, mut alice) = chain_with_alice();
    alice.pay(&chain, Address::repeat_byte(1), 1);
    chain.ask("dev_mine", json!([2]));
    let history = chain.ask("eth_feeHistory", json!(["0x400", "latest", [10.0, 90.0]]));
    let fees: Vec<u64> = history["baseFeePerGas"]
        .as_array()
        .unwrap()
        .iter()
        .map(from_quantity)
        .collect();
    let blocks: Vec<u64> = (0..4)
        .map(|n| from_quantity(&chain.block(n)["baseFeePerGas"]))
        .collect();
    assert_eq!(fees[..4], blocks);
    assert_eq!(fees.len(), 5);
    assert_eq!(history["oldestBlock"], json!("0x0"));
    assert_eq!(
        history["reward"],
        json!([
            ["0x0", "0x0"],
            ["0x1", "0x1"],
            ["0x0", "0x0"],
            ["0x0", "0x0"]
        ])
    );
    assert_eq!(
        from_quantity(&chain.ask("eth_gasPrice", json!([]))),
        fees[4] + 1
    );
    assert_eq!(
        chain.ask("eth_maxPriorityFeePerGas", json!([])),
        json!("0x1")
    );
}

#[test]
fn constant_answers_say_what_this_chain_is() {
    let (chain, _) = chain_with_alice();
    assert_eq!(chain.ask("eth_chainId", json!([])), json!("0x7a69"));
    assert_eq!(chain.ask("net_version", Value::Null), json!("31337"));
    assert_eq!(chain.ask("eth_syncing", json!([])), json!(false));
    assert_eq!(chain.ask("eth_accounts", json!([])), json!([]));
    let version = chain.ask("web3_clientVersion", json!([]));
    assert!(version.as_str().unwrap().starts_with("assay-devchain/"));
    assert!(
        version
            .as_str()
            .unwrap()
            .ends_with("(development chain, no value)")
    );
}

const METHODS: [&str; 29] = [
    "web3_clientVersion",
    "net_version",
    "eth_chainId",
    "eth_syncing",
    "eth_accounts",
    "eth_blockNumber",
    "eth_gasPrice",
    "eth_maxPriorityFeePerGas",
    "eth_feeHistory",
    "eth_getBalance",
    "eth_getTransactionCount",
    "eth_getCode",
    "eth_getStorageAt",
    "eth_call",
    "eth_estimateGas",
    "eth_getTransactionByHash",
    "eth_getTransactionReceipt",
    "eth_getBlockReceipts",
    "eth_getBlockByNumber",
    "eth_getBlockByHash",
    "eth_getLogs",
    "eth_sendRawTransaction",
    "dev_setBalance",
    "dev_mine",
    "dev_increaseTime",
    "dev_snapshot",
    "dev_revert",
    "dev_reorg",
    "nonsense",
];

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "latest",
            "pending",
            "earliest",
            "finalized",
            "safe",
            "0x",
            "0x0",
            "0x1",
            "-0x1",
            "\u{0}"
        ])
        .prop_map(str::to_owned),
        prop::collection::vec(any::<u8>(), 0..70).prop_map(hex::encode_prefixed),
        any::<[u8; 20]>().prop_map(hex::encode_prefixed),
        any::<[u8; 32]>().prop_map(hex::encode_prefixed),
        any::<u64>().prop_map(|n| format!("{n:#x}")),
        any::<String>(),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let keys = vec![
        "from",
        "to",
        "gas",
        "gasPrice",
        "maxFeePerGas",
        "value",
        "input",
        "data",
        "nonce",
        "accessList",
        "type",
        "chainId",
        "authorizationList",
        "blobVersionedHashes",
        "fromBlock",
        "toBlock",
        "blockHash",
        "blockNumber",
        "address",
        "topics",
        "requireCanonical",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0u64..50).prop_map(Value::from),
        any::<f64>().prop_map(|f| json!(f)),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(keys.clone()), inner), 0..6).prop_map(
                |fields| fields
                    .into_iter()
                    .map(|(k, v)| (k.to_owned(), v))
                    .collect::<Value>()
            ),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_json_panics_and_the_chain_still_works_after_it(
        calls in prop::collection::vec(
            (prop::sample::select(METHODS.to_vec()), prop_oneof![
                4 => prop::collection::vec(any_json(), 0..4).prop_map(Value::from),
                1 => any_json(),
            ]),
            1..12,
        ),
    ) {
        let (chain, alice) = chain_with_alice();
        for (method, params) in calls {
            if let Err(error) = chain.call(method, params) {
                prop_assert!(error.message.len() <= super::super::RPC_MESSAGE_BYTES_MAX);
                prop_assert!(error.code != -32603, "{}", error);
            }
        }
        let before = chain.number();
        chain.ask("dev_setBalance", json!([alice.address(), "0xde0b6b3a7640000"]));
        chain.ask("dev_mine", json!([1]));
        prop_assert_eq!(chain.number(), before + 1);
    }

    #[test]
    fn no_body_panics(body in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        any_json().prop_map(|v| v.to_string().into_bytes()),
        (any_json(), any_json(), any_json())
            .prop_map(|(id, method, params)| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string().into_bytes()),
    ]) {
        let (chain, _) = chain_with_alice();
        if let Some(reply) = answer_body(&chain, &body) {
            prop_assert!(serde_json::from_str::<Value>(&reply).is_ok());
        }
    }
}
