//! Canonical encoding: one value = one byte string.
//!
//! DAG-CBOR (RFC 8949 with the IPLD strictness rules) through serde. Decoding re-encodes and compares, so a second
//! spelling of the same value, trailing bytes or unknown fields are refused. Sizes are checked before anything is allocated.
//! It does not know what the values mean.

use serde::{Serialize, de::DeserializeOwned};

/// Why bytes are not a canonical value of the wanted type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than this kind may have.
    #[error("{bytes} bytes, at most {bytes_max} are allowed")]
    Oversize {
        /// Size met.
        bytes: usize,
        /// Size allowed.
        bytes_max: usize,
    },
    /// Not a value of the wanted type.
    #[error("malformed: {0}")]
    Malformed(String),
    /// A second spelling of a value.
    #[error("not canonical: encoding the decoded value gives other bytes")]
    NotCanonical,
}

/// The canonical bytes of `value`.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).expect("our own types hold nothing that DAG-CBOR cannot say")
}

/// Decodes one canonical value from exactly these bytes.
///
/// # Errors
/// [`DecodeError`] when the bytes are too many, not of this type, or not in canonical form.
pub fn decode<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    bytes_max: usize,
) -> Result<T, DecodeError> {
    if bytes.len() > bytes_max {
        return Err(DecodeError::Oversize {
            bytes: bytes.len(),
            bytes_max,
        });
    }
    let value: T = serde_ipld_dagcbor::from_slice(bytes).map_err(|e| {
        let mut why = e.to_string();
        why.truncate(why.char_indices().nth(200).map_or(why.len(), |(i, _)| i));
        DecodeError::Malformed(why)
    })?;
    let again = serde_ipld_dagcbor::to_vec(&value).map_err(|_| DecodeError::NotCanonical)?;
    if again == bytes {
        Ok(value)
    } else {
        Err(DecodeError::NotCanonical)
    }
}

/// Maps as sorted lists of pairs: DAG-CBOR allows text keys only, and ours are ids.
pub mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    /// Writes the map as a list of (key, value) in key order.
    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.collect_seq(map)
    }

    /// Reads a list of pairs; a repeated or unsorted key is an error.
    pub fn deserialize<'de, K, V, D>(d: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let list = Vec::<(K, V)>::deserialize(d)?;
        if list.windows(2).any(|w| w[0].0 >= w[1].0) {
            return Err(D::Error::custom("keys must rise strictly"));
        }
        Ok(list.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        a: u64,
        b: Option<String>,
        c: Vec<(u32, u16)>,
    }

    #[test]
    fn trailing_bytes_second_spellings_and_oversize_are_refused() {
        let bytes = encode(&7u64);
        assert_eq!(decode::<u64>(&bytes, 16), Ok(7));
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(decode::<u64>(&longer, 16).is_err());
        // 0x18 0x07 is seven in two bytes: valid CBOR, not canonical.
        assert!(decode::<u64>(&[0x18, 0x07], 16).is_err());
        assert_eq!(
            decode::<u64>(&[0; 20], 16),
            Err(DecodeError::Oversize {
                bytes: 20,
                bytes_max: 16
            })
        );
    }

    proptest! {
        #[test]
        fn every_value_round_trips(a: u64, b: Option<String>, c: Vec<(u32, u16)>) {
            let value = Sample { a, b, c };
            prop_assert_eq!(decode::<Sample>(&encode(&value), 1 << 20), Ok(value));
        }

        #[test]
        fn random_bytes_never_panic_and_what_decodes_is_canonical(bytes: Vec<u8>) {
            if let Ok(value) = decode::<Sample>(&bytes, 1 << 20) {
                prop_assert_eq!(encode(&value), bytes);
            }
        }
    }
}
