//! What a step is, what it may find, and how it may fail (engine 8 and 9).

use crate::engine::Cx;
use async_trait::async_trait;
use db::DbError;
use domain::operation::Place;
use serde_json::Value;
use std::fmt::Display;
use std::time::Duration;

/// What `check` found in the world, before anything is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// Nothing there.
    Absent,
    /// Our effect, complete: the output is recorded and `apply` is not called.
    Ours(Value),
    /// Our effect, half made: `apply` starts from there.
    Partial,
    /// Somebody else's object under our name: never adopted, never dropped; the engine ends the operation with these words.
    Foreign(String),
}

/// One effect, idempotent, in one place.
#[async_trait]
pub trait Step: Send + Sync + 'static {
    /// Unique within the saga; never reused with another meaning.
    fn name(&self) -> &'static str;
    /// Raised when the meaning of the output changes.
    fn version(&self) -> i32 {
        1
    }
    /// Where it acts.
    fn place(&self) -> Place;
    /// Its share of the work, for the percentage.
    fn weight(&self) -> u32 {
        1
    }
    /// Longest time one run of `check` and `apply` (or of `undo`) may take.
    fn limit(&self) -> Duration {
        Duration::from_secs(60)
    }
    /// False from the point of no return on: a cancel is no longer obeyed once this step has started.
    fn interruptible(&self) -> bool {
        true
    }
    /// Looks, changes nothing. Something that cannot be asked is an error, never [`Seen::Absent`].
    async fn check(&self, cx: &Cx) -> Result<Seen, StepError>;
    /// Makes the effect, starting from what `check` saw ([`Seen::Absent`] or [`Seen::Partial`]); returns the output to record.
    async fn apply(&self, cx: &Cx, seen: Seen) -> Result<Value, StepError>;
}

/// How a step takes back what this operation made, and nothing else. Already gone is done.
#[async_trait]
pub trait Undo: Step {
    /// Removes the effect; the step may have been started only.
    async fn undo(&self, cx: &Cx) -> Result<(), StepError>;
}

/// What the engine does about an error (engine 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Passing trouble: again after a backoff; costs an attempt.
    Retry,
    /// Not now: again after this time; costs nothing.
    Snooze {
        /// How long to wait.
        after: Duration,
        /// A server could not be reached: the waiting time does not count against the deadline.
        unreachable: bool,
    },
    /// Will never work: undo now.
    Permanent,
    /// The request to cancel was seen: undo now.
    Cancelled,
    /// Somebody else has the operation: write nothing more.
    LeaseLost,
    /// This process is stopping: write nothing more than that the lease is free.
    Shutdown,
    /// A safety check failed: stop, keep everything, alert.
    NeedsAttention,
}

/// Why a step failed, classified where it arose. Two texts; never a secret in either.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}: {cause}")]
pub struct StepError {
    /// What follows.
    pub verdict: Verdict,
    /// Machine-readable word.
    pub code: &'static str,
    /// For the customer.
    pub public: String,
    /// For our log.
    pub cause: String,
}

impl StepError {
    /// An error with this verdict.
    pub fn new(verdict: Verdict, code: &'static str, public: impl Into<String>, cause: impl Display) -> Self {
        Self { verdict, code, public: public.into(), cause: cause.to_string() }
    }
    /// Passing trouble.
    pub fn retry(code: &'static str, public: impl Into<String>, cause: impl Display) -> Self {
        Self::new(Verdict::Retry, code, public, cause)
    }
    /// Will never work.
    pub fn permanent(code: &'static str, public: impl Into<String>, cause: impl Display) -> Self {
        Self::new(Verdict::Permanent, code, public, cause)
    }
    /// A safety check failed.
    pub fn needs_attention(code: &'static str, public: impl Into<String>, cause: impl Display) -> Self {
        Self::new(Verdict::NeedsAttention, code, public, cause)
    }
    /// Not ready yet; look again after `after`.
    pub fn snooze(after: Duration, code: &'static str, public: impl Into<String>, cause: impl Display) -> Self {
        Self::new(Verdict::Snooze { after, unreachable: false }, code, public, cause)
    }
    /// A server or engine could not be reached.
    pub fn unreachable(code: &'static str, public: impl Into<String>, cause: impl Display) -> Self {
        Self::new(Verdict::Snooze { after: Duration::from_secs(2), unreachable: true }, code, public, cause)
    }
}

impl From<DbError> for StepError {
    fn from(error: DbError) -> Self {
        const PUBLIC: &str = "The service is busy; the operation goes on by itself.";
        match &error {
            DbError::LeaseLost => Self::new(Verdict::LeaseLost, "lease_lost", PUBLIC, &error),
            DbError::Unreachable { .. } => Self::unreachable("database_unreachable", PUBLIC, &error),
            DbError::Inconsistent { .. } => Self::needs_attention("inconsistent_data", "Internal error.", &error),
            _ => Self::retry("database_error", PUBLIC, &error),
        }
    }
}
