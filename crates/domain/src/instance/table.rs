//! The one transition table (contract 6.3). What is not in it is refused.
//!
//! Of the rows for one event and status the first whose guards hold is taken.

use super::event::EventName as E;
use super::transition::Change::{Billing, Desired, GivenBilling, LiftSuspension, Observed, Phase, Provisioning, Suspend};
use super::transition::To::{Before, Is, Unchanged};
use super::transition::{Change, Guard as G, Message, To, Transition};
use super::words::DesiredState as D;
use super::words::Status::{
    self, ContainerMissing, Creating, Error, Maintenance, Paused, Restarting, Running, Starting, Stopped, Stopping, Terminated,
    Updating,
};
use super::words::{BillingStatus, ObservedState as O, Phase as P, ProvisioningStatus as V, Suspension};

const ANY: &[Status] = Status::ALL;
const LIVE: &[Status] =
    &[Creating, Starting, Running, Stopping, Stopped, Restarting, Updating, Maintenance, Error, ContainerMissing, Paused];
const LIVE_NOT_PAUSED: &[Status] =
    &[Creating, Starting, Running, Stopping, Stopped, Restarting, Updating, Maintenance, Error, ContainerMissing];
/// Where a backup or a restore can begin, and so where it leads back to.
const AT_REST: &[Status] = &[Running, Stopped, Error, ContainerMissing];
/// What an instance may be when a copy of its data ends that did not change its status.
const BESIDE_A_COPY: &[Status] = &[Running, Stopped, Error, ContainerMissing, Paused];
/// Statuses with data that a move leaves as they are.
const MOVED_AS_IS: &[Status] = &[Error, Terminated, ContainerMissing, Paused];
/// Statuses that only an operation under way explains. The rows for idle instances settle them to what is seen (contract 17).
const SEEN_DOWN: &[Status] = &[Running, Starting, Stopping, Restarting, Updating, Maintenance];

const SUSPENDED: Message = Message::Say("Instance suspended due to billing issues");
const SUSPENDED_BY_OPERATOR: Message = Message::Say("Instance suspended by an operator");
const TERMINATED: Message = Message::Say("Instance terminated due to subscription cancellation");

/// Every transition.
pub static TRANSITIONS: &[Transition] = &[
    on(E::Create, &[], Is(Creating)).change(&[Phase(P::Registered), Desired(D::None), Provisioning(V::Pending)]),
    // --- provision
    on(E::ProvisionAccepted, &[Creating], Unchanged).when(&[G::NoData, G::NotProvisioning]).change(PROVISION_ORDERED),
    on(E::ProvisionAccepted, &[Error], Is(Starting)).when(&[G::NoData, G::NotProvisioning]).change(PROVISION_ORDERED),
    // Suspended, or suspended until now: an earlier provisioning may still be undoing its work; the new one queues behind it.
    on(E::ProvisionAccepted, &[Stopped], Is(Starting)).when(&[G::NoData]).change(PROVISION_ORDERED),
    on(E::ProvisionAccepted, &[Paused], Is(Starting)).when(&[G::NoData, G::SuspensionMayBeLifted]).change(&[
        LiftSuspension,
        Provisioning(V::Provisioning),
        Desired(D::Running),
    ]),
    on(E::ProvisionBegins, &[Creating, Starting], Is(Starting)).when(&[G::NoData, G::Provisioning]).message(Message::Clear),
    on(E::ProvisionDone, &[Starting], Is(Running)).when(&[G::NoData, G::Provisioning]).change(&[
        Provisioning(V::Completed),
        Phase(P::Ready),
        Observed(O::Running),
    ]),
    on(E::ProvisionFailed, &[Creating, Starting], Is(Error))
        .when(&[G::NoData, G::Provisioning])
        .change(&[Provisioning(V::Failed)])
        .message(Message::Given),
    on(E::ProvisionPreempted, &[Paused, Stopped, Terminated], Unchanged)
        .when(&[G::Provisioning])
        .change(&[Provisioning(V::Pending)]),
    // --- start, stop, restart
    on(E::StartAccepted, &[Stopped, Error, ContainerMissing], Is(Starting)).when(&[G::HasData]).change(START_ORDERED),
    on(E::StartAccepted, &[Paused], Is(Starting)).when(&[G::HasData, G::SuspensionMayBeLifted]).change(&[
        LiftSuspension,
        Desired(D::Running),
        Provisioning(V::Completed),
    ]),
    on(E::StartDone, &[Starting], Is(Running)).when(&[G::HasData]).change(&[Observed(O::Running)]).message(Message::Clear),
    on(E::StartFailed, &[Starting], Is(Error)).when(&[G::HasData]).message(Message::Given),
    on(E::StopAccepted, &[Running, Starting, Restarting, Error], Is(Stopping)).when(&[G::HasData]).change(&[Desired(D::Stopped)]),
    on(E::StopDone, &[Stopping], Is(Stopped)).change(&[Observed(O::Stopped)]).message(Message::Clear),
    on(E::StopFailed, &[Stopping], Is(Error)).message(Message::Given),
    on(E::StopAgain, &[Stopped, Stopping, Error, ContainerMissing], Is(Stopping)).when(&[G::HasData, G::ShallNotRun]),
    on(E::RestartAccepted, &[Running, Error], Is(Restarting)).when(&[G::HasData]).change(&[Desired(D::Running)]),
    on(E::RestartDone, &[Restarting], Is(Running)).change(&[Observed(O::Running)]).message(Message::Clear),
    on(E::RestartFailed, &[Restarting], Is(Error)).message(Message::Given),
    // --- backup, restore, update, relocate
    on(E::BackupBegins, AT_REST, Is(Maintenance)).when(&[G::HasData]),
    on(E::BackupBegins, &[Paused], Unchanged).when(&[G::HasData]),
    on(E::BackupEnds, &[Maintenance], Before(AT_REST)),
    // Suspended meanwhile, or no longer: then the row says already what it is.
    on(E::BackupEnds, BESIDE_A_COPY, Unchanged).when(&[G::HasData]),
    on(E::RestoreBegins, AT_REST, Is(Maintenance)).when(&[G::HasData]),
    on(E::RestoreRuns, &[Maintenance], Unchanged).when(&[G::HasData]).change(&[Desired(D::Running)]),
    on(E::RestoreStays, &[Maintenance], Unchanged).when(&[G::HasData]).change(&[Desired(D::Stopped)]),
    on(E::RestoreDone, &[Maintenance], Is(Running)).when(&[G::ShallRun]).change(&[Observed(O::Running)]).message(Message::Clear),
    on(E::RestoreDone, &[Maintenance], Is(Stopped))
        .when(&[G::ShallNotRun])
        .change(&[Observed(O::Stopped)])
        .message(Message::Clear),
    // Suspended or terminated after the switch: what was restored is what is there.
    on(E::RestoreDone, &[Paused, Terminated], Unchanged).when(&[G::HasData]),
    on(E::RestoreFailed, &[Maintenance], Before(AT_REST)).message(Message::Given),
    on(E::UpdateBegins, &[Running], Is(Updating)).when(&[G::HasData]),
    on(E::UpdateDone, &[Updating], Is(Running)).change(&[Observed(O::Running)]).message(Message::Clear),
    on(E::UpdateDone, &[Paused, Terminated], Unchanged).when(&[G::HasData]),
    on(E::UpdateRolledBack, &[Updating], Is(Running)).change(&[Observed(O::Running)]).message(Message::Given),
    on(E::RelocateBegins, &[Running, Stopped], Is(Maintenance)).when(&[G::HasData]),
    on(E::RelocateBegins, MOVED_AS_IS, Unchanged).when(&[G::HasData]),
    on(E::RelocateEnds, &[Maintenance], Before(&[Running, Stopped])),
    on(E::RelocateEnds, MOVED_AS_IS, Unchanged).when(&[G::HasData]),
    on(E::WayBackFailed, &[Maintenance, Updating], Is(Error)).message(Message::Given),
    // --- suspend, unsuspend
    on(E::SuspendForDebt, LIVE_NOT_PAUSED, Is(Paused)).change(SUSPENDED_FOR_DEBT).message(SUSPENDED),
    on(E::SuspendForDebt, &[Paused], Unchanged).when(&[G::NotHeldByOperator]).change(SUSPENDED_FOR_DEBT).message(SUSPENDED),
    on(E::SuspendForDebt, &[Paused], Unchanged).when(&[G::HeldByOperator]).change(&[Billing(BillingStatus::PaymentRequired)]),
    on(E::SuspendByOperator, LIVE, Is(Paused))
        .change(&[Suspend(Suspension::Operator), Desired(D::Stopped)])
        .message(SUSPENDED_BY_OPERATOR),
    on(E::Unsuspend, &[Paused], Is(Stopped))
        .change(&[LiftSuspension])
        .message(Message::Say("Instance unsuspended - ready to start")),
    // --- terminate, reactivate, delete
    on(E::Terminate, LIVE, Is(Terminated)).change(&[LiftSuspension, Desired(D::Terminated)]).message(TERMINATED),
    on(E::Terminate, &[Terminated], Unchanged),
    on(E::ReactivationOrdered, &[Terminated], Unchanged).when(&[G::NotPurged]).change(&[GivenBilling]),
    on(E::Reactivate, &[Terminated], Is(Starting))
        .when(&[G::HasData, G::Paid])
        .change(&[GivenBilling, Desired(D::Running), Provisioning(V::Completed)])
        .message(Message::Clear),
    on(E::Reactivate, &[Terminated], Is(Starting))
        .when(&[G::NoData, G::Paid])
        .change(&[GivenBilling, Desired(D::Running), Provisioning(V::Provisioning)])
        .message(Message::Clear),
    on(E::Delete, LIVE, Is(Terminated))
        .change(&[LiftSuspension, Desired(D::Terminated), Phase(P::Purging)])
        .message(Message::Given),
    on(E::Delete, &[Terminated], Unchanged).when(&[G::NotPurged]).change(&[Phase(P::Purging)]),
    on(E::Delete, &[Terminated], Unchanged).when(&[G::PurgeBegun]),
    on(E::Purged, &[Terminated], Unchanged).when(&[G::BeingPurged]).change(&[Phase(P::Purged), Observed(O::Absent)]),
    // --- what monitoring sees while no operation is active
    on(
        E::ObservedAbsent,
        &[Running, Stopped, Error, Starting, Stopping, Restarting, Updating, Maintenance],
        Is(ContainerMissing),
    )
    .when(&[G::HasData])
    .change(&[Observed(O::Absent)])
    .message(Message::Given)
    .when_idle(),
    // Not from stopping: what is stopping shall not run; its stop is queued again.
    on(E::ObservedRunning, &[ContainerMissing, Error, Starting, Restarting, Updating, Maintenance], Is(Running))
        .when(&[G::HasData, G::ShallRun])
        .change(&[Observed(O::Running)])
        .message(Message::Clear)
        .when_idle(),
    on(E::ObservedFailed, SEEN_DOWN, Is(Error))
        .when(&[G::HasData])
        .change(&[Observed(O::Failed)])
        .message(Message::Given)
        .when_idle(),
    on(E::ObservedUnhealthy, SEEN_DOWN, Is(Error))
        .when(&[G::HasData])
        .change(&[Observed(O::Unhealthy)])
        .message(Message::Given)
        .when_idle(),
    on(E::ObservedStopped, SEEN_DOWN, Is(Stopped))
        .when(&[G::HasData])
        .change(&[Observed(O::Stopped)])
        .message(Message::Given)
        .when_idle(),
    // --- billing
    on(E::BillingUpdated, ANY, Unchanged).change(&[GivenBilling]),
];

const PROVISION_ORDERED: &[Change] = &[Provisioning(V::Provisioning), Desired(D::Running)];
/// Data that is started was provisioned, whatever an older release wrote (contract 8.1).
const START_ORDERED: &[Change] = &[Desired(D::Running), Provisioning(V::Completed)];
const SUSPENDED_FOR_DEBT: &[Change] = &[Suspend(Suspension::Debt), Billing(BillingStatus::PaymentRequired), Desired(D::Stopped)];

const fn on(event: E, from: &'static [Status], to: To) -> Transition {
    Transition { event, from, guards: &[], to, changes: &[], message: Message::Keep, idle: false }
}

impl Transition {
    const fn when(self, guards: &'static [G]) -> Self {
        Self { guards, ..self }
    }

    const fn change(self, changes: &'static [Change]) -> Self {
        Self { changes, ..self }
    }

    const fn message(self, message: Message) -> Self {
        Self { message, ..self }
    }

    const fn when_idle(self) -> Self {
        Self { idle: true, ..self }
    }
}
