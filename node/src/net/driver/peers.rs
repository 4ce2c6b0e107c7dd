//! Connected peers: what identify and ping said about them, and what the runtime was told.

use std::collections::BTreeMap;
use std::time::Duration;

use assay_bootstrap::{address, routing};
use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, identify, relay};
use tokio::time::Instant;

use super::Driver;
use crate::net::error::NetError;
use crate::net::event::{NetEvent, PeerInfo};
use crate::net::peer::PeerKey;

/// Inbound places that may go idle, so that newcomers find room; the rest is kept for peers that stay.
const INBOUND_RESERVE: usize = 8;

/// How one connection came about.
#[derive(Debug)]
struct Link {
    outbound: bool,
    address: Multiaddr,
}

/// One connected peer.
#[derive(Debug, Default)]
pub(super) struct Peer {
    links: BTreeMap<ConnectionId, Link>,
    /// It takes requests: a node, not only a server. The runtime knows of it exactly when this is set.
    pub(super) node: bool,
    /// It has introduced itself.
    identified: bool,
    /// It offers relay reservations.
    pub(super) relay: bool,
    rtt: Option<Duration>,
}

impl Peer {
    pub(super) fn outbound(&self) -> bool {
        self.links.values().any(|link| link.outbound)
    }

    /// An address this node dialled it at, without a relay in between.
    pub(super) fn dialled_address(&self) -> Option<&Multiaddr> {
        self.links
            .values()
            .find(|link| link.outbound && !address::is_relayed(&link.address))
            .map(|link| &link.address)
    }
}

/// All connected peers.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<PeerId, Peer>);

impl Peers {
    pub(super) fn add(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        let link = Link {
            outbound: endpoint.is_dialer(),
            address: endpoint.get_remote_address().clone(),
        };
        let entry = self.0.entry(peer).or_default();
        entry.links.insert(connection, link);
    }

    pub(super) fn measured(&mut self, peer: &PeerId, rtt: Duration) {
        if let Some(peer) = self.0.get_mut(peer) {
            peer.rtt = Some(rtt);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PeerId, &Peer)> {
        self.0.iter()
    }

    /// Peers dialled from here that are nodes, or may turn out to be.
    pub(super) fn outbound_nodes(&self) -> usize {
        self.0
            .values()
            .filter(|peer| peer.outbound() && (peer.node || !peer.identified))
            .count()
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (&PeerId, &Peer)> {
        self.iter().filter(|(_, peer)| peer.node)
    }
}

impl Driver {
    pub(super) fn on_connection_closed(
        &mut self,
        peer: &PeerId,
        connection: ConnectionId,
        remaining: u32,
    ) {
        if remaining > 0 {
            if let Some(entry) = self.peers.0.get_mut(peer) {
                entry.links.remove(&connection);
            }
            return;
        }
        let was_node = self.peers.0.remove(peer).is_some_and(|peer| peer.node);
        if let Some(key) = PeerKey::from_peer_id(peer).filter(|_| was_node) {
            self.outbox.keep(NetEvent::PeerDisconnected(key));
        }
    }

    pub(super) fn on_identified(&mut self, peer: PeerId, info: &identify::Info) {
        if info.protocol_version != self.network.identify_version() {
            tracing::debug!(%peer, theirs = info.protocol_version, "disconnecting a peer of another network");
            self.discovery.avoid_stranger(peer, Instant::now());
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        let exchange = self.network.exchange_protocol();
        let offers = |name: &str| info.protocols.iter().any(|p| p.as_ref() == name);
        let is_node = offers(&exchange);
        let Some(entry) = self.peers.0.get_mut(&peer) else {
            return; // It disconnected while its message was under way.
        };
        entry.identified = true;
        entry.relay = offers(relay::HOP_PROTOCOL_NAME.as_ref());
        let newly_node = is_node && !entry.node;
        entry.node |= is_node;
        if entry.node {
            let swarm = &self.swarm;
            match entry.dialled_address() {
                Some(address) => self
                    .book
                    .reached(peer, address, |other| swarm.is_connected(other)),
                None => {
                    let announced = routing::usable(&peer, &info.listen_addrs, self.policy);
                    self.book.called(peer, announced);
                }
            }
        }

        let table = &mut self.swarm.behaviour_mut().kad;
        routing::learn(
            table,
            &peer,
            &info.protocols,
            &info.listen_addrs,
            self.policy,
        );
        self.discovery.identified(&peer, is_node, Instant::now());
        if newly_node {
            self.hold_if_wanted(peer);
            if let Some(key) = PeerKey::from_peer_id(&peer) {
                self.outbox.keep(NetEvent::PeerConnected(key));
            }
        }
    }

    /// Keeps the connection to a node open while idle: the first ones this node chose, and those that chose it.
    /// The rest, opened by lookups, closes by itself.
    fn hold_if_wanted(&mut self, peer: PeerId) {
        let gate = &self.swarm.behaviour().gate;
        let outbound = self.peers.0.get(&peer).is_some_and(Peer::outbound);
        let held = self
            .peers
            .iter()
            .filter(|(other, entry)| gate.is_held(other) && entry.outbound() == outbound)
            .count();
        let room = if outbound {
            self.limits.outbound_target
        } else {
            (self.limits.incoming_max as usize).saturating_sub(INBOUND_RESERVE)
        };
        if held < room {
            self.swarm.behaviour_mut().gate.hold(peer, true);
        }
    }

    pub(super) fn peer_infos(&self) -> Vec<PeerInfo> {
        let gossip = &self.swarm.behaviour().gossip;
        self.peers
            .iter()
            .filter_map(|(peer, entry)| {
                Some(PeerInfo {
                    key: PeerKey::from_peer_id(peer)?,
                    addresses: entry.links.values().map(|l| l.address.clone()).collect(),
                    outbound: entry.outbound(),
                    relayed: entry
                        .links
                        .values()
                        .all(|l| address::is_relayed(&l.address)),
                    node: entry.node,
                    rtt: entry.rtt,
                    // Saturates and maps NaN to zero, which is fine for display.
                    score: gossip.peer_score(peer).unwrap_or(0.0) as i64,
                })
            })
            .collect()
    }

    pub(super) fn add_address(
        &mut self,
        peer: PeerKey,
        address: Multiaddr,
    ) -> Result<(), NetError> {
        let peer = peer.to_peer_id();
        if !routing::usable_for(&peer, &address, self.policy) {
            let what = format!(
                "address {address} of {peer} is not usable: it must be an IP address and port{}",
                if self.policy == address::AddressPolicy::PublicOnly {
                    ", public on this network"
                } else {
                    ""
                }
            );
            return Err(NetError::Config { what });
        }
        if let Some(relay) = address::relay_of(&address) {
            self.swarm.behaviour_mut().gate.admit_server(relay);
        }
        self.swarm.add_peer_address(peer, address);
        self.outreach.hurry(&peer, Instant::now());
        Ok(())
    }
}
