//! The one place where an error answer is made: `application/problem+json` (contract 3.1).
//!
//! Handlers return a [`Problem`]; it travels as a response extension until [`finish`] writes the body with the request's
//! path and id. Anything that fails without a `Problem` (a rejection of the router, a panic) gets one by its status.

use crate::conventions::loggable;
use axum::body::Body;
use axum::http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use db::DbError;
use domain::problem::{FieldError, Refusal};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Content type of every error answer.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Seconds after which a client may try again when postgres1 was down or busy.
const RETRY_SECONDS: u32 = 2;

/// One field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldProblem {
    /// Where the field is: `body`, `query`, `path` or `header` first, then its name.
    #[schema(example = json!(["body", "cpu_limit"]))]
    pub loc: Vec<String>,
    /// What is wrong, without the field's name.
    #[schema(example = "must be at most 8")]
    pub msg: String,
    /// Machine-readable kind.
    #[serde(rename = "type")]
    #[schema(example = "less_than_equal")]
    pub kind: String,
}

impl FieldProblem {
    /// A problem with `field` of the part of the request called `part`.
    pub fn new(part: &str, field: &str, msg: impl Into<String>, kind: &str) -> Self {
        Self { loc: vec![part.to_owned(), field.to_owned()], msg: msg.into(), kind: kind.to_owned() }
    }

    fn sentence(&self) -> String {
        match self.loc.last() {
            Some(field) if self.loc.len() > 1 => format!("{field} {}", self.msg),
            _ => self.msg.clone(),
        }
    }
}

/// The body of an error answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// What kind of problem, as a path.
    #[serde(rename = "type")]
    #[schema(example = "/problems/validation")]
    pub kind: String,
    /// The kind in words; the same for every problem of the kind.
    #[schema(example = "Invalid request")]
    pub title: &'static str,
    /// The HTTP status.
    #[schema(example = 422)]
    pub status: u16,
    /// One plain sentence, fit to be shown to a customer.
    #[schema(example = "cpu_limit must be at most 8")]
    pub detail: String,
    /// Path of the request.
    #[schema(example = "/api/v1/instances/")]
    pub instance: String,
    /// Id of the request, also in our log.
    pub request_id: String,
    /// One entry for each wrong field, if fields are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
}

/// A request that is answered with an error.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    errors: Vec<FieldProblem>,
    retry_after: Option<u32>,
    /// For our log only.
    cause: Option<String>,
    /// Length of what has no such part.
    whole: Option<u64>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new(), retry_after: None, cause: None, whole: None }
    }

    /// 422: fields of the wrong form.
    pub fn invalid(errors: Vec<FieldProblem>) -> Self {
        let detail = errors.iter().map(FieldProblem::sentence).collect::<Vec<_>>().join("; ");
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    /// 422 for one field.
    pub fn invalid_field(part: &str, field: &str, msg: &str, kind: &str) -> Self {
        Self::invalid(vec![FieldProblem::new(part, field, msg, kind)])
    }

    /// 400: a rule of the house is broken.
    pub fn rule(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: no session that counts.
    pub fn not_signed_in() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Please log in")
    }

    /// 402: a payment is outstanding.
    pub fn unpaid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYMENT_REQUIRED, detail)
    }

    /// 403: not for this caller.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 404 for an unknown instance.
    pub fn no_instance() -> Self {
        Self::not_found("Instance not found")
    }

    /// 404: no such backup, or not one of this instance or caller.
    pub fn no_backup() -> Self {
        Self::not_found("Backup not found")
    }

    /// 409.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 409: a row of the earlier service.
    pub fn not_adopted() -> Self {
        Self::conflict("This instance has not been taken over from the earlier service yet")
    }

    /// 409: nothing is left of it, or soon.
    pub fn deleted() -> Self {
        Self::conflict("Instance has been deleted")
    }

    /// 409: too much is waiting already.
    pub fn queue_full() -> Self {
        Self::conflict("Too many operations are waiting for this instance; please try again later")
    }

    /// 413.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 416: something of this length has no such part.
    pub fn no_such_part(length: u64) -> Self {
        let detail = format!("There is no such part of a file of {length} bytes");
        Self { whole: Some(length), ..Self::new(StatusCode::RANGE_NOT_SATISFIABLE, detail) }
    }

    /// 501: a route of the contract that this build does not serve yet.
    pub fn not_built(what: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, format!("{what} is not available in this version of the service"))
    }

    /// 503 with `Retry-After`: something we depend on is down or busy.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(RETRY_SECONDS), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// 429 with `Retry-After`: too much at once.
    pub fn too_many(detail: impl Into<String>, retry_after: u32) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }

    /// With a cause for our log.
    #[must_use]
    pub fn because(self, cause: impl std::fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }

    /// 500: a fault of ours. The cause is logged and never shown.
    pub fn fault(cause: impl std::fmt::Display) -> Self {
        Self {
            cause: Some(cause.to_string()),
            ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "The service could not handle this request")
        }
    }

    /// The problem that a bare error status stands for.
    pub fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::not_found("Not Found"),
            StatusCode::METHOD_NOT_ALLOWED => Self::new(status, "Method Not Allowed"),
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(status, "The request body is larger than 1 MiB"),
            StatusCode::SERVICE_UNAVAILABLE => Self::unavailable("The service is not available at the moment"),
            status if status.is_server_error() => Self { status, ..Self::fault("an error without a cause") },
            status => Self::new(status, kind_of(status).1),
        }
    }

    /// The HTTP status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The body, for the request with this path and id.
    pub fn body(&self, path: &str, request_id: &str) -> ProblemBody {
        let (slug, title) = kind_of(self.status);
        ProblemBody {
            kind: format!("/problems/{slug}"),
            title,
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            instance: loggable(path).into_owned(),
            request_id: request_id.to_owned(),
            errors: self.errors.clone(),
        }
    }
}

const fn kind_of(status: StatusCode) -> (&'static str, &'static str) {
    match status.as_u16() {
        400 => ("rule", "Rule violated"),
        401 => ("not-signed-in", "Not signed in"),
        402 => ("payment-required", "Payment required"),
        403 => ("forbidden", "Not allowed for this caller"),
        404 => ("not-found", "Not found"),
        405 => ("method-not-allowed", "Method not allowed"),
        409 => ("conflict", "Conflict"),
        413 => ("too-large", "Request too large"),
        416 => ("no-such-part", "No such part"),
        422 => ("validation", "Invalid request"),
        429 => ("rate-limit", "Too many requests"),
        501 => ("not-built", "Not available"),
        503 => ("unavailable", "Temporarily unavailable"),
        500..=599 => ("internal", "Internal error"),
        _ => ("request", "Request refused"),
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Schema(errors) => Self::invalid(errors.into_iter().map(FieldProblem::from).collect()),
            Refusal::Rule(detail) => Self::rule(detail),
        }
    }
}

impl From<FieldError> for FieldProblem {
    fn from(error: FieldError) -> Self {
        Self::new("body", &error.field, error.msg, error.kind)
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        if error.is_unreachable() || error.is_lock_timeout() {
            return Self::unavailable("The service is not available at the moment").because(error);
        }
        match error {
            DbError::Stale => Self::conflict("The instance changed while the request was being decided; please try again"),
            error => Self::fault(error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> axum::response::Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives every error answer its body; leaves everything else alone.
pub fn finish(mut response: Response<Body>, path: &str, request_id: &str) -> Response<Body> {
    let status = response.status();
    // JSON comes from a handler that has said all there is to say; text comes from the router or a rejection.
    let said = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM_JSON || kind == "application/json");
    if said || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let problem = response.extensions_mut().remove::<Problem>().unwrap_or_else(|| Problem::of_status(status));
    log(&problem, path, request_id);
    // The body describes itself; what the refused answer said of its own body no longer holds.
    response.headers_mut().remove(axum::http::header::CONTENT_LENGTH);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = problem.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(length) = problem.whole
        && let Ok(range) = HeaderValue::from_str(&format!("bytes */{length}"))
    {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
    *response.body_mut() = Body::from(json_text(&problem.body(path, request_id)));
    response
}

fn json_text(body: &ProblemBody) -> String {
    // Strings and numbers only: this cannot fail, and an empty object would still be valid JSON.
    serde_json::to_value(body).unwrap_or_else(|_| Value::Object(serde_json::Map::new())).to_string()
}

fn log(problem: &Problem, path: &str, request_id: &str) {
    if problem.status.is_server_error() && problem.status != StatusCode::NOT_IMPLEMENTED {
        let cause = problem.cause.as_deref().unwrap_or(&problem.detail);
        let path = loggable(path);
        tracing::error!(status = problem.status.as_u16(), %path, request_id, cause, "request failed");
    }
}
