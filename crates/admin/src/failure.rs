//! How a command fails.

use bootstrap::settings::AllProblems;
use std::fmt;
use std::process::ExitCode;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The settings are wrong.
    Configuration(AllProblems),
    /// It was tried and failed.
    Failed(anyhow::Error),
}

impl Failure {
    /// A failure in plain words.
    pub(crate) fn because(words: impl Into<String>) -> Self {
        Self::Failed(anyhow::Error::msg(words.into()))
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Configuration(_) => ExitCode::from(3),
            Self::Failed(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(problems) => problems.fmt(f),
            Self::Failed(error) => f.write_str(&bootstrap::masking::mask(&format!("{error:#}"))),
        }
    }
}

impl From<AllProblems> for Failure {
    fn from(problems: AllProblems) -> Self {
        Self::Configuration(problems)
    }
}

impl From<db::DbError> for Failure {
    fn from(error: db::DbError) -> Self {
        Self::Failed(error.into())
    }
}
