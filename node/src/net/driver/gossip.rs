//! Publishing, and handing messages to the runtime for their verdict.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use assay_bootstrap::names::NetworkName;
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance, PublishError};
use tokio::time::Instant;

use super::Driver;
use crate::net::behaviour::Gossip;
use crate::net::config::{GOSSIP_BYTES_MAX, NetConfig};
use crate::net::error::NetError;
use crate::net::event::{GossipId, NetEvent, Verdict};
use crate::net::peer::PeerKey;

/// Most messages waiting for somebody to subscribe to their topic.
const RETRIES_MAX: usize = 256;

/// A topic with this many known subscribers has a mesh worth publishing into at once.
const SUBSCRIBERS_ENOUGH: usize = 6;
/// Otherwise publishing waits this long after the first subscriber appeared, in milliseconds: messages sent while
/// the first connections are being made reach those who are there and, the mesh being full, nobody later.
const SETTLE_MS: u64 = 1_000;

/// A message nobody could take yet.
#[derive(Debug)]
struct Retry {
    topic: IdentTopic,
    bytes: Vec<u8>,
    until: Instant,
}

/// The topics of this node, by both their names, and what waits for subscribers.
#[derive(Debug)]
pub(super) struct Topics {
    by_name: BTreeMap<String, IdentTopic>,
    by_wire_name: BTreeMap<String, String>,
    /// When the first subscriber of each topic appeared, by the topic's name on the wire.
    first_heard: BTreeMap<String, Instant>,
    retries: VecDeque<Retry>,
}

impl Topics {
    pub(super) fn new(config: &NetConfig, network: &NetworkName) -> Self {
        let names = || config.topics.iter().chain(&config.publish_topics);
        Self {
            by_name: names()
                .map(|name| (name.clone(), IdentTopic::new(network.gossip_topic(name))))
                .collect(),
            by_wire_name: names()
                .map(|name| (network.gossip_topic(name), name.clone()))
                .collect(),
            first_heard: BTreeMap::new(),
            retries: VecDeque::new(),
        }
    }
}

/// Tries to publish. Returns `false` when it is too early, or nobody can take the message now.
fn try_publish(
    gossip: &mut Gossip,
    first_heard: &BTreeMap<String, Instant>,
    topic: &IdentTopic,
    bytes: &[u8],
    now: Instant,
) -> Result<bool, PublishError> {
    let hash = topic.hash();
    let subscribers = gossip
        .all_peers()
        .filter(|(_, topics)| topics.contains(&&hash))
        .take(SUBSCRIBERS_ENOUGH)
        .count();
    let settled = first_heard
        .get(hash.as_str())
        .is_some_and(|since| now >= *since + Duration::from_millis(SETTLE_MS));
    if subscribers < SUBSCRIBERS_ENOUGH && !settled {
        return Ok(false);
    }
    match gossip.publish(hash, bytes) {
        Ok(_) | Err(PublishError::Duplicate) => Ok(true),
        Err(PublishError::NoPeersSubscribedToTopic | PublishError::AllQueuesFull(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

impl Driver {
    pub(super) fn publish(&mut self, topic: &str, bytes: Vec<u8>) -> Result<(), NetError> {
        let topic =
            self.topics
                .by_name
                .get(topic)
                .cloned()
                .ok_or_else(|| NetError::UnknownTopic {
                    topic: topic.to_owned(),
                })?;
        let now = Instant::now();
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        let published = try_publish(gossip, &self.topics.first_heard, &topic, &bytes, now)
            .map_err(|error| NetError::Config {
                what: format!("gossip message not published: {error}"),
            })?;
        if published {
            return Ok(());
        }
        if self.topics.retries.len() >= RETRIES_MAX {
            return Err(NetError::Busy {
                what: "the queue of messages without a subscribed peer",
                limit: RETRIES_MAX,
            });
        }
        self.topics.retries.push_back(Retry {
            topic,
            bytes,
            until: now + self.limits.publish_retry,
        });
        Ok(())
    }

    /// Tries every waiting message once more; gives up those that waited long enough.
    pub(super) fn retry_publishing(&mut self, now: Instant) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        let first_heard = &self.topics.first_heard;
        self.topics.retries.retain(|retry| {
            match try_publish(gossip, first_heard, &retry.topic, &retry.bytes, now) {
                Ok(false) if now < retry.until => true,
                Ok(true) => false,
                Ok(false) => {
                    tracing::debug!(topic = %retry.topic, "gave up a message nobody could take");
                    false
                }
                Err(error) => {
                    tracing::warn!(topic = %retry.topic, %error, "a message cannot be published");
                    false
                }
            }
        });
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            } => {
                let id = GossipId {
                    message: message_id,
                    from: propagation_source,
                };
                let from = PeerKey::from_peer_id(&propagation_source);
                let topic = self.topics.by_wire_name.get(message.topic.as_str());
                let (Some(from), Some(topic)) = (from, topic.cloned()) else {
                    self.judge(&id, Verdict::Ignore);
                    return;
                };
                if message.data.len() > GOSSIP_BYTES_MAX {
                    self.judge(&id, Verdict::Reject);
                    return;
                }
                let offered = self.outbox.offer(NetEvent::Gossip {
                    id: id.clone(),
                    topic,
                    from,
                    bytes: message.data,
                });
                if !offered {
                    tracing::debug!("dropped a gossip message: the runtime is behind");
                    self.judge(&id, Verdict::Ignore);
                }
            }
            gossipsub::Event::Subscribed { topic, .. } => {
                let now = Instant::now();
                // Only configured topics get here, the subscription filter drops the others: bounded.
                self.topics
                    .first_heard
                    .entry(topic.into_string())
                    .or_insert(now);
                self.retry_publishing(now);
            }
            gossipsub::Event::SlowPeer {
                peer_id,
                failed_messages,
            } => tracing::debug!(peer = %peer_id, ?failed_messages, "slow gossip peer"),
            other => tracing::trace!(?other, "gossip event"),
        }
    }

    pub(super) fn judge(&mut self, id: &GossipId, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        let in_time = gossip.report_message_validation_result(&id.message, &id.from, acceptance);
        if !in_time {
            tracing::debug!(
                ?verdict,
                "a verdict came after its message had left the cache"
            );
        }
    }
}
