//! Taking an instance down for debt, or because an operator says so (contract 6.4, 7, 12.6). Its data stays.

use super::{follow, new_id, take_back_queued};
use crate::error::{DbError, DbResult};
use crate::platform::PlatformTx;
use crate::platform::audit::AuditContext;
use crate::platform::instances::{Change, Instance, Refused, happen, lock};
use crate::platform::operations::{Preempted, preempt};
use domain::ids::{InstanceId, OperationId};
use domain::instance::{Action, Event, NotAllowed, ObservedState, Status, Suspension};
use domain::operation::Kind;
use domain::sources::Entropy;

/// One call.
#[derive(Clone, Debug)]
pub struct Suspend {
    /// Which instance.
    pub instance_id: InstanceId,
    /// An operator's suspension is lifted by an operator only; every other one is for debt.
    pub by_operator: bool,
    /// Why; kept in the row.
    pub reason: Option<String>,
}

/// What became of a call.
#[derive(Clone, Debug)]
#[must_use]
#[expect(clippy::large_enum_variant, reason = "one value per request")]
pub enum Suspended {
    /// No such instance. 404.
    NotFound,
    /// Out of service already. 400.
    NotAllowed(NotAllowed),
    /// The row says paused, repeated or not.
    Done {
        /// As it is now.
        instance: Instance,
        /// The runtime work, if there is any.
        operation: Option<OperationId>,
    },
}

/// The row changes at once and wins over whatever is under way; the runtime work is queued in front. Needs neither the runtime nor
/// postgres2.
///
/// # Errors
/// Database errors only.
pub async fn suspend(tx: &mut PlatformTx, request: Suspend, entropy: &dyn Entropy, by: &AuditContext) -> DbResult<Suspended> {
    let Some(before) = lock(tx, request.instance_id).await? else { return Ok(Suspended::NotFound) };
    if !before.axes.is_live() {
        return Ok(Suspended::NotAllowed(Action::Suspend.refusal(&before.axes)));
    }
    let preempted = preempt(tx, before.id, Kind::Suspend).await?;
    let work = match preempted.absorbed_by {
        Some(same) => Some((same, false)),
        None => has_work(&before, &preempted).then(|| (new_id(entropy), true)),
    };
    let event = if request.by_operator { Event::SuspendByOperator } else { Event::SuspendForDebt };
    let change = Change { operation_id: work.map(|(id, _)| id), reason: request.reason.clone(), ..Change::default() };
    let instance = match happen(tx, &before, event, change, by).await? {
        Ok(instance) => instance,
        Err(Refused::NotAllowed(refused)) => return Ok(Suspended::NotAllowed(refused)),
        // No transition of a suspension waits for an idle instance.
        Err(Refused::Busy(_)) => return Err(DbError::Stale),
    };
    let instance = take_back_queued(tx, instance, &preempted, by).await?;
    let operation = match work {
        Some((id, true)) => follow(tx, id, &instance, Kind::Suspend, request.reason, by).await?,
        other => other.map(|(id, _)| id),
    };
    Ok(Suspended::Done { instance: instance.with_operation(operation), operation })
}

/// Whether anything of it may be up: something is being made, or it has a place and was not seen down since it was suspended.
fn has_work(before: &Instance, preempted: &Preempted) -> bool {
    let suspended = before.axes.suspension != Suspension::None && before.axes.status == Status::Paused;
    let down = suspended && matches!(before.axes.observed, ObservedState::Absent | ObservedState::Stopped);
    preempted.asked.is_some() || before.placement.is_some() && !down
}
