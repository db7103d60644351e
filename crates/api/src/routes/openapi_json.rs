//! `GET /openapi.json`: the description of this API, generated from the code.

use axum::Json;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

/// The description of this API
#[utoipa::path(get, operation_id = "get_openapi", path = "/openapi.json", tag = "service", responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub(super) async fn handler() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], Json(crate::openapi()))
}
