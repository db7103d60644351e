//! Forward, back, and what is written on the way.

use crate::rig::{Act, Rig, hurried};
use db::platform::operations::{self, events_after};
use domain::operation::{Direction, Kind, State, StepStatus};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_runs_to_its_end() {
    let rig = Rig::start();
    let _running = rig.run(hurried("one"));
    let id = rig.provision().await;
    let done = rig.reaches(id, State::Succeeded).await;
    assert_eq!(rig.world.log(), ["apply a", "apply b", "apply c", "finish"]);
    assert_eq!((done.percent, done.current_step, done.claims), (100, None, 0));
    assert_eq!(done.result, Some(serde_json::json!({ "made": "a" })));
    assert!(done.started_at.is_some() && done.finished_at.is_some() && done.error.is_none());
    let steps = operations::steps(&rig.db, id).await.unwrap();
    assert_eq!(
        steps.iter().map(|s| (s.step.as_str(), s.status)).collect::<Vec<_>>(),
        ["a", "b", "c"].map(|s| (s, StepStatus::Done))
    );
    assert_eq!(rig.psql("SELECT count(*) FROM instance_service.leases WHERE expires_at > clock_timestamp()"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_stream_tells_every_change_in_order() {
    let rig = Rig::start();
    let _running = rig.run(hurried("one"));
    let id = rig.provision().await;
    rig.reaches(id, State::Succeeded).await;
    let events = events_after(&rig.db, id, 0, 1000).await.unwrap();
    assert!(events.is_sorted_by_key(|event| event.seq));
    let told = |kind: &str, field: &str| -> Vec<String> {
        events.iter().filter(|e| e.event == kind).map(|e| e.data[field].to_string().replace('"', "")).collect()
    };
    let mut states = told("operation", "state");
    states.dedup();
    assert_eq!(states, ["queued", "running", "succeeded"]);
    assert_eq!(told("step", "state"), ["running", "done", "running", "done", "running", "done"]);
    let percent: Vec<i64> = events.iter().filter(|e| e.event == "operation").filter_map(|e| e.data["percent"].as_i64()).collect();
    assert!(percent.is_sorted() && percent.last() == Some(&100) && percent.contains(&33) && percent.contains(&66), "{percent:?}");
    let last = &events.last().unwrap().data;
    assert_eq!(last["steps"].as_array().unwrap().len(), 3);
    assert_eq!(last["steps"][0]["server"], "storage");
    let rest = events_after(&rig.db, id, events[3].seq, 1000).await.unwrap();
    assert_eq!(rest.len(), events.len() - 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_undoes_every_started_step_in_reverse() {
    let rig = Rig::start();
    rig.world.script("apply c", &[Act::Permanent]);
    let _running = rig.run(hurried("one"));
    let id = rig.provision().await;
    let failed = rig.reaches(id, State::Failed).await;
    let log = rig.world.log();
    assert_eq!(log, ["apply a", "apply b", "apply c", "undo c", "undo b", "undo a", "unwound failed toy_permanent"]);
    assert!(rig.world.made().is_empty());
    assert_eq!((failed.direction, failed.error.unwrap().code.as_str()), (Direction::Undo, "toy_permanent"));
    assert_eq!(failed.percent, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finish_that_fails_is_tried_again_and_then_undone() {
    let rig = Rig::start();
    rig.world.script("finish", &[Act::Retry, Act::Panic, Act::Permanent]);
    let _running = rig.run(hurried("one"));
    let id = rig.provision().await;
    rig.reaches(id, State::Failed).await;
    let log = rig.world.log();
    assert_eq!(log.iter().filter(|what| *what == "finish").count(), 3, "{log:?}");
    assert!(rig.world.made().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_only_saga_is_tried_until_it_is_done() {
    let rig = Rig::start();
    let mut acts = vec![Act::Retry; 17];
    acts.push(Act::Done);
    rig.world.script("apply a", &acts);
    let _running = rig.run(hurried("one"));
    let id = rig.enqueue(Kind::Terminate, rig.instance()).await;
    // The object is there after the first try; only a step that looks again at each try gets past its failures.
    let done = rig.reaches(id, State::Succeeded).await;
    assert_eq!(done.attempts, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_operation_ends_cancelled_without_a_step() {
    let rig = Rig::start();
    rig.world.refuse("The instance is terminated.");
    let _running = rig.run(hurried("one"));
    let id = rig.provision().await;
    let ended = rig.reaches(id, State::Cancelled).await;
    assert_eq!(rig.world.log(), ["unwound cancelled"]);
    assert_eq!(ended.error.unwrap().message, "The instance is terminated.");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_past_its_deadline_is_undone() {
    let rig = Rig::start();
    rig.world.script("finish", &[Act::Snooze(50)]);
    let id = rig.provision().await;
    rig.psql("UPDATE instance_service.operations SET deadline_at = clock_timestamp() + interval '1 second'");
    let _running = rig.run(hurried("one"));
    let failed = rig.reaches(id, State::Failed).await;
    assert_eq!(failed.error.unwrap().code, "timed_out");
    assert!(rig.world.made().is_empty());
}

/// Engine 15 F8, inside one process: what a stop leaves behind is finished by the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_the_step_end_and_hands_over() {
    let rig = Rig::start();
    rig.world.script("apply b", &[Act::Sleep(400)]);
    let first = rig.run(hurried("first"));
    let id = rig.provision().await;
    assert!(crate::rig::until(Duration::from_secs(5), async || rig.world.log().contains(&"apply b".to_owned())).await);
    first.drain().await;
    let left = rig.get(id).await;
    assert_eq!((left.state, left.claims, left.attempts), (State::Waiting, 0, 0));
    assert_eq!(rig.world.log(), ["apply a", "apply b"]);
    assert_eq!(rig.psql("SELECT count(*) FROM instance_service.leases WHERE expires_at > clock_timestamp()"), "0");
    let _second = rig.run(hurried("second"));
    rig.reaches(id, State::Succeeded).await;
    assert_eq!(rig.world.log(), ["apply a", "apply b", "apply c", "finish"]);
}
