//! The chain client against the embedded development chain over its loopback port, with a front that loses, delays or falsifies
//! answers where a test wants it.

mod endpoints;
mod equivocation;
mod faults;
mod forced;
mod histories;
mod kills;
mod money;
mod outbox;
mod overrule;
mod recovery;
mod relays;
mod reorgs;
mod round;
mod shares;
mod stake;
mod token;
mod watching;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use alloy::{
    consensus::{Transaction as _, TxEnvelope},
    eips::eip2718::Decodable2718,
    primitives::{Address, U256, hex},
};
use assay_protocol::{
    amount::Amount,
    core::ChainCall,
    crypto::{EvmKey, NodeKeypair},
    id::{Account, Hash, TaskId},
    message::{BlockNews, ChainFact},
    network::{CodeHashes, Extras, NetworkProfile, Params},
};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::devchain::{DevChain, DevChainConfig, DevChainServer};

/// Longest wait for anything in these tests.
const WAIT: Duration = Duration::from_secs(60);
const ETHER: u128 = 1_000_000_000_000_000_000;
const DEPLOYER: [u8; 32] = [0xd0; 32];

/// What the front does with one question.
enum Deal {
    Pass,
    /// The chain never sees it; the asker gets an HTTP error.
    LoseQuestion,
    /// The chain does it; the asker gets an HTTP error.
    LoseAnswer,
    /// Answered without the chain.
    Answer(Value),
    /// Refused without the chain.
    Refuse(&'static str),
    /// Answered by the chain, then changed.
    Change(fn(&mut Value)),
}

type Rule = Box<dyn FnMut(&str, &Value) -> Deal + Send>;

/// A loopback endpoint in front of a chain.
#[derive(Clone)]
struct Front {
    /// What is behind it; another chain where a test wants it.
    chain: Arc<Mutex<DevChain>>,
    rule: Arc<Mutex<Rule>>,
    /// Whole bodies to answer with, instead of anything sensible.
    garbage: Arc<Mutex<Option<Vec<u8>>>>,
    /// Raw transactions that arrived, in order.
    sent: Arc<Mutex<Vec<String>>>,
}

impl Front {
    async fn open(chain: DevChain) -> (Self, String) {
        let front = Self {
            chain: Arc::new(Mutex::new(chain)),
            rule: Arc::new(Mutex::new(Box::new(|_, _| Deal::Pass))),
            garbage: Arc::default(),
            sent: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new()
            .route("/", post(answer))
            .with_state(front.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (front, url)
    }

    fn rule(&self, rule: impl FnMut(&str, &Value) -> Deal + Send + 'static) {
        *self.rule.lock().expect("lock") = Box::new(rule);
    }

    fn put_behind(&self, chain: &DevChain) {
        *self.chain.lock().expect("lock") = chain.clone();
    }

    fn one(&self, question: &Value) -> Option<Value> {
        let (method, params, id) = (
            question["method"].as_str()?,
            &question["params"],
            &question["id"],
        );
        if method == "eth_sendRawTransaction" {
            self.sent
                .lock()
                .expect("lock")
                .push(params[0].as_str()?.to_owned());
        }
        let chain = self.chain.lock().expect("lock").clone();
        let ask = || chain.call(method, params.clone());
        let result = match (self.rule.lock().expect("lock"))(method, params) {
            Deal::Pass => ask(),
            Deal::LoseQuestion => return None,
            Deal::LoseAnswer => {
                let _ = ask();
                return None;
            }
            Deal::Answer(value) => Ok(value),
            Deal::Refuse(why) => {
                return Some(
                    json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": why}}),
                );
            }
            Deal::Change(change) => ask().map(|mut value| {
                change(&mut value);
                value
            }),
        };
        Some(match result {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err(e) => {
                let mut error = json!({"code": e.code, "message": e.message});
                if let Some(data) = &e.data {
                    error["data"] = json!(data);
                }
                json!({"jsonrpc": "2.0", "id": id, "error": error})
            }
        })
    }

    /// Distinct raw transactions that arrived, as (nonce, hash).
    fn distinct(&self) -> Vec<(u64, String)> {
        let mut list: Vec<_> = self
            .sent
            .lock()
            .expect("lock")
            .iter()
            .map(|raw| {
                let tx = TxEnvelope::decode_2718_exact(&hex::decode(raw).expect("hex"))
                    .expect("a transaction");
                (tx.nonce(), tx.tx_hash().to_string())
            })
            .collect();
        list.sort();
        list.dedup();
        list
    }
}

async fn answer(State(front): State<Front>, body: Bytes) -> Response {
    if let Some(garbage) = front.garbage.lock().expect("lock").clone() {
        return garbage.into_response();
    }
    let answers = match serde_json::from_slice(&body).expect("the client sends JSON") {
        Value::Array(list) => list
            .iter()
            .map(|q| front.one(q))
            .collect::<Option<Vec<_>>>()
            .map(Value::Array),
        question => front.one(&question),
    };
    match answers {
        Some(value) => axum::Json(value).into_response(),
        None => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// An outbox in memory that can die at a chosen write.
#[derive(Clone, Default)]
struct MemoryStore {
    rows: Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>,
    /// Writes left before the store dies; none: lives for ever.
    left: Arc<Mutex<Option<usize>>>,
    writes: Arc<AtomicUsize>,
}

impl MemoryStore {
    fn spend(&self) -> Result<(), String> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        match &mut *self.left.lock().expect("lock") {
            Some(0) => Err("the disk is gone".to_owned()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn is_empty(&self) -> bool {
        self.rows.lock().expect("lock").is_empty()
    }
}

impl OutboxStore for MemoryStore {
    fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
        Ok(self
            .rows
            .lock()
            .expect("lock")
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        // As the database does.
        if key.len() > assay_storage::KEY_BYTES_MAX {
            return Err(format!("a key of {} bytes is too long", key.len()));
        }
        self.spend()?;
        self.rows
            .lock()
            .expect("lock")
            .insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), String> {
        self.spend()?;
        self.rows.lock().expect("lock").remove(key);
        Ok(())
    }
}

/// A development chain with a network on it.
struct World {
    dev: DevChain,
    server: DevChainServer,
    profile: NetworkProfile,
    deployed: Deployed,
}

fn dev_params() -> DeployParams {
    DeployParams {
        committee_max: 5,
        term_epochs: 4,
        ..DeployParams::dev()
    }
}

async fn world_with(finality_depth: u64, params: DeployParams) -> World {
    world_in(None, finality_depth, params).await
}

/// The chain's configuration; with a folder it can be copied.
fn dev_config(dir: Option<std::path::PathBuf>, finality_depth: u64) -> DevChainConfig {
    let deployer = EvmKey::from_secret(&DEPLOYER).expect("a key").account();
    DevChainConfig {
        dir,
        fsync: false,
        finality_depth,
        genesis: vec![(Address::from(deployer), U256::from(100 * ETHER))],
        ..DevChainConfig::default()
    }
}

async fn world_in(
    dir: Option<std::path::PathBuf>,
    finality_depth: u64,
    params: DeployParams,
) -> World {
    let (dev, server) = serve(dev_config(dir, finality_depth));
    network(dev, server, params).await
}

/// A development chain with nothing on it.
fn serve(config: DevChainConfig) -> (DevChain, DevChainServer) {
    let dev = DevChain::open(config).expect("opens");
    let server = dev
        .clone()
        .serve("127.0.0.1:0".parse().expect("an address"))
        .expect("serves");
    (dev, server)
}

async fn network(dev: DevChain, server: DevChainServer, params: DeployParams) -> World {
    let deployed = deploy(&server.url(), &DEPLOYER, &params)
        .await
        .expect("deploys");
    let profile = NetworkProfile {
        name: "chain-test".to_owned(),
        chain_id: deployed.chain_id,
        dev: true,
        rpc: vec![server.url()],
        bootstrap: Vec::new(),
        start_block: deployed.start_block,
        contracts: deployed.contracts.clone(),
        code: deployed.code.clone(),
        extras: deployed.extras.clone(),
        params: Params {
            lanes: params.lanes,
            ..Params::dev()
        },
    };
    World {
        dev,
        server,
        profile,
        deployed,
    }
}

async fn world() -> World {
    world_with(0, dev_params()).await
}

/// A client with its events and what was read of them.
struct Client {
    chain: Chain,
    events: mpsc::Receiver<ChainEvent>,
    blocks: Vec<BlockNews>,
    other: Vec<ChainEvent>,
}

fn start(profile: &NetworkProfile, key: Option<[u8; 32]>, store: &MemoryStore) -> Client {
    start_on(profile, key, Arc::new(store.clone()))
}

fn start_on(
    profile: &NetworkProfile,
    key: Option<[u8; 32]>,
    store: Arc<dyn OutboxStore>,
) -> Client {
    let cfg = ChainConfig {
        poll: Duration::from_millis(10),
        ..ChainConfig::new(profile.clone(), key)
    };
    let (chain, events) = Chain::start(cfg, store).expect("starts");
    Client {
        chain,
        events,
        blocks: Vec::new(),
        other: Vec::new(),
    }
}

impl Client {
    /// Why the next wish failed.
    async fn failure(&mut self) -> String {
        let failed = self.until("Failed", |e| matches!(e, ChainEvent::Failed { .. }));
        match failed.await {
            ChainEvent::Failed { why, .. } => why,
            other => panic!("{other:?}"),
        }
    }

    /// Reads events until one fits.
    async fn until(&mut self, what: &str, fits: impl Fn(&ChainEvent) -> bool) -> ChainEvent {
        let deadline = tokio::time::Instant::now() + WAIT;
        loop {
            let event = tokio::time::timeout_at(deadline, self.events.recv())
                .await
                .unwrap_or_else(|_| panic!("no {what} within {WAIT:?}; seen: {:?}", self.other))
                .expect("the client runs");
            if let ChainEvent::News(news) = &event {
                assert!(news.len() <= NEWS_BLOCKS_MAX);
                for block in news {
                    if let Some(last) = self.blocks.last() {
                        assert_eq!(
                            block.block.number,
                            last.block.number + 1,
                            "no gap, nothing twice"
                        );
                    }
                    self.blocks.push(block.clone());
                }
            } else {
                self.other.push(event.clone());
            }
            if fits(&event) {
                return event;
            }
        }
    }

    async fn done(&mut self) -> ChainEvent {
        self.until("Done", |e| matches!(e, ChainEvent::Done { .. }))
            .await
    }

    async fn up(&mut self) {
        self.until("Up", |e| matches!(e, ChainEvent::Up { .. }))
            .await;
    }

    async fn down(&mut self) -> String {
        match self
            .until("Down", |e| matches!(e, ChainEvent::Down { .. }))
            .await
        {
            ChainEvent::Down { why } => why,
            _ => unreachable!("filtered"),
        }
    }

    async fn failed(&mut self) -> (String, bool) {
        match self
            .until("Failed", |e| matches!(e, ChainEvent::Failed { .. }))
            .await
        {
            ChainEvent::Failed { why, permanent, .. } => (why, permanent),
            _ => unreachable!("filtered"),
        }
    }

    /// The reason of the next failure for good.
    async fn refused(&mut self) -> String {
        let fits = |e: &ChainEvent| {
            matches!(
                e,
                ChainEvent::Failed {
                    permanent: true,
                    ..
                }
            )
        };
        match self.until("Failed for good", fits).await {
            ChainEvent::Failed { why, .. } => why,
            _ => unreachable!("filtered"),
        }
    }

    /// The first fact that fits, among the blocks read so far and to come.
    async fn fact(&mut self, what: &str, fits: impl Fn(&ChainFact) -> bool) -> ChainFact {
        let find = |blocks: &[BlockNews]| {
            blocks
                .iter()
                .flat_map(|b| &b.facts)
                .find(|f| fits(f))
                .cloned()
        };
        if let Some(fact) = find(&self.blocks) {
            return fact;
        }
        let event = self
            .until(
                what,
                |e| matches!(e, ChainEvent::News(news) if find(news).is_some()),
            )
            .await;
        let ChainEvent::News(news) = event else {
            unreachable!("filtered")
        };
        find(&news).expect("just found")
    }
}

impl World {
    fn url(&self) -> String {
        self.server.url()
    }

    /// Money for an account.
    async fn rich(&self, key: &[u8; 32], tokens: u128) -> Account {
        let account = EvmKey::from_secret(key).expect("a key").account();
        dev_fund(
            &self.url(),
            self.profile.contracts.token,
            account,
            ETHER,
            Amount(tokens),
        )
        .await
        .expect("funds");
        account
    }

    fn nonce(&self, account: Account) -> u64 {
        let count = self
            .dev
            .call(
                "eth_getTransactionCount",
                json!([Address::from(account), "latest"]),
            )
            .expect("a count");
        u64::from_str_radix(count.as_str().expect("text").trim_start_matches("0x"), 16)
            .expect("hex")
    }

    fn mine(&self, blocks: u64) {
        self.dev.call("dev_mine", json!([blocks])).expect("mines");
    }

    fn behind(&self, url: String) -> NetworkProfile {
        NetworkProfile {
            rpc: vec![url],
            ..self.profile.clone()
        }
    }
}

fn key(n: u8) -> [u8; 32] {
    [n; 32]
}

fn node(n: u8) -> NodeKeypair {
    NodeKeypair::from_seed(&[n; 32])
}

fn fund(task: u8, deposit: u128, gold_bond: u128) -> ChainCall {
    ChainCall::Fund {
        task: TaskId([task; 32]),
        lane: 0,
        deposit: Amount(deposit),
        gold_bond: Amount(gold_bond),
    }
}
