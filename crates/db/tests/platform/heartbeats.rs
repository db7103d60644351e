//! Signs of life and reports of loops.

use crate::rig::Rig;
use db::platform::{heartbeats, monitor};
use serde_json::json;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn workers_are_fresh_by_the_clock_of_the_database() {
    let rig = Rig::start();
    for worker in ["a", "b"] {
        heartbeats::beat(&rig.db, worker, "host", "1.0", &json!({})).await.unwrap();
    }
    rig.sql("UPDATE instance_service.worker_heartbeats SET beat_at = now() - interval '2 min' WHERE worker = 'a'");
    let fresh = heartbeats::fresh(&rig.db, MINUTE).await.unwrap();
    assert_eq!(fresh.iter().map(|beat| beat.worker.as_str()).collect::<Vec<_>>(), ["b"]);
    heartbeats::beat(&rig.db, "a", "host", "1.0", &json!({ "lanes": 1 })).await.unwrap();
    assert_eq!(heartbeats::fresh(&rig.db, MINUTE).await.unwrap()[0].details, json!({ "lanes": 1 }));
    heartbeats::leave(&rig.db, "b").await.unwrap();
    rig.sql("UPDATE instance_service.worker_heartbeats SET beat_at = now() - interval '2 min'");
    assert_eq!(heartbeats::remove_stale(&rig.db, MINUTE).await.unwrap(), 1);
}

#[tokio::test]
async fn a_loop_has_one_report() {
    let rig = Rig::start();
    assert_eq!(monitor::read(&rig.db, "reconcile").await.unwrap(), None);
    for checked in [1, 2] {
        monitor::write(&rig.db, "reconcile", &json!({ "checked": checked })).await.unwrap();
    }
    assert_eq!(monitor::read(&rig.db, "reconcile").await.unwrap().unwrap().value, json!({ "checked": 2 }));
}

#[tokio::test]
async fn a_dead_server_is_unreachable_and_comes_back() {
    let mut rig = Rig::start();
    rig.db.ping().await.unwrap();
    assert!(rig.db.usage().open >= 1);
    rig.cluster.stop(testkit::Stop::Fast).unwrap();
    assert!(rig.db.ping().await.unwrap_err().is_unreachable());
    rig.cluster.start_again().unwrap();
    rig.db.ping().await.unwrap();
}
