//! What the rows say there is outside of postgres1: databases, roles and directories, of instances and of templates.

use crate::error::DbResult;
use crate::platform::PlatformDb;
use domain::ids::{InstanceId, ServerId};
use domain::instance::{Phase, Status};
use uuid::Uuid;

/// What one row says. Names that a row has only reserved count, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Possession {
    /// Of which instance; `None` for a template. What a restore has replaced and keeps is a possession of its own.
    pub instance: Option<InstanceId>,
    /// The row's revision; another one means that it was written since.
    pub revision: i64,
    /// Nothing is at work on it, or waits.
    pub at_rest: bool,
    /// What is left of the instance; a template is ready once it is usable.
    pub phase: Option<Phase>,
    /// The public status.
    pub status: Option<Status>,
    /// On this server. `None`: a row of the earlier service, whose server is not known.
    pub server: Option<ServerId>,
    /// The database.
    pub database: Option<String>,
    /// Its OID, once it is recorded.
    pub oid: Option<u32>,
    /// The role that owns the database, or the template's contents.
    pub role: Option<String>,
    /// The directory.
    pub directory: Option<String>,
}

struct Row {
    instance: Option<Uuid>,
    revision: i64,
    at_rest: bool,
    phase: Option<String>,
    status: Option<String>,
    server: Option<Uuid>,
    database: Option<String>,
    oid: Option<i64>,
    role: Option<String>,
    directory: Option<String>,
}

/// What all rows say.
///
/// # Errors
/// Database errors only.
pub async fn all(db: &PlatformDb) -> DbResult<Vec<Possession>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT i.id AS "instance?", i.revision AS "revision!", i.phase, i.status, i.odoo_server_id AS server,
                  coalesce(i.db_name, i.database_name) AS database, i.db_oid AS oid,
                  coalesce(i.db_user, CASE WHEN i.phase IS NULL THEN 'odoo_' || i.database_name END) AS role, i.data_dir AS directory,
                  NOT EXISTS (SELECT FROM instance_service.operations o WHERE o.scope = 'instance:' || i.id AND o.finished_at IS NULL)
                      AS "at_rest!"
             FROM public.instances i WHERE i.odoo_server_id IS NOT NULL OR i.phase IS NULL
           UNION ALL
           SELECT NULL, 0, CASE t.state WHEN 'ready' THEN 'ready' ELSE 'registered' END, NULL, t.server_id,
                  t.db_name, t.db_oid, t.content_role, t.directory, t.state = 'ready'
             FROM instance_service.templates t
           UNION ALL
           SELECT r.instance_id, 0, 'registered', NULL, r.server_id, r.db_name, r.db_oid, NULL, NULL, false
             FROM instance_service.replaced_data r"#
    )
    .fetch_all(db.pool())
    .await?;
    Ok(rows.into_iter().map(Possession::from).collect())
}

impl From<Row> for Possession {
    fn from(row: Row) -> Self {
        Self {
            instance: row.instance.map(InstanceId::from_uuid),
            revision: row.revision,
            at_rest: row.at_rest,
            phase: row.phase.as_deref().and_then(Phase::parse),
            status: row.status.as_deref().and_then(Status::parse),
            server: row.server.map(ServerId::from_uuid),
            database: row.database,
            oid: row.oid.and_then(|oid| u32::try_from(oid).ok()),
            role: row.role,
            directory: row.directory,
        }
    }
}
