//! secp256k1 keys: what a contract must judge.

use alloy_primitives::{Address, B256, U256};
use k256::ecdsa::{RecoveryId, Signature as EcdsaSignature, SigningKey, VerifyingKey};

use crate::id::{Account, EvmSignature, Hash};

/// An EVM account's secret key. Never printed.
#[derive(Clone)]
pub struct EvmKey(SigningKey);

impl std::fmt::Debug for EvmKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EvmKey({})", self.account())
    }
}

fn account_of(key: &VerifyingKey) -> Account {
    let point = key.to_encoded_point(false);
    // The first byte is SEC1's tag of an uncompressed point; the address is made of the 64 bytes after it.
    Account(Address::from_raw_public_key(&point.as_bytes()[1..]).into_array())
}

impl EvmKey {
    /// From 32 secret bytes; `None` when they are zero or not below the group order.
    pub fn from_secret(secret: &[u8; 32]) -> Option<Self> {
        SigningKey::from_bytes(secret.into()).ok().map(Self)
    }

    /// The secret bytes, for the key file and for the chain client's signer.
    pub fn secret(&self) -> [u8; 32] {
        self.0.to_bytes().into()
    }

    /// The account that this key controls.
    pub fn account(&self) -> Account {
        account_of(self.0.verifying_key())
    }

    /// Deterministic (RFC 6979), low-s signature over a 32-byte digest.
    pub fn sign(&self, digest: &Hash) -> EvmSignature {
        let (signature, recovery) = self
            .0
            .sign_prehash_recoverable(&digest.0)
            .expect("a 32-byte digest can always be signed");
        let mut bytes: [u8; 64] = signature.to_bytes().into();
        // EIP-2098: the parity of y goes into the top bit of s, which is free because s is low.
        bytes[32] |= u8::from(recovery.is_y_odd()) << 7;
        EvmSignature(bytes)
    }
}

/// The account whose key made `signature` over `digest`; `None` for signatures that no key makes, or with a high s.
pub fn recover(digest: &Hash, signature: &EvmSignature) -> Option<Account> {
    let mut bytes = signature.0;
    let odd = bytes[32] >> 7 == 1;
    bytes[32] &= 0x7f;
    let parsed = EcdsaSignature::from_slice(&bytes).ok()?;
    if parsed.normalize_s().is_some() {
        return None;
    }
    let key =
        VerifyingKey::recover_from_prehash(&digest.0, &parsed, RecoveryId::new(odd, false)).ok()?;
    Some(account_of(&key))
}

/// alloy's address of an account.
impl From<Account> for Address {
    fn from(account: Account) -> Self {
        Self::from(account.0)
    }
}

impl From<Address> for Account {
    fn from(address: Address) -> Self {
        Self(address.into_array())
    }
}

impl From<Hash> for B256 {
    fn from(hash: Hash) -> Self {
        Self(hash.0)
    }
}

impl From<B256> for Hash {
    fn from(hash: B256) -> Self {
        Self(hash.0)
    }
}

impl From<crate::amount::Amount> for U256 {
    fn from(amount: crate::amount::Amount) -> Self {
        Self::from(amount.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_recovers_its_signer_and_nobody_else() {
        let key = EvmKey::from_secret(&[9; 32]).expect("valid secret");
        let digest = Hash([4; 32]);
        let signature = key.sign(&digest);
        assert_eq!(recover(&digest, &signature), Some(key.account()));
        assert_ne!(recover(&Hash([5; 32]), &signature), Some(key.account()));
        assert_eq!(key.sign(&digest), signature, "RFC 6979 is deterministic");
    }

    #[test]
    fn known_address_of_a_known_key() {
        // Private key 1: the best-known address of all (Ethereum yellow paper test material).
        let mut one = [0; 32];
        one[31] = 1;
        let key = EvmKey::from_secret(&one).expect("one is a valid secret");
        assert_eq!(
            key.account().to_string(),
            "7e5f4552091a69125d5dfcb7b8c2659029395bdf"
        );
    }

    #[test]
    fn zero_secrets_and_garbage_signatures_are_refused() {
        assert!(EvmKey::from_secret(&[0; 32]).is_none());
        assert_eq!(recover(&Hash([1; 32]), &EvmSignature([0; 64])), None);
        assert_eq!(recover(&Hash([1; 32]), &EvmSignature([0xff; 64])), None);
    }
}
