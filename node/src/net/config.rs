//! What the network body is told at start, and the bounds it keeps.

use std::time::Duration;

use libp2p::Multiaddr;

/// Largest gossip payload, in bytes; tasks travel as hashes, bulk goes through requests and shard exchange.
pub const GOSSIP_BYTES_MAX: usize = 64 * 1024;
/// Largest request, in bytes.
pub const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// Largest response, in bytes.
pub const RESPONSE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Longest life of one exchange on the wire, in seconds, whatever timeout the caller asked for.
pub const EXCHANGE_SECONDS_MAX: u64 = 60;
/// Most topics one node subscribes or publishes to.
pub const TOPICS_MAX: usize = 256;
/// Longest topic name as the project writes it, in bytes.
pub const TOPIC_BYTES_MAX: usize = 128;

/// Where a node listens, whom it knows first, and how much it takes on.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// Ed25519 seed of the node key: the node's name on the network.
    pub node_key: [u8; 32],
    /// Network name, for example `dev`; part of every protocol and topic name.
    pub network: String,
    /// Addresses to listen on; port 0 lets the system choose. Empty: dial out only.
    pub listen: Vec<Multiaddr>,
    /// First peers, each ending in `/p2p/<peer id>`. Names (`/dns4/...`) are resolved at every attempt.
    pub bootstrap: Vec<Multiaddr>,
    /// Nodes of an earlier run, from its last [`super::NetEvent::Known`]: tried as neighbours at once, so that a restart needs no first
    /// contact. What cannot be used is passed over.
    pub known: Vec<Multiaddr>,
    /// Bounds; see [`NetLimits::home`], [`NetLimits::public`] and [`NetLimits::dev`].
    pub limits: NetLimits,
    /// Answer lookups from the start. Otherwise the node only asks, until an address of its own is confirmed.
    pub kad_server: bool,
    /// Addresses at which others reach the node, when configured by hand (port forwarding, public server).
    pub public_addresses: Vec<Multiaddr>,
    /// Topics subscribed to. Names are the project's own; the network name is added on the wire.
    pub topics: Vec<String>,
    /// Topics only published to. A topic in neither list is neither sent nor forwarded.
    pub publish_topics: Vec<String>,
    /// Whether loopback and private addresses are dialled and believed: development networks only.
    pub allow_private_addresses: bool,
    /// The node has no public address: find out with AutoNAT, reserve relay slots, upgrade with hole punching.
    pub behind_nat: bool,
    /// Interval of gossip upkeep; 200 ms to 1 s.
    pub heartbeat: Duration,
}

impl NetConfig {
    /// A home node of a real network behind a NAT: public addresses only, one heartbeat a second.
    pub fn home(node_key: [u8; 32], network: &str) -> Self {
        Self {
            node_key,
            network: network.to_owned(),
            listen: Vec::new(),
            bootstrap: Vec::new(),
            known: Vec::new(),
            limits: NetLimits::home(),
            kad_server: false,
            public_addresses: Vec::new(),
            topics: Vec::new(),
            publish_topics: Vec::new(),
            allow_private_addresses: false,
            behind_nat: true,
            heartbeat: Duration::from_secs(1),
        }
    }

    /// A node of a development network on one machine: private addresses, lookup server, fast heartbeat.
    pub fn dev(node_key: [u8; 32], network: &str) -> Self {
        Self {
            limits: NetLimits::dev(),
            kad_server: true,
            allow_private_addresses: true,
            behind_nat: false,
            heartbeat: Duration::from_millis(200),
            ..Self::home(node_key, network)
        }
    }
}

/// How much of the machine the network may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetLimits {
    /// Connections opened by others.
    pub incoming_max: u32,
    /// Connections opened by this node.
    pub outgoing_max: u32,
    /// All connections.
    pub connections_max: u32,
    /// Connections with one peer; 2 leaves room for a relayed one and its direct upgrade. A new one closes the oldest.
    pub per_peer_max: usize,
    /// Inbound handshakes at once.
    pub pending_incoming_max: u32,
    /// Outbound handshakes at once.
    pub pending_outgoing_max: u32,
    /// Resident memory of the process beyond which new connections are refused, in bytes; `None`: no limit.
    pub memory_bytes_max: Option<usize>,
    /// Nodes this node keeps connections to that it opened itself.
    pub outbound_target: usize,
    /// Outbound nodes kept in one /16 (IPv6: /32), so that one operator cannot own them all.
    pub outbound_per_group_max: usize,
    /// How long a connection nobody needs may be idle.
    pub idle: Duration,
    /// Events waiting for the node's runtime.
    pub events_max: usize,
    /// Own requests under way at once; further callers wait.
    pub requests_in_flight_max: usize,
    /// Exchanges under way on one connection, in both directions.
    pub exchanges_per_connection_max: usize,
    /// Largest request accepted or sent, in bytes.
    pub request_bytes_max: usize,
    /// Largest response accepted or sent, in bytes.
    pub response_bytes_max: usize,
    /// Bytes of all requests and responses held at once while they arrive or wait.
    pub exchange_memory_bytes_max: usize,
    /// Messages queued for one slow gossip peer.
    pub gossip_queue_max: usize,
    /// How long a message without subscribed peers is retried.
    pub publish_retry: Duration,
    /// First ban; each further one is twice as long, up to [`NetLimits::ban_longest`].
    pub ban: Duration,
    /// Longest ban.
    pub ban_longest: Duration,
}

impl NetLimits {
    /// A home node: 64 connections, 256 MiB.
    pub fn home() -> Self {
        Self {
            incoming_max: 32,
            outgoing_max: 32,
            connections_max: 64,
            per_peer_max: 2,
            pending_incoming_max: 16,
            pending_outgoing_max: 16,
            memory_bytes_max: Some(256 << 20),
            outbound_target: 8,
            outbound_per_group_max: 2,
            idle: Duration::from_secs(60),
            events_max: 1_024,
            requests_in_flight_max: 64,
            exchanges_per_connection_max: 32,
            request_bytes_max: REQUEST_BYTES_MAX,
            response_bytes_max: RESPONSE_BYTES_MAX,
            exchange_memory_bytes_max: 64 << 20,
            gossip_queue_max: 600,
            publish_retry: Duration::from_secs(30),
            ban: Duration::from_secs(600),
            ban_longest: Duration::from_secs(24 * 3_600),
        }
    }

    /// A public machine with many visitors, such as a validator's: 1,200 connections, no memory limit of its own.
    pub fn public() -> Self {
        Self {
            incoming_max: 1_000,
            outgoing_max: 200,
            connections_max: 1_200,
            per_peer_max: 3,
            pending_incoming_max: 128,
            pending_outgoing_max: 64,
            memory_bytes_max: None,
            idle: Duration::from_secs(30),
            requests_in_flight_max: 256,
            exchange_memory_bytes_max: 256 << 20,
            gossip_queue_max: 1_000,
            ..Self::home()
        }
    }

    /// A development network: many nodes share a machine, or even a process, and everybody visits everybody.
    /// More connections than [`NetLimits::home`], which close sooner when nobody needs them; no memory limit.
    pub fn dev() -> Self {
        Self {
            incoming_max: 256,
            outgoing_max: 64,
            connections_max: 320,
            pending_incoming_max: 64,
            memory_bytes_max: None,
            idle: Duration::from_secs(10),
            ..Self::home()
        }
    }
}
