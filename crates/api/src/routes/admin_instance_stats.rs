//! `GET /admin/instance-stats`

use crate::problem::Problem;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use db::platform::figures;
use domain::instance::Status;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// How many instances there are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InstanceStats {
    /// By status; every status is there.
    #[schema(value_type = Object)]
    status_counts: BTreeMap<&'static str, i64>,
    /// In all.
    total_instances: i64,
    /// Running.
    healthy_instances: i64,
    /// In `error` or without their service.
    failed_instances: i64,
}

/// How many instances there are, by status
#[utoipa::path(get, operation_id = "get_instance_stats", path = "/admin/instance-stats", tag = "administration", responses(
    (status = 200, body = InstanceStats),
))]
pub(super) async fn handler(State(state): State<AppState>) -> Result<Json<InstanceStats>, Problem> {
    let mut counts: BTreeMap<&'static str, i64> = Status::ALL.iter().map(|status| (status.as_str(), 0)).collect();
    for figure in figures::instances(state.db()).await? {
        // A status that nobody knows reads as error.
        let status = Status::parse(&figure.status).unwrap_or(Status::Error);
        *counts.entry(status.as_str()).or_default() += figure.count;
    }
    let of = |statuses: &[Status]| statuses.iter().filter_map(|status| counts.get(status.as_str())).sum();
    Ok(Json(InstanceStats {
        total_instances: counts.values().sum(),
        healthy_instances: of(&[Status::Running]),
        failed_instances: of(&[Status::Error, Status::ContainerMissing]),
        status_counts: counts,
    }))
}
