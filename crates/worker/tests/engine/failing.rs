//! Verdicts and what follows from them.

use crate::rig::{Act, Rig, ToyEnds, by, hurried, toy};
use db::platform::attention::{self, Decided, Decision};
use db::platform::operations;
use domain::ids::OperationId;
use domain::operation::{Kind, State, StepStatus};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use worker::engine::faults::Faults;
use worker::engine::{Engine, Handler, Registry, Saga};

/// T6: an error and a panic become step failures with backoff, an abort one that ends the operation; no hot loop, and no wake-up
/// left running or killed.
#[tokio::test(flavor = "multi_thread")]
async fn error_panic_and_abort_are_recorded() {
    let rig = Rig::start();
    rig.world.script("apply a", &[Act::Retry]);
    rig.world.script("apply b", &[Act::Panic]);
    let settings = hurried("one");
    let _running = rig.run_apalis(settings);
    let id = rig.provision().await;
    rig.reaches(id, State::Succeeded).await;
    let steps = operations::steps(&rig.db, id).await.unwrap();
    assert_eq!(steps.iter().map(|s| (s.step.as_str(), s.attempt)).collect::<Vec<_>>(), [("a", 1), ("b", 1), ("c", 0)]);
    assert_eq!(rig.world.times("apply").len(), 3, "{:?}", rig.world.log());
    rig.world.script("apply a", &[Act::Permanent]);
    let aborted = rig.provision().await;
    let failed = rig.reaches(aborted, State::Failed).await;
    assert_eq!(failed.error.unwrap().code, "toy_permanent");
    assert_eq!(rig.world.times("apply").len(), 4, "{:?}", rig.world.log());
    let idle = async || rig.psql("SELECT count(*) FROM apalis.jobs WHERE status IN ('Queued', 'Running', 'Pending')") == "0";
    assert!(crate::rig::until(Duration::from_secs(5), idle).await);
    assert_eq!(rig.psql("SELECT count(*) FROM apalis.jobs WHERE status <> 'Done'"), "0");
}

/// T12.
#[tokio::test(flavor = "multi_thread")]
async fn step_timeout_is_a_step_failure() {
    let rig = Rig::start();
    rig.world.script("apply slow", &[Act::Sleep(60_000)]);
    let slow = crate::rig::Toy { limit: Duration::from_millis(200), ..toy(&rig.world, "slow") };
    let saga = Saga::new(Kind::Provision, 1, ToyEnds(rig.world.clone())).step(slow).undo();
    let stop = CancellationToken::new();
    let engine = Engine::new(hurried("one"), rig.services(), Registry::new([saga]).unwrap(), Faults::default(), stop).unwrap();
    let id = rig.provision().await;
    Handler::handle(&engine, id).await.unwrap();
    let waiting = rig.get(id).await;
    assert_eq!((waiting.state, waiting.claims), (State::Waiting, 0));
    assert!(waiting.next_run_at > waiting.started_at.unwrap());
    let steps = operations::steps(&rig.db, id).await.unwrap();
    assert_eq!((steps[0].status, steps[0].attempt), (StepStatus::Failed, 1));
    assert_eq!(steps[0].error.as_ref().unwrap().code, "step_timed_out");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_attempts_of_five_tries_and_then_undo() {
    let rig = Rig::start();
    rig.world.script("finish", &[Act::Retry]);
    let _running = rig.run(hurried("one"));
    let id = rig.provision().await;
    let failed = rig.reaches(id, State::Failed).await;
    assert_eq!(rig.world.times("finish").len(), 15);
    assert_eq!(failed.error.unwrap().code, "toy_retry");
    assert!(rig.world.made().is_empty());
}

/// T17.
#[tokio::test(flavor = "multi_thread")]
async fn snooze_keeps_spacing_and_attempts() {
    let rig = Rig::start();
    let snooze = Act::Snooze(400);
    rig.world.script("finish", &[snooze, snooze, snooze, Act::Done]);
    let id = rig.provision().await;
    rig.psql("UPDATE instance_service.operations SET max_attempts = 2");
    let _running = rig.run(hurried("one"));
    let done = rig.reaches(id, State::Succeeded).await;
    assert_eq!(done.attempts, 0);
    let times = rig.world.times("finish");
    assert_eq!(times.len(), 4);
    for pair in times.windows(2) {
        let space = pair[1] - pair[0];
        assert!(space >= Duration::from_millis(400) && space < Duration::from_millis(1500), "{space:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_frees_lease_and_slot_and_has_its_wake_up() {
    let rig = Rig::start();
    rig.world.script("apply a", &[Act::Snooze(60_000)]);
    let (engine, _stop) = rig.engine(hurried("one"), Faults::default());
    let id = rig.provision().await;
    Handler::handle(&engine, id).await.unwrap();
    let waiting = rig.get(id).await;
    assert_eq!(waiting.state, State::Waiting);
    assert_eq!(rig.psql("SELECT count(*) FROM instance_service.leases WHERE expires_at > clock_timestamp()"), "0");
    let due = format!(
        "SELECT count(*) FROM apalis.jobs j JOIN instance_service.operations o ON j.idempotency_key = o.id || ':' || o.wake_no
          WHERE o.id = '{id}' AND j.run_at = o.next_run_at AND j.run_at > now() + interval '50 s'"
    );
    assert_eq!(rig.psql(&due), "1");
}

/// What waits for a server is looked at for days: it must not fill postgres1 meanwhile, nor run out of time.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_waited_out_quietly_and_ever_more_rarely() {
    let rig = Rig::start();
    rig.world.script("finish", &[Act::Away, Act::Away, Act::Done]);
    let (engine, _stop) = rig.engine(hurried("one"), Faults::default());
    let id = rig.provision().await;
    Handler::handle(&engine, id).await.unwrap();
    let events = || rig.psql("SELECT count(*) FROM instance_service.operation_events");
    let (first, told) = (rig.get(id).await, events());
    assert_eq!((first.state, first.unreachable_since.is_some()), (State::Waiting, true));
    let sooner = "next_run_at = clock_timestamp()";
    rig.psql(&format!("UPDATE instance_service.operations SET {sooner}, unreachable_since = now() - interval '160 s'"));
    Handler::handle(&engine, id).await.unwrap();
    let second = rig.get(id).await;
    let wait = rig.psql(
        "SELECT extract(epoch FROM next_run_at - clock_timestamp())::int BETWEEN 14 AND 26 FROM instance_service.operations",
    );
    assert_eq!((second.state, wait.as_str()), (State::Waiting, "t"), "an eighth of 160 s, more or less");
    assert_eq!(events(), told, "nothing happened that anybody has to be told of");
    assert!(second.deadline_at.unwrap() - first.deadline_at.unwrap() > chrono::TimeDelta::seconds(14));
    assert_eq!(rig.psql("SELECT lost_seconds > 14 FROM instance_service.operation_steps WHERE step = 'end'"), "t");
    // It is back, and nobody has taken it up for a while.
    rig.psql("UPDATE instance_service.operations SET next_run_at = clock_timestamp() - interval '100 s'");
    Handler::handle(&engine, id).await.unwrap();
    let done = rig.get(id).await;
    assert_eq!((done.state, done.unreachable_since), (State::Succeeded, None));
    assert!(
        done.deadline_at.unwrap() - second.deadline_at.unwrap() >= chrono::TimeDelta::seconds(100),
        "that time is given back, too"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_never_works_needs_attention_and_blocks_the_queue() {
    let rig = Rig::start();
    rig.world.script("apply c", &[Act::Permanent]);
    rig.world.script("undo b", &[Act::Retry]);
    let _running = rig.run(hurried("one"));
    let instance = rig.instance();
    let id = rig.enqueue(Kind::Provision, instance).await;
    let stopped = rig.reaches(id, State::NeedsAttention).await;
    assert_eq!(rig.world.times("undo b").len(), 15);
    assert!(rig.world.times("undo a").is_empty());
    let error = stopped.error.unwrap();
    assert_eq!(error.code, "toy_permanent");
    assert!(error.cause.contains("toy_retry"), "{error:?}");
    // Everything else waits for an operator, but closing access is always safe; a delete clears up.
    let start = rig.enqueue(Kind::Start, instance).await;
    let delete = rig.enqueue(Kind::Delete, instance).await;
    rig.reaches(delete, State::Succeeded).await;
    rig.reaches(id, State::Cancelled).await;
    // The start was next; the script makes it end as the provision did.
    rig.reaches(start, State::NeedsAttention).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safety_check_that_fails_keeps_everything() {
    let rig = Rig::start();
    rig.world.script("apply b", &[Act::Attention]);
    let _running = rig.run(hurried("one"));
    let id = rig.provision().await;
    let stopped = rig.reaches(id, State::NeedsAttention).await;
    assert_eq!(stopped.error.unwrap().code, "toy_attention");
    assert_eq!(rig.world.made().len(), 2);
    assert!(rig.world.times("undo").is_empty());
}

/// T7: five silent claims in a row, and it is set aside; others go on.
#[tokio::test(flavor = "multi_thread")]
async fn poison_operation_is_quarantined() {
    let rig = Rig::start();
    let id = rig.provision().await;
    for _ in 0..db::platform::claims::CLAIM_LIMIT {
        crate::claiming::claim_and_die(&rig, id).await;
    }
    let other = rig.provision().await;
    let _running = rig.run(hurried("one"));
    let aside = rig.reaches(id, State::NeedsAttention).await;
    assert_eq!(aside.error.unwrap().code, "worker_lost");
    rig.reaches(other, State::Succeeded).await;
    assert_eq!(rig.world.log(), ["apply a", "apply b", "apply c", "finish"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_tried_again_still_knows_what_it_failed_of() {
    let rig = Rig::start();
    rig.world.script("apply b", &[Act::Permanent]);
    rig.world.script("undo a", &[Act::Permanent, Act::Done]);
    let _running = rig.run(hurried("one"));
    let id = rig.provision().await;
    rig.reaches(id, State::NeedsAttention).await;
    decide(&rig, id, Decision::Retry).await;
    let failed = rig.reaches(id, State::Failed).await;
    assert_eq!(failed.error.unwrap().code, "toy_permanent");
    assert_eq!(rig.world.log().last().unwrap(), "unwound failed toy_permanent");
}

/// It did not fail of what an operator had to put right on its way back.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_operation_whose_undo_needed_an_operator_ends_cancelled() {
    let rig = Rig::start();
    rig.world.script("apply b", &[Act::Wait]);
    rig.world.script("undo a", &[Act::Permanent, Act::Done]);
    let _running = rig.run(hurried("one"));
    let id = rig.provision().await;
    assert!(crate::rig::until(Duration::from_secs(10), async || !rig.world.times("apply b").is_empty()).await);
    let mut tx = rig.db.begin().await.unwrap();
    assert_eq!(operations::request_cancel(&mut tx, id, "no more").await.unwrap(), operations::CancelOutcome::Requested);
    tx.commit().await.unwrap();
    rig.reaches(id, State::NeedsAttention).await;
    decide(&rig, id, Decision::Retry).await;
    assert_eq!(rig.reaches(id, State::Cancelled).await.error.map(|fault| fault.code), None);
    assert_eq!(rig.world.log().last().unwrap(), "unwound cancelled");
}

/// The row does not wait for an operation that an operator has closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_provision_resolved_by_hand_leaves_no_row_waiting() {
    let rig = Rig::start();
    rig.world.script("apply b", &[Act::Attention]);
    let _running = rig.run(hurried("one"));
    let instance = rig.instance();
    rig.psql(&format!(
        "UPDATE public.instances SET status = 'starting', provisioning_status = 'provisioning', phase = 'registered',
                desired_state = 'running', hostname = 'toy' WHERE id = '{instance}'"
    ));
    let id = rig.enqueue(Kind::Provision, instance).await;
    rig.reaches(id, State::NeedsAttention).await;
    decide(&rig, id, Decision::Resolve).await;
    let row = rig.psql(&format!("SELECT status, provisioning_status FROM public.instances WHERE id = '{instance}'"));
    assert_eq!(row, "error|failed");
}

/// Engine 10: a terminate closes access and takes over what stopped half-way.
#[tokio::test(flavor = "multi_thread")]
async fn what_stopped_half_way_is_undone_behind_a_terminate() {
    let rig = Rig::start();
    rig.world.script("apply b", &[Act::Attention]);
    let _running = rig.run(hurried("one"));
    let instance = rig.instance();
    let id = rig.enqueue(Kind::Provision, instance).await;
    rig.reaches(id, State::NeedsAttention).await;
    let mut tx = rig.db.begin().await.unwrap();
    operations::preempt(&mut tx, instance, Kind::Terminate).await.unwrap();
    tx.commit().await.unwrap();
    let terminate = rig.enqueue(Kind::Terminate, instance).await;
    rig.reaches(terminate, State::Succeeded).await;
    let undone = rig.reaches(id, State::Cancelled).await;
    assert_eq!(undone.preempted_by, Some(Kind::Terminate));
    assert!(rig.world.made().iter().all(|made| !made.starts_with(&id.to_string())), "{:?}", rig.world.made());
}

async fn decide(rig: &Rig, id: OperationId, decision: Decision) {
    let mut tx = rig.db.begin().await.unwrap();
    let decided = attention::decide(&mut tx, id, decision, &by()).await.unwrap();
    assert_eq!(decided, Decided::Done);
    tx.commit().await.unwrap();
}
