//! A swarm of full nodes in this process.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use assay_protocol::{
    amount::Amount,
    core::Notice,
    crypto::{EvmKey, NodeKeypair, hash},
    id::{Account, Hash, TaskId},
    lane::role,
    network::NetworkProfile,
    task::TaskOutcome,
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    chain,
    devnet::{Devnet, DevnetConfig},
    runtime::{Node, NodeConfig},
};

/// Validators of a demonstration.
pub const VALIDATORS: usize = 5;
/// Stake of every participant, base units of a token with 6 decimals.
pub const STAKE: Amount = Amount(1_000_000_000);
/// Tokens in a participant's hand at the start.
const PURSE: Amount = Amount(100_000_000_000);
/// Wei for gas at the start.
const WEI: u128 = 10 * 10u128.pow(18);
/// Nodes started at once; most of a start is waiting for the registration to be mined.
const STARTS_AT_ONCE: usize = 16;
/// How often a lone node asks the chain for news.
const POLL: Duration = Duration::from_millis(200);

/// All nodes of a swarm share one machine and one chain, so a large swarm asks less often.
fn poll(nodes: usize) -> Duration {
    (POLL + Duration::from_millis(10) * nodes.saturating_sub(24) as u32).min(Duration::from_secs(2))
}

/// One participant.
#[derive(Clone)]
pub struct Participant {
    pub name: String,
    pub account: Account,
    pub node: Node,
}

/// Everybody.
pub struct Swarm {
    pub devnet: Devnet,
    pub validators: Vec<Participant>,
    pub client: Participant,
    pub labelers: Vec<Participant>,
    pub dir: PathBuf,
    pub seconds: Vec<(&'static str, f64)>,
    last: Instant,
}

fn seconds(from: Instant) -> f64 {
    from.elapsed().as_secs_f64()
}

impl Swarm {
    /// Starts chain, first-contact server and all nodes in `dir`, funds and registers them.
    pub async fn start(
        dir: PathBuf,
        seed: &[u8; 32],
        labelers: usize,
        say: impl Fn(&str),
    ) -> anyhow::Result<Self> {
        let begun = Instant::now();
        say("starting the development chain, its contracts and the first-contact server");
        let devnet = Devnet::start(DevnetConfig {
            dir: dir.join("network"),
            chain_port: 0,
            bootstrap_port: 0,
            block_interval: Duration::from_millis(250),
            validators_min: VALIDATORS as u32,
            seed: hash("assay/1/demo-chain", &[seed]).0,
        })
        .await
        .context("the development network does not start")?;
        let mut seconds_spent = vec![("chain, contracts, first contact", seconds(begun))];

        let begun = Instant::now();
        say(&format!("starting {} nodes", VALIDATORS + 1 + labelers));
        let profile = devnet.profile().clone();
        let names = (0..VALIDATORS)
            .map(|i| (format!("validator-{i}"), role::VALIDATOR))
            .chain([("client".to_owned(), role::CLIENT)])
            .chain((0..labelers).map(|i| (format!("labeler-{i}"), role::LABELER)));
        let pace = poll(VALIDATORS + 1 + labelers);
        let all: Vec<Participant> = stream::iter(names)
            .map(|(name, role)| {
                start_one(dir.join(&name), profile.clone(), *seed, name, role, pace)
            })
            .buffered(STARTS_AT_ONCE)
            .try_collect()
            .await?;
        let mut all = all.into_iter();
        let validators: Vec<_> = all.by_ref().take(VALIDATORS).collect();
        let client = all.next().context("a swarm has a client")?;
        let labelers: Vec<_> = all.collect();
        seconds_spent.push(("nodes started, funded, registered", seconds(begun)));

        let begun = Instant::now();
        say("waiting for the committee, and until every node sees every registration");
        let swarm = Self {
            devnet,
            validators,
            client,
            labelers,
            dir,
            seconds: seconds_spent,
            last: begun,
        };
        swarm.wait_until_ready().await?;
        let mut swarm = swarm;
        swarm.lap("committee drawn, registrations final");
        Ok(swarm)
    }

    /// Notes the seconds since the last lap.
    pub fn lap(&mut self, what: &'static str) {
        self.seconds.push((what, seconds(self.last)));
        self.last = Instant::now();
    }

    /// Everybody in one list.
    pub fn everybody(&self) -> impl Iterator<Item = &Participant> {
        self.validators
            .iter()
            .chain([&self.client])
            .chain(&self.labelers)
    }

    async fn wait_until_ready(&self) -> anyhow::Result<()> {
        let everybody = self.validators.len() + 1 + self.labelers.len();
        let deadline = Instant::now() + Duration::from_secs(60);
        for p in self.everybody() {
            loop {
                let ready = p
                    .node
                    .with_core(move |core| {
                        core.live(0)
                            .is_some_and(|l| l.accounts.len() == everybody && l.committee.is_some())
                    })
                    .await?;
                if ready {
                    break;
                }
                if Instant::now() > deadline {
                    bail!(
                        "{}: the committee or some registrations did not appear on chain within a minute",
                        p.name
                    );
                }
                tokio::time::sleep(POLL / 4).await;
            }
        }
        Ok(())
    }

    /// Waits until every node has finished `task`, and returns the outcome that all of them computed.
    pub async fn finish(&self, task: TaskId, limit: Duration) -> anyhow::Result<TaskOutcome> {
        let deadline = Instant::now() + limit;
        let mut first: Option<TaskOutcome> = None;
        for p in self.everybody() {
            let outcome = loop {
                if let Ok(outcome) = p.node.outcome(task).await {
                    break outcome;
                }
                if Instant::now() > deadline {
                    bail!("{} did not see the end of the task in time", p.name);
                }
                tokio::time::sleep(POLL / 4).await;
            };
            match &first {
                None => first = Some(outcome),
                Some(f) if *f == outcome => {}
                Some(_) => bail!("{} computed another outcome than the others", p.name),
            }
        }
        first.context("a swarm has nodes")
    }

    /// Waits for a notice.
    pub async fn wait_for(
        node: &Node,
        mut notices: tokio::sync::broadcast::Receiver<Notice>,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&Notice) -> bool,
    ) -> anyhow::Result<()> {
        let seen = async {
            loop {
                match notices.recv().await {
                    Ok(Notice::Alarm { text }) => bail!("alarm while waiting for {what}: {text}"),
                    Ok(notice) if wanted(&notice) => return Ok(()),
                    Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                    Err(_) => bail!(
                        "the node stopped: {}",
                        node.wait().await.unwrap_or_default()
                    ),
                }
            }
        };
        tokio::time::timeout(limit, seen)
            .await
            .with_context(|| format!("{what} did not come in time"))?
    }

    /// Stops everything and removes the data directories.
    pub async fn shutdown(self) {
        let nodes: Vec<Node> = self.everybody().map(|p| p.node.clone()).collect();
        stream::iter(nodes)
            .for_each_concurrent(STARTS_AT_ONCE, |node| async move { node.shutdown().await })
            .await;
        self.devnet.shutdown().await;
        // Leftovers in the system's folder for temporary files harm nobody.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

async fn start_one(
    dir: PathBuf,
    profile: NetworkProfile,
    seed: [u8; 32],
    name: String,
    role: u8,
    poll: Duration,
) -> anyhow::Result<Participant> {
    let secret = |kind: &str| {
        hash(
            "assay/1/demo-key",
            &[&seed, name.as_bytes(), kind.as_bytes()],
        )
        .0
    };
    let node_keys = NodeKeypair::from_seed(&secret("node"));
    let evm =
        EvmKey::from_secret(&secret("account")).context("an unusable key; choose another seed")?;
    let account = evm.account();
    let rpc = profile
        .rpc
        .first()
        .cloned()
        .context("a development network has an RPC address")?;
    chain::dev_fund(&rpc, profile.contracts.token, account, WEI, PURSE)
        .await
        .with_context(|| format!("{name}: no tokens"))?;
    let listen = ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"];
    let listen = listen.iter().filter_map(|a| a.parse().ok()).collect();
    let config = NodeConfig {
        data_dir: dir,
        profile,
        node: node_keys.clone(),
        evm: Some(evm),
        listen,
        poll,
    };
    let node = Node::start(config)
        .await
        .with_context(|| format!("{name} does not start"))?;
    let seal_key = Hash(secret("seal"));
    node.chain()
        .register(role, STAKE, &node_keys, seal_key, account)
        .await
        .with_context(|| format!("{name} cannot register"))?;
    Ok(Participant {
        name,
        account,
        node,
    })
}
