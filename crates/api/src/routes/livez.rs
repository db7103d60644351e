//! `GET /livez`: the process runs.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

/// A one-word answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct State {
    /// The word.
    #[schema(example = "ok")]
    pub status: &'static str,
}

/// The process runs
#[utoipa::path(get, operation_id = "get_liveness", path = "/livez", tag = "service", responses((status = 200, body = State)))]
pub(super) async fn handler() -> Json<State> {
    Json(State { status: "ok" })
}
