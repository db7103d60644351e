//! Changing what was ordered (contract 4.3). New limits reach a service with `apply-resources`, or at its next start.

use crate::error::{DbError, DbResult};
use crate::platform::PlatformTx;
use crate::platform::audit::{self, AuditContext, Entry};
use crate::platform::instances::{Instance, lock};
use domain::ids::InstanceId;
use domain::instance::Phase;
use domain::order::Amendment;
use serde_json::json;

/// One call.
#[derive(Clone, Debug)]
pub struct Amend {
    /// Which instance.
    pub instance_id: InstanceId,
    /// What changes.
    pub amendment: Amendment,
}

/// What became of a call.
#[derive(Clone, Debug)]
#[must_use]
#[expect(clippy::large_enum_variant, reason = "one value per request")]
pub enum Amended {
    /// No such instance. 404.
    NotFound,
    /// Nothing is left of it, or soon. 409.
    Purged,
    /// As it is now.
    Done(Instance),
}

/// Stores a change; an empty one writes nothing.
///
/// # Errors
/// Database errors only.
pub async fn amend(tx: &mut PlatformTx, request: &Amend, by: &AuditContext) -> DbResult<Amended> {
    let Some(instance) = lock(tx, request.instance_id).await? else { return Ok(Amended::NotFound) };
    if matches!(instance.axes.phase, Phase::Purging | Phase::Purged) {
        return Ok(Amended::Purged);
    }
    let fields = request.amendment.fields();
    if fields.is_empty() {
        return Ok(Amended::Done(instance));
    }
    store(tx, &instance, &request.amendment).await?;
    note_limits(tx, &instance).await?;
    let entry = Entry {
        action: "amend",
        instance_id: Some(instance.id),
        operation_id: None,
        from: Some(instance.axes.status),
        to: Some(instance.axes.status),
        // Names only: variables may hold secrets.
        details: json!({ "fields": fields }),
    };
    audit::record(tx, by, &entry).await?;
    lock(tx, instance.id).await?.map(Amended::Done).ok_or(DbError::Stale)
}

async fn store(tx: &mut PlatformTx, instance: &Instance, to: &Amendment) -> DbResult<()> {
    sqlx::query!(
        "UPDATE public.instances
            SET name = coalesce($2, name), description = coalesce($3, description), instance_type = coalesce($4, instance_type),
                cpu_limit = coalesce($5, cpu_limit), memory_limit = coalesce($6, memory_limit),
                storage_limit = coalesce($7, storage_limit), admin_email = coalesce($8, admin_email),
                demo_data = coalesce($9, demo_data), custom_addons = coalesce($10, custom_addons),
                disabled_modules = coalesce($11, disabled_modules), environment_vars = coalesce($12, environment_vars),
                metadata = coalesce($13, metadata), db_type = coalesce($14, db_type),
                revision = revision + 1, updated_at = clock_timestamp()
          WHERE id = $1",
        instance.id.as_uuid(),
        to.name.as_ref().map(|name| name.as_str()),
        to.description.as_deref(),
        to.instance_type.map(|word| word.as_str()),
        to.cpu_limit.map(|cpu| cpu.as_decimal()),
        to.memory_limit.map(|size| size.to_string()),
        to.storage_limit.map(|size| size.to_string()),
        to.admin_email.as_ref().map(|email| email.as_str()),
        to.demo_data,
        to.custom_addons.as_ref().map(|addons| json!(addons)),
        to.disabled_modules.as_ref().map(|modules| json!(modules)),
        to.environment_vars.as_ref().map(|variables| json!(variables)),
        to.metadata.as_ref().map(|metadata| json!(metadata)),
        to.db_type.map(|word| word.as_str()),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What the service has is kept while it differs from what the row says; without a place there is no service.
async fn note_limits(tx: &mut PlatformTx, before: &Instance) -> DbResult<()> {
    let after = lock(tx, before.id).await?.ok_or(DbError::Stale)?;
    if before.placement.is_none() && !before.axes.has_data() {
        return Ok(());
    }
    let running = before.running_limits.clone().unwrap_or_else(|| before.limits());
    let pending = running != after.limits();
    sqlx::query!(
        "UPDATE public.instances SET resources_pending = $2, running_limits = $3 WHERE id = $1",
        before.id.as_uuid(),
        pending,
        pending.then(|| json!(running)),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
