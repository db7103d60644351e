//! Every status and action of contract 7, through HTTP: the cells are typed from the contract.

use crate::rig::{Got, Rig, instance_path, order};
use serde_json::{Value, json};

const ACTIONS: [&str; 10] =
    ["start", "stop", "restart", "unpause", "backup", "restore", "update", "suspend", "unsuspend", "terminate"];

/// How a row gets there (a status with data, and the operation at work on it), and its cells.
const CONTRACT: &[(&str, Option<&str>, [&str; 10])] = &[
    ("creating", None, ["–", "–", "–", "–", "–", "–", "–", "A", "–", "A"]),
    ("provisioning", Some("provision"), ["N", "Q", "–", "N", "–", "–", "–", "A", "–", "A"]),
    ("starting", Some("start"), ["N", "A¹", "–", "N", "Q", "Q", "–", "A", "–", "A"]),
    ("running", None, ["N", "A", "A", "N", "A", "A", "A", "A", "–", "A"]),
    ("stopping", Some("stop"), ["Q", "N", "–", "–", "Q", "Q", "–", "A", "–", "A"]),
    ("stopped", None, ["$", "–", "–", "–", "A", "A", "–", "A", "–", "A"]),
    ("restarting", Some("restart"), ["N", "A¹", "N", "N", "Q", "Q", "–", "A", "–", "A"]),
    ("updating", Some("update"), ["N", "Q", "–", "N", "Q", "Q", "–", "A", "–", "A"]),
    ("maintenance", Some("backup"), ["N", "Q", "Q", "N", "Q", "Q", "–", "A", "–", "A"]),
    ("maintenance, down", Some("backup"), ["Q", "–", "–", "–", "Q", "Q", "–", "A", "–", "A"]),
    ("error", None, ["$", "A", "$", "–", "A", "A", "–", "A", "–", "A"]),
    ("container_missing", None, ["$", "–", "–", "–", "A", "A", "–", "A", "–", "A"]),
    ("paused", None, ["$", "–", "–", "$", "–", "–", "–", "N", "A", "A"]),
    ("terminated", None, ["–", "–", "–", "–", "–", "–", "–", "–", "–", "N"]),
];

/// An instance in this situation. Where an operation is named it is at work.
async fn instance_in(rig: &Rig, situation: &str, kind: Option<&str>) -> Value {
    let made = match situation {
        "creating" => return rig.created().await,
        "provisioning" => rig.provisioning().await,
        _ => rig.created().await,
    };
    let id = made["id"].as_str().unwrap().to_owned();
    let (status, desired) = match situation {
        "maintenance, down" => ("maintenance", "stopped"),
        "stopping" | "stopped" | "paused" => (situation, "stopped"),
        "terminated" => (situation, "terminated"),
        _ => (situation, "running"),
    };
    if situation != "provisioning" {
        rig.sql(&format!(
            "UPDATE public.instances
                SET status = '{status}', desired_state = '{desired}', phase = 'ready', provisioning_status = 'completed',
                    hostname = CASE '{status}' WHEN 'terminated' THEN NULL ELSE hostname END
              WHERE id = '{id}'"
        ));
    }
    if situation == "paused" {
        rig.sql(&format!("UPDATE public.instances SET suspension = 'debt', resume_to = 'running' WHERE id = '{id}'"));
    }
    match kind {
        Some("provision") => at_work(rig, &id),
        Some(kind) => {
            rig.sql(&format!(
                "INSERT INTO instance_service.operations (id, scope, instance_id, kind, class, def_version, params, priority, door, actor)
                 VALUES (gen_random_uuid(), 'instance:{id}', '{id}', '{kind}', 'control', 1, '{{}}', 0, 'internal', 'test')"
            ));
            at_work(rig, &id);
        }
        None => {}
    }
    made
}

fn at_work(rig: &Rig, id: &str) {
    rig.sql(&format!(
        "UPDATE instance_service.operations SET state = 'running', lease_token = 1, started_at = now() WHERE instance_id = '{id}'"
    ));
}

async fn act(rig: &Rig, instance: &Value, action: &str) -> Got {
    let mut body = json!({ "action": action });
    if action == "restore" {
        body["parameters"] = json!({ "backup_id": rig.whole_backup(instance) });
    }
    if action == "update" {
        body["parameters"] = json!({ "version": instance["odoo_version"] });
    }
    rig.post(&instance_path(instance, "/actions"), &body).await
}

/// The row: status and how many operations wait.
fn row(rig: &Rig, instance: &Value) -> (String, usize) {
    let id = instance["id"].as_str().unwrap();
    let said = rig.sql(&format!(
        "SELECT status, (SELECT count(*) FROM instance_service.operations WHERE instance_id = '{id}' AND state = 'queued')
           FROM public.instances WHERE id = '{id}'"
    ));
    let (status, waiting) = said.split_once('|').unwrap();
    (status.to_owned(), waiting.parse().unwrap())
}

/// What an accepted action makes of the row.
fn status_after(action: &str) -> &'static str {
    match action {
        "start" | "unpause" => "starting",
        "stop" => "stopping",
        "restart" => "restarting",
        "backup" | "restore" => "maintenance",
        "update" => "updating",
        "suspend" => "paused",
        "unsuspend" => "starting",
        _ => "terminated",
    }
}

/// What stands against an answer.
fn fault(cell: &str, action: &str, got: &Got, before: &(String, usize), after: &(String, usize)) -> Option<String> {
    let immediate = matches!(action, "suspend" | "unsuspend" | "terminate");
    let expected = match cell {
        "–" => (400, None, before.clone()),
        "N" if immediate || before.0 == "running" => (200, Some("success"), before.clone()),
        "N" => (200, Some("queued"), before.clone()),
        "Q" => (200, Some("queued"), (before.0.clone(), before.1 + 1)),
        _ if immediate => (200, Some("success"), (status_after(action).to_owned(), after.1)),
        _ => (200, Some("queued"), (status_after(action).to_owned(), before.1 + 1)),
    };
    let seen = (got.status, got.json["status"].as_str(), after.clone());
    (seen != expected).then(|| format!("expected {expected:?}, saw {seen:?}: {}", got.text))
}

#[tokio::test]
async fn each_cell_of_the_contract() {
    let rig = Rig::start();
    let mut faults = Vec::new();
    for (situation, kind, cells) in CONTRACT {
        for (action, cell) in ACTIONS.iter().zip(cells) {
            let instance = instance_in(&rig, situation, *kind).await;
            let before = row(&rig, &instance);
            let got = act(&rig, &instance, action).await;
            let after = row(&rig, &instance);
            faults.extend(fault(cell, action, &got, &before, &after).map(|fault| format!("{situation} × {action}: {fault}")));
            if got.status == 200 {
                let told = got.json["message"].as_str().unwrap();
                assert!(told.starts_with("Instance ") && got.json["action"] == *action, "{got:?}");
            }
            // A transitional status, and everything else, is in the next read.
            let read = rig.get(&instance_path(&instance, "/status")).await;
            assert_eq!(read.json["status"], after.0, "{situation} × {action}");
        }
    }
    assert!(faults.is_empty(), "{} of 140:\n{}", faults.len(), faults.join("\n"));
}

#[tokio::test]
async fn what_is_not_paid_is_told_apart_from_what_is_not_allowed() {
    let rig = Rig::start();
    for (situation, action, status) in [
        ("stopped", "start", 200),
        ("error", "restart", 200),
        ("paused", "start", 402),
        ("paused", "unpause", 402),
        ("paused", "stop", 400),
    ] {
        let instance = instance_in(&rig, situation, None).await;
        let id = instance["id"].as_str().unwrap();
        rig.sql(&format!("UPDATE public.instances SET billing_status = 'payment_required' WHERE id = '{id}'"));
        let got = act(&rig, &instance, action).await;
        assert_eq!(got.status, status, "{situation} × {action}: {got:?}");
        if status == 402 {
            assert_eq!(got.detail(), "This instance is suspended because a payment is outstanding");
            assert_eq!(row(&rig, &instance), ("paused".to_owned(), 0));
        }
    }
    let held = instance_in(&rig, "paused", None).await;
    rig.sql(&format!("UPDATE public.instances SET suspension = 'operator' WHERE id = '{}'", held["id"].as_str().unwrap()));
    for action in ["start", "unpause"] {
        let got = act(&rig, &held, action).await;
        assert!(got.status == 400 && got.detail().contains("operator"), "{got:?}");
    }
}

#[tokio::test]
async fn without_data_nothing_is_stopped_and_a_start_is_a_provisioning_that_is_paid() {
    let rig = Rig::start();
    for (billing, status) in [("payment_required", 402), ("trial", 200)] {
        let instance = rig.post("/api/v1/instances/", &order()).await.json;
        let id = instance["id"].as_str().unwrap();
        rig.sql(&format!(
            "UPDATE public.instances SET status = 'error', provisioning_status = 'failed', billing_status = '{billing}' WHERE id = '{id}'"
        ));
        for action in ["stop", "backup"] {
            let got = act(&rig, &instance, action).await;
            assert_eq!((got.status, got.detail()), (400, "Instance has not been provisioned yet"), "{action}");
        }
        let got = act(&rig, &instance, "restart").await;
        assert_eq!(got.status, status, "{got:?}");
        let kinds = rig.sql(&format!("SELECT kind FROM instance_service.operations WHERE instance_id = '{id}'"));
        assert_eq!(kinds, if status == 200 { "provision" } else { "" });
    }
}

#[tokio::test]
async fn what_waits_decides_and_repetitions_join() {
    let rig = Rig::start();
    let instance = instance_in(&rig, "running", None).await;
    let stop = act(&rig, &instance, "stop").await;
    let again = act(&rig, &instance, "stop").await;
    assert_eq!(again.json["message"], "Instance stop already in progress");
    assert_eq!(again.json["job_id"], stop.json["job_id"]);
    let start = act(&rig, &instance, "start").await;
    assert_eq!((&start.json["status"], row(&rig, &instance)), (&json!("queued"), ("stopping".to_owned(), 2)));
    assert_eq!(act(&rig, &instance, "start").await.json["job_id"], start.json["job_id"]);
    assert_eq!(act(&rig, &instance, "restart").await.status, 200, "it will run by then");
    let mut accepted = 3;
    while act(&rig, &instance, ["stop", "start"][accepted % 2]).await.status == 200 {
        accepted += 1;
        assert!(accepted <= 12, "ten may wait");
    }
    let full = act(&rig, &instance, ["stop", "start"][accepted % 2]).await;
    assert!(full.status == 409 && full.detail().contains("Too many"), "{full:?}");
}

#[tokio::test]
async fn a_stop_asks_a_start_to_give_up() {
    let rig = Rig::start();
    let instance = instance_in(&rig, "starting", Some("start")).await;
    let got = act(&rig, &instance, "stop").await;
    assert_eq!((got.status, row(&rig, &instance).0.as_str()), (200, "stopping"));
    let again = act(&rig, &instance, "stop").await;
    assert_eq!((again.status, &again.json["job_id"]), (200, &got.json["job_id"]), "said twice, it is one: {again:?}");
    let asked = "SELECT cancel_requested_at IS NOT NULL, preempted_by FROM instance_service.operations WHERE kind = 'start'";
    assert_eq!(rig.sql(asked), "t|stop");
}
