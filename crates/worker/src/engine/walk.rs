//! Walking one claimed operation: forward over its steps, or back over those that were started (engine 8 and 9).
//!
//! Owns: the order of things: look, record the start, act, record the end; turning back; the last transaction.
//! Leaves to others: what a failure means (`decision`), running one step (`attempt`), the fenced write (`db::platform::record`).

use crate::engine::attempt::{self, Attempt};
use crate::engine::decision::{self, Decision, Situation, decide};
use crate::engine::faults::{Moment, Point};
use crate::engine::keeper::Kept;
use crate::engine::runner::{Shared, alert};
use crate::engine::saga::{Outcome, Saga};
use crate::engine::{Cx, Step, StepError};
use db::platform::claims::{Claim, Fence};
use db::platform::journal::{JournalStep, Phase};
use db::platform::operations::{Fault, Operation};
use db::platform::record::{Next, StepWrite, Write};
use domain::operation::{Direction, Place, State, StepStatus};
use futures::FutureExt;
use serde_json::Value;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A claimed operation on its way.
pub(crate) struct Run {
    pub(crate) shared: Arc<Shared>,
    pub(crate) saga: Arc<Saga>,
    pub(crate) lease: Kept,
    pub(crate) operation: Operation,
    pub(crate) journal: Vec<JournalStep>,
    pub(crate) fence: Fence,
    deadline: Option<Instant>,
    /// When something was last achieved: the time since then is lost if a server turns out to be away.
    achieved: Instant,
}

/// Nothing more to do here: it ended, waits, or belongs to somebody else.
pub(crate) struct Over;

/// Which way it goes on.
#[derive(PartialEq, Eq)]
enum Way {
    Forward,
    Back,
}

/// What a journal entry is about: a step, or one of the two ends.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) phase: Phase,
    version: i32,
    place: Place,
    position: i16,
}

impl Run {
    pub(crate) fn new(shared: Arc<Shared>, saga: Arc<Saga>, lease: Kept, claim: Claim) -> Self {
        let Claim { operation, fence, journal, seconds_left, taken_at: claim_time, .. } = claim;
        let left = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO);
        let deadline = seconds_left.filter(|_| !saga.is_forward_only()).and_then(|s| Instant::now().checked_add(left(s)));
        Self { shared, saga, lease, operation, journal, fence, deadline, achieved: claim_time }
    }

    /// Walks until it is over.
    pub(crate) async fn walk(mut self) {
        let Err(Over) = self.both_ways().await;
    }

    /// The guards say no: nothing was done, so nothing is undone.
    pub(crate) async fn refuse(mut self, why: String) {
        let fault = Fault { code: REFUSED.to_owned(), message: why, cause: "refused at claim".to_owned() };
        if self.turn_back(None, Some(fault)).await.is_ok() {
            self.walk().await;
        }
    }

    /// The guards could not be checked.
    pub(crate) async fn unchecked(mut self, error: StepError) {
        if self.failed(&END, &error).await.is_ok() {
            self.walk().await;
        }
    }

    async fn both_ways(&mut self) -> Result<Infallible, Over> {
        let cx = Cx::of(self);
        if let Err(error) = self.shared.faults.reach(Point::Claim(self.saga.kind()), &cx, &self.lease).await {
            self.failed(&END, &error).await?;
        }
        if self.operation.direction == Direction::Forward {
            self.forward().await?;
        }
        self.backward().await
    }

    /// Returns when it has turned back.
    async fn forward(&mut self) -> Result<(), Over> {
        for index in 0..self.saga.steps().len() {
            if !self.is_done(index) && self.advance(index).await? == Way::Back {
                return Ok(());
            }
        }
        self.finish().await
    }

    async fn advance(&mut self, index: usize) -> Result<Way, Over> {
        if self.look_up().await? == Way::Back {
            return Ok(Way::Back);
        }
        let target = self.target(index, Phase::Apply);
        let past_return = !self.saga.steps()[index].step().interruptible();
        let cx = self.start(&target, past_return).await?;
        if past_return && !self.operation.past_return {
            // A cancel came in the moment before.
            return self.turn_back(None, None).await.map(|()| Way::Back);
        }
        match (Attempt { run: self, index, target: &target }).apply(cx).await {
            Ok(output) => self.done(&target, Some(output)).await.map(|()| Way::Forward),
            Err(error) => self.failed(&target, &error).await.map(|()| Way::Back),
        }
    }

    async fn backward(&mut self) -> Result<Infallible, Over> {
        for index in (0..self.saga.steps().len()).rev() {
            let target = self.target(index, Phase::Undo);
            let undone = self.entry(&target).is_some_and(|entry| entry.status == StepStatus::Done);
            let started = self.entry(&self.target(index, Phase::Apply)).is_some();
            if undone || !started || self.saga.steps()[index].undo().is_none() {
                continue;
            }
            self.look_up().await?;
            let cx = self.start(&target, false).await?;
            match (Attempt { run: self, index, target: &target }).undo(cx).await {
                Ok(()) => self.done(&target, None).await?,
                Err(error) => self.stopped(&target, &error).await?,
            }
        }
        self.look_up().await?;
        let fault = self.operation.error.clone();
        self.unwound(fault).await
    }

    /// A failure on the way back always ends the run: there is no way back from there.
    async fn stopped(&mut self, target: &Target, error: &StepError) -> Result<(), Over> {
        self.failed(target, error).await?;
        Err(Over)
    }

    /// Looks, before each effect, whether it may still be made.
    async fn look_up(&mut self) -> Result<Way, Over> {
        if !self.lease.is_trusted() {
            return Err(Over);
        }
        if self.shared.shutdown.is_cancelled() {
            return self.release().await.map(|()| Way::Forward);
        }
        if self.operation.direction == Direction::Undo {
            return Ok(Way::Back);
        }
        if self.obeys_cancel() && (self.operation.cancel_requested_at.is_some() || self.lease.cancel.is_cancelled()) {
            return self.turn_back(None, None).await.map(|()| Way::Back);
        }
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            let fault = decision::timed_out(&self.operation.current_step.as_deref().unwrap_or("not begun"));
            return self.turn_back(None, Some(fault)).await.map(|()| Way::Back);
        }
        Ok(Way::Forward)
    }

    /// Whether a request to cancel counts now.
    pub(crate) fn obeys_cancel(&self) -> bool {
        self.operation.direction == Direction::Forward && !self.saga.is_forward_only() && !self.operation.past_return
    }

    /// Records that a step begins; returns the context to begin with.
    async fn start(&mut self, target: &Target, past_return: bool) -> Result<Cx, Over> {
        // With the claim itself, see `first_start`: whatever a run starts, it ends before it starts it again.
        if self.entry(target).is_some_and(|entry| entry.status == StepStatus::Started && entry.lease_token == self.fence.token) {
            return Ok(Cx::of(self));
        }
        let started_before =
            self.journal.iter().filter(|entry| entry.phase == Phase::Apply).map(|entry| entry.step.clone()).collect();
        let tries = self.entry(target).map_or(0, |entry| entry.attempt);
        let step = target.write(StepStatus::Started, tries);
        let write = Write { step: Some(step), past_return, ..self.write(Next::Continue) };
        self.record(write).await?;
        let mut cx = Cx::of(self);
        cx.started_before = started_before;
        Ok(cx)
    }

    async fn done(&mut self, target: &Target, output: Option<Value>) -> Result<(), Over> {
        let tries = self.entry(target).map_or(0, |entry| entry.attempt);
        let step = StepWrite { output, ..target.write(StepStatus::Done, tries) };
        self.record(Write { percent: self.percent(Some(target)), step: Some(step), outcome: true, ..self.write(Next::Continue) })
            .await?;
        self.achieved = Instant::now();
        Ok(())
    }

    /// Writes what follows from a failure. Returns when it is to turn back.
    async fn failed(&mut self, target: &Target, error: &StepError) -> Result<(), Over> {
        let tries = self.entry(target).map_or(0, |entry| entry.attempt);
        let situation = Situation {
            direction: self.operation.direction,
            forward_only: self.saga.is_forward_only(),
            tries,
            attempts: self.operation.attempts,
            max_attempts: self.operation.max_attempts,
            time_left: self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())),
        };
        attempt::log_failure(&self.operation, target, error);
        match decide(error, &situation, &self.shared.settings, self.jitter()) {
            Decision::Abandon => Err(Over),
            Decision::Release => self.release().await,
            Decision::TurnBack(fault) => {
                let step =
                    StepWrite { error: fault.clone(), ..target.write(StepStatus::Failed, tries + i32::from(fault.is_some())) };
                self.turn_back(Some(step), fault).await
            }
            Decision::Attention(fault) => self.stop_for_attention(target.write(StepStatus::Failed, tries + 1), fault).await,
            Decision::Wait { after, unreachable, tries: counted, attempts, alert: late } => {
                let status = if counted == tries { StepStatus::Started } else { StepStatus::Failed };
                let fault = (counted != tries).then(|| Fault::from(error));
                if late {
                    alert(&self.operation, "a step that must succeed keeps failing; it is tried again");
                }
                let step = StepWrite { error: fault, ..target.write(status, counted) };
                let next = Next::Wait { after, lost: unreachable.then(|| self.achieved.elapsed()) };
                self.record(Write { step: Some(step), attempts, outcome: true, ..self.write(next) }).await?;
                Err(Over)
            }
        }
    }

    async fn turn_back(&mut self, step: Option<StepWrite>, fault: Option<Fault>) -> Result<(), Over> {
        tracing::info!(code = fault.as_ref().map_or("cancelled", |fault| fault.code.as_str()), "turning back");
        let write = Write { step, direction: Direction::Undo, error: fault, outcome: true, ..self.write(Next::Continue) };
        self.record(write).await
    }

    async fn stop_for_attention(&mut self, step: StepWrite, fault: Fault) -> Result<(), Over> {
        let stopped_by = fault.clone();
        let error = match self.operation.error.clone() {
            Some(first) => Fault { cause: format!("{}; then {}: {}", first.cause, stopped_by.code, stopped_by.cause), ..first },
            None => stopped_by,
        };
        let step = StepWrite { error: Some(fault), ..step };
        self.record(Write { step: Some(step), error: Some(error), outcome: true, ..self.write(Next::Attention) }).await?;
        alert(&self.operation, "an operation needs attention");
        Err(Over)
    }

    /// Hands over: free, due at once, nothing counted.
    async fn release(&mut self) -> Result<(), Over> {
        let next = Next::Wait { after: Duration::ZERO, lost: None };
        self.record(Write { outcome: true, ..self.write(next) }).await?;
        Err(Over)
    }

    /// Returns when it has turned back instead.
    async fn finish(&mut self) -> Result<(), Over> {
        if self.look_up().await? == Way::Back {
            return Ok(());
        }
        let end = Target { phase: Phase::Apply, ..END };
        let lost = self.lease.lost.clone();
        tokio::select! {
            biased;
            () = lost.cancelled() => Err(Over),
            ended = self.try_finish() => match ended {
                Ok(()) => Err(Over),
                Err(error) => self.failed(&end, &error).await,
            },
        }
    }

    async fn try_finish(&mut self) -> Result<(), StepError> {
        let kind = self.saga.kind();
        let cx = Cx::of(self);
        let (faults, lease) = (self.shared.faults.clone(), &self.lease);
        faults.reach(Point::Finish(kind, Moment::Before), &cx, lease).await?;
        let mut tx = cx.fenced_tx().await?;
        let result = hook(self.saga.ends().finish(&cx, &mut tx)).await?;
        let end = Next::End { state: State::Succeeded, result: Some(result) };
        let write = Write { percent: 100, outcome: true, ..self.write(end) };
        let recorded = db::platform::record::write(&mut tx, &self.fence, &write, &self.journal).await?;
        faults.reach(Point::Finish(kind, Moment::During), &cx, lease).await?;
        self.commit(tx, recorded).await?;
        self.shared.faults.reach(Point::Finish(kind, Moment::After), &cx, &self.lease).await
    }

    /// The end of everything that did not succeed.
    async fn unwound(&mut self, fault: Option<Fault>) -> Result<Infallible, Over> {
        let end = Target { phase: Phase::Undo, ..END };
        let lost = self.lease.lost.clone();
        let ended = tokio::select! {
            biased;
            () = lost.cancelled() => return Err(Over),
            ended = self.try_unwound(fault) => ended,
        };
        if let Err(error) = ended {
            self.failed(&end, &error).await?;
        }
        Err(Over)
    }

    async fn try_unwound(&mut self, fault: Option<Fault>) -> Result<(), StepError> {
        let kind = self.saga.kind();
        let mut cx = Cx::of(self);
        let (faults, lease) = (self.shared.faults.clone(), &self.lease);
        faults.reach(Point::Unwound(kind, Moment::Before), &cx, lease).await?;
        let mut tx = self.shared.services.db.begin().await?;
        // Read again: who pre-empted it may have come only now, and then it ends cancelled, whatever it failed of.
        cx.operation = db::platform::record::lock(&mut tx, &self.fence, &self.operation).await?;
        let (outcome, state) = outcome(&cx.operation, fault.clone());
        hook(self.saga.ends().unwound(&cx, &mut tx, &outcome)).await?;
        let next = Next::End { state, result: None };
        let write = Write { error: fault, percent: self.percent(None), outcome: true, ..self.write(next) };
        let recorded = db::platform::record::write(&mut tx, &self.fence, &write, &self.journal).await?;
        faults.reach(Point::Unwound(kind, Moment::During), &cx, lease).await?;
        self.commit(tx, recorded).await?;
        self.shared.faults.reach(Point::Unwound(kind, Moment::After), &cx, &self.lease).await
    }

    fn jitter(&self) -> f64 {
        let mut bytes = [0_u8; 4];
        self.shared.services.entropy.fill(&mut bytes);
        f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
    }

    fn target(&self, index: usize, phase: Phase) -> Target {
        Target::of(self.saga.steps()[index].step(), index, phase)
    }

    pub(crate) fn entry(&self, target: &Target) -> Option<&JournalStep> {
        self.journal.iter().find(|entry| entry.step == target.name && entry.phase == target.phase)
    }

    fn is_done(&self, index: usize) -> bool {
        let target = self.target(index, Phase::Apply);
        self.entry(&target).is_some_and(|entry| entry.status == StepStatus::Done && entry.step_version == target.version)
    }

    /// Done weight of the steps, with `also` counted as done; 100 is for a success alone.
    fn percent(&self, also: Option<&Target>) -> i16 {
        let done = |name: &str, phase| {
            also.is_some_and(|target| target.name == name && target.phase == phase)
                || self.journal.iter().any(|entry| entry.step == name && entry.phase == phase && entry.status == StepStatus::Done)
        };
        let steps = self.saga.steps().iter().map(crate::engine::StepEntry::step);
        let (mut all, mut weight) = (0_u32, 0_u32);
        for step in steps {
            all += step.weight();
            if done(step.name(), Phase::Apply) && !done(step.name(), Phase::Undo) {
                weight += step.weight();
            }
        }
        i16::try_from((weight * 100).checked_div(all).unwrap_or(0).min(99)).unwrap_or(99)
    }

    /// A write that changes nothing yet.
    fn write(&self, next: Next) -> Write {
        unchanged(&self.operation, next)
    }
}

fn unchanged(operation: &Operation, next: Next) -> Write {
    Write {
        step: None,
        direction: operation.direction,
        attempts: operation.attempts,
        percent: operation.percent,
        past_return: false,
        error: operation.error.clone(),
        outcome: false,
        next,
    }
}

/// Code of an operation whose guards said no when its turn came: it ends cancelled.
const REFUSED: &str = "no_longer_allowed";

/// Journal name of the two ends; not a step, so clients do not see it.
pub(crate) const END: Target =
    Target { name: "end", phase: Phase::Apply, version: 1, place: Place::Postgres1, position: i16::MAX };

impl Target {
    fn of(step: &dyn Step, index: usize, phase: Phase) -> Self {
        let position = i16::try_from(index).unwrap_or(i16::MAX);
        Self { name: step.name(), phase, version: step.version(), place: step.place(), position }
    }

    fn write(&self, status: StepStatus, attempt: i32) -> StepWrite {
        StepWrite {
            step: self.name.to_owned(),
            phase: self.phase,
            step_version: self.version,
            position: self.position,
            place: self.place,
            status,
            attempt,
            output: None,
            error: None,
        }
    }
}

/// The start of a saga's first step, to be recorded with the claim, unless something was begun before, a cancel stands against it, or
/// it is the point of no return itself.
pub(crate) fn first_start(saga: &Saga, claim: &Claim) -> Option<Write> {
    let (step, operation) = (saga.steps().first()?.step(), &claim.operation);
    let fresh = claim.journal.is_empty() && operation.direction == Direction::Forward;
    if !fresh || operation.cancel_requested_at.is_some() || !step.interruptible() {
        return None;
    }
    let start = Target::of(step, 0, Phase::Apply).write(StepStatus::Started, 0);
    Some(Write { step: Some(start), ..unchanged(operation, Next::Continue) })
}

fn outcome(operation: &Operation, fault: Option<Fault>) -> (Outcome, State) {
    let cancelled = Outcome::Cancelled { reason: operation.cancel_reason.clone(), preempted_by: operation.preempted_by };
    match fault {
        Some(fault) if operation.preempted_by.is_none() && fault.code != REFUSED => (Outcome::Failed(fault), State::Failed),
        _ => (cancelled, State::Cancelled),
    }
}

/// Runs one of a saga's own ends; a panic in it is a failure like any other.
pub(crate) async fn hook<T>(end: impl Future<Output = Result<T, StepError>>) -> Result<T, StepError> {
    match AssertUnwindSafe(end).catch_unwind().await {
        Ok(answer) => answer,
        Err(panic) => Err(attempt::panicked(panic.as_ref())),
    }
}
