//! Removing what a restore had replaced, when its time is over: the worker's own request.

use super::{new_id, operation};
use crate::error::DbResult;
use crate::platform::PlatformTx;
use crate::platform::audit::AuditContext;
use crate::platform::instances::lock;
use crate::platform::operations::{Enqueued, enqueue};
use domain::ids::{InstanceId, OperationId};
use domain::operation::Kind;
use domain::sources::Entropy;

/// Queues the removal, unless something is at work on the instance: it is due still when that has ended.
///
/// # Errors
/// Database errors only.
pub async fn forget_replaced(
    tx: &mut PlatformTx,
    id: InstanceId,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Option<OperationId>> {
    let Some(instance) = lock(tx, id).await?.filter(|row| row.operation_id.is_none()) else { return Ok(None) };
    let new = operation(new_id(entropy), instance.id, Kind::ForgetReplaced, Some("its time is over".to_owned()));
    Ok(match enqueue(tx, new, by).await? {
        Enqueued::Accepted(id) => Some(id),
        Enqueued::Joined(_) | Enqueued::QueueFull => None,
    })
}
