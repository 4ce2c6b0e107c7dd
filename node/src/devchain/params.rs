//! Reading JSON-RPC parameters: every mistake becomes a -32602 that names the position.

use alloy::{primitives::U256, rpc::types::Filter};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::RpcError;

/// Most addresses, or values per topic position, in a log filter.
pub const FILTER_VALUES_MAX: usize = 1_000;
/// Largest raw transaction, in bytes (Geth's limit).
pub const TX_BYTES_MAX: usize = 128 * 1024;

/// The positional parameters of one call.
pub(super) struct Params<'a> {
    method: &'a str,
    items: &'a [Value],
}

impl<'a> Params<'a> {
    /// Accepts an array, or null for none, with at most `most` entries.
    pub fn new(method: &'a str, params: &'a Value, most: usize) -> Result<Self, RpcError> {
        let items = match params {
            Value::Null => &[][..],
            Value::Array(items) => items,
            _ => {
                return Err(RpcError::params(format!(
                    "parameters of {method} must be an array"
                )));
            }
        };
        if items.len() > most {
            return Err(RpcError::params(format!(
                "parameter {most} of {method}: too many parameters, at most {most}"
            )));
        }
        Ok(Self { method, items })
    }

    /// A required parameter.
    pub fn required<T: DeserializeOwned>(&self, index: usize, name: &str) -> Result<T, RpcError> {
        self.optional(index, name)?
            .ok_or_else(|| self.bad(index, name, "missing"))
    }

    /// A parameter that may be absent or null.
    pub fn optional<T: DeserializeOwned>(
        &self,
        index: usize,
        name: &str,
    ) -> Result<Option<T>, RpcError> {
        match self.items.get(index) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value)
                .map(Some)
                .map_err(|e| self.bad(index, name, &e.to_string())),
        }
    }

    /// A required count: a JSON number or a hexadecimal string.
    pub fn count(&self, index: usize, name: &str) -> Result<u64, RpcError> {
        match self.items.get(index) {
            None | Some(Value::Null) => Err(self.bad(index, name, "missing")),
            Some(Value::Number(n)) => n
                .as_u64()
                .ok_or_else(|| self.bad(index, name, "not a whole number within 64 bits")),
            Some(Value::String(text)) => {
                let digits = text
                    .strip_prefix("0x")
                    .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                digits
                    .and_then(|d| u64::from_str_radix(d, 16).ok())
                    .ok_or_else(|| self.bad(index, name, "not a hexadecimal number within 64 bits"))
            }
            Some(_) => Err(self.bad(index, name, "neither a number nor a hexadecimal string")),
        }
    }

    /// A required 256-bit word in hexadecimal.
    pub fn word(&self, index: usize, name: &str) -> Result<U256, RpcError> {
        self.required(index, name)
    }

    /// Whether the parameter is present and not null.
    pub fn has(&self, index: usize) -> bool {
        self.items.get(index).is_some_and(|v| !v.is_null())
    }

    /// The error for parameter `index`.
    pub fn bad(&self, index: usize, name: &str, why: &str) -> RpcError {
        RpcError::params(format!(
            "parameter {index} ({name}) of {}: {why}",
            self.method
        ))
    }

    /// A log filter within its limits.
    pub fn filter(&self, index: usize) -> Result<Filter, RpcError> {
        let filter: Filter = self.required(index, "filter")?;
        let too_many = filter.address.len() > FILTER_VALUES_MAX
            || filter
                .topics
                .iter()
                .any(|topic| topic.len() > FILTER_VALUES_MAX);
        if too_many {
            return Err(self.bad(
                index,
                "filter",
                &format!("more than {FILTER_VALUES_MAX} addresses or topic values"),
            ));
        }
        Ok(filter)
    }
}
