//! Making a backup of an instance of an archive that somebody has brought (contract 16.4).

use super::operation;
use crate::error::DbResult;
use crate::platform::PlatformTx;
use crate::platform::audit::{self, AuditContext, Entry};
use crate::platform::instances::{Instance, lock};
use crate::platform::operations::{Enqueued, enqueue};
use domain::backup::Origin;
use domain::ids::{InstanceId, OperationId};
use domain::instance::Status;
use domain::operation::Kind;
use serde_json::json;

/// One call. The archive lies where the worker looks for it under the id of the operation.
#[derive(Clone, Debug)]
pub struct ImportBackup {
    /// For which instance.
    pub instance_id: InstanceId,
    /// The operation that shall read it.
    pub operation: OperationId,
    /// Length of the archive.
    pub bytes: u64,
    /// What the backup shall be called.
    pub label: Option<String>,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum BackupImported {
    /// No such instance. 404.
    NotFound,
    /// A row of the earlier service that has not been taken over yet. 409.
    NotAdopted,
    /// The instance has no database server to load anything on, or is suspended, or out of service. 400.
    CannotLoad(Status),
    /// Too much is waiting. 409.
    QueueFull,
    /// The operation will read it.
    Queued,
}

/// Why nothing can be imported for an instance as it is, if so.
pub fn cannot_import(instance: &Instance) -> Option<BackupImported> {
    let status = instance.axes.status;
    if !instance.adopted {
        return Some(BackupImported::NotAdopted);
    }
    let is_closed = !instance.axes.has_data() || matches!(status, Status::Paused | Status::Terminated);
    is_closed.then_some(BackupImported::CannotLoad(status))
}

/// Queues the import.
///
/// # Errors
/// Database errors only.
pub async fn import_backup(tx: &mut PlatformTx, request: ImportBackup, by: &AuditContext) -> DbResult<BackupImported> {
    let Some(instance) = lock(tx, request.instance_id).await? else { return Ok(BackupImported::NotFound) };
    if let Some(why) = cannot_import(&instance) {
        return Ok(why);
    }
    let mut new = operation(request.operation, instance.id, Kind::Import, None);
    new.params = json!({ "bytes": request.bytes, "origin": Origin::Imported });
    if let Some(label) = request.label {
        new.params["label"] = json!(label);
    }
    if enqueue(tx, new, by).await? == Enqueued::QueueFull {
        return Ok(BackupImported::QueueFull);
    }
    let entry = Entry {
        action: Kind::Import.as_str(),
        instance_id: Some(instance.id),
        operation_id: Some(request.operation),
        from: None,
        to: None,
        details: json!({ "bytes": request.bytes }),
    };
    audit::record(tx, by, &entry).await?;
    Ok(BackupImported::Queued)
}
