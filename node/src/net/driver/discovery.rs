//! Staying connected: first contacts, lookups of random keys, a few chosen neighbours, relay reservations.
//!
//! Every attempt that fails is repeated for ever, ever more slowly. Neighbours are drawn at random from the routing
//! table, at most a few from one network block, so that whoever owns a block does not own the neighbourhood.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use assay_bootstrap::address::{NetGroup, net_group, resolve, split_peer};
use assay_bootstrap::routing::LOOKUP_WIDTH;
use libp2p::core::transport::ListenerId;
use libp2p::kad::{self, QueryId, QueryResult};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::DialError;
use libp2p::{Multiaddr, PeerId};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Driver, Expiring};
use crate::net::config::NetConfig;
use crate::net::error::NetError;

/// First and longest wait between attempts to reach a first contact, in milliseconds.
const CONTACT_MS: (u64, u64) = (500, 60_000);
/// First and longest wait between lookups of random keys while neighbours are missing, in milliseconds.
const LOOKUP_MS: (u64, u64) = (250, 30_000);
/// Most first contacts configured.
const CONTACTS_MAX: usize = 64;
/// Most peers remembered as not worth dialling.
const AVOIDED_MAX: usize = 1_024;
/// How long an unreachable peer is not dialled again for the neighbourhood, in seconds.
const AVOID_UNREACHABLE_SECONDS: u64 = 30;
/// How long a peer that is no node of this network is not dialled again, in seconds.
const AVOID_STRANGER_SECONDS: u64 = 600;
/// Relay reservations kept by a node behind a NAT.
const RESERVATIONS: usize = 2;
/// Wait between attempts to reserve, in seconds.
const RESERVE_SECONDS: u64 = 5;

/// A peer known by configuration.
#[derive(Debug)]
struct Contact {
    addresses: Vec<Multiaddr>,
    resolving: bool,
    next: Instant,
    wait: Duration,
}

/// Addresses of a first contact after name resolution.
pub(super) type Resolved = (PeerId, Vec<Multiaddr>);

/// State of the search for company.
pub(super) struct Discovery {
    contacts: BTreeMap<PeerId, Contact>,
    resolutions: JoinSet<Resolved>,
    /// Peers being dialled as neighbours.
    dialling: BTreeSet<PeerId>,
    avoided: Expiring<PeerId>,
    lookup: Option<QueryId>,
    next_lookup: Instant,
    lookup_wait: Duration,
    reservations: HashMap<ListenerId, PeerId>,
    next_reservation: Instant,
    behind_nat: bool,
    dice: Dice,
}

impl Discovery {
    pub(super) fn new(config: &NetConfig, local: PeerId, now: Instant) -> Result<Self, NetError> {
        let mut contacts: BTreeMap<PeerId, Contact> = BTreeMap::new();
        for address in &config.bootstrap {
            let (peer, direct) = split_peer(address).ok_or_else(|| NetError::Config {
                what: format!("bootstrap address {address} names no peer: append /p2p/<peer id>"),
            })?;
            if peer == local {
                continue; // One list for all nodes of a network may well name this one.
            }
            let contact = contacts.entry(peer).or_insert_with(|| Contact {
                addresses: Vec::new(),
                resolving: false,
                next: now,
                wait: Duration::from_millis(CONTACT_MS.0),
            });
            contact.addresses.push(direct);
        }
        if contacts.len() > CONTACTS_MAX {
            let what = format!(
                "{} bootstrap peers given, at most {CONTACTS_MAX} are used: remove some",
                contacts.len()
            );
            return Err(NetError::Config { what });
        }
        Ok(Self {
            contacts,
            resolutions: JoinSet::new(),
            dialling: BTreeSet::new(),
            avoided: Expiring::new(AVOIDED_MAX),
            lookup: None,
            next_lookup: now,
            lookup_wait: Duration::from_millis(LOOKUP_MS.0),
            reservations: HashMap::new(),
            next_reservation: now,
            behind_nat: config.behind_nat,
            dice: Dice::new()?,
        })
    }

    /// The peers known by configuration.
    pub(super) fn contacts(&self) -> impl Iterator<Item = &PeerId> {
        self.contacts.keys()
    }

    /// The next finished name resolution; `None` when none is under way.
    pub(super) async fn resolved(&mut self) -> Option<Resolved> {
        // A resolution that panicked is dropped; its contact is tried again with the next start.
        self.resolutions.join_next().await?.ok()
    }

    /// A dial to `peer` has succeeded or failed.
    pub(super) fn dialled(&mut self, peer: &PeerId) {
        self.dialling.remove(peer);
    }

    pub(super) fn identified(&mut self, peer: &PeerId, is_node: bool, now: Instant) {
        if let Some(contact) = self.contacts.get_mut(peer) {
            contact.wait = Duration::from_millis(CONTACT_MS.0);
        }
        if !is_node {
            self.avoid_stranger(*peer, now);
        }
    }

    pub(super) fn avoid_stranger(&mut self, peer: PeerId, now: Instant) {
        let until = now + Duration::from_secs(AVOID_STRANGER_SECONDS);
        self.avoided.insert(peer, until);
    }

    pub(super) fn reservation_of(&self, listener: ListenerId) -> Option<&PeerId> {
        self.reservations.get(&listener)
    }

    /// Forgets the reservation of a closed listener. Returns whether it was one.
    pub(super) fn reservation_lost(&mut self, listener: ListenerId) -> bool {
        self.reservations.remove(&listener).is_some()
    }
}

impl Driver {
    pub(super) fn advance_discovery(&mut self, now: Instant) {
        self.discovery.avoided.expire(now);
        let nodes = self.peers.nodes().count();
        let under_way = self.peers.outbound_nodes() + self.discovery.dialling.len();
        let missing = self.limits.outbound_target.saturating_sub(under_way);
        let needs_relay =
            self.discovery.behind_nat && self.discovery.reservations.len() < RESERVATIONS;
        if missing > 0 || nodes == 0 || needs_relay {
            self.contact_due(now);
        }
        if missing > 0 {
            let dialled = self.dial_neighbours(missing, now);
            if dialled < missing {
                self.look_around(now);
            }
        }
        if needs_relay && now >= self.discovery.next_reservation {
            self.discovery.next_reservation = now + Duration::from_secs(RESERVE_SECONDS);
            self.reserve();
        }
    }

    /// Starts resolving the addresses of each first contact whose wait is over.
    fn contact_due(&mut self, now: Instant) {
        let discovery = &mut self.discovery;
        for (peer, contact) in &mut discovery.contacts {
            if contact.resolving || now < contact.next || self.swarm.is_connected(peer) {
                continue;
            }
            contact.resolving = true;
            contact.next = now + contact.wait + discovery.dice.jitter(contact.wait);
            contact.wait = (contact.wait * 2).min(Duration::from_millis(CONTACT_MS.1));
            let (peer, addresses) = (*peer, contact.addresses.clone());
            discovery.resolutions.spawn(async move {
                let mut found = Vec::new();
                for address in addresses {
                    match resolve(&address).await {
                        Ok(resolved) => found.extend(resolved),
                        Err(error) => tracing::debug!(%error, "cannot resolve a bootstrap address"),
                    }
                }
                (peer, found)
            });
        }
    }

    pub(super) fn dial_contact(&mut self, (peer, addresses): Resolved) {
        if let Some(contact) = self.discovery.contacts.get_mut(&peer) {
            contact.resolving = false;
        }
        match self.dial(peer, addresses) {
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => tracing::debug!(%peer, %error, "cannot dial a bootstrap peer"),
        }
    }

    /// Dials up to `missing` random peers of the routing table. Returns how many.
    fn dial_neighbours(&mut self, missing: usize, now: Instant) -> usize {
        let mut groups: BTreeMap<NetGroup, usize> = BTreeMap::new();
        for (_, peer) in self.peers.nodes() {
            if let Some(group) = peer.dialled_address().and_then(net_group) {
                *groups.entry(group).or_default() += 1;
            }
        }
        let mut candidates: Vec<(PeerId, Vec<NetGroup>)> = Vec::new();
        for bucket in self.swarm.behaviour_mut().kad.kbuckets() {
            for entry in bucket.iter() {
                let groups = entry.node.value.iter().filter_map(net_group).collect();
                candidates.push((*entry.node.key.preimage(), groups));
            }
        }
        candidates.retain(|(peer, _)| self.is_candidate(peer, now));
        self.discovery.dice.shuffle(&mut candidates);

        let mut dialled = 0;
        for (peer, its_groups) in candidates {
            if dialled == missing {
                break;
            }
            let crowded = its_groups.iter().any(|group| {
                groups.get(group).copied().unwrap_or(0) >= self.limits.outbound_per_group_max
            });
            if crowded {
                continue;
            }
            match self.dial(peer, Vec::new()) {
                Ok(()) => {
                    dialled += 1;
                    self.discovery.dialling.insert(peer);
                    for group in its_groups {
                        *groups.entry(group).or_default() += 1;
                    }
                }
                Err(DialError::Denied { .. }) => break, // No room for more connections.
                Err(error) => tracing::trace!(%peer, %error, "neighbour not dialled"),
            }
        }
        dialled
    }

    fn is_candidate(&self, peer: &PeerId, now: Instant) -> bool {
        !self.swarm.is_connected(peer)
            && !self.discovery.dialling.contains(peer)
            && !self.discovery.avoided.contains(peer, now)
            && !self.discovery.contacts.contains_key(peer)
            && !self.swarm.behaviour().gate.is_banned(peer, now)
    }

    /// Looks up a random key, which brings the peers around it into the table.
    fn look_around(&mut self, now: Instant) {
        let discovery = &mut self.discovery;
        let table = &mut self.swarm.behaviour_mut().kad;
        let nobody_to_ask = table.kbuckets().next().is_none();
        if discovery.lookup.is_some() || now < discovery.next_lookup || nobody_to_ask {
            return;
        }
        discovery.next_lookup =
            now + discovery.lookup_wait + discovery.dice.jitter(discovery.lookup_wait);
        discovery.lookup_wait = (discovery.lookup_wait * 2).min(Duration::from_millis(LOOKUP_MS.1));
        discovery.lookup = Some(table.get_n_closest_peers(PeerId::random(), LOOKUP_WIDTH));
    }

    pub(super) fn on_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed {
                id,
                result: QueryResult::GetClosestPeers(result),
                step,
                ..
            } => {
                if self.discovery.lookup == Some(id) {
                    if step.last {
                        self.discovery.lookup = None;
                    }
                } else {
                    self.on_target_lookup(id, result, step.last);
                }
            }
            kad::Event::RoutingUpdated {
                is_new_peer: true, ..
            } => {
                // The network is bigger than it looked: search at full speed again. Somebody alone does not even wait for the
                // next upkeep, which is most of the time from start to a first neighbour.
                self.discovery.lookup_wait = Duration::from_millis(LOOKUP_MS.0);
                if self.peers.nodes().next().is_none() {
                    self.advance_discovery(Instant::now());
                }
            }
            other => tracing::trace!(?other, "kad event"),
        }
    }

    pub(super) fn on_dial_failed(&mut self, peer: PeerId, error: &DialError) {
        tracing::debug!(%peer, %error, "dial failed");
        self.dial_ended(&peer);
        let unreachable = matches!(
            error,
            DialError::Transport(_) | DialError::WrongPeerId { .. }
        );
        if unreachable && !self.swarm.is_connected(&peer) {
            let until = Instant::now() + Duration::from_secs(AVOID_UNREACHABLE_SECONDS);
            self.discovery.avoided.insert(peer, until);
            self.swarm.behaviour_mut().kad.remove_peer(&peer);
        }
        self.target_dial_failed(peer);
    }

    /// Asks connected relays for a place, each at most once, as long as reservations are missing.
    fn reserve(&mut self) {
        let taken: BTreeSet<PeerId> = self.discovery.reservations.values().copied().collect();
        let missing = RESERVATIONS.saturating_sub(taken.len());
        let offers: Vec<(PeerId, Multiaddr)> = self
            .peers
            .iter()
            .filter(|(id, peer)| peer.relay && !taken.contains(id))
            .filter_map(|(id, peer)| Some((*id, peer.dialled_address()?.clone())))
            .take(missing)
            .collect();
        for (relay, address) in offers {
            let Ok(address) = address.with_p2p(relay) else {
                continue;
            };
            match self.swarm.listen_on(address.with(Protocol::P2pCircuit)) {
                Ok(listener) => {
                    self.discovery.reservations.insert(listener, relay);
                }
                Err(error) => tracing::debug!(%relay, %error, "cannot reserve a relay slot"),
            }
        }
    }
}

/// Choices that an attacker should not be able to predict, but that need no cryptographic quality: a SplitMix64
/// generator seeded by the operating system.
struct Dice(u64);

impl Dice {
    fn new() -> Result<Self, NetError> {
        let seed = getrandom::u64().map_err(|error| NetError::Config {
            what: format!("the operating system gives no random numbers: {error}"),
        })?;
        Ok(Self(seed))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Up to a quarter of `span`, so that nodes started together do not act together for ever.
    fn jitter(&mut self, span: Duration) -> Duration {
        let quarter_ms = u64::try_from(span.as_millis() / 4).unwrap_or(u64::MAX);
        Duration::from_millis(self.next() % quarter_ms.saturating_add(1))
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.next() % (last as u64 + 1);
            items.swap(last, usize::try_from(other).unwrap_or(last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bootstrap_address_without_a_peer_is_refused_with_advice() {
        let config = NetConfig {
            bootstrap: vec!["/ip4/1.1.1.1/tcp/1".parse().unwrap()],
            ..NetConfig::dev([1; 32], "test")
        };
        let refused = Discovery::new(&config, PeerId::random(), Instant::now())
            .err()
            .unwrap();
        assert!(refused.to_string().contains("append /p2p/"), "{refused}");
    }

    #[test]
    fn the_node_itself_and_repeated_addresses_make_no_further_contacts() {
        let (local, other) = (PeerId::random(), PeerId::random());
        let address = |peer: PeerId, port: u16| {
            format!("/ip4/1.1.1.1/tcp/{port}/p2p/{peer}")
                .parse()
                .unwrap()
        };
        let config = NetConfig {
            bootstrap: vec![address(local, 1), address(other, 2), address(other, 3)],
            ..NetConfig::dev([1; 32], "test")
        };
        let discovery = Discovery::new(&config, local, Instant::now()).unwrap();
        assert_eq!(discovery.contacts.len(), 1);
        assert_eq!(discovery.contacts[&other].addresses.len(), 2);
    }

    #[test]
    fn shuffling_keeps_every_item_and_changes_the_order() {
        let mut dice = Dice(7);
        let mut items: Vec<u32> = (0..100).collect();
        dice.shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
