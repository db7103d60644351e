//! Removing what is not kept any more from the store: the worker's own request, and what follows a delete of a backup.

use super::{new_id, operation};
use crate::error::DbResult;
use crate::platform::PlatformTx;
use crate::platform::audit::AuditContext;
use crate::platform::operations::{Enqueued, enqueue};
use domain::ids::{InstanceId, OperationId};
use domain::operation::Kind;
use domain::sources::Entropy;

/// Queues the removal of those that are to go. The caller holds the instance's row lock. `None` while too much is waiting: they are to go
/// still when it is asked again.
///
/// # Errors
/// Database errors only.
pub async fn prune_backups(
    tx: &mut PlatformTx,
    id: InstanceId,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Option<OperationId>> {
    Ok(match enqueue(tx, operation(new_id(entropy), id, Kind::PruneBackups, None), by).await? {
        Enqueued::Accepted(id) | Enqueued::Joined(id) => Some(id),
        Enqueued::QueueFull => None,
    })
}
