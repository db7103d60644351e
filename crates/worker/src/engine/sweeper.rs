//! The engine's own loops: waking what nobody woke, and removing what the transport leaves behind (engine 13).

use crate::engine::Engine;
use std::time::Duration;

/// Sweeps and retains until it is dropped. Every process does it; they do not disturb each other.
pub(crate) async fn run(engine: Engine) {
    let settings = &engine.shared.settings;
    tokio::join!(every(settings.sweep_every, || sweep(&engine)), every(settings.retain_every, || retain(&engine)));
}

async fn every<F: Future<Output = ()>>(period: Duration, mut what: impl FnMut() -> F) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        what().await;
    }
}

async fn sweep(engine: &Engine) {
    match db::queue::sweep(&engine.shared.services.db, &engine.shared.claimant).await {
        Ok(0) => {}
        Ok(woken) => {
            tracing::info!(woken, "woke operations that were due and had no wake-up");
            metrics::counter!("engine_wakeups_repaired_total").increment(woken);
        }
        Err(error) => tracing::warn!(%error, "sweep failed"),
    }
}

async fn retain(engine: &Engine) {
    match db::platform::claims::unknown_to(&engine.shared.services.db, &engine.shared.claimant).await {
        Ok(unknown) => {
            metrics::gauge!("engine_unknown_operations").set(unknown.len() as f64);
            for (kind, version, count) in unknown {
                tracing::error!(kind, version, count, "operations wait for a release that knows their definition");
            }
        }
        Err(error) => tracing::warn!(%error, "waiting operations could not be compared with what this release knows"),
    }
    match db::queue::retain(&engine.shared.services.db).await {
        Ok(removed) => tracing::info!(removed.jobs, removed.workers, "removed old wake-ups"),
        Err(error) => tracing::warn!(%error, "old wake-ups could not be removed"),
    }
}
