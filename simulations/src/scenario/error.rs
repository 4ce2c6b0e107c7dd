//! What is wrong with a scenario file, and where.

/// A scenario that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error(
        "scenario {file}: {source}; give the path of a TOML file, for example scenarios/smoke.toml"
    )]
    Read {
        /// Path as given.
        file: String,
        /// Cause.
        source: std::io::Error,
    },
    /// Not TOML, an unknown field, or a value of the wrong type.
    #[error("scenario {file}, line {line}, column {column}: {message}")]
    Parse {
        /// Path as given.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong and what is expected.
        message: String,
    },
    /// A value out of range.
    #[error("scenario {file}, field `{field}`: {why}")]
    Field {
        /// Path as given.
        file: String,
        /// Path of the field.
        field: String,
        /// What is wrong and what would be right.
        why: String,
    },
}

impl ScenarioError {
    pub(super) fn toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |s| s.start).min(text.len());
        let before = text.get(..start).unwrap_or_default();
        Self::Parse {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before
                .rsplit('\n')
                .next()
                .unwrap_or_default()
                .chars()
                .count()
                + 1,
            message: error.message().to_owned(),
        }
    }
}
