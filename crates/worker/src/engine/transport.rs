//! What brings wake-ups: a trait, and apalis behind it with the fixed settings of engine 2.
//!
//! Losing wake-ups costs seconds, never operations; so anything that calls the handler with due ids could stand here.

use crate::engine::settings::EngineSettings;
use apalis::prelude::{BoxDynError, Event, Monitor, WorkerBuilder, WorkerBuilderExt, WorkerContext};
use async_trait::async_trait;
use db::DbResult;
use db::queue::QueuePool;
use domain::ids::OperationId;
use domain::operation::{Class, WakeUp};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Looks at operations.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Looks at one; an error means that postgres1 could not be written.
    async fn handle(&self, id: OperationId) -> DbResult<()>;
}

/// Brings wake-ups. The other half, writing one in a transaction, is `db::queue::wake`.
#[async_trait]
pub trait Transport: Send {
    /// Calls the handler for each wake-up until `stop` trips.
    ///
    /// # Errors
    /// When it cannot go on by itself.
    async fn run(self, handler: Arc<dyn Handler>, stop: CancellationToken) -> Result<(), TransportError>;
}

/// Why the transport gave up.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No poller has lived for this long: start the process anew.
    #[error("no poller has lived for {0:?}")]
    NoPoller(Duration),
    /// The library's supervisor ended.
    #[error("the transport ended: {0}")]
    Ended(String),
}

/// Wake-ups through apalis.
pub struct Apalis {
    pool: QueuePool,
    settings: EngineSettings,
}

impl Apalis {
    /// A transport on this pool.
    pub const fn new(pool: QueuePool, settings: EngineSettings) -> Self {
        Self { pool, settings }
    }

    /// One worker for each class. Concurrency comes before any other layer; no retry, no timeout, no catching of panics:
    /// they belong into the handler.
    fn monitor(&self, handler: &Arc<dyn Handler>, alive: &Alive) -> Monitor {
        let mut monitor = Monitor::new();
        for &class in Class::ALL {
            let (pool, handler, owner) = (self.pool.clone(), handler.clone(), self.settings.owner.clone());
            let slots = self.settings.slots.of(class);
            monitor = monitor.register(move |restarts| {
                let handler = handler.clone();
                WorkerBuilder::new(worker_name(class, &owner, restarts))
                    .backend(pool.backend(class))
                    .concurrency(slots)
                    .enable_tracing()
                    .build(move |wake: WakeUp| {
                        let handler = handler.clone();
                        async move { handler.handle(wake.operation_id).await.map_err(BoxDynError::from) }
                    })
            });
        }
        let alive = alive.clone();
        monitor
            .should_restart(|_, _| true)
            .shutdown_timeout(self.settings.drain)
            .on_event(move |worker, event| observe(&alive, worker, event))
    }
}

/// New at each start and each restart: a reused name keeps a dead worker's rows for ever. `owner` is host and ULID.
fn worker_name(class: Class, owner: &str, restarts: usize) -> String {
    format!("{class}-{owner}-0-{restarts}")
}

/// When a poller last showed that it lives.
type Alive = Arc<Mutex<Instant>>;

fn observe(alive: &Alive, worker: &WorkerContext, event: &Event) {
    match event {
        Event::HeartBeat | Event::Success(_) => *alive.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now(),
        Event::Error(error) => tracing::warn!(worker = worker.name(), %error, "a wake-up failed"),
        _ => {}
    }
}

async fn nobody_lives(alive: &Alive, grace: Duration) {
    loop {
        let silent = alive.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        match grace.checked_sub(silent) {
            None => return,
            Some(left) => tokio::time::sleep(left).await,
        }
    }
}

#[async_trait]
impl Transport for Apalis {
    async fn run(self, handler: Arc<dyn Handler>, stop: CancellationToken) -> Result<(), TransportError> {
        let alive = Alive::new(Mutex::new(Instant::now()));
        let monitor = self.monitor(&handler, &alive);
        let signal = async move {
            stop.cancelled().await;
            Ok(())
        };
        let running = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(monitor.run_with_signal(signal)));
        tokio::select! {
            ended = running => match ended {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(TransportError::Ended(error.to_string())),
                Err(error) => Err(TransportError::Ended(error.to_string())),
            },
            () = nobody_lives(&alive, self.settings.poller_grace) => Err(TransportError::NoPoller(self.settings.poller_grace)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_named_after_class_start_and_restart() {
        assert_eq!(worker_name(Class::Control, "host-01J", 2), "control-host-01J-0-2");
    }
}
