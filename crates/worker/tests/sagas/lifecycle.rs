//! Down and up again: what a stop, a suspension, a terminate leave, and what brings an instance back.

use crate::rig::Rig;
use db::platform::instances::Instance;
use domain::ids::InstanceId;
use domain::instance::{Action, BillingStatus};
use domain::operation::State;
use runtime::fake::{Call, Counts, Effect, Fault};
use runtime::{Observed, Owner, Service, Turn};

async fn running(rig: &Rig) -> InstanceId {
    let id = rig.order(|_| {}).await;
    rig.drain().await;
    assert_eq!(rig.status(id).await, "running");
    id
}

fn service(instance: &Instance) -> Service {
    let name = instance.placement.as_ref().unwrap().service_name.clone();
    Service { name, owner: Owner::Instance(instance.id) }
}

pub(crate) async fn seen(rig: &Rig, id: InstanceId) -> Observed {
    rig.tools.runtime.observe(&service(&rig.instance(id).await)).await.unwrap()
}

async fn counts(rig: &Rig, id: InstanceId) -> Counts {
    rig.control().counts(&service(&rig.instance(id).await).name).await.unwrap()
}

/// Something of the customer's, in its database.
fn write(rig: &Rig, instance: &Instance) {
    let database = &instance.placement.as_ref().unwrap().db_name;
    rig.pair.postgres2.psql(database.as_str(), "CREATE TABLE notes (note text); INSERT INTO notes VALUES ('mine')").unwrap();
}

fn read(rig: &Rig, instance: &Instance) -> String {
    let database = &instance.placement.as_ref().unwrap().db_name;
    rig.pair.postgres2.psql(database.as_str(), "SELECT note FROM notes").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_and_a_start_keep_everything() {
    let rig = Rig::start().await;
    let id = running(&rig).await;
    let before = rig.instance(id).await;
    write(&rig, &before);
    rig.act(id, Action::Stop).await;
    assert_eq!(rig.status(id).await, "stopping", "at once");
    rig.drain().await;
    assert_eq!(rig.status(id).await, "stopped");
    assert!(!seen(&rig, id).await.is_up());
    rig.act(id, Action::Start).await;
    rig.drain().await;
    let after = rig.instance(id).await;
    assert_eq!((after.axes.status.as_str(), after.axes.desired.as_str()), ("running", "running"));
    assert_eq!((after.db_oid, &after.external_url, read(&rig, &after).as_str()), (before.db_oid, &before.external_url, "mine"));
    assert!(after.started_at > before.started_at);
    let counts = counts(&rig, id).await;
    assert_eq!((counts.starts, counts.stops, counts.removes), (2, 1, 0));
    assert_eq!(rig.mails(), "instance_provisioning_started instance_ready instance_stopped instance_started");
    let told = rig.sql("SELECT variables FROM instance_service.outbox WHERE template = 'instance_stopped'");
    assert_eq!(told, r#"{"reason": "Instance stopped by user request", "instance_name": "Shop"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_another_process() {
    let rig = Rig::start().await;
    let id = running(&rig).await;
    let before = rig.instance(id).await;
    rig.act(id, Action::Restart).await;
    assert_eq!(rig.status(id).await, "restarting");
    rig.drain().await;
    assert_eq!(rig.status(id).await, "running");
    assert!(rig.instance(id).await.started_at > before.started_at);
    let counts = counts(&rig, id).await;
    assert_eq!((counts.starts, counts.stops), (2, 1));
    assert_eq!(rig.mails(), "instance_provisioning_started instance_ready", "a restart is told nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_gone_is_stopped_and_made_again() {
    let rig = Rig::start().await;
    let id = running(&rig).await;
    let turn = format!("SELECT token FROM instance_service.leases WHERE resource = 'instance:{id}'");
    let turn = Turn { operation: rig.last_operation().await.id, token: rig.sql(&turn).parse().unwrap() };
    rig.tools.runtime.remove(&service(&rig.instance(id).await), turn).await.unwrap();
    rig.act(id, Action::Stop).await;
    rig.drain().await;
    assert_eq!(rig.status(id).await, "stopped");
    rig.act(id, Action::Start).await;
    rig.drain().await;
    assert_eq!((rig.status(id).await.as_str(), seen(&rig, id).await.is_up()), ("running", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_holds_until_it_is_paid_and_then_it_runs_by_itself() {
    let rig = Rig::with_extra_mails().await;
    let id = running(&rig).await;
    rig.suspend(id).await;
    assert_eq!(rig.status(id).await, "paused", "at once");
    rig.drain().await;
    assert!(!seen(&rig, id).await.is_up());
    let instance = rig.instance(id).await;
    assert_eq!((instance.axes.status.as_str(), instance.axes.observed.as_str()), ("paused", "stopped"));
    assert!(rig.mails().ends_with("instance_suspended"), "{}", rig.mails());
    rig.note_billing(id, BillingStatus::Paid).await;
    rig.unsuspend(id).await;
    rig.drain().await;
    assert_eq!((rig.status(id).await.as_str(), seen(&rig, id).await.is_up()), ("running", true));
    // The same by a start, which billing sends once it is paid.
    rig.suspend(id).await;
    rig.drain().await;
    rig.note_billing(id, BillingStatus::Paid).await;
    rig.act(id, Action::Start).await;
    rig.drain().await;
    let told = "instance_suspended instance_started instance_resumed";
    assert!(rig.mails().ends_with(&format!("{told} {told}")), "{}", rig.mails());
    rig.act(id, Action::Stop).await;
    rig.drain().await;
    rig.act(id, Action::Start).await;
    rig.drain().await;
    assert!(rig.mails().ends_with("instance_stopped instance_started"), "nothing was resumed: {}", rig.mails());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_finds_its_database_its_files_and_its_address() {
    let rig = Rig::start().await;
    let id = running(&rig).await;
    let before = rig.instance(id).await;
    write(&rig, &before);
    rig.terminate(id).await;
    rig.drain().await;
    rig.reactivate(id).await;
    rig.drain().await;
    let after = rig.instance(id).await;
    assert_eq!(after.axes.status.as_str(), "running");
    assert_eq!((after.db_oid, &after.hostname, &after.placement), (before.db_oid, &before.hostname, &before.placement));
    assert_eq!(read(&rig, &after), "mine");
    let user = before.placement.unwrap().db_user;
    let open = format!("SELECT rolcanlogin FROM pg_roles WHERE rolname = '{user}'");
    assert_eq!(rig.pair.postgres2.psql("postgres", &open).unwrap(), "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_its_database_makes_none() {
    let rig = Rig::start().await;
    let id = running(&rig).await;
    rig.act(id, Action::Stop).await;
    rig.drain().await;
    let name = rig.instance(id).await.placement.unwrap().db_name;
    rig.pair.postgres2.psql("postgres", &format!("DROP DATABASE \"{name}\" WITH (FORCE)")).unwrap();
    rig.act(id, Action::Start).await;
    rig.drain().await;
    let instance = rig.instance(id).await;
    assert_eq!(instance.axes.status.as_str(), "error");
    assert_eq!(instance.error_message.as_deref(), Some("The database of this instance is missing; our staff looks at it."));
    let there = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(rig.pair.postgres2.psql("postgres", &there).unwrap(), "0");
    assert!(!seen(&rig, id).await.is_up());
}

#[tokio::test(flavor = "multi_thread")]
async fn new_limits_reach_the_service_or_the_old_ones_are_back() {
    let rig = Rig::start().await;
    let id = running(&rig).await;
    rig.resize(id, "3G").await;
    assert!(rig.instance(id).await.resources_pending);
    rig.drain().await;
    let instance = rig.instance(id).await;
    assert_eq!((instance.axes.status.as_str(), instance.resources_pending, &instance.running_limits), ("running", false, &None));
    assert_eq!(counts(&rig, id).await.starts, 2);
    rig.resize(id, "4G").await;
    let fault = Fault { call: Call::Ready, service: None, times: 1, effect: Effect::Fail(runtime::fake::FaultClass::Permanent) };
    rig.control().add_fault(fault).await.unwrap();
    rig.drain().await;
    let instance = rig.instance(id).await;
    assert_eq!(rig.last_operation().await.state, State::Failed);
    assert_eq!((instance.axes.status.as_str(), instance.resources_pending), ("running", true));
    assert_eq!(counts(&rig, id).await.starts, 4, "up with the new ones, and again with the old ones");
    rig.act(id, Action::Restart).await;
    rig.drain().await;
    assert!(!rig.instance(id).await.resources_pending, "the next start brings them");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_too_long_is_refused() {
    let rig = Rig::start().await;
    let id = running(&rig).await;
    rig.act(id, Action::Stop).await;
    rig.act(id, Action::Start).await;
    rig.sql(
        "UPDATE public.instances SET desired_state = 'stopped', suspension = 'debt', resume_to = 'running',
                    status = 'paused', billing_status = 'payment_required'",
    );
    rig.drain().await;
    assert_eq!(rig.status(id).await, "paused");
    let ended = rig.sql("SELECT string_agg(kind || ' ' || state, ', ' ORDER BY seq) FROM instance_service.operations WHERE kind IN ('stop', 'start')");
    assert_eq!(ended, "stop cancelled, start cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_their_order_a_stop_and_a_start_lead_to_running() {
    let rig = Rig::start().await;
    let id = running(&rig).await;
    for action in [Action::Stop, Action::Start, Action::Stop, Action::Start] {
        rig.act(id, action).await;
    }
    rig.drain().await;
    assert_eq!((rig.status(id).await.as_str(), seen(&rig, id).await.is_up()), ("running", true));
    let counts = counts(&rig, id).await;
    assert_eq!((counts.starts, counts.stops), (3, 2));
}
