//! Signs of life on postgres1.

use super::usage::{self, Meter};
use db::DbResult;
use db::platform::monitoring::{Effective, WorkerDetails};
use db::platform::{PlatformDb, heartbeats};
use serde_json::json;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often.
const PERIOD: Duration = Duration::from_secs(5);
/// A worker that has been silent for longer is not well.
const FRESH: Duration = Duration::from_secs(20);

/// Who sends signs of life.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// postgres1.
    pub db: PlatformDb,
    /// Name of this worker, new at each start.
    pub worker: String,
    /// Machine or container.
    pub host: String,
    /// Word of the runtime's driver.
    pub runtime: &'static str,
    /// How monitoring is set up, as this worker knows it.
    pub monitoring: watch::Receiver<Effective>,
}

impl Heartbeat {
    /// Beats until `stop`, then takes itself out.
    pub async fn run(self, stop: CancellationToken) {
        let (mut well, mut meter) = (true, Meter::default());
        while !stop.is_cancelled() {
            let beat = self.beat(&mut meter).await;
            if let (Err(error), true) = (&beat, well) {
                tracing::warn!(error = %error, "no heartbeat can be written");
            }
            well = beat.is_ok();
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
        if let Err(error) = heartbeats::leave(&self.db, &self.worker).await {
            tracing::warn!(error = %error, "the last heartbeat could not be taken back; it goes stale");
        }
    }

    async fn beat(&self, meter: &mut Meter) -> DbResult<()> {
        let details = WorkerDetails {
            runtime: self.runtime.to_owned(),
            monitoring: Some(*self.monitoring.borrow()),
            memory_mb: usage::memory_mb(),
            cpu_percent: meter.cpu_percent(),
        };
        heartbeats::beat(&self.db, &self.worker, &self.host, env!("CARGO_PKG_VERSION"), &json!(details)).await
    }
}

/// Whether a worker on this machine or container is alive: what the `healthcheck` command asks.
///
/// # Errors
/// postgres1 does not answer.
pub async fn check(db: &PlatformDb, host: &str) -> DbResult<bool> {
    Ok(heartbeats::fresh(db, FRESH).await?.iter().any(|heartbeat| heartbeat.host == host))
}
