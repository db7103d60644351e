//! Everything that can ever happen to an instance, from its creation on.

use super::*;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Every axes that any sequence of events leads to, with one event and origin that led there.
fn reachable() -> HashMap<Axes, Option<(Axes, Event)>> {
    let events = every_event();
    let mut seen: HashMap<Axes, Option<(Axes, Event)>> = HashMap::new();
    let mut open: Vec<Axes> = BillingStatus::ALL.iter().map(|billing| create(*billing)).collect();
    seen.extend(open.iter().map(|axes| (*axes, None)));
    while let Some(axes) = open.pop() {
        for event in &events {
            let Ok(new) = apply(&axes, *event) else { continue };
            seen.entry(new).or_insert_with(|| {
                open.push(new);
                Some((axes, *event))
            });
        }
    }
    seen
}

#[test]
fn the_status_never_contradicts_the_other_axes() {
    for (axes, origin) in reachable() {
        assert_eq!(axes.contradiction(), None, "{axes:?}, from {origin:?}");
    }
}

#[test]
fn every_status_and_phase_is_reached() {
    let axes: Vec<Axes> = reachable().into_keys().collect();
    let statuses: HashSet<Status> = axes.iter().map(|axes| axes.status).collect();
    let phases: HashSet<Phase> = axes.iter().map(|axes| axes.phase).collect();
    assert_eq!((statuses.len(), phases.len()), (Status::ALL.len(), Phase::ALL.len()));
}

#[test]
fn only_a_reactivation_leaves_terminated_and_nothing_leaves_purged() {
    for axes in reachable().into_keys().filter(|axes| axes.status == S::Terminated) {
        for event in every_event() {
            let Ok(new) = apply(&axes, event) else { continue };
            assert!(new.status == S::Terminated || matches!(event, Ev::Reactivate(_)), "{event:?} on {axes:?}");
            if matches!(axes.phase, Phase::Purging | Phase::Purged) {
                assert!(!new.is_live() && matches!(new.phase, Phase::Purging | Phase::Purged), "{event:?} on {axes:?}");
            }
        }
    }
}

#[test]
fn no_worker_or_monitoring_event_brings_a_paused_instance_up() {
    for axes in reachable().into_keys().filter(|axes| axes.status == S::Paused) {
        for event in every_event() {
            let Ok(new) = apply(&axes, event) else { continue };
            let asked = [Ev::StartAccepted, Ev::ProvisionAccepted, Ev::Unsuspend, Ev::Terminate, Ev::Delete];
            assert!(new.status == S::Paused || asked.contains(&event), "{event:?} on {axes:?}");
        }
    }
}

#[test]
fn suspend_terminate_delete_and_billing_are_never_refused() {
    for axes in reachable().into_keys() {
        for event in [Ev::Terminate, Ev::Delete, Ev::BillingUpdated(BillingStatus::Paid)] {
            assert!(apply(&axes, event).is_ok(), "{event:?} on {axes:?}");
        }
        for event in [Ev::SuspendForDebt, Ev::SuspendByOperator] {
            assert_eq!(apply(&axes, event).is_ok(), axes.is_live(), "{event:?} on {axes:?}");
        }
    }
}

#[test]
fn data_is_never_provisioned_over_and_never_forgotten() {
    for axes in reachable().into_keys().filter(Axes::has_data) {
        for event in every_event() {
            let Ok(new) = apply(&axes, event) else { continue };
            assert_ne!(new.phase, Phase::Registered, "{event:?} on {axes:?}");
            assert!(new.provisioning == axes.provisioning || new.provisioning == ProvisioningStatus::Completed, "{event:?}");
        }
    }
}

#[test]
fn the_diagram_has_every_arrow_and_no_other() {
    let mut arrows: BTreeSet<(String, String, String)> =
        BTreeSet::from([("[*]".to_owned(), "creating".to_owned(), "create".to_owned())]);
    for axes in reachable().into_keys() {
        for event in every_event() {
            let Ok(new) = apply(&axes, event) else { continue };
            if new.status != axes.status {
                arrows.insert((axes.status.to_string(), new.status.to_string(), event.name().to_string()));
            }
        }
    }
    let text = diagram();
    let mut drawn = BTreeSet::new();
    for line in text.strip_prefix("stateDiagram-v2\n").unwrap().lines() {
        let (from, rest) = line.trim().split_once(" --> ").unwrap();
        let (to, events) = rest.split_once(" : ").unwrap();
        drawn.extend(events.split(", ").map(|event| (from.to_owned(), to.to_owned(), event.to_owned())));
    }
    let (missing, invented) = (arrows.difference(&drawn).collect::<Vec<_>>(), drawn.difference(&arrows).collect::<Vec<_>>());
    assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:?}, never reached: {invented:?}");
}
