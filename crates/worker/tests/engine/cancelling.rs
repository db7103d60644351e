//! Giving up, and making way.

use crate::rig::{Act, Rig, Toy, ToyEnds, hurried, toy, until};
use db::platform::operations::{self, CancelOutcome, Preempted};
use domain::ids::{InstanceId, OperationId};
use domain::operation::{Kind, State};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use worker::engine::faults::Faults;
use worker::engine::{Engine, Handler, Registry, Saga};

async fn cancel(rig: &Rig, id: OperationId) -> CancelOutcome {
    let mut tx = rig.db.begin().await.unwrap();
    let outcome = operations::request_cancel(&mut tx, id, "changed my mind").await.unwrap();
    tx.commit().await.unwrap();
    outcome
}

async fn preempt(rig: &Rig, instance: InstanceId, by: Kind) -> Preempted {
    let mut tx = rig.db.begin().await.unwrap();
    let outcome = operations::preempt(&mut tx, instance, by).await.unwrap();
    tx.commit().await.unwrap();
    outcome
}

async fn seen(rig: &Rig, what: &str) {
    assert!(
        until(Duration::from_secs(10), async || rig.world.log().iter().any(|seen| seen == what)).await,
        "{:?}",
        rig.world.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_operation_is_cancelled_at_once() {
    let rig = Rig::start();
    let instance = rig.instance();
    let first = rig.enqueue(Kind::Backup, instance).await;
    let second = rig.enqueue(Kind::Start, instance).await;
    assert_eq!(cancel(&rig, first).await, CancelOutcome::Cancelled);
    assert_eq!(cancel(&rig, first).await, CancelOutcome::Finished);
    assert_eq!(rig.get(first).await.cancel_reason.as_deref(), Some("changed my mind"));
    // The next in line was woken in the same transaction.
    assert_eq!(rig.get(second).await.wake_no, 1);
    assert_eq!(cancel(&rig, rig.id()).await, CancelOutcome::Unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_step_notices_within_two_seconds_and_everything_is_undone() {
    let rig = Rig::start();
    rig.world.script("apply b", &[Act::Wait]);
    let _running = rig.run(hurried("one"));
    let id = rig.provision().await;
    seen(&rig, "apply b").await;
    let asked = Instant::now();
    assert_eq!(cancel(&rig, id).await, CancelOutcome::Requested);
    let ended = rig.reaches(id, State::Cancelled).await;
    assert!(rig.world.times("undo b")[0] - asked < Duration::from_secs(2));
    assert_eq!(rig.world.log()[2..], ["undo b", "undo a", "unwound cancelled"]);
    assert!(rig.world.made().is_empty() && ended.error.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_operation_is_woken_to_be_cancelled() {
    let rig = Rig::start();
    rig.world.script("apply b", &[Act::Snooze(600_000)]);
    let _running = rig.run(hurried("one"));
    let id = rig.provision().await;
    rig.reaches(id, State::Waiting).await;
    assert_eq!(cancel(&rig, id).await, CancelOutcome::Requested);
    rig.reaches(id, State::Cancelled).await;
    assert!(rig.world.made().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_point_of_no_return_a_cancel_is_refused_and_not_obeyed() {
    let rig = Rig::start();
    rig.world.script("apply b", &[Act::Sleep(1_500)]);
    let switch = Toy { interruptible: false, ..toy(&rig.world, "b") };
    let saga = Saga::new(Kind::Provision, 1, ToyEnds(rig.world.clone())).step(toy(&rig.world, "a")).undo().step(switch).undo();
    let registry = Registry::new([saga]).unwrap();
    let engine = Engine::new(hurried("one"), rig.services(), registry, Faults::default(), CancellationToken::new()).unwrap();
    let instance = rig.instance();
    let id = rig.enqueue(Kind::Provision, instance).await;
    let run = tokio::spawn(async move { engine.handle(id).await });
    seen(&rig, "apply b").await;
    assert_eq!(cancel(&rig, id).await, CancelOutcome::PastReturn);
    assert_eq!(preempt(&rig, instance, Kind::Suspend).await.asked, Some(id));
    run.await.unwrap().unwrap();
    assert_eq!(rig.get(id).await.state, State::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn suspend_makes_a_provision_give_up_and_runs_next() {
    let rig = Rig::start();
    rig.world.script("apply b", &[Act::Wait]);
    let _running = rig.run(hurried("one"));
    let instance = rig.instance();
    let provision = rig.enqueue(Kind::Provision, instance).await;
    seen(&rig, "apply b").await;
    let backup = rig.enqueue(Kind::Backup, instance).await;
    let start = rig.enqueue(Kind::Start, instance).await;
    let made_way = preempt(&rig, instance, Kind::Suspend).await;
    assert_eq!(made_way, Preempted { cancelled: vec![start], asked: Some(provision), absorbed_by: None });
    rig.world.script("apply b", &[Act::Done]);
    let suspend = rig.enqueue(Kind::Suspend, instance).await;
    rig.reaches(suspend, State::Succeeded).await;
    assert_eq!(rig.get(provision).await.state, State::Cancelled);
    assert!(rig.world.log().contains(&"unwound cancelled for suspend".to_owned()), "{:?}", rig.world.log());
    assert!(rig.world.made().iter().all(|object| !object.starts_with(&provision.to_string())));
    rig.reaches(backup, State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_the_same_way_absorbs_or_finishes() {
    let rig = Rig::start();
    rig.world.script("apply a", &[Act::Snooze(600_000)]);
    let _running = rig.run(hurried("one"));
    let instance = rig.instance();
    let terminate = rig.enqueue(Kind::Terminate, instance).await;
    rig.reaches(terminate, State::Waiting).await;
    assert_eq!(preempt(&rig, instance, Kind::Terminate).await.absorbed_by, Some(terminate));
    assert_eq!(preempt(&rig, instance, Kind::Suspend).await.absorbed_by, Some(terminate));
    assert_eq!(preempt(&rig, instance, Kind::Delete).await, Preempted::default());
    assert!(rig.get(terminate).await.cancel_requested_at.is_none());
    assert_eq!(cancel(&rig, terminate).await, CancelOutcome::NotCancellable);
}

/// A failure that is being undone when a terminate arrives ends as cancelled: the status belongs to the terminate now.
#[tokio::test(flavor = "multi_thread")]
async fn a_pre_empted_failure_ends_cancelled() {
    let rig = Rig::start();
    rig.world.script("apply b", &[Act::Permanent]);
    rig.world.script("undo a", &[Act::Sleep(1_000)]);
    let _running = rig.run(hurried("one"));
    let instance = rig.instance();
    let id = rig.enqueue(Kind::Provision, instance).await;
    seen(&rig, "undo a").await;
    preempt(&rig, instance, Kind::Terminate).await;
    rig.reaches(id, State::Cancelled).await;
    assert_eq!(rig.world.log().last().unwrap(), "unwound cancelled for terminate");
}
