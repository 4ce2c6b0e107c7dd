//! A development network in one process: an embedded chain with the contracts on it, and a first-contact server.
//!
//! For demonstrations, tests and local work. Nothing on it has value, it listens on loopback only, and it says so. What it makes (the journal
//! of the chain, the key of the server, the network profile) lives in one folder; a restart goes on with the same network.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use assay_bootstrap::{Server, ServerConfig, ServerHandle, ServerLimits, key_file};
use assay_protocol::{
    amount::Amount,
    crypto::{EvmKey, hash},
    id::Account,
    network::{NetworkProfile, Params},
};

use crate::{
    chain::{self, ChainError, DeployParams},
    devchain::{DEFAULT_CHAIN_ID, DevChain, DevChainConfig, DevChainError, DevChainServer},
};

/// How a development network is started.
#[derive(Clone, Debug)]
pub struct DevnetConfig {
    /// Folder of the network.
    pub dir: PathBuf,
    /// Port of the chain's JSON-RPC; 0 lets the system choose. A restart takes the port of the profile.
    pub chain_port: u16,
    /// Port of the first-contact server; as above.
    pub bootstrap_port: u16,
    /// Time between blocks.
    pub block_interval: Duration,
    /// Validators that must be registered before the first committee is drawn.
    pub validators_min: u32,
    /// Secret of the chain's randomness and of the deployer.
    pub seed: [u8; 32],
}

/// Why a development network does not start.
#[derive(Debug, thiserror::Error)]
pub enum DevnetError {
    /// A file of the network.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// The chain.
    #[error(transparent)]
    DevChain(#[from] DevChainError),
    /// Putting the contracts on it.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The first-contact server.
    #[error("first-contact server: {0}")]
    Bootstrap(String),
}

/// A running development network.
pub struct Devnet {
    profile: NetworkProfile,
    dir: PathBuf,
    chain: DevChain,
    server: DevChainServer,
    bootstrap: ServerHandle,
    deploy_gas: Vec<(String, u64)>,
}

fn file_error(path: &Path, why: impl ToString) -> DevnetError {
    DevnetError::File {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

/// Writes a file so that a crash leaves the old one or the new one.
fn write_whole(path: &Path, text: &str) -> Result<(), DevnetError> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, text).map_err(|e| file_error(&partial, e))?;
    std::fs::rename(&partial, path).map_err(|e| file_error(path, e))
}

impl Devnet {
    /// Starts, or goes on with, the network in `config.dir`.
    ///
    /// # Errors
    /// [`DevnetError`].
    pub async fn start(config: DevnetConfig) -> Result<Self, DevnetError> {
        std::fs::create_dir_all(&config.dir).map_err(|e| file_error(&config.dir, e))?;
        let path = config.dir.join("profile.toml");
        let known = match std::fs::read_to_string(&path) {
            Ok(text) => {
                Some(toml::from_str::<NetworkProfile>(&text).map_err(|e| file_error(&path, e))?)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(file_error(&path, e)),
        };
        let chain_port = known.as_ref().map_or(config.chain_port, |p| {
            port_of(p.rpc.first(), ':', config.chain_port)
        });
        let chain = DevChain::open(DevChainConfig {
            chain_id: DEFAULT_CHAIN_ID,
            dir: Some(config.dir.join("chain")),
            block_interval: Some(config.block_interval),
            seed: config.seed,
            ..DevChainConfig::default()
        })?;
        let server = chain
            .clone()
            .serve(SocketAddr::from((Ipv4Addr::LOCALHOST, chain_port)))?;
        let url = server.url();
        let bootstrap = start_bootstrap(&config, known.as_ref()).await?;
        let addresses: Vec<String> = bootstrap
            .addresses()
            .iter()
            .map(ToString::to_string)
            .collect();

        let (mut profile, deploy_gas) = match known {
            Some(profile) => (profile, Vec::new()),
            None => deploy(&config, &url).await?,
        };
        profile.rpc = vec![url];
        profile.bootstrap = addresses;
        let text = toml::to_string(&profile).map_err(|e| file_error(&path, e))?;
        write_whole(&path, &text)?;
        chain.start_mining()?;
        Ok(Self {
            profile,
            dir: config.dir,
            chain,
            server,
            bootstrap,
            deploy_gas,
        })
    }

    /// The network's profile.
    pub fn profile(&self) -> &NetworkProfile {
        &self.profile
    }

    /// Where the profile is written.
    pub fn profile_path(&self) -> PathBuf {
        self.dir.join("profile.toml")
    }

    /// Gas of each deployment transaction of a fresh network; empty after a restart.
    pub fn deploy_gas(&self) -> &[(String, u64)] {
        &self.deploy_gas
    }

    /// The chain, for tests that move its time.
    pub fn chain(&self) -> &DevChain {
        &self.chain
    }

    /// Stops mining, the RPC port and the first-contact server.
    pub async fn shutdown(self) {
        self.chain.stop_mining();
        self.bootstrap.shutdown().await;
        self.server.shutdown().await;
    }
}

fn port_of(address: Option<&String>, separator: char, otherwise: u16) -> u16 {
    address
        .and_then(|a| {
            a.rsplit(separator)
                .next()?
                .trim_end_matches('/')
                .parse()
                .ok()
        })
        .unwrap_or(otherwise)
}

async fn start_bootstrap(
    config: &DevnetConfig,
    known: Option<&NetworkProfile>,
) -> Result<ServerHandle, DevnetError> {
    let failed = |e: &dyn std::fmt::Display| DevnetError::Bootstrap(e.to_string());
    let key_seed =
        key_file::load_or_create(&config.dir.join("bootstrap.key")).map_err(|e| failed(&e))?;
    // /ip4/127.0.0.1/udp/PORT/quic-v1/p2p/...: nodes have each transport's own port from their profile.
    let port = |transport: &str| {
        let port_in = |address: &String| {
            let (_, rest) = address.split_once(transport)?;
            rest.split('/').next()?.parse().ok()
        };
        known
            .and_then(|p| p.bootstrap.iter().find_map(port_in))
            .unwrap_or(config.bootstrap_port)
    };
    let listen = [
        format!("/ip4/127.0.0.1/udp/{}/quic-v1", port("/udp/")),
        format!("/ip4/127.0.0.1/tcp/{}", port("/tcp/")),
    ];
    let mut addresses = Vec::new();
    for text in listen {
        addresses.push(
            text.parse()
                .map_err(|e: libp2p::multiaddr::Error| failed(&e))?,
        );
    }
    Server::start(ServerConfig {
        key_seed,
        network: NAME.into(),
        listen: addresses,
        external_addresses: Vec::new(),
        allow_private_addresses: true,
        limits: ServerLimits::default(),
    })
    .await
    .map_err(|e| failed(&e))
}

/// Wei for the deployment: far more than it costs.
const DEPLOYER_WEI: u128 = 10 * 10u128.pow(18);

/// Name of every development network.
const NAME: &str = "dev";

async fn deploy(
    config: &DevnetConfig,
    url: &str,
) -> Result<(NetworkProfile, Vec<(String, u64)>), DevnetError> {
    let secret = hash("assay/1/devnet-deployer", &[&config.seed]).0;
    let key = EvmKey::from_secret(&secret)
        .ok_or_else(|| DevnetError::Bootstrap("unusable seed; choose another".into()))?;
    // The deployer needs gas only; the token does not exist yet.
    chain::dev_fund(
        url,
        Account::default(),
        key.account(),
        DEPLOYER_WEI,
        Amount::ZERO,
    )
    .await?;
    let mut params = Params::dev();
    params.committee_min = config.validators_min;
    let terms = DeployParams {
        lanes: params.lanes,
        term_epochs: params.term_epochs,
        committee_max: 21,
        ..DeployParams::dev()
    };
    let deployed = chain::deploy(url, &key.secret(), &terms).await?;
    let profile = NetworkProfile {
        name: NAME.into(),
        chain_id: DEFAULT_CHAIN_ID,
        dev: true,
        rpc: vec![url.to_owned()],
        bootstrap: Vec::new(),
        start_block: deployed.start_block,
        contracts: deployed.contracts,
        code: deployed.code,
        extras: deployed.extras,
        params,
    };
    Ok((profile, deployed.gas))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_network_that_starts_again_is_where_its_nodes_look_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let config = || DevnetConfig {
            dir: dir.path().to_owned(),
            chain_port: 0,
            bootstrap_port: 0,
            block_interval: Duration::from_millis(100),
            seed: [7; 32],
            validators_min: 1,
        };
        let first = Devnet::start(config()).await.unwrap();
        let before = first.profile().clone();
        assert_eq!(before.bootstrap.len(), 2, "{:?}", before.bootstrap);
        first.shutdown().await;
        let again = Devnet::start(config()).await.unwrap();
        assert_eq!(*again.profile(), before);
        again.shutdown().await;
    }
}
