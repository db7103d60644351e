//! The event watcher (contract 17): follows what happens to services, and notes it where the transition table has it.
//!
//! One over all workers, under a lock on postgres1. What it has read is kept there after each look, so that it goes on without a gap
//! on any worker; what it hears twice changes nothing. It never starts, stops or removes anything.

use crate::reconcile::{Settled, settle, sight};
use anyhow::Context as _;
use db::platform::PlatformDb;
use db::platform::acceptance::{self, Compare};
use db::platform::audit::{AuditContext, Door};
use db::platform::instances;
use db::platform::monitoring::{self, Effective, WATCHER, Watcher as State, Watching};
use db::platform::operations::Enqueued;
use db::platform::turn::Turn;
use domain::ids::InstanceId;
use domain::sources::{Clock, Entropy};
use metrics::{counter, histogram};
use runtime::{Class, Events, InstanceRuntime, Observed, Owner, RuntimeError, Service, ServiceEvent};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;

/// How long one look waits for something to happen; so often at least its report is renewed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much longer the runtime may take to answer.
const ANSWER: Duration = Duration::from_secs(20);
/// How often a worker asks whether the watcher needs it.
const ELSEWHERE: Duration = Duration::from_secs(5);
/// The first pause after a failure, and the longest (contract 17).
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How many events are known again when they are told twice.
const KNOWN: usize = 256;
/// After so many events of one look the state is kept.
const KEPT_EVERY: usize = 100;
/// How many services wait for their operations to end.
const WAITING: usize = 1000;
/// How often an instance is looked at whose row changes meanwhile.
const LOOKS: usize = 3;
/// How much the last event counts in what is told of the events lately.
const LATELY: f64 = 0.2;

/// The watcher of one worker.
pub struct Watcher {
    /// postgres1.
    pub db: PlatformDb,
    /// What runs Odoo.
    pub runtime: Arc<dyn InstanceRuntime>,
    /// Ids of operations.
    pub entropy: Arc<dyn Entropy>,
    /// How old an event is.
    pub clock: Arc<dyn Clock>,
    /// Name of this worker.
    pub worker: String,
    /// Whether it shall watch.
    pub setup: watch::Receiver<Effective>,
}

/// What became of an event.
enum Noted {
    /// Looked at and noted; how long the runtime and postgres1 took.
    Done { runtime: Duration, store: Duration },
    /// An operation is at work on the instance.
    AtWork(InstanceId),
    /// Of no instance.
    Ignored,
    /// It could not be looked at or stored; reconcile and the health check come by.
    Failed,
}

impl Watcher {
    /// Watches whenever it shall and nobody else does, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = PAUSES.0;
        while !stop.is_cancelled() {
            let begin = Instant::now();
            let wait = match self.turn(&stop).await {
                Ok(()) => ELSEWHERE,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "the watcher begins again");
                    // One that went well for a while has not failed again, but for the first time.
                    if begin.elapsed() > PATIENCE + ANSWER + PAUSES.1 {
                        pause = PAUSES.0;
                    }
                    let wait = pause;
                    pause = PAUSES.1.min(pause * 2);
                    wait
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
                Ok(()) = self.setup.changed() => {}
            }
        }
    }

    /// Watches until told otherwise, if nobody else does.
    ///
    /// # Errors
    /// The runtime or postgres1 did not answer.
    pub async fn turn(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let Some(mut turn) = Turn::try_take(&self.db, WATCHER).await? else { return Ok(()) };
        let outcome = turn.hold(self.follow(stop)).await?;
        turn.end().await;
        outcome
    }

    async fn follow(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut setup = self.setup.clone();
        let wish = *setup.borrow_and_update();
        let known = monitoring::watcher(&self.db).await?.map(|(state, _)| state);
        if !wish.run {
            return match known {
                Some(state) if state.state != Watching::Stopped => self.keep(&State { state: Watching::Stopped, ..state }).await,
                _ => Ok(()),
            };
        }
        let mut state = self.begin(known.unwrap_or_default(), wish);
        self.keep(&state).await?;
        let outcome = self.watch(&mut state, &mut setup, stop).await;
        if let Err(error) = &outcome {
            state.state = Watching::Error;
            state.runtime_away = error.is::<RuntimeError>() || error.is::<Elapsed>();
            if let Err(unkept) = self.keep(&state).await {
                tracing::warn!(error = format!("{unkept:#}"), "what the watcher does could not be kept");
            }
        }
        outcome
    }

    /// Goes on where the last watcher stood; the counts begin anew when it was asked to begin.
    fn begin(&self, known: State, wish: Effective) -> State {
        let goes_on = known.restarts == wish.restarts && known.started_at.is_some() && known.state != Watching::Stopped;
        let counted = if goes_on {
            known
        } else {
            State { cursor: known.cursor, recent: known.recent, waiting: known.waiting, ..State::default() }
        };
        // One that failed goes on failing until it hears something.
        let failing = goes_on && counted.state == Watching::Error;
        State {
            state: if failing { Watching::Error } else { Watching::Starting },
            worker: self.worker.clone(),
            restarts: wish.restarts,
            started_at: counted.started_at.or_else(|| Some(self.clock.now())),
            ..counted
        }
    }

    async fn watch(
        &self,
        state: &mut State,
        setup: &mut watch::Receiver<Effective>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        loop {
            let told = tokio::select! {
                told = self.look(state) => told?,
                () = stop.cancelled() => return Ok(()),
                changed = setup.changed() => {
                    let now = *setup.borrow_and_update();
                    if changed.is_err() || !now.run || now.restarts != state.restarts {
                        return Ok(());
                    }
                    continue;
                }
            };
            for (number, event) in told.events.into_iter().enumerate() {
                if stop.is_cancelled() {
                    // What was followed up is known when it is read again.
                    return self.keep(state).await;
                }
                self.follow_up(state, event).await?;
                if number % KEPT_EVERY == KEPT_EVERY - 1 {
                    self.keep(state).await?;
                }
            }
            self.look_at_waiting(state).await?;
            // Nobody knows what happened before the first look either.
            if told.gap || state.cursor.is_none() {
                self.compare_everything().await?;
            }
            state.cursor = Some(serde_json::to_value(told.next)?);
            state.state = Watching::Running;
            self.keep(state).await?;
        }
    }

    async fn look(&self, state: &State) -> anyhow::Result<Events> {
        // One that cannot be read is none.
        let cursor = state.cursor.clone().and_then(|cursor| serde_json::from_value(cursor).ok());
        let told = tokio::time::timeout(PATIENCE + ANSWER, self.runtime.events(cursor.as_ref(), PATIENCE)).await;
        Ok(told.context("the runtime tells nothing, not even that nothing happens")??)
    }

    async fn follow_up(&self, state: &mut State, event: ServiceEvent) -> anyhow::Result<()> {
        let outcome = if state.recent.contains(&event.id) {
            state.duplicate += 1;
            "duplicate"
        } else {
            match self.note(&event.service).await? {
                Noted::Done { runtime, store } => {
                    state.successful += 1;
                    let age = (self.clock.now() - event.at).to_std().unwrap_or_default();
                    histogram!("watcher_event_seconds").record(age.as_secs_f64());
                    lately(&mut state.event_ms, age);
                    lately(&mut state.runtime_ms, runtime);
                    lately(&mut state.store_ms, store);
                    "successful"
                }
                Noted::AtWork(id) => {
                    state.ignored += 1;
                    if state.waiting.len() < WAITING {
                        state.waiting.insert(event.service.name.clone(), id);
                    }
                    "ignored"
                }
                Noted::Ignored => {
                    state.ignored += 1;
                    "ignored"
                }
                Noted::Failed => {
                    state.failed += 1;
                    "failed"
                }
            }
        };
        counter!("watcher_events_total", "outcome" => outcome).increment(1);
        state.total += 1;
        state.last_event_time = state.last_event_time.max(Some(event.at));
        state.recent.push_back(event.id);
        while state.recent.len() > KNOWN {
            state.recent.pop_front();
        }
        Ok(())
    }

    /// What happened to an instance while an operation was at it is looked at when that has ended.
    async fn look_at_waiting(&self, state: &mut State) -> anyhow::Result<()> {
        for (name, id) in state.waiting.clone() {
            let service = Service { name, owner: Owner::Instance(id) };
            if !matches!(self.note(&service).await?, Noted::AtWork(_)) {
                state.waiting.remove(&service.name);
            }
        }
        Ok(())
    }

    /// An error is that of a runtime or database that does not answer at all: the event is read again.
    async fn note(&self, service: &Service) -> anyhow::Result<Noted> {
        let Owner::Instance(id) = service.owner else { return Ok(Noted::Ignored) };
        for _ in 0..LOOKS {
            let Some(row) = instances::get(&self.db, id).await? else { return Ok(Noted::Ignored) };
            if row.placement.as_ref().is_none_or(|placement| placement.service_name != service.name) {
                return Ok(Noted::Ignored);
            }
            if row.operation_id.is_some() {
                return Ok(Noted::AtWork(id));
            }
            let begin = Instant::now();
            let observed = match self.runtime.observe(service).await {
                Err(error) if error.class() == Class::Unreachable => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(service = service.name, error = %error, "a service that something happened to cannot be looked at");
                    return Ok(Noted::Failed);
                }
                Ok(observed) => observed,
            };
            if let Observed::Failed { reason } = &observed {
                tracing::warn!(instance_id = %id, reason, "Odoo ended by itself");
            }
            let (runtime, begin) = (begin.elapsed(), Instant::now());
            match settle(&self.db, WATCHER, &row, sight(&observed)).await {
                Ok(Settled::Skipped) => {}
                Ok(_) => return Ok(Noted::Done { runtime, store: begin.elapsed() }),
                Err(error) if error.is_unreachable() => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(instance_id = %id, error = %error, "what was seen could not be stored");
                    return Ok(Noted::Failed);
                }
            }
        }
        Ok(Noted::Failed)
    }

    /// What happened in the gap is found by comparing.
    async fn compare_everything(&self) -> anyhow::Result<()> {
        let by = AuditContext { door: Door::Worker, actor: WATCHER.to_owned(), request_id: None };
        let mut tx = self.db.begin().await?;
        let accepted = acceptance::compare(&mut tx, &Compare::default(), &*self.entropy, &by).await?;
        if accepted == Enqueued::QueueFull {
            anyhow::bail!("too many comparisons wait already");
        }
        tx.commit().await?;
        tracing::info!(?accepted, "the runtime does not know any more what happened; everything is compared");
        Ok(())
    }

    async fn keep(&self, state: &State) -> anyhow::Result<()> {
        Ok(monitoring::keep_watcher(&self.db, state).await?)
    }
}

/// A mean in which the last ones count most, in milliseconds.
fn lately(mean: &mut Option<f64>, last: Duration) {
    let last = last.as_secs_f64() * 1000.0;
    *mean = Some(mean.map_or(last, |mean| mean + LATELY * (last - mean)));
}
