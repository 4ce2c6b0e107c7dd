//! Errors of the development chain: one type for opening and serving it, one for JSON-RPC answers.

use std::{io, net::SocketAddr, path::PathBuf};

use alloy::primitives::{Bytes, hex};
use serde_json::{Value, json};

/// Longest error message sent to a caller, in bytes; longer ones are cut.
pub const RPC_MESSAGE_BYTES_MAX: usize = 400;

/// JSON-RPC 2.0: the body is not JSON.
pub(super) const CODE_PARSE: i64 = -32700;
/// JSON-RPC 2.0: JSON, but not a request.
pub(super) const CODE_REQUEST: i64 = -32600;
/// JSON-RPC 2.0: no such method.
pub(super) const CODE_METHOD: i64 = -32601;
/// JSON-RPC 2.0: a parameter is missing or malformed.
pub(super) const CODE_PARAMS: i64 = -32602;
/// JSON-RPC 2.0: our own failure.
pub(super) const CODE_INTERNAL: i64 = -32603;
/// Geth's general server error.
pub(super) const CODE_SERVER: i64 = -32000;
/// Geth's code for an execution that reverted; `data` holds the revert bytes.
pub(super) const CODE_REVERT: i64 = 3;

/// Why the chain could not be opened, mined or served.
#[derive(Debug, thiserror::Error)]
pub enum DevChainError {
    /// A configured value is outside its limits.
    #[error("development chain configuration: {0}")]
    Config(String),
    /// The file system refused.
    #[error(
        "development chain: cannot {action} {path}: {source}; check the folder's permissions and free space"
    )]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another process (or handle) owns the journal.
    #[error(
        "development chain: {path} is in use by another process; stop it or choose another folder"
    )]
    Locked {
        /// The journal file.
        path: PathBuf,
    },
    /// The journal is damaged before its end, so history would silently change.
    #[error(
        "development chain: {path} is damaged at byte {offset}: {detail}; restore a copy, or move the file away to start a new chain"
    )]
    Corrupt {
        /// The journal file.
        path: PathBuf,
        /// Where the damaged record starts, in bytes from the start of the file.
        offset: u64,
        /// What is wrong there.
        detail: String,
    },
    /// The journal was written by a newer program.
    #[error(
        "development chain: {path} has format {found}, this program reads up to {supported}; update the program"
    )]
    NewerFormat {
        /// The journal file.
        path: PathBuf,
        /// Version found.
        found: u16,
        /// Newest version this program reads.
        supported: u16,
    },
    /// The journal belongs to another chain id.
    #[error(
        "development chain: {path} is chain {found}, configured is {expected}; fix the chain id or choose another folder"
    )]
    OtherChain {
        /// The journal file.
        path: PathBuf,
        /// Chain id in the file.
        found: u64,
        /// Chain id configured.
        expected: u64,
    },
    /// The journal starts from other balances than the configured ones.
    #[error(
        "development chain: {path} starts from other balances than configured; choose another folder, or configure none"
    )]
    OtherGenesis {
        /// The journal file.
        path: PathBuf,
    },
    /// Executing the journal again gives something else than was recorded.
    #[error(
        "development chain: {path} at byte {offset} does not replay: {detail}; it was written by another version, move it away to start a new chain"
    )]
    Replay {
        /// The journal file.
        path: PathBuf,
        /// Where the record starts, in bytes from the start of the file.
        offset: u64,
        /// What differs.
        detail: String,
    },
    /// A task was to be started outside a Tokio runtime.
    #[error("development chain: {0} needs a running Tokio runtime; call it from async code")]
    NoRuntime(&'static str),
    /// The JSON-RPC port may only be opened on this machine's loopback.
    #[error(
        "development chain: {0} is not a loopback address; this chain has no value and no access control, serve it on 127.0.0.1 or ::1"
    )]
    NotLoopback(SocketAddr),
    /// The port could not be opened.
    #[error("development chain: cannot listen on {addr}: {source}; choose another port")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// A write failed earlier; the handle no longer accepts changes.
    #[error("development chain: stopped accepting changes: {0}; restart it")]
    Failed(String),
}

/// A JSON-RPC error answer: code, message and optional data.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// JSON-RPC 2.0 or Geth code.
    pub code: i64,
    /// Human-readable text, at most [`RPC_MESSAGE_BYTES_MAX`] bytes.
    pub message: String,
    /// Revert bytes as a hex string, when the code is 3.
    pub data: Option<Value>,
}

impl RpcError {
    pub(super) fn new(code: i64, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > RPC_MESSAGE_BYTES_MAX {
            let mut end = RPC_MESSAGE_BYTES_MAX - 3;
            while !message.is_char_boundary(end) {
                end -= 1;
            }
            message.truncate(end);
            message.push_str("...");
        }
        Self {
            code,
            message,
            data: None,
        }
    }

    pub(super) fn server(message: impl Into<String>) -> Self {
        Self::new(CODE_SERVER, message)
    }

    pub(super) fn params(message: impl Into<String>) -> Self {
        Self::new(CODE_PARAMS, message)
    }

    /// "execution reverted", with the decoded `Error(string)` when there is one.
    pub(super) fn revert(output: &Bytes) -> Self {
        let message = match alloy::sol_types::decode_revert_reason(output) {
            Some(reason) => format!("execution reverted: {reason}"),
            None => "execution reverted".to_owned(),
        };
        Self {
            data: Some(json!(hex::encode_prefixed(output))),
            ..Self::new(CODE_REVERT, message)
        }
    }

    /// The `error` member of a JSON-RPC answer.
    pub(super) fn to_json(&self) -> Value {
        match &self.data {
            Some(data) => json!({"code": self.code, "message": self.message, "data": data}),
            None => json!({"code": self.code, "message": self.message}),
        }
    }
}

impl From<DevChainError> for RpcError {
    fn from(error: DevChainError) -> Self {
        Self::new(CODE_INTERNAL, error.to_string())
    }
}
