//! What an observation means for an instance. Pure.

use domain::instance::{Axes, DesiredState, Event, ObservedState, Status, Suspension, apply};

/// How many looks in a row must find an instance not answering before it counts as unhealthy (contract 17).
pub(super) const PATIENCE: u32 = 5;

/// What was seen of one instance. Seeing nothing, because nobody could be asked, is not among these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// No service.
    Absent,
    /// It is there and down, by request.
    Stopped,
    /// It comes up.
    Starting,
    /// It accepts connections; whether Odoo is well was not looked at.
    Up,
    /// Odoo answers.
    Healthy,
    /// It accepts connections, and Odoo has not answered this many times in a row.
    NotAnswering(u32),
    /// It exited by itself.
    Failed,
}

impl Sight {
    /// What to store as the observed state in place of `known`; `None` leaves it. What is up counts as running where it was thought
    /// to be down; whether Odoo is well is for the health check.
    pub(super) const fn observed(self, known: ObservedState) -> Option<ObservedState> {
        match self {
            Self::Up if matches!(known, ObservedState::Absent | ObservedState::Stopped | ObservedState::Unknown) => {
                Some(ObservedState::Running)
            }
            Self::Absent => Some(ObservedState::Absent),
            Self::Stopped => Some(ObservedState::Stopped),
            Self::Starting => Some(ObservedState::Starting),
            Self::Healthy => Some(ObservedState::Running),
            Self::NotAnswering(times) if times >= PATIENCE => Some(ObservedState::Unhealthy),
            Self::Up | Self::NotAnswering(_) => None,
            Self::Failed => Some(ObservedState::Failed),
        }
    }

    /// In a word of the observed states (contract 6.2).
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Absent => ObservedState::Absent.as_str(),
            Self::Stopped => ObservedState::Stopped.as_str(),
            Self::Starting => ObservedState::Starting.as_str(),
            Self::Up | Self::Healthy => ObservedState::Running.as_str(),
            Self::NotAnswering(_) => ObservedState::Unhealthy.as_str(),
            Self::Failed => ObservedState::Failed.as_str(),
        }
    }

    pub(super) const fn is_up(self) -> bool {
        matches!(self, Self::Starting | Self::Up | Self::Healthy | Self::NotAnswering(_))
    }
}

/// The event that an observation is. Whether it means anything for an instance is for the transition table to say.
pub(super) const fn event(sight: Sight) -> Option<Event> {
    match sight {
        Sight::Absent => Some(Event::ObservedAbsent),
        Sight::Stopped => Some(Event::ObservedStopped),
        Sight::Healthy => Some(Event::ObservedRunning),
        Sight::NotAnswering(times) if times >= PATIENCE => Some(Event::ObservedUnhealthy),
        Sight::Failed => Some(Event::ObservedFailed),
        Sight::Starting | Sight::Up | Sight::NotAnswering(_) => None,
    }
}

/// The status that the row should have after this sight.
pub(super) fn expected(axes: &Axes, sight: Sight) -> Status {
    event(sight).and_then(|event| apply(axes, event).ok()).map_or(axes.status, |after| after.status)
}

/// The text that a customer reads in `error_message` after the event.
pub(super) const fn message(event: Event) -> Option<&'static str> {
    match event {
        Event::ObservedAbsent => Some("The service of this instance is missing"),
        Event::ObservedFailed => Some("Odoo ended unexpectedly"),
        Event::ObservedUnhealthy => Some("Odoo has stopped answering"),
        _ => None,
    }
}

/// Whether it is meant to be up.
pub(super) fn shall_run(axes: &Axes) -> bool {
    axes.desired == DesiredState::Running && axes.suspension == Suspension::None
}

/// What is not as it should be and is for an operator or a later operation to repair.
pub(super) fn drift(axes: &Axes, sight: Sight) -> Option<&'static str> {
    let shall_run = shall_run(axes);
    match sight {
        Sight::Stopped if shall_run => Some("was stopped from outside; a start brings it back"),
        Sight::Absent if shall_run => Some("has no service; a start makes it again"),
        _ if sight.is_up() && !shall_run => Some("runs although it should not"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::instance::{BillingStatus, Phase, ProvisioningStatus};

    fn axes(status: Status, desired: DesiredState) -> Axes {
        let suspended = status == Status::Paused;
        Axes {
            status,
            phase: Phase::Ready,
            desired,
            suspension: if suspended { Suspension::Debt } else { Suspension::None },
            resume_to: suspended.then_some(desired),
            observed: ObservedState::Unknown,
            billing: BillingStatus::Paid,
            provisioning: ProvisioningStatus::Completed,
        }
    }

    fn after(status: Status, desired: DesiredState, sight: Sight) -> Option<Status> {
        let expected = expected(&axes(status, desired), sight);
        (expected != status).then_some(expected)
    }

    #[test]
    fn what_is_seen_moves_the_status_as_the_contract_says() {
        use DesiredState::{Running as Shall, Stopped as ShallNot};
        for (status, desired, sight, expected) in [
            (Status::Running, Shall, Sight::Failed, Some(Status::Error)),
            (Status::Running, Shall, Sight::Absent, Some(Status::ContainerMissing)),
            (Status::Running, Shall, Sight::Stopped, Some(Status::Stopped)),
            (Status::Running, Shall, Sight::NotAnswering(PATIENCE - 1), None),
            (Status::Running, Shall, Sight::NotAnswering(PATIENCE), Some(Status::Error)),
            (Status::Error, Shall, Sight::Healthy, Some(Status::Running)),
            (Status::Error, Shall, Sight::Up, None),
            (Status::ContainerMissing, Shall, Sight::Healthy, Some(Status::Running)),
            (Status::Starting, Shall, Sight::Healthy, Some(Status::Running)),
            (Status::Error, ShallNot, Sight::Healthy, None),
            (Status::Running, Shall, Sight::Starting, None),
        ] {
            assert_eq!(after(status, desired, sight), expected, "{status} {desired} {sight:?}");
        }
    }

    #[test]
    fn paused_and_terminated_rows_never_move() {
        for sight in [Sight::Absent, Sight::Stopped, Sight::Healthy, Sight::Failed, Sight::NotAnswering(9), Sight::Up] {
            assert_eq!(after(Status::Paused, DesiredState::Running, sight), None, "{sight:?}");
            assert_eq!(after(Status::Terminated, DesiredState::Terminated, sight), None, "{sight:?}");
        }
    }

    #[test]
    fn drift_is_told_in_both_directions() {
        let running = axes(Status::Running, DesiredState::Running);
        assert_eq!(drift(&running, Sight::Healthy), None);
        assert!(drift(&running, Sight::Stopped).is_some() && drift(&running, Sight::Absent).is_some());
        let stopped = axes(Status::Stopped, DesiredState::Stopped);
        assert_eq!(drift(&stopped, Sight::Stopped), None);
        assert!(drift(&stopped, Sight::Up).is_some());
        assert!(drift(&axes(Status::Paused, DesiredState::Running), Sight::Starting).is_some());
    }
}
