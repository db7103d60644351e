//! `GET /`: what this is.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

/// What this service is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Root {
    /// Fixed.
    #[schema(example = "instance-service")]
    service: &'static str,
    /// Release.
    version: &'static str,
    /// Fixed: an answer is proof.
    #[schema(example = "running")]
    status: &'static str,
    /// Where the API is described.
    #[schema(example = "/docs")]
    docs: &'static str,
}

/// What this service is
#[utoipa::path(get, operation_id = "get_service", path = "/", tag = "service", responses((status = 200, body = Root)))]
pub(super) async fn handler() -> Json<Root> {
    Json(Root { service: "instance-service", version: env!("CARGO_PKG_VERSION"), status: "running", docs: "/docs" })
}
