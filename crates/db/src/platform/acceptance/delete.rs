//! Removing an instance for good (contract 4.3, 12.9).

use super::{new_id, operation, take_back_queued};
use crate::error::{DbError, DbResult};
use crate::platform::audit::AuditContext;
use crate::platform::instances::{Change, Instance, happen, is_terminated_for, lock};
use crate::platform::operations::{Enqueued, enqueue, preempt};
use crate::platform::{LockClass, PlatformTx};
use domain::ids::{InstanceId, OperationId};
use domain::instance::{Event, Phase};
use domain::operation::Kind;
use domain::sources::Entropy;

/// One call.
#[derive(Clone, Debug)]
pub struct Delete {
    /// Which instance.
    pub instance_id: InstanceId,
    /// Why.
    pub reason: Option<String>,
    /// Most removals accepted within an hour, of all instances together; none for no limit (engine 9, rule 6).
    pub brake: Option<u32>,
}

/// What became of a call.
#[derive(Clone, Debug)]
#[must_use]
#[expect(clippy::large_enum_variant, reason = "one value per request")]
pub enum Deleted {
    /// No such instance. 404.
    NotFound,
    /// The row is terminated and its names are free; the operation removes the rest. Repeated: the same operation.
    Accepted {
        /// As it is now.
        instance: Instance,
        /// The operation.
        operation: OperationId,
    },
    /// So many were accepted lately that a mistake is likely. 429.
    Braked,
    /// A row of the earlier service: whose its database is, is not known before it is taken over. 409.
    NotAdopted,
}

/// The row changes at once and wins over whatever is under way.
///
/// # Errors
/// Database errors only.
pub async fn delete(tx: &mut PlatformTx, request: Delete, entropy: &dyn Entropy, by: &AuditContext) -> DbResult<Deleted> {
    let Some(before) = lock(tx, request.instance_id).await? else { return Ok(Deleted::NotFound) };
    if !before.adopted {
        return Ok(Deleted::NotAdopted);
    }
    if let (Phase::Purging | Phase::Purged, Some(operation)) = (before.axes.phase, earlier(tx, before.id).await?) {
        return Ok(Deleted::Accepted { instance: before, operation });
    }
    if let Some(most) = request.brake
        && accepted_lately(tx).await? >= i64::from(most)
    {
        return Ok(Deleted::Braked);
    }
    let preempted = preempt(tx, before.id, Kind::Delete).await?;
    let id = preempted.absorbed_by.unwrap_or_else(|| new_id(entropy));
    let change = Change { operation_id: Some(id), reason: request.reason.clone(), ..Change::default() };
    // The table has this event for every status.
    let instance = happen(tx, &before, Event::Delete, change, by).await?.unwrap_or(before);
    let instance = take_back_queued(tx, instance, &preempted, by).await?;
    if preempted.absorbed_by.is_none() {
        let accepted = enqueue(tx, operation(id, instance.id, Kind::Delete, request.reason), by).await?;
        if accepted != Enqueued::Accepted(id) {
            // Closing access is never refused and never joins another kind.
            return Err(DbError::Stale);
        }
    }
    Ok(Deleted::Accepted { instance: instance.with_operation(Some(id)), operation: id })
}

/// Removes an instance that nobody has changed for so many days since it was terminated; `None` if it is another by now.
///
/// # Errors
/// Database errors only.
pub async fn purge(
    tx: &mut PlatformTx,
    request: Delete,
    days: u32,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Option<Deleted>> {
    // From here on whoever brings it back comes before this or after it.
    let is_there = lock(tx, request.instance_id).await?.is_some();
    if !is_there || !is_terminated_for(tx, request.instance_id, days).await? {
        return Ok(None);
    }
    delete(tx, request, entropy, by).await.map(Some)
}

/// Removals accepted within the last hour. They are counted one by one, or many at once would all find room.
async fn accepted_lately(tx: &mut PlatformTx) -> DbResult<i64> {
    tx.lock(LockClass::Scope, "delete brake").await?;
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM instance_service.operations
            WHERE kind = 'delete' AND created_at > clock_timestamp() - interval '1 hour'"#
    )
    .fetch_one(tx.conn())
    .await?)
}

/// The delete that was accepted earlier, unless it came to an end without having removed everything.
async fn earlier(tx: &mut PlatformTx, instance: InstanceId) -> DbResult<Option<OperationId>> {
    let id = sqlx::query_scalar!(
        "SELECT id FROM instance_service.operations
          WHERE instance_id = $1 AND kind = 'delete' AND state NOT IN ('failed', 'cancelled')
          ORDER BY seq DESC LIMIT 1",
        instance.as_uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(id.map(OperationId::from_uuid))
}
