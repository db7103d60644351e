//! `GET /api/v1/operations`

use crate::rig::{Got, Rig, instance_path, uuid};
use serde_json::{Value, json};

async fn list(rig: &Rig, query: &str) -> Got {
    let got = rig.get(&format!("/api/v1/operations{query}")).await;
    assert_eq!(got.status, 200, "{got:?}");
    got
}

fn kinds(got: &Got) -> Vec<&str> {
    got.json["operations"].as_array().unwrap().iter().map(|operation| operation["kind"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn it_is_newest_first_and_filtered() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    rig.provisioning().await;
    rig.delete(&instance_path(&instance, "")).await;
    let of = format!("?instance_id={}", instance["id"].as_str().unwrap());
    let got = list(&rig, &of).await;
    assert_eq!((kinds(&got), &got.json["total"]), (vec!["delete", "provision"], &json!(2)));
    assert_eq!(kinds(&list(&rig, "").await), ["delete", "provision", "provision"]);
    assert_eq!(kinds(&list(&rig, "?kind=delete").await), ["delete"]);
    assert_eq!(kinds(&list(&rig, "?state=cancelled").await), ["provision"]);
    assert_eq!(kinds(&list(&rig, "?state=queued").await), ["delete", "provision"]);
    let second = list(&rig, "?page=2&page_size=2").await;
    assert_eq!((kinds(&second), &second.json["total"], &second.json["page"]), (vec!["provision"], &json!(3), &json!(2)));
    let one = list(&rig, &format!("{of}&state=queued")).await.json["operations"][0].clone();
    let alone = rig.get(&format!("/api/v1/operations/{}", one["id"].as_str().unwrap())).await.json;
    assert_eq!(one, alone, "one object everywhere");
}

#[tokio::test]
async fn stored_states_are_found_under_the_clients_words() {
    let rig = Rig::start();
    let cases = [
        ("running", "forward", "running"),
        ("waiting", "forward", "running"),
        ("running", "undo", "compensating"),
        ("needs_attention", "forward", "compensating"),
        ("needs_attention", "undo", "compensating"),
    ];
    for (state, direction, word) in cases {
        let instance = rig.provisioning().await;
        rig.sql(&format!(
            "UPDATE instance_service.operations SET state = '{state}', direction = '{direction}' WHERE id = '{}'",
            instance["operation_id"].as_str().unwrap()
        ));
        for asked in ["running", "compensating"] {
            let found = list(&rig, &format!("?state={asked}&instance_id={}", instance["id"].as_str().unwrap())).await;
            let shown: Vec<&Value> = found.json["operations"].as_array().unwrap().iter().map(|found| &found["state"]).collect();
            assert_eq!(shown, if asked == word { vec![word] } else { vec![] }, "{state} {direction} as {asked}");
        }
    }
}

#[tokio::test]
async fn odd_values_are_refused_and_unknown_ones_find_nothing() {
    let rig = Rig::start();
    for (query, place) in [
        ("instance_id=x", "query.instance_id"),
        ("state=waiting", "query.state"),
        ("state=needs_attention", "query.state"),
        ("kind=dance", "query.kind"),
        ("page_size=1000", "query.page_size"),
    ] {
        let got = rig.get(&format!("/api/v1/operations?{query}")).await;
        assert_eq!((got.status, got.places()), (422, vec![place.to_owned()]), "{query}");
    }
    assert_eq!(list(&rig, &format!("?instance_id={}", uuid())).await.json["total"], 0);
}
