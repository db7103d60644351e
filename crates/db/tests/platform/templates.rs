//! Template rows: one ready and one building per key.

use crate::rig::{Rig, System};
use crate::servers::active;
use db::DbError;
use db::platform::operations::{Enqueued, NewOperation, Scope, enqueue};
use db::platform::templates::{
    NewTemplate, TemplateState, forget, get, insert_building, mark_broken, mark_ready, of_server, ready, retire, set_oid,
};
use domain::ids::{OperationId, TemplateId};
use domain::names::{Mark, PhysicalName};
use domain::operation::Kind;
use domain::sources::random_uuid;
use domain::template::TemplateKey;
use domain::version::OdooVersion;
use serde_json::json;

async fn new(rig: &Rig, key: TemplateKey) -> NewTemplate {
    let operation_id = OperationId::from_uuid(random_uuid(&System));
    let operation = NewOperation {
        id: operation_id,
        scope: Scope::Own(operation_id),
        instance_id: None,
        kind: Kind::BuildTemplate,
        params: json!({}),
        priority: 0,
        reason: None,
        trace_parent: None,
    };
    let mut tx = rig.tx().await;
    assert_eq!(enqueue(&mut tx, operation, &crate::rig::by()).await.unwrap(), Enqueued::Accepted(operation_id));
    tx.commit().await.unwrap();
    NewTemplate {
        id: TemplateId::from_uuid(random_uuid(&System)),
        key,
        db_name: PhysicalName::generate("tmpl", &System),
        content_role: PhysicalName::generate("tmpl", &System),
        mark: Mark::generate(&System),
        directory: "tmpl_1".to_owned(),
        image: "odoo:19".to_owned(),
        operation_id,
    }
}

#[tokio::test]
async fn a_new_template_takes_the_place_of_the_old_one() {
    let rig = Rig::start();
    let key = TemplateKey { server: active(&rig, "one", 1), version: OdooVersion::new(19), demo: false };
    let (first, second) = (new(&rig, key).await, new(&rig, key).await);
    let mut tx = rig.tx().await;
    insert_building(&mut tx, &first).await.unwrap();
    insert_building(&mut tx, &first).await.unwrap();
    tx.mark().await.unwrap();
    let busy = insert_building(&mut tx, &second).await;
    assert!(matches!(&busy, Err(DbError::Constraint { constraint }) if constraint == "templates_one_building"), "{busy:?}");
    tx.roll_back_to_mark().await.unwrap();
    set_oid(&mut tx, first.id, 17_000).await.unwrap();
    mark_ready(&mut tx, first.id).await.unwrap();
    mark_ready(&mut tx, first.id).await.unwrap();
    tx.commit().await.unwrap();
    let template = ready(&rig.db, &key).await.unwrap().unwrap();
    assert_eq!((template.id, template.db_oid, template.state), (first.id, Some(17_000), TemplateState::Ready));
    assert_eq!((template.db_name, template.mark), (first.db_name, first.mark));
    assert!(ready(&rig.db, &TemplateKey { demo: true, ..key }).await.unwrap().is_none());

    let mut tx = rig.tx().await;
    insert_building(&mut tx, &second).await.unwrap();
    mark_ready(&mut tx, second.id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ready(&rig.db, &key).await.unwrap().unwrap().id, second.id);
    assert_eq!(get(&rig.db, first.id).await.unwrap().unwrap().state, TemplateState::Retired);
    assert_eq!(of_server(&rig.db, key.server).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_broken_template_is_never_ready_again() {
    let rig = Rig::start();
    let key = TemplateKey { server: active(&rig, "one", 1), version: OdooVersion::new(19), demo: true };
    let template = new(&rig, key).await;
    let mut tx = rig.tx().await;
    insert_building(&mut tx, &template).await.unwrap();
    forget(&mut tx, template.id).await.unwrap();
    mark_broken(&mut tx, template.id).await.unwrap();
    assert!(matches!(mark_ready(&mut tx, template.id).await, Err(DbError::Stale)));
    retire(&mut tx, template.id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(get(&rig.db, template.id).await.unwrap().unwrap().state, TemplateState::Broken);
    let mut tx = rig.tx().await;
    forget(&mut tx, template.id).await.unwrap();
    tx.commit().await.unwrap();
    assert!(get(&rig.db, template.id).await.unwrap().is_none());
}
