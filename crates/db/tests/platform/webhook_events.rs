//! Kept events of the billing engine.

use crate::rig::{Rig, System, raw};
use db::platform::webhook_events::{self, DedupeKey, DueEvent, End, claim_due, failed, finish, put_off, receive};
use domain::billing_event::{BillingEvent, EventType};
use domain::sources::random_uuid;
use serde_json::{Map, json};
use std::collections::BTreeSet;
use std::time::Duration;

const HOLD: Duration = Duration::from_secs(60);

fn event() -> BillingEvent {
    let object = random_uuid(&System);
    BillingEvent { kind: EventType::SubscriptionCreation, object, account: None, payment: None, metadata: Map::new() }
}

async fn kept(rig: &Rig, key: &str) -> bool {
    receive(&rig.db, &event(), &DedupeKey::Brief(key.to_owned())).await.unwrap()
}

async fn taken(rig: &Rig) -> Vec<DueEvent> {
    rig.sql("UPDATE instance_service.webhook_events SET next_try_at = '-infinity' WHERE state = 'pending'");
    claim_due(&rig.db, 10, HOLD).await.unwrap()
}

fn state(rig: &Rig) -> String {
    rig.sql("SELECT state, attempts, received, last_error FROM instance_service.webhook_events ORDER BY id").trim().to_owned()
}

#[tokio::test]
async fn each_event_goes_to_one_taker_and_to_another_when_that_one_is_gone() {
    let rig = Rig::start();
    for number in 0..12 {
        assert!(kept(&rig, &number.to_string()).await);
    }
    let (one, other) = tokio::join!(claim_due(&rig.db, 8, HOLD), claim_due(&rig.db, 8, HOLD));
    let ids: BTreeSet<i64> = one.unwrap().iter().chain(&other.unwrap()).map(|event| event.id).collect();
    let rest = claim_due(&rig.db, 12, HOLD).await.unwrap();
    assert_eq!(ids.len() + rest.len(), 12, "each is taken once");
    assert!(claim_due(&rig.db, 12, HOLD).await.unwrap().is_empty());
    assert_eq!(taken(&rig).await.len(), 10, "the claims lapsed");
}

#[tokio::test]
async fn an_attempt_that_fails_is_followed_by_another_for_a_day() {
    let rig = Rig::start();
    kept(&rig, "one").await;
    let pause = "SELECT round(extract(epoch FROM next_try_at - clock_timestamp())) FROM instance_service.webhook_events";
    for expected in ["2", "4", "8"] {
        let event = taken(&rig).await.remove(0);
        assert!(failed(&rig.db, &event, "not now").await.unwrap());
        assert_eq!(rig.sql(pause).trim(), expected);
    }
    assert_eq!(state(&rig), "pending|3|1|not now");
    let event = taken(&rig).await.remove(0);
    put_off(&rig.db, &event, HOLD).await.unwrap();
    assert_eq!(state(&rig), "pending|3|1|not now", "somebody else's turn is no attempt");
    rig.sql("UPDATE instance_service.webhook_events SET give_up_at = '-infinity'");
    let event = taken(&rig).await.remove(0);
    assert!(!failed(&rig.db, &event, "not now").await.unwrap());
    assert_eq!(state(&rig), "dead|4|1|not now");
    // It came again: another day.
    assert!(!kept(&rig, "one").await);
    assert_eq!(state(&rig), "pending|0|2|not now");
}

#[tokio::test]
async fn what_ended_long_ago_is_removed() {
    let rig = Rig::start();
    for key in ["done", "ignored", "waiting"] {
        kept(&rig, key).await;
    }
    let events = taken(&rig).await;
    finish(&rig.db, &events[0], End::Done).await.unwrap();
    finish(&rig.db, &events[1], End::Ignored).await.unwrap();
    assert_eq!(webhook_events::remove_old(&rig.db).await.unwrap(), 0);
    rig.sql(
        "UPDATE instance_service.webhook_events SET finished_at = finished_at - interval '31 days', received_at = '-infinity'",
    );
    assert_eq!(webhook_events::remove_old(&rig.db).await.unwrap(), 2);
    assert_eq!(webhook_events::figures(&rig.db).await.unwrap(), json!({"pending": 1, "dead": 0}));
}

#[tokio::test]
async fn the_subscriptions_that_count_are_listed_in_pages() {
    let rig = Rig::start();
    let mut live = BTreeSet::new();
    for number in 0..5 {
        live.insert(rig.created(raw(&format!("shop{number}"))).await.subscription_id.unwrap());
    }
    let gone = rig.created(raw("gone")).await;
    rig.terminate(gone.id, None).await;
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = webhook_events::subscriptions(&rig.db, after, 2).await.unwrap();
        after = page.last().copied();
        all.extend(page);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(all, live.into_iter().collect::<Vec<_>>());
}
