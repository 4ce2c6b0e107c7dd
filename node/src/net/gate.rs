//! Who may connect, whom lookups may dial, and whose connection stays open while nothing moves on it.
//!
//! A libp2p behaviour of its own because these questions are asked inside the swarm: the first two when a
//! connection is about to be established, the third by each connection's own task. It speaks no protocol.
//!
//! Lookups need watching because Kademlia dials every peer it hears of. In a network of some hundred nodes each
//! node would soon be connected to all others; so lookups may open only a few connections, unless one of them
//! was made to find a certain peer.
//! Invariant: connection ids rise, so the smallest one of a peer is the oldest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::task::{Context, Poll, Waker};

use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::DeniedUpgrade;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure, FromSwarm};
use libp2p::swarm::handler::{ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler,
    SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use tokio::time::Instant;

use super::peer::PeerKey;

/// Most bans kept at once; beyond it the one that ends first is lifted early.
pub(super) const BANS_MAX: usize = 4_096;
/// Most peers remembered as relays or first contacts.
const SERVERS_MAX: usize = 256;

/// Why the gate stayed shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    /// The peer is banned.
    #[error("the peer is banned")]
    Banned,
    /// A lookup wants to dial while there are connections enough.
    #[error("enough connections were opened already; only chosen peers are dialled")]
    Enough,
    /// The peer's identity is not an ed25519 key.
    #[error("only peers with ed25519 keys take part in the network")]
    ForeignKey,
}

/// The behaviour.
pub(super) struct Gate {
    bans: BTreeMap<PeerId, Instant>,
    held: BTreeSet<PeerId>,
    /// Peers the driver itself is dialling.
    chosen: BTreeSet<PeerId>,
    /// First contacts, and relays that told addresses lead through: the relay protocol dials them by itself.
    servers: BTreeSet<PeerId>,
    /// Connections opened from here, established or being dialled.
    opened: BTreeSet<ConnectionId>,
    /// Opened connections beyond which lookups dial nobody.
    opened_enough: usize,
    /// A certain peer is being looked for.
    searching: bool,
    connections: BTreeMap<PeerId, BTreeSet<ConnectionId>>,
    /// Connections with one peer beyond which the oldest is closed.
    per_peer_max: usize,
    orders: VecDeque<ToSwarm<Infallible, Hold>>,
    waker: Option<Waker>,
}

/// Order to a connection: stay open when idle, or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold(bool);

impl Gate {
    /// A gate behind which lookups dial nobody while `opened_enough` connections were opened from here, and each peer has at most
    /// `per_peer_max` connections.
    pub(super) fn new(opened_enough: usize, per_peer_max: usize) -> Self {
        Self {
            bans: BTreeMap::new(),
            held: BTreeSet::new(),
            chosen: BTreeSet::new(),
            servers: BTreeSet::new(),
            opened: BTreeSet::new(),
            opened_enough,
            searching: false,
            connections: BTreeMap::new(),
            per_peer_max,
            orders: VecDeque::new(),
            waker: None,
        }
    }

    /// Lets the driver dial `peer` whatever number of connections is open.
    pub(super) fn choose(&mut self, peer: PeerId) {
        self.chosen.insert(peer);
    }

    /// Lets `peer`, a relay or a first contact, be dialled at any time; the first [`SERVERS_MAX`] of them.
    pub(super) fn admit_server(&mut self, peer: PeerId) {
        if self.servers.len() < SERVERS_MAX {
            self.servers.insert(peer);
        }
    }

    /// The driver's dial to `peer` has ended.
    pub(super) fn unchoose(&mut self, peer: &PeerId) {
        self.chosen.remove(peer);
    }

    /// Lets lookups dial as many peers as they need, for as long as a certain peer is being looked for.
    pub(super) fn set_searching(&mut self, searching: bool) {
        self.searching = searching;
    }

    /// Closes all connections to `peer` and lets it in again only after `until`.
    pub(super) fn ban(&mut self, peer: PeerId, until: Instant) {
        self.bans.insert(peer, until);
        if self.bans.len() > BANS_MAX {
            let first = self.bans.iter().min_by_key(|(_, until)| **until);
            if let Some(first) = first.map(|(peer, _)| *peer) {
                self.bans.remove(&first);
            }
        }
        self.order(ToSwarm::CloseConnection {
            peer_id: peer,
            connection: CloseConnection::All,
        });
    }

    /// Whether `peer` is banned at `now`.
    pub(super) fn is_banned(&self, peer: &PeerId, now: Instant) -> bool {
        self.bans.get(peer).is_some_and(|until| *until > now)
    }

    /// Forgets bans that are over.
    pub(super) fn lift_expired(&mut self, now: Instant) {
        self.bans.retain(|_, until| *until > now);
    }

    /// Keeps connections to `peer` open while idle, or stops doing so.
    pub(super) fn hold(&mut self, peer: PeerId, hold: bool) {
        let changed = if hold {
            self.held.insert(peer)
        } else {
            self.held.remove(&peer)
        };
        if !changed {
            return;
        }
        let connections = self.connections.get(&peer).cloned().unwrap_or_default();
        for connection in connections {
            self.order(ToSwarm::NotifyHandler {
                peer_id: peer,
                handler: NotifyHandler::One(connection),
                event: Hold(hold),
            });
        }
    }

    /// Whether connections to `peer` are held.
    pub(super) fn is_held(&self, peer: &PeerId) -> bool {
        self.held.contains(peer)
    }

    fn order(&mut self, order: ToSwarm<Infallible, Hold>) {
        self.orders.push_back(order);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn admit(&self, peer: &PeerId) -> Result<(), ConnectionDenied> {
        let denied = if PeerKey::from_peer_id(peer).is_none() {
            Denied::ForeignKey
        } else if self.is_banned(peer, Instant::now()) {
            Denied::Banned
        } else {
            return Ok(());
        };
        Err(ConnectionDenied::new(denied))
    }

    fn admit_dial(&self, peer: &PeerId) -> Result<(), ConnectionDenied> {
        self.admit(peer)?;
        let opened = self.opened.len();
        let chosen = self.chosen.contains(peer)
            || self.servers.contains(peer)
            || self.connections.contains_key(peer);
        if chosen || self.searching || opened < self.opened_enough {
            tracing::trace!(%peer, chosen, self.searching, opened, "dial admitted");
            Ok(())
        } else {
            Err(ConnectionDenied::new(Denied::Enough))
        }
    }

    fn handler(&self, peer: &PeerId) -> Idle {
        Idle {
            hold: self.held.contains(peer),
        }
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = Idle;
    type ToSwarm = Infallible;

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        peer.map_or(Ok(()), |peer| self.admit_dial(&peer))?;
        self.opened.insert(connection);
        Ok(Vec::new())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(&peer)?;
        Ok(self.handler(&peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(&peer)?;
        Ok(self.handler(&peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                ..
            }) => {
                let open = self.connections.entry(peer_id).or_default();
                open.insert(connection_id);
                // The newest stays, for a peer that crashed comes back before its dead connections have timed out.
                if open.len() > self.per_peer_max
                    && let Some(oldest) = open.first().copied()
                {
                    self.order(ToSwarm::CloseConnection {
                        peer_id,
                        connection: CloseConnection::One(oldest),
                    });
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                remaining_established,
                ..
            }) => {
                self.opened.remove(&connection_id);
                if let Some(connections) = self.connections.get_mut(&peer_id) {
                    connections.remove(&connection_id);
                }
                if remaining_established == 0 {
                    self.connections.remove(&peer_id);
                    self.held.remove(&peer_id);
                }
            }
            // Also reported when another behaviour refuses a dial that was admitted here.
            FromSwarm::DialFailure(DialFailure { connection_id, .. }) => {
                self.opened.remove(&connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(order) = self.orders.pop_front() {
            return Poll::Ready(order);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The connection's side: no protocol, one flag.
#[derive(Debug)]
pub(super) struct Idle {
    hold: bool,
}

impl ConnectionHandler for Idle {
    type FromBehaviour = Hold;
    type ToBehaviour = Infallible;
    type InboundProtocol = DeniedUpgrade;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(DeniedUpgrade, ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.hold
    }

    fn on_behaviour_event(&mut self, Hold(hold): Hold) {
        self.hold = hold;
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        Poll::Pending
    }

    fn on_connection_event(
        &mut self,
        _: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::ConnectedPoint;

    use super::*;
    use std::time::Duration;

    fn peer(byte: u8) -> PeerId {
        PeerKey([byte; 32]).to_peer_id()
    }

    #[test]
    fn a_ban_ends_at_its_time() {
        let mut gate = Gate::new(2, 2);
        let start = Instant::now();
        let end = start + Duration::from_secs(10);
        gate.ban(peer(1), end);
        assert!(gate.is_banned(&peer(1), start));
        assert!(!gate.is_banned(&peer(2), start));
        assert!(!gate.is_banned(&peer(1), end));
        gate.lift_expired(end);
        assert!(gate.bans.is_empty());
    }

    #[test]
    fn the_list_of_bans_is_bounded_and_drops_the_one_that_ends_first() {
        let mut gate = Gate::new(2, 2);
        let start = Instant::now();
        for n in 0..=BANS_MAX {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&(n as u64).to_le_bytes());
            let seconds = 10 + n as u64;
            gate.ban(
                PeerKey(key).to_peer_id(),
                start + Duration::from_secs(seconds),
            );
        }
        assert_eq!(gate.bans.len(), BANS_MAX);
        assert!(!gate.is_banned(&peer(0), start), "n = 0 ends first");
    }

    #[test]
    fn a_connection_beyond_a_peers_share_closes_the_oldest() {
        let mut gate = Gate::new(2, 2);
        let endpoint = ConnectedPoint::Listener {
            local_addr: Multiaddr::empty(),
            send_back_addr: Multiaddr::empty(),
        };
        for number in 1..=3 {
            assert!(gate.orders.is_empty());
            gate.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id: peer(1),
                connection_id: ConnectionId::new_unchecked(number),
                endpoint: &endpoint,
                failed_addresses: &[],
                other_established: number - 1,
            }));
        }
        let oldest = ConnectionId::new_unchecked(1);
        assert!(matches!(
            gate.orders.pop_front(),
            Some(ToSwarm::CloseConnection { connection: CloseConnection::One(c), .. }) if c == oldest
        ));
        assert!(gate.orders.is_empty());
    }

    #[test]
    fn peers_without_an_ed25519_key_are_refused() {
        let gate = Gate::new(2, 2);
        assert!(gate.admit(&PeerId::random()).is_err());
        assert!(gate.admit(&peer(9)).is_ok());
    }

    #[test]
    fn lookups_dial_only_while_there_are_few_connections_or_somebody_is_searched() {
        let mut gate = Gate::new(2, 2);
        let dial = |gate: &mut Gate, number: usize| {
            let connection = ConnectionId::new_unchecked(number);
            let to = Some(peer(u8::try_from(number).unwrap()));
            gate.handle_pending_outbound_connection(connection, to, &[], Endpoint::Dialer)
                .is_ok()
        };
        assert!(dial(&mut gate, 1) && dial(&mut gate, 2));
        assert!(!dial(&mut gate, 3), "a third spontaneous dial");

        gate.choose(peer(3));
        assert!(dial(&mut gate, 3), "the driver's own choice");
        gate.unchoose(&peer(3));
        gate.admit_server(peer(6));
        assert!(dial(&mut gate, 6), "a relay");
        gate.set_searching(true);
        assert!(dial(&mut gate, 4), "a search for a certain peer");
        gate.set_searching(false);
        assert!(!dial(&mut gate, 5));
    }
}
