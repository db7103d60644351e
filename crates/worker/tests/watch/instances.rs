//! Reconcile and health check.

use crate::rig::{Rig, Told, setup};
use bootstrap::OsEntropy;
use db::platform::acceptance::Compare;
use db::platform::monitor;
use db::platform::turn::Turn;
use domain::ids::InstanceId;
use domain::sources::random_uuid;
use runtime::{Observed, Owner};
use std::sync::Arc;
use std::time::Duration;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};
use worker::reconcile::health::HealthCheck;
use worker::reconcile::{Comparison, Round, turn};

fn up() -> Observed {
    Observed::Running { since: std::time::SystemTime::UNIX_EPOCH.into() }
}

fn crashed() -> Observed {
    Observed::Failed { reason: "last words with a password=hunter2".into() }
}

fn reconcile(rig: &Rig, runtime: &Arc<Told>) -> Comparison {
    Comparison { db: rig.db.clone(), runtime: runtime.clone(), entropy: Arc::new(OsEntropy), setup: setup() }
}

fn health(rig: &Rig, runtime: &Arc<Told>) -> HealthCheck {
    let http = bootstrap::http::client(Duration::from_secs(2)).unwrap();
    HealthCheck { db: rig.db.clone(), runtime: runtime.clone(), http, setup: setup() }
}

/// An Odoo that answers its health check with this status from now on.
async fn answer(odoo: &MockServer, status: u16) {
    odoo.reset().await;
    let health = Mock::given(method("GET")).and(path("/web/health"));
    health.respond_with(ResponseTemplate::new(status)).mount(odoo).await;
}

#[tokio::test]
async fn a_crash_is_seen_recorded_and_audited() {
    let rig = Rig::start();
    let runtime = Arc::new(Told::default());
    let id = rig.instance("running", "running").await;
    runtime.services(&[(&rig.row(id).await, crashed())]);
    let report = reconcile(&rig, &runtime).round().await.unwrap();
    assert_eq!((&report["checked"], &report["changed"]), (&1.into(), &1.into()), "{report}");
    let row = rig.row(id).await;
    assert_eq!((row.axes.status.as_str(), row.axes.observed.as_str()), ("error", "failed"));
    assert_eq!(row.error_message.as_deref(), Some("Odoo ended unexpectedly"));
    let audit = rig.sql("SELECT door, actor, action, from_status, to_status FROM instance_service.audit_log");
    assert_eq!(audit, "worker|reconcile|observed_failed|running|error");
    assert_eq!(reconcile(&rig, &runtime).round().await.unwrap()["changed"], 0, "a second look changes nothing");
}

#[tokio::test]
async fn a_runtime_that_cannot_be_asked_changes_nothing() {
    let rig = Rig::start();
    let runtime = Arc::new(Told::default());
    let id = rig.instance("running", "running").await;
    let before = rig.row(id).await.revision;
    runtime.unreachable();
    assert!(turn(&rig.db, &reconcile(&rig, &runtime)).await.is_err());
    let report = monitor::read(&rig.db, "reconcile").await.unwrap().unwrap().value;
    assert_eq!(report["ok"], false, "{report}");
    let report = health(&rig, &runtime).round().await.unwrap();
    assert_eq!(report["errors"], 1, "{report}");
    assert_eq!((rig.status(id).await.as_str(), rig.row(id).await.revision), ("running", before));
}

#[tokio::test]
async fn an_instance_with_an_operation_is_left_alone() {
    let rig = Rig::start();
    let runtime = Arc::new(Told::default());
    for state in ["queued", "running", "waiting"] {
        let id = rig.instance("running", "running").await;
        rig.operation(id, state);
    }
    runtime.services(&[]);
    let report = reconcile(&rig, &runtime).round().await.unwrap();
    assert_eq!((&report["skipped"], &report["changed"]), (&3.into(), &0.into()), "{report}");
    assert_eq!(rig.sql("SELECT DISTINCT status || observed_state FROM public.instances"), "runningunknown");
}

#[tokio::test]
async fn missing_stopped_and_forgotten_services_are_told_apart() {
    let rig = Rig::start();
    let runtime = Arc::new(Told::default());
    let missing = rig.instance("running", "running").await;
    let stopped = rig.instance("running", "running").await;
    let paused = rig.instance("paused", "running").await;
    let terminated = rig.instance("terminated", "terminated").await;
    let orphan = InstanceId::from_uuid(random_uuid(&OsEntropy));
    let rows = [rig.row(stopped).await, rig.row(paused).await, rig.row(terminated).await];
    runtime.services(&[(&rows[0], Observed::Stopped), (&rows[1], up()), (&rows[2], up())]);
    runtime.stranger("odoo-left-over", Owner::Instance(orphan));
    let report = reconcile(&rig, &runtime).round().await.unwrap();
    assert_eq!(rig.status(missing).await, "container_missing");
    assert_eq!(rig.status(stopped).await, "stopped");
    assert_eq!(rig.row(stopped).await.axes.desired.as_str(), "running");
    assert_eq!((rig.status(paused).await.as_str(), rig.status(terminated).await.as_str()), ("paused", "terminated"));
    assert_eq!(report["drifted"], 4, "{report}");
    assert_eq!(report["orphans"], serde_json::json!(["odoo-left-over"]), "{report}");
}

#[tokio::test]
async fn five_silent_rounds_make_unhealthy_and_one_good_answer_heals() {
    let rig = Rig::start();
    let runtime = Arc::new(Told::default());
    let id = rig.instance("running", "running").await;
    let odoo = MockServer::start().await;
    rig.sql(&format!("UPDATE public.instances SET internal_url = '{}'", odoo.uri()));
    runtime.services(&[(&rig.row(id).await, up())]);
    answer(&odoo, 503).await;
    for round in 1..=5 {
        assert_eq!(rig.status(id).await, "running", "before round {round}");
        // A new value each time: the count outlives the worker that counted.
        assert!(turn(&rig.db, &health(&rig, &runtime)).await.unwrap());
    }
    let row = rig.row(id).await;
    assert_eq!((row.axes.status.as_str(), row.axes.observed.as_str()), ("error", "unhealthy"));
    assert_eq!(row.error_message.as_deref(), Some("Odoo has stopped answering"));
    answer(&odoo, 200).await;
    assert!(turn(&rig.db, &health(&rig, &runtime)).await.unwrap());
    let row = rig.row(id).await;
    assert_eq!((row.axes.status.as_str(), row.axes.observed.as_str(), row.error_message), ("running", "running", None));
}

#[tokio::test]
async fn a_good_answer_in_between_starts_the_count_anew() {
    let rig = Rig::start();
    let runtime = Arc::new(Told::default());
    let id = rig.instance("running", "running").await;
    let odoo = MockServer::start().await;
    rig.sql(&format!("UPDATE public.instances SET internal_url = '{}'", odoo.uri()));
    runtime.services(&[(&rig.row(id).await, up())]);
    for status in [503, 503, 503, 503, 200, 503, 503, 503, 503] {
        answer(&odoo, status).await;
        assert!(turn(&rig.db, &health(&rig, &runtime)).await.unwrap());
        assert_eq!(rig.status(id).await, "running");
    }
    assert!(rig.row(id).await.last_health_check.is_some());
}

#[tokio::test]
async fn only_one_worker_runs_a_loop() {
    let rig = Rig::start();
    let runtime = Arc::new(Told::default());
    runtime.services(&[]);
    let elsewhere = Turn::try_take(&rig.db, "reconcile").await.unwrap().unwrap();
    assert!(!turn(&rig.db, &reconcile(&rig, &runtime)).await.unwrap());
    assert!(turn(&rig.db, &health(&rig, &runtime)).await.unwrap(), "another loop is not concerned");
    elsewhere.end().await;
    assert!(turn(&rig.db, &reconcile(&rig, &runtime)).await.unwrap());
}

/// A stopped process keeps its session, and no other worker would ever have a turn.
#[tokio::test]
async fn a_turn_that_is_lost_ends_its_work() {
    let rig = Rig::start();
    let mut turn = Turn::try_take(&rig.db, "reconcile").await.unwrap().unwrap();
    assert_eq!(rig.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"), "t");
    turn.hold(std::future::pending::<()>()).await.unwrap_err();
    assert!(Turn::try_take(&rig.db, "reconcile").await.unwrap().is_some());
}

/// Contract 17: what runs although it is terminated is taken down again.
#[tokio::test]
async fn a_terminated_instance_that_runs_is_terminated_again() {
    let rig = Rig::start();
    let runtime = Arc::new(Told::default());
    let id = rig.instance("terminated", "terminated").await;
    rig.sql("UPDATE public.instances SET observed_state = 'absent'");
    runtime.services(&[(&rig.row(id).await, up())]);
    let report = reconcile(&rig, &runtime).round().await.unwrap();
    assert_eq!(report["drifted"], 1, "{report}");
    assert_eq!(rig.sql("SELECT kind, state, actor FROM instance_service.operations"), "terminate|queued|reconcile");
    reconcile(&rig, &runtime).round().await.unwrap();
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.operations"), "1", "one is enough");
}

#[tokio::test]
async fn what_is_stopped_or_suspended_and_runs_is_taken_down_again() {
    let rig = Rig::start();
    let runtime = Arc::new(Told::default());
    let stopped = rig.instance("stopped", "stopped").await;
    let paused = rig.instance("paused", "stopped").await;
    let failed = rig.instance("error", "running").await;
    let rows = [rig.row(stopped).await, rig.row(paused).await, rig.row(failed).await];
    runtime.services(&[(&rows[0], up()), (&rows[1], up()), (&rows[2], up())]);
    for _ in 0..2 {
        reconcile(&rig, &runtime).round().await.unwrap();
    }
    let queued = "SELECT string_agg(kind, ' ' ORDER BY kind) FROM instance_service.operations";
    assert_eq!(rig.sql(queued), "stop suspend", "one each, and none for what shall run");
    assert_eq!((rig.status(stopped).await.as_str(), rig.status(paused).await.as_str()), ("stopping", "paused"));
    assert_eq!(rig.row(paused).await.axes.billing.as_str(), "paid", "no new debt");
}

#[tokio::test]
async fn what_is_paid_and_left_down_is_started_after_a_time_of_grace() {
    let rig = Rig::start();
    let runtime = Arc::new(Told::default());
    runtime.services(&[]);
    let [paid, just_now, owing, stopped_before] = [
        rig.instance("paused", "stopped").await,
        rig.instance("paused", "stopped").await,
        rig.instance("paused", "stopped").await,
        rig.instance("paused", "stopped").await,
    ];
    rig.sql("UPDATE public.instances SET updated_at = now() - interval '61 s'");
    rig.sql(&format!("UPDATE public.instances SET updated_at = now() WHERE id = '{just_now}'"));
    rig.sql(&format!("UPDATE public.instances SET billing_status = 'payment_required' WHERE id = '{owing}'"));
    rig.sql(&format!("UPDATE public.instances SET resume_to = 'stopped' WHERE id = '{stopped_before}'"));
    for _ in 0..2 {
        reconcile(&rig, &runtime).round().await.unwrap();
    }
    assert_eq!(rig.sql("SELECT instance_id, kind, actor FROM instance_service.operations"), format!("{paid}|start|reconcile"));
    assert_eq!(rig.status(paid).await, "starting");
    for other in [just_now, owing, stopped_before] {
        assert_eq!(rig.status(other).await, "paused");
    }
}

/// One row of everything that can be wrong, and what a look at it says and does.
#[tokio::test]
async fn a_dry_run_tells_and_changes_nothing_and_one_instance_can_be_asked_about() {
    let rig = Rig::start();
    let runtime = Arc::new(Told::default());
    let crashed_one = rig.instance("running", "running").await;
    let stopped = rig.instance("stopped", "stopped").await;
    let fine = rig.instance("running", "running").await;
    let rows = [rig.row(crashed_one).await, rig.row(stopped).await, rig.row(fine).await];
    runtime.services(&[(&rows[0], crashed()), (&rows[1], up()), (&rows[2], up())]);
    runtime.stranger("odoo-left-over", Owner::Instance(InstanceId::from_uuid(random_uuid(&OsEntropy))));
    let comparison = reconcile(&rig, &runtime);
    let findings = comparison.run(&Compare { dry_run: true, ..Compare::default() }).await.unwrap();
    let report = findings.result();
    assert_eq!(
        (&report["total_checked"], &report["mismatched"], &report["updated"]),
        (&3.into(), &3.into(), &0.into()),
        "{report}"
    );
    let of = |id: InstanceId| {
        let details = report["details"].as_array().unwrap();
        details.iter().find(|detail| detail["instance_id"] == id.to_string()).cloned().unwrap_or_default()
    };
    let crash = of(crashed_one);
    assert_eq!((&crash["database_status"], &crash["docker_status"]), (&"running".into(), &"failed".into()));
    assert_eq!(
        (&crash["expected_status"], &crash["needs_update"], &crash["updated"]),
        (&"error".into(), &true.into(), &false.into())
    );
    assert_eq!(of(stopped)["error_message"], "runs although it should not");
    assert!(of(fine).is_null());
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.operations"), "0");
    assert_eq!(rig.status(crashed_one).await, "running");

    let only = Compare { only: Some(stopped), ..Compare::default() };
    let report = comparison.run(&only).await.unwrap().result();
    assert_eq!((&report["total_checked"], &report["updated"]), (&1.into(), &1.into()), "{report}");
    assert_eq!((rig.status(stopped).await.as_str(), rig.status(crashed_one).await.as_str()), ("stopping", "running"));
}

#[tokio::test]
async fn limits_that_wait_are_brought_when_asked_for() {
    let rig = Rig::start();
    let runtime = Arc::new(Told::default());
    let waiting = rig.instance("running", "running").await;
    let up_to_date = rig.instance("running", "running").await;
    rig.sql(&format!("UPDATE public.instances SET resources_pending = true WHERE id = '{waiting}'"));
    runtime.services(&[(&rig.row(waiting).await, up()), (&rig.row(up_to_date).await, up())]);
    let comparison = reconcile(&rig, &runtime);
    comparison.run(&Compare::default()).await.unwrap();
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.operations"), "0");
    let report = comparison.run(&Compare { force_update: true, ..Compare::default() }).await.unwrap().result();
    assert_eq!(report["updated"], 1, "{report}");
    assert_eq!(rig.sql("SELECT kind, instance_id FROM instance_service.operations"), format!("apply_resources|{waiting}"));
}
