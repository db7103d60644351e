//! How monitoring is set up now: the worker's settings, with what operators have wished since put over them (contract 8.5).

use bootstrap::settings::MonitoringSettings;
use db::DbResult;
use db::platform::PlatformDb;
use db::platform::monitoring::{self, Effective};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How soon a wish is known to every worker.
const PERIOD: Duration = Duration::from_secs(2);

/// What the settings of a worker say.
pub fn configured(settings: &MonitoringSettings) -> Effective {
    let seconds = |period: Duration| u32::try_from(period.as_secs()).unwrap_or(u32::MAX);
    Effective {
        run: settings.auto_start,
        restarts: 0,
        reconcile_interval_seconds: seconds(settings.reconcile_every),
        health_check_interval_seconds: seconds(settings.health_check_every),
        resume_grace_seconds: seconds(settings.resume_grace),
    }
}

/// Reads wishes until `stop`, and tells whoever follows them. While postgres1 does not answer, the last ones hold.
pub async fn follow(db: PlatformDb, configured: Effective, effective: watch::Sender<Effective>, stop: CancellationToken) {
    let mut well = true;
    while !stop.is_cancelled() {
        let read = look(&db, configured, &effective).await;
        if let (Err(error), true) = (&read, well) {
            tracing::warn!(error = %error, "what operators wish of the monitoring cannot be read");
        }
        well = read.is_ok();
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// One look at the wishes.
///
/// # Errors
/// Database errors only.
pub async fn look(db: &PlatformDb, configured: Effective, effective: &watch::Sender<Effective>) -> DbResult<()> {
    let now = configured.with(&monitoring::wishes(db).await?);
    effective.send_if_modified(|known| {
        let changed = *known != now;
        *known = now;
        changed
    });
    Ok(())
}
