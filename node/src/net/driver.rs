//! The one task that owns the swarm.
//!
//! ```text
//!   NetHandle --commands, orders--> [ Driver: swarm, peers, outreach, discovery, gossip ] --NetEvent--> runtime
//! ```
//!
//! The loop never waits for the runtime: events that find no room are dropped or kept by the outbox, by kind.
//! Each concern has its file and its own state struct; this file wires them to the swarm's events.

mod book;
mod discovery;
mod gossip;
mod outreach;
mod peers;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::time::Duration;

use assay_bootstrap::address::{self, AddressPolicy};
use assay_bootstrap::names::NetworkName;
use assay_bootstrap::transport::{self, HANDSHAKE_SECONDS_MAX, Windows};
use assay_bootstrap::{names, routing};
use futures::StreamExt;
use libp2p::core::Transport;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::ListenerId;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{self, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, noise, ping, relay};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, timeout_at};

use super::behaviour::{Behaviour, BehaviourEvent};
use super::config::{NetConfig, NetLimits};
use super::error::NetError;
use super::event::{GossipId, NetEvent, PeerInfo, Penalty, ReplyTo, Verdict};
use super::frame::Frame;
use super::outbox::Outbox;
use super::peer::PeerKey;
use super::standing::Standings;

use book::Book;
use discovery::Discovery;
use gossip::Topics;
use outreach::Outreach;
use peers::Peers;

/// Longest wait at start for every listener to report an address, in seconds.
const LISTEN_SECONDS_MAX: u64 = 5;
/// Longest wait at shutdown for connections to say goodbye, in milliseconds.
const GOODBYE_MS_MAX: u64 = 500;
/// Shortest and longest interval of the driver's own upkeep, in milliseconds.
const UPKEEP_MS: (u64, u64) = (100, 500);

/// Questions with an answer.
pub(super) enum Command {
    Publish {
        topic: String,
        bytes: Vec<u8>,
        reply: oneshot::Sender<Result<(), NetError>>,
    },
    Request {
        peer: PeerKey,
        bytes: Vec<u8>,
        progress: Arc<AtomicU8>,
        reply: oneshot::Sender<Result<Vec<u8>, NetError>>,
    },
    Peers {
        reply: oneshot::Sender<Vec<PeerInfo>>,
    },
    AddAddress {
        peer: PeerKey,
        address: Multiaddr,
        reply: oneshot::Sender<Result<(), NetError>>,
    },
    Shutdown {
        reply: oneshot::Sender<()>,
    },
}

/// Orders without an answer.
pub(super) enum Order {
    Verdict(GossipId, Verdict),
    Respond(ReplyTo, Vec<u8>),
    Penalise(PeerKey, Penalty),
}

/// Owner of the swarm.
pub(super) struct Driver {
    swarm: Swarm<Behaviour>,
    network: NetworkName,
    policy: AddressPolicy,
    limits: NetLimits,
    always_kad_server: bool,
    outbox: Outbox,
    addresses: watch::Sender<Vec<Multiaddr>>,
    upkeep: Duration,
    peers: Peers,
    outreach: Outreach,
    discovery: Discovery,
    book: Book,
    topics: Topics,
    standings: Standings,
    refresh_standings_at: Instant,
}

impl Driver {
    /// Builds the swarm; nothing is opened yet.
    pub(super) fn new(
        config: &NetConfig,
        events: mpsc::Sender<NetEvent>,
        addresses: watch::Sender<Vec<Multiaddr>>,
    ) -> Result<Self, NetError> {
        let network = names::NetworkName::parse(&config.network).map_err(configuration)?;
        let keypair = Keypair::ed25519_from_bytes(config.node_key).map_err(configuration)?;
        let local = keypair.public().to_peer_id();
        let policy = if config.allow_private_addresses {
            AddressPolicy::PrivateAllowed
        } else {
            AddressPolicy::PublicOnly
        };
        let now = Instant::now();
        let discovery = Discovery::new(config, local, now)?;
        let mut swarm = swarm(&keypair, &network, config, policy)?;
        for contact in discovery.contacts() {
            swarm.behaviour_mut().gate.admit_server(*contact);
        }
        let book = Book::new(&config.known);
        for (peer, address) in book.nodes() {
            if *peer != local && routing::usable_for(peer, address, policy) {
                let table = &mut swarm.behaviour_mut().kad;
                table.add_address(peer, address.clone());
            }
        }
        for address in &config.public_addresses {
            swarm.add_external_address(address.clone());
        }
        let always_kad_server = config.kad_server || !config.public_addresses.is_empty();
        routing::set_server(&mut swarm.behaviour_mut().kad, always_kad_server);
        let heartbeat_ms = u64::try_from(config.heartbeat.as_millis()).unwrap_or(u64::MAX);
        let upkeep_ms = (heartbeat_ms / 2).clamp(UPKEEP_MS.0, UPKEEP_MS.1);
        Ok(Self {
            swarm,
            policy,
            limits: config.limits.clone(),
            always_kad_server,
            outbox: Outbox::new(events),
            addresses,
            upkeep: Duration::from_millis(upkeep_ms),
            peers: Peers::default(),
            outreach: Outreach::default(),
            discovery,
            book,
            topics: Topics::new(config, &network),
            standings: Standings::new(config.limits.ban, config.limits.ban_longest),
            refresh_standings_at: now,
            network,
        })
    }

    /// Opens the listening addresses and waits until each has told its real address.
    pub(super) async fn listen(&mut self, wanted: &[Multiaddr]) -> Result<(), NetError> {
        let mut waiting: Vec<(ListenerId, Multiaddr)> = Vec::new();
        for address in wanted {
            let listener =
                self.swarm
                    .listen_on(address.clone())
                    .map_err(|error| NetError::Listen {
                        address: address.clone(),
                        reason: transport::with_causes(&error),
                    })?;
            waiting.push((listener, address.clone()));
        }
        let deadline = Instant::now() + Duration::from_secs(LISTEN_SECONDS_MAX);
        while let Some((_, address)) = waiting.first().cloned() {
            let Ok(event) = timeout_at(deadline, self.swarm.select_next_some()).await else {
                let reason = format!("no address within {LISTEN_SECONDS_MAX} s");
                return Err(NetError::Listen { address, reason });
            };
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => {
                    waiting.retain(|(listener, _)| listener != listener_id);
                }
                SwarmEvent::ListenerClosed {
                    listener_id,
                    reason,
                    ..
                } => {
                    let closed = waiting.iter().find(|(listener, _)| listener == listener_id);
                    if let Some((_, address)) = closed.cloned() {
                        let reason = match reason {
                            Ok(()) => "the listener closed".to_owned(),
                            Err(error) => error.to_string(),
                        };
                        return Err(NetError::Listen { address, reason });
                    }
                }
                _ => {}
            }
            self.on_swarm_event(event);
        }
        Ok(())
    }

    /// Runs until shut down, until every handle is gone, or until the runtime drops its receiver.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut orders: mpsc::Receiver<Order>,
    ) {
        let mut upkeep = tokio::time::interval(self.upkeep);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let finished = loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                command = commands.recv() => match command {
                    Some(Command::Shutdown { reply }) => break Some(reply),
                    Some(command) => self.on_command(command),
                    None => break None,
                },
                Some(order) = orders.recv() => self.on_order(order),
                Some(found) = self.discovery.resolved() => self.dial_contact(found),
                reached = self.outbox.flush_one(), if self.outbox.is_waiting() => {
                    if !reached {
                        break None;
                    }
                }
                _ = upkeep.tick() => {
                    if self.outbox.is_closed() {
                        break None;
                    }
                    self.on_upkeep(Instant::now());
                }
            }
        };
        self.say_goodbye().await;
        // Sockets are closed before whoever asked for it learns that it is done.
        drop(self);
        if let Some(finished) = finished {
            let _ = finished.send(());
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Publish {
                topic,
                bytes,
                reply,
            } => {
                let _ = reply.send(self.publish(&topic, bytes));
            }
            Command::Request {
                peer,
                bytes,
                progress,
                reply,
            } => self.request(peer, bytes, progress, reply),
            Command::Peers { reply } => {
                let _ = reply.send(self.peer_infos());
            }
            Command::AddAddress {
                peer,
                address,
                reply,
            } => {
                let _ = reply.send(self.add_address(peer, address));
            }
            Command::Shutdown { reply } => {
                // The loop takes this one itself.
                let _ = reply.send(());
            }
        }
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Verdict(id, verdict) => self.judge(&id, verdict),
            Order::Respond(reply_to, bytes) => {
                // A closed channel means the requester has gone; there is nobody left to tell.
                let _ = self
                    .swarm
                    .behaviour_mut()
                    .exchange
                    .send_response(reply_to.channel, Frame::outgoing(bytes));
            }
            Order::Penalise(peer, penalty) => self.penalise(peer.to_peer_id(), penalty),
        }
    }

    fn on_upkeep(&mut self, now: Instant) {
        self.swarm.behaviour_mut().gate.lift_expired(now);
        self.retry_publishing(now);
        self.advance_outreach(now);
        self.advance_discovery(now);
        if let Some(known) = self.book.news()
            && self.outbox.offer(NetEvent::Known(known))
        {
            self.book.taken();
        }
        if now >= self.refresh_standings_at {
            self.refresh_standings(now);
        }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                self.peers.add(peer_id, connection_id, &endpoint);
                self.dial_ended(&peer_id);
                self.send_waiting(&peer_id);
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                num_established,
                cause,
                ..
            } => {
                tracing::debug!(peer = %peer_id, ?cause, "connection closed");
                self.on_connection_closed(&peer_id, connection_id, num_established);
            }
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer),
                error,
                ..
            } => self.on_dial_failed(peer, &error),
            SwarmEvent::NewListenAddr {
                listener_id,
                address,
            } => self.on_listening(listener_id, address),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.swarm.remove_external_address(&address);
                self.publish_addresses();
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                addresses,
                reason,
            } => {
                if !self.discovery.reservation_lost(listener_id) {
                    tracing::warn!(?addresses, ?reason, "a listener closed");
                }
                self.publish_addresses();
            }
            SwarmEvent::ExternalAddrConfirmed { address } => self.on_reachable(&address),
            SwarmEvent::ExternalAddrExpired { .. } => self.on_address_expired(),
            other => tracing::trace!(?other, "swarm event"),
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Exchange(event) => self.on_exchange(event),
            BehaviourEvent::Kad(event) => self.on_kad(event),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(peer_id, &info);
            }
            BehaviourEvent::Ping(ping::Event {
                peer,
                connection,
                result,
            }) => match result {
                Ok(rtt) => self.peers.measured(&peer, rtt),
                Err(ping::Failure::Timeout) => {
                    tracing::debug!(%peer, "closing a connection that does not answer pings");
                    self.swarm.close_connection(connection);
                }
                Err(error) => tracing::debug!(%peer, %error, "ping"),
            },
            other => tracing::trace!(?other, "behaviour event"),
        }
    }

    /// Dials a peer of this node's own choice, at `addresses` and at all others known for it.
    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), DialError> {
        let options = DialOpts::peer_id(peer)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .build();
        self.swarm.behaviour_mut().gate.choose(peer);
        let outcome = self.swarm.dial(options);
        let under_way = matches!(outcome, Ok(()) | Err(DialError::DialPeerConditionFalse(_)));
        if !under_way || self.swarm.is_connected(&peer) {
            self.swarm.behaviour_mut().gate.unchoose(&peer);
        }
        outcome
    }

    /// A dial to `peer` has succeeded or failed.
    fn dial_ended(&mut self, peer: &PeerId) {
        self.swarm.behaviour_mut().gate.unchoose(peer);
        self.discovery.dialled(peer);
    }

    fn on_listening(&mut self, listener: ListenerId, address: Multiaddr) {
        let own = self.discovery.reservation_of(listener).is_none();
        if own && self.policy == AddressPolicy::PublicOnly && self.policy.allows(&address) {
            // A public address on the machine itself: no NAT in between, nothing to confirm.
            self.swarm.add_external_address(address.clone());
            self.on_reachable(&address);
        }
        self.publish_addresses();
        if let Ok(full) = address.with_p2p(*self.swarm.local_peer_id()) {
            self.outbox.keep(NetEvent::Listening(full));
        }
    }

    fn on_reachable(&mut self, address: &Multiaddr) {
        if !address::is_relayed(address) && self.policy.allows(address) {
            tracing::info!("this node can be reached from outside and answers lookups now");
            routing::set_server(&mut self.swarm.behaviour_mut().kad, true);
        }
    }

    fn on_address_expired(&mut self) {
        let direct_left = self
            .swarm
            .external_addresses()
            .any(|address| !address::is_relayed(address));
        if !direct_left && !self.always_kad_server {
            routing::set_server(&mut self.swarm.behaviour_mut().kad, false);
        }
    }

    fn publish_addresses(&self) {
        let local = *self.swarm.local_peer_id();
        let all = self
            .swarm
            .listeners()
            .filter_map(|address| address.clone().with_p2p(local).ok())
            .collect();
        self.addresses.send_replace(all);
    }

    fn penalise(&mut self, peer: PeerId, penalty: Penalty) {
        let now = Instant::now();
        tracing::debug!(%peer, points = penalty.points, reason = penalty.reason, "penalty");
        if let Some(length) = self.standings.charge(peer, penalty, now) {
            tracing::info!(
                seconds = length.as_secs(),
                reason = penalty.reason,
                "a peer is banned"
            );
            self.swarm.behaviour_mut().gate.ban(peer, now + length);
            self.outreach_to_banned(&peer);
        }
        self.refresh_standings(now);
    }

    /// Tells gossip the points of every peer; they fade with time, and a reconnecting peer starts at zero there.
    fn refresh_standings(&mut self, now: Instant) {
        self.refresh_standings_at = now + Duration::from_secs(10);
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        for (peer, points) in self.standings.current(now) {
            gossip.set_application_score(&peer, -f64::from(points));
        }
    }

    /// Closes connections properly, so that peers notice now and not when their idle timer fires.
    async fn say_goodbye(&mut self) {
        let connected: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in connected {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let deadline = Instant::now() + Duration::from_millis(GOODBYE_MS_MAX);
        while self.swarm.connected_peers().next().is_some() {
            let next = timeout_at(deadline, self.swarm.select_next_some()).await;
            if next.is_err() {
                break;
            }
        }
    }
}

fn swarm(
    keypair: &Keypair,
    network: &NetworkName,
    config: &NetConfig,
    policy: AddressPolicy,
) -> Result<Swarm<Behaviour>, NetError> {
    let local = keypair.public().to_peer_id();
    let direct = transport::direct(keypair, Windows::HOME, policy).map_err(configuration)?;
    let (circuits, relay) = relay::client::new(local);
    let circuits = circuits
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair).map_err(configuration)?)
        .multiplex(transport::yamux_config(Windows::HOME))
        .timeout(Duration::from_secs(HANDSHAKE_SECONDS_MAX))
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let transport = circuits
        .or_transport(direct)
        .map(|link, _| link.into_inner())
        .boxed();
    let behaviour = Behaviour::new(keypair, network, config, policy, relay)?;
    let swarm_config = swarm::Config::with_tokio_executor()
        .with_notify_handler_buffer_size(NonZeroUsize::new(16).expect("16 is not zero"))
        .with_per_connection_event_buffer_size(32)
        .with_max_negotiating_inbound_streams(64)
        .with_idle_connection_timeout(config.limits.idle)
        .with_smart_dial();
    Ok(Swarm::new(transport, behaviour, local, swarm_config))
}

fn configuration(error: impl std::fmt::Display) -> NetError {
    NetError::Config {
        what: error.to_string(),
    }
}

/// Entries that expire, and not more than a bound of them.
#[derive(Debug)]
struct Expiring<K> {
    until: BTreeMap<K, Instant>,
    max: usize,
}

impl<K: Ord> Expiring<K> {
    fn new(max: usize) -> Self {
        Self {
            until: BTreeMap::new(),
            max,
        }
    }

    /// Remembers `key` until `until`; forgets nothing for it, a full list stays as it is.
    fn insert(&mut self, key: K, until: Instant) {
        if self.until.len() < self.max || self.until.contains_key(&key) {
            self.until.insert(key, until);
        }
    }

    fn contains(&self, key: &K, now: Instant) -> bool {
        self.until.get(key).is_some_and(|until| *until > now)
    }

    fn expire(&mut self, now: Instant) {
        self.until.retain(|_, until| *until > now);
    }
}
