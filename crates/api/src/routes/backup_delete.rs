//! `DELETE /api/v1/backups/{id}` (contract 16.4)

use super::backup_get::own;
use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::Call;
use crate::input::PathId;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use db::platform::PlatformTx;
use db::platform::acceptance::{self, BackupDeleted};
use db::platform::audit::AuditContext;
use db::platform::backups::Backup;
use domain::ids::BackupId;
use domain::times;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A backup that is to go.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BackupGoes {
    /// The backup.
    backup_id: Uuid,
    /// Fixed.
    #[schema(example = "success")]
    status: &'static str,
    /// Fixed.
    #[schema(example = "Backup deletion started")]
    message: &'static str,
    /// The operation that removes it from the store; null when too much is waiting, and then a later one does.
    #[schema(required)]
    job_id: Option<Uuid>,
    /// When this was answered.
    #[serde(serialize_with = "times::serialize")]
    timestamp: DateTime<Utc>,
}

/// Delete a backup
///
/// Nobody lists or restores it from now on.
#[utoipa::path(delete, operation_id = "delete_backup", path = "/api/v1/backups/{id}", tag = "backups", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = BackupGoes),
    (status = 400, description = "It is being taken", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "Backup not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "The last whole backup of its instance, or something reads it", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<BackupId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (backup, _) = own(&state, &call, id).await?;
    let asked = Asked { call: &call, headers: &headers, body: &[], query: "" };
    change::run(&state, &asked, &Removal { state: &state, backup }).await
}

struct Removal<'a> {
    state: &'a AppState,
    backup: Backup,
}

impl Change for Removal<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let operation = match acceptance::delete_backup(tx, &self.backup, self.state.entropy(), by).await? {
            BackupDeleted::Accepted(operation) => operation,
            BackupDeleted::NotFound => return Err(Problem::no_backup().into()),
            BackupDeleted::BeingTaken => return Err(Problem::rule("This backup is being taken").into()),
            BackupDeleted::BeingRead => {
                return Err(Problem::conflict("Something reads this backup; please try again later").into());
            }
            BackupDeleted::LastWhole => {
                return Err(Problem::conflict("This is the last backup of its instance; take another one first").into());
            }
        };
        let body = BackupGoes {
            backup_id: self.backup.id.as_uuid(),
            status: "success",
            message: "Backup deletion started",
            job_id: operation.map(|id| id.as_uuid()),
            timestamp: self.state.clock().now(),
        };
        Answer::new(StatusCode::OK, &body, operation)
    }
}
