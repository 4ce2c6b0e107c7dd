//! The libp2p behaviours of a node and their settings.
//!
//! Two deviations from libp2p's defaults are worth knowing. Gossip keeps the protocol names of its
//! specification, because under a private name libp2p offers only version 1.1, without IDONTWANT; networks are
//! kept apart by topic names and by identify instead. And messages are named by topic and content, not by
//! author and number, so that the same announcement from two relays is one message.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use assay_bootstrap::address::AddressPolicy;
use assay_bootstrap::names::NetworkName;
use assay_bootstrap::routing::{self, Kademlia};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{
    self, IdentTopic, IdentityTransform, Message, MessageAuthenticity, MessageId, PeerScoreParams,
    PeerScoreThresholds, TopicHash, TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
    score_parameter_decay,
};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, autonat, dcutr, identify, memory_connection_limits, ping, relay};

use super::config::{EXCHANGE_SECONDS_MAX, GOSSIP_BYTES_MAX, NetConfig, NetLimits};
use super::error::NetError;
use super::frame::{Budget, FrameCodec};
use super::gate::Gate;

/// Bytes of a message id: the first 20 of a BLAKE3 hash.
pub(super) const MESSAGE_ID_BYTES: usize = 20;
/// What signature, author and topic add to a gossip payload on the wire, in bytes, rounded up.
const GOSSIP_OVERHEAD_BYTES: usize = 1_024;
/// How long messages stay available for verdicts and for neighbours that missed them, in milliseconds.
const HISTORY_MS: u128 = 6_000;
/// Interval between pings, in seconds.
const PING_SECONDS: u64 = 15;
/// Gossip score lost with each point of a [`super::Penalty`]: 50 points cost gossip, 100 lead to a ban anyway.
const SCORE_PER_POINT: f64 = 10.0;

/// Gossip with the topics fixed at start.
pub(super) type Gossip = gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;

/// All protocols of a node.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    // Those that can refuse a connection come first, so that nothing is allocated for a refused one.
    pub(super) gate: Gate,
    limits: connection_limits::Behaviour,
    memory: Toggle<memory_connection_limits::Behaviour>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) kad: Kademlia,
    pub(super) gossip: Gossip,
    pub(super) exchange: request_response::Behaviour<FrameCodec>,
    relay: relay::client::Behaviour,
    dcutr: Toggle<dcutr::Behaviour>,
    autonat: Toggle<autonat::v2::client::Behaviour>,
}

impl Behaviour {
    pub(super) fn new(
        keypair: &Keypair,
        network: &NetworkName,
        config: &NetConfig,
        policy: AddressPolicy,
        relay: relay::client::Behaviour,
    ) -> Result<Self, NetError> {
        let local = keypair.public().to_peer_id();
        let limits = &config.limits;
        let memory = limits
            .memory_bytes_max
            .map(memory_connection_limits::Behaviour::with_max_bytes);
        let identify = identify::Config::new(network.identify_version(), keypair.public())
            .with_agent_version(format!("assay/{}", env!("CARGO_PKG_VERSION")))
            .with_hide_listen_addrs(!config.allow_private_addresses)
            .with_push_listen_addr_updates(true)
            .with_cache_size(0);
        // Hole punching needs both ends, and is only ever useful between different homes.
        let dcutr = (config.behind_nat || !config.allow_private_addresses)
            .then(|| dcutr::Behaviour::new(local));
        let autonat = config
            .behind_nat
            .then(autonat::v2::client::Behaviour::default);
        Ok(Self {
            gate: Gate::new(
                limits.outbound_target + limits.outbound_target / 2,
                limits.per_peer_max,
            ),
            limits: connection_limits::Behaviour::new(connection_limits(limits)),
            memory: memory.into(),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(Duration::from_secs(PING_SECONDS)),
            ),
            kad: routing::kademlia(local, network, config.kad_server, policy),
            gossip: gossip(keypair, network, config)?,
            exchange: exchange(network, limits),
            relay,
            dcutr: dcutr.into(),
            autonat: autonat.into(),
        })
    }
}

fn connection_limits(limits: &NetLimits) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.pending_incoming_max))
        .with_max_pending_outgoing(Some(limits.pending_outgoing_max))
        .with_max_established_incoming(Some(limits.incoming_max))
        .with_max_established_outgoing(Some(limits.outgoing_max))
        .with_max_established(Some(limits.connections_max))
}

fn exchange(network: &NetworkName, limits: &NetLimits) -> request_response::Behaviour<FrameCodec> {
    let codec = FrameCodec {
        request_bytes_max: limits.request_bytes_max,
        response_bytes_max: limits.response_bytes_max,
        request_budget: Budget::new(limits.exchange_memory_bytes_max),
        response_budget: Budget::new(limits.exchange_memory_bytes_max),
    };
    let protocol = StreamProtocol::try_from_owned(network.exchange_protocol())
        .expect("a checked network name makes a protocol name that starts with a slash");
    let config = request_response::Config::default()
        .with_request_timeout(Duration::from_secs(EXCHANGE_SECONDS_MAX))
        .with_max_concurrent_streams(limits.exchanges_per_connection_max);
    request_response::Behaviour::with_codec(codec, [(protocol, ProtocolSupport::Full)], config)
}

fn gossip(
    keypair: &Keypair,
    network: &NetworkName,
    config: &NetConfig,
) -> Result<Gossip, NetError> {
    let settings = gossip_settings(config)?;
    let subscribed = topic_hashes(network, &config.topics);
    let published = topic_hashes(network, &config.publish_topics);
    let known: HashSet<TopicHash> = subscribed.union(&published).cloned().collect();
    let wrong = |what: String| NetError::Config {
        what: format!("gossip: {what}"),
    };
    let mut gossip = Gossip::new_with_subscription_filter(
        MessageAuthenticity::Signed(keypair.clone()),
        settings,
        WhitelistSubscriptionFilter(known.clone()),
    )
    .map_err(|error| wrong(error.to_owned()))?;
    gossip
        .with_peer_score(
            score_params(&known, config.allow_private_addresses),
            thresholds(),
        )
        .map_err(wrong)?;
    for topic in &config.topics {
        gossip
            .subscribe(&IdentTopic::new(network.gossip_topic(topic)))
            .map_err(|error| wrong(format!("topic {topic:?}: {error}")))?;
    }
    Ok(gossip)
}

fn gossip_settings(config: &NetConfig) -> Result<gossipsub::Config, NetError> {
    // Messages must outlive the wait for a verdict also when heartbeats are fast.
    let beats = HISTORY_MS.div_ceil(config.heartbeat.as_millis().max(1));
    let history = usize::try_from(beats).unwrap_or(usize::MAX).max(6);
    gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(|message: &Message| message_id(message.topic.as_str(), &message.data))
        .max_transmit_size(GOSSIP_BYTES_MAX + GOSSIP_OVERHEAD_BYTES)
        .heartbeat_interval(config.heartbeat)
        .heartbeat_initial_delay(config.heartbeat)
        .mesh_n(8)
        .mesh_n_low(6)
        .mesh_n_high(12)
        .mesh_outbound_min(3)
        .gossip_lazy(6)
        .history_length(history)
        .history_gossip((history / 2).max(3))
        .duplicate_cache_time(Duration::from_secs(300))
        .flood_publish(true)
        .idontwant_message_size_threshold(1_000)
        .idontwant_on_publish(true)
        .connection_handler_queue_len(config.limits.gossip_queue_max)
        .publish_queue_duration(Duration::from_secs(5))
        .forward_queue_duration(Duration::from_secs(1))
        .build()
        .map_err(|error| NetError::Config {
            what: format!("gossip: {error}"),
        })
}

fn topic_hashes(network: &NetworkName, topics: &[String]) -> HashSet<TopicHash> {
    topics
        .iter()
        .map(|topic| IdentTopic::new(network.gossip_topic(topic)).hash())
        .collect()
}

/// The name of a message: BLAKE3 over the topic's length, the topic and the payload, cut to 20 bytes.
pub(super) fn message_id(topic: &str, payload: &[u8]) -> MessageId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(topic.len() as u64).to_le_bytes());
    hasher.update(topic.as_bytes());
    hasher.update(payload);
    MessageId::new(&hasher.finalize().as_bytes()[..MESSAGE_ID_BYTES])
}

/// Scores stay local: they are neither signed, hashed nor paid, which is why floating point is harmless here.
fn score_params(topics: &HashSet<TopicHash>, one_machine: bool) -> PeerScoreParams {
    let minutes = |n: u64| score_parameter_decay(Duration::from_secs(60 * n));
    let per_topic = TopicScoreParams {
        topic_weight: 1.0,
        // P1: a little credit for staying.
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 3_600.0,
        // P2: credit for being first with news.
        first_message_deliveries_weight: 0.5,
        first_message_deliveries_decay: minutes(60),
        first_message_deliveries_cap: 100.0,
        // P3 and P3b off: on topics with few messages silence is no fault.
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        // P4, squared: the sixth invalid message within minutes passes the graylist threshold.
        invalid_message_deliveries_weight: -100.0,
        invalid_message_deliveries_decay: minutes(30),
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: topics
            .iter()
            .map(|topic| (topic.clone(), per_topic.clone()))
            .collect::<HashMap<_, _>>(),
        topic_score_cap: 100.0,
        app_specific_weight: SCORE_PER_POINT,
        // Eight nodes behind one address are a household or a carrier NAT; on one machine all share one.
        ip_colocation_factor_weight: if one_machine { 0.0 } else { -5.0 },
        ip_colocation_factor_threshold: 8.0,
        behaviour_penalty_weight: -10.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: minutes(10),
        slow_peer_weight: -0.2,
        slow_peer_threshold: 0.0,
        slow_peer_decay: minutes(1),
        ..PeerScoreParams::default()
    }
}

fn thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: -500.0,
        publish_threshold: -1_000.0,
        graylist_threshold: -2_500.0,
        accept_px_threshold: 0.0,
        opportunistic_graft_threshold: 3.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_named_by_topic_and_content() {
        let id = message_id("topic", b"bytes");
        assert_eq!(id.0.len(), MESSAGE_ID_BYTES);
        assert_eq!(id, message_id("topic", b"bytes"));
        assert_ne!(id, message_id("other", b"bytes"));
        assert_ne!(id, message_id("topic", b"bytez"));
        // The length of the topic is part of the hash, so the border between the two cannot move.
        assert_ne!(message_id("ab", b"c"), message_id("a", b"bc"));
    }

    #[test]
    fn the_settings_are_accepted_for_every_allowed_heartbeat() {
        let keypair = Keypair::generate_ed25519();
        let network = NetworkName::parse("test").unwrap();
        for heartbeat_ms in [200, 500, 1_000] {
            let config = NetConfig {
                heartbeat: Duration::from_millis(heartbeat_ms),
                topics: vec!["a".into(), "b".into()],
                publish_topics: vec!["c".into()],
                ..NetConfig::dev([1; 32], "test")
            };
            let gossip = gossip(&keypair, &network, &config).unwrap();
            assert_eq!(gossip.topics().count(), 2);
            let history =
                u64::try_from(gossip_settings(&config).unwrap().history_length()).unwrap();
            assert!(history * heartbeat_ms >= 6_000);
        }
    }
}
