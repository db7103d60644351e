//! `GET /docs`: a page to read and try the API, served from the binary.
//!
//! The page's own router would redirect to a trailing slash, and this service never redirects: the page names its base
//! instead, so that its relative links work under both spellings.

use crate::input::PathText;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use std::borrow::Cow;
use std::sync::Arc;
use utoipa_swagger_ui::Config;

/// A page to read and try this API
#[utoipa::path(get, operation_id = "get_docs", path = "/docs", tag = "service", responses((status = 200, description = "HTML", content_type = "text/html")))]
pub(super) async fn page() -> Result<Response, Problem> {
    file("index.html")
}

/// The page's scripts and styles; not part of the described API.
pub(super) async fn asset(PathText(name): PathText) -> Result<Response, Problem> {
    file(&name)
}

fn file(name: &str) -> Result<Response, Problem> {
    let found = utoipa_swagger_ui::serve(name, Arc::new(Config::from("/openapi.json"))).map_err(Problem::fault)?;
    let Some(found) = found else { return Err(Problem::of_status(StatusCode::NOT_FOUND)) };
    let bytes = if name == "index.html" { with_base(&found.bytes) } else { found.bytes };
    Ok(([(CONTENT_TYPE, found.content_type)], bytes.into_owned()).into_response())
}

fn with_base(html: &[u8]) -> Cow<'static, [u8]> {
    let html = String::from_utf8_lossy(html).replacen("<head>", "<head>\n    <base href=\"/docs/\" />", 1);
    Cow::Owned(html.into_bytes())
}
