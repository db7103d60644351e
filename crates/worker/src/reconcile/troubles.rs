//! Trouble with single items of a round.

use db::DbError;
use serde_json::Value;
use std::fmt::Display;

/// What went wrong with single items: each is told where it happens, and keeps nobody from the others.
#[derive(Debug, Default)]
pub(super) struct Troubles(usize);

/// A round came to its end, but could not deal with so many items.
#[derive(Debug, thiserror::Error)]
#[error("{0} could not be dealt with; the log says which, and why")]
pub(super) struct Incomplete(usize);

impl Troubles {
    /// Notes that an item could not be dealt with.
    ///
    /// # Errors
    /// postgres1 is away, which it is for all others as well.
    pub(super) fn note(&mut self, round: &str, item: impl Display, error: impl Into<anyhow::Error>) -> anyhow::Result<()> {
        let error = error.into();
        if error.downcast_ref::<DbError>().is_some_and(DbError::is_unreachable) {
            return Err(error);
        }
        tracing::error!(round, %item, error = format!("{error:#}"), "it could not be dealt with; the others are");
        self.0 += 1;
        Ok(())
    }

    /// The report of the round.
    ///
    /// # Errors
    /// [`Incomplete`], if there was any trouble.
    pub(super) fn end(self, report: Value) -> anyhow::Result<Value> {
        if self.0 == 0 { Ok(report) } else { Err(Incomplete(self.0).into()) }
    }
}
