//! Why a file of answers cannot be scored: where, what, and what to do next.

use std::{io, path::Path};

use assay_protocol::consensus::ConsensusError;

/// Why scoring stopped.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// The file system refused.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried: `read` or `write`.
        doing: &'static str,
        /// The file.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
    /// One line is wrong.
    #[error("{file}, line {line}: {why}")]
    Line {
        /// The file.
        file: String,
        /// Line number from 1.
        line: u64,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A file as a whole is unusable.
    #[error("{file}: {why}")]
    Whole {
        /// The file.
        file: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// An option does not fit.
    #[error("{0}")]
    Option(String),
    /// The engine refused what the file says.
    #[error("the answers cannot be scored: {0}")]
    Engine(#[from] ConsensusError),
}

impl ScoreError {
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.display().to_string(),
            source,
        }
    }

    pub(super) fn line(path: &Path, line: u64, why: impl Into<String>) -> Self {
        Self::Line {
            file: path.display().to_string(),
            line,
            why: why.into(),
        }
    }

    pub(super) fn whole(path: &Path, why: impl Into<String>) -> Self {
        Self::Whole {
            file: path.display().to_string(),
            why: why.into(),
        }
    }
}
