//! Amounts of the reward token in base units, and the arithmetic that never loses one.
//!
//! No decimals and no floats here: a person's "1.25" is converted at the edge with the token's decimals.

use std::{fmt, iter::Sum};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount in base units of the reward token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Amount(pub u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Sum, or `None` past 2^128.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Difference, or `None` below zero.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// Product, or `None` past 2^128.
    pub fn checked_mul(self, factor: u128) -> Option<Self> {
        self.0.checked_mul(factor).map(Self)
    }

    /// `self * parts / whole`, floored; `None` on overflow or when `whole` is 0.
    pub fn share(self, parts: u128, whole: u128) -> Option<Self> {
        self.0.checked_mul(parts)?.checked_div(whole).map(Self)
    }

    /// Parses "12", "12.5" or "0.000001" with the given number of decimals.
    ///
    /// # Errors
    /// A sentence for the person who typed it.
    pub fn parse_decimal(text: &str, decimals: u8) -> Result<Self, String> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if text.is_empty() || whole.is_empty() || !digits(whole) || !digits(part) {
            return Err(format!(
                "{text:?} is not an amount; write it like 12 or 12.5"
            ));
        }
        if part.len() > usize::from(decimals) {
            return Err(format!("{text:?} has more than {decimals} decimals"));
        }
        let padded = format!("{whole}{part:0<width$}", width = usize::from(decimals));
        padded
            .parse()
            .map(Self)
            .map_err(|_| format!("{text:?} is too large"))
    }

    /// Prints with the given number of decimals, without trailing zeros.
    pub fn to_decimal(self, decimals: u8) -> String {
        let unit = 10u128.pow(u32::from(decimals));
        let (whole, part) = (self.0 / unit, self.0 % unit);
        if part == 0 {
            return whole.to_string();
        }
        let part = format!("{part:0>width$}", width = usize::from(decimals));
        format!("{whole}.{}", part.trim_end_matches('0'))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Amount({})", self.0)
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        // Sums run over shares of a deposit that itself fits 128 bits.
        Self(iter.fold(0u128, |total, a| {
            total
                .checked_add(a.0)
                .expect("shares of one deposit cannot exceed 2^128")
        }))
    }
}

// DAG-CBOR integers end at 64 bits, so amounts travel as 16 big-endian bytes.
impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            s.collect_str(self)
        } else {
            s.serialize_bytes(&self.0.to_be_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> de::Visitor<'de> for V {
            type Value = Amount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "an amount in base units (16 big-endian bytes, or decimal digits as text)",
                )
            }
            fn visit_bytes<E: de::Error>(self, v: &[u8]) -> Result<Amount, E> {
                let bytes = v
                    .try_into()
                    .map_err(|_| E::invalid_length(v.len(), &self))?;
                Ok(Amount(u128::from_be_bytes(bytes)))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Amount, E> {
                v.parse()
                    .map(Amount)
                    .map_err(|_| E::invalid_value(de::Unexpected::Str(v), &self))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Amount, E> {
                Ok(Amount(u128::from(v)))
            }
        }
        if d.is_human_readable() {
            d.deserialize_any(V)
        } else {
            d.deserialize_bytes(V)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_text_and_base_units_convert_both_ways() {
        for (text, units) in [
            ("12", 12_000_000),
            ("12.5", 12_500_000),
            ("0.000001", 1),
            ("0", 0),
        ] {
            assert_eq!(Amount::parse_decimal(text, 6), Ok(Amount(units)));
            assert_eq!(Amount(units).to_decimal(6), text);
        }
        for bad in [
            "",
            ".",
            "-1",
            "1.0000001",
            "1e3",
            "99999999999999999999999999999999999999999",
        ] {
            assert!(Amount::parse_decimal(bad, 6).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_share_is_floored_and_never_overflows_silently() {
        assert_eq!(Amount(10).share(1, 3), Some(Amount(3)));
        assert_eq!(Amount(u128::MAX).share(2, 3), None);
        assert_eq!(Amount(1).share(1, 0), None);
    }
}
