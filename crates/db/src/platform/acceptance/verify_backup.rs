//! Checking a backup: by its sums, or by loading it (contract 16.4).

use super::{new_id, operation};
use crate::error::DbResult;
use crate::platform::PlatformTx;
use crate::platform::audit::AuditContext;
use crate::platform::backups;
use crate::platform::instances::lock;
use crate::platform::operations::{Enqueued, enqueue};
use domain::ids::{BackupId, InstanceId, OperationId};
use domain::instance::Status;
use domain::operation::Kind;
use domain::sources::Entropy;
use serde_json::json;

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct VerifyBackup {
    /// Of which instance.
    pub instance_id: InstanceId,
    /// Which backup.
    pub backup: BackupId,
    /// Whether it is loaded as well.
    pub restore: bool,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum BackupVerified {
    /// No such backup, or it was never whole. 404.
    NotFound,
    /// The instance has no role that could load it: it is suspended, or out of service. 400.
    CannotLoad(Status),
    /// Too much is waiting. 409.
    QueueFull,
    /// An operation does it.
    Queued(OperationId),
}

/// Queues the check, which gives way to whatever is asked of the instance meanwhile.
///
/// # Errors
/// Database errors only.
pub async fn verify_backup(
    tx: &mut PlatformTx,
    request: VerifyBackup,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<BackupVerified> {
    let Some(instance) = lock(tx, request.instance_id).await? else { return Ok(BackupVerified::NotFound) };
    if backups::checkable(tx, request.backup, instance.id).await?.is_none() {
        return Ok(BackupVerified::NotFound);
    }
    let status = instance.axes.status;
    let may_log_in = instance.axes.has_data() && !matches!(status, Status::Paused | Status::Terminated);
    if request.restore && !may_log_in {
        return Ok(BackupVerified::CannotLoad(status));
    }
    let mut new = operation(new_id(entropy), instance.id, Kind::VerifyBackup, None);
    new.params = json!({ "backup": request.backup, "restore": request.restore });
    Ok(match enqueue(tx, new, by).await? {
        Enqueued::Accepted(id) | Enqueued::Joined(id) => BackupVerified::Queued(id),
        Enqueued::QueueFull => BackupVerified::QueueFull,
    })
}
