//! Servers and runtimes that fail, strangers in the way, and others who come first.

use crate::rig::Rig;
use db::platform::operations;
use domain::operation::State;
use runtime::fake::{Call, Effect, Fault, FaultClass};
use testkit::server::Stop;
use worker::engine::faults::{Action, Armed, ErrorKind};

#[tokio::test(flavor = "multi_thread")]
async fn postgres2_down_burns_no_attempt_and_the_operation_ends_when_it_is_back() {
    let mut rig = Rig::start().await;
    rig.prepare_template().await;
    rig.pair.postgres2.stop(Stop::Fast).unwrap();
    let id = rig.order(|_| {}).await;
    let operation = rig.last_operation().await.id;
    let engine = rig.second_worker();
    use worker::engine::Handler as _;
    engine.handle(operation).await.unwrap();
    let waiting = rig.last_operation().await;
    assert_eq!((waiting.state, waiting.attempts), (State::Waiting, 0));
    assert_eq!(rig.sql("SELECT max(attempt) FROM instance_service.operation_steps WHERE step = 'role'"), "0");
    rig.pair.postgres2.start_again().unwrap();
    rig.drain().await;
    assert_eq!(rig.status(id).await, "running");
}

/// Odoo ends when it finds no database server at its start; that is no failure of Odoo's.
#[tokio::test(flavor = "multi_thread")]
async fn postgres2_down_while_odoo_starts_burns_no_attempt() {
    use worker::engine::Handler as _;
    let mut rig = Rig::start().await;
    rig.prepare_template().await;
    let dies = Fault { call: Call::Ensure, service: None, times: 1, effect: Effect::ExitAfterStart };
    rig.control().add_fault(dies).await.unwrap();
    let at = "provision/ready/apply/before".to_owned();
    rig.faults.arm(Armed { point: at, action: Action::Error(ErrorKind::Retry), times: 1 });
    let id = rig.order(|_| {}).await;
    let operation = rig.last_operation().await.id;
    rig.engine.handle(operation).await.unwrap();
    assert_eq!(rig.last_operation().await.current_step.as_deref(), Some("ready"));
    rig.pair.postgres2.stop(Stop::Fast).unwrap();
    rig.drain_until_away().await;
    let tries = "SELECT attempt FROM instance_service.operation_steps WHERE step = 'ready'";
    assert_eq!(rig.sql(tries), "1", "the one that was made to fail");
    rig.pair.postgres2.start_again().unwrap();
    rig.drain().await;
    assert_eq!(rig.status(id).await, "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_database_under_our_name_is_left_alone() {
    // The name is chosen at random, so the stranger comes between its choice and its use.
    let at = Armed { point: "provision/database/apply/before".to_owned(), action: Action::Pause, times: 1 };
    let rig = Rig::with_faults(Vec::new()).await;
    rig.prepare_template().await;
    rig.faults.arm(at);
    let id = rig.order(|_| {}).await;
    let stranger = async {
        rig.reaches("provision/database/apply/before").await;
        let name = rig.instance(id).await.placement.unwrap().db_name;
        rig.pair.postgres2.psql("postgres", &format!("CREATE DATABASE {name}")).unwrap();
        rig.faults.resume();
        name
    };
    let (name, ()) = tokio::join!(stranger, rig.drain());
    let operation = rig.last_operation().await;
    assert_eq!(operation.state, State::Failed, "{operation:#?}");
    let there = format!("SELECT datallowconn FROM pg_database WHERE datname = '{name}'");
    assert_eq!(rig.pair.postgres2.psql("postgres", &there).unwrap(), "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_takes_a_half_made_instance_with_it() {
    let rig = Rig::start().await;
    rig.prepare_template().await;
    let before = rig.snapshot();
    let at = Armed { point: "provision/service/apply/after".to_owned(), action: Action::Pause, times: 1 };
    rig.faults.arm(at);
    let id = rig.order(|_| {}).await;
    let deleter = async {
        rig.reaches("provision/service/apply/after").await;
        rig.delete(id).await;
        rig.faults.resume();
    };
    tokio::join!(deleter, rig.drain());
    assert_eq!(rig.instance(id).await.axes.phase.as_str(), "purged");
    let difference = before.difference(&rig.snapshot());
    assert!(difference.is_empty(), "{difference}");
    assert_eq!(rig.mails(), "instance_provisioning_started");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_stops_when_the_database_is_not_the_recorded_one() {
    let rig = Rig::start().await;
    let id = rig.order(|_| {}).await;
    rig.drain().await;
    rig.sql("UPDATE public.instances SET db_oid = db_oid + 1");
    rig.delete(id).await;
    rig.drain().await;
    let operation = rig.last_operation().await;
    assert_eq!((operation.state, operation.current_step.as_deref()), (State::NeedsAttention, Some("verify_database")));
    let name = rig.instance(id).await.placement.unwrap().db_name;
    let there = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(rig.pair.postgres2.psql("postgres", &there).unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_odoo_that_ends_at_once_fails_with_a_clean_slate() {
    let rig = Rig::start().await;
    rig.prepare_template().await;
    let before = rig.snapshot();
    let dies = Fault { call: Call::Ensure, service: None, times: 1000, effect: Effect::ExitAfterStart };
    rig.control().add_fault(dies).await.unwrap();
    let id = rig.order(|_| {}).await;
    rig.drain().await;
    let instance = rig.instance(id).await;
    assert_eq!(instance.axes.status.as_str(), "error");
    assert_eq!(instance.error_message.as_deref(), Some("Odoo ended by itself while it was starting."));
    assert!(instance.placement.is_none() && instance.db_secret.is_none());
    let difference = before.difference(&rig.snapshot());
    assert!(difference.is_empty(), "{difference}");
    rig.control().clear_faults().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_out_of_reach_is_waited_for() {
    let rig = Rig::start().await;
    rig.prepare_template().await;
    let away = Fault { call: Call::Ensure, service: None, times: 1, effect: Effect::Fail(FaultClass::Unreachable) };
    rig.control().add_fault(away).await.unwrap();
    let lost = Fault { call: Call::Ensure, service: None, times: 1, effect: Effect::FailAfter(FaultClass::Transient) };
    rig.control().add_fault(lost).await.unwrap();
    let id = rig.order(|_| {}).await;
    rig.drain().await;
    assert_eq!(rig.status(id).await, "running");
    let service = rig.instance(id).await.placement.unwrap().service_name;
    assert_eq!(rig.control().counts(&service).await.unwrap().most_writers, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_is_waited_for() {
    let rig = Rig::start().await;
    rig.sql("UPDATE instance_service.odoo_servers SET capacity = 0");
    rig.order(|_| {}).await;
    use worker::engine::Handler as _;
    rig.second_worker().handle(rig.last_operation().await.id).await.unwrap();
    let waiting = rig.last_operation().await;
    assert_eq!((waiting.state, waiting.attempts), (State::Waiting, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_takes_over_what_an_operation_in_needs_attention_left() {
    let rig = Rig::start().await;
    rig.prepare_template().await;
    let before = rig.snapshot();
    let action = Action::Error(worker::engine::faults::ErrorKind::NeedsAttention);
    rig.faults.arm(Armed { point: "provision/service/apply/after".to_owned(), action, times: 1 });
    let id = rig.order(|_| {}).await;
    rig.drain().await;
    assert_eq!(rig.last_operation().await.state, State::NeedsAttention);
    assert!(!before.difference(&rig.snapshot()).is_empty());
    rig.delete(id).await;
    rig.drain().await;
    assert_eq!(rig.instance(id).await.axes.phase.as_str(), "purged");
    let difference = before.difference(&rig.snapshot());
    assert!(difference.is_empty(), "{difference}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_racing_for_one_operation_make_one_of_everything() {
    let rig = Rig::start().await;
    rig.prepare_template().await;
    let before = rig.snapshot();
    let other = rig.second_worker();
    let id = rig.order(|_| {}).await;
    tokio::join!(rig.drain(), rig.drain_with(&other));
    assert_eq!(rig.status(id).await, "running");
    let added = before.difference(&rig.snapshot()).added;
    for kind in ["database ", "role ", "file "] {
        assert_eq!(added.iter().filter(|line| line.starts_with(kind)).count(), 1, "{added:#?}");
    }
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.operations WHERE kind = 'provision' AND claims <= 1"), "1");
}

/// Its database server may have been away for a moment (F24 of engine 15).
#[tokio::test(flavor = "multi_thread")]
async fn an_odoo_that_died_while_booting_is_started_again() {
    let rig = Rig::start().await;
    rig.prepare_template().await;
    let dies = Fault { call: Call::Ensure, service: None, times: 1, effect: Effect::ExitAfterStart };
    rig.control().add_fault(dies).await.unwrap();
    let id = rig.order(|_| {}).await;
    rig.drain().await;
    assert_eq!(rig.status(id).await, "running");
    let service = rig.instance(id).await.placement.unwrap().service_name;
    assert_eq!(rig.control().counts(&service).await.unwrap().starts, 2);
}

/// Contract 11.3: whoever asks an operation to give up does not wait for a run of Odoo that takes minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_a_run_that_takes_minutes() {
    let rig = Rig::start().await;
    let before = rig.snapshot();
    let hangs = Fault { call: Call::RunOnce, service: None, times: 1, effect: Effect::Hang };
    rig.control().add_fault(hangs).await.unwrap();
    let id = rig.build_template().await;
    let impatient = async {
        rig.reaches("build_template/initialise/apply/during").await;
        rig.sql("UPDATE instance_service.operations SET cancel_requested_at = clock_timestamp()");
    };
    tokio::join!(impatient, rig.drain());
    let ended = operations::get(&rig.db, id).await.unwrap().unwrap();
    assert_eq!(ended.state, State::Cancelled, "{ended:#?}");
    let difference = before.difference(&rig.snapshot());
    assert!(difference.is_empty(), "{difference}");
}
