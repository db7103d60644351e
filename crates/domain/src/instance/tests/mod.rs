//! The state machine against the contract: every axes, every event.

mod actions;
mod contract;
mod reach;
mod words;

use super::*;
use super::{Event as Ev, Status as S};

/// Every event, with every detail it can bring.
fn every_event() -> Vec<Event> {
    let mut events = vec![
        Ev::Create,
        Ev::ProvisionAccepted,
        Ev::ProvisionBegins,
        Ev::ProvisionDone,
        Ev::ProvisionFailed,
        Ev::ProvisionPreempted,
        Ev::StartAccepted,
        Ev::StartDone,
        Ev::StartFailed,
        Ev::StopAccepted,
        Ev::StopDone,
        Ev::StopFailed,
        Ev::StopAgain,
        Ev::RestartAccepted,
        Ev::RestartDone,
        Ev::RestartFailed,
        Ev::BackupBegins,
        Ev::RestoreBegins,
        Ev::RestoreRuns,
        Ev::RestoreStays,
        Ev::RestoreDone,
        Ev::UpdateBegins,
        Ev::UpdateDone,
        Ev::UpdateRolledBack,
        Ev::RelocateBegins,
        Ev::WayBackFailed,
        Ev::SuspendForDebt,
        Ev::SuspendByOperator,
        Ev::Unsuspend,
        Ev::Terminate,
        Ev::Delete,
        Ev::Purged,
        Ev::ObservedAbsent,
        Ev::ObservedRunning,
        Ev::ObservedFailed,
        Ev::ObservedUnhealthy,
        Ev::ObservedStopped,
    ];
    for before in S::ALL.iter().copied() {
        events.extend([Ev::BackupEnds { before }, Ev::RestoreFailed { before }, Ev::RelocateEnds { before }]);
    }
    for billing in BillingStatus::ALL.iter().copied() {
        events.extend([Ev::ReactivationOrdered(billing), Ev::Reactivate(billing), Ev::BillingUpdated(billing)]);
    }
    events
}

/// Every combination of the axes that guards look at, sensible or not.
fn every_axes() -> Vec<Axes> {
    let mut all = Vec::new();
    for status in S::ALL.iter().copied() {
        for phase in Phase::ALL.iter().copied() {
            for desired in DesiredState::ALL.iter().copied() {
                for suspension in Suspension::ALL.iter().copied() {
                    for resume_to in [None, Some(DesiredState::Running)] {
                        for billing in BillingStatus::ALL.iter().copied() {
                            for provisioning in ProvisioningStatus::ALL.iter().copied() {
                                let observed = ObservedState::Unknown;
                                all.push(Axes { status, phase, desired, suspension, resume_to, observed, billing, provisioning });
                            }
                        }
                    }
                }
            }
        }
    }
    all
}

/// An instance that was provisioned and runs.
fn running() -> Axes {
    let events = [Ev::ProvisionAccepted, Ev::ProvisionBegins, Ev::ProvisionDone];
    after(create(BillingStatus::Paid), &events)
}

/// The axes after these events, each of which must be allowed.
fn after(axes: Axes, events: &[Event]) -> Axes {
    events.iter().fold(axes, |axes, event| apply(&axes, *event).unwrap_or_else(|refused| panic!("{event:?}: {refused}")))
}

#[test]
fn every_event_name_has_an_event_and_rows() {
    let events = every_event();
    for name in EventName::ALL {
        assert!(events.iter().any(|event| event.name() == *name), "{name} is missing from the test's list");
        assert!(TRANSITIONS.iter().any(|row| row.event == *name), "{name} has no row");
    }
}

#[test]
fn each_row_is_taken_in_each_of_its_statuses() {
    let (axes, events) = (every_axes(), every_event());
    for row in TRANSITIONS {
        for status in row.from {
            let taken = axes.iter().filter(|axes| axes.status == *status).any(|axes| {
                events
                    .iter()
                    .filter(|e| e.name() == row.event)
                    .any(|e| find(axes, *e).is_ok_and(|found| std::ptr::eq(found, row)))
            });
            assert!(taken, "the row {row:?} is never taken from {status}: an earlier row hides it");
        }
    }
}

#[test]
fn apply_changes_exactly_what_its_row_says() {
    for axes in every_axes() {
        for event in every_event() {
            let (Ok(row), Ok(new)) = (find(&axes, event), apply(&axes, event)) else {
                assert_eq!(find(&axes, event).err(), apply(&axes, event).err());
                continue;
            };
            assert!(row.from.contains(&axes.status) && row.guards.iter().all(|guard| guard.holds(&axes, event)));
            assert_eq!(new, expected(row, &axes, event), "{event:?} on {axes:?}");
        }
    }
}

/// What a row means, written a second time and independently of `apply`.
fn expected(row: &Transition, axes: &Axes, event: Event) -> Axes {
    let mut new = *axes;
    match row.to {
        To::Unchanged => {}
        To::Is(status) => new.status = status,
        To::Before(_) => new.status = event.before().unwrap(),
    }
    for change in row.changes {
        match *change {
            Change::Phase(phase) => new.phase = phase,
            Change::Desired(desired) => new.desired = desired,
            Change::Suspend(suspension) => {
                new.suspension = suspension;
                new.resume_to = new.resume_to.or(Some(new.desired));
            }
            Change::LiftSuspension => (new.suspension, new.resume_to) = (Suspension::None, None),
            Change::Observed(observed) => new.observed = observed,
            Change::Billing(billing) => new.billing = billing,
            Change::GivenBilling => new.billing = event.billing().unwrap(),
            Change::Provisioning(provisioning) => new.provisioning = provisioning,
        }
    }
    new
}
