//! `GET /api/v1/monitoring/health`: always 200; what it says is what the watcher said last.

use super::sight::Sight;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use db::platform::monitoring::Watching;
use domain::times;
use serde::Serialize;
use utoipa::ToSchema;

/// Whether monitoring is well.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MonitoringHealth {
    /// Fixed.
    #[schema(example = "monitoring")]
    service: &'static str,
    /// `healthy` or `unhealthy`.
    #[schema(example = "healthy")]
    status: &'static str,
    /// Whether the engine that runs Odoo answers; null when nobody asked it lately.
    #[schema(required)]
    docker_connection: Option<bool>,
    /// Whether the watcher watches.
    monitoring_active: bool,
    /// When this was answered.
    #[serde(serialize_with = "times::serialize")]
    timestamp: DateTime<Utc>,
    /// Why it is not well; absent when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

/// Whether monitoring is well
#[utoipa::path(get, operation_id = "get_monitoring_health", path = "/api/v1/monitoring/health", tag = "monitoring", responses(
    (status = 200, body = MonitoringHealth),
))]
pub(super) async fn handler(State(state): State<AppState>) -> Json<MonitoringHealth> {
    let sight = Sight::read(&state).await;
    let (active, connected, error) = match &sight {
        Ok(sight) => judge(sight),
        Err(error) => {
            tracing::warn!(%error, "postgres1 does not say how the monitoring is");
            (false, None, Some("The platform database does not answer"))
        }
    };
    Json(MonitoringHealth {
        service: "monitoring",
        status: if error.is_none() { "healthy" } else { "unhealthy" },
        docker_connection: connected,
        monitoring_active: active,
        timestamp: state.clock().now(),
        error,
    })
}

/// Monitoring that was told to stop is well.
fn judge(sight: &Sight) -> (bool, Option<bool>, Option<&'static str>) {
    let connected = sight.said().and_then(|watcher| match watcher.state {
        Watching::Running => Some(true),
        Watching::Error if watcher.runtime_away => Some(false),
        Watching::Error | Watching::Starting | Watching::Stopped => None,
    });
    match sight.word() {
        _ if !sight.has_workers() => (false, None, Some("No worker has reported lately")),
        "running" => (true, connected, None),
        "error" if connected == Some(false) => (false, connected, Some("The engine that runs Odoo does not answer")),
        "error" if sight.said().is_some() => (false, connected, Some("What happens at the engine cannot be followed up")),
        "error" => (false, connected, Some("The watcher has not reported lately")),
        _ => (false, connected, None),
    }
}
