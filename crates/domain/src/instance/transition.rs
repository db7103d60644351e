//! How a row of the table is written and applied. Pure and total: every axes and event give new axes or a refusal.

use super::axes::Axes;
use super::event::{Event, EventName};
use super::table::TRANSITIONS;
use super::words::{BillingStatus, DesiredState, ObservedState, Phase, ProvisioningStatus, Status, Suspension};

/// One row: on `event`, from any of `from`, if every guard holds, go `to` and make the changes.
#[derive(Debug)]
pub struct Transition {
    /// What happens.
    pub event: EventName,
    /// The statuses in which this row applies; empty for the creation.
    pub from: &'static [Status],
    /// Conditions on the other axes.
    pub guards: &'static [Guard],
    /// The status afterwards.
    pub to: To,
    /// What else changes.
    pub changes: &'static [Change],
    /// What happens to `error_message`.
    pub message: Message,
    /// Only to be used while no operation is active on the instance; whoever applies it has to look, under the row lock.
    pub idle: bool,
}

/// The status after a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// As it is.
    Unchanged,
    /// This one.
    Is(Status),
    /// The one that the event carries; it must be one of these.
    Before(&'static [Status]),
}

/// A condition on the axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// Phase `ready`.
    HasData,
    /// Phase `registered`.
    NoData,
    /// Neither purged nor being purged.
    NotPurged,
    /// Being purged.
    BeingPurged,
    /// Purged, or being purged.
    PurgeBegun,
    /// Not suspended, or for a debt that is paid meanwhile.
    SuspensionMayBeLifted,
    /// Suspended by an operator.
    HeldByOperator,
    /// Not suspended by an operator.
    NotHeldByOperator,
    /// A provisioning is under way.
    Provisioning,
    /// No provisioning is under way.
    NotProvisioning,
    /// Desired state running.
    ShallRun,
    /// Any other desired state.
    ShallNotRun,
    /// The event's billing status allows an instance to run.
    Paid,
}

/// A change of another axis than the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Set the phase.
    Phase(Phase),
    /// Set the desired state.
    Desired(DesiredState),
    /// Suspend, remembering the desired state; a second suspension keeps what the first one remembered.
    Suspend(Suspension),
    /// Lift the suspension and forget what to resume to.
    LiftSuspension,
    /// Set the observed state.
    Observed(ObservedState),
    /// Set the billing status.
    Billing(BillingStatus),
    /// Set the billing status that the event carries.
    GivenBilling,
    /// Set the provisioning status.
    Provisioning(ProvisioningStatus),
}

/// What a transition does to `error_message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Nothing.
    Keep,
    /// Removes it.
    Clear,
    /// Sets this text; a given reason is appended in brackets.
    Say(&'static str),
    /// Sets the given reason; without one it stays.
    Given,
}

impl Message {
    /// The new text of the column: `None` leaves it, `Some(None)` removes it.
    pub fn text(self, reason: Option<&str>) -> Option<Option<String>> {
        let reason = reason.map(str::trim).filter(|r| !r.is_empty());
        match (self, reason) {
            (Self::Keep, _) | (Self::Given, None) => None,
            (Self::Clear, _) => Some(None),
            (Self::Say(text), None) => Some(Some(text.to_owned())),
            (Self::Say(text), Some(reason)) => Some(Some(format!("{text} ({reason})"))),
            (Self::Given, Some(reason)) => Some(Some(reason.to_owned())),
        }
    }
}

/// An event that the table does not have for this state. The text is fit for a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", super::refusal::text(self))]
pub struct NotAllowed {
    /// The status at that time.
    pub status: Status,
    /// What was tried.
    pub event: EventName,
    /// What stands against it.
    pub why: Why,
}

/// What stands against an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The status has no row for it.
    Status,
    /// A guard does not hold.
    Guard(Guard),
    /// A payment is outstanding: 402 instead of 400.
    PaymentOutstanding,
    /// The status to go back to is not one that the operation can have begun in.
    Before(Status),
}

/// The axes of a new record.
pub fn create(billing: BillingStatus) -> Axes {
    let mut axes = Axes {
        status: Status::Creating,
        phase: Phase::Registered,
        desired: DesiredState::None,
        suspension: Suspension::None,
        resume_to: None,
        observed: ObservedState::Unknown,
        billing,
        provisioning: ProvisioningStatus::Pending,
    };
    for row in TRANSITIONS.iter().filter(|row| row.event == EventName::Create) {
        axes = row.applied(&axes, Event::Create);
    }
    axes
}

/// The axes after `event`, or why it is not allowed.
pub fn apply(axes: &Axes, event: Event) -> Result<Axes, NotAllowed> {
    find(axes, event).map(|row| row.applied(axes, event))
}

/// The row of the table that `event` selects: its message and whether it needs an idle instance.
pub fn find(axes: &Axes, event: Event) -> Result<&'static Transition, NotAllowed> {
    let mut why = Why::Status;
    for row in TRANSITIONS.iter().filter(|row| row.event == event.name() && row.from.contains(&axes.status)) {
        match row.obstacle(axes, event) {
            None => return Ok(row),
            // The first row is the usual case; its obstacle is the one worth telling.
            Some(obstacle) if why == Why::Status => why = obstacle,
            Some(_) => {}
        }
    }
    Err(NotAllowed { status: axes.status, event: event.name(), why })
}

impl Transition {
    fn obstacle(&self, axes: &Axes, event: Event) -> Option<Why> {
        if let Some(guard) = self.guards.iter().find(|guard| !guard.holds(axes, event)) {
            return Some(guard.obstacle(axes));
        }
        match (self.to, event.before()) {
            (To::Before(allowed), Some(before)) if !allowed.contains(&before) => Some(Why::Before(before)),
            _ => None,
        }
    }

    fn applied(&self, axes: &Axes, event: Event) -> Axes {
        let status = match self.to {
            To::Unchanged => axes.status,
            To::Is(status) => status,
            To::Before(_) => event.before().unwrap_or(axes.status),
        };
        self.changes.iter().fold(Axes { status, ..*axes }, |axes, change| change.made(axes, event))
    }
}

impl Guard {
    /// Whether the condition holds.
    pub fn holds(self, axes: &Axes, event: Event) -> bool {
        let purge_begun = matches!(axes.phase, Phase::Purging | Phase::Purged);
        let by_operator = axes.suspension == Suspension::Operator;
        match self {
            Self::HasData => axes.has_data(),
            Self::NoData => axes.phase == Phase::Registered,
            Self::NotPurged => !purge_begun,
            Self::BeingPurged => axes.phase == Phase::Purging,
            Self::PurgeBegun => purge_begun,
            Self::SuspensionMayBeLifted => super::gate(axes).is_ok() && !by_operator,
            Self::HeldByOperator => by_operator,
            Self::NotHeldByOperator => !by_operator,
            Self::Provisioning => axes.provisioning == ProvisioningStatus::Provisioning,
            Self::NotProvisioning => axes.provisioning != ProvisioningStatus::Provisioning,
            Self::ShallRun => axes.desired == DesiredState::Running,
            Self::ShallNotRun => axes.desired != DesiredState::Running,
            Self::Paid => event.billing().is_some_and(|billing| billing != BillingStatus::PaymentRequired),
        }
    }

    fn obstacle(self, axes: &Axes) -> Why {
        match self {
            Self::SuspensionMayBeLifted if axes.suspension == Suspension::Debt => Why::PaymentOutstanding,
            Self::HasData | Self::NoData if matches!(axes.phase, Phase::Purging | Phase::Purged) => Why::Guard(Self::NotPurged),
            other => Why::Guard(other),
        }
    }
}

impl Change {
    fn made(self, axes: Axes, event: Event) -> Axes {
        match self {
            Self::Phase(phase) => Axes { phase, ..axes },
            Self::Desired(desired) => Axes { desired, ..axes },
            Self::Suspend(suspension) => Axes { suspension, resume_to: axes.resume_to.or(Some(axes.desired)), ..axes },
            Self::LiftSuspension => Axes { suspension: Suspension::None, resume_to: None, ..axes },
            Self::Observed(observed) => Axes { observed, ..axes },
            Self::Billing(billing) => Axes { billing, ..axes },
            Self::GivenBilling => Axes { billing: event.billing().unwrap_or(axes.billing), ..axes },
            Self::Provisioning(provisioning) => Axes { provisioning, ..axes },
        }
    }
}
