//! The one name a peer has outside this module: its ed25519 public key.

use std::fmt;

use libp2p::PeerId;

/// What precedes the 32 key bytes in the peer id of an ed25519 key: identity multihash, 36 bytes, key type
/// ed25519, 32 bytes (libp2p peer-ids specification).
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// An ed25519 public key: the name of a node. The transport has proved that the remote holds its secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub [u8; 32]);

impl PeerKey {
    /// The key inside `peer`, or `None` when the peer uses another kind of key. Such peers are not connected to.
    pub fn from_peer_id(peer: &PeerId) -> Option<Self> {
        let bytes = peer.to_bytes();
        let key = bytes.strip_prefix(PEER_ID_PREFIX.as_slice())?;
        <[u8; 32]>::try_from(key).ok().map(Self)
    }

    /// The libp2p name of this key.
    pub fn to_peer_id(self) -> PeerId {
        let mut bytes = PEER_ID_PREFIX.to_vec();
        bytes.extend_from_slice(&self.0);
        PeerId::from_bytes(&bytes).expect("the prefix announces exactly the 32 bytes that follow")
    }
}

/// The first eight hexadecimal digits: enough to tell peers apart in a log.
impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerKey({}..)", hex::encode(&self.0[..4]))
    }
}

/// The libp2p notation, as in addresses.
impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_peer_id().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::identity::Keypair;
    use proptest::prelude::*;

    #[test]
    fn a_peer_key_is_the_public_key_of_its_peer_id() {
        let keypair = Keypair::generate_ed25519();
        let public = keypair.public().try_into_ed25519().unwrap();
        let peer = PeerId::from_public_key(&public.clone().into());
        assert_eq!(
            PeerKey::from_peer_id(&peer),
            Some(PeerKey(public.to_bytes()))
        );
    }

    #[test]
    fn peers_with_another_kind_of_key_have_no_peer_key() {
        assert_eq!(PeerKey::from_peer_id(&PeerId::random()), None);
    }

    proptest! {
        #[test]
        fn every_key_survives_the_way_through_a_peer_id(key: [u8; 32]) {
            prop_assert_eq!(PeerKey::from_peer_id(&PeerKey(key).to_peer_id()), Some(PeerKey(key)));
        }
    }
}
