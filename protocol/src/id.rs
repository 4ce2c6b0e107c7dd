//! Identifiers: one newtype for each kind of name, so that a task id is never passed as a shard hash.
//!
//! All of them are fixed-size byte strings: CBOR byte strings in signed data, lower-case hex for people.
//! This file holds no rules about what the names point to.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A hex text that does not name what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {bytes} bytes in hex ({digits} digits, an optional 0x in front), got {got:?}", digits = bytes * 2)]
pub struct ParseIdError {
    /// Name of the expected identifier.
    pub what: &'static str,
    /// Its length in bytes.
    pub bytes: usize,
    /// The refused text, cut to 80 characters.
    pub got: String,
}

pub(crate) fn hex_encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

pub(crate) fn hex_decode(text: &str, out: &mut [u8]) -> bool {
    let text = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    if text.len() != out.len() * 2 {
        return false;
    }
    let digit = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
    for (i, pair) in text.chunks_exact(2).enumerate() {
        match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => out[i] = high << 4 | low,
            _ => return false,
        }
    }
    true
}

struct BytesVisitor<const N: usize>(&'static str);

impl<'de, const N: usize> de::Visitor<'de> for BytesVisitor<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({N} bytes)", self.0)
    }

    fn visit_bytes<E: de::Error>(self, v: &[u8]) -> Result<[u8; N], E> {
        v.try_into().map_err(|_| E::invalid_length(v.len(), &self))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<[u8; N], E> {
        let mut out = [0; N];
        if hex_decode(v, &mut out) {
            Ok(out)
        } else {
            Err(E::invalid_value(de::Unexpected::Str(v), &self))
        }
    }
}

macro_rules! bytes_newtype {
    ($(#[$doc:meta])* $name:ident, $n:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $n]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $n;

            /// The first four bytes in hex, for logs and tables.
            pub fn short(&self) -> String {
                hex_encode(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex_encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let mut out = [0; $n];
                if hex_decode(text.trim(), &mut out) {
                    Ok(Self(out))
                } else {
                    let got = text.chars().take(80).collect();
                    Err(ParseIdError { what: stringify!($name), bytes: $n, got })
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { s.collect_str(self) } else { s.serialize_bytes(&self.0) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let visitor = BytesVisitor::<$n>(stringify!($name));
                if d.is_human_readable() { d.deserialize_str(visitor) } else { d.deserialize_bytes(visitor) }.map(Self)
            }
        }
    };
}

bytes_newtype!(
    /// BLAKE3 of a manifest's canonical bytes: the name of a task everywhere, on chain too.
    TaskId, 32
);
bytes_newtype!(
    /// Plain BLAKE3 of a shard's bytes.
    ShardHash, 32
);
bytes_newtype!(
    /// BLAKE3 of a record's signed bytes (everything but the signature).
    RecordId, 32
);
bytes_newtype!(
    /// Any other 32-byte digest; the field's name says of what.
    #[derive(Default)]
    Hash, 32
);
bytes_newtype!(
    /// Ed25519 public key of a node: its identity in the swarm and in protocol signatures.
    NodeKey, 32
);
bytes_newtype!(
    /// Ed25519 signature, checked strictly (RFC 8032, no malleability, no small-order keys).
    Signature, 64
);
bytes_newtype!(
    /// secp256k1 signature in the 64-byte form of EIP-2098.
    EvmSignature, 64
);
bytes_newtype!(
    /// EVM account: a participant's name in the registry, a payee, a client.
    #[derive(Default)]
    Account, 20
);
bytes_newtype!(
    /// BLAKE3 over network name, chain id, contracts with their code, and parameters; inside every signature.
    NetworkId, 32
);
bytes_newtype!(
    /// 32 secret bytes that blind a commitment.
    Salt, 32
);

impl Hash {
    /// 32 zero bytes: "nothing before this".
    pub const ZERO: Self = Self([0; 32]);
}

/// A byte string: CBOR bytes in signed data, hex for people.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Blob(pub Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            s.serialize_str(&hex_encode(&self.0))
        } else {
            s.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> de::Visitor<'de> for V {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte string")
            }
            fn visit_bytes<E: de::Error>(self, v: &[u8]) -> Result<Blob, E> {
                Ok(Blob(v.to_vec()))
            }
            fn visit_byte_buf<E: de::Error>(self, v: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(v))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Blob, E> {
                let digits = v.strip_prefix("0x").unwrap_or(v);
                let mut out = vec![0; digits.len() / 2];
                if hex_decode(digits, &mut out) {
                    Ok(Blob(out))
                } else {
                    Err(E::custom("expected hex digits"))
                }
            }
        }
        if d.is_human_readable() {
            d.deserialize_str(V)
        } else {
            d.deserialize_bytes(V)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_and_parse_as_hex() {
        let id = TaskId([0xab; 32]);
        assert_eq!(id.to_string().parse::<TaskId>(), Ok(id));
        assert_eq!(format!("0x{id}").parse::<TaskId>(), Ok(id));
        let short = "abcd".parse::<TaskId>().expect_err("too short");
        assert!(
            short
                .to_string()
                .contains("TaskId must be 32 bytes in hex (64 digits")
        );
        assert!("zz".repeat(32).parse::<TaskId>().is_err());
    }

    #[test]
    fn ids_are_byte_strings_in_cbor_and_hex_in_json() {
        let id = Account([7; 20]);
        let cbor = serde_ipld_dagcbor::to_vec(&id).expect("encodes");
        assert_eq!(cbor[0], 0x54, "CBOR byte string of 20 bytes");
        assert_eq!(
            serde_ipld_dagcbor::from_slice::<Account>(&cbor).expect("decodes"),
            id
        );
        assert_eq!(
            serde_json::to_string(&id).expect("encodes"),
            format!("\"{}\"", "07".repeat(20))
        );
    }
}
