//! Requests to peers, connected or not.
//!
//! ```text
//!   request --connected?--> sent
//!      |no                   ^
//!      v                     | connection established, however it came about
//!    dial known addresses --fails--> look up --fails--> rest (longer each time) --> dial ...
//! ```
//!
//! The caller's timeout runs in the handle; here a request is forgotten when its caller no longer waits.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use libp2p::kad::{GetClosestPeersResult, QueryId};
use libp2p::request_response::{self, Message, OutboundFailure, OutboundRequestId};
use libp2p::swarm::DialError;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Driver;
use crate::net::error::{NetError, Stage};
use crate::net::event::{NetEvent, ReplyTo};
use crate::net::frame::{Frame, FrameError};
use crate::net::peer::PeerKey;

/// First rest after a peer was neither reachable nor found, in milliseconds; doubles each time.
const REST_MS_FIRST: u64 = 200;
/// Longest rest, in milliseconds.
const REST_MS_MAX: u64 = 5_000;
/// A dial that reports nothing is given up after this time, in seconds.
const DIAL_SECONDS_MAX: u64 = 15;

/// How many of the closest peers the lookup of one wanted peer must hear from, on each path: twice the usual.
const TARGET_LOOKUP_WIDTH: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not zero");

type Reply = oneshot::Sender<Result<Vec<u8>, NetError>>;

/// A request waiting for a connection.
#[derive(Debug)]
struct Waiting {
    bytes: Vec<u8>,
    progress: Arc<AtomicU8>,
    reply: Reply,
}

#[derive(Debug)]
enum Step {
    Dialling {
        give_up: Instant,
    },
    Looking {
        query: QueryId,
        found: Vec<Multiaddr>,
    },
    Resting {
        until: Instant,
    },
}

/// A peer some request waits for.
#[derive(Debug)]
struct Target {
    waiting: Vec<Waiting>,
    step: Step,
    rest: Duration,
}

impl Target {
    fn show(&self, stage: Stage) {
        for waiting in &self.waiting {
            waiting.progress.store(stage as u8, Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
struct Sent {
    peer: PeerKey,
    reply: Reply,
}

/// Requests under way. Bounded by the handle, which admits only so many callers at once.
#[derive(Debug, Default)]
pub(super) struct Outreach {
    targets: BTreeMap<PeerId, Target>,
    sent: HashMap<OutboundRequestId, Sent>,
}

impl Outreach {
    /// A new address of `peer` is known: stop resting.
    pub(super) fn hurry(&mut self, peer: &PeerId, now: Instant) {
        if let Some(target) = self.targets.get_mut(peer)
            && matches!(target.step, Step::Resting { .. })
        {
            target.step = Step::Resting { until: now };
        }
    }
}

impl Driver {
    pub(super) fn request(
        &mut self,
        peer: PeerKey,
        bytes: Vec<u8>,
        progress: Arc<AtomicU8>,
        reply: Reply,
    ) {
        let id = peer.to_peer_id();
        if id == *self.swarm.local_peer_id() {
            let _ = reply.send(Err(NetError::ToSelf));
            return;
        }
        if self.swarm.behaviour().gate.is_banned(&id, Instant::now()) {
            let _ = reply.send(Err(NetError::Banned { peer }));
            return;
        }
        let waiting = Waiting {
            bytes,
            progress,
            reply,
        };
        if self.swarm.is_connected(&id) {
            self.send(id, peer, waiting);
            return;
        }
        if let Some(target) = self.outreach.targets.get_mut(&id) {
            target.waiting.push(waiting);
            return;
        }
        let target = Target {
            waiting: vec![waiting],
            step: Step::Resting {
                until: Instant::now(),
            },
            rest: Duration::from_millis(REST_MS_FIRST),
        };
        self.outreach.targets.insert(id, target);
        self.dial_target(id, Vec::new());
    }

    fn send(&mut self, id: PeerId, peer: PeerKey, waiting: Waiting) {
        waiting.progress.store(Stage::Sent as u8, Ordering::Relaxed);
        let frame = Frame::outgoing(waiting.bytes);
        let request = self.swarm.behaviour_mut().exchange.send_request(&id, frame);
        let reply = waiting.reply;
        self.outreach.sent.insert(request, Sent { peer, reply });
    }

    /// Sends everything that waited for a connection to `peer`.
    pub(super) fn send_waiting(&mut self, peer: &PeerId) {
        let Some(target) = self.outreach.targets.remove(peer) else {
            return;
        };
        self.stop_lookup(&target);
        if let Some(key) = PeerKey::from_peer_id(peer) {
            for waiting in target.waiting {
                self.send(*peer, key, waiting);
            }
        }
    }

    /// Fails everything that waits for a peer that was just banned.
    pub(super) fn outreach_to_banned(&mut self, peer: &PeerId) {
        let Some(target) = self.outreach.targets.remove(peer) else {
            return;
        };
        self.stop_lookup(&target);
        if let Some(key) = PeerKey::from_peer_id(peer) {
            for waiting in target.waiting {
                let _ = waiting.reply.send(Err(NetError::Banned { peer: key }));
            }
        }
    }

    /// Drops requests nobody waits for any more, and takes the next step where a wait is over.
    pub(super) fn advance_outreach(&mut self, now: Instant) {
        self.outreach.sent.retain(|_, sent| !sent.reply.is_closed());
        let mut due = Vec::new();
        let mut abandoned = Vec::new();
        for (peer, target) in &mut self.outreach.targets {
            target.waiting.retain(|waiting| !waiting.reply.is_closed());
            if target.waiting.is_empty() {
                abandoned.push(*peer);
                continue;
            }
            match target.step {
                Step::Resting { until } if now >= until => due.push(*peer),
                Step::Dialling { give_up } if now >= give_up => due.push(*peer),
                _ => {}
            }
        }
        for peer in abandoned {
            if let Some(target) = self.outreach.targets.remove(&peer) {
                self.stop_lookup(&target);
            }
        }
        for peer in due {
            self.dial_target(peer, Vec::new());
        }
        let looking = |target: &Target| matches!(target.step, Step::Looking { .. });
        let searching = self.outreach.targets.values().any(looking);
        self.swarm.behaviour_mut().gate.set_searching(searching);
    }

    fn stop_lookup(&mut self, target: &Target) {
        if let Step::Looking { query, .. } = &target.step
            && let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(query)
        {
            query.finish();
        }
    }

    fn dial_target(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        match self.dial(peer, addresses) {
            // Somebody else's dial counts as well: its outcome is reported for the peer.
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {
                let give_up = Instant::now() + Duration::from_secs(DIAL_SECONDS_MAX);
                self.set_step(peer, Step::Dialling { give_up }, Stage::Dialling);
            }
            Err(DialError::NoAddresses) => self.look_up_target(peer),
            Err(error) => {
                tracing::debug!(%peer, %error, "cannot dial now");
                self.rest_target(peer);
            }
        }
    }

    fn look_up_target(&mut self, peer: PeerId) {
        let table = &mut self.swarm.behaviour_mut().kad;
        let query = table.get_n_closest_peers(peer, TARGET_LOOKUP_WIDTH);
        let found = Vec::new();
        self.set_step(peer, Step::Looking { query, found }, Stage::Looking);
        self.swarm.behaviour_mut().gate.set_searching(true);
    }

    fn rest_target(&mut self, peer: PeerId) {
        if let Some(target) = self.outreach.targets.get_mut(&peer) {
            let until = Instant::now() + target.rest;
            target.step = Step::Resting { until };
            target.rest = (target.rest * 2).min(Duration::from_millis(REST_MS_MAX));
        }
    }

    fn set_step(&mut self, peer: PeerId, step: Step, stage: Stage) {
        if let Some(target) = self.outreach.targets.get_mut(&peer) {
            target.step = step;
            target.show(stage);
        }
    }

    /// A dial failed: if a request waits for that peer, look for other addresses.
    pub(super) fn target_dial_failed(&mut self, peer: PeerId) {
        let dialling = self
            .outreach
            .targets
            .get(&peer)
            .is_some_and(|target| matches!(target.step, Step::Dialling { .. }));
        if dialling {
            self.look_up_target(peer);
        }
    }

    /// Progress of a lookup made for a request. Returns whether it was one.
    pub(super) fn on_target_lookup(
        &mut self,
        id: QueryId,
        result: GetClosestPeersResult,
        last: bool,
    ) -> bool {
        let looking_for =
            |target: &Target| matches!(target.step, Step::Looking { query, .. } if query == id);
        let entry = self
            .outreach
            .targets
            .iter_mut()
            .find(|(_, target)| looking_for(target));
        let Some((peer, target)) = entry else {
            return false;
        };
        let peer = *peer;
        let peers = match result {
            Ok(found) => found.peers,
            Err(timeout) => {
                let libp2p::kad::GetClosestPeersError::Timeout { peers, .. } = timeout;
                peers
            }
        };
        if let Step::Looking { found, .. } = &mut target.step {
            for info in peers.into_iter().filter(|info| info.peer_id == peer) {
                found.extend(info.addrs);
            }
            if last {
                let found = std::mem::take(found);
                if found.is_empty() {
                    self.rest_target(peer);
                } else {
                    self.dial_target(peer, found);
                }
            }
        }
        true
    }

    pub(super) fn on_exchange(&mut self, event: request_response::Event<Frame, Frame>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                Message::Request {
                    request, channel, ..
                } => {
                    let Some(from) = PeerKey::from_peer_id(&peer) else {
                        return; // The gate admits ed25519 keys only.
                    };
                    let channel = ReplyTo {
                        channel,
                        _memory: request.share,
                    };
                    let bytes = request.bytes;
                    let event = NetEvent::Request {
                        from,
                        channel,
                        bytes,
                    };
                    if !self.outbox.offer(event) {
                        tracing::debug!(%peer, "refused a request: the runtime is behind");
                    }
                }
                Message::Response {
                    request_id,
                    response,
                } => {
                    if let Some(sent) = self.outreach.sent.remove(&request_id) {
                        let _ = sent.reply.send(Ok(response.bytes));
                    }
                }
            },
            request_response::Event::OutboundFailure {
                request_id, error, ..
            } => {
                if let Some(sent) = self.outreach.sent.remove(&request_id) {
                    let _ = sent.reply.send(Err(failure(sent.peer, error)));
                }
            }
            request_response::Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "an exchange from outside failed");
            }
            request_response::Event::ResponseSent { .. } => {}
        }
    }
}

fn failure(peer: PeerKey, error: OutboundFailure) -> NetError {
    match error {
        OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => {
            NetError::Disconnected { peer }
        }
        OutboundFailure::Timeout => NetError::Timeout {
            peer,
            timeout: Duration::from_secs(crate::net::config::EXCHANGE_SECONDS_MAX),
            stage: Stage::Sent,
        },
        OutboundFailure::UnsupportedProtocols => NetError::NotANode { peer },
        OutboundFailure::Io(error) => io_failure(peer, &error),
    }
}

fn io_failure(peer: PeerKey, error: &io::Error) -> NetError {
    let frame_error = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<FrameError>());
    match frame_error {
        Some(FrameError::TooLarge { bytes, limit }) => NetError::ResponseRefused {
            peer,
            bytes: *bytes,
            limit: *limit,
        },
        _ => NetError::Refused {
            peer,
            reason: error.to_string(),
        },
    }
}
