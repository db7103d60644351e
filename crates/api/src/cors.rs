//! CORS headers: on every answer, whoever made it (contract 3).
//!
//! No cookie is ever read, so allowing credentials gives nothing away; it lets browsers send `Authorization`. The list of origins
//! is another matter: a page whose origin is allowed may make every call that needs no token, from within the network of the
//! browser it is open in.

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use axum::http::{Response, StatusCode};
use bootstrap::settings::CorsOrigins;

const METHODS: HeaderValue = HeaderValue::from_static("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");
const HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, idempotency-key, last-event-id, x-request-id");
const EXPOSED: HeaderValue = HeaderValue::from_static("X-Request-Id, Retry-After, Idempotency-Replayed");
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

fn allows(origins: &CorsOrigins, origin: &HeaderValue) -> bool {
    match origins {
        CorsOrigins::Any => true,
        CorsOrigins::Only(list) => origin.to_str().is_ok_and(|origin| list.iter().any(|allowed| allowed == origin)),
    }
}

/// The answer to `OPTIONS` on any path; its CORS headers are completed by [`decorate`].
pub fn preflight(request: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    let named = request.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|value| !value.as_bytes().trim_ascii().is_empty());
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, named.cloned().unwrap_or(HEADERS));
    response
}

/// Puts the CORS headers on an answer.
pub fn decorate(answer: &mut HeaderMap, origins: &CorsOrigins, request: &HeaderMap) {
    answer.append(VARY, HeaderValue::from_name(ORIGIN));
    answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    if let Some(origin) = request.get(ORIGIN).filter(|origin| allows(origins, origin)) {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}
