//! `GET /readyz`: postgres1 answers and its schema is one that this build knows. postgres2 does not matter.

use crate::problem::{Problem, ProblemBody};
use crate::routes::livez::State as Word;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use db::migrate::SchemaState;

/// The service can take requests for data
#[utoipa::path(get, operation_id = "get_readiness", path = "/readyz", tag = "service", responses(
    (status = 200, body = Word),
    (status = 503, description = "postgres1 does not answer, or its schema does not fit", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(State(state): State<AppState>) -> Result<Json<Word>, Problem> {
    let look = state.schema().look(state.db()).await;
    match look.map_err(|error| Problem::unavailable("The platform database does not answer as it should").because(error))? {
        SchemaState::Fits => Ok(Json(Word { status: "ready" })),
        SchemaState::TooOld => Err(Problem::unavailable("The schema of the database is too old for this release")),
        SchemaState::TooNew => Err(Problem::unavailable("The schema of the database is newer than this release")),
    }
}
