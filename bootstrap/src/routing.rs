//! The routing table both the server and the node keep: Kademlia for finding peers, with no records in it.
//!
//! Entries are inserted by hand, from what identify reports, because a Kademlia table that believes every
//! address it sees fills with private and stale ones. Records and provider entries are not accepted from
//! anybody: the network addresses content by peers, so a table of strangers' values would only be a disk to fill.

use std::num::NonZeroUsize;
use std::time::Duration;

use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::kad::{self, BucketInserts, StoreInserts};
use libp2p::{Multiaddr, PeerId, StreamProtocol};

use crate::address::{AddressPolicy, is_relayed, split_peer};
use crate::names::NetworkName;

/// Longest a lookup may take, in seconds.
pub const QUERY_SECONDS_MAX: u64 = 30;
/// How often the table is refreshed by looking up random keys, in seconds.
pub const REFRESH_SECONDS: u64 = 300;
/// How many of the closest peers a lookup must hear from, on each of its paths. libp2p's default of 20
/// is meant for storing records; without records a lookup only has to find peers, and each peer it hears from
/// costs a connection on both sides.
pub const LOOKUP_WIDTH: NonZeroUsize = NonZeroUsize::new(4).expect("4 is not zero");
/// Most addresses believed of one peer; the rest of what it announces is dropped.
pub const ADDRESSES_PER_PEER_MAX: usize = 8;

/// The Kademlia behaviour of this project.
pub type Kademlia = kad::Behaviour<MemoryStore>;

/// Makes the routing table of `local`, as a server that answers others or as a client that only asks.
///
/// On public networks lookups take disjoint paths, so that one liar on the way cannot hide a peer. On development
/// networks they do not: nobody lies there, and every path costs connections between processes of one machine.
pub fn kademlia(
    local: PeerId,
    network: &NetworkName,
    server: bool,
    policy: AddressPolicy,
) -> Kademlia {
    let protocol = StreamProtocol::try_from_owned(network.kad_protocol())
        .expect("a checked network name makes a protocol name that starts with a slash");
    let mut config = kad::Config::new(protocol);
    config
        .set_query_timeout(Duration::from_secs(QUERY_SECONDS_MAX))
        .disjoint_query_paths(policy == AddressPolicy::PublicOnly)
        .set_replication_factor(LOOKUP_WIDTH)
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_kbucket_inserts(BucketInserts::Manual)
        .set_periodic_bootstrap_interval(Some(Duration::from_secs(REFRESH_SECONDS)))
        .set_publication_interval(None)
        .set_replication_interval(None)
        .set_provider_publication_interval(None);
    let store = MemoryStore::with_config(
        local,
        MemoryStoreConfig {
            max_records: 0,
            max_value_bytes: 0,
            max_provided_keys: 0,
            max_providers_per_key: 0,
        },
    );
    let mut table = kad::Behaviour::with_config(local, store, config);
    set_server(&mut table, server);
    table
}

/// Makes the table answer lookups (`true`) or only ask (`false`). Never left to libp2p's own guess.
pub fn set_server(table: &mut Kademlia, server: bool) {
    table.set_mode(Some(if server {
        kad::Mode::Server
    } else {
        kad::Mode::Client
    }));
}

/// Enters the addresses `peer` announced, as far as `policy` allows them, if it announced Kademlia's protocol.
/// Returns how many were taken.
pub fn learn(
    table: &mut Kademlia,
    peer: &PeerId,
    protocols: &[StreamProtocol],
    addresses: &[Multiaddr],
    policy: AddressPolicy,
) -> usize {
    let speaks_kad = table
        .protocol_names()
        .iter()
        .any(|name| protocols.contains(name));
    if !speaks_kad {
        return 0;
    }
    let mut taken = 0;
    for address in usable(peer, addresses, policy) {
        table.add_address(peer, address.clone());
        taken += 1;
    }
    taken
}

/// The addresses `peer` announced that are believed: those it can be dialled at without a relay, a bounded number of them.
pub fn usable<'a>(
    peer: &'a PeerId,
    addresses: &'a [Multiaddr],
    policy: AddressPolicy,
) -> impl Iterator<Item = &'a Multiaddr> {
    addresses
        .iter()
        .filter(move |address| !is_relayed(address) && usable_for(peer, address, policy))
        .take(ADDRESSES_PER_PEER_MAX)
}

/// Whether `address`, said to be `peer`'s, may be dialled for it: allowed, and not naming somebody else.
pub fn usable_for(peer: &PeerId, address: &Multiaddr, policy: AddressPolicy) -> bool {
    let names_another = split_peer(address).is_some_and(|(named, _)| named != *peer);
    policy.allows(address) && !names_another
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(table: &mut Kademlia) -> usize {
        table.kbuckets().map(|bucket| bucket.num_entries()).sum()
    }

    #[test]
    fn only_announced_kademlia_servers_with_allowed_addresses_enter_the_table() {
        let network = NetworkName::parse("test").unwrap();
        let mut table = kademlia(PeerId::random(), &network, true, AddressPolicy::PublicOnly);
        let kad = StreamProtocol::try_from_owned(network.kad_protocol()).unwrap();
        let public: Multiaddr = "/ip4/1.1.1.1/tcp/1".parse().unwrap();
        let private: Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        let policy = AddressPolicy::PublicOnly;
        let (alice, bob, carol) = (PeerId::random(), PeerId::random(), PeerId::random());

        let addresses = [public.clone()];
        assert_eq!(learn(&mut table, &alice, &[], &addresses, policy), 0);
        assert_eq!(
            learn(
                &mut table,
                &bob,
                std::slice::from_ref(&kad),
                &[private],
                policy
            ),
            0
        );
        assert_eq!(known(&mut table), 0);
        assert_eq!(learn(&mut table, &carol, &[kad], &addresses, policy), 1);
        assert_eq!(known(&mut table), 1);
    }

    #[test]
    fn one_peer_cannot_fill_its_entry_with_addresses() {
        let network = NetworkName::parse("test").unwrap();
        let mut table = kademlia(PeerId::random(), &network, true, AddressPolicy::PublicOnly);
        let kad = StreamProtocol::try_from_owned(network.kad_protocol()).unwrap();
        let many: Vec<Multiaddr> = (1..200)
            .map(|port| format!("/ip4/1.1.1.1/tcp/{port}").parse().unwrap())
            .collect();
        let taken = learn(
            &mut table,
            &PeerId::random(),
            &[kad],
            &many,
            AddressPolicy::PublicOnly,
        );
        assert_eq!(taken, ADDRESSES_PER_PEER_MAX);
    }
}
