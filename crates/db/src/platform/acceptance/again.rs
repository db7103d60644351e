//! Work of the worker's own accord (contract 17): an instance that shall be down and is up is taken down again; one whose debt is
//! paid comes back if nobody started it.

use super::act::resume;
use super::{new_id, operation};
use crate::error::DbResult;
use crate::platform::PlatformTx;
use crate::platform::audit::{self, AuditContext, Entry};
use crate::platform::instances::{Change, Instance, happen, lock};
use crate::platform::operations::{Enqueued, NewOperation, enqueue};
use domain::ids::{InstanceId, OperationId};
use domain::instance::{BillingStatus, DesiredState, Event, Status, Suspension};
use domain::operation::Kind;
use domain::sources::Entropy;
use serde_json::json;

/// Queues the work again that took it down, unless something is under way or it shall run. Whether it is up is for the caller to have
/// seen.
///
/// # Errors
/// Database errors only.
pub async fn take_down_again(
    tx: &mut PlatformTx,
    id: InstanceId,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Option<OperationId>> {
    let Some(instance) = lock(tx, id).await?.filter(|row| row.operation_id.is_none() && row.adopted) else { return Ok(None) };
    let operation_id = new_id(entropy);
    let kind = match (instance.axes.status, instance.axes.desired) {
        (Status::Terminated, _) => Kind::Terminate,
        (Status::Paused, _) => Kind::Suspend,
        (_, DesiredState::Stopped) => Kind::Stop,
        _ => return Ok(None),
    };
    if kind == Kind::Stop {
        let change = Change { operation_id: Some(operation_id), ..Change::default() };
        if happen(tx, &instance, Event::StopAgain, change, by).await?.is_err() {
            return Ok(None);
        }
    }
    let new = NewOperation { params: json!({ "again": true }), ..operation(operation_id, id, kind, Some(WHY.to_owned())) };
    let Enqueued::Accepted(accepted) = enqueue(tx, new, by).await? else { return Ok(None) };
    note(tx, &instance, kind, accepted, by).await?;
    Ok(Some(accepted))
}

const WHY: &str = "it ran although it should not";

async fn note(tx: &mut PlatformTx, instance: &Instance, kind: Kind, id: OperationId, by: &AuditContext) -> DbResult<()> {
    let entry = Entry {
        action: kind.as_str(),
        instance_id: Some(instance.id),
        operation_id: Some(id),
        from: Some(instance.axes.status),
        to: None,
        details: json!({ "again": true }),
    };
    audit::record(tx, by, &entry).await
}

/// Starts an instance that was suspended for a debt, is paid or on trial since before the time of grace, and ran before.
///
/// # Errors
/// Database errors only.
pub async fn resume_paid(
    tx: &mut PlatformTx,
    id: InstanceId,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Option<OperationId>> {
    let Some(instance) = lock(tx, id).await?.filter(|row| row.operation_id.is_none() && row.adopted) else { return Ok(None) };
    let axes = &instance.axes;
    let paid = axes.billing != BillingStatus::PaymentRequired && axes.suspension == Suspension::Debt;
    if !paid || axes.resume_to != Some(DesiredState::Running) {
        return Ok(None);
    }
    let started = resume(tx, instance, true, Some("its payment has arrived".to_owned()), entropy, by).await?;
    Ok(started.map(|(_, operation)| operation))
}
