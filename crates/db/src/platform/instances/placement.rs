//! Where an instance is: its server and its physical names, chosen once, stored, never computed again.

use super::advance::{Change, Refused, happen};
use super::{Instance, lock};
use crate::error::{DbError, DbResult};
use crate::platform::audit::AuditContext;
use crate::platform::{PlatformTx, outbox, servers};
use domain::ids::{InstanceId, OperationId, ServerId};
use domain::instance::{Event, Phase};
use domain::names::{Mark, PhysicalName};

/// Server, end point and names of one instance. The tenant's connection is built from this and from nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The server.
    pub server: ServerId,
    /// Its host, as tenants see it.
    pub db_host: String,
    /// Its port, as tenants see it.
    pub db_port: u16,
    /// The database.
    pub db_name: PhysicalName,
    /// The role that owns it.
    pub db_user: PhysicalName,
    /// The service at the runtime.
    pub service_name: String,
    /// The directory below the root of all instances.
    pub data_dir: String,
    /// Stands for the instance where tenants could read an id.
    pub mark: Mark,
    /// Port on the loopback interface, with the process runtime.
    pub external_port: Option<u16>,
    /// How the image wants to be configured.
    pub image_profile: Option<String>,
    /// What is run.
    pub image: Option<String>,
}

/// Stores the placement of an instance that has no data yet. Repeated with the same mark it changes nothing; the caller has
/// counted the instance on the server ([`servers::reserve`]) in this transaction.
///
/// # Errors
/// [`DbError::Stale`] when the instance has data or another placement. [`DbError::Constraint`] when a name or port is in use.
pub async fn place(tx: &mut PlatformTx, id: InstanceId, at: &Placement) -> DbResult<()> {
    let done = sqlx::query!(
        "UPDATE public.instances
            SET odoo_server_id = $2, db_host = $3, db_port = $4, db_name = $5, db_user = $6, service_name = $7, data_dir = $8,
                mark = $9, external_port = $10, image_profile = $11, image = $12,
                revision = revision + 1, updated_at = clock_timestamp()
          WHERE id = $1 AND phase = 'registered' AND (mark IS NULL OR mark = $9)",
        id.as_uuid(),
        at.server.as_uuid(),
        at.db_host,
        i32::from(at.db_port),
        at.db_name.as_str(),
        at.db_user.as_str(),
        at.service_name,
        at.data_dir,
        at.mark.as_str(),
        at.external_port.map(i32::from),
        at.image_profile,
        at.image,
    )
    .execute(tx.conn())
    .await?;
    exactly_one(done.rows_affected())
}

/// Undo of [`place`]: the names are forgotten and the capacity is released, once. An instance with data keeps its placement.
///
/// # Errors
/// Database errors only.
pub async fn unplace(tx: &mut PlatformTx, id: InstanceId) -> DbResult<()> {
    let Some(instance) = lock(tx, id).await? else { return Ok(()) };
    let (Some(placement), Phase::Registered) = (&instance.placement, instance.axes.phase) else { return Ok(()) };
    servers::release(tx, placement.server).await?;
    forget_places(tx, id).await
}

async fn forget_places(tx: &mut PlatformTx, id: InstanceId) -> DbResult<()> {
    let done = sqlx::query!(
        "UPDATE public.instances
            SET odoo_server_id = NULL, db_host = NULL, db_name = NULL, db_user = NULL, service_name = NULL, service_id = NULL,
                data_dir = NULL, mark = NULL, external_port = NULL, db_oid = NULL, db_secret = NULL,
                revision = revision + 1, updated_at = clock_timestamp()
          WHERE id = $1",
        id.as_uuid(),
    )
    .execute(tx.conn())
    .await?;
    exactly_one(done.rows_affected())
}

/// Stores the sealed database password, or erases it. It is sealed for [`super::secret_place`].
///
/// # Errors
/// [`DbError::Stale`] when there is no such instance.
pub async fn set_secret(tx: &mut PlatformTx, id: InstanceId, sealed: Option<&[u8]>) -> DbResult<()> {
    let done = sqlx::query!(
        "UPDATE public.instances SET db_secret = $2, revision = revision + 1, updated_at = clock_timestamp() WHERE id = $1",
        id.as_uuid(),
        sealed,
    )
    .execute(tx.conn())
    .await?;
    exactly_one(done.rows_affected())
}

/// Stores what is run.
///
/// # Errors
/// [`DbError::Stale`] when there is no such instance.
pub async fn set_image(tx: &mut PlatformTx, id: InstanceId, image: &str) -> DbResult<()> {
    let done = sqlx::query!(
        "UPDATE public.instances SET image = $2, revision = revision + 1, updated_at = clock_timestamp() WHERE id = $1",
        id.as_uuid(),
        image,
    )
    .execute(tx.conn())
    .await?;
    exactly_one(done.rows_affected())
}

/// Stores the OID of the database, or forgets it.
///
/// # Errors
/// [`DbError::Stale`] when there is no such instance.
pub async fn set_database_oid(tx: &mut PlatformTx, id: InstanceId, oid: Option<u32>) -> DbResult<()> {
    let done = sqlx::query!(
        "UPDATE public.instances SET db_oid = $2, revision = revision + 1, updated_at = clock_timestamp() WHERE id = $1",
        id.as_uuid(),
        oid.map(i64::from),
    )
    .execute(tx.conn())
    .await?;
    exactly_one(done.rows_affected())
}

/// The end of a purge: capacity released, names, secrets and personal settings erased, phase purged. The names stay in the audit
/// trail, for tracing what was removed. Repeated, it changes nothing.
///
/// # Errors
/// As [`happen`].
pub async fn scrub(
    tx: &mut PlatformTx,
    instance: &Instance,
    operation: OperationId,
    by: &AuditContext,
) -> DbResult<Result<Instance, Refused>> {
    if instance.axes.phase == Phase::Purged {
        return Ok(Ok(instance.clone()));
    }
    let removed = instance.placement.as_ref().map(|placement| {
        serde_json::json!({
            "server": placement.server, "database": placement.db_name, "role": placement.db_user,
            "service": placement.service_name, "directory": placement.data_dir,
        })
    });
    let change = Change { operation_id: Some(operation), details: removed.unwrap_or_default(), ..Change::default() };
    if let Err(refused) = happen(tx, instance, Event::Purged, change, by).await? {
        return Ok(Err(refused));
    }
    if let Some(placement) = &instance.placement {
        servers::release(tx, placement.server).await?;
    }
    forget_places(tx, instance.id).await?;
    erase_personal(tx, instance.id).await?;
    outbox::erase_of(tx, instance.id).await?;
    erase_causes(tx, instance.id).await?;
    lock(tx, instance.id).await?.map(Ok).ok_or(DbError::Stale)
}

async fn erase_personal(tx: &mut PlatformTx, id: InstanceId) -> DbResult<()> {
    let done = sqlx::query!(
        "UPDATE public.instances
            SET admin_email = '', admin_password = NULL, description = NULL, environment_vars = '{}', metadata = '{}',
                external_url = NULL, internal_url = NULL, released_hostname = NULL, running_limits = NULL
          WHERE id = $1",
        id.as_uuid(),
    )
    .execute(tx.conn())
    .await?;
    exactly_one(done.rows_affected())
}

/// Why operations failed may quote the tenant's log.
async fn erase_causes(tx: &mut PlatformTx, id: InstanceId) -> DbResult<()> {
    sqlx::query!(
        r#"WITH steps AS (
               UPDATE instance_service.operation_steps s SET error = jsonb_set(s.error, '{cause}', '""')
                 FROM instance_service.operations o WHERE o.id = s.operation_id AND o.instance_id = $1 AND s.error IS NOT NULL)
           UPDATE instance_service.operations SET error = jsonb_set(error, '{cause}', '""') WHERE instance_id = $1 AND error IS NOT NULL"#,
        id.as_uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

fn exactly_one(rows: u64) -> DbResult<()> {
    if rows == 1 { Ok(()) } else { Err(DbError::Stale) }
}
