//! Errors of the chain client: [`ChainError`] for its callers, [`RpcFault`] for one question to one endpoint.

use alloy::{
    primitives::Bytes,
    transports::{RpcError, TransportError},
};
use assay_protocol::{amount::Amount, id::Account};

/// Longest piece of an endpoint's own words that is kept, in characters.
const FOREIGN_TEXT_CHARS_MAX: usize = 300;

/// Why the chain client could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The configuration cannot work.
    #[error("chain configuration: {0}")]
    Config(String),
    /// Something has to be signed and there is no key.
    #[error(
        "this node has no EVM key, so it cannot send transactions; configure a key and start again"
    )]
    NoKey,
    /// The client stopped.
    #[error("the chain client has stopped: {0}")]
    Stopped(String),
    /// Too much is waiting to be sent.
    #[error(
        "{max} transactions are waiting already; wait until some are done, or check why the chain does not take them"
    )]
    Full {
        /// The limit, in transactions.
        max: usize,
    },
    /// A question to the chain failed.
    #[error("{0}")]
    Rpc(String),
    /// The durable outbox could not be read or written.
    #[error(
        "chain outbox: {0}; nothing was sent that is not recorded. Check the disk, then start again"
    )]
    Store(String),
    /// Everything that the claim proves was paid before.
    #[error(
        "nothing is due: account 0x{payee} has been paid {paid} base units, which is all that this claim proves"
    )]
    NothingDue {
        /// Who would be paid.
        payee: Account,
        /// Paid so far in this lane.
        paid: Amount,
    },
    /// The proof does not lead to its own root.
    #[error(
        "the claim of account 0x{payee} is not valid: its proof does not lead to its root; export the claim again"
    )]
    BadClaim {
        /// Who would be paid.
        payee: Account,
    },
    /// Chain and ledger twin disagree about money.
    #[error("the books differ: {0}")]
    Books(String),
    /// A token is none that the contracts can work with.
    #[error("token {name} cannot be used here: {why}")]
    Token {
        /// Symbol and address.
        name: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The chain will never do it.
    #[error("cannot {what}: {why}")]
    Refused {
        /// What was asked.
        what: String,
        /// Why not, and what to do.
        why: String,
    },
    /// Not done yet; it stays in the outbox and is tried again.
    #[error("not done yet: {what}: {why}; it stays in the outbox and is tried again")]
    Pending {
        /// What was asked.
        what: String,
        /// What it waits for.
        why: String,
    },
}

/// What went wrong with one question to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RpcFault {
    /// No answer, or none over HTTP.
    #[error("{endpoint} does not answer {method}: {why}")]
    Unreachable {
        endpoint: String,
        method: &'static str,
        why: String,
    },
    /// A JSON-RPC error: the endpoint understood and refuses.
    #[error("{endpoint} refuses {method}: {message} (code {code})")]
    Refused {
        endpoint: String,
        method: &'static str,
        code: i64,
        message: String,
        revert: Option<Bytes>,
    },
    /// An answer that is none.
    #[error("{endpoint} answers {method} with something else: {why}")]
    Garbage {
        endpoint: String,
        method: &'static str,
        why: String,
    },
}

impl From<RpcFault> for ChainError {
    fn from(fault: RpcFault) -> Self {
        Self::Rpc(fault.to_string())
    }
}

/// Foreign words, cut and on one line.
pub(super) fn clip(text: &str) -> String {
    text.chars()
        .take(FOREIGN_TEXT_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

impl RpcFault {
    pub(super) fn garbage(
        endpoint: &str,
        method: &'static str,
        why: impl std::fmt::Display,
    ) -> Self {
        Self::Garbage {
            endpoint: endpoint.to_owned(),
            method,
            why: clip(&why.to_string()),
        }
    }

    pub(super) fn new(endpoint: &str, method: &'static str, error: &TransportError) -> Self {
        let endpoint = endpoint.to_owned();
        match error {
            RpcError::ErrorResp(payload) => {
                // Endpoints differ: the data is the revert bytes, or an object that holds them.
                let plain = || payload.try_data_as::<Bytes>()?.ok();
                let revert = payload
                    .as_revert_data()
                    .or_else(plain)
                    .filter(|data| !data.is_empty());
                Self::Refused {
                    endpoint,
                    method,
                    code: payload.code,
                    message: clip(&payload.message),
                    revert,
                }
            }
            RpcError::Transport(kind) => Self::Unreachable {
                endpoint,
                method,
                why: clip(&kind.to_string()),
            },
            other => Self::Garbage {
                endpoint,
                method,
                why: clip(&other.to_string()),
            },
        }
    }

    /// The revert bytes, when the endpoint gave some.
    pub(super) fn revert(&self) -> Option<&Bytes> {
        match self {
            Self::Refused { revert, .. } => revert.as_ref(),
            _ => None,
        }
    }
}
