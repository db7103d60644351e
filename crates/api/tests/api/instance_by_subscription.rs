//! `GET /api/v1/instances/by-subscription/{subscription_id}`

use crate::rig::{Rig, instance_path, order_with, uuid};
use serde_json::json;
use testkit::Stop;

fn path(subscription: &str) -> String {
    format!("/api/v1/instances/by-subscription/{subscription}")
}

#[tokio::test]
async fn the_live_instance_wins_over_an_older_terminated_one() {
    let rig = Rig::start();
    let subscription = uuid();
    let make = || order_with(json!({"subscription_id": subscription}));
    let old = rig.post("/api/v1/instances/", &make()).await.json;
    rig.delete(&instance_path(&old, "")).await;
    assert_eq!(rig.get(&path(&subscription)).await.json["id"], old["id"]);
    let new = rig.post("/api/v1/instances/", &make()).await;
    assert_eq!((new.status, new.json["id"] == old["id"]), (201, false), "{new:?}");
    let got = rig.get(&path(&subscription)).await;
    assert_eq!((got.status, got.json), (200, new.json));
}

#[tokio::test]
async fn not_found_means_that_there_is_none_and_nothing_else() {
    let mut rig = Rig::impatient();
    let got = rig.get(&path(&uuid())).await;
    assert_eq!((got.status, got.detail()), (404, "Instance not found for subscription"));
    let malformed = rig.get(&path("not-a-uuid")).await;
    assert_eq!((malformed.status, malformed.places()), (422, vec!["path.subscription_id".to_owned()]));
    rig.cluster.stop(Stop::Immediate).unwrap();
    assert_eq!(rig.get(&path(&uuid())).await.status, 503);
}
