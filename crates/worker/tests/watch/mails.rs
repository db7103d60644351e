//! Delivery of the outbox.

use crate::rig::Rig;
use bootstrap::OsEntropy;
use clients::ClientError;
use clients::notifications::fake::FakeNotifications;
use clients::users::fake::FakeUsers;
use db::platform::outbox::{self, NewMail};
use db::secrets::Keyring;
use domain::ids::CustomerId;
use domain::sources::random_uuid;
use secrecy::SecretBox;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use worker::outbox::Delivery;

struct Post {
    rig: Rig,
    users: Arc<FakeUsers>,
    notifications: Arc<FakeNotifications>,
    keyring: Arc<Keyring>,
    customer: CustomerId,
}

impl Post {
    fn open() -> Self {
        Self {
            rig: Rig::start(),
            users: Arc::default(),
            notifications: Arc::default(),
            keyring: Arc::new(Keyring::new(&SecretBox::new(Box::new([7; 32])), None)),
            customer: CustomerId::from_uuid(random_uuid(&OsEntropy)),
        }
    }

    fn delivery(&self) -> Delivery {
        Delivery {
            db: self.rig.db.clone(),
            keyring: self.keyring.clone(),
            users: self.users.clone(),
            notifications: self.notifications.clone(),
            frontend: "http://app.example.org/".parse().unwrap(),
        }
    }

    async fn write(&self, template: &'static str) {
        let instance = self.rig.instance("running", "running").await;
        let mut variables = Map::new();
        variables.insert("instance_name".into(), "Shop".into());
        let mail = NewMail {
            operation_id: self.rig.operation(instance, "succeeded"),
            instance_id: Some(instance),
            customer_id: self.customer,
            template,
            variables,
            secrets: BTreeMap::from([("admin_password".to_owned(), "pw-7".into())]),
            tags: &["instance", "test"],
        };
        let mut tx = self.rig.db.begin().await.unwrap();
        outbox::enqueue(&mut tx, &mail, &self.keyring, &OsEntropy).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// One attempt now, whatever pause the last one left.
    async fn attempt(&self) -> usize {
        self.rig.sql("UPDATE instance_service.outbox SET next_try_at = '-infinity' WHERE state = 'pending'");
        self.delivery().deliver_due().await.unwrap()
    }

    fn state(&self) -> String {
        self.rig.sql("SELECT state || ' ' || attempts || CASE WHEN secret IS NULL THEN ' open' ELSE ' sealed' END FROM instance_service.outbox")
    }
}

#[tokio::test]
async fn a_mail_is_completed_sent_once_and_its_secret_erased() {
    let post = Post::open();
    post.users.put(post.customer, "owner@shop.example", None);
    post.write("instance_provisioning_failed").await;
    assert_eq!(post.attempt().await, 1);
    let sent = post.notifications.accepted();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].to.as_str(), &sent[0].tags), ("owner@shop.example", &vec!["instance".to_owned(), "test".to_owned()]));
    let expected = json!({
        "instance_name": "Shop", "admin_password": "pw-7", "first_name": "there", "support_url": "http://app.example.org/support",
    });
    assert_eq!(Value::Object(sent[0].variables.clone()), expected);
    assert_eq!(post.state(), "delivered 1 open");
    assert_eq!(post.attempt().await, 0);
}

#[tokio::test]
async fn a_mail_waits_for_both_services_under_one_id() {
    let post = Post::open();
    post.write("instance_ready").await;
    assert_eq!(post.attempt().await, 1);
    assert_eq!(post.state(), "pending 1 sealed", "the user service cannot be reached");
    let pause = "SELECT next_try_at > clock_timestamp() + interval '3 seconds' FROM instance_service.outbox";
    assert_eq!(post.rig.sql(pause), "t", "it pauses before the next attempt");
    assert_eq!(post.delivery().deliver_due().await.unwrap(), 0);
    post.users.put(post.customer, "owner@shop.example", Some("Owner"));
    post.notifications.fail_next(ClientError::Unavailable { service: "notification service", cause: "no answer in time".into() });
    post.attempt().await;
    let error = post.rig.sql("SELECT last_error FROM instance_service.outbox");
    assert_eq!(error, "notification service is unavailable: no answer in time");
    post.attempt().await;
    assert_eq!(post.state(), "delivered 3 open");
    let id = post.rig.sql("SELECT id FROM instance_service.outbox");
    assert_eq!(post.notifications.accepted()[0].id.to_string(), id);
    assert_eq!(post.notifications.accepted()[0].variables["first_name"], "Owner");
}

#[tokio::test]
async fn an_unknown_template_is_given_up_at_once() {
    let post = Post::open();
    post.users.put(post.customer, "owner@shop.example", Some("Owner"));
    post.notifications.fail_next(ClientError::UnknownTemplate { template: "instance_ready".into() });
    post.write("instance_ready").await;
    post.attempt().await;
    assert!(post.state().starts_with("dead 1"), "{}", post.state());
    assert_eq!(post.attempt().await, 0);
}

#[tokio::test]
async fn after_a_day_a_mail_is_given_up() {
    let post = Post::open();
    post.write("instance_ready").await;
    post.rig.sql("UPDATE instance_service.outbox SET give_up_at = clock_timestamp() - interval '1 second'");
    post.attempt().await;
    assert!(post.state().starts_with("dead 1"), "{}", post.state());
}

#[tokio::test]
async fn two_workers_send_each_mail_once() {
    let post = Post::open();
    post.users.put(post.customer, "owner@shop.example", Some("Owner"));
    for _ in 0..12 {
        post.write("instance_ready").await;
    }
    let (one, other) = (post.delivery(), post.delivery());
    let (one, other) = tokio::join!(one.deliver_due(), other.deliver_due());
    assert_eq!(one.unwrap() + other.unwrap(), 12);
    let mut ids: Vec<_> = post.notifications.accepted().iter().map(|mail| mail.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 12);
}
