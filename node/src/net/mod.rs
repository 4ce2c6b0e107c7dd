//! The node's libp2p body: bytes, peers and topics; it knows no task.
//!
//! ```text
//!   runtime --NetHandle--> commands --> [ one task: swarm ] --NetEvent--> runtime
//! ```
//!
//! What it does: gossip that is held until a verdict, requests and responses of raw bytes, finding and keeping
//! peers, getting through a NAT, standing and bans.
//!
//! What it does not do: it decodes no message, verifies no project signature, decides no penalty, writes no file.
//!
//! Invariants:
//! - nothing outside this module (and the first-contact server) names a libp2p type, except [`Multiaddr`];
//! - a gossip message is forwarded only after [`Verdict::Accept`];
//! - every queue, table and buffer has a bound, in [`NetLimits`] or as a constant beside it;
//! - the swarm never waits for the runtime: a slow runtime loses gossip and refuses requests, it does not stall
//!   connections, and it never misses the connect or disconnect of a node;
//! - production networks dial public addresses only, and never resolve a name a peer supplied.
//!
//! ```no_run
//! # async fn example() -> Result<(), assay_node::net::NetError> {
//! use assay_node::net::{Net, NetConfig, NetEvent, Verdict};
//!
//! let mut config = NetConfig::dev([7; 32], "dev");
//! config.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().expect("a literal")];
//! config.topics = vec!["tasks/rating".to_owned()];
//! let (net, mut events) = Net::start(config).await?;
//! while let Some(event) = events.recv().await {
//!     match event {
//!         NetEvent::Gossip { id, .. } => net.verdict(id, Verdict::Accept)?,
//!         NetEvent::Request { channel, bytes, .. } => net.respond(channel, bytes)?,
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! ```

mod behaviour;
mod config;
mod driver;
mod error;
mod event;
mod frame;
mod gate;
mod outbox;
mod peer;
mod standing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use libp2p::identity::Keypair;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

pub use config::{
    EXCHANGE_SECONDS_MAX, GOSSIP_BYTES_MAX, NetConfig, NetLimits, REQUEST_BYTES_MAX,
    RESPONSE_BYTES_MAX, TOPIC_BYTES_MAX, TOPICS_MAX,
};
pub use error::{NetError, Stage};
pub use event::{GossipId, NetEvent, PeerInfo, Penalty, ReplyTo, Verdict};
pub use libp2p::Multiaddr;
pub use peer::PeerKey;

use driver::{Command, Driver, Order};

/// Commands waiting for the swarm's task; callers beyond it wait.
const COMMANDS_MAX: usize = 256;
/// Verdicts, responses and penalties waiting for the swarm's task.
const ORDERS_MAX: usize = 8_192;
/// Allowed range of the gossip heartbeat, in milliseconds.
const HEARTBEAT_MS: std::ops::RangeInclusive<u128> = 200..=1_000;

/// The entry point; see [`Net::start`].
#[derive(Debug)]
pub struct Net;

impl Net {
    /// Starts the network of a node. Returns when every listening address is open.
    ///
    /// Dropping the receiver, or all handles, stops the network; [`NetHandle::shutdown`] does so politely.
    ///
    /// # Errors
    /// [`NetError::Config`] when a setting cannot be used, [`NetError::Listen`] when an address cannot be opened.
    pub async fn start(
        config: NetConfig,
    ) -> Result<(NetHandle, mpsc::Receiver<NetEvent>), NetError> {
        check(&config)?;
        let key = public_key(&config)?;
        let (events_in, events) = mpsc::channel(config.limits.events_max);
        let (addresses_in, addresses) = watch::channel(Vec::new());
        let mut driver = Driver::new(&config, events_in, addresses_in)?;
        driver.listen(&config.listen).await?;
        let (commands, commands_out) = mpsc::channel(COMMANDS_MAX);
        let (orders, orders_out) = mpsc::channel(ORDERS_MAX);
        tokio::spawn(driver.run(commands_out, orders_out));
        let handle = NetHandle {
            key,
            commands,
            orders,
            addresses,
            places: Arc::new(Semaphore::new(config.limits.requests_in_flight_max)),
            request_bytes_max: config.limits.request_bytes_max,
            response_bytes_max: config.limits.response_bytes_max,
        };
        Ok((handle, events))
    }
}

/// Orders and questions to the network. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NetHandle {
    key: PeerKey,
    commands: mpsc::Sender<Command>,
    orders: mpsc::Sender<Order>,
    addresses: watch::Receiver<Vec<Multiaddr>>,
    places: Arc<Semaphore>,
    request_bytes_max: usize,
    response_bytes_max: usize,
}

impl NetHandle {
    /// This node's own name.
    pub fn key(&self) -> PeerKey {
        self.key
    }

    /// Addresses the node listens on now, each ending in `/p2p/<peer id>`.
    pub fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.addresses.borrow().clone()
    }

    /// Publishes `bytes` (at most [`GOSSIP_BYTES_MAX`]) on `topic`. `Ok` means queued: while no peer is subscribed
    /// the message is retried for [`NetLimits::publish_retry`], then dropped. Content already seen is not sent again.
    ///
    /// # Errors
    /// [`NetError::TooLarge`], [`NetError::UnknownTopic`], [`NetError::Busy`] when too many messages wait for
    /// subscribers, [`NetError::Stopped`].
    pub async fn publish(&self, topic: &str, bytes: Vec<u8>) -> Result<(), NetError> {
        check_size("gossip message", bytes.len(), GOSSIP_BYTES_MAX)?;
        let topic = topic.to_owned();
        self.ask(|reply| Command::Publish {
            topic,
            bytes,
            reply,
        })
        .await?
    }

    /// Gives the verdict on a gossip message. Late verdicts, after about six seconds, count as [`Verdict::Ignore`].
    ///
    /// # Errors
    /// [`NetError::Busy`] when the swarm's task is far behind, [`NetError::Stopped`].
    pub fn verdict(&self, id: GossipId, verdict: Verdict) -> Result<(), NetError> {
        self.order(Order::Verdict(id, verdict))
    }

    /// Sends `bytes` to `peer` and returns its answer. A peer that is not connected is dialled at its known
    /// addresses, then looked up, again and again until `timeout` (which covers everything) is over.
    ///
    /// One exchange on the wire lasts at most [`EXCHANGE_SECONDS_MAX`]. After [`NetError::Disconnected`] or a timeout
    /// the peer may have handled the request.
    ///
    /// # Errors
    /// Any [`NetError`] that concerns requests; none of them blames the peer.
    pub async fn request(
        &self,
        peer: PeerKey,
        bytes: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, NetError> {
        check_size("request", bytes.len(), self.request_bytes_max)?;
        let progress = Arc::new(AtomicU8::new(Stage::Queued as u8));
        let shown = Arc::clone(&progress);
        let exchange = async {
            let _place = self.places.acquire().await.map_err(|_| NetError::Stopped)?;
            self.ask(|reply| Command::Request {
                peer,
                bytes,
                progress,
                reply,
            })
            .await?
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(NetError::Timeout {
                peer,
                timeout,
                stage: Stage::from_byte(shown.load(Ordering::Relaxed)),
            }),
        }
    }

    /// Answers a request with `bytes`.
    ///
    /// # Errors
    /// [`NetError::TooLarge`] (the request is refused), [`NetError::Busy`], [`NetError::Stopped`]. A requester that
    /// has gone is no error.
    pub fn respond(&self, channel: ReplyTo, bytes: Vec<u8>) -> Result<(), NetError> {
        check_size("response", bytes.len(), self.response_bytes_max)?;
        self.order(Order::Respond(channel, bytes))
    }

    /// Lowers the standing of `peer`; at [`Penalty::BAN_POINTS`] it is disconnected and kept out for a while.
    ///
    /// # Errors
    /// [`NetError::Busy`] when the swarm's task is far behind, [`NetError::Stopped`].
    pub fn penalise(&self, peer: PeerKey, penalty: Penalty) -> Result<(), NetError> {
        self.order(Order::Penalise(peer, penalty))
    }

    /// Peers connected now.
    ///
    /// # Errors
    /// [`NetError::Stopped`].
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, NetError> {
        self.ask(|reply| Command::Peers { reply }).await
    }

    /// Tells where `peer` can be reached, for example from its registration. Wrong addresses cost a failed dial.
    ///
    /// # Errors
    /// [`NetError::Config`] when the address may not be dialled on this network, [`NetError::Stopped`].
    pub async fn add_address(&self, peer: PeerKey, address: Multiaddr) -> Result<(), NetError> {
        self.ask(|reply| Command::AddAddress {
            peer,
            address,
            reply,
        })
        .await?
    }

    /// Closes all connections and stops; returns when done. Later calls on any handle give [`NetError::Stopped`].
    pub async fn shutdown(&self) {
        // An error means that it has stopped already.
        let _ = self.ask(|reply| Command::Shutdown { reply }).await;
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, NetError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(command(reply)).await;
        sent.map_err(|_| NetError::Stopped)?;
        answer.await.map_err(|_| NetError::Stopped)
    }

    fn order(&self, order: Order) -> Result<(), NetError> {
        self.orders
            .try_send(order)
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => NetError::Busy {
                    what: "the queue of verdicts, responses and penalties",
                    limit: ORDERS_MAX,
                },
                mpsc::error::TrySendError::Closed(_) => NetError::Stopped,
            })
    }
}

fn check_size(what: &'static str, bytes: usize, limit: usize) -> Result<(), NetError> {
    if bytes > limit {
        return Err(NetError::TooLarge { what, bytes, limit });
    }
    Ok(())
}

fn public_key(config: &NetConfig) -> Result<PeerKey, NetError> {
    let keypair =
        Keypair::ed25519_from_bytes(config.node_key).map_err(|error| NetError::Config {
            what: format!("node_key: {error}"),
        })?;
    PeerKey::from_peer_id(&keypair.public().to_peer_id()).ok_or_else(|| NetError::Config {
        what: "node_key: not an ed25519 key".to_owned(),
    })
}

fn check(config: &NetConfig) -> Result<(), NetError> {
    let wrong = |what: String| Err(NetError::Config { what });
    let heartbeat_ms = config.heartbeat.as_millis();
    if !HEARTBEAT_MS.contains(&heartbeat_ms) {
        return wrong(format!(
            "heartbeat of {heartbeat_ms} ms is outside {HEARTBEAT_MS:?} ms"
        ));
    }
    let topics = config.topics.len() + config.publish_topics.len();
    if topics > TOPICS_MAX {
        return wrong(format!("{topics} topics, at most {TOPICS_MAX} are allowed"));
    }
    let mut names = config.topics.iter().chain(&config.publish_topics);
    if let Some(long) = names.find(|name| name.len() > TOPIC_BYTES_MAX) {
        return wrong(format!(
            "topic {long:?} is longer than {TOPIC_BYTES_MAX} bytes"
        ));
    }
    if config.limits.events_max == 0 || config.limits.requests_in_flight_max == 0 {
        return wrong("events_max and requests_in_flight_max must not be zero".to_owned());
    }
    let listens_over = [
        ("request", config.limits.request_bytes_max),
        ("response", config.limits.response_bytes_max),
    ];
    for (what, bytes) in listens_over {
        if bytes > config.limits.exchange_memory_bytes_max {
            return wrong(format!(
                "{what} limit of {bytes} bytes exceeds exchange_memory_bytes_max"
            ));
        }
    }
    Ok(())
}
