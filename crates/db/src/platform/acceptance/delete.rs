//! Removing an instance for good (contract 4.3, 12.9).

use super::{new_id, operation, take_back_queued};
use crate::error::{DbError, DbResult};
use crate::platform::PlatformTx;
use crate::platform::audit::AuditContext;
use crate::platform::instances::{Change, Instance, happen, lock};
use crate::platform::operations::{Enqueued, enqueue, preempt};
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
