//! `POST /api/v1/instances/{id}/import` (contract 16.4)

use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::{BODY_LIMIT, Call};
use crate::fields::Fields;
use crate::foreign;
use crate::input::{PathId, QueryText, RawQueryText};
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use crate::transfer::{ArchiveBytes, Incoming};
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest as _, Multipart, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use db::platform::PlatformTx;
use db::platform::acceptance::{self, BackupImported, ImportBackup};
use db::platform::audit::AuditContext;
use db::platform::instances;
use domain::backup::LONGEST_NAME;
use domain::backup::transfer::Archive;
use domain::ids::{InstanceId, OperationId};
use domain::sources::random_uuid;
use domain::times;
use futures::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::yield_now;
use utoipa::ToSchema;
use uuid::Uuid;

/// How long the next piece of an upload is waited for.
const SILENCE: Duration = Duration::from_secs(60);
/// Most that a form may have before its file: it is kept in memory until it has an end. Some pieces as they come from a connection.
const HEAD: u64 = 1 << 20;

/// From where an archive is fetched.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ImportSource, example = json!({"url": "https://files.example/shop.zip"}))]
#[expect(dead_code, reason = "bodies are read field by field, so that every refusal names its field")]
pub(super) struct SourceBody {
    /// By `https`, from a host that the configuration allows.
    url: String,
}

/// A form with an archive in it.
#[derive(Debug, ToSchema)]
#[schema(as = ImportForm)]
#[expect(dead_code, reason = "for the description: the form is read as it comes")]
pub(super) struct FormBody {
    /// The first field with a file name counts, whatever it is called.
    file: ArchiveBytes,
}

/// An archive that came in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ImportQueued {
    /// The instance.
    instance_id: Uuid,
    /// Fixed.
    #[schema(example = "queued")]
    status: &'static str,
    /// Fixed.
    #[schema(example = "Import queued for processing")]
    message: &'static str,
    /// The operation that makes a backup of it; the backup's id is in its result.
    job_id: Uuid,
    /// Length of the archive in bytes.
    bytes: u64,
    /// When this was answered.
    #[serde(serialize_with = "times::serialize")]
    timestamp: DateTime<Utc>,
}

/// Import an archive
///
/// A zip archive in Odoo's own format (`odoo db dump`, Odoo's database manager, or our own export) becomes a backup of this instance, from which it can be restored; nothing of the instance changes. The archive is the body itself (`application/zip`), the first file of a form (`multipart/form-data`), or is fetched (`application/json`). It is looked through by the operation, which fails with a clear word for anything else than an Odoo of the instance's version.
#[utoipa::path(post, operation_id = "import_instance", path = "/api/v1/instances/{id}/import", tag = "backups", params(
    ("id" = uuid::Uuid, Path),
    ("label" = Option<String>, Query, description = "What the backup shall be called, at most 100 characters"),
    ("Idempotency-Key" = Option<String>, Header),
), request_body(content(
    (ArchiveBytes = "application/zip"),
    (FormBody = "multipart/form-data"),
    (SourceBody = "application/json"),
)), responses(
    (status = 200, body = ImportQueued),
    (status = 400, description = "The instance has no database yet, is suspended or out of service; or nothing may be fetched from there, or could be", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "Instance not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "Too much is waiting for this instance, or it is not taken over yet", body = ProblemBody, content_type = "application/problem+json"),
    (status = 413, description = "The archive is larger than BACKUP_IMPORT_MAX_MIB", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id, no archive in the body, or a label that is too long", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<InstanceId>,
    raw_query: RawQueryText,
    mut query: QueryText,
    request: Request,
) -> Result<Response, Problem> {
    let label = query.parsed("label", &format!("must have at most {LONGEST_NAME} characters"), "string_too_long", |text| {
        (text.chars().count() <= LONGEST_NAME && !text.contains('\0')).then(|| text.to_owned())
    });
    query.finish()?;
    let instance = call.caller.own(instances::get(state.db(), id).await?)?;
    // Before anything is sent in vain; asked again when it counts.
    if let Some(why) = acceptance::cannot_import(&instance) {
        refused(&why)?;
    }
    let headers = request.headers().clone();
    let operation = OperationId::from_uuid(random_uuid(state.entropy()));
    let incoming = receive(&state, Archive::imported(operation), request).await?;
    let mut incoming = incoming.ok_or_else(|| Problem::invalid_field("body", "file", "is required", "missing"))?;
    let (bytes, sum) = incoming.end().await?;
    let request = ImportBackup { instance_id: id, operation, bytes, label };
    let asked = Asked { call: &call, headers: &headers, body: sum.as_bytes(), query: &raw_query.0 };
    // From here on a worker may read it. Where nobody hears how this ends, it stays, and goes an hour later.
    incoming.hand_over();
    let decided = change::decide(&state, &asked, &Import { state: &state, request }).await;
    let is_not_asked_for = match &decided {
        Ok(decided) => decided.is_replayed(),
        Err(refusal) => !refusal.status().is_server_error(),
    };
    if is_not_asked_for {
        incoming.take_back();
    }
    Ok(decided?.into_response())
}

/// Takes the archive in, whichever way it comes; none where a form has none.
async fn receive(state: &AppState, archive: Archive, request: Request) -> Result<Option<Incoming>, Problem> {
    let kind = kind_of(request.headers());
    match kind.as_str() {
        "multipart/form-data" => {
            // What came since the file began was part of it.
            let head = Arc::new(AtomicU64::new(0));
            let mut form = Multipart::from_request(bounded(request, &head), &()).await.map_err(|_| not_in_full())?;
            while let Some(mut field) = in_time(form.next_field()).await?.map_err(|_| not_in_full())? {
                if field.file_name().is_none() {
                    continue;
                }
                let mut incoming = Incoming::begin(state, archive).await?;
                while let Some(piece) = in_time(field.chunk()).await?.map_err(|_| not_in_full())? {
                    head.store(0, Ordering::Relaxed);
                    incoming.write(&piece).await?;
                }
                return Ok(Some(incoming));
            }
            Ok(None)
        }
        "application/zip" | "application/x-zip-compressed" | "application/octet-stream" => {
            let mut incoming = Incoming::begin(state, archive).await?;
            let mut body = request.into_body().into_data_stream();
            while let Some(piece) = in_time(body.next()).await? {
                incoming.write(&piece.map_err(|_| not_in_full())?).await?;
            }
            Ok(Some(incoming))
        }
        "application/json" | "" => {
            let url = url(request.into_body()).await?;
            let mut incoming = Incoming::begin(state, archive).await?;
            foreign::fetch(&state.policy().transfer.hosts, &url, &mut incoming).await?;
            Ok(Some(incoming))
        }
        _ => Err(Problem::invalid_field(
            "header",
            "Content-Type",
            "must be application/zip, multipart/form-data or application/json",
            "value_error",
        )),
    }
}

/// The request, whose body breaks off when more than [`HEAD`] has come since `head` was last set to nothing.
fn bounded(request: Request, head: &Arc<AtomicU64>) -> Request {
    let head = head.clone();
    request.map(|body| {
        let pieces = stream::unfold((body.into_data_stream(), head, false), async |(mut pieces, head, is_next)| {
            // One at a time: a form takes whatever has come. And no end together with what is before it, which it would take for all there is.
            if is_next {
                yield_now().await;
            }
            let piece = pieces.next().await?;
            let length = piece.as_ref().map_or(0, |piece| piece.len() as u64);
            let piece = match head.fetch_add(length, Ordering::Relaxed) {
                0..=HEAD => piece,
                _ => Err(axum::Error::new("a form with too much before its file")),
            };
            Some((piece, (pieces, head, true)))
        });
        Body::from_stream(pieces)
    })
}

fn kind_of(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

async fn in_time<T>(piece: impl Future<Output = T>) -> Result<T, Problem> {
    tokio::time::timeout(SILENCE, piece).await.map_err(|_| not_in_full())
}

fn not_in_full() -> Problem {
    Problem::rule("The archive did not arrive in full")
}

async fn url(body: Body) -> Result<String, Problem> {
    let bytes = in_time(to_bytes(body, BODY_LIMIT)).await?.map_err(|_| Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE))?;
    let mut fields = Fields::of(crate::input::RawBody(bytes).object(false)?);
    fields.require("url");
    let url = fields.text("url");
    fields.finish()?;
    Ok(url.unwrap_or_default())
}

fn refused(why: &BackupImported) -> Result<(), Problem> {
    match why {
        BackupImported::Queued => Ok(()),
        BackupImported::NotFound => Err(Problem::no_instance()),
        BackupImported::NotAdopted => Err(Problem::not_adopted()),
        BackupImported::QueueFull => Err(Problem::queue_full()),
        BackupImported::CannotLoad(status) => {
            Err(Problem::rule(format!("Nothing can be imported into an instance that is {status}")))
        }
    }
}

struct Import<'a> {
    state: &'a AppState,
    request: ImportBackup,
}

impl Change for Import<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        refused(&acceptance::import_backup(tx, self.request.clone(), by).await?)?;
        let ImportBackup { instance_id, operation, bytes, .. } = &self.request;
        let body = ImportQueued {
            instance_id: instance_id.as_uuid(),
            status: "queued",
            message: "Import queued for processing",
            job_id: operation.as_uuid(),
            bytes: *bytes,
            timestamp: self.state.clock().now(),
        };
        Answer::new(StatusCode::OK, &body, Some(*operation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;
    use std::io;

    const PIECE: usize = 100_000;

    fn form(head: &[u8], pieces: usize) -> Request {
        let head = [b"--edge\r\ncontent-disposition: form-data; name=\"f\"; filename=\"f\"\r\n", head].concat();
        let content = std::iter::repeat_n(Bytes::from(vec![b'x'; PIECE]), pieces);
        let parts = std::iter::once(head.into()).chain(content).chain([Bytes::from("\r\n--edge--\r\n")]);
        let body = Body::from_stream(stream::iter(parts.map(Ok::<_, io::Error>)));
        Request::builder().header(CONTENT_TYPE, "multipart/form-data; boundary=edge").body(body).unwrap()
    }

    async fn length(request: Request) -> Result<usize, Problem> {
        let (head, mut length) = (Arc::new(AtomicU64::new(0)), 0);
        let mut form = Multipart::from_request(bounded(request, &head), &()).await.unwrap();
        let mut field = form.next_field().await.map_err(|_| not_in_full())?.unwrap();
        while let Some(piece) = field.chunk().await.map_err(|_| not_in_full())? {
            head.store(0, Ordering::Relaxed);
            length += piece.len();
        }
        Ok(length)
    }

    #[tokio::test]
    async fn a_file_in_a_form_may_be_long_and_what_is_before_it_may_not() {
        assert_eq!(length(form(b"\r\n", 15)).await.unwrap(), 15 * PIECE);
        assert_eq!(length(form(b"\r\n", 0)).await.unwrap(), 0);
        // Its head has no end.
        assert!(length(form(b"x: ", 15)).await.is_err());
    }
}
