//! Mails: one per fact, at least once under a constant id, given up after a day, secrets erased.

use crate::rig::{Rig, System, keyring, raw};
use db::platform::audit::{AuditContext, Door};
use db::platform::outbox::{
    AfterFailure, NewMail, Replayed, claim_due, dead, delivered, enqueue, erase_old_secrets, failed, open_secrets, replay,
};
use domain::ids::OperationId;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Map;
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

const HOLD: Duration = Duration::from_secs(60);

async fn mail(rig: &Rig, template: &'static str) -> OperationId {
    let instance = rig.created(raw("shop")).await;
    let operation_id = rig.started(instance.id).await;
    let mail = NewMail {
        operation_id,
        instance_id: Some(instance.id),
        customer_id: instance.customer_id,
        template,
        variables: Map::from_iter([("instance_name".to_owned(), "Shop".into())]),
        secrets: [("admin_password".to_owned(), SecretString::from("s3cret-Pw"))].into(),
        tags: &["instance", "ready"],
    };
    let mut tx = rig.tx().await;
    enqueue(&mut tx, &mail, &keyring(), &System).await.unwrap();
    enqueue(&mut tx, &mail, &keyring(), &System).await.unwrap();
    tx.commit().await.unwrap();
    operation_id
}

async fn replayed(rig: &Rig, id: Uuid) -> Replayed {
    let by = AuditContext { door: Door::Internal, actor: "test".into(), request_id: None };
    let mut tx = rig.tx().await;
    let replayed = replay(&mut tx, id, &by).await.unwrap();
    tx.commit().await.unwrap();
    replayed
}

fn due_now(rig: &Rig) {
    rig.sql("UPDATE instance_service.outbox SET next_try_at = now() WHERE state = 'pending'");
}

#[tokio::test]
async fn one_mail_per_operation_and_template_and_its_secret_is_sealed() {
    let rig = Rig::start();
    mail(&rig, "instance_ready").await;
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.outbox"), "1");
    assert_eq!(rig.sql("SELECT position('s3cret' in outbox::text) + position(encode('s3cret', 'hex') in outbox::text) FROM instance_service.outbox"), "0");
    let due = claim_due(&rig.db, 10, HOLD).await.unwrap();
    let open = open_secrets(&due[0], &keyring()).unwrap();
    assert_eq!(open["admin_password"].expose_secret(), "s3cret-Pw");
    assert_eq!((due[0].attempt, due[0].tags.to_string().as_str()), (1, r#"["instance","ready"]"#));
    assert!(claim_due(&rig.db, 10, HOLD).await.unwrap().is_empty(), "held by the first");

    delivered(&rig.db, due[0].id).await.unwrap();
    assert_eq!(rig.sql("SELECT state, secret IS NULL, delivered_at IS NOT NULL FROM instance_service.outbox"), "delivered|t|t");
}

#[tokio::test]
async fn a_sender_that_dies_is_replaced_under_the_same_id() {
    let rig = Rig::start();
    mail(&rig, "instance_ready").await;
    let first = claim_due(&rig.db, 1, HOLD).await.unwrap();
    due_now(&rig);
    let second = claim_due(&rig.db, 1, HOLD).await.unwrap();
    assert_eq!((second[0].id, second[0].attempt), (first[0].id, 2));
}

#[tokio::test]
async fn senders_at_once_get_different_mails() {
    let rig = Rig::start();
    for _ in 0..8 {
        mail(&rig, "instance_ready").await;
    }
    let claims = tokio::join!(claim_due(&rig.db, 4, HOLD), claim_due(&rig.db, 4, HOLD), claim_due(&rig.db, 4, HOLD));
    let all: Vec<_> = [claims.0, claims.1, claims.2].into_iter().flat_map(Result::unwrap).map(|mail| mail.id).collect();
    assert_eq!(all.len(), all.iter().collect::<BTreeSet<_>>().len());
}

#[tokio::test]
async fn failures_are_spaced_more_and_more_and_end_after_a_day() {
    let rig = Rig::start();
    mail(&rig, "instance_ready").await;
    for pause in [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600] {
        due_now(&rig);
        let due = claim_due(&rig.db, 1, HOLD).await.unwrap();
        rig.sql("UPDATE instance_service.outbox SET created_at = clock_timestamp()");
        assert_eq!(failed(&rig.db, due[0].id, "HTTP 503", false).await.unwrap(), AfterFailure::Again);
        // The pause counts from a moment between the two.
        let within = format!(
            "SELECT next_try_at BETWEEN created_at + interval '{pause} s' AND clock_timestamp() + interval '{pause} s'
               FROM instance_service.outbox"
        );
        assert_eq!(rig.sql(&within), "t", "{pause}");
    }
    rig.sql("UPDATE instance_service.outbox SET give_up_at = now()");
    due_now(&rig);
    let due = claim_due(&rig.db, 1, HOLD).await.unwrap();
    assert_eq!(failed(&rig.db, due[0].id, "HTTP 503", false).await.unwrap(), AfterFailure::Dead);
    due_now(&rig);
    assert!(claim_due(&rig.db, 1, HOLD).await.unwrap().is_empty());

    let (listed, total) = dead(&rig.db, 0, 10).await.unwrap();
    assert_eq!(
        (listed[0].id, listed[0].last_error.as_deref(), listed[0].replayable, total),
        (due[0].id, Some("HTTP 503"), true, 1)
    );
    assert_eq!(replayed(&rig, due[0].id).await, Replayed::Due);
    assert_eq!(replayed(&rig, due[0].id).await, Replayed::NotDead, "it is pending now");
    assert_eq!(dead(&rig.db, 0, 10).await.unwrap().1, 0);
    assert_eq!(
        rig.sql("SELECT details ->> 'template' FROM instance_service.audit_log WHERE action = 'replay_mail'"),
        "instance_ready"
    );
    assert_eq!(claim_due(&rig.db, 1, HOLD).await.unwrap()[0].id, due[0].id);
}

#[tokio::test]
async fn an_unknown_template_fails_at_once() {
    let rig = Rig::start();
    mail(&rig, "instance_ready").await;
    let due = claim_due(&rig.db, 1, HOLD).await.unwrap();
    assert_eq!(failed(&rig.db, due[0].id, "HTTP 404", true).await.unwrap(), AfterFailure::Dead);
}

#[tokio::test]
async fn secrets_do_not_outlive_seven_days() {
    let rig = Rig::start();
    mail(&rig, "instance_ready").await;
    assert_eq!(erase_old_secrets(&rig.db).await.unwrap(), 0);
    rig.sql("UPDATE instance_service.outbox SET created_at = now() - interval '7 days 1 s'");
    assert_eq!(erase_old_secrets(&rig.db).await.unwrap(), 1);
    assert_eq!(
        rig.sql("SELECT state, secret IS NULL FROM instance_service.outbox"),
        "dead|t",
        "without its secret it would say nothing"
    );
    let id = rig.sql("SELECT id FROM instance_service.outbox").parse().unwrap();
    assert_eq!(replayed(&rig, id).await, Replayed::Erased, "nor would it later");
    assert!(!dead(&rig.db, 0, 10).await.unwrap().0[0].replayable);
    assert_eq!(replayed(&rig, Uuid::nil()).await, Replayed::Unknown);
}
