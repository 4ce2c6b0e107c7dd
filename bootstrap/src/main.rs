//! The command line of the first-contact server: parse, load the key, start, wait for a signal.

use std::path::PathBuf;

use anyhow::Context;
use assay_bootstrap::names::NetworkName;
use assay_bootstrap::{Server, ServerConfig, ServerHandle, ServerLimits, key_file};
use clap::Parser;
use libp2p::Multiaddr;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

const EXAMPLES: &str = "\
Examples:
  A public server on fixed ports, over QUIC and TCP:
    assay-bootstrap --network main --key-file /var/lib/assay/bootstrap.key \\
      --listen /ip4/0.0.0.0/udp/4001/quic-v1 --listen /ip4/0.0.0.0/tcp/4001 \\
      --external-address /ip4/203.0.113.7/udp/4001/quic-v1

  A server for a network on one machine, on ports the system picks:
    assay-bootstrap --network dev --listen /ip4/127.0.0.1/udp/0/quic-v1 --json
";

/// First contact of an Assay network: gives new nodes their first peers and introduces nodes behind a NAT.
///
/// It learns addresses, never tasks or labels. Nodes are pointed at it with the addresses it prints.
#[derive(Debug, Parser)]
#[command(name = "assay-bootstrap", version, before_help = EXAMPLES)]
struct Arguments {
    /// Address to listen on; repeat for several [default: QUIC and TCP on port 4001 of all interfaces]
    #[arg(
        long,
        value_name = "MULTIADDR",
        env = "ASSAY_BOOTSTRAP_LISTEN",
        value_delimiter = ','
    )]
    listen: Vec<Multiaddr>,

    /// Where the identity is kept; created with mode 0600 at first start
    #[arg(
        long,
        value_name = "FILE",
        env = "ASSAY_BOOTSTRAP_KEY_FILE",
        default_value = "bootstrap.key"
    )]
    key_file: PathBuf,

    /// Network served; nodes of another network are disconnected
    #[arg(
        long,
        value_name = "NAME",
        env = "ASSAY_BOOTSTRAP_NETWORK",
        default_value = "dev"
    )]
    network: String,

    /// Address others reach this server at, if it is not one it listens on; repeat for several
    #[arg(
        long,
        value_name = "MULTIADDR",
        env = "ASSAY_BOOTSTRAP_EXTERNAL_ADDRESS",
        value_delimiter = ','
    )]
    external_address: Vec<Multiaddr>,

    /// Accept private and loopback addresses [default: only on networks named dev or dev-...]
    #[arg(long, env = "ASSAY_BOOTSTRAP_ALLOW_PRIVATE_ADDRESSES")]
    allow_private_addresses: bool,

    /// Print machine-readable lines: one JSON object an event
    #[arg(long, env = "ASSAY_BOOTSTRAP_JSON")]
    json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();

    // Installed before anything is printed: whoever waits for the first line may signal right after it.
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;

    let mut server = Server::start(server_config(&arguments)?).await?;
    announce(&server, arguments.json);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = server.wait() => anyhow::bail!("the server's task ended on its own; see the log above"),
    }
    server.shutdown().await;
    Ok(())
}

fn server_config(arguments: &Arguments) -> anyhow::Result<ServerConfig> {
    let network = NetworkName::parse(&arguments.network)?;
    let listen = if arguments.listen.is_empty() {
        ["/ip4/0.0.0.0/udp/4001/quic-v1", "/ip4/0.0.0.0/tcp/4001"]
            .iter()
            .map(|address| address.parse().expect("a literal multiaddr"))
            .collect()
    } else {
        arguments.listen.clone()
    };
    Ok(ServerConfig {
        key_seed: key_file::load_or_create(&arguments.key_file)?,
        network: arguments.network.clone(),
        listen,
        external_addresses: arguments.external_address.clone(),
        allow_private_addresses: arguments.allow_private_addresses || network.is_development(),
        limits: ServerLimits::default(),
    })
}

fn announce(server: &ServerHandle, json: bool) {
    let addresses: Vec<String> = server.addresses().iter().map(ToString::to_string).collect();
    if json {
        let line = serde_json::json!({
            "event": "listening",
            "peer_id": server.peer_id().to_string(),
            "addresses": addresses,
        });
        println!("{line}");
    } else {
        println!("Peer id {}", server.peer_id());
        println!("Point nodes at one of:");
        for address in addresses {
            println!("  {address}");
        }
    }
}
