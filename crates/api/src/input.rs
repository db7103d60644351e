//! Reads what a request carries: path parameters, query, JSON body. Every refusal names the field (contract 3.1).

use crate::problem::{FieldProblem, Problem};
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::convert::Infallible;
use std::str::FromStr;

/// Far beyond any list, and small enough that an offset made of it never overflows.
const MOST_PAGES: u32 = 1_000_000_000;

/// The only path parameter of a route, as text.
#[derive(Debug)]
pub(crate) struct PathText(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let decoded = RawPathParams::from_request_parts(parts, state).await.ok();
        let text = decoded.as_ref().and_then(|params| params.iter().last()).map(|(_, value)| value.to_owned());
        // Not text once decoded: shown as it was sent.
        Ok(Self(text.unwrap_or_else(|| parts.uri.path().rsplit('/').next().unwrap_or_default().to_owned())))
    }
}

/// The only path parameter of a route, as an id of type `T`.
#[derive(Debug)]
pub(crate) struct PathId<T>(pub T);

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let first = params.as_ref().ok().and_then(|params| params.iter().next());
        let name = first.map_or("id", |(name, _)| name);
        first.and_then(|(_, value)| value.parse().ok()).map(Self).ok_or_else(|| malformed_id("path", name))
    }
}

fn malformed_id(part: &str, name: &str) -> Problem {
    Problem::invalid_field(part, name, "must be a UUID", "uuid_parsing")
}

/// The query, by name; of a repeated name the last one counts. Problems are gathered until [`QueryText::finish`].
#[derive(Debug)]
pub(crate) struct QueryText {
    values: HashMap<String, String>,
    problems: Vec<FieldProblem>,
}

impl<S: Send + Sync> FromRequestParts<S> for QueryText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Problem::invalid_field("query", "query", "cannot be read", "query_parsing"))?;
        Ok(Self { values: pairs.0.into_iter().collect(), problems: Vec::new() })
    }
}

impl QueryText {
    /// The text of `name`; absent and empty are the same.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A value that `parse` understands.
    pub(crate) fn parsed<T>(&mut self, name: &str, msg: &str, kind: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?.to_owned();
        let value = parse(&text);
        if value.is_none() {
            self.problems.push(FieldProblem::new("query", name, msg, kind));
        }
        value
    }

    /// An id.
    pub(crate) fn id<T: FromStr>(&mut self, name: &str) -> Option<T> {
        self.parsed(name, "must be a UUID", "uuid_parsing", |text| text.parse().ok())
    }

    /// A whole number within limits, or `default`.
    pub(crate) fn number(&mut self, name: &str, limits: std::ops::RangeInclusive<u32>, default: u32) -> u32 {
        let Some(value) = self.parsed(name, "must be a whole number", "int_parsing", |text| text.parse::<i64>().ok()) else {
            return default;
        };
        if value < i64::from(*limits.start()) {
            let msg = format!("must be at least {}", limits.start());
            self.problems.push(FieldProblem::new("query", name, msg, "greater_than_equal"));
        } else if value > i64::from(*limits.end()) {
            let msg = format!("must be at most {}", limits.end());
            self.problems.push(FieldProblem::new("query", name, msg, "less_than_equal"));
        }
        u32::try_from(value).unwrap_or(default)
    }

    /// A switch, off unless named.
    pub(crate) fn switch(&mut self, name: &str) -> bool {
        self.parsed(name, "must be true or false", "bool_parsing", |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        })
        .unwrap_or(false)
    }

    /// Which page, and how long it is; long enough by default for clients that never turn pages.
    pub(crate) fn page(&mut self) -> Page {
        Page { number: self.number("page", 1..=MOST_PAGES, 1), size: self.number("page_size", 1..=100, 100) }
    }

    /// The same for lists whose readers want all of it.
    pub(crate) fn long_page(&mut self) -> Page {
        Page { number: self.number("page", 1..=MOST_PAGES, 1), size: self.number("page_size", 1..=1000, 1000) }
    }

    /// Ends reading.
    ///
    /// # Errors
    /// 422 with every problem that was found.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        if self.problems.is_empty() { Ok(()) } else { Err(Problem::invalid(self.problems)) }
    }
}

/// The query as it came.
#[derive(Debug)]
pub(crate) struct RawQueryText(pub String);

impl<S: Send + Sync> FromRequestParts<S> for RawQueryText {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.uri.query().unwrap_or_default().to_owned()))
    }
}

/// A page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// From 1.
    pub number: u32,
    /// Most entries on it.
    pub size: u32,
}

impl Page {
    /// How many entries are on earlier pages.
    pub(crate) const fn offset(self) -> i64 {
        (self.number as i64 - 1) * self.size as i64
    }
}

/// The bytes of the body, whatever type it claims to have. Not to be printed: there may be a password in it.
pub(crate) struct RawBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state).await;
        body.map(Self).map_err(|rejection| match rejection.status() {
            status @ StatusCode::PAYLOAD_TOO_LARGE => Problem::of_status(status),
            _ => Problem::rule("The request body did not arrive in full"),
        })
    }
}

impl RawBody {
    /// The JSON object in the body; an empty body is an empty object where `may_be_empty`.
    ///
    /// # Errors
    /// 422 when there is no JSON object.
    pub(crate) fn object(&self, may_be_empty: bool) -> Result<Map<String, Value>, Problem> {
        if may_be_empty && self.0.trim_ascii().is_empty() {
            return Ok(Map::new());
        }
        let value = serde_json::from_slice(&self.0).map_err(|_| whole_body("is not valid JSON", "json_invalid"))?;
        match value {
            Value::Null if may_be_empty => Ok(Map::new()),
            Value::Object(fields) => Ok(fields),
            _ => Err(whole_body("must be a JSON object", "object_type")),
        }
    }
}

fn whole_body(msg: &str, kind: &str) -> Problem {
    Problem::invalid(vec![FieldProblem {
        loc: vec!["body".to_owned()],
        msg: format!("The request body {msg}"),
        kind: kind.to_owned(),
    }])
}
