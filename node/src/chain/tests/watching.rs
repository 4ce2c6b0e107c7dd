//! Following the chain, through good answers and bad ones.

use assay_protocol::crypto::{BINDING_DOMAIN, binding_message, verify};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployed_network_is_wired_and_its_gas_is_known() {
    let world = world().await;
    let names: Vec<_> = world
        .deployed
        .gas
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "DevToken",
            "PrevrandaoBeacon",
            "Registry",
            "RewardDistributor",
            "TaskEscrow",
            "EpochAnchor",
            "Disputes",
            "ReputationAnchor",
            "BonusPool",
            "DatasetShares"
        ]
    );
    assert!(
        world.deployed.gas.iter().all(|(_, gas)| *gas > 100_000),
        "{:?}",
        world.deployed.gas
    );
    // The watcher checks code and wiring before it says that it is up.
    let mut client = start(&world.profile, None, &MemoryStore::default());
    assert!(matches!(
        client.until("Up", |_| true).await,
        ChainEvent::Up { chain_id: 31337 }
    ));
    let head = client.chain.head(0).await.expect("answers");
    assert_eq!(
        head,
        LaneHead {
            epoch: 0,
            header: Hash::ZERO,
            term: 0
        }
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_accounts_register_and_the_facts_carry_bindings_that_verify() {
    let world = world().await;
    let store = MemoryStore::default();
    let mut watcher = start(&world.profile, None, &MemoryStore::default());
    for n in [1, 2] {
        let account = world.rich(&key(n), 500_000_000).await;
        let client = start(&world.profile, Some(key(n)), &store);
        let (roles, stake) = (6, Amount(100_000_000 + u128::from(n)));
        client
            .chain
            .register(roles, stake, &node(n), Hash([n; 32]), Account([n; 20]))
            .await
            .expect("registers");
        let fact = watcher
            .fact(
                "Registered",
                |f| matches!(f, ChainFact::Registered { account: a, .. } if *a == account),
            )
            .await;
        let ChainFact::Registered {
            node_key,
            seal_key,
            payee,
            roles: r,
            stake: s,
            nonce,
            binding,
            ..
        } = fact
        else {
            unreachable!("filtered")
        };
        assert_eq!(
            (node_key, seal_key, payee),
            (node(n).public(), Hash([n; 32]), Account([n; 20]))
        );
        assert_eq!((r, s, nonce), (roles, stake, 0));
        let message = binding_message(
            world.profile.chain_id,
            world.profile.contracts.registry,
            account,
            nonce,
            node_key,
        );
        assert_eq!(
            verify(&node_key, BINDING_DOMAIN, &message, &binding),
            Ok(())
        );
        // Once more changes nothing and costs nothing.
        let transactions = world.nonce(account);
        assert_eq!(transactions, 2, "approve and register");
        client
            .chain
            .register(roles, stake, &node(n), Hash([n; 32]), Account([n; 20]))
            .await
            .expect("is registered");
        assert_eq!(world.nonce(account), transactions);
    }
    // A node key serves one account.
    let account = world.rich(&key(3), 500_000_000).await;
    let client = start(&world.profile, Some(key(3)), &store);
    let error = client
        .chain
        .register(2, Amount(100_000_000), &node(1), Hash::ZERO, account)
        .await
        .expect_err("taken");
    assert!(
        matches!(&error, ChainError::Refused { why, .. } if why.contains("belongs to account")),
        "{error}"
    );
    // The contract's own refusals arrive in words.
    let error = client
        .chain
        .register(4, Amount(1), &node(3), Hash::ZERO, account)
        .await
        .expect_err("too little");
    assert!(
        error
            .to_string()
            .contains("StakeTooSmall { stake: 1, minimum: 100000000 }"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_history_arrives_in_order_without_a_gap_also_where_few_logs_are_served_at_once() {
    let world = world().await;
    world.mine(700);
    world.rich(&key(1), 5_000).await;
    let mut payer = start(&world.profile, Some(key(1)), &MemoryStore::default());
    payer.chain.submit(fund(1, 1_000, 50));
    payer.done().await;
    world.mine(100);
    let (front, url) = Front::open(world.dev.clone()).await;
    front.rule(|method, params| {
        let number = |field: &str| {
            u64::from_str_radix(
                params[0][field]
                    .as_str()
                    .unwrap_or("0x0")
                    .trim_start_matches("0x"),
                16,
            )
            .expect("hex")
        };
        let wide = method == "eth_getLogs" && number("toBlock") - number("fromBlock") > 20;
        if wide {
            Deal::Refuse("query exceeds 20 blocks")
        } else {
            Deal::Pass
        }
    });
    let mut client = start(&world.behind(url), None, &MemoryStore::default());
    let funded = client
        .fact("Funded", |f| matches!(f, ChainFact::Funded { .. }))
        .await;
    assert!(matches!(
        funded,
        ChainFact::Funded {
            deposit: Amount(1_000),
            gold_bond: Amount(50),
            lane: 0,
            ..
        }
    ));
    let head = world
        .dev
        .call("eth_blockNumber", json!([]))
        .expect("a number");
    let last = u64::from_str_radix(head.as_str().expect("text").trim_start_matches("0x"), 16)
        .expect("hex");
    client.until("the last block", |e| matches!(e, ChainEvent::News(n) if n.last().is_some_and(|b| b.block.number >= last))).await;
    assert_eq!(client.blocks[0].block.number, world.profile.start_block);
    assert!(
        client.blocks.iter().all(|b| b.randao != Hash::ZERO),
        "mixHash is the block's randomness"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_index_that_lags_behind_the_blocks_loses_no_fact() {
    let world = world().await;
    world.rich(&key(1), 5_000).await;
    let mut payer = start(&world.profile, Some(key(1)), &MemoryStore::default());
    payer.chain.submit(fund(1, 1_000, 50));
    payer.done().await;
    let (front, url) = Front::open(world.dev.clone()).await;
    front.rule(|method, params| match method {
        "eth_getLogs" if params[0]["blockHash"].is_null() => Deal::Answer(json!([])),
        _ => Deal::Pass,
    });
    let mut client = start(&world.behind(url), None, &MemoryStore::default());
    client
        .fact("Funded", |f| matches!(f, ChainFact::Funded { .. }))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wrong_chain_stops_the_client_and_names_both_ids() {
    let world = world().await;
    let profile = NetworkProfile {
        chain_id: 5,
        ..world.profile.clone()
    };
    let account = world.rich(&key(1), 5_000).await;
    let mut client = start(&profile, Some(key(1)), &MemoryStore::default());
    client.chain.submit(fund(1, 1_000, 50));
    let why = client.refused().await;
    assert!(
        why.contains("chain 31337") && why.contains("chain 5"),
        "{why}"
    );
    assert!(matches!(
        client.chain.submit_durably(fund(2, 1, 1)).await,
        Err(ChainError::Stopped(_))
    ));
    assert_eq!(world.nonce(account), 0, "nothing was sent");

    let mut lost = world.profile.clone();
    lost.contracts.escrow = Account([9; 20]);
    let (why, permanent) = start(&lost, None, &MemoryStore::default()).failed().await;
    assert!(
        permanent && why.contains("no contract at the escrow's address 0x0909"),
        "{why}"
    );
    let mut crossed = world.profile.clone();
    let (at, code) = (&mut crossed.contracts, &mut crossed.code);
    std::mem::swap(&mut at.registry, &mut at.escrow);
    std::mem::swap(&mut code.registry, &mut code.escrow);
    let (why, permanent) = start(&crossed, None, &MemoryStore::default())
        .failed()
        .await;
    assert!(permanent && why.contains("the profile names"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contract_with_other_code_than_the_profile_pins_stops_the_client() {
    type Pin = fn(&mut CodeHashes) -> &mut Hash;
    let world = world().await;
    let pins: [(&str, Pin); 7] = [
        ("token", |c| &mut c.token),
        ("registry", |c| &mut c.registry),
        ("escrow", |c| &mut c.escrow),
        ("anchor", |c| &mut c.anchor),
        ("distributor of lane 0", |c| &mut c.distributors[0]),
        ("beacon", |c| &mut c.beacon),
        ("disputes contract", |c| &mut c.disputes),
    ];
    let other = Hash([0xee; 32]);
    for (name, pin) in pins {
        let mut profile = world.profile.clone();
        let found = std::mem::replace(pin(&mut profile.code), other);
        let (why, permanent) = start(&profile, None, &MemoryStore::default())
            .failed()
            .await;
        let said = [
            format!("the {name} at"),
            found.to_string(),
            other.to_string(),
        ];
        assert!(
            permanent && said.iter().all(|part| why.contains(part)),
            "{name}: {why}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_changed_while_an_endpoint_was_away_stops_the_client_when_it_is_back() {
    let world = world().await;
    let (front, url) = Front::open(world.dev.clone()).await;
    let account = world.rich(&key(1), 5_000).await;
    let mut client = start(&world.behind(url), Some(key(1)), &MemoryStore::default());
    client.up().await;
    let mut lost = false;
    front.rule(move |method, _| match method {
        "eth_getCode" => Deal::Answer(json!("0x6001")),
        _ if !std::mem::replace(&mut lost, true) => Deal::LoseQuestion,
        _ => Deal::Pass,
    });
    let (why, permanent) = client.failed().await;
    assert!(permanent && why.contains("the profile pins"), "{why}");
    let refused = client.chain.submit_durably(fund(1, 1_000, 50)).await;
    assert!(
        matches!(refused, Err(ChainError::Stopped(_))),
        "{refused:?}"
    );
    assert_eq!(world.nonce(account), 0, "nothing was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_down_at_the_start_is_waited_for() {
    let world = world().await;
    let addr = world.server.addr;
    let World {
        dev,
        server,
        profile,
        ..
    } = world;
    server.shutdown().await;
    let mut client = start(&profile, None, &MemoryStore::default());
    let why = client.down().await;
    assert!(why.contains(&addr.to_string()), "{why}");
    assert!(matches!(
        client.chain.head(0).await,
        Err(ChainError::Rpc(_))
    ));
    let _server = dev.serve(addr).expect("serves again");
    client.up().await;
    client
        .until("News", |e| matches!(e, ChainEvent::News(_)))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_from_the_endpoint_is_waited_out_and_never_panics() {
    let world = world().await;
    let (front, url) = Front::open(world.dev.clone()).await;
    let account = world.rich(&key(1), 5_000_000).await;
    let mut client = start(&world.behind(url), Some(key(1)), &MemoryStore::default());
    client.up().await;
    let bodies: &[&[u8]] = &[
        b"",
        b"<html>hello</html>",
        b"[]",
        b"{}",
        b"null",
        b"\xff\xfe\x00\x01",
        br#"{"jsonrpc":"2.0","id":0,"result":null}"#,
        br#"{"jsonrpc":"2.0","id":0,"result":"0xzz"}"#,
        br#"{"jsonrpc":"2.0","id":0,"result":{"number":"0xffffffffffffffffffffffff"}}"#,
        br#"{"jsonrpc":"2.0","id":0,"error":"no"}"#,
        br#"[{"jsonrpc":"2.0","id":0,"result":[]}]"#,
    ];
    for (n, body) in bodies.iter().enumerate() {
        *front.garbage.lock().expect("lock") = Some(body.to_vec());
        client.chain.submit(fund(n as u8, 1_000, 50));
        client.down().await;
        assert!(client.chain.balances(account).await.is_err());
        *front.garbage.lock().expect("lock") = None;
        client.up().await;
        client.done().await;
    }
    assert_eq!(
        world.nonce(account),
        2 * bodies.len() as u64,
        "one approval and one payment each"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_do_not_fit_together_are_not_delivered() {
    let world = world().await;
    world.mine(5);
    world.rich(&key(1), 5_000).await;
    let mut payer = start(&world.profile, Some(key(1)), &MemoryStore::default());
    payer.chain.submit(fund(1, 1_000, 50));
    payer.done().await;
    type Change = (&'static str, fn(&mut Value));
    let changes: [Change; 5] = [
        ("eth_getLogs", |v| {
            v[0]["blockHash"] = json!(format!("0x{}", "11".repeat(32)))
        }),
        ("eth_getLogs", |v| v[0]["data"] = json!("0x01")),
        ("eth_getLogs", |v| v[0]["logIndex"] = Value::Null),
        ("eth_getLogs", |v| {
            let copy = v[0].clone();
            v.as_array_mut().expect("a list").push(copy);
        }),
        ("eth_getBlockByNumber", |v| {
            v["parentHash"] = json!(format!("0x{}", "22".repeat(32)))
        }),
    ];
    for (wanted, change) in changes {
        let (front, url) = Front::open(world.dev.clone()).await;
        front.rule(move |method, _| {
            if method == wanted {
                Deal::Change(change)
            } else {
                Deal::Pass
            }
        });
        let mut client = start(&world.behind(url), None, &MemoryStore::default());
        client.down().await;
        assert!(client.blocks.is_empty(), "nothing was delivered");
        front.rule(|_, _| Deal::Pass);
        client
            .fact("Funded", |f| matches!(f, ChainFact::Funded { .. }))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_falls_behind_is_waited_out_and_one_that_rewrites_final_blocks_stops_the_client()
 {
    let world = world().await;
    world.mine(5);
    let (front, url) = Front::open(world.dev.clone()).await;
    let mut client = start(&world.behind(url), None, &MemoryStore::default());
    client
        .until("News", |e| matches!(e, ChainEvent::News(_)))
        .await;
    let old = world
        .dev
        .call("eth_getBlockByNumber", json!(["0x3", false]))
        .expect("a block");
    front.rule(move |method, params| match method {
        "eth_getBlockByNumber" if params[0] == "finalized" => Deal::Answer(old.clone()),
        _ => Deal::Pass,
    });
    let why = client.down().await;
    assert!(why.contains("is behind"), "{why}");
    front.rule(|_, _| Deal::Pass);
    client.up().await;
    world.mine(1);
    client
        .until("News", |e| matches!(e, ChainEvent::News(_)))
        .await;

    front.rule(|method, _| match method {
        "eth_getBlockByNumber" => {
            Deal::Change(|v| v["hash"] = json!(format!("0x{}", "33".repeat(32))))
        }
        _ => Deal::Pass,
    });
    let why = client.refused().await;
    assert!(why.contains("contradicts itself"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_endpoints_that_disagree_keep_everything_back() {
    let world = world().await;
    let account = world.rich(&key(1), 5_000).await;
    let (liar, url) = Front::open(world.dev.clone()).await;
    liar.rule(|method, _| match method {
        "eth_getBlockByNumber" => {
            Deal::Change(|v| v["hash"] = json!(format!("0x{}", "44".repeat(32))))
        }
        _ => Deal::Pass,
    });
    let profile = NetworkProfile {
        rpc: vec![world.url(), url],
        ..world.profile.clone()
    };
    let mut client = start(&profile, Some(key(1)), &MemoryStore::default());
    client.chain.submit(fund(1, 1_000, 50));
    let why = client.down().await;
    assert!(why.contains("disagree about final block"), "{why}");
    assert!(client.blocks.is_empty(), "nothing was delivered");
    assert_eq!(world.nonce(account), 0, "nothing was signed");
    liar.rule(|_, _| Deal::Pass);
    client
        .fact("Funded", |f| matches!(f, ChainFact::Funded { .. }))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_endpoint_takes_over_when_the_first_is_down() {
    let world = world().await;
    let profile = NetworkProfile {
        rpc: vec!["http://127.0.0.1:1".to_owned(), world.url()],
        ..world.profile.clone()
    };
    let mut client = start(&profile, None, &MemoryStore::default());
    client.up().await;
    client
        .until("News", |e| matches!(e, ChainEvent::News(_)))
        .await;
    assert!(
        !client
            .other
            .iter()
            .any(|e| matches!(e, ChainEvent::Down { .. })),
        "the network was reachable"
    );
}
