//! Errors of the API: one JSON shape, a status, and a kind that programs can act on.

use std::fmt;

use assay_protocol::core::CommandError;
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use crate::{chain::ChainError, runtime::NodeError};

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// It does not exist here (yet).
    NotFound,
    /// The request is malformed.
    Invalid,
    /// The network's rules or the present state do not allow it.
    Refused,
    /// The token, the Host or the Origin is wrong.
    Unauthorised,
    /// Other nodes did not answer or did not have it.
    Network,
    /// The chain's endpoint did not answer or refused.
    Chain,
    /// The data directory fails.
    Data,
    /// Too much at once.
    Busy,
    /// The node is stopping.
    Stopped,
}

/// The body of every answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What happened and where.
    pub error: String,
    /// What to do next; empty when `error` says it.
    pub what_next: String,
    /// For programs.
    pub kind: ErrorKind,
}

/// An answer that is no success.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    body: ErrorBody,
}

impl ApiError {
    pub fn new(kind: ErrorKind, error: impl fmt::Display, what_next: impl Into<String>) -> Self {
        let status = match kind {
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Refused => StatusCode::CONFLICT,
            ErrorKind::Unauthorised => StatusCode::UNAUTHORIZED,
            ErrorKind::Network | ErrorKind::Chain => StatusCode::BAD_GATEWAY,
            ErrorKind::Data => StatusCode::INTERNAL_SERVER_ERROR,
            ErrorKind::Busy | ErrorKind::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self {
            status,
            body: ErrorBody {
                error: error.to_string(),
                what_next: what_next.into(),
                kind,
            },
        }
    }

    /// What it tells, without the status.
    pub fn into_body(self) -> ErrorBody {
        self.body
    }

    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub fn invalid(error: impl fmt::Display, what_next: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, error, what_next)
    }

    pub fn not_found(error: impl fmt::Display, what_next: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, error, what_next)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<NodeError> for ApiError {
    fn from(error: NodeError) -> Self {
        let (kind, next) = match &error {
            NodeError::NotFound(_) => (ErrorKind::NotFound, "look at `assay task list`"),
            NodeError::Command(CommandError::UnknownTask(_)) => {
                (ErrorKind::NotFound, "look at `assay task list`")
            }
            NodeError::Command(CommandError::NotRegistered(_)) => (
                ErrorKind::Refused,
                "`assay status` shows how far the registration is; roles stand in config.toml",
            ),
            NodeError::Command(_) => (ErrorKind::Refused, ""),
            NodeError::Fetch(_) => (
                ErrorKind::Network,
                "wait until more peers are connected, then try again",
            ),
            NodeError::Net(_) => (ErrorKind::Network, ""),
            NodeError::Chain(chain) => return chain.into(),
            NodeError::Disk(_) => (ErrorKind::Data, ""),
            NodeError::Stopped => (ErrorKind::Stopped, "start it again with `assay run`"),
        };
        Self::new(kind, error, next)
    }
}

impl From<&ChainError> for ApiError {
    fn from(error: &ChainError) -> Self {
        let (kind, next) = match error {
            ChainError::NoKey | ChainError::Config(_) | ChainError::Token { .. } => {
                (ErrorKind::Refused, "")
            }
            ChainError::NothingDue { .. } | ChainError::BadClaim { .. } => (ErrorKind::Refused, ""),
            ChainError::Store(_) | ChainError::Books(_) => (ErrorKind::Data, ""),
            ChainError::Full { .. } => (ErrorKind::Busy, ""),
            ChainError::Rpc(_) => (
                ErrorKind::Chain,
                "check `rpc` in profile.toml and whether the endpoint is up",
            ),
            ChainError::Stopped(_) | ChainError::Refused { .. } | ChainError::Pending { .. } => {
                (ErrorKind::Chain, "")
            }
        };
        Self::new(kind, error, next)
    }
}

impl From<ChainError> for ApiError {
    fn from(error: ChainError) -> Self {
        Self::from(&error)
    }
}
