//! Lifting a suspension, whoever ordered it (contract 6.4, 7, 12.6).

use super::act::resume;
use crate::error::{DbError, DbResult};
use crate::platform::PlatformTx;
use crate::platform::audit::AuditContext;
use crate::platform::instances::{Change, Instance, Refused, happen, lock};
use domain::ids::{InstanceId, OperationId};
use domain::instance::{BillingStatus, DesiredState, Event, NotAllowed, Suspension};
use domain::sources::Entropy;

/// One call.
#[derive(Clone, Debug)]
pub struct Unsuspend {
    /// Which instance.
    pub instance_id: InstanceId,
    /// Why.
    pub reason: Option<String>,
}

/// What became of a call.
#[derive(Clone, Debug)]
#[must_use]
#[expect(clippy::large_enum_variant, reason = "one value per request")]
pub enum Unsuspended {
    /// No such instance. 404.
    NotFound,
    /// Not suspended. 400.
    NotAllowed(NotAllowed),
    /// Lifted.
    Done {
        /// As it is now.
        instance: Instance,
        /// The start, if it shall run again and is paid.
        operation: Option<OperationId>,
    },
}

/// The instance may be started again. One that ran before, and is paid or on trial, is.
///
/// # Errors
/// Database errors only.
pub async fn unsuspend(
    tx: &mut PlatformTx,
    request: Unsuspend,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Unsuspended> {
    let Some(before) = lock(tx, request.instance_id).await? else { return Ok(Unsuspended::NotFound) };
    let runs_again = before.axes.resume_to == Some(DesiredState::Running)
        && before.axes.billing != BillingStatus::PaymentRequired
        && before.adopted;
    let change = Change { reason: request.reason.clone(), ..Change::default() };
    let instance = match happen(tx, &before, Event::Unsuspend, change, by).await? {
        Ok(instance) => instance,
        Err(Refused::NotAllowed(refused)) => return Ok(Unsuspended::NotAllowed(refused)),
        // No transition of a suspension waits for an idle instance.
        Err(Refused::Busy(_)) => return Err(DbError::Stale),
    };
    let was_debt = before.axes.suspension == Suspension::Debt;
    if runs_again && let Some((instance, id)) = resume(tx, instance.clone(), was_debt, request.reason, entropy, by).await? {
        return Ok(Unsuspended::Done { instance, operation: Some(id) });
    }
    Ok(Unsuspended::Done { instance, operation: None })
}
