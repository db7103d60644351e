//! `POST /api/v1/backups/{id}/verify` (contract 16.4)

use super::backup_get::own;
use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::Call;
use crate::fields::Fields;
use crate::input::{PathId, RawBody, RawQueryText};
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use db::platform::PlatformTx;
use db::platform::acceptance::{self, BackupVerified, VerifyBackup};
use db::platform::audit::AuditContext;
use domain::ids::BackupId;
use domain::times;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// How it is checked.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BackupCheck, example = json!({"restore": true}))]
#[expect(dead_code, reason = "bodies are read field by field, so that every refusal names its field")]
pub(super) struct CheckBody {
    /// Load it into a database of its own for a moment, beside comparing all checksums.
    restore: Option<bool>,
}

/// A check that was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CheckQueued {
    /// The backup.
    backup_id: Uuid,
    /// Fixed.
    #[schema(example = "queued")]
    status: &'static str,
    /// Fixed.
    #[schema(example = "Backup verification queued for processing")]
    message: &'static str,
    /// The operation that does it.
    job_id: Uuid,
    /// When this was answered.
    #[serde(serialize_with = "times::serialize")]
    timestamp: DateTime<Utc>,
}

/// Check a backup
///
/// All checksums are compared; with `restore`, the backup is loaded into a database of its own, looked at, and dropped again. The check gives way to whatever is asked of the instance meanwhile. A backup that is found damaged is `failed` until a check finds it whole.
#[utoipa::path(post, operation_id = "verify_backup", path = "/api/v1/backups/{id}/verify", tag = "backups", request_body = Option<CheckBody>, params(
    ("id" = uuid::Uuid, Path),
    ("Idempotency-Key" = Option<String>, Header),
), responses(
    (status = 200, body = CheckQueued),
    (status = 400, description = "The instance is suspended or out of service, and nothing can be loaded for it", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "No such backup, or it was never whole", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "Too much is waiting for this instance", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id or body", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<BackupId>,
    headers: HeaderMap,
    query: RawQueryText,
    body: RawBody,
) -> Result<Response, Problem> {
    let mut fields = Fields::of(body.object(true)?);
    let restore = fields.switch("restore").unwrap_or(false);
    fields.finish()?;
    let (backup, _) = own(&state, &call, id).await?;
    let request = VerifyBackup { instance_id: backup.instance, backup: id, restore };
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &query.0 };
    change::run(&state, &asked, &Check { state: &state, request }).await
}

struct Check<'a> {
    state: &'a AppState,
    request: VerifyBackup,
}

impl Change for Check<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let operation = match acceptance::verify_backup(tx, self.request, self.state.entropy(), by).await? {
            BackupVerified::Queued(operation) => operation,
            BackupVerified::NotFound => return Err(Problem::no_backup().into()),
            BackupVerified::CannotLoad(status) => {
                let detail = format!("A backup of an instance that is {status} cannot be loaded; its checksums can be compared");
                return Err(Problem::rule(detail).into());
            }
            BackupVerified::QueueFull => return Err(Problem::queue_full().into()),
        };
        let body = CheckQueued {
            backup_id: self.request.backup.as_uuid(),
            status: "queued",
            message: "Backup verification queued for processing",
            job_id: operation.as_uuid(),
            timestamp: self.state.clock().now(),
        };
        Answer::new(StatusCode::OK, &body, Some(operation))
    }
}
