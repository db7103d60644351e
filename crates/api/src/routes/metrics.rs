//! `GET /metrics`: Prometheus text. Figures of the database are read at each scrape; while postgres1 is down the others
//! are still answered.

use crate::measure::Measures;
use crate::state::AppState;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use db::platform::backups::{self, Ages};
use db::platform::figures::{self, Figures};

/// Figures for Prometheus
///
/// Of requests, and of what the rows say. What workers do (how long steps take and how often they fail, claims and takeovers) each of them tells on its own port.
#[utoipa::path(get, operation_id = "get_metrics", path = "/metrics", tag = "service", responses((status = 200, description = "Prometheus text", content_type = "text/plain")))]
pub(super) async fn handler(State(state): State<AppState>) -> impl IntoResponse {
    let figures = figures::read(state.db()).await;
    let ages = backups::ages(state.db()).await;
    let up = figures.is_ok() || state.db().ping().await.is_ok();
    // A recorder of its own: what no longer exists must not stay on the page with its last value.
    let scraped = Measures::new();
    scraped.record(|| {
        let usage = state.db().usage();
        metrics::gauge!("postgres1_pool_connections", "state" => "open").set(usage.open);
        metrics::gauge!("postgres1_pool_connections", "state" => "idle").set(usage.idle as f64);
        metrics::gauge!("postgres1_up").set(if up { 1.0 } else { 0.0 });
        match &figures {
            Ok(figures) => record(figures),
            Err(error) => tracing::warn!(%error, "figures cannot be read"),
        }
        match &ages {
            Ok(ages) => ages.iter().for_each(record_age),
            Err(error) => tracing::warn!(%error, "the ages of backups cannot be read"),
        }
    });
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], state.measures().render() + &scraped.render())
}

/// Of an instance that has none it is 0: so the age of what is missing is the greatest of all.
fn record_age(ages: &Ages) {
    let seconds = |at: Option<DateTime<Utc>>| at.map_or(0.0, |at| at.timestamp() as f64);
    let label = [("instance", ages.instance.to_string())];
    metrics::gauge!("instance_last_backup_timestamp_seconds", &label).set(seconds(ages.backed_up));
    metrics::gauge!("instance_last_proof_timestamp_seconds", &label).set(seconds(ages.proven));
}

fn record(figures: &Figures) {
    for entry in &figures.instances {
        metrics::gauge!("instances", "status" => entry.status.clone()).set(entry.count as f64);
    }
    for entry in &figures.operations {
        let labels = [("kind", entry.kind.clone()), ("state", entry.state.clone())];
        metrics::gauge!("operations", &labels).set(entry.count as f64);
        metrics::gauge!("operations_oldest_age_seconds", &labels).set(entry.oldest_seconds);
    }
    for server in &figures.servers {
        let up = if server.up { 1.0 } else { 0.0 };
        metrics::gauge!("odoo_server_up", "server" => server.name.clone()).set(up);
    }
    metrics::gauge!("outbox_pending").set(figures.outbox_pending as f64);
    metrics::gauge!("outbox_oldest_age_seconds").set(figures.outbox_oldest_seconds);
    metrics::gauge!("outbox_dead").set(figures.outbox_dead as f64);
    if let Some(up) = figures.watcher_up {
        metrics::gauge!("watcher_up").set(f64::from(u8::from(up)));
    }
    for entry in &figures.drift {
        metrics::gauge!("drift", "kind" => entry.kind.clone()).set(entry.count as f64);
    }
    metrics::gauge!("workers_alive").set(figures.workers_alive as f64);
}
