//! `GET /api/v1/backups/{id}` (contract 16.4)

use crate::conventions::Call;
use crate::input::PathId;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use db::platform::backups::{self, Backup, Summary};
use db::platform::instances::{self, Instance};
use domain::backup::State as BackupState;
use domain::ids::BackupId;
use domain::instance::Phase;
use domain::times;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use uuid::Uuid;

/// A backup with what its manifest says.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BackupDetail {
    /// What `restore` takes.
    backup_id: Uuid,
    /// Of which instance.
    instance_id: Uuid,
    /// The label that was given, or one made of the database's name and the time.
    #[schema(example = "shop_20261126_031500")]
    backup_name: String,
    /// The name of the instance.
    instance_name: String,
    /// `requested`, `scheduled`, `before_restore`, `before_update`, `final` or `imported`.
    origin: &'static str,
    /// `running`, `completed` or `failed`.
    status: &'static str,
    /// Why it failed.
    #[schema(required)]
    error: Option<String>,
    /// When it was begun.
    #[serde(serialize_with = "times::serialize")]
    created_at: DateTime<Utc>,
    /// The moment of which it is; null until it is whole.
    #[schema(required)]
    #[serde(serialize_with = "times::serialize_option")]
    taken_at: Option<DateTime<Utc>>,
    /// When it was whole.
    #[schema(required)]
    #[serde(serialize_with = "times::serialize_option")]
    completed_at: Option<DateTime<Utc>>,
    /// When all of it was last compared with its checksums.
    #[schema(required)]
    #[serde(serialize_with = "times::serialize_option")]
    verified_at: Option<DateTime<Utc>>,
    /// When it was last loaded into a database to see that it can be.
    #[schema(required)]
    #[serde(serialize_with = "times::serialize_option")]
    proven_at: Option<DateTime<Utc>>,
    /// Bytes of the database on its server; 0 until the backup is whole.
    database_size: i64,
    /// Bytes of the files.
    data_size: i64,
    /// Both.
    total_size: i64,
    /// How many files there are.
    files: i64,
    /// Bytes in the store that belong to this backup alone.
    stored_size: i64,
    /// Bytes that were sent to the store when it was taken.
    new_size: i64,
    /// Odoo's version.
    #[schema(example = "19")]
    odoo_version: String,
    /// Major version of the database server.
    #[schema(required, example = 15)]
    postgres_version: Option<u32>,
    /// Installed modules with their versions.
    modules: BTreeMap<String, String>,
    /// Rows of the tables that tell most.
    rows: BTreeMap<String, u64>,
}

impl BackupDetail {
    fn new(backup: Backup, instance: Instance) -> Self {
        let (database, data) = (backup.database_bytes.unwrap_or_default(), backup.files_bytes.unwrap_or_default());
        let postgres_version = backup.summary.as_ref().map(|summary| summary.postgres_version).filter(|version| *version > 0);
        let Summary { taken_at, modules, rows, .. } = backup.summary.unwrap_or_default();
        Self {
            backup_id: backup.id.as_uuid(),
            instance_id: backup.instance.as_uuid(),
            backup_name: backup.name,
            instance_name: instance.name,
            origin: backup.origin.as_str(),
            status: backup.state.as_str(),
            error: backup.error,
            created_at: backup.created_at,
            taken_at,
            completed_at: backup.completed_at,
            verified_at: backup.verified_at,
            proven_at: backup.proven_at,
            database_size: database,
            data_size: data,
            total_size: database.saturating_add(data),
            files: backup.files_count.unwrap_or_default(),
            stored_size: backup.stored_bytes.unwrap_or_default(),
            new_size: backup.new_bytes.unwrap_or_default(),
            odoo_version: backup.odoo_version,
            postgres_version,
            modules,
            rows,
        }
    }
}

/// One backup
#[utoipa::path(get, operation_id = "get_backup", path = "/api/v1/backups/{id}", tag = "backups", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = BackupDetail),
    (status = 404, description = "Backup not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<BackupId>,
) -> Result<Json<BackupDetail>, Problem> {
    let (backup, instance) = own(&state, &call, id).await?;
    Ok(Json(BackupDetail::new(backup, instance)))
}

/// A backup that is the caller's to see, with its instance. One of an instance that was removed is an operator's only.
pub(super) async fn own(state: &AppState, call: &Call, id: BackupId) -> Result<(Backup, Instance), Problem> {
    let backup = backups::get(state.db(), id).await?.filter(|backup| backup.state != BackupState::Deleting);
    let backup = backup.ok_or_else(Problem::no_backup)?;
    let instance = instances::get(state.db(), backup.instance).await?;
    let instance = instance.filter(|instance| call.caller.may_see(instance.customer_id) && !is_hidden(call, instance));
    Ok((backup, instance.ok_or_else(Problem::no_backup)?))
}

/// Whether the backups of an instance are an operator's only: it was removed.
pub(super) fn is_hidden(call: &Call, instance: &Instance) -> bool {
    call.caller.customer().is_some() && matches!(instance.axes.phase, Phase::Purging | Phase::Purged)
}
