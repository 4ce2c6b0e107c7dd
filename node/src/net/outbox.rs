//! Events on their way to the runtime, when the runtime is slow.
//!
//! What can be had again is dropped when the queue is full: gossip (the network repeats it, and
//! reconciliation finds it) and requests (the requester sees a refusal). What must not be lost, connects and
//! disconnects, is kept, and cancels out: the queue never holds more than one such event a peer, so it is
//! bounded by the number of connections.

use std::collections::VecDeque;

use tokio::sync::mpsc::Sender;

use super::event::NetEvent;

/// Events beyond the channel's own capacity.
#[derive(Debug)]
pub(super) struct Outbox {
    channel: Sender<NetEvent>,
    waiting: VecDeque<NetEvent>,
}

impl Outbox {
    pub(super) fn new(channel: Sender<NetEvent>) -> Self {
        Self {
            channel,
            waiting: VecDeque::new(),
        }
    }

    /// Queues an event that may be dropped. Returns `false` when the runtime is too far behind and it was.
    pub(super) fn offer(&mut self, event: NetEvent) -> bool {
        if !self.waiting.is_empty() {
            return false;
        }
        let Ok(place) = self.channel.try_reserve() else {
            return false;
        };
        place.send(event);
        true
    }

    /// Queues an event that must arrive.
    pub(super) fn keep(&mut self, event: NetEvent) {
        let opposite_waits = self
            .waiting
            .iter()
            .position(|waiting| cancels(waiting, &event));
        if let Some(index) = opposite_waits {
            self.waiting.remove(index);
            return;
        }
        match self.channel.try_reserve() {
            Ok(place) if self.waiting.is_empty() => place.send(event),
            _ => self.waiting.push_back(event),
        }
    }

    /// Whether something waits for room in the channel.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Waits for room and sends the first waiting event. Returns `false` when the runtime has gone.
    ///
    /// Cancel safe: an event leaves the queue only when its place in the channel is reserved.
    pub(super) async fn flush_one(&mut self) -> bool {
        let Ok(place) = self.channel.reserve().await else {
            return false;
        };
        if let Some(event) = self.waiting.pop_front() {
            place.send(event);
        }
        true
    }

    /// Whether the runtime has dropped its end.
    pub(super) fn is_closed(&self) -> bool {
        self.channel.is_closed()
    }
}

fn cancels(waiting: &NetEvent, new: &NetEvent) -> bool {
    match (waiting, new) {
        (NetEvent::PeerConnected(a), NetEvent::PeerDisconnected(b))
        | (NetEvent::PeerDisconnected(a), NetEvent::PeerConnected(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::peer::PeerKey;
    use tokio::sync::mpsc;

    const ALICE: PeerKey = PeerKey([1; 32]);
    const BOB: PeerKey = PeerKey([2; 32]);

    #[tokio::test]
    async fn connects_survive_a_slow_runtime_and_flapping_cancels_out() {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut outbox = Outbox::new(sender);
        outbox.keep(NetEvent::PeerConnected(ALICE)); // fills the channel
        for _ in 0..1_000 {
            outbox.keep(NetEvent::PeerConnected(BOB));
            outbox.keep(NetEvent::PeerDisconnected(BOB));
        }
        assert!(!outbox.is_waiting(), "flapping filled the queue");
        outbox.keep(NetEvent::PeerDisconnected(ALICE));
        assert!(outbox.is_waiting());

        assert!(
            matches!(receiver.recv().await, Some(NetEvent::PeerConnected(peer)) if peer == ALICE)
        );
        assert!(outbox.flush_one().await);
        assert!(
            matches!(receiver.recv().await, Some(NetEvent::PeerDisconnected(peer)) if peer == ALICE)
        );
    }

    #[tokio::test]
    async fn droppable_events_do_not_overtake_or_pile_up() {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut outbox = Outbox::new(sender);
        outbox.keep(NetEvent::PeerConnected(ALICE));
        outbox.keep(NetEvent::PeerConnected(BOB));
        let accepted = outbox.offer(NetEvent::Listening("/ip4/127.0.0.1/tcp/1".parse().unwrap()));
        assert!(!accepted);
        assert!(receiver.recv().await.is_some());
        let overtook = outbox.offer(NetEvent::Listening("/ip4/127.0.0.1/tcp/1".parse().unwrap()));
        assert!(!overtook, "a droppable event overtook a kept one");
        drop(receiver);
        assert!(!outbox.flush_one().await);
    }
}
