//! Protocol names. Every name carries the network, so that nodes of two networks never talk past each other.

use std::fmt;

/// Longest network name, in bytes; it is part of every protocol name sent over the wire.
pub const NETWORK_NAME_BYTES_MAX: usize = 32;

/// A checked network name: 1 to 32 bytes of `a-z`, `0-9` and `-`.
///
/// ```
/// use assay_bootstrap::names::NetworkName;
/// let dev = NetworkName::parse("dev").expect("valid name");
/// assert_eq!(dev.kad_protocol(), "/assay/dev/kad/1");
/// assert!(NetworkName::parse("Main Net").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkName(String);

/// A network name that cannot be part of a protocol name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "network name {name:?} is not usable: choose 1 to {NETWORK_NAME_BYTES_MAX} characters out of a-z, 0-9 and '-'"
)]
pub struct NetworkNameError {
    name: String,
}

impl NetworkName {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`NetworkNameError`] when it is empty, too long or holds another character than `a-z`, `0-9`, `-`.
    pub fn parse(name: &str) -> Result<Self, NetworkNameError> {
        let length_ok = (1..=NETWORK_NAME_BYTES_MAX).contains(&name.len());
        let characters_ok = name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if length_ok && characters_ok {
            Ok(Self(name.to_owned()))
        } else {
            let name = name.chars().take(2 * NETWORK_NAME_BYTES_MAX).collect();
            Err(NetworkNameError { name })
        }
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a development network (`dev` or `dev-...`), whose nodes live on private addresses.
    pub fn is_development(&self) -> bool {
        self.0 == "dev" || self.0.starts_with("dev-")
    }

    /// Kademlia's protocol name.
    pub fn kad_protocol(&self) -> String {
        format!("/assay/{self}/kad/1")
    }

    /// The request and response protocol between nodes; a peer that announces it is a node, not only a server.
    pub fn exchange_protocol(&self) -> String {
        format!("/assay/{self}/exchange/1")
    }

    /// The version string exchanged by identify; peers with another one belong to another network.
    pub fn identify_version(&self) -> String {
        format!("/assay/{self}/1")
    }

    /// The full name on the wire of the gossip topic the project calls `topic`.
    pub fn gossip_topic(&self, topic: &str) -> String {
        format!("/assay/{self}/gossip/1/{topic}")
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_networks_share_no_protocol_name() {
        let one = NetworkName::parse("one").unwrap();
        let two = NetworkName::parse("two").unwrap();
        assert_ne!(one.kad_protocol(), two.kad_protocol());
        assert_ne!(one.exchange_protocol(), two.exchange_protocol());
        assert_ne!(one.identify_version(), two.identify_version());
        assert_ne!(one.gossip_topic("t"), two.gossip_topic("t"));
    }

    #[test]
    fn unusable_network_names_are_refused() {
        let long = "a".repeat(NETWORK_NAME_BYTES_MAX + 1);
        for bad in ["", "Dev", "a b", "a/b", "é", long.as_str()] {
            assert!(NetworkName::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(NetworkName::parse(&"a".repeat(NETWORK_NAME_BYTES_MAX)).is_ok());
    }

    #[test]
    fn only_dev_names_are_development_networks() {
        for (name, expected) in [
            ("dev", true),
            ("dev-7", true),
            ("device", false),
            ("main", false),
        ] {
            assert_eq!(
                NetworkName::parse(name).unwrap().is_development(),
                expected,
                "{name}"
            );
        }
    }
}
