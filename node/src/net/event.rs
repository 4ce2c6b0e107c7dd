//! What crosses the border of this module: news for the runtime, and the tickets it hands back with its orders.

use std::time::Duration;

use libp2p::gossipsub::MessageId;
use libp2p::request_response::ResponseChannel;
use libp2p::{Multiaddr, PeerId};

use super::frame::Frame;
use super::peer::PeerKey;

/// News from the network.
#[derive(Debug)]
pub enum NetEvent {
    /// A gossip message. It is forwarded to nobody until [`super::NetHandle::verdict`] accepts it.
    ///
    /// The author's signature was checked by libp2p, which is laxer than the project's own rule: never treat it
    /// as evidence, the payload carries its own signature.
    Gossip {
        /// Ticket for the verdict.
        id: GossipId,
        /// The topic, as configured.
        topic: String,
        /// The neighbour that sent it here; not necessarily its author.
        from: PeerKey,
        /// At most [`super::GOSSIP_BYTES_MAX`] bytes.
        bytes: Vec<u8>,
    },
    /// A request. Dropping `channel` refuses it.
    Request {
        /// The sender, authenticated by the connection.
        from: PeerKey,
        /// Ticket for the answer.
        channel: ReplyTo,
        /// At most [`super::REQUEST_BYTES_MAX`] bytes.
        bytes: Vec<u8>,
    },
    /// A node of this network is connected and known to take requests. Messages from it may come earlier.
    PeerConnected(PeerKey),
    /// The last connection to a node is gone.
    PeerDisconnected(PeerKey),
    /// A new listening address, ending in `/p2p/<peer id>`.
    Listening(Multiaddr),
    /// Nodes that this node has met, those it reached itself first, each address ending in `/p2p/<peer id>`: what the next start gives as
    /// [`super::NetConfig::known`].
    Known(Vec<Multiaddr>),
}

/// Ticket of a gossip message waiting for its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipId {
    pub(super) message: MessageId,
    pub(super) from: PeerId,
}

/// What to do with a gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Valid: forward it.
    Accept,
    /// Not useful, nobody's fault: drop it.
    Ignore,
    /// Invalid: drop it and lower the standing of the neighbour that sent it.
    Reject,
}

/// Ticket for the one answer to a request. Dropping it refuses the request; the requester notices at once.
#[derive(Debug)]
pub struct ReplyTo {
    pub(super) channel: ResponseChannel<Frame>,
    /// The request's share of the exchange memory, given back with the answer.
    pub(super) _memory: super::frame::Share,
}

impl ReplyTo {
    /// Whether the requester still waits.
    pub fn is_open(&self) -> bool {
        self.channel.is_open()
    }
}

/// A loss of standing. Points halve every ten minutes; 100 of them end the connection and start a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Penalty {
    /// Points, up to [`Penalty::BAN_POINTS`].
    pub points: u32,
    /// Why, for the log.
    pub reason: &'static str,
}

impl Penalty {
    /// Standing at which a peer is banned.
    pub const BAN_POINTS: u32 = 100;

    /// Could happen to an honest node now and then: twenty within ten minutes lead to a ban.
    pub const fn minor(reason: &'static str) -> Self {
        Self { points: 5, reason }
    }

    /// An honest node does this only with a defect: four lead to a ban.
    pub const fn major(reason: &'static str) -> Self {
        Self { points: 25, reason }
    }

    /// No honest node does this: a ban at once.
    pub const fn fatal(reason: &'static str) -> Self {
        Self {
            points: Self::BAN_POINTS,
            reason,
        }
    }
}

/// A connected peer, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its name.
    pub key: PeerKey,
    /// Remote addresses of its connections.
    pub addresses: Vec<Multiaddr>,
    /// Whether this node opened a connection to it.
    pub outbound: bool,
    /// Whether every connection to it goes through a relay.
    pub relayed: bool,
    /// Whether it is a node of this network; otherwise a first-contact server, or not identified yet.
    pub node: bool,
    /// Last measured round trip.
    pub rtt: Option<Duration>,
    /// Gossip score, rounded; below -2500 nothing from the peer is read.
    pub score: i64,
}
