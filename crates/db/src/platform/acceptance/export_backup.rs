//! Having an archive in Odoo's own format made of a backup (contract 16.4).

use super::{new_id, operation};
use crate::error::DbResult;
use crate::platform::PlatformTx;
use crate::platform::audit::{self, AuditContext, Entry};
use crate::platform::instances::lock;
use crate::platform::operations::{Enqueued, NewOperation, Scope, enqueue};
use crate::platform::{backups, exports};
use domain::ids::{BackupId, InstanceId, OperationId};
use domain::operation::{Kind, State};
use domain::sources::Entropy;
use serde_json::json;

/// Most archives of one instance that are made or kept at a time: they are as large as everything that it has.
const MOST: i64 = 3;

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct ExportBackup {
    /// Of which instance.
    pub instance_id: InstanceId,
    /// Which backup.
    pub backup: BackupId,
    /// An archive that should be there and is not: it does not count.
    pub lost: Option<OperationId>,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum BackupExported {
    /// No such backup, or it is not whole. 404.
    NotFound,
    /// Too many archives of this instance are made or kept already. 409.
    TooMany,
    /// Too much is waiting. 409.
    QueueFull,
    /// It has been made meanwhile.
    Ready(OperationId),
    /// It is being made.
    UnderWay {
        /// By which operation.
        operation: OperationId,
        /// Why the one before came to nothing, in words for the customer.
        last_failure: Option<String>,
    },
}

/// Queues the making of an archive, unless there is one or one is being made.
///
/// # Errors
/// Database errors only.
pub async fn export_backup(
    tx: &mut PlatformTx,
    request: ExportBackup,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<BackupExported> {
    let Some(instance) = lock(tx, request.instance_id).await? else { return Ok(BackupExported::NotFound) };
    if backups::restorable(tx, request.backup, instance.id).await?.is_none() {
        return Ok(BackupExported::NotFound);
    }
    let scope = Scope::Export(request.backup);
    let mut last_failure = None;
    if let Some((last, is_there)) = exports::last(tx, request.backup).await? {
        if !last.state.is_final() {
            return Ok(BackupExported::UnderWay { operation: last.id, last_failure: None });
        }
        if is_there && request.lost != Some(last.id) {
            return Ok(BackupExported::Ready(last.id));
        }
        last_failure = last.error.filter(|_| last.state == State::Failed).map(|error| error.message);
    }
    if exports::kept(tx, instance.id, request.lost).await? >= MOST {
        return Ok(BackupExported::TooMany);
    }
    let new = operation(new_id(entropy), instance.id, Kind::Export, None);
    let new = NewOperation { scope, params: json!({ "backup": request.backup }), ..new };
    let operation = match enqueue(tx, new, by).await? {
        Enqueued::Accepted(id) | Enqueued::Joined(id) => id,
        Enqueued::QueueFull => return Ok(BackupExported::QueueFull),
    };
    let entry = Entry {
        action: Kind::Export.as_str(),
        instance_id: Some(instance.id),
        operation_id: Some(operation),
        from: None,
        to: None,
        details: json!({ "backup": request.backup }),
    };
    audit::record(tx, by, &entry).await?;
    Ok(BackupExported::UnderWay { operation, last_failure })
}
