//! The requests that change an instance, each in one transaction of the caller: row, operation, audit trail, wake-up
//! (contract 11.1). One file per use case; doors and webhooks share them.
//!
//! Owns: the order of checks, and which rows one request writes. Every use case locks the instance first, asks the
//! transition table, and stores by compare-and-set.
//! Leaves to others: what is legal (`domain`), the words and codes of answers (`api`), the idempotency key and the commit
//! (the caller, in the same transaction).
//!
//! A new use case: its file with a request, an outcome that names every answer, and one function; its tests.

mod act;
mod again;
mod amend;
mod apply_resources;
mod before;
mod cancel;
mod clone;
mod compare;
mod create;
mod delete;
mod delete_backup;
mod export_backup;
mod forget_replaced;
mod import_backup;
mod provision;
mod prune_backups;
mod reactivate;
mod suspend;
mod terminate;
mod unsuspend;
mod verify_backup;

pub use act::{Act, Acted, Update, act, back_up, undo_restore};
pub use again::{resume_paid, take_down_again};
pub use amend::{Amend, Amended, amend};
pub use apply_resources::{Applied, ApplyResources, apply_resources};
use before::Before;

pub(in crate::platform) use cancel::take_back_provision;
pub use cancel::{CancelRequest, Cancelled, cancel};
pub use clone::{CloneInstance, Cloned, back_up_original, clone_instance};
pub use compare::{Compare, compare};
pub use create::{Create, Created, create};
pub use delete::{Delete, Deleted, delete, purge};
pub use delete_backup::{BackupDeleted, delete_backup};
pub use export_backup::{BackupExported, ExportBackup, export_backup};
pub use forget_replaced::forget_replaced;
pub use import_backup::{BackupImported, ImportBackup, cannot_import, import_backup};
pub use provision::{Provision, Provisioned, Skip, Trigger, provision};
pub use prune_backups::prune_backups;
pub use reactivate::{Reactivate, Reactivated, reactivate};
pub use suspend::{Suspend, Suspended, suspend};
pub use terminate::{Terminate, Terminated, terminate};
pub use unsuspend::{Unsuspend, Unsuspended, unsuspend};
pub use verify_backup::{BackupVerified, VerifyBackup, verify_backup};

use crate::error::DbResult;
use crate::platform::PlatformTx;
use crate::platform::audit::AuditContext;
use crate::platform::instances::{Change, Instance, happen};
use crate::platform::operations::{Enqueued, NewOperation, Preempted, Scope, enqueue};
use domain::ids::{InstanceId, OperationId};
use domain::instance::{Event, ProvisioningStatus};
use domain::operation::Kind;
use domain::sources::{Entropy, random_uuid};
use serde_json::json;

fn new_id(entropy: &dyn Entropy) -> OperationId {
    OperationId::from_uuid(random_uuid(entropy))
}

/// An operation that takes the instance's place and needs nothing but the row.
fn operation(id: OperationId, instance: InstanceId, kind: Kind, reason: Option<String>) -> NewOperation {
    NewOperation {
        id,
        scope: Scope::Instance(instance),
        instance_id: Some(instance),
        kind,
        params: json!({}),
        priority: 0,
        reason,
        trace_parent: None,
    }
}

/// Queues what brings the runtime to where the row is already. Closing access is never refused.
async fn follow(
    tx: &mut PlatformTx,
    id: OperationId,
    instance: &Instance,
    kind: Kind,
    reason: Option<String>,
    by: &AuditContext,
) -> DbResult<Option<OperationId>> {
    Ok(match enqueue(tx, operation(id, instance.id, kind, reason), by).await? {
        Enqueued::Accepted(id) | Enqueued::Joined(id) => Some(id),
        Enqueued::QueueFull => None,
    })
}

/// A provisioning that was still queued has made nothing: the row no longer waits for it. One at work takes itself back.
async fn take_back_queued(
    tx: &mut PlatformTx,
    instance: Instance,
    preempted: &Preempted,
    by: &AuditContext,
) -> DbResult<Instance> {
    let nobody_undoes = preempted.asked.is_none() && !preempted.cancelled.is_empty();
    if instance.axes.provisioning != ProvisioningStatus::Provisioning || !nobody_undoes {
        return Ok(instance);
    }
    let taken_back = happen(tx, &instance, Event::ProvisionPreempted, Change::default(), by).await?;
    Ok(taken_back.unwrap_or(instance))
}
