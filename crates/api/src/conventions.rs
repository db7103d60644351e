//! What every answer has in common (contract 3): request id, CORS, problem format, time limit, body limit, caught
//! panics, both spellings of a path, the two doors. Wrapped around the router, so that it holds for unknown paths, too.

use crate::caller::Caller;
use crate::cors;
use crate::doors::{self, Listener, PlainPath};
use crate::problem::{self, Problem};
use crate::public_door::Admitted;
use crate::state::{AppState, Policy};
use crate::transfer;
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use bootstrap::settings::AuthMode;
use db::platform::audit::AuditContext;
use domain::sources::{Entropy, random_uuid};
use futures::FutureExt;
use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::time::Instant;
use tracing::Instrument;

/// Largest request body, but for archives.
pub const BODY_LIMIT: usize = 1024 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_LENGTH: usize = 64;

/// What a handler may want to know of the request beyond its body.
#[derive(Clone, Debug)]
pub struct Call {
    /// Taken over from the caller, or made.
    pub request_id: String,
    /// The path as it was asked for.
    pub path: String,
    /// The path that was routed: the same for both spellings.
    pub plain_path: String,
    /// The method.
    pub method: Method,
    /// Who calls.
    pub caller: Caller,
}

impl Call {
    /// For the audit trail and for operations.
    pub fn audit(&self) -> AuditContext {
        AuditContext { door: self.caller.door(), actor: self.caller.actor(), request_id: Some(self.request_id.clone()) }
    }
}

impl<S: Sync> FromRequestParts<S> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::fault("a route outside the conventions"))
    }
}

#[derive(Clone)]
struct Surroundings {
    state: AppState,
    listener: Listener,
}

/// Wraps a router into the conventions, for requests that arrive at `listener`.
pub fn wrap(state: &AppState, listener: Listener, routes: Router) -> Router {
    let surroundings = Surroundings { state: state.clone(), listener };
    // A fallback service sees every request before any path is matched.
    let inner = tower::ServiceBuilder::new().layer(from_fn_with_state(surroundings, surround)).service(routes);
    Router::new().fallback_service(inner)
}

async fn surround(State(around): State<Surroundings>, request: Request, next: Next) -> Response<Body> {
    let origin_headers = request.headers().clone();
    let path = request.uri().path().to_owned();
    let request_id = request_id(&origin_headers, around.state.entropy());
    let span = tracing::info_span!("http", request_id, method = %request.method(), path = %loggable(&path));
    let (method, start) = (request.method().clone(), Instant::now());
    let answer = if method == Method::OPTIONS {
        cors::preflight(&origin_headers)
    } else {
        guarded(&around, request, next, &path, &request_id).instrument(span.clone()).await
    };
    let took = start.elapsed();
    around.state.measures().count(&method, &answer, took);
    span.in_scope(|| tracing::info!(status = answer.status().as_u16(), took_ms = took.as_millis() as u64, "answered"));
    let mut answer = problem::finish(answer, &path, &request_id);
    cors::decorate(answer.headers_mut(), &around.state.policy().cors, &origin_headers);
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        answer.headers_mut().insert(REQUEST_ID, value);
    }
    answer
}

/// Admits, limits in time and catches panics.
async fn guarded(around: &Surroundings, request: Request, next: Next, path: &str, request_id: &str) -> Response<Body> {
    let policy = around.state.policy();
    let limit = if brings_archive(request.method(), path) { policy.upload_limit } else { policy.request_limit };
    let work = async {
        match admit(around, request, path, request_id).await {
            Ok(request) => next.run(request).await,
            Err(problem) => problem.into_response(),
        }
    };
    let work = AssertUnwindSafe(work).catch_unwind();
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(answer)) => answer,
        // The panic hook has logged what and where; the payload may hold anything and is not repeated.
        Ok(Err(_)) => Problem::fault("a handler panicked").into_response(),
        Err(_) => Problem::unavailable("The request took too long").into_response(),
    }
}

/// By which door, and who. In mode `off` nothing is checked, and everybody is one of us.
async fn caller(around: &Surroundings, method: &Method, headers: &HeaderMap, path: &PlainPath<'_>) -> Result<Caller, Problem> {
    let (state, policy) = (&around.state, around.state.policy());
    let is_public = doors::is_public(around.listener, headers, path.prefixed);
    if !is_public || policy.internal_door.mode == AuthMode::Off {
        policy.internal_door.admit(path.path, headers)?;
        return Ok(Caller::Internal);
    }
    match state.public_door().admit(method, path.path, headers, state.clock().now()).await? {
        Admitted::Customer(customer) => Ok(Caller::Customer(customer)),
        // What needs no session asks for no caller.
        Admitted::Anybody => Ok(Caller::Internal),
    }
}

async fn admit(around: &Surroundings, mut request: Request, path: &str, request_id: &str) -> Result<Request, Problem> {
    let plain = doors::plain_path(path);
    let caller = caller(around, request.method(), request.headers(), &plain).await?;
    may_be_so_long(around.state.policy(), &request, path)?;
    let call = Call {
        request_id: request_id.to_owned(),
        path: path.to_owned(),
        plain_path: plain.path.to_owned(),
        method: request.method().clone(),
        caller,
    };
    if plain.path != path {
        *request.uri_mut() = with_path(request.uri(), plain.path)?;
    }
    request.extensions_mut().insert(call);
    Ok(request)
}

/// The one call whose body is a file, which is written to disk as it comes.
fn brings_archive(method: &Method, path: &str) -> bool {
    let path = doors::plain_path(path);
    *method == Method::POST && path.path.starts_with("/api/v1/instances/") && path.path.ends_with("/import")
}

/// Refuses a body that says that it is too long.
fn may_be_so_long(policy: &Policy, request: &Request, path: &str) -> Result<(), Problem> {
    let Some(length) = announced_length(request.headers()) else { return Ok(()) };
    if brings_archive(request.method(), path) {
        // A form has words around its file.
        let most = policy.transfer.largest;
        return if length > most.saturating_add(BODY_LIMIT as u64) { Err(transfer::too_large(most)) } else { Ok(()) };
    }
    if length > BODY_LIMIT as u64 { Err(Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE)) } else { Ok(()) }
}

fn with_path(uri: &Uri, path: &str) -> Result<Uri, Problem> {
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    text.parse().map_err(|_| Problem::of_status(StatusCode::NOT_FOUND))
}

/// The path as the log and an error answer may have it: the billing webhook carries its secret there.
pub(crate) fn loggable(path: &str) -> Cow<'_, str> {
    const WEBHOOK: &str = "/webhooks/killbill/";
    match path.find(WEBHOOK) {
        Some(at) => Cow::Owned(format!("{}***", &path[..at + WEBHOOK.len()])),
        None => Cow::Borrowed(path),
    }
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn request_id(headers: &HeaderMap, entropy: &dyn Entropy) -> String {
    let given = headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|text| is_safe_id(text));
    given.map_or_else(|| random_uuid(entropy).to_string(), str::to_owned)
}

fn is_safe_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= REQUEST_ID_LENGTH && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_of_the_webhook_is_not_logged() {
        assert_eq!(loggable("/instance/webhooks/killbill/s3cret/"), "/instance/webhooks/killbill/***");
        assert_eq!(loggable("/api/v1/instances/"), "/api/v1/instances/");
    }
}
