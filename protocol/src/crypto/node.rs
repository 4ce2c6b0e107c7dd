//! Ed25519 node keys.

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use crate::id::{NodeKey, Signature};

/// Why an Ed25519 key or signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not a point on the curve.
    #[error("not an Ed25519 public key")]
    BadKey,
    /// A small-order key: one signature would fit many messages.
    #[error("weak (small-order) Ed25519 public key")]
    WeakKey,
    /// The signature is not of this key over this message.
    #[error("signature does not match")]
    BadSignature,
}

/// A node's secret key. Wiped from memory when dropped; never printed.
#[derive(Clone)]
pub struct NodeKeypair(SigningKey);

impl std::fmt::Debug for NodeKeypair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeKeypair({})", self.public().short())
    }
}

fn framed(domain: &str, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(domain.len() + 1 + message.len());
    bytes.extend_from_slice(domain.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(message);
    bytes
}

impl NodeKeypair {
    /// From 32 secret bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    pub fn public(&self) -> NodeKey {
        NodeKey(self.0.verifying_key().to_bytes())
    }

    /// The secret bytes, for the key file and for libp2p's identity.
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Signs `message` for one purpose, named by `domain`.
    pub fn sign(&self, domain: &str, message: &[u8]) -> Signature {
        Signature(self.0.sign(&framed(domain, message)).to_bytes())
    }
}

/// Refuses keys that are no point or of small order.
///
/// # Errors
/// [`SignatureError::BadKey`] or [`SignatureError::WeakKey`].
pub fn check_node_key(key: &NodeKey) -> Result<(), SignatureError> {
    parse(key).map(|_| ())
}

fn parse(key: &NodeKey) -> Result<VerifyingKey, SignatureError> {
    let key = VerifyingKey::from_bytes(&key.0).map_err(|_| SignatureError::BadKey)?;
    if key.is_weak() {
        Err(SignatureError::WeakKey)
    } else {
        Ok(key)
    }
}

/// Strict verification of `signature` by `key` over `message` in `domain`.
///
/// # Errors
/// [`SignatureError`] naming what is wrong.
pub fn verify(
    key: &NodeKey,
    domain: &str,
    message: &[u8],
    signature: &Signature,
) -> Result<(), SignatureError> {
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    parse(key)?
        .verify_strict(&framed(domain, message), &signature)
        .map_err(|_| SignatureError::BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_one_domain_one_message_one_key() {
        let (alice, bob) = (
            NodeKeypair::from_seed(&[1; 32]),
            NodeKeypair::from_seed(&[2; 32]),
        );
        let sig = alice.sign("assay/1/a", b"hello");
        assert_eq!(verify(&alice.public(), "assay/1/a", b"hello", &sig), Ok(()));
        for (key, domain, message) in [
            (alice.public(), "assay/1/b", &b"hello"[..]),
            (alice.public(), "assay/1/a", b"hullo"),
            (bob.public(), "assay/1/a", b"hello"),
        ] {
            assert_eq!(
                verify(&key, domain, message, &sig),
                Err(SignatureError::BadSignature)
            );
        }
    }

    #[test]
    fn the_identity_point_is_refused_although_lax_checks_accept_it() {
        // Compressed identity point; with R = identity and s = 0 a lax verifier accepts every message.
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut sig = [0; 64];
        sig[0] = 1;
        assert_eq!(
            check_node_key(&NodeKey(identity)),
            Err(SignatureError::WeakKey)
        );
        for message in [&b"one"[..], b"two"] {
            assert_eq!(
                verify(&NodeKey(identity), "d", message, &Signature(sig)),
                Err(SignatureError::WeakKey)
            );
        }
    }
}
