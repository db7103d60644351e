//! Errors of the servers and of the runtime as verdicts of the engine, one to one, with words that a customer may read.

use crate::engine::{StepError, Verdict};
use crate::reconcile::LookError;
use backup::BackupError;
use db::odoo::OdooError;
use runtime::{Class, RuntimeError};
use std::time::Duration;

const BUSY: &str = "The database server is busy; the operation goes on by itself.";
pub(super) const STOPPED: &str = "The operation was stopped for safety; our staff looks at it.";
const INTERNAL: &str = "Internal error.";

/// A file that belongs into a backup is not in the filestore.
pub(super) const VANISHED: &str = "file_vanished";
/// There is no room: for a backup, or for what is unpacked of one; on a database server.
pub(super) const NO_ROOM: &str = "backup_store_full";
pub(super) const SERVER_FULL: &str = "odoo_server_full";

/// A tenant's database is not what Odoo makes.
pub(super) const UNFIT: &str = "odoo_database_unfit";

/// Pause before a busy holder or a full disk is looked at again.
const LATER: Duration = Duration::from_secs(2);
const MUCH_LATER: Duration = Duration::from_secs(30);

impl From<LookError> for StepError {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Database(error) => error.into(),
            LookError::Runtime(error) => error.into(),
        }
    }
}

impl From<OdooError> for StepError {
    fn from(error: OdooError) -> Self {
        match &error {
            OdooError::Unreachable { .. } => return Self::unreachable("odoo_server_unreachable", BUSY, &error),
            OdooError::Away { after, .. } => {
                let verdict = Verdict::Snooze { after: *after, unreachable: true };
                return Self::new(verdict, "odoo_server_unreachable", BUSY, &error);
            }
            OdooError::DiskFull { .. } => {
                tracing::error!(error = %error, "an Odoo server has no disk space left");
                return Self::snooze(MUCH_LATER, SERVER_FULL, BUSY, &error);
            }
            _ => {}
        }
        match error.verdict() {
            db::odoo::Verdict::Retry => Self::retry("odoo_server_error", BUSY, &error),
            db::odoo::Verdict::Snooze => Self::snooze(LATER, "odoo_server_busy", BUSY, &error),
            db::odoo::Verdict::Permanent if matches!(error, OdooError::Foreign { .. }) => {
                Self::permanent("name_taken", INTERNAL, &error)
            }
            db::odoo::Verdict::Permanent => Self::permanent(UNFIT, INTERNAL, &error),
            db::odoo::Verdict::LeaseLost => Self::new(Verdict::LeaseLost, "lease_lost", BUSY, &error),
            db::odoo::Verdict::NeedsAttention => Self::needs_attention("odoo_server_mismatch", STOPPED, &error),
        }
    }
}

impl From<RuntimeError> for StepError {
    fn from(error: RuntimeError) -> Self {
        match (error.class(), &error) {
            (Class::Unreachable, _) => Self::unreachable("runtime_unreachable", error.public(), &error),
            (Class::Busy, _) => Self::snooze(LATER, "runtime_busy", error.public(), &error),
            (Class::Transient, _) => Self::retry("runtime_error", error.public(), &error),
            (Class::Permanent, RuntimeError::NoInstallation { .. }) => {
                Self::permanent("odoo_version_unavailable", error.public(), &error)
            }
            (Class::Permanent, _) => Self::permanent("runtime_error", error.public(), &error),
            (Class::Foreign, _) => Self::permanent("name_taken", error.public(), &error),
            (Class::Stale, _) => Self::new(Verdict::LeaseLost, "lease_lost", BUSY, &error),
        }
    }
}

impl From<BackupError> for StepError {
    fn from(error: BackupError) -> Self {
        const AWAY: &str = "The store of the backups is not available at the moment; the operation goes on by itself.";
        const FAILED: &str = "The backup could not be read or written.";
        match (error.class(), &error) {
            (_, BackupError::ServerAway(_)) => Self::unreachable("odoo_server_unreachable", BUSY, &error),
            (backup::Class::Unreachable, _) => Self::unreachable("backup_store_unreachable", AWAY, &error),
            (backup::Class::Full, _) => {
                tracing::error!(error = %error, "there is no room for a backup");
                Self::snooze(MUCH_LATER, NO_ROOM, AWAY, &error)
            }
            (_, BackupError::Vanished { .. }) => Self::retry(VANISHED, FAILED, &error),
            (backup::Class::Transient, _) => Self::retry("backup_failed", FAILED, &error),
            (backup::Class::Permanent, BackupError::Damaged { .. }) => {
                Self::permanent("backup_damaged", "This backup is damaged. Nothing was changed.", &error)
            }
            (backup::Class::Permanent, _) => Self::permanent("backup_failed", FAILED, &error),
        }
    }
}

/// Undo removes what its operation made: what is not ours was not made by it.
pub(super) fn unless_foreign(removed: Result<(), RuntimeError>) -> Result<(), StepError> {
    match removed {
        Err(RuntimeError::Foreign(what)) => {
            tracing::warn!(what, "something that is not ours is left where it is");
            Ok(())
        }
        other => Ok(other?),
    }
}

/// A row that cannot be what we wrote.
pub(super) fn inconsistent(cause: impl std::fmt::Display) -> StepError {
    StepError::needs_attention("inconsistent_data", STOPPED, cause)
}

/// The row forbids what the operation was about to write: somebody was quicker, and the operation gives way.
pub(super) fn overtaken(cause: impl std::fmt::Display) -> StepError {
    StepError::new(Verdict::Cancelled, "overtaken", "Another request came first.", cause)
}

/// The directory that is shared with the API.
pub(super) fn transfer_failed(error: std::io::Error) -> StepError {
    use std::io::ErrorKind::{NotConnected, NotFound, QuotaExceeded, StorageFull};
    const AWAY: &str = "The place for archives is not available at the moment; the operation goes on by itself.";
    match error.kind() {
        NotConnected => StepError::unreachable("transfer_unreachable", AWAY, error),
        StorageFull | QuotaExceeded => {
            tracing::error!(%error, "there is no room for archives");
            StepError::permanent("no_room", "There is no room for the archive at the moment.", error)
        }
        NotFound => StepError::retry("transfer_failed", AWAY, format!("a file has vanished: {error}")),
        _ => StepError::retry("transfer_failed", AWAY, error),
    }
}
