//! One try of one step: in a task of its own, within its time, and disturbed where a fault point says so.

use crate::engine::context::Signals;
use crate::engine::faults::{Faults, Moment, Point};
use crate::engine::keeper::Lease;
use crate::engine::walk::{Run, Target};
use crate::engine::{Cx, Seen, StepError, Verdict};
use db::platform::journal::Phase;
use db::platform::operations::Operation;
use domain::operation::Kind;
use serde_json::Value;
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// A try of the step at `index`.
pub(crate) struct Attempt<'a> {
    pub(crate) run: &'a Run,
    pub(crate) index: usize,
    pub(crate) target: &'a Target,
}

impl Attempt<'_> {
    pub(crate) async fn apply(&self, cx: Cx) -> Result<Value, StepError> {
        let (saga, index, disturb) = (self.run.saga.clone(), self.index, self.disturbance());
        let inner = cx.clone();
        self.within_time(cx, async move {
            let step = saga.steps()[index].step();
            disturb.reach(Moment::Before, &inner).await?;
            let output = match step.check(&inner).await? {
                Seen::Ours(output) => output,
                Seen::Foreign(what) => return Err(foreign(&what)),
                seen => disturb.during(&inner, step.apply(&inner, seen)).await?,
            };
            disturb.reach(Moment::After, &inner).await?;
            Ok(output)
        })
        .await
    }

    pub(crate) async fn undo(&self, cx: Cx) -> Result<(), StepError> {
        let (saga, index, disturb) = (self.run.saga.clone(), self.index, self.disturbance());
        let inner = cx.clone();
        self.within_time(cx, async move {
            let Some(undo) = saga.steps()[index].undo() else { return Ok(()) };
            disturb.reach(Moment::Before, &inner).await?;
            disturb.during(&inner, undo.undo(&inner)).await?;
            disturb.reach(Moment::After, &inner).await
        })
        .await
    }

    /// Runs the body in its own task, so that a panic ends the task and not the run. The limit is kept in here: a layer of
    /// the transport that kept it would leave the wake-up running for ever.
    async fn within_time<T: Send + 'static>(
        &self,
        cx: Cx,
        body: impl Future<Output = Result<T, StepError>> + Send + 'static,
    ) -> Result<T, StepError> {
        let step = self.run.saga.steps()[self.index].step();
        let limit = step.limit();
        let begun = Instant::now();
        self.run.lease.hangs_at(begun.checked_add(limit + self.run.shared.settings.hang_grace));
        let _listening = self.listen(&cx.signals);
        let span = tracing::info_span!("step", step = step.name(), phase = %self.target.phase);
        let task = AbortOnDropHandle::new(tokio::spawn(body.instrument(span)));
        let outcome = tokio::select! {
            biased;
            () = cx.signals.lost.cancelled() => Err(cx.interruption()),
            ended = tokio::time::timeout(limit, task) => match ended {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(ended)) if ended.is_panic() => Err(panicked(ended.into_panic().as_ref())),
                Ok(Err(ended)) => Err(StepError::retry("aborted", PUBLIC, ended)),
                Err(_) => Err(overran(limit)),
            },
        };
        self.run.lease.hangs_at(None);
        self.count(begun.elapsed(), outcome.is_ok());
        outcome.map_err(|error| interpret(error, &cx))
    }

    /// Turns the causes of an interruption that count for this step into one token.
    fn listen(&self, signals: &Signals) -> AbortOnDropHandle<()> {
        let obeys = self.target.phase == Phase::Apply && self.run.obeys_cancel();
        let (signals, cancel) = (signals.clone(), self.run.lease.cancel.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::select! {
                () = signals.lost.cancelled() => {}
                () = signals.shutdown.cancelled() => {}
                () = cancel.cancelled(), if obeys => {}
            }
            signals.any.cancel();
        }))
    }

    fn count(&self, time: Duration, good: bool) {
        let labels = [
            ("kind", self.run.saga.kind().as_str()),
            ("step", self.target.name),
            ("phase", self.target.phase.as_str()),
            ("outcome", if good { "done" } else { "failed" }),
        ];
        metrics::histogram!("engine_step_seconds", &labels).record(time.as_secs_f64());
    }

    fn disturbance(&self) -> Disturbance {
        Disturbance {
            faults: self.run.shared.faults.clone(),
            lease: (*self.run.lease).clone(),
            kind: self.run.saga.kind(),
            name: self.target.name,
            phase: self.target.phase,
        }
    }
}

/// The fault points of one try.
struct Disturbance {
    faults: Faults,
    lease: Arc<Lease>,
    kind: Kind,
    name: &'static str,
    phase: Phase,
}

impl Disturbance {
    const fn at(&self, moment: Moment) -> Point {
        Point::Step { kind: self.kind, step: self.name, phase: self.phase, moment }
    }

    async fn reach(&self, moment: Moment, cx: &Cx) -> Result<(), StepError> {
        self.faults.reach(self.at(moment), cx, &self.lease).await
    }

    async fn during<T>(&self, cx: &Cx, effect: impl Future<Output = Result<T, StepError>>) -> Result<T, StepError> {
        self.faults.during(self.at(Moment::During), cx, &self.lease, effect).await
    }
}

const PUBLIC: &str = "A step failed; it is tried again.";

fn foreign(what: &str) -> StepError {
    StepError::permanent("foreign_object", "Something that is not ours is in the way; an operator has to look.", what)
}

fn overran(limit: Duration) -> StepError {
    StepError::retry("step_timed_out", "A step took too long; it is tried again.", format!("no end within {limit:?}"))
}

/// A panic as a failure of the step.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> StepError {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".to_owned());
    StepError::retry("step_panicked", PUBLIC, format!("panic: {text}"))
}

/// A step that was told to stop says so in its own words; what it means is known here.
fn interpret(error: StepError, cx: &Cx) -> StepError {
    if error.verdict == Verdict::Cancelled && cx.signals.any.is_cancelled() { cx.interruption() } else { error }
}

/// One line for each failure, where it is handled.
pub(crate) fn log_failure(operation: &Operation, target: &Target, error: &StepError) {
    let (step, phase, code, cause) = (target.name, target.phase, error.code, error.cause.as_str());
    match error.verdict {
        Verdict::Snooze { .. } | Verdict::Shutdown | Verdict::Cancelled => {
            tracing::info!(kind = %operation.kind, step, %phase, code, cause, verdict = ?error.verdict, "step not done");
        }
        _ => tracing::warn!(kind = %operation.kind, step, %phase, code, cause, verdict = ?error.verdict, "step failed"),
    }
}
