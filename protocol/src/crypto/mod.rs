//! Keys and signatures.
//!
//! What nodes judge is Ed25519, strict (RFC 8032 with the checks of `verify_strict`; small-order keys refused: the lax check
//! accepts one signature for two messages). What contracts judge is secp256k1 over EIP-712. Every Ed25519 signature covers a
//! domain of its own, so that no signature is valid for another kind of message. Nothing here draws randomness.

mod evm;
mod node;

pub use evm::{EvmKey, recover};
pub use node::{NodeKeypair, SignatureError, check_node_key, verify};

use crate::id::{Account, Hash, NodeKey};

/// BLAKE3 in key-derivation mode: `context` separates the uses of the hash.
pub fn hash(context: &str, parts: &[&[u8]]) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        // Lengths keep ("ab", "c") and ("a", "bc") apart.
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    Hash(*hasher.finalize().as_bytes())
}

/// keccak-256, for everything that a contract recomputes.
pub fn keccak(bytes: &[u8]) -> Hash {
    Hash(alloy_primitives::keccak256(bytes).0)
}

/// What a node key signs to belong to an EVM account: (chain id, registry, account, nonce).
pub fn binding_message(
    chain_id: u64,
    registry: Account,
    account: Account,
    nonce: u64,
    node_key: NodeKey,
) -> Vec<u8> {
    let mut message = Vec::with_capacity(8 + 20 + 20 + 8 + 32);
    message.extend_from_slice(&chain_id.to_be_bytes());
    message.extend_from_slice(&registry.0);
    message.extend_from_slice(&account.0);
    message.extend_from_slice(&nonce.to_be_bytes());
    message.extend_from_slice(&node_key.0);
    message
}

/// Signing domain of the binding between a node key and an account.
pub const BINDING_DOMAIN: &str = "assay/1/binding";
