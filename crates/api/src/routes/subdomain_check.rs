//! `GET /api/v1/instances/check-subdomain/{text}`: always 200, but for 429 on the public door; what is wrong
//! with a text is the answer, not an error.

use crate::conventions::Call;
use crate::input::PathText;
use crate::problem::Problem;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use db::platform::instances;
use domain::names::HostLabel;
use serde::Serialize;
use utoipa::ToSchema;

/// Whether a host label can be ordered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SubdomainCheck {
    /// The text as given.
    subdomain: String,
    /// Whether it can be ordered.
    available: bool,
    /// `Available`, `Already taken`, or the first rule that fails.
    #[schema(example = "Available")]
    message: String,
}

/// Whether a host label can be ordered
#[utoipa::path(get, operation_id = "check_subdomain", path = "/api/v1/instances/check-subdomain/{text}", tag = "instances",
    params(("text" = String, Path)), responses((status = 200, body = SubdomainCheck)))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathText(text): PathText,
) -> Result<Json<SubdomainCheck>, Problem> {
    check(&state, &call, text).await
}

/// The same for no text at all: with the slash at its end the path has no parameter.
pub(super) async fn empty(State(state): State<AppState>, call: Call) -> Result<Json<SubdomainCheck>, Problem> {
    check(&state, &call, String::new()).await
}

async fn check(state: &AppState, call: &Call, text: String) -> Result<Json<SubdomainCheck>, Problem> {
    if let Some(customer) = call.caller.customer() {
        state.public_door().count_check(customer, state.clock().now())?;
    }
    let (available, message) = match HostLabel::parse(&text, &state.policy().order.reserved_hosts) {
        Err(fault) => (false, fault.sentence("Subdomain")),
        Ok(label) if instances::host_taken(state.db(), &label).await? => (false, "Already taken".to_owned()),
        Ok(_) => (true, "Available".to_owned()),
    };
    Ok(Json(SubdomainCheck { subdomain: text, available, message }))
}
