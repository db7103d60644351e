//! `GET /api/v1/backups/{id}/export` (contract 16.4)

use super::backup_get::own;
use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::Call;
use crate::input::{PathId, RawQueryText};
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::transfer::{self, ArchiveBytes, Outgoing};
use axum::extract::State;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use db::platform::PlatformTx;
use db::platform::acceptance::{self, BackupExported, ExportBackup};
use db::platform::audit::AuditContext;
use db::platform::exports::{self, Ready};
use domain::backup::State as BackupState;
use domain::backup::transfer::Archive;
use domain::ids::BackupId;
use domain::times;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Seconds after which it is worth to ask again.
const AGAIN: u32 = 5;

/// An archive that is being made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExportQueued {
    /// The backup.
    backup_id: Uuid,
    /// Fixed.
    #[schema(example = "queued")]
    status: &'static str,
    /// Fixed.
    #[schema(example = "The archive is being made; the same call fetches it then")]
    message: &'static str,
    /// The operation that makes it.
    operation_id: Uuid,
    /// The same.
    job_id: Uuid,
    /// Why the last try came to nothing, if there was one.
    #[schema(required)]
    last_failure: Option<String>,
    /// When this was answered.
    #[serde(serialize_with = "times::serialize")]
    timestamp: DateTime<Utc>,
}

/// Export a backup
///
/// As a zip archive in Odoo's own format, which `odoo db load` and Odoo's database manager read. The first call has it made and answers 202; once it is made, the same call fetches it, in parts if asked (`Range`), until it expires. While one is made or kept no other is.
#[utoipa::path(get, operation_id = "export_backup", path = "/api/v1/backups/{id}/export", tag = "backups", params(
    ("id" = uuid::Uuid, Path),
    ("Range" = Option<String>, Header, description = "One part, in bytes"),
    ("If-Range" = Option<String>, Header, description = "The `ETag` of the archive of which a part is wanted; of another one all is sent"),
), responses(
    (status = 200, description = "The archive", content_type = "application/zip", body = ArchiveBytes, headers(
        ("ETag" = String, description = "Names the archive"),
        ("Content-Disposition" = String, description = "With the name of the backup"),
        ("Accept-Ranges" = String, description = "`bytes`"),
    )),
    (status = 202, description = "It is being made", body = ExportQueued, headers(("Retry-After" = u32, description = "Seconds after which it is worth to ask again"))),
    (status = 206, description = "The part of the archive that was asked for", content_type = "application/zip", body = ArchiveBytes),
    (status = 404, description = "No such backup, or it is not whole", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "Too many archives of this instance are made or kept; or the earlier service has taken this backup", body = ProblemBody, content_type = "application/problem+json"),
    (status = 416, description = "The archive has no such part", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<BackupId>,
    method: Method,
    headers: HeaderMap,
    query: RawQueryText,
) -> Result<Response, Problem> {
    let (backup, _) = own(&state, &call, id).await?;
    if backup.state != BackupState::Completed {
        return Err(Problem::no_backup());
    }
    let ready = exports::ready(state.db(), id).await?;
    if let Some(Ready { operation, archive }) = &ready
        && let Some(file) = Outgoing::open(&state, Archive::exported(*operation, archive.attempt), archive.bytes).await?
    {
        return file.answer(&headers, &backup.name).await;
    }
    // Whoever only looks changes nothing (RFC 9110, 9.2.1).
    if method == Method::HEAD {
        return Err(Problem::no_backup());
    }
    if backup.legacy.is_some() {
        let detail = "A backup of the earlier service cannot be exported: restore it, and export a new backup";
        return Err(Problem::conflict(detail));
    }
    // Nothing is made that nobody could fetch.
    transfer::directory(&state).await?;
    let request = ExportBackup { instance_id: backup.instance, backup: id, lost: ready.map(|ready| ready.operation) };
    let asked = Asked { call: &call, headers: &headers, body: &[], query: &query.0 };
    let mut answer = change::run(&state, &asked, &Export { state: &state, request }).await?;
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(AGAIN));
    Ok(answer)
}

struct Export<'a> {
    state: &'a AppState,
    request: ExportBackup,
}

impl Change for Export<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let (operation, last_failure) = match acceptance::export_backup(tx, self.request, self.state.entropy(), by).await? {
            BackupExported::UnderWay { operation, last_failure } => (operation, last_failure),
            // Made between two looks: the next call fetches it.
            BackupExported::Ready(operation) => (operation, None),
            BackupExported::NotFound => return Err(Problem::no_backup().into()),
            BackupExported::QueueFull => return Err(Problem::queue_full().into()),
            BackupExported::TooMany => {
                let detail = "Too many archives of this instance are kept at the moment; please try again when one has expired";
                return Err(Problem::conflict(detail).into());
            }
        };
        let body = ExportQueued {
            backup_id: self.request.backup.as_uuid(),
            status: "queued",
            message: "The archive is being made; the same call fetches it then",
            operation_id: operation.as_uuid(),
            job_id: operation.as_uuid(),
            last_failure,
            timestamp: self.state.clock().now(),
        };
        Answer::new(StatusCode::ACCEPTED, &body, Some(operation))
    }
}
