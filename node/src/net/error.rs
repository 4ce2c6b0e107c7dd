//! What can go wrong between the runtime and the network.

use std::time::Duration;

use libp2p::Multiaddr;

use super::peer::PeerKey;

/// A failure of the network body. None of them is a verdict on a peer: the caller decides about blame.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The configuration cannot be used.
    #[error("network configuration: {what}")]
    Config {
        /// Which field, why, and what to write instead.
        what: String,
    },
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address}: {reason}; is the port in use, or the address not of this machine?"
    )]
    Listen {
        /// The address asked for.
        address: Multiaddr,
        /// The operating system's reason.
        reason: String,
    },
    /// The bytes to send exceed the limit; nothing was sent.
    #[error("{what} of {bytes} bytes is over the limit of {limit} bytes; send it in parts")]
    TooLarge {
        /// `request`, `response` or `gossip message`.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The remote announced a response over the limit; it was not read.
    #[error(
        "{peer} announced a response of {bytes} bytes, over the limit of {limit} bytes; it was not read"
    )]
    ResponseRefused {
        /// The remote.
        peer: PeerKey,
        /// The size it announced.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The topic is neither subscribed to nor declared for publishing.
    #[error("topic {topic:?} was not configured at start; add it to topics or publish_topics")]
    UnknownTopic {
        /// The topic asked for.
        topic: String,
    },
    /// No answer in time.
    #[error("no answer from {peer} within {timeout:?}: {stage}")]
    Timeout {
        /// The remote.
        peer: PeerKey,
        /// How long the caller was ready to wait.
        timeout: Duration,
        /// How far the request had come.
        stage: Stage,
    },
    /// The connection ended before the answer. The request may have been handled.
    #[error("the connection to {peer} closed before its answer; the request may have been handled")]
    Disconnected {
        /// The remote.
        peer: PeerKey,
    },
    /// The remote closed the exchange without an answer: too large for it, overloaded, or not willing.
    #[error("{peer} refused the request without an answer ({reason})")]
    Refused {
        /// The remote.
        peer: PeerKey,
        /// What the stream reported.
        reason: String,
    },
    /// The remote is a server of this network, but not a node.
    #[error("{peer} does not take requests: it is not a node of this network")]
    NotANode {
        /// The remote.
        peer: PeerKey,
    },
    /// The request names this node itself.
    #[error("a node cannot send a request to itself; answer it locally")]
    ToSelf,
    /// The peer is banned at the moment.
    #[error("{peer} is banned here for its behaviour; requests to it wait for the ban to end")]
    Banned {
        /// The remote.
        peer: PeerKey,
    },
    /// A queue inside is full: slow down.
    #[error("{what} is full ({limit} waiting); try again when some are done")]
    Busy {
        /// Which queue.
        what: &'static str,
        /// Its bound.
        limit: usize,
    },
    /// The network has been shut down.
    #[error("the network of this node has stopped")]
    Stopped,
}

/// How far a request had come when it timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Waiting for one of the places for requests under way.
    Queued = 0,
    /// Looking for an address: the peer is unknown, offline, or cannot be reached from here.
    Looking = 1,
    /// Dialling known addresses.
    Dialling = 2,
    /// Sent; the remote has not answered.
    Sent = 3,
}

impl Stage {
    pub(super) fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Queued,
            1 => Self::Looking,
            2 => Self::Dialling,
            _ => Self::Sent,
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Queued => "too many requests of this node were under way",
            Self::Looking => "no address found; the peer is unknown here, offline, or unreachable",
            Self::Dialling => "none of its known addresses answered",
            Self::Sent => "the request was sent, the answer did not come",
        })
    }
}
