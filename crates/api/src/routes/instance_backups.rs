//! `GET /api/v1/instances/{id}/backups` (contract 4.3)

use super::backup_get::is_hidden;
use crate::conventions::Call;
use crate::input::PathId;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use db::platform::backups::{self, Backup};
use db::platform::instances;
use domain::backup::State::Completed;
use domain::ids::InstanceId;
use domain::times;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// More than anybody keeps; newer ones come first.
const MOST: i64 = 1000;

/// The backups of an instance, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BackupList {
    /// The instance.
    instance_id: Uuid,
    /// Its name.
    instance_name: String,
    /// Its backups.
    backups: Vec<BackupShape>,
    /// How many there are.
    total_backups: usize,
    /// When the newest whole one was taken.
    #[schema(required)]
    #[serde(serialize_with = "times::serialize_option")]
    last_backup_at: Option<DateTime<Utc>>,
    /// When one was last loaded into a database to see that it can be.
    #[schema(required)]
    #[serde(serialize_with = "times::serialize_option")]
    last_proof_at: Option<DateTime<Utc>>,
}

/// A backup.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BackupShape {
    /// What `restore` takes.
    backup_id: Uuid,
    /// The label that was given, or one made of the database's name and the time.
    #[schema(example = "shop_20261126_031500")]
    backup_name: String,
    /// The name of the instance.
    instance_name: String,
    /// When it was begun.
    #[serde(serialize_with = "times::serialize")]
    created_at: DateTime<Utc>,
    /// Bytes of the database on its server; 0 until the backup is whole.
    database_size: i64,
    /// Bytes of the files; 0 until the backup is whole.
    data_size: i64,
    /// Both.
    total_size: i64,
    /// Odoo's version.
    #[schema(example = "19")]
    odoo_version: String,
    /// `running`, `completed` or `failed`.
    status: &'static str,
}

impl BackupShape {
    fn new(backup: Backup, instance_name: &str) -> Self {
        let (database, data) = (backup.database_bytes.unwrap_or_default(), backup.files_bytes.unwrap_or_default());
        Self {
            backup_id: backup.id.as_uuid(),
            backup_name: backup.name,
            instance_name: instance_name.to_owned(),
            created_at: backup.created_at,
            database_size: database,
            data_size: data,
            total_size: database.saturating_add(data),
            odoo_version: backup.odoo_version,
            status: backup.state.as_str(),
        }
    }
}

/// The backups of an instance, newest first
#[utoipa::path(get, operation_id = "list_backups", path = "/api/v1/instances/{id}/backups", tag = "instances", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = BackupList),
    (status = 404, description = "Instance not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<InstanceId>,
) -> Result<Json<BackupList>, Problem> {
    let instance = call.caller.own(instances::get(state.db(), id).await?)?;
    if is_hidden(&call, &instance) {
        return Err(Problem::no_instance());
    }
    let found = backups::of_instance(state.db(), id, MOST).await?;
    let whole = || found.iter().filter(|backup| backup.state == Completed);
    let last_backup_at = whole().filter_map(|backup| backup.completed_at).max();
    let last_proof_at = whole().filter_map(|backup| backup.proven_at).max();
    let backups: Vec<BackupShape> = found.into_iter().map(|backup| BackupShape::new(backup, &instance.name)).collect();
    Ok(Json(BackupList {
        instance_id: id.as_uuid(),
        instance_name: instance.name,
        total_backups: backups.len(),
        backups,
        last_backup_at,
        last_proof_at,
    }))
}
