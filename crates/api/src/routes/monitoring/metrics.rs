//! `GET /api/v1/monitoring/metrics`: the figures of the earlier service, measured or null.

use super::sight::Sight;
use crate::problem::Problem;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

/// Figures of the watcher and of the worker that it runs in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MonitoringMetrics {
    /// From an event to its row, lately.
    #[schema(required)]
    event_processing_latency_ms: Option<f64>,
    /// Since the watcher was started.
    #[schema(required)]
    events_per_minute: Option<f64>,
    /// Storing what an event led to, lately.
    #[schema(required)]
    database_update_latency_ms: Option<f64>,
    /// Asking the engine for a service, lately.
    #[schema(required)]
    docker_api_latency_ms: Option<f64>,
    /// Share of events that could not be followed up.
    #[schema(required)]
    error_rate_percent: Option<f64>,
    /// Since when the watcher watches.
    #[schema(required)]
    uptime_seconds: Option<i64>,
    /// Resident memory of the worker.
    #[schema(required)]
    memory_usage_mb: Option<f64>,
    /// Share of one processor that the worker used lately.
    #[schema(required)]
    cpu_usage_percent: Option<f64>,
}

/// Figures of the monitoring
#[utoipa::path(get, operation_id = "get_monitoring_metrics", path = "/api/v1/monitoring/metrics", tag = "monitoring", responses(
    (status = 200, body = MonitoringMetrics),
))]
pub(super) async fn handler(State(state): State<AppState>) -> Result<Json<MonitoringMetrics>, Problem> {
    let sight = Sight::read(&state).await?;
    let worker = sight.worker().cloned().unwrap_or_default();
    let watching = sight.word() == "running";
    let watcher = sight.watcher.unwrap_or_default();
    let uptime = watcher.started_at.filter(|_| watching).map(|at| state.clock().now() - at);
    let total = watcher.total as f64;
    let minutes = uptime.map(|uptime| uptime.as_seconds_f64() / 60.0).filter(|minutes| *minutes > 0.0);
    Ok(Json(MonitoringMetrics {
        event_processing_latency_ms: watcher.event_ms,
        events_per_minute: minutes.map(|minutes| total / minutes),
        database_update_latency_ms: watcher.store_ms,
        docker_api_latency_ms: watcher.runtime_ms,
        error_rate_percent: (watcher.total > 0).then(|| 100.0 * watcher.failed as f64 / total),
        uptime_seconds: uptime.map(|uptime| uptime.num_seconds().max(0)),
        memory_usage_mb: worker.memory_mb,
        cpu_usage_percent: worker.cpu_percent,
    }))
}
