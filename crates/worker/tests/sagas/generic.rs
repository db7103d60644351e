//! The generic tests of engine 9, rule 10, on every point that the registry lists: each step twice; failure at each step, then
//! a clean slate; every undo twice; an undo that is itself interrupted.

use crate::rig::Rig;
use db::platform::templates::TemplateState;
use domain::operation::{Kind, State};
use worker::engine::Registry;
use worker::engine::faults::{Action, Armed, ErrorKind, points};

fn armed(point: &str, kind: ErrorKind) -> Armed {
    Armed { point: point.to_owned(), action: Action::Error(kind), times: 1 }
}

async fn points_of(rig: &Rig, kind: Kind, part: &str) -> Vec<String> {
    let registry = Registry::new(worker::sagas::all(&rig.tools)).unwrap();
    let prefix = format!("{kind}/");
    points(&registry).into_iter().filter(|point| point.starts_with(&prefix) && point.ends_with(part)).collect()
}

/// Each effect is made, its success is not recorded, and it is made again.
#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_provision_twice() {
    let rig = Rig::start().await;
    rig.prepare_template().await;
    for point in points_of(&rig, Kind::Provision, "/apply/after").await {
        rig.faults.arm(armed(&point, ErrorKind::Retry));
    }
    let before = rig.snapshot();
    let id = rig.order(|raw| raw.custom_addons = Some(vec!["crm".to_owned()])).await;
    rig.drain().await;
    assert_eq!(rig.status(id).await, "running");
    let added = before.difference(&rig.snapshot()).added;
    for kind in ["database ", "role ", "file "] {
        assert_eq!(added.iter().filter(|line| line.starts_with(kind)).count(), 1, "{added:#?}");
    }
    assert_eq!(rig.sql("SELECT sum(instances) FROM instance_service.odoo_servers"), "1");
    assert_eq!(rig.mails(), "instance_provisioning_started instance_ready");
    // And every step of the delete twice.
    for point in points_of(&rig, Kind::Delete, "/apply/after").await {
        rig.faults.arm(armed(&point, ErrorKind::Retry));
    }
    rig.delete(id).await;
    rig.drain().await;
    let difference = before.difference(&rig.snapshot());
    assert!(difference.is_empty(), "{difference}");
    assert_eq!(rig.instance(id).await.axes.phase.as_str(), "purged");
}

#[tokio::test(flavor = "multi_thread")]
async fn provision_failing_at_each_step_leaves_a_clean_slate_though_every_undo_runs_twice() {
    let rig = Rig::start().await;
    rig.prepare_template().await;
    let before = rig.snapshot();
    for part in ["/apply/before", "/apply/after"] {
        for point in points_of(&rig, Kind::Provision, part).await {
            rig.faults.arm(armed(&point, ErrorKind::Permanent));
            for undo in points_of(&rig, Kind::Provision, "/undo/after").await {
                rig.faults.arm(armed(&undo, ErrorKind::Retry));
            }
            let id = rig.order(|_| {}).await;
            rig.drain().await;
            let operation = rig.last_operation().await;
            assert_eq!(operation.state, State::Failed, "{point}: {operation:#?}");
            let instance = rig.instance(id).await;
            assert_eq!(instance.axes.status.as_str(), "error", "{point}");
            assert!(instance.placement.is_none() && instance.db_secret.is_none() && instance.db_oid.is_none(), "{point}");
            let difference = before.difference(&rig.snapshot());
            assert!(difference.is_empty(), "{point}: {difference}");
            assert_eq!(rig.sql("SELECT sum(instances) FROM instance_service.odoo_servers"), "0", "{point}");
            // What was armed for an undo that this failure did not reach would hit the next round.
            disarm(&rig).await;
        }
    }
}

/// Runs whatever is left in the script off, so that each round starts without any.
async fn disarm(rig: &Rig) {
    rig.faults.disarm();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_a_build_twice() {
    let rig = Rig::start().await;
    for point in points_of(&rig, Kind::BuildTemplate, "/apply/after").await {
        rig.faults.arm(armed(&point, ErrorKind::Retry));
    }
    rig.prepare_template().await;
    let templates = rig.templates().await;
    assert_eq!((templates.len(), templates[0].state), (1, TemplateState::Ready), "{templates:#?}");
    let id = rig.order(|_| {}).await;
    rig.drain().await;
    assert_eq!(rig.status(id).await, "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_failing_at_each_step_leaves_a_clean_slate_though_every_undo_runs_twice() {
    let rig = Rig::start().await;
    let before = rig.snapshot();
    for part in ["/apply/before", "/apply/after"] {
        for point in points_of(&rig, Kind::BuildTemplate, part).await {
            rig.faults.arm(armed(&point, ErrorKind::Permanent));
            for undo in points_of(&rig, Kind::BuildTemplate, "/undo/after").await {
                rig.faults.arm(armed(&undo, ErrorKind::Retry));
            }
            rig.prepare_template().await;
            assert_eq!(rig.last_operation().await.state, State::Failed, "{point}");
            let difference = before.difference(&rig.snapshot());
            assert!(difference.is_empty(), "{point}: {difference}");
            assert!(rig.templates().await.is_empty(), "{point}");
            disarm(&rig).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn terminate_twice_over() {
    let rig = Rig::start().await;
    let id = rig.order(|_| {}).await;
    rig.drain().await;
    for point in points_of(&rig, Kind::Terminate, "/apply/after").await {
        rig.faults.arm(armed(&point, ErrorKind::Retry));
    }
    rig.terminate(id).await;
    rig.drain().await;
    let operation = rig.last_operation().await;
    assert_eq!((operation.kind, operation.state), (Kind::Terminate, State::Succeeded));
}
