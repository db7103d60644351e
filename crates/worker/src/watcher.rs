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
use db::platform::turn::Turn;
use domain::sources::{Clock, Entropy};
use metrics::{counter, histogram};
use runtime::{Class, Events, InstanceRuntime, Observed, Owner, RuntimeError, ServiceEvent};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
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
    /// Nothing of an instance at rest.
    Ignored,
}

impl Watcher {
    /// Watches whenever it shall and nobody else does, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pause = PAUSES.0;
        while !stop.is_cancelled() {
            let wait = match self.turn(&stop).await {
                Ok(()) => {
                    pause = PAUSES.0;
                    ELSEWHERE
                }
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "the watcher begins again");
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
                Some(state) if state.state != Watching::Stopped => self.keep(State { state: Watching::Stopped, ..state }).await,
                _ => Ok(()),
            };
        }
        let mut state = self.begin(known.unwrap_or_default(), wish);
        self.keep(state.clone()).await?;
        let outcome = self.watch(&mut state, &mut setup, stop).await;
        if outcome.is_err() {
            state.state = Watching::Error;
            self.keep(state).await?;
        }
        outcome
    }

    /// Goes on where the last watcher stood; the counts begin anew when it was asked to begin.
    fn begin(&self, known: State, wish: Effective) -> State {
        let goes_on = known.restarts == wish.restarts && known.started_at.is_some() && known.state != Watching::Stopped;
        let counted = if goes_on { known } else { State { cursor: known.cursor, recent: known.recent, ..State::default() } };
        State {
            state: Watching::Starting,
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
            for event in told.events {
                self.follow_up(state, event).await?;
            }
            if told.gap {
                self.compare_everything().await?;
            }
            state.cursor = Some(serde_json::to_value(told.next)?);
            state.state = Watching::Running;
            self.keep(state.clone()).await?;
        }
    }

    async fn look(&self, state: &State) -> anyhow::Result<Events> {
        let cursor = state.cursor.clone().map(serde_json::from_value).transpose().context("the cursor")?;
        let told = tokio::time::timeout(PATIENCE + ANSWER, self.runtime.events(cursor.as_ref(), PATIENCE)).await;
        Ok(told.context("the runtime tells nothing, not even that nothing happens")??)
    }

    async fn follow_up(&self, state: &mut State, event: ServiceEvent) -> anyhow::Result<()> {
        let outcome = if state.recent.contains(&event.id) {
            state.duplicate += 1;
            "duplicate"
        } else {
            match self.note(&event).await? {
                Ok(Noted::Done { runtime, store }) => {
                    state.successful += 1;
                    let age = (self.clock.now() - event.at).to_std().unwrap_or_default();
                    histogram!("watcher_event_seconds").record(age.as_secs_f64());
                    lately(&mut state.event_ms, age);
                    lately(&mut state.runtime_ms, runtime);
                    lately(&mut state.store_ms, store);
                    "successful"
                }
                Ok(Noted::Ignored) => {
                    state.ignored += 1;
                    "ignored"
                }
                Err(error) => {
                    tracing::warn!(service = event.service.name, error = %error, "an event could not be followed up");
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

    /// The outer error is that of a runtime or database that does not answer: the event is read again. The inner one will not pass.
    async fn note(&self, event: &ServiceEvent) -> anyhow::Result<Result<Noted, RuntimeError>> {
        let Owner::Instance(id) = event.service.owner else { return Ok(Ok(Noted::Ignored)) };
        for _ in 0..LOOKS {
            let Some(row) = instances::get(&self.db, id).await? else { return Ok(Ok(Noted::Ignored)) };
            let is_its = row.placement.as_ref().is_some_and(|placement| placement.service_name == event.service.name);
            if !is_its || row.operation_id.is_some() {
                return Ok(Ok(Noted::Ignored));
            }
            let begin = Instant::now();
            let observed = match self.runtime.observe(&event.service).await {
                Err(error) if matches!(error.class(), Class::Unreachable | Class::Busy | Class::Transient) => {
                    return Err(error.into());
                }
                Err(error) => return Ok(Err(error)),
                Ok(observed) => observed,
            };
            if let Observed::Failed { reason } = &observed {
                tracing::warn!(instance_id = %id, reason, "Odoo ended by itself");
            }
            let (runtime, begin) = (begin.elapsed(), Instant::now());
            if settle(&self.db, WATCHER, &row, sight(&observed)).await? != Settled::Skipped {
                return Ok(Ok(Noted::Done { runtime, store: begin.elapsed() }));
            }
        }
        Ok(Ok(Noted::Ignored))
    }

    /// What happened in the gap is found by comparing.
    async fn compare_everything(&self) -> anyhow::Result<()> {
        let by = AuditContext { door: Door::Worker, actor: WATCHER.to_owned(), request_id: None };
        let mut tx = self.db.begin().await?;
        let accepted = acceptance::compare(&mut tx, &Compare::default(), &*self.entropy, &by).await?;
        tx.commit().await?;
        tracing::info!(?accepted, "the runtime does not know any more what happened; everything is compared");
        Ok(())
    }

    async fn keep(&self, state: State) -> anyhow::Result<()> {
        Ok(monitoring::keep_watcher(&self.db, &state).await?)
    }
}

/// A mean in which the last ones count most, in milliseconds.
fn lately(mean: &mut Option<f64>, last: Duration) {
    let last = last.as_secs_f64() * 1000.0;
    *mean = Some(mean.map_or(last, |mean| mean + LATELY * (last - mean)));
}
