//! `GET /health`: liveness for those who know this path from the earlier service.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

/// A sign of life.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// Fixed: an answer is proof.
    #[schema(example = "healthy")]
    status: &'static str,
    /// Fixed.
    #[schema(example = "instance-service")]
    service: &'static str,
    /// Release.
    version: &'static str,
}

/// A sign of life; says nothing of the databases
#[utoipa::path(get, operation_id = "get_health", path = "/health", tag = "service", responses((status = 200, body = Health)))]
pub(super) async fn handler() -> Json<Health> {
    Json(Health { status: "healthy", service: "instance-service", version: env!("CARGO_PKG_VERSION") })
}
