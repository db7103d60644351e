//! Deleting a backup (contract 16.4).

use super::prune_backups;
use crate::error::DbResult;
use crate::platform::PlatformTx;
use crate::platform::audit::{self, AuditContext, Entry};
use crate::platform::backups::{self, Backup};
use crate::platform::instances::lock;
use domain::backup::{Origin, State};
use domain::ids::{BackupId, OperationId};
use domain::instance::Phase;
use domain::sources::Entropy;
use serde_json::json;

/// What became of a call.
#[derive(Clone, Debug)]
#[must_use]
pub enum BackupDeleted {
    /// No such backup. 404.
    NotFound,
    /// Nobody lists or restores it any more; the operation removes it from the store, at once or with a later one.
    Accepted(Option<OperationId>),
    /// It is being taken. 400.
    BeingTaken,
    /// A restore, a check or a copy reads it. 409.
    BeingRead,
    /// It is the last whole one of an instance that has data; those that were brought from elsewhere do not count, nor does one that work has
    /// taken for itself which has not ended. 409.
    LastWhole,
}

/// The row changes at once; the store follows.
///
/// # Errors
/// Database errors only.
pub async fn delete_backup(
    tx: &mut PlatformTx,
    backup: &Backup,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<BackupDeleted> {
    let Some(instance) = lock(tx, backup.instance).await? else { return Ok(BackupDeleted::NotFound) };
    let id: BackupId = backup.id;
    let state = backups::lock(tx, id).await?.map(|row| row.state);
    match state {
        None | Some(State::Deleting) => return Ok(BackupDeleted::NotFound),
        Some(State::Running) => return Ok(BackupDeleted::BeingTaken),
        Some(State::Completed | State::Failed) => {}
    }
    if backups::being_read(tx, instance.id).await?.contains(&id) {
        return Ok(BackupDeleted::BeingRead);
    }
    let is_own = |backup: &Backup| backup.origin != Origin::Imported;
    if state == Some(State::Completed) && is_own(backup) && instance.axes.phase != Phase::Purged {
        let whole = backups::in_state(tx, instance.id, State::Completed).await?;
        let provisional = backups::provisional(tx, instance.id).await?;
        let stays = |row: &&Backup| is_own(row) && !provisional.contains(&row.id);
        if whole.iter().filter(stays).all(|row| row.id == id) {
            return Ok(BackupDeleted::LastWhole);
        }
    }
    backups::condemn(tx, id).await?;
    let operation = prune_backups(tx, instance.id, entropy, by).await?;
    let entry = Entry {
        action: "delete_backup",
        instance_id: Some(instance.id),
        operation_id: operation,
        from: None,
        to: None,
        details: json!({ "backup": id }),
    };
    audit::record(tx, by, &entry).await?;
    Ok(BackupDeleted::Accepted(operation))
}
