//! Templates: built once for all, built anew when missing or broken, and what becomes of those who wait.

use crate::rig::{Rig, by};
use db::platform::attention::{self, Decided, Decision};
use db::platform::templates::TemplateState;
use domain::operation::{Kind, State};
use runtime::fake::{Call, Effect, Fault, FaultClass};

fn failing_builds() -> Fault {
    Fault { call: Call::RunOnce, service: None, times: 100, effect: Effect::Fail(FaultClass::Permanent) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_order_has_the_template_built_and_the_second_uses_it() {
    let rig = Rig::start().await;
    for _ in 0..2 {
        let id = rig.order(|_| {}).await;
        rig.drain().await;
        assert_eq!(rig.status(id).await, "running");
    }
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.operations WHERE kind = 'build_template'"), "1");
    let templates = rig.templates().await;
    assert_eq!((templates.len(), templates[0].state), (1, TemplateState::Ready));
    let closed = format!(
        "SELECT datistemplate AND NOT datallowconn AND pg_get_userbyid(datdba) = 'odoo_admin' FROM pg_database WHERE datname = '{}'",
        templates[0].db_name
    );
    assert_eq!(rig.pair.postgres2.psql("postgres", &closed).unwrap(), "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_vanished_is_built_anew() {
    let rig = Rig::start().await;
    rig.prepare_template().await;
    let lost = rig.templates().await.remove(0);
    let drop = format!("ALTER DATABASE {0} IS_TEMPLATE false;\nDROP DATABASE {0};", lost.db_name);
    rig.pair.postgres2.psql("postgres", &drop).unwrap();
    let id = rig.order(|_| {}).await;
    rig.drain().await;
    assert_eq!(rig.status(id).await, "running");
    let templates = rig.templates().await;
    assert_eq!(templates.iter().map(|template| template.state).collect::<Vec<_>>(), [TemplateState::Ready]);
    assert_ne!(templates[0].id, lost.id);
    let role = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{}'", lost.content_role);
    assert_eq!(rig.pair.postgres2.psql("postgres", &role).unwrap(), "0", "nothing of the lost one is left");
    assert!(!rig.root().join(&lost.directory).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_left_by_an_interrupted_drop_is_built_anew() {
    let rig = Rig::start().await;
    rig.prepare_template().await;
    let broken = rig.templates().await.remove(0);
    let sql = format!("UPDATE pg_database SET datconnlimit = -2, datistemplate = false WHERE datname = '{}'", broken.db_name);
    rig.pair.postgres2.psql("postgres", &sql).unwrap();
    let id = rig.order(|_| {}).await;
    rig.drain().await;
    assert_eq!(rig.status(id).await, "running");
    assert!(rig.templates().await.iter().all(|template| template.id != broken.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_for_good_fails_those_who_wait_in_clear_words_and_leaves_nothing() {
    let rig = Rig::start().await;
    let before = rig.snapshot();
    rig.control().add_fault(failing_builds()).await.unwrap();
    let id = rig.order(|_| {}).await;
    rig.drain().await;
    let instance = rig.instance(id).await;
    assert_eq!(instance.axes.status.as_str(), "error");
    assert_eq!(instance.error_message.as_deref(), Some("Odoo 19 could not be prepared on the server."));
    assert_eq!(rig.mails(), "instance_provisioning_started instance_provisioning_failed");
    let difference = before.difference(&rig.snapshot());
    assert!(difference.is_empty(), "{difference}");
    assert!(rig.templates().await.is_empty());

    // A later order tries again: that failure says nothing about a new build.
    rig.control().clear_faults().await.unwrap();
    let again = rig.order(|_| {}).await;
    rig.drain().await;
    assert_eq!(rig.status(again).await, "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_without_an_installation_fails_before_anything_is_made() {
    let rig = Rig::start().await;
    let before = rig.snapshot();
    let id = rig.order(|raw| raw.odoo_version = Some(domain::order::RawVersion::Text("18".to_owned()))).await;
    rig.drain().await;
    let operation = rig.last_operation().await;
    assert_eq!((operation.kind, operation.state), (Kind::Provision, State::Failed));
    assert_eq!(rig.instance(id).await.error_message.as_deref(), Some("Odoo 18 is not available on this platform"));
    let log = rig.pair.postgres2.log().unwrap();
    assert!(!log.contains("CREATE ROLE odoo_") && !log.contains("CREATE DATABASE \"odoo_"));
    assert!(before.difference(&rig.snapshot()).is_empty());
}

/// Otherwise its row would stand in the way of every later build of this version.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_an_operator_closes_is_cleaned_up_by_the_next() {
    let rig = Rig::start().await;
    rig.prepare_template().await;
    let closed = rig.templates().await.remove(0);
    rig.sql("UPDATE instance_service.templates SET state = 'building'");
    rig.sql("UPDATE instance_service.operations SET state = 'needs_attention', finished_at = NULL");
    let build = rig.last_operation().await.id;
    let mut tx = rig.db.begin().await.unwrap();
    assert_eq!(attention::decide(&mut tx, build, Decision::Resolve, &by()).await.unwrap(), Decided::Done);
    tx.commit().await.unwrap();
    let id = rig.order(|_| {}).await;
    rig.drain().await;
    assert_eq!(rig.status(id).await, "running");
    let templates = rig.templates().await;
    assert_eq!(templates.iter().map(|template| template.state).collect::<Vec<_>>(), [TemplateState::Ready]);
    assert!(!rig.root().join(&closed.directory).exists());
}
