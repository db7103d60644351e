//! A saga: a static list of steps with their undo, and its two ends (engine 9).

use crate::engine::{Cx, Step, StepError, Undo};
use async_trait::async_trait;
use db::platform::PlatformTx;
use db::platform::claims::Known;
use db::platform::operations::{Fault, Operation, PlannedStep};
use domain::operation::{Class, Kind};
use serde_json::Value;
use std::time::Duration;

/// Longest time of an operation (contract 11.4).
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// Longest time of one that copies data.
const LONG_LIMIT: Duration = Duration::from_secs(4 * 3600);

/// Whether an operation may still begin; the queue may have aged since it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Go.
    Go,
    /// Go, and take so long at most, instead of what the saga says.
    Within(Duration),
    /// Not any more: it ends cancelled, with these words.
    Refused(String),
}

/// How an operation ended that did not succeed, when everything is undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It failed.
    Failed(Fault),
    /// It was cancelled.
    Cancelled {
        /// Why, in the words of who asked.
        reason: Option<String>,
        /// The kind that pre-empted it, if one did.
        preempted_by: Option<Kind>,
    },
}

/// The two ends of a saga: single transactions on postgres1.
#[async_trait]
pub trait Ends: Send + Sync + 'static {
    /// Checks the guards again when the operation is first claimed, in the claiming transaction.
    async fn admit(&self, _operation: &Operation, _tx: &mut PlatformTx) -> Result<Admission, StepError> {
        Ok(Admission::Go)
    }
    /// The last transaction of a success: status, outbox. Returns the result that clients read.
    async fn finish(&self, cx: &Cx, tx: &mut PlatformTx) -> Result<Value, StepError>;
    /// The last transaction of a failure or cancellation, when everything is undone.
    async fn unwound(&self, cx: &Cx, tx: &mut PlatformTx, outcome: &Outcome) -> Result<(), StepError>;
}

/// How one step is taken back.
pub(crate) enum Way {
    /// By its own undo.
    Undo(Box<dyn Undo>),
    /// Not at all, for this reason.
    None(Box<dyn Step>, &'static str),
}

/// A step as it stands in a saga.
pub struct StepEntry {
    way: Way,
}

impl StepEntry {
    /// The step.
    pub fn step(&self) -> &dyn Step {
        match &self.way {
            Way::Undo(step) => step.as_ref(),
            Way::None(step, _) => step.as_ref(),
        }
    }
    /// Its undo, if it has one.
    pub fn undo(&self) -> Option<&dyn Undo> {
        match &self.way {
            Way::Undo(step) => Some(step.as_ref()),
            Way::None(..) => None,
        }
    }
    /// Why it has none.
    pub const fn no_undo_because(&self) -> Option<&'static str> {
        match &self.way {
            Way::Undo(_) => None,
            Way::None(_, because) => Some(because),
        }
    }
}

/// A step that still has to say how it is taken back: the saga goes on only after that.
#[must_use]
pub struct UnfinishedStep<S> {
    saga: Saga,
    step: S,
}

impl<S: Undo> UnfinishedStep<S> {
    /// Taken back by its own undo.
    pub fn undo(self) -> Saga {
        self.saga.with(Way::Undo(Box::new(self.step)))
    }
}

impl<S: Step> UnfinishedStep<S> {
    /// Nothing to take back.
    pub fn no_undo(self, because: &'static str) -> Saga {
        self.saga.with(Way::None(Box::new(self.step), because))
    }
}

/// One definition of one kind of operation.
#[must_use]
pub struct Saga {
    kind: Kind,
    def_version: i32,
    forward_only: bool,
    limit: Option<Duration>,
    steps: Vec<StepEntry>,
    ends: Box<dyn Ends>,
}

impl Saga {
    /// A saga that is undone when it fails.
    pub fn new(kind: Kind, def_version: i32, ends: impl Ends) -> Self {
        let limit = if kind.class() == Class::Backup { LONG_LIMIT } else { LIMIT };
        Self { kind, def_version, forward_only: false, limit: Some(limit), steps: Vec::new(), ends: Box::new(ends) }
    }
    /// A saga whose steps are retried until done, without deadline but with an alert (engine 9, rule 6).
    pub fn forward_only(kind: Kind, def_version: i32, ends: impl Ends) -> Self {
        Self { forward_only: true, limit: None, ..Self::new(kind, def_version, ends) }
    }
    /// Adds a step; say next how it is taken back.
    pub const fn step<S: Step>(self, step: S) -> UnfinishedStep<S> {
        UnfinishedStep { saga: self, step }
    }
    fn with(mut self, way: Way) -> Self {
        self.steps.push(StepEntry { way });
        self
    }
    /// Another limit than that of its class (contract 11.4).
    pub const fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }
    /// Longest time from the first claim on; time lost to an unreachable server does not count.
    pub const fn limit(&self) -> Option<Duration> {
        self.limit
    }
    /// The steps as clients see them before they have begun.
    pub fn plan(&self) -> Vec<PlannedStep> {
        let planned = |step: &dyn Step| PlannedStep { name: step.name().to_owned(), place: step.place(), weight: step.weight() };
        self.steps.iter().map(|entry| planned(entry.step())).collect()
    }
    /// What a claim has to know of it.
    pub fn known(&self) -> Known {
        Known { kind: self.kind, version: self.def_version, plan: self.plan(), limit: self.limit }
    }
    /// What it does.
    pub const fn kind(&self) -> Kind {
        self.kind
    }
    /// Which definition of it.
    pub const fn def_version(&self) -> i32 {
        self.def_version
    }
    /// Whether it never turns back.
    pub const fn is_forward_only(&self) -> bool {
        self.forward_only
    }
    /// The steps, in order.
    pub fn steps(&self) -> &[StepEntry] {
        &self.steps
    }
    /// Its two ends.
    pub fn ends(&self) -> &dyn Ends {
        self.ends.as_ref()
    }
}
