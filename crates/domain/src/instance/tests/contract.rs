//! Contract 6.3, copied by hand row by row and compared with the table in both directions.

use super::*;

/// What an event may do to the status, as the contract says it: from, to (`None`: unchanged).
type Says = (EventName, &'static [(&'static [Status], Option<Status>)]);

const LIVE_BUT_PAUSED: &[Status] = &[
    S::Creating,
    S::Starting,
    S::Running,
    S::Stopping,
    S::Stopped,
    S::Restarting,
    S::Updating,
    S::Maintenance,
    S::Error,
    S::ContainerMissing,
];
const FOUR: &[Status] = &[S::Running, S::Stopped, S::Error, S::ContainerMissing];
const KEPT_BY_MOVE: &[Status] = &[S::Error, S::ContainerMissing, S::Paused, S::Terminated];
/// "A transitional status without a live operation: settle to what is observed" (contract 17).
const TRANSITIONAL: &[Status] = &[S::Starting, S::Stopping, S::Restarting, S::Updating, S::Maintenance];

const CONTRACT: &[Says] = &[
    (EventName::Create, &[]),
    (EventName::ProvisionAccepted, &[(&[S::Creating], None), (&[S::Stopped, S::Paused, S::Error], Some(S::Starting))]),
    (EventName::ProvisionBegins, &[(&[S::Creating, S::Starting], Some(S::Starting))]),
    (EventName::ProvisionDone, &[(&[S::Starting], Some(S::Running))]),
    (EventName::ProvisionFailed, &[(&[S::Creating, S::Starting], Some(S::Error))]),
    // Stopped: the suspension that pre-empted it is lifted while it undoes its work.
    (EventName::ProvisionPreempted, &[(&[S::Paused, S::Stopped, S::Terminated], None)]),
    (EventName::StartAccepted, &[(&[S::Stopped, S::Error, S::ContainerMissing, S::Paused], Some(S::Starting))]),
    (EventName::StartDone, &[(&[S::Starting], Some(S::Running))]),
    (EventName::StartFailed, &[(&[S::Starting], Some(S::Error))]),
    (EventName::StopAccepted, &[(&[S::Running, S::Starting, S::Restarting, S::Error], Some(S::Stopping))]),
    (EventName::StopDone, &[(&[S::Stopping], Some(S::Stopped))]),
    (EventName::StopFailed, &[(&[S::Stopping], Some(S::Error))]),
    // "Desired stopped, has a task: queue the stop work again" (contract 17).
    (EventName::StopAgain, &[(&[S::Stopped, S::Stopping, S::Error, S::ContainerMissing], Some(S::Stopping))]),
    (EventName::RestartAccepted, &[(&[S::Running, S::Error], Some(S::Restarting))]),
    (EventName::RestartDone, &[(&[S::Restarting], Some(S::Running))]),
    (EventName::RestartFailed, &[(&[S::Restarting], Some(S::Error))]),
    (EventName::BackupBegins, &[(FOUR, Some(S::Maintenance)), (&[S::Paused], None)]),
    (EventName::BackupEnds, &[(&[S::Maintenance], Some(S::Stopped)), (&[S::Paused], None), (FOUR, None)]),
    (EventName::RestoreBegins, &[(FOUR, Some(S::Maintenance))]),
    (EventName::RestoreRuns, &[(&[S::Maintenance], None)]),
    (EventName::RestoreStays, &[(&[S::Maintenance], None)]),
    // "A restore past its switch point finishes the minimum that leaves one consistent database" (contract 11.3).
    (EventName::RestoreDone, &[(&[S::Maintenance], Some(S::Running)), (&[S::Paused, S::Terminated], None)]),
    (EventName::RestoreFailed, &[(&[S::Maintenance], Some(S::Stopped))]),
    (EventName::UpdateBegins, &[(&[S::Running], Some(S::Updating))]),
    (EventName::UpdateDone, &[(&[S::Updating], Some(S::Running)), (&[S::Paused, S::Terminated], None)]),
    (EventName::UpdateRolledBack, &[(&[S::Updating], Some(S::Running))]),
    (EventName::RelocateBegins, &[(&[S::Running, S::Stopped], Some(S::Maintenance)), (KEPT_BY_MOVE, None)]),
    (EventName::RelocateEnds, &[(&[S::Maintenance], Some(S::Stopped)), (KEPT_BY_MOVE, None)]),
    (EventName::WayBackFailed, &[(&[S::Maintenance, S::Updating], Some(S::Error))]),
    (EventName::SuspendForDebt, &[(LIVE_BUT_PAUSED, Some(S::Paused)), (&[S::Paused], None)]),
    (EventName::SuspendByOperator, &[(LIVE_BUT_PAUSED, Some(S::Paused)), (&[S::Paused], None)]),
    (EventName::Unsuspend, &[(&[S::Paused], Some(S::Stopped))]),
    (EventName::Terminate, &[(S::ALL, Some(S::Terminated))]),
    (EventName::ReactivationOrdered, &[(&[S::Terminated], None)]),
    (EventName::Reactivate, &[(&[S::Terminated], Some(S::Starting))]),
    (EventName::Delete, &[(S::ALL, Some(S::Terminated))]),
    (EventName::Purged, &[(&[S::Terminated], None)]),
    (
        EventName::ObservedAbsent,
        &[(&[S::Running, S::Stopped, S::Error], Some(S::ContainerMissing)), (TRANSITIONAL, Some(S::ContainerMissing))],
    ),
    (
        EventName::ObservedRunning,
        &[(&[S::ContainerMissing, S::Error, S::Starting, S::Restarting, S::Updating, S::Maintenance], Some(S::Running))],
    ),
    (EventName::ObservedFailed, &[(&[S::Running], Some(S::Error)), (TRANSITIONAL, Some(S::Error))]),
    (EventName::ObservedUnhealthy, &[(&[S::Running], Some(S::Error)), (TRANSITIONAL, Some(S::Error))]),
    (EventName::ObservedStopped, &[(&[S::Running], Some(S::Stopped)), (TRANSITIONAL, Some(S::Stopped))]),
    (EventName::BillingUpdated, &[(S::ALL, None)]),
];

fn says(event: EventName, status: Status) -> Option<Status> {
    let (_, rows) = CONTRACT.iter().find(|(name, _)| *name == event)?;
    let (_, to) = rows.iter().find(|(from, _)| from.contains(&status))?;
    Some(to.unwrap_or(status))
}

/// Whether `to` is what the contract says; where an operation ends, the status before it, or for a restore the desired
/// state, decides.
fn agrees(said: Status, to: Status, axes: &Axes, event: Event) -> bool {
    match event {
        Ev::RestoreDone if axes.status == S::Maintenance => {
            to == if axes.desired == DesiredState::Running { S::Running } else { S::Stopped }
        }
        Ev::BackupEnds { before } | Ev::RestoreFailed { before } if axes.status == S::Maintenance => {
            FOUR.contains(&before) && to == before
        }
        Ev::RelocateEnds { before } if axes.status == S::Maintenance => {
            [S::Running, S::Stopped].contains(&before) && to == before
        }
        _ => to == said,
    }
}

#[test]
fn no_transition_but_those_of_the_contract() {
    for axes in every_axes() {
        for event in every_event() {
            let Ok(new) = apply(&axes, event) else { continue };
            let said = says(event.name(), axes.status);
            assert!(said.is_some_and(|said| agrees(said, new.status, &axes, event)), "{event:?} on {axes:?} gave {new:?}");
        }
    }
}

#[test]
fn every_transition_of_the_contract() {
    let (axes, events) = (every_axes(), every_event());
    for name in EventName::ALL {
        for status in S::ALL.iter().filter(|status| says(*name, **status).is_some()) {
            let possible = axes
                .iter()
                .filter(|axes| axes.status == *status)
                .any(|axes| events.iter().filter(|event| event.name() == *name).any(|event| apply(axes, *event).is_ok()));
            assert!(possible, "{name} from {status} is not in the table");
        }
    }
}

#[test]
fn only_what_monitoring_sees_needs_an_idle_instance() {
    for row in TRANSITIONS {
        assert_eq!(row.idle, row.event.as_str().starts_with("observed_"), "{row:?}");
    }
}

#[test]
fn provisioning_walks_to_running() {
    let fresh = create(BillingStatus::Trial);
    assert_eq!((fresh.status, fresh.phase, fresh.desired), (S::Creating, Phase::Registered, DesiredState::None));
    assert_eq!(fresh.provisioning, ProvisioningStatus::Pending);
    let ordered = after(fresh, &[Ev::ProvisionAccepted]);
    assert_eq!((ordered.status, ordered.provisioning), (S::Creating, ProvisioningStatus::Provisioning));
    let running = after(ordered, &[Ev::ProvisionBegins, Ev::ProvisionDone]);
    assert_eq!((running.status, running.phase, running.desired), (S::Running, Phase::Ready, DesiredState::Running));
    assert_eq!(running.provisioning, ProvisioningStatus::Completed);
    assert!(apply(&running, Ev::ProvisionAccepted).is_err(), "never over live data");
}

#[test]
fn a_pre_empted_provisioning_can_only_give_way() {
    for pre_empting in [Ev::SuspendForDebt, Ev::SuspendByOperator, Ev::Terminate, Ev::Delete] {
        let starting = after(create(BillingStatus::Paid), &[Ev::ProvisionAccepted, Ev::ProvisionBegins]);
        let pre_empted = after(starting, &[pre_empting]);
        for late in [Ev::ProvisionBegins, Ev::ProvisionDone, Ev::ProvisionFailed] {
            assert!(apply(&pre_empted, late).is_err(), "{late:?} after {pre_empting:?}");
        }
        let undone = after(pre_empted, &[Ev::ProvisionPreempted]);
        assert_eq!(undone, Axes { provisioning: ProvisioningStatus::Pending, ..pre_empted });
    }
}

#[test]
fn a_failed_provisioning_can_be_ordered_again() {
    let failed = after(create(BillingStatus::Paid), &[Ev::ProvisionAccepted, Ev::ProvisionBegins, Ev::ProvisionFailed]);
    assert_eq!((failed.status, failed.provisioning), (S::Error, ProvisioningStatus::Failed));
    let again = after(failed, &[Ev::ProvisionAccepted]);
    assert_eq!((again.status, again.provisioning), (S::Starting, ProvisioningStatus::Provisioning));
}

#[test]
fn a_paid_debt_lifts_the_suspension_and_an_operators_stays() {
    let paused = after(running(), &[Ev::SuspendForDebt]);
    assert_eq!((paused.suspension, paused.billing), (Suspension::Debt, BillingStatus::PaymentRequired));
    assert_eq!((paused.resume_to, paused.desired), (Some(DesiredState::Running), DesiredState::Stopped));
    assert_eq!(after(paused, &[Ev::SuspendForDebt]), paused, "twice is harmless");
    let back = after(paused, &[Ev::BillingUpdated(BillingStatus::Paid), Ev::StartAccepted]);
    assert_eq!((back.status, back.suspension, back.resume_to), (S::Starting, Suspension::None, None));

    let held = after(running(), &[Ev::SuspendByOperator]);
    assert_eq!(held.billing, BillingStatus::Paid, "an operator's word is no debt");
    let in_debt_too = after(held, &[Ev::SuspendForDebt]);
    assert_eq!((in_debt_too.suspension, in_debt_too.billing), (Suspension::Operator, BillingStatus::PaymentRequired));
    let paid = after(in_debt_too, &[Ev::BillingUpdated(BillingStatus::Paid)]);
    assert!(apply(&paid, Ev::StartAccepted).is_err());
    assert_eq!(after(paid, &[Ev::Unsuspend]).status, S::Stopped);
    assert_eq!(after(paused, &[Ev::SuspendByOperator]).resume_to, Some(DesiredState::Running), "the first memory counts");
}

#[test]
fn a_paid_plain_provision_lifts_a_debt_before_anything_is_provisioned() {
    let paused = after(create(BillingStatus::PaymentRequired), &[Ev::SuspendForDebt]);
    assert_eq!(apply(&paused, Ev::ProvisionAccepted).unwrap_err().why, Why::PaymentOutstanding);
    let back = after(paused, &[Ev::BillingUpdated(BillingStatus::Paid), Ev::ProvisionAccepted]);
    assert_eq!((back.status, back.suspension), (S::Starting, Suspension::None));
}

#[test]
fn reactivation_keeps_data_and_provisions_where_there_is_none() {
    let with_data = after(running(), &[Ev::Terminate, Ev::Reactivate(BillingStatus::Paid)]);
    assert_eq!((with_data.status, with_data.provisioning), (S::Starting, ProvisioningStatus::Completed));
    assert_eq!((with_data.phase, with_data.desired), (Phase::Ready, DesiredState::Running));
    let without = after(create(BillingStatus::PaymentRequired), &[Ev::Terminate, Ev::Reactivate(BillingStatus::Trial)]);
    assert_eq!((without.status, without.provisioning), (S::Starting, ProvisioningStatus::Provisioning));
    let ordered = after(running(), &[Ev::Terminate, Ev::ReactivationOrdered(BillingStatus::PaymentRequired)]);
    assert_eq!((ordered.status, ordered.billing), (S::Terminated, BillingStatus::PaymentRequired));
}

#[test]
fn delete_and_terminate_may_be_repeated() {
    let gone = after(running(), &[Ev::Terminate]);
    assert_eq!(after(gone, &[Ev::Terminate]), gone);
    let deleted = after(gone, &[Ev::Delete]);
    assert_eq!(deleted.phase, Phase::Purging);
    assert_eq!(after(deleted, &[Ev::Delete, Ev::Terminate]), deleted);
    let purged = after(deleted, &[Ev::Purged]);
    assert_eq!(purged.phase, Phase::Purged);
    assert_eq!(after(purged, &[Ev::Delete, Ev::Terminate]), purged, "what is purged is never purged again");
    assert!(apply(&purged, Ev::Purged).is_err());
}
