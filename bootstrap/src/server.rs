//! The first-contact server: one task that owns the swarm, and a handle to ask it things.
//!
//! ```text
//!   ServerConfig -> Server::start -> task: swarm events -> routing table, relay, AutoNAT
//!                        `-> ServerHandle: peer id, addresses, shutdown
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use futures::StreamExt;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::transport::ListenerId;
use libp2p::identity::Keypair;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{self, ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, Swarm, autonat, identify, memory_connection_limits, noise, ping, relay,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::address::AddressPolicy;
use crate::names::{NetworkName, NetworkNameError};
use crate::routing::{self, Kademlia};
use crate::transport::{self, Windows};

/// Longest wait at start for every listener to report an address, in seconds.
const LISTEN_SECONDS_MAX: u64 = 5;
/// Longest wait at shutdown for connections to say goodbye, in milliseconds.
const GOODBYE_MS_MAX: u64 = 500;

/// How much the server takes on. Defaults are for a public server with a few hundred MiB to spare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections opened by others.
    pub incoming_max: u32,
    /// Connections opened by the server (lookups, AutoNAT dial-backs).
    pub outgoing_max: u32,
    /// All connections.
    pub connections_max: u32,
    /// Connections with one peer; 3 leaves room for a relayed one, its direct upgrade and a dial-back. A new one closes the oldest: a
    /// peer that crashed comes back before its dead connections have timed out.
    pub per_peer_max: usize,
    /// Inbound handshakes at once.
    pub pending_incoming_max: u32,
    /// Outbound handshakes at once.
    pub pending_outgoing_max: u32,
    /// Percentage of the machine's memory beyond which new connections are refused; `None`: no such limit.
    pub memory_percent_max: Option<u8>,
    /// How long a connection may be idle, in seconds.
    pub idle_seconds: u64,
    /// Relay reservations in total.
    pub reservations_max: usize,
    /// Relay reservations of one peer.
    pub reservations_per_peer_max: usize,
    /// Relay circuits in total.
    pub circuits_max: usize,
    /// Relay circuits of one peer.
    pub circuits_per_peer_max: usize,
    /// Longest life of a circuit, in seconds.
    pub circuit_seconds_max: u64,
    /// Most bytes through one circuit: room for handshake, identify and gossip control, not for shards.
    pub circuit_bytes_max: u64,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            incoming_max: 1_000,
            outgoing_max: 200,
            connections_max: 1_200,
            per_peer_max: 3,
            pending_incoming_max: 128,
            pending_outgoing_max: 64,
            memory_percent_max: Some(75),
            idle_seconds: 30,
            reservations_max: 1_024,
            reservations_per_peer_max: 2,
            circuits_max: 256,
            circuits_per_peer_max: 4,
            circuit_seconds_max: 120,
            circuit_bytes_max: 1 << 20,
        }
    }
}

/// What a server needs to start.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Ed25519 seed of the server's identity (see [`crate::key_file`]).
    pub key_seed: [u8; 32],
    /// Network served, for example `dev`; part of every protocol name.
    pub network: String,
    /// Addresses to listen on, for example `/ip4/0.0.0.0/udp/4001/quic-v1`; port 0 lets the system choose.
    pub listen: Vec<Multiaddr>,
    /// Addresses others reach the server at, when they differ from the listening ones.
    pub external_addresses: Vec<Multiaddr>,
    /// Whether private and loopback addresses may be learned, shared and dialled: development networks only.
    pub allow_private_addresses: bool,
    /// Bounds.
    pub limits: ServerLimits,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The network name is unusable.
    #[error(transparent)]
    Network(#[from] NetworkNameError),
    /// The seed makes no key.
    #[error(
        "the key seed does not make an ed25519 key: {reason}; delete the key file to get a new one"
    )]
    Key {
        /// libp2p's reason.
        reason: String,
    },
    /// Encryption keys could not be made.
    #[error("cannot set up noise encryption: {0}")]
    Noise(#[from] noise::Error),
    /// There is nothing to listen on.
    #[error("no address to listen on was given: add one such as /ip4/0.0.0.0/udp/4001/quic-v1")]
    NothingToListenOn,
    /// A listening address could not be opened.
    #[error(
        "cannot listen on {address}: {reason}; is the port in use, or the address not of this machine?"
    )]
    Listen {
        /// The address asked for.
        address: Multiaddr,
        /// The reason.
        reason: String,
    },
}

/// The entry point; see [`Server::start`].
#[derive(Debug)]
pub struct Server;

/// A running server. Dropping it stops the server without goodbye; prefer [`ServerHandle::shutdown`].
#[derive(Debug)]
pub struct ServerHandle {
    peer_id: PeerId,
    addresses: watch::Receiver<Vec<Multiaddr>>,
    peers: watch::Receiver<usize>,
    stop: mpsc::Sender<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl ServerHandle {
    /// The server's peer id, the same at every start with the same key.
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Addresses the server listens on now, then its configured external ones; each ends in `/p2p/<peer id>`.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        self.addresses.borrow().clone()
    }

    /// Number of peers connected, as it changes.
    pub fn connected_peers(&self) -> watch::Receiver<usize> {
        self.peers.clone()
    }

    /// Closes every connection and listener, and returns when the task has ended.
    pub async fn shutdown(self) {
        let (done, ended) = oneshot::channel();
        if self.stop.send(done).await.is_ok() {
            let _ = ended.await;
        }
        let _ = self.task.await;
    }

    /// Returns when the server's task has ended, which only happens after a shutdown or a defect.
    pub async fn wait(&mut self) {
        let _ = (&mut self.task).await;
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    // The two that can refuse a connection come first, so that nothing is allocated for a refused one.
    limits: connection_limits::Behaviour,
    memory: Toggle<memory_connection_limits::Behaviour>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    kad: Kademlia,
    relay: relay::Behaviour,
    autonat: autonat::v2::server::Behaviour,
}

impl Server {
    /// Starts a server and returns when every listener has an address.
    ///
    /// # Errors
    /// [`ServerError`] when the configuration is unusable or an address cannot be listened on.
    pub async fn start(config: ServerConfig) -> Result<ServerHandle, ServerError> {
        let network = NetworkName::parse(&config.network)?;
        if config.listen.is_empty() {
            return Err(ServerError::NothingToListenOn);
        }
        let keypair =
            Keypair::ed25519_from_bytes(config.key_seed).map_err(|error| ServerError::Key {
                reason: error.to_string(),
            })?;
        let policy = if config.allow_private_addresses {
            AddressPolicy::PrivateAllowed
        } else {
            AddressPolicy::PublicOnly
        };
        let peer_id = keypair.public().to_peer_id();
        let transport = transport::direct(&keypair, Windows::SERVER, policy)?;
        let swarm_config = swarm::Config::with_tokio_executor()
            .with_notify_handler_buffer_size(NonZeroUsize::new(16).expect("16 is not zero"))
            .with_per_connection_event_buffer_size(32)
            .with_max_negotiating_inbound_streams(64)
            .with_idle_connection_timeout(Duration::from_secs(config.limits.idle_seconds))
            .with_smart_dial();
        let behaviour = behaviour(&keypair, &network, &config, policy);
        let mut swarm = Swarm::new(transport, behaviour, peer_id, swarm_config);
        for address in &config.external_addresses {
            swarm.add_external_address(address.clone());
        }

        let (addresses_out, addresses) = watch::channel(Vec::new());
        let (peers_out, peers) = watch::channel(0);
        let mut task = Task {
            swarm,
            network,
            policy,
            external: config.external_addresses.clone(),
            addresses: addresses_out,
            peers: peers_out,
            connections: BTreeMap::new(),
            per_peer_max: config.limits.per_peer_max,
        };
        task.listen(&config.listen).await?;
        let (stop, stop_requests) = mpsc::channel(1);
        Ok(ServerHandle {
            peer_id,
            addresses,
            peers,
            stop,
            task: tokio::spawn(task.run(stop_requests)),
        })
    }
}

fn behaviour(
    keypair: &Keypair,
    network: &NetworkName,
    config: &ServerConfig,
    policy: AddressPolicy,
) -> Behaviour {
    let local = keypair.public().to_peer_id();
    let limits = &config.limits;
    let connection_limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.pending_incoming_max))
        .with_max_pending_outgoing(Some(limits.pending_outgoing_max))
        .with_max_established_incoming(Some(limits.incoming_max))
        .with_max_established_outgoing(Some(limits.outgoing_max))
        .with_max_established(Some(limits.connections_max));
    let memory = limits.memory_percent_max.map(|percent| {
        memory_connection_limits::Behaviour::with_max_percentage(f64::from(percent) / 100.0)
    });
    let identify = identify::Config::new(network.identify_version(), keypair.public())
        .with_agent_version(format!("assay-bootstrap/{}", env!("CARGO_PKG_VERSION")))
        .with_hide_listen_addrs(!config.allow_private_addresses)
        .with_push_listen_addr_updates(true)
        .with_cache_size(0);
    let mut relay = relay::Behaviour::new(local, relay_config(limits));
    relay.set_status(Some(relay::Status::Enable));
    Behaviour {
        limits: connection_limits::Behaviour::new(connection_limits),
        memory: memory.into(),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::default(),
        kad: routing::kademlia(local, network, true, policy),
        relay,
        autonat: autonat::v2::server::Behaviour::default(),
    }
}

fn relay_config(limits: &ServerLimits) -> relay::Config {
    let per_peer = NonZeroU32::new(30).expect("30 is not zero");
    // libp2p's default of 60 an hour from one address would shut out homes behind one carrier NAT.
    let per_address = NonZeroU32::new(240).expect("240 is not zero");
    let (peer_interval, address_interval) = (Duration::from_secs(120), Duration::from_secs(15));
    relay::Config {
        max_reservations: limits.reservations_max,
        max_reservations_per_peer: limits.reservations_per_peer_max,
        reservation_rate_limiters: Vec::new(),
        max_circuits: limits.circuits_max,
        max_circuits_per_peer: limits.circuits_per_peer_max,
        max_circuit_duration: Duration::from_secs(limits.circuit_seconds_max),
        max_circuit_bytes: limits.circuit_bytes_max,
        circuit_src_rate_limiters: Vec::new(),
        ..relay::Config::default()
    }
    .reservation_rate_per_peer(per_peer, peer_interval)
    .reservation_rate_per_ip(per_address, address_interval)
    .circuit_src_per_peer(per_peer, peer_interval)
    .circuit_src_per_ip(per_address, address_interval)
}

struct Task {
    swarm: Swarm<Behaviour>,
    network: NetworkName,
    policy: AddressPolicy,
    external: Vec<Multiaddr>,
    addresses: watch::Sender<Vec<Multiaddr>>,
    peers: watch::Sender<usize>,
    /// Open connections by peer, oldest first.
    connections: BTreeMap<PeerId, Vec<ConnectionId>>,
    per_peer_max: usize,
}

impl Task {
    async fn listen(&mut self, wanted: &[Multiaddr]) -> Result<(), ServerError> {
        let mut waiting: Vec<(ListenerId, Multiaddr)> = Vec::new();
        for address in wanted {
            let listener =
                self.swarm
                    .listen_on(address.clone())
                    .map_err(|error| ServerError::Listen {
                        address: address.clone(),
                        reason: transport::with_causes(&error),
                    })?;
            waiting.push((listener, address.clone()));
        }
        let deadline = Instant::now() + Duration::from_secs(LISTEN_SECONDS_MAX);
        while let Some((first, address)) = waiting.first().cloned() {
            let event = match timeout_at(deadline, self.swarm.select_next_some()).await {
                Ok(event) => event,
                Err(_) => {
                    let reason = format!("no address within {LISTEN_SECONDS_MAX} s");
                    return Err(ServerError::Listen { address, reason });
                }
            };
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => {
                    waiting.retain(|(listener, _)| listener != listener_id);
                }
                SwarmEvent::ListenerClosed {
                    listener_id,
                    reason,
                    ..
                } if *listener_id == first => {
                    let reason = closed_reason(reason);
                    return Err(ServerError::Listen { address, reason });
                }
                _ => {}
            }
            self.on_event(event);
        }
        Ok(())
    }

    async fn run(mut self, mut stop: mpsc::Receiver<oneshot::Sender<()>>) {
        let done = loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                request = stop.recv() => break request,
            }
        };
        self.say_goodbye().await;
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    /// Closes connections properly, so that peers notice now and not when their idle timer fires.
    async fn say_goodbye(&mut self) {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let deadline = Instant::now() + Duration::from_millis(GOODBYE_MS_MAX);
        while self.swarm.connected_peers().next().is_some() {
            if timeout_at(deadline, self.swarm.select_next_some())
                .await
                .is_err()
            {
                break;
            }
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                // An address anyone may dial needs no confirmation from AutoNAT; without an external address
                // the relay could not tell its clients where to be reached.
                if self.policy.allows(&address) {
                    self.swarm.add_external_address(address);
                }
                self.publish_addresses();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                if !self.external.contains(&address) {
                    self.swarm.remove_external_address(&address);
                }
                self.publish_addresses();
            }
            SwarmEvent::ListenerClosed {
                addresses, reason, ..
            } => {
                let reason = closed_reason(&reason);
                tracing::warn!(?addresses, reason, "a listener closed");
                self.publish_addresses();
            }
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                ..
            } => {
                let open = self.connections.entry(peer_id).or_default();
                open.push(connection_id);
                if open.len() > self.per_peer_max {
                    self.swarm.close_connection(open[0]);
                }
                self.peers.send_replace(self.connections.len());
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                ..
            } => {
                if let Some(open) = self.connections.get_mut(&peer_id) {
                    open.retain(|connection| *connection != connection_id);
                    if open.is_empty() {
                        self.connections.remove(&peer_id);
                    }
                }
                self.peers.send_replace(self.connections.len());
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) => self.on_identified(peer_id, &info),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event {
                connection,
                result: Err(ping::Failure::Timeout),
                ..
            })) => {
                self.swarm.close_connection(connection);
            }
            other => tracing::trace!(?other, "swarm event"),
        }
    }

    fn on_identified(&mut self, peer: PeerId, info: &identify::Info) {
        if info.protocol_version != self.network.identify_version() {
            tracing::debug!(%peer, theirs = info.protocol_version, "disconnecting a peer of another network");
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        let table = &mut self.swarm.behaviour_mut().kad;
        routing::learn(
            table,
            &peer,
            &info.protocols,
            &info.listen_addrs,
            self.policy,
        );
    }

    fn publish_addresses(&self) {
        let peer = *self.swarm.local_peer_id();
        let all: BTreeSet<Multiaddr> = self
            .swarm
            .listeners()
            .chain(&self.external)
            .filter_map(|address| address.clone().with_p2p(peer).ok())
            .collect();
        self.addresses.send_replace(all.into_iter().collect());
    }
}

fn closed_reason(reason: &Result<(), io::Error>) -> String {
    match reason {
        Ok(()) => "closed".to_owned(),
        Err(error) => error.to_string(),
    }
}
