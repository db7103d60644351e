//! `GET /api/v1/monitoring/status`

use super::sight::Sight;
use crate::problem::Problem;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use db::platform::{instances, monitor};
use domain::times;
use serde::Serialize;
use utoipa::ToSchema;

/// How the monitoring is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MonitoringStatus {
    /// `running`, `starting`, `stopping`, `stopped` or `error`.
    #[schema(example = "running")]
    status: &'static str,
    /// Since when the watcher watches.
    #[serde(serialize_with = "times::serialize_option")]
    #[schema(required)]
    started_at: Option<DateTime<Utc>>,
    /// When the last event happened.
    #[serde(serialize_with = "times::serialize_option")]
    #[schema(required)]
    last_event_time: Option<DateTime<Utc>>,
    /// Events read since it was started.
    total_events_processed: u64,
    /// Of them, those whose instance was looked at.
    successful_events: u64,
    /// Those that could not be followed up.
    failed_events: u64,
    /// Those of no instance, or of one that an operation is at work on.
    ignored_events: u64,
    /// Those that had been read before.
    duplicate_events: u64,
    /// Services that are watched.
    containers_monitored: i64,
    /// When rows and services were last compared.
    #[serde(serialize_with = "times::serialize_option")]
    #[schema(required)]
    last_reconciliation: Option<DateTime<Utc>>,
}

/// How the monitoring is
#[utoipa::path(get, operation_id = "get_monitoring_status", path = "/api/v1/monitoring/status", tag = "monitoring", responses(
    (status = 200, body = MonitoringStatus),
))]
pub(super) async fn handler(State(state): State<AppState>) -> Result<Json<MonitoringStatus>, Problem> {
    let sight = Sight::read(&state).await?;
    let reconciled = monitor::read(state.db(), "reconcile").await?.filter(|report| report.value["ok"] == true);
    let status = sight.word();
    let watcher = sight.watcher.unwrap_or_default();
    Ok(Json(MonitoringStatus {
        status,
        started_at: watcher.started_at,
        last_event_time: watcher.last_event_time,
        total_events_processed: watcher.total,
        successful_events: watcher.successful,
        failed_events: watcher.failed,
        ignored_events: watcher.ignored,
        duplicate_events: watcher.duplicate,
        containers_monitored: instances::count_services(state.db()).await?,
        last_reconciliation: reconciled.map(|report| report.updated_at),
    }))
}
