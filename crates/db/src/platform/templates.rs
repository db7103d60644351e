//! Template databases: one ready per server, Odoo version and demo flag; provisioning clones it (contract 12.2, 14.2).
//!
//! Owns: the rows of `templates`. Leaves to others: building, cloning and dropping (`worker`, `odoo`).

use crate::error::{DbError, DbResult};
use crate::platform::{PlatformDb, PlatformTx};
use chrono::{DateTime, Utc};
use domain::ids::{OperationId, ServerId, TemplateId};
use domain::names::{Mark, PhysicalName};
use domain::template::TemplateKey;
use domain::version::OdooVersion;
use domain::words;

words! {
    /// What a template is good for.
    TemplateState {
        /// Its operation is at work.
        Building = "building",
        /// May be cloned.
        Ready = "ready",
        /// Failed, missing, or not as it was left: never cloned again.
        Broken = "broken",
        /// Replaced by a newer one.
        Retired = "retired",
    }
}

/// A template to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTemplate {
    /// Its id.
    pub id: TemplateId,
    /// What it is made for.
    pub key: TemplateKey,
    /// Its database.
    pub db_name: PhysicalName,
    /// The role that owns its contents and no database.
    pub content_role: PhysicalName,
    /// Stands in comments on the server in place of any id.
    pub mark: Mark,
    /// Holds its filestore; relative to the instances' root.
    pub directory: String,
    /// Image or installation it is made with.
    pub image: String,
    /// The operation that builds it.
    pub operation_id: OperationId,
}

/// A template as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields of NewTemplate, and the columns of the table")]
pub struct Template {
    pub id: TemplateId,
    pub key: TemplateKey,
    pub state: TemplateState,
    pub db_name: PhysicalName,
    pub db_oid: Option<u32>,
    pub content_role: PhysicalName,
    pub mark: Mark,
    pub directory: String,
    pub image: String,
    pub operation_id: Option<OperationId>,
    pub created_at: DateTime<Utc>,
    pub ready_at: Option<DateTime<Utc>>,
}

struct Row {
    id: uuid::Uuid,
    server_id: uuid::Uuid,
    odoo_version: i16,
    demo_data: bool,
    state: String,
    db_name: String,
    db_oid: Option<i64>,
    content_role: String,
    mark: String,
    directory: String,
    image: String,
    operation_id: Option<uuid::Uuid>,
    created_at: DateTime<Utc>,
    ready_at: Option<DateTime<Utc>>,
}

impl Row {
    fn odd(&self, column: &'static str, why: &dyn std::fmt::Display) -> DbError {
        DbError::Inconsistent { table: "templates", column, row: self.id.to_string(), why: why.to_string() }
    }

    fn into_template(self) -> DbResult<Template> {
        let version = u16::try_from(self.odoo_version).map_err(|e| self.odd("odoo_version", &e))?;
        Ok(Template {
            id: TemplateId::from_uuid(self.id),
            key: TemplateKey {
                server: ServerId::from_uuid(self.server_id),
                version: OdooVersion::new(version),
                demo: self.demo_data,
            },
            state: TemplateState::parse(&self.state).ok_or_else(|| self.odd("state", &self.state))?,
            db_name: PhysicalName::new(self.db_name.clone()).map_err(|e| self.odd("db_name", &e))?,
            db_oid: self.db_oid.map(u32::try_from).transpose().map_err(|e| self.odd("db_oid", &e))?,
            content_role: PhysicalName::new(self.content_role.clone()).map_err(|e| self.odd("content_role", &e))?,
            mark: Mark::parse(&self.mark).map_err(|e| self.odd("mark", &e))?,
            directory: self.directory,
            image: self.image,
            operation_id: self.operation_id.map(OperationId::from_uuid),
            created_at: self.created_at,
            ready_at: self.ready_at,
        })
    }
}

/// `query_as!` takes only literals, so the columns are a macro.
macro_rules! select_templates {
    ($tail:literal $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            "SELECT id, server_id, odoo_version, demo_data, state, db_name, db_oid, content_role, mark, directory, image, \
                    operation_id, created_at, ready_at \
               FROM instance_service.templates " + $tail
            $(, $arg)*
        )
    };
}

fn version_column(version: OdooVersion) -> i16 {
    i16::try_from(version.major()).unwrap_or(i16::MAX)
}

/// The template that may be cloned for this key.
///
/// # Errors
/// Database errors only.
pub async fn ready(db: &PlatformDb, key: &TemplateKey) -> DbResult<Option<Template>> {
    let row = select_templates!(
        "WHERE server_id = $1 AND odoo_version = $2 AND demo_data = $3 AND state = 'ready'",
        key.server.as_uuid(),
        version_column(key.version),
        key.demo,
    )
    .fetch_optional(db.pool())
    .await?;
    row.map(Row::into_template).transpose()
}

/// One template.
///
/// # Errors
/// Database errors only.
pub async fn get(db: &PlatformDb, id: TemplateId) -> DbResult<Option<Template>> {
    let row = select_templates!("WHERE id = $1", id.as_uuid()).fetch_optional(db.pool()).await?;
    row.map(Row::into_template).transpose()
}

/// Every template of a server, newest first: those whose names may be connected to, and those to be cleaned up.
///
/// # Errors
/// Database errors only.
pub async fn of_server(db: &PlatformDb, server: ServerId) -> DbResult<Vec<Template>> {
    let rows =
        select_templates!("WHERE server_id = $1 ORDER BY created_at DESC, id", server.as_uuid()).fetch_all(db.pool()).await?;
    rows.into_iter().map(Row::into_template).collect()
}

/// Records a template before anything of it is made. Written again by the same operation, it stays as it is.
///
/// # Errors
/// [`DbError::Constraint`] `templates_one_building` when another operation builds for this key.
pub async fn insert_building(tx: &mut PlatformTx, new: &NewTemplate) -> DbResult<()> {
    sqlx::query!(
        "INSERT INTO instance_service.templates
                (id, server_id, odoo_version, demo_data, state, db_name, content_role, mark, directory, image, operation_id)
         VALUES ($1, $2, $3, $4, 'building', $5, $6, $7, $8, $9, $10)
         ON CONFLICT (id) DO NOTHING",
        new.id.as_uuid(),
        new.key.server.as_uuid(),
        version_column(new.key.version),
        new.key.demo,
        new.db_name.as_str(),
        new.content_role.as_str(),
        new.mark.as_str(),
        new.directory,
        new.image,
        new.operation_id.as_uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Remembers the OID of the database, as soon as it exists.
///
/// # Errors
/// Database errors only.
pub async fn set_oid(tx: &mut PlatformTx, id: TemplateId, oid: u32) -> DbResult<()> {
    sqlx::query!("UPDATE instance_service.templates SET db_oid = $2 WHERE id = $1", id.as_uuid(), i64::from(oid))
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Makes a built template the ready one of its key and retires the one before. Repeated, it changes nothing.
///
/// # Errors
/// [`DbError::Stale`] when the template is neither being built nor ready.
pub async fn mark_ready(tx: &mut PlatformTx, id: TemplateId) -> DbResult<()> {
    sqlx::query!(
        "UPDATE instance_service.templates AS old SET state = 'retired'
           FROM instance_service.templates AS new
          WHERE new.id = $1 AND new.state = 'building' AND old.state = 'ready'
            AND (old.server_id, old.odoo_version, old.demo_data) = (new.server_id, new.odoo_version, new.demo_data)",
        id.as_uuid(),
    )
    .execute(tx.conn())
    .await?;
    let done = sqlx::query!(
        "UPDATE instance_service.templates SET state = 'ready', ready_at = coalesce(ready_at, clock_timestamp())
          WHERE id = $1 AND state IN ('building', 'ready')",
        id.as_uuid(),
    )
    .execute(tx.conn())
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(DbError::Stale) }
}

/// Takes a template out of use for good; building, ready or not.
///
/// # Errors
/// Database errors only.
pub async fn mark_broken(tx: &mut PlatformTx, id: TemplateId) -> DbResult<()> {
    sqlx::query!("UPDATE instance_service.templates SET state = 'broken' WHERE id = $1", id.as_uuid()).execute(tx.conn()).await?;
    Ok(())
}

/// Takes a ready template out of use because a newer one shall be built.
///
/// # Errors
/// Database errors only.
pub async fn retire(tx: &mut PlatformTx, id: TemplateId) -> DbResult<()> {
    sqlx::query!("UPDATE instance_service.templates SET state = 'retired' WHERE id = $1 AND state = 'ready'", id.as_uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Whether a provisioning under way has chosen it: its database may be cloned already, its files not yet.
///
/// # Errors
/// Database errors only.
pub async fn is_in_use(db: &PlatformDb, id: TemplateId) -> DbResult<bool> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM instance_service.operations o JOIN instance_service.operation_steps s ON s.operation_id = o.id
                WHERE o.kind = 'provision' AND o.finished_at IS NULL AND o.state <> 'queued'
                  AND s.output ->> 'template' = $1) AS "used!""#,
        id.to_string()
    )
    .fetch_one(db.pool())
    .await?)
}

/// The operation that was building a template goes on no more: what it left is cleaned up by the next build.
///
/// # Errors
/// Database errors only.
pub(crate) async fn give_up(tx: &mut PlatformTx, build: OperationId) -> DbResult<()> {
    sqlx::query!(
        "UPDATE instance_service.templates SET state = 'broken' WHERE operation_id = $1 AND state = 'building'",
        build.as_uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Forgets a template of which nothing is left.
///
/// # Errors
/// Database errors only.
pub async fn forget(tx: &mut PlatformTx, id: TemplateId) -> DbResult<()> {
    sqlx::query!("DELETE FROM instance_service.templates WHERE id = $1 AND state IN ('broken', 'retired')", id.as_uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}
