//! `GET /admin/failed-mails`

use crate::input::QueryText;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use db::platform::outbox::{self, DeadMail};
use domain::times;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Mails that were given up, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FailedMails {
    /// Those of this page.
    failed_mails: Vec<FailedMail>,
    /// How many there are in all.
    count: i64,
}

/// A mail that was given up after a day, or at once because its template is unknown.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FailedMail {
    /// Its id.
    id: Uuid,
    /// Name of its template.
    #[schema(example = "instance_ready")]
    template: String,
    /// The instance it is about.
    #[schema(required)]
    instance_id: Option<Uuid>,
    /// Who should have got it.
    customer_id: Uuid,
    /// The operation whose outcome it reports.
    operation_id: Uuid,
    /// How often it was tried.
    attempts: i32,
    /// Why the last attempt failed.
    #[schema(required)]
    last_error: Option<String>,
    /// Whether it can be sent after all: what it said may be erased.
    replayable: bool,
    /// When it was written.
    #[serde(serialize_with = "times::serialize")]
    created_at: DateTime<Utc>,
}

impl From<DeadMail> for FailedMail {
    fn from(mail: DeadMail) -> Self {
        Self {
            id: mail.id,
            template: mail.template,
            instance_id: mail.instance_id.map(|id| id.as_uuid()),
            customer_id: mail.customer_id.as_uuid(),
            operation_id: mail.operation_id.as_uuid(),
            attempts: mail.attempts,
            last_error: mail.last_error,
            replayable: mail.replayable,
            created_at: mail.created_at,
        }
    }
}

/// Mails that were given up, newest first
#[utoipa::path(get, operation_id = "list_failed_mails", path = "/admin/failed-mails", tag = "administration", params(
    ("page" = Option<i64>, Query, minimum = 1),
    ("page_size" = Option<i64>, Query, minimum = 1, maximum = 100),
), responses(
    (status = 200, body = FailedMails),
    (status = 422, description = "A query value of the wrong form", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(State(state): State<AppState>, mut query: QueryText) -> Result<Json<FailedMails>, Problem> {
    let page = query.page();
    query.finish()?;
    let (mails, count) = outbox::dead(state.db(), page.offset(), i64::from(page.size)).await?;
    Ok(Json(FailedMails { failed_mails: mails.into_iter().map(FailedMail::from).collect(), count }))
}
