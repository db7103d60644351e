//! Requests that change something: one transaction, the `Idempotency-Key` in it, one retry when the row moved (contract 3.2).
//!
//! A handler describes what it wants as a [`Change`]; [`run`] does the rest. Neither holds a second connection.

use crate::conventions::Call;
use crate::problem::{PROBLEM_JSON, Problem};
use crate::state::AppState;
use axum::Json;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use db::platform::PlatformTx;
use db::platform::audit::AuditContext;
use db::platform::idempotency::{self, Begun};
use db::{DbError, DbResult};
use domain::ids::OperationId;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::borrow::Cow;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const KEY_LENGTH: usize = 255;

/// A successful answer before it is sent.
#[derive(Clone, Debug)]
pub struct Answer {
    status: StatusCode,
    body: Value,
    operation_id: Option<OperationId>,
}

impl Answer {
    /// An answer with this body; `operation_id` is the work it accepted.
    ///
    /// # Errors
    /// 500 when the body is no JSON.
    pub fn new(status: StatusCode, body: &impl Serialize, operation_id: Option<OperationId>) -> Result<Self, Failure> {
        let body = serde_json::to_value(body).map_err(Problem::fault)?;
        Ok(Self { status, body, operation_id })
    }
}

/// Why a change did not happen.
#[derive(Debug)]
pub enum Failure {
    /// Decided: the answer is this problem.
    Refused(Problem),
    /// The database failed, or the row moved while the request was being decided.
    Database(DbError),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

/// Something a request wants to change.
pub trait Change: Sync {
    /// Decides and writes, all in `tx`. May be called a second time, with a new transaction, when the row had moved.
    fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> impl Future<Output = Result<Answer, Failure>> + Send;
}

/// One request as the idempotency rules see it. Not to be printed: the body is in it.
pub struct Asked<'a> {
    /// The request.
    pub call: &'a Call,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body as it came.
    pub body: &'a [u8],
    /// Its query as it came: part of what is asked.
    pub query: &'a str,
}

impl Asked<'_> {
    fn audit(&self) -> AuditContext {
        self.call.audit()
    }
}

/// Carries a change out and answers.
///
/// # Errors
/// Whatever the change is refused for; 409 and 422 of the idempotency rules; 503 when postgres1 is not to be had.
pub async fn run(state: &AppState, asked: &Asked<'_>, change: &impl Change) -> Result<Response, Problem> {
    decide(state, asked, change).await.map(Decided::into_response)
}

/// What came of a change, before it is sent.
#[derive(Clone, Debug)]
pub struct Decided {
    status: StatusCode,
    body: Value,
    replayed: bool,
}

impl From<Answer> for Decided {
    fn from(answer: Answer) -> Self {
        Self { status: answer.status, body: answer.body, replayed: false }
    }
}

impl Decided {
    /// The body.
    pub const fn body(&self) -> &Value {
        &self.body
    }

    /// Whether it is the answer to an earlier request with the same key.
    pub const fn is_replayed(&self) -> bool {
        self.replayed
    }

    /// Another answer to the same request, for what has become of it since.
    ///
    /// # Errors
    /// 500 when the body is no JSON.
    pub fn instead(self, status: StatusCode, body: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self { status, body: serde_json::to_value(body).map_err(Problem::fault)?, ..self })
    }
}

impl IntoResponse for Decided {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if self.replayed {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        if self.status.is_client_error() {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        }
        response
    }
}

/// Carries a change out, and leaves the answering to the caller.
///
/// # Errors
/// As [`run`].
pub async fn decide(state: &AppState, asked: &Asked<'_>, change: &impl Change) -> Result<Decided, Problem> {
    let key = Key::read(asked)?;
    let attempts = async {
        match attempt(state, asked, key.as_ref(), change).await {
            Err(Failure::Database(DbError::Stale)) => attempt(state, asked, key.as_ref(), change).await,
            outcome => outcome,
        }
    };
    let Ok(outcome) = tokio::time::timeout(state.policy().change_limit, attempts).await else {
        return Err(Problem::unavailable("The request took too long"));
    };
    outcome.map_err(|failure| match failure {
        Failure::Refused(problem) => problem,
        Failure::Database(error) => problem_of(error),
    })
}

async fn attempt(state: &AppState, asked: &Asked<'_>, key: Option<&Key>, change: &impl Change) -> Result<Decided, Failure> {
    let mut tx = state.db().begin().await?;
    tx.wait_briefly().await?;
    let Some(key) = key else {
        let answer = change.decide(&mut tx, &asked.audit()).await?;
        tx.commit().await?;
        return Ok(answer.into());
    };
    if let Some(earlier) = key.begin(&mut tx).await? {
        tx.rollback().await?;
        return earlier.map_err(Failure::Refused);
    }
    tx.mark().await?;
    match change.decide(&mut tx, &asked.audit()).await {
        Ok(answer) => {
            key.store(&mut tx, answer.status, answer.body.clone(), answer.operation_id).await?;
            tx.commit().await?;
            Ok(answer.into())
        }
        Err(Failure::Refused(problem)) if !problem.status().is_server_error() => {
            // The refusal is the first answer and is kept like any other; what had been written for it is not.
            tx.roll_back_to_mark().await?;
            let body = problem.body(&asked.call.path, &asked.call.request_id);
            let body = serde_json::to_value(body).map_err(Problem::fault)?;
            key.store(&mut tx, problem.status(), body, None).await?;
            tx.commit().await?;
            Err(Failure::Refused(problem))
        }
        Err(failure) => {
            // The key is free again before this is answered, or decided once more.
            tx.rollback().await?;
            Err(failure)
        }
    }
}

/// Named constraints are the last word between two requests that were decided at once.
fn problem_of(error: DbError) -> Problem {
    let DbError::Constraint { constraint } = &error else { return error.into() };
    match constraint.as_str() {
        "instances_hostname_live" => Problem::conflict("This host name is already in use"),
        "instances_label_live" => Problem::rule("This database name already exists for this customer"),
        "instances_subscription_live" => Problem::conflict("This subscription already has an instance"),
        _ => error.into(),
    }
}

/// An `Idempotency-Key` with what it is scoped to.
struct Key {
    scope: String,
    key: String,
    body_hash: Vec<u8>,
}

impl Key {
    /// The key of a POST; other methods have none.
    fn read(asked: &Asked<'_>) -> Result<Option<Self>, Problem> {
        let Some(value) = asked.headers.get(&KEY).filter(|_| asked.call.method == Method::POST) else { return Ok(None) };
        let text = value.to_str().ok().filter(|text| (1..=KEY_LENGTH).contains(&text.len()));
        let text = text.filter(|text| text.bytes().all(|b| (b' '..=b'~').contains(&b)));
        let Some(key) = text else {
            let msg = "must be 1 to 255 printable characters";
            return Err(Problem::invalid_field("header", "Idempotency-Key", msg, "string_pattern_mismatch"));
        };
        let caller = &asked.call.caller;
        let scope = format!("{} {} {} {}", caller.door(), caller.actor(), asked.call.method, asked.call.plain_path);
        let body_hash =
            Sha256::new().chain_update(asked.query).chain_update([0]).chain_update(comparable(asked.body)).finalize().to_vec();
        Ok(Some(Self { scope, key: key.to_owned(), body_hash }))
    }

    /// The answer that is due without doing anything, if the key was seen before.
    async fn begin(&self, tx: &mut PlatformTx) -> DbResult<Option<Result<Decided, Problem>>> {
        Ok(match idempotency::begin(tx, &self.scope, &self.key, &self.body_hash).await? {
            Begun::Fresh => None,
            Begun::Replay { status, body } => Some(Ok(replay(status, body))),
            Begun::Mismatch => {
                let msg = "was used before with another request body";
                Some(Err(Problem::invalid_field("header", "Idempotency-Key", msg, "idempotency_mismatch")))
            }
            Begun::InProgress => Some(Err(Problem::conflict("The first request with this Idempotency-Key is still in progress"))),
        })
    }

    async fn store(
        &self,
        tx: &mut PlatformTx,
        status: StatusCode,
        body: Value,
        operation_id: Option<OperationId>,
    ) -> DbResult<()> {
        let answer = idempotency::Answer { status: status.as_u16(), body, operation_id };
        idempotency::store(tx, &self.scope, &self.key, &self.body_hash, &answer).await
    }
}

/// What is compared of a body: a password in it leaves not even a hash behind.
fn comparable(body: &[u8]) -> Cow<'_, [u8]> {
    let Ok(mut fields) = serde_json::from_slice::<Map<String, Value>>(body) else { return body.into() };
    match fields.remove("admin_password") {
        Some(_) => Value::Object(fields).to_string().into_bytes().into(),
        None => body.into(),
    }
}

fn replay(status: u16, body: Value) -> Decided {
    Decided { status: StatusCode::from_u16(status).unwrap_or(StatusCode::OK), body, replayed: true }
}
