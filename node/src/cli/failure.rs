//! Failures as people and scripts see them: a sentence, what to do next, and an exit code.

use crate::{
    api::{ApiStartError, ErrorBody, ErrorKind},
    chain::ChainError,
    runtime::NodeError,
};

/// Exit codes; 0 is success. Documented, so they do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did not work.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Settings, profile or keys are missing or wrong.
    Config = 3,
    /// The node does not run.
    NotRunning = 4,
    /// The node does not accept the token.
    Unauthorised = 5,
    /// Peers cannot be reached.
    Network = 6,
    /// The chain's endpoint does not answer or refuses.
    Chain = 7,
    /// The data directory is in use, damaged, of another network or newer; a proof or file does not check out.
    Data = 8,
    /// Interrupted by the user.
    Interrupted = 130,
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// What happened and where.
    pub text: String,
    /// What to do next; may be empty.
    pub next: String,
}

impl Failure {
    /// A failure without advice.
    pub fn new(exit: Exit, text: impl ToString) -> Self {
        Self {
            exit,
            text: text.to_string(),
            next: String::new(),
        }
    }

    /// The same with advice.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }

    /// A file that cannot be read or written.
    pub fn file(exit: Exit, doing: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(exit, format!("cannot {doing} {}: {error}", path.display()))
    }
}

impl From<ErrorBody> for Failure {
    fn from(body: ErrorBody) -> Self {
        let exit = match body.kind {
            ErrorKind::NotFound | ErrorKind::Invalid | ErrorKind::Refused | ErrorKind::Busy => {
                Exit::Failure
            }
            ErrorKind::Unauthorised => Exit::Unauthorised,
            ErrorKind::Network => Exit::Network,
            ErrorKind::Chain => Exit::Chain,
            ErrorKind::Data => Exit::Data,
            ErrorKind::Stopped => Exit::NotRunning,
        };
        Self {
            exit,
            text: body.error,
            next: body.what_next,
        }
    }
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        let exit = match &error {
            NodeError::Disk(_) => Exit::Data,
            NodeError::Net(_) | NodeError::Fetch(_) => Exit::Network,
            NodeError::Chain(ChainError::Config(_)) => Exit::Config,
            NodeError::Chain(_) => Exit::Chain,
            NodeError::Stopped => Exit::NotRunning,
            NodeError::Command(_) | NodeError::NotFound(_) => Exit::Failure,
        };
        Self::new(exit, error)
    }
}

impl From<ChainError> for Failure {
    fn from(error: ChainError) -> Self {
        let exit = match &error {
            ChainError::Config(_) | ChainError::NoKey => Exit::Config,
            ChainError::BadClaim { .. } => Exit::Data,
            ChainError::Store(_) => Exit::Data,
            _ => Exit::Chain,
        };
        Self::new(exit, error)
    }
}

impl From<ApiStartError> for Failure {
    fn from(error: ApiStartError) -> Self {
        let exit = match &error {
            ApiStartError::Listen { .. } => Exit::Network,
            ApiStartError::Random(_) => Exit::Failure,
        };
        Self::new(exit, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failure, error)
    }
}
