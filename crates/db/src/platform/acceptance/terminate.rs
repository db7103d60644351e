//! Taking an instance out of service; its data stays (contract 6.3, 7, 12.7).

use super::{follow, new_id, take_back_queued};
use crate::error::DbResult;
use crate::platform::PlatformTx;
use crate::platform::audit::AuditContext;
use crate::platform::instances::{Change, Instance, happen, lock};
use crate::platform::operations::preempt;
use domain::ids::{InstanceId, OperationId};
use domain::instance::{Event, ObservedState, Phase};
use domain::operation::Kind;
use domain::sources::Entropy;

/// One call.
#[derive(Clone, Debug)]
pub struct Terminate {
    /// Which instance.
    pub instance_id: InstanceId,
    /// Why; appended to the row's message.
    pub reason: Option<String>,
}

/// What became of a call.
#[derive(Clone, Debug)]
#[must_use]
#[expect(clippy::large_enum_variant, reason = "one value per request")]
pub enum Terminated {
    /// No such instance. 404.
    NotFound,
    /// The row says terminated. Always succeeds, repeated or not.
    Done {
        /// As it is now.
        instance: Instance,
        /// The runtime work, if there is any.
        operation: Option<OperationId>,
    },
}

/// The row changes at once and wins over whatever is under way; the runtime work is queued in front. Needs neither the runtime
/// nor postgres2.
///
/// # Errors
/// Database errors only.
pub async fn terminate(
    tx: &mut PlatformTx,
    request: Terminate,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Terminated> {
    let Some(before) = lock(tx, request.instance_id).await? else { return Ok(Terminated::NotFound) };
    let preempted = preempt(tx, before.id, Kind::Terminate).await?;
    let work = match preempted.absorbed_by {
        Some(same) => Some((same, false)),
        None => has_work(&before).then(|| (new_id(entropy), true)),
    };
    let change = Change { operation_id: work.map(|(id, _)| id), reason: request.reason.clone(), ..Change::default() };
    // A repetition changes nothing; the table has this event for every status.
    let instance = happen(tx, &before, Event::Terminate, change, by).await?.unwrap_or(before);
    let instance = take_back_queued(tx, instance, &preempted, by).await?;
    let operation = match work {
        Some((id, true)) => follow(tx, id, &instance, Kind::Terminate, request.reason, by).await?,
        other => other.map(|(id, _)| id),
    };
    Ok(Terminated::Done { instance: instance.with_operation(operation), operation })
}

/// Whether anything of it may be up: something is being made, or it has a place and was not seen gone. What is being purged, or is
/// purged, is taken care of.
fn has_work(instance: &Instance) -> bool {
    let made = instance.placement.is_some() || !instance.adopted && instance.axes.has_data();
    let gone = !instance.axes.is_live() && instance.axes.observed == ObservedState::Absent;
    let purge_begun = matches!(instance.axes.phase, Phase::Purging | Phase::Purged);
    !purge_begun && !gone && (made || instance.operation_id.is_some())
}
