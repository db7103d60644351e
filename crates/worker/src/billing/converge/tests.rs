//! The table against every state that an instance can reach.

use super::*;
use domain::instance::{self, Event, apply};
use std::collections::HashSet;

const EVENTS: &[Event] = &[
    Event::ProvisionAccepted,
    Event::ProvisionBegins,
    Event::ProvisionDone,
    Event::ProvisionFailed,
    Event::ProvisionPreempted,
    Event::StartAccepted,
    Event::StartDone,
    Event::StartFailed,
    Event::StopAccepted,
    Event::StopDone,
    Event::RestartAccepted,
    Event::RestartFailed,
    Event::SuspendForDebt,
    Event::SuspendByOperator,
    Event::Unsuspend,
    Event::Terminate,
    Event::Reactivate(BillingStatus::Paid),
    Event::Delete,
    Event::Purged,
    Event::ObservedAbsent,
    Event::ObservedFailed,
    Event::BillingUpdated(BillingStatus::Paid),
    Event::BillingUpdated(BillingStatus::Trial),
    Event::BillingUpdated(BillingStatus::PaymentRequired),
];

/// Every state that these events lead to.
fn reachable() -> HashSet<Axes> {
    let mut known: HashSet<Axes> = BillingStatus::ALL.iter().map(|billing| instance::create(*billing)).collect();
    let mut next: Vec<Axes> = known.iter().copied().collect();
    while let Some(axes) = next.pop() {
        for event in EVENTS {
            if let Ok(after) = apply(&axes, *event)
                && known.insert(after)
            {
                next.push(after);
            }
        }
    }
    known
}

/// What the functions that carry a call out let happen to the row.
fn happens(axes: Axes, call: Call, standing: Standing) -> Axes {
    let event = |axes: &Axes, event| apply(axes, event).unwrap_or_else(|no| panic!("{standing}: {call:?} on {axes:?}: {no:?}"));
    let noted = standing.billing().map_or(axes, |billing| event(&axes, Event::BillingUpdated(billing)));
    match call {
        Call::Note => noted,
        Call::Settle if axes.billing == BillingStatus::PaymentRequired => noted,
        Call::Settle => axes,
        Call::Start | Call::Retry if axes.is_unprovisioned() => event(&axes, Event::ProvisionAccepted),
        Call::Start | Call::Retry => event(&axes, Event::StartAccepted),
        Call::Provision => event(&noted, Event::ProvisionAccepted),
        Call::Unsuspend => event(&axes, Event::Unsuspend),
        Call::Suspend => event(&axes, Event::SuspendForDebt),
        Call::Terminate => event(&axes, Event::Terminate),
        Call::Create | Call::Order | Call::Return => panic!("{call:?} is for what is not there"),
    }
}

fn after(axes: Axes, standing: Standing) -> Axes {
    converge(standing, Place::of(&axes)).iter().fold(axes, |axes, call| happens(axes, *call, standing))
}

#[test]
fn every_standing_and_place_has_its_cell() {
    let rows: HashSet<Standing> = TABLE.iter().map(|(standing, _)| *standing).collect();
    assert_eq!((rows.len(), TABLE.len()), (Standing::ALL.len(), Standing::ALL.len()));
}

#[test]
fn whatever_state_it_is_in_it_comes_to_where_its_subscription_is_and_stays_there() {
    let states = reachable();
    assert!(states.len() > 200, "{} states", states.len());
    for before in states {
        for standing in Standing::ALL {
            let once = after(before, *standing);
            let told = format!("{standing}: {before:?} becomes {once:?}");
            assert_eq!(once.contradiction(), None, "{told}");
            let again = after(once, *standing);
            assert!(again == once || Place::of(&once) == Place::Down, "{told}, and then {again:?}");
            leads_to_its_standing(*standing, &before, &once, &told);
            holds_back(*standing, &before, &once, &told);
        }
    }
}

fn leads_to_its_standing(standing: Standing, before: &Axes, once: &Axes, told: &str) {
    let live = before.is_live();
    match standing {
        Standing::Over | Standing::OverOwing => assert!(!once.is_live(), "{told}"),
        Standing::Failed if live => {
            assert!(once.suspension != Suspension::None && once.billing == BillingStatus::PaymentRequired, "{told}");
        }
        Standing::Owing if live => assert_eq!(once.billing, BillingStatus::PaymentRequired, "{told}"),
        Standing::Paid | Standing::Trial if live => {
            assert!(once.suspension != Suspension::Debt && Some(once.billing) == standing.billing(), "{told}");
            let ran = before.resume_to == Some(DesiredState::Running) && before.suspension == Suspension::Debt;
            assert!(!ran || once.desired == DesiredState::Running, "{told}");
        }
        Standing::NotBegun | Standing::Paused => assert_eq!(once, before, "{told}"),
        _ => {}
    }
}

/// What must never come of it, whatever the engine says.
fn holds_back(standing: Standing, before: &Axes, once: &Axes, told: &str) {
    let runs = |axes: &Axes| axes.desired == DesiredState::Running;
    if !matches!(standing, Standing::Paid | Standing::Trial) {
        assert!(!runs(once) || runs(before), "nothing unpaid is brought up: {told}");
    }
    assert!(before.is_live() || !once.is_live(), "what is terminated stays so: {told}");
    assert!(once.is_live() || !before.is_live() || matches!(standing, Standing::Over | Standing::OverOwing), "{told}");
    if before.suspension == Suspension::Operator && once.is_live() {
        assert_eq!(once.suspension, Suspension::Operator, "an operator's word holds: {told}");
    }
    let stopped = before.suspension == Suspension::None && before.desired == DesiredState::Stopped && before.has_data();
    assert!(!stopped || !runs(once), "what its customer stopped stays down: {told}");
}

#[test]
fn only_a_payment_or_a_trial_makes_an_instance() {
    for (standing, cells) in TABLE {
        for (place, calls) in Place::ALL.iter().zip(cells) {
            let makes = calls
                .iter()
                .any(|call| matches!(call, Call::Create | Call::Return | Call::Provision | Call::Start | Call::Retry));
            assert!(!makes || matches!(standing, Standing::Paid | Standing::Trial), "{standing}, {place}: {calls:?}");
        }
    }
}
