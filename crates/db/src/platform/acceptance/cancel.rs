//! Cancelling an operation on request (contract 5): the operation, and what its acceptance wrote into the row.

use super::Before;
use crate::error::DbResult;
use crate::platform::PlatformTx;
use crate::platform::audit::{self, AuditContext, Entry};
use crate::platform::instances::{Change, Instance, advance, happen, lock};
use crate::platform::operations::{CancelOutcome, request_cancel};
use domain::ids::{InstanceId, OperationId};
use domain::instance::{Event, ProvisioningStatus, shows};
use domain::operation::Kind;
use serde_json::{Value, json};

/// One call.
#[derive(Clone, Debug)]
pub struct CancelRequest {
    /// The operation.
    pub operation_id: OperationId,
    /// Why.
    pub reason: String,
}

/// What became of a call.
pub type Cancelled = CancelOutcome;

/// Cancels an operation that is still queued, or asks the worker to give it up.
///
/// # Errors
/// Database errors only.
pub async fn cancel(tx: &mut PlatformTx, request: &CancelRequest, by: &AuditContext) -> DbResult<Cancelled> {
    let Some(subject) = subject(tx, request.operation_id).await? else { return Ok(CancelOutcome::Unknown) };
    let instance_id = subject.instance_id;
    // The row before the operation, in the order of every use case.
    let instance = match instance_id {
        Some(id) => lock(tx, id).await?,
        None => None,
    };
    let outcome = request_cancel(tx, request.operation_id, &request.reason).await?;
    if !matches!(outcome, CancelOutcome::Cancelled | CancelOutcome::Requested) {
        return Ok(outcome);
    }
    let entry = Entry {
        action: "cancel",
        instance_id,
        operation_id: Some(request.operation_id),
        from: instance.as_ref().map(|instance| instance.axes.status),
        to: instance.as_ref().map(|instance| instance.axes.status),
        details: json!({ "reason": request.reason }),
    };
    audit::record(tx, by, &entry).await?;
    if let (CancelOutcome::Cancelled, Some(kind), Some(instance)) = (outcome, subject.kind, &instance) {
        match kind {
            Kind::Provision => {
                take_back_provision(tx, instance, request.operation_id, "Provisioning was cancelled", by).await?;
            }
            _ => take_back(tx, instance, request.operation_id, kind, &subject.params, by).await?,
        }
    }
    Ok(outcome)
}

/// The row says again what it said before, if it still shows what was accepted.
async fn take_back(
    tx: &mut PlatformTx,
    instance: &Instance,
    operation: OperationId,
    kind: Kind,
    params: &Value,
    by: &AuditContext,
) -> DbResult<()> {
    let Some(before) = Before::read(params).filter(|_| shows(instance.axes.status, kind)) else { return Ok(()) };
    let change = Change { operation_id: Some(operation), ..Change::default() };
    advance(tx, instance, "taken_back", before.restored(&instance.axes), change, by).await.map(drop)
}

/// What a call is about.
struct Subject {
    instance_id: Option<InstanceId>,
    kind: Option<Kind>,
    params: Value,
}

/// The row no longer waits for a provisioning that is over. Where a suspend or terminate came first, the status is theirs.
pub(in crate::platform) async fn take_back_provision(
    tx: &mut PlatformTx,
    instance: &Instance,
    operation: OperationId,
    reason: &str,
    by: &AuditContext,
) -> DbResult<()> {
    if instance.axes.provisioning != ProvisioningStatus::Provisioning {
        return Ok(());
    }
    let preempted = Change { operation_id: Some(operation), ..Change::default() };
    if happen(tx, instance, Event::ProvisionPreempted, preempted, by).await?.is_ok() {
        return Ok(());
    }
    let change = Change { reason: Some(reason.to_owned()), operation_id: Some(operation), ..Change::default() };
    if happen(tx, instance, Event::ProvisionFailed, change, by).await?.is_err() {
        tracing::debug!(instance = %instance.id, "nothing to take back");
    }
    Ok(())
}

async fn subject(tx: &mut PlatformTx, id: OperationId) -> DbResult<Option<Subject>> {
    let row = sqlx::query!("SELECT instance_id, kind, params FROM instance_service.operations WHERE id = $1", id.as_uuid())
        .fetch_optional(tx.conn())
        .await?;
    Ok(row.map(|row| Subject {
        instance_id: row.instance_id.map(InstanceId::from_uuid),
        kind: Kind::parse(&row.kind),
        params: row.params,
    }))
}
