//! Which addresses may be dialled, and how to take them apart.
//!
//! Addresses arrive from strangers. Without a rule here a stranger could make every node of the network knock at
//! hosts of its owner's home, or resolve names of the stranger's choice. So: peer-supplied names are never
//! resolved, and outside development networks only public addresses are dialled. Names are resolved once, by
//! [`resolve`], and only for the addresses an operator configured.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// Most addresses taken from one resolved name; the rest is dropped.
pub const RESOLVED_ADDRESSES_MAX: usize = 8;

/// Which destinations may be dialled and shared with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressPolicy {
    /// Public internet addresses only: production networks.
    PublicOnly,
    /// Loopback and private ranges too: development networks.
    PrivateAllowed,
}

impl AddressPolicy {
    /// Whether `address` may be dialled: it starts with an allowed IP address, has a port that is not zero,
    /// and contains no name to resolve anywhere.
    pub fn allows(self, address: &Multiaddr) -> bool {
        let mut parts = address.iter();
        let starts_well = match parts.next() {
            Some(Protocol::Ip4(ip)) => self.allows_ip(IpAddr::V4(ip)),
            Some(Protocol::Ip6(ip)) => self.allows_ip(IpAddr::V6(ip)),
            _ => false,
        };
        let has_port =
            matches!(parts.next(), Some(Protocol::Tcp(port) | Protocol::Udp(port)) if port != 0);
        starts_well
            && has_port
            && parts.all(|part| match part {
                Protocol::Ip4(ip) => self.allows_ip(IpAddr::V4(ip)),
                Protocol::Ip6(ip) => self.allows_ip(IpAddr::V6(ip)),
                Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_) => {
                    false
                }
                _ => true,
            })
    }

    fn allows_ip(self, ip: IpAddr) -> bool {
        match self {
            Self::PublicOnly => is_public(ip),
            Self::PrivateAllowed => !ip.is_unspecified() && !ip.is_multicast(),
        }
    }
}

/// Whether `ip` can be reached over the public internet, after the special-purpose address registries of IANA.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = a == 0
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_multicast()
        || (a == 100 && (64..128).contains(&b)) // carrier NAT, RFC 6598
        || (a == 192 && b == 0 && c == 0) // protocol assignments, RFC 6890
        || (a == 198 && (b == 18 || b == 19)) // benchmarks, RFC 2544
        || a >= 240; // reserved and broadcast, RFC 1112
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    // A mapped or translated IPv4 address would get around the rules for IPv4.
    if ip.to_ipv4_mapped().is_some() {
        return false;
    }
    let segments = ip.segments();
    let global_unicast = segments[0] & 0xe000 == 0x2000; // 2000::/3, the only range handed out
    let special = match (segments[0], segments[1]) {
        (0x2001, 0..0x0200) => true, // protocol assignments, Teredo
        (0x2001, 0x0db8) => true,    // documentation
        (0x2002, _) => true,         // 6to4 wraps an arbitrary IPv4 address
        (0x3fff, 0..0x1000) => true, // documentation, RFC 9637
        _ => false,
    };
    global_unicast && !special
}

/// The IP address a dial to `address` goes to, if it starts with one.
pub fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

/// A block of addresses that usually belongs to one operator: an IPv4 /16 or an IPv6 /32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NetGroup {
    /// The first two octets of an IPv4 address.
    V4([u8; 2]),
    /// The first two segments of an IPv6 address.
    V6([u16; 2]),
}

/// The network group of a public `address`; `None` for private ones, where groups mean nothing.
pub fn net_group(address: &Multiaddr) -> Option<NetGroup> {
    let ip = ip_of(address).filter(|ip| is_public(*ip))?;
    Some(match ip {
        IpAddr::V4(ip) => NetGroup::V4([ip.octets()[0], ip.octets()[1]]),
        IpAddr::V6(ip) => NetGroup::V6([ip.segments()[0], ip.segments()[1]]),
    })
}

/// Whether `address` leads through a circuit relay.
pub fn is_relayed(address: &Multiaddr) -> bool {
    address
        .iter()
        .any(|part| matches!(part, Protocol::P2pCircuit))
}

/// The relay that `address` leads through, if it names one.
pub fn relay_of(address: &Multiaddr) -> Option<PeerId> {
    let mut pairs = address.iter().zip(address.iter().skip(1));
    pairs.find_map(|pair| match pair {
        (Protocol::P2p(relay), Protocol::P2pCircuit) => Some(relay),
        _ => None,
    })
}

/// Splits `.../p2p/<peer>` into the peer and the address before it. `None` when the address does not end so.
pub fn split_peer(address: &Multiaddr) -> Option<(PeerId, Multiaddr)> {
    let mut rest = address.clone();
    match rest.pop() {
        Some(Protocol::P2p(peer)) if !rest.is_empty() => Some((peer, rest)),
        _ => None,
    }
}

/// Replaces a leading `/dns`, `/dns4` or `/dns6` by what the system's resolver answers now; an address without a
/// name is returned as it is. Resolving at each attempt, not once at start, survives a change of network.
///
/// # Errors
/// The resolver's error, or `InvalidInput` when no port follows the name.
pub async fn resolve(address: &Multiaddr) -> io::Result<Vec<Multiaddr>> {
    let mut parts = address.iter();
    let (name, keep): (String, fn(&IpAddr) -> bool) = match parts.next() {
        Some(Protocol::Dns(name)) => (name.into_owned(), |_| true),
        Some(Protocol::Dns4(name)) => (name.into_owned(), IpAddr::is_ipv4),
        Some(Protocol::Dns6(name)) => (name.into_owned(), IpAddr::is_ipv6),
        _ => return Ok(vec![address.clone()]),
    };
    let port = match parts.next() {
        Some(Protocol::Tcp(port) | Protocol::Udp(port)) => port,
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{address} has no /tcp or /udp port after its name"),
            ));
        }
    };
    let tail: Multiaddr = address.iter().skip(1).collect();
    let found = tokio::net::lookup_host((name.as_str(), port)).await?;
    let mut resolved: Vec<Multiaddr> = Vec::new();
    for ip in found.map(|socket| socket.ip()).filter(keep) {
        let with_ip: Multiaddr = Multiaddr::from(ip).iter().chain(tail.iter()).collect();
        if resolved.len() < RESOLVED_ADDRESSES_MAX && !resolved.contains(&with_ip) {
            resolved.push(with_ip);
        }
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn private_addresses_are_dialled_only_on_development_networks() {
        for private in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.1.2.3/udp/4001/quic-v1",
            "/ip4/192.168.1.1/tcp/80",
            "/ip4/169.254.169.254/tcp/80",
            "/ip4/100.64.0.1/tcp/80",
            "/ip6/::1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/fd00::1/tcp/1",
            "/ip6/::ffff:10.0.0.1/tcp/1",
            "/ip6/64:ff9b::a00:1/tcp/1",
            "/ip6/2002:a00:1::/tcp/1",
        ] {
            assert!(
                !AddressPolicy::PublicOnly.allows(&address(private)),
                "{private}"
            );
            assert!(
                AddressPolicy::PrivateAllowed.allows(&address(private)),
                "{private}"
            );
        }
        for public in ["/ip4/1.1.1.1/tcp/4001", "/ip6/2606:4700::1/udp/1/quic-v1"] {
            assert!(
                AddressPolicy::PublicOnly.allows(&address(public)),
                "{public}"
            );
        }
    }

    #[test]
    fn names_and_missing_ports_are_never_dialled() {
        for bad in [
            "/dns4/example.org/tcp/1",
            "/dnsaddr/example.org",
            "/ip4/1.1.1.1/tcp/0",
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/1.1.1.1",
            "/memory/7",
            "/ip4/1.1.1.1/tcp/1/dns4/example.org/tcp/1",
        ] {
            for policy in [AddressPolicy::PublicOnly, AddressPolicy::PrivateAllowed] {
                assert!(!policy.allows(&address(bad)), "{bad}");
            }
        }
    }

    #[test]
    fn a_relay_circuit_is_allowed_when_its_relay_is() {
        let circuit = |ip: &str| {
            let relay = PeerId::random();
            address(&format!("/ip4/{ip}/tcp/1/p2p/{relay}/p2p-circuit"))
        };
        assert!(AddressPolicy::PublicOnly.allows(&circuit("1.1.1.1")));
        assert!(!AddressPolicy::PublicOnly.allows(&circuit("10.0.0.1")));
        assert!(is_relayed(&circuit("1.1.1.1")));
        let relay = PeerId::random();
        let named = address(&format!("/ip4/1.1.1.1/tcp/1/p2p/{relay}/p2p-circuit"));
        assert_eq!(relay_of(&named), Some(relay));
        let direct = address(&format!("/ip4/1.1.1.1/tcp/1/p2p/{relay}"));
        assert_eq!(relay_of(&direct), None);
    }

    #[test]
    fn the_peer_id_is_split_off_the_end() {
        let peer = PeerId::random();
        let full = address(&format!("/ip4/1.2.3.4/tcp/5/p2p/{peer}"));
        assert_eq!(
            split_peer(&full),
            Some((peer, address("/ip4/1.2.3.4/tcp/5")))
        );
        assert_eq!(split_peer(&address("/ip4/1.2.3.4/tcp/5")), None);
        assert_eq!(split_peer(&address(&format!("/p2p/{peer}"))), None);
    }

    #[test]
    fn groups_join_neighbours_and_ignore_private_addresses() {
        let group = |text| net_group(&address(text));
        assert_eq!(
            group("/ip4/8.8.1.1/tcp/1"),
            group("/ip4/8.8.200.7/udp/2/quic-v1")
        );
        assert_ne!(group("/ip4/8.8.1.1/tcp/1"), group("/ip4/8.9.1.1/tcp/1"));
        assert_eq!(group("/ip4/127.0.0.1/tcp/1"), None);
    }

    #[tokio::test]
    async fn a_configured_name_is_replaced_by_its_address() {
        let found = resolve(&address("/dns4/localhost/udp/4001/quic-v1"))
            .await
            .unwrap();
        assert_eq!(found, vec![address("/ip4/127.0.0.1/udp/4001/quic-v1")]);
        let plain = address("/ip4/9.9.9.9/tcp/1");
        assert_eq!(resolve(&plain).await.unwrap(), vec![plain]);
        assert!(resolve(&address("/dns4/localhost")).await.is_err());
    }
}
