//! The row: compare-and-set, placement and its undo, scrubbing, observation.

use crate::rig::{Rig, System, by, keyring, raw, subscription};
use crate::servers::active;
use db::DbError;
use db::platform::acceptance::Deleted;
use db::platform::audit::{AuditContext, Door};
use db::platform::instances::{
    Change, ListFilter, Placement, Refused, advance, happen, list, lock, observe, place, scrub, secret_place, set_database_oid,
    set_secret, unplace,
};
use db::platform::servers;
use domain::ids::{InstanceId, OperationId, ServerId};
use domain::instance::{DbType, Event, ObservedState, Phase, Status};
use domain::names::{InstanceNames, Mark};

fn worker() -> AuditContext {
    AuditContext { door: Door::Worker, actor: "w-1".to_owned(), request_id: None }
}

pub(crate) fn placement(server: ServerId) -> Placement {
    let names = InstanceNames::draw(&System);
    Placement {
        server,
        db_host: "postgres2".to_owned(),
        db_port: 5432,
        db_name: names.database,
        db_user: names.role,
        service_name: names.service,
        data_dir: names.directory,
        mark: Mark::generate(&System),
        external_port: Some(20_001),
        image_profile: Some("official".to_owned()),
        image: Some("odoo:19".to_owned()),
    }
}

/// Placed on a server, with its secret and database recorded.
pub(crate) async fn placed(rig: &Rig, id: InstanceId, server: ServerId) -> Placement {
    let placement = placement(server);
    let mut tx = rig.tx().await;
    servers::reserve(&mut tx, DbType::Shared).await.unwrap().unwrap();
    place(&mut tx, id, &placement).await.unwrap();
    let sealed = keyring().seal(&secret_place(id), b"password", &System).unwrap();
    set_secret(&mut tx, id, Some(&sealed)).await.unwrap();
    set_database_oid(&mut tx, id, Some(4_000_000_000)).await.unwrap();
    tx.commit().await.unwrap();
    placement
}

#[tokio::test]
async fn advance_is_compare_and_set() {
    let rig = Rig::start();
    let seen = rig.created(raw("shop")).await;
    let mut tx = rig.tx().await;
    let moved = happen(&mut tx, &seen, Event::ProvisionAccepted, Change::default(), &by()).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    assert_eq!(moved.revision, seen.revision + 1);

    let mut tx = rig.tx().await;
    let stale = advance(&mut tx, &seen, "test", seen.axes, Change::default(), &by()).await;
    assert!(matches!(stale, Err(DbError::Stale)), "{stale:?}");
    tx.rollback().await.unwrap();
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.audit_log WHERE action = 'test'"), "0");
    // An older replica does not count revisions: its change of the status is noticed all the same.
    rig.sql(&format!("UPDATE instances SET status = 'error' WHERE id = '{}'", seen.id));
    let mut tx = rig.tx().await;
    let stale = advance(&mut tx, &moved, "test", moved.axes, Change::default(), &by()).await;
    assert!(matches!(stale, Err(DbError::Stale)), "{stale:?}");
}

#[tokio::test]
async fn what_the_table_does_not_have_is_refused_and_writes_nothing() {
    let rig = Rig::start();
    let seen = rig.created(raw("shop")).await;
    let mut tx = rig.tx().await;
    let refused = happen(&mut tx, &seen, Event::StopDone, Change::default(), &by()).await.unwrap();
    assert!(matches!(refused, Err(Refused::NotAllowed(_))));
    let same = happen(&mut tx, &seen, Event::BillingUpdated(seen.axes.billing), Change::default(), &by()).await.unwrap().unwrap();
    assert_eq!(same.revision, seen.revision);
    tx.commit().await.unwrap();
    assert_eq!(rig.get(seen.id).await.updated_at, seen.updated_at);
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.audit_log"), "1", "only the create");
}

#[tokio::test]
async fn a_provisioned_row_says_since_when_it_runs_and_where() {
    let rig = Rig::start();
    let id = rig.created(raw("shop")).await.id;
    let operation = rig.started(id).await;
    let server = active(&rig, "one", 1);
    let at = placed(&rig, id, server).await;
    for event in [Event::ProvisionBegins, Event::ProvisionDone] {
        let mut tx = rig.tx().await;
        let seen = lock(&mut tx, id).await.unwrap().unwrap();
        let change =
            Change { external_url: Some("http://shop.example".to_owned()), operation_id: Some(operation), ..Change::default() };
        happen(&mut tx, &seen, event, change, &worker()).await.unwrap().unwrap();
        tx.commit().await.unwrap();
    }
    let done = rig.get(id).await;
    assert_eq!((done.axes.status, done.axes.phase, done.axes.observed), (Status::Running, Phase::Ready, ObservedState::Running));
    assert!(done.started_at.is_some() && done.observed_at.is_some());
    assert_eq!(done.placement.as_ref(), Some(&at));
    assert_eq!((done.db_oid, done.server()), (Some(4_000_000_000), Some(server)));
    let secret = keyring().open_text(&secret_place(id), done.db_secret.as_ref().unwrap().as_bytes()).unwrap();
    assert_eq!(secrecy::ExposeSecret::expose_secret(&secret), "password");
    assert!(!format!("{done:?}").contains("db_secret: Some(Sealed(["));
    let trail =
        rig.sql("SELECT string_agg(action || ' ' || door || ' ' || to_status, ', ' ORDER BY id) FROM instance_service.audit_log");
    assert_eq!(
        trail,
        "create internal creating, provision_accepted internal creating, provision_begins worker starting, provision_done worker running"
    );
}

#[tokio::test]
async fn transitions_for_instances_at_rest_wait_for_the_operation() {
    let rig = Rig::start();
    let id = rig.created(raw("shop")).await.id;
    rig.sql(
        "UPDATE instances SET phase = 'ready', status = 'running', desired_state = 'running', provisioning_status = 'completed'",
    );
    let mut tx = rig.tx().await;
    let seen = lock(&mut tx, id).await.unwrap().unwrap();
    let change = || Change { reason: Some("gone".to_owned()), ..Change::default() };
    let absent = happen(&mut tx, &seen, Event::ObservedAbsent, change(), &worker()).await.unwrap().unwrap();
    assert_eq!((absent.axes.status, absent.error_message.as_deref()), (Status::ContainerMissing, Some("gone")));
    tx.rollback().await.unwrap();
    let operation = uuid::Uuid::from_u128(9);
    rig.sql(&format!(
        "INSERT INTO instance_service.operations (id, scope, instance_id, kind, class, def_version, state)
         VALUES ('{operation}', 'instance:{id}', '{id}', 'backup', 'backup', 1, 'running')"
    ));
    let mut tx = rig.tx().await;
    let seen = lock(&mut tx, id).await.unwrap().unwrap();
    let busy = happen(&mut tx, &seen, Event::ObservedAbsent, change(), &worker()).await.unwrap();
    assert_eq!(busy.unwrap_err(), Refused::Busy(OperationId::from_uuid(operation)));
}

#[tokio::test]
async fn the_row_names_its_active_operation_else_the_next() {
    let rig = Rig::start();
    let id = rig.created(raw("shop")).await.id;
    let insert = |number: u128, scope: &str, state: &str, priority: i32| {
        let operation = uuid::Uuid::from_u128(number);
        rig.sql(&format!(
            "INSERT INTO instance_service.operations (id, scope, instance_id, kind, class, def_version, state, priority)
             VALUES ('{operation}', '{scope}', '{id}', 'backup', 'backup', 1, '{state}', {priority})"
        ));
        Some(OperationId::from_uuid(operation))
    };
    let scope = format!("instance:{id}");
    insert(1, "own:1", "running", 0);
    insert(2, &scope, "succeeded", 0);
    assert_eq!(rig.get(id).await.operation_id, None);
    let later = insert(3, &scope, "queued", 0);
    assert_eq!(rig.get(id).await.operation_id, later);
    let first = insert(4, &scope, "queued", 5);
    assert_eq!(rig.get(id).await.operation_id, first);
    let active = insert(5, &scope, "waiting", 0);
    assert_eq!(rig.get(id).await.operation_id, active);
}

#[tokio::test]
async fn a_placement_is_repeatable_exclusive_and_undone_once() {
    let rig = Rig::start();
    let server = active(&rig, "one", 5);
    let id = rig.created(raw("shop")).await.id;
    let at = placed(&rig, id, server).await;
    let mut tx = rig.tx().await;
    place(&mut tx, id, &at).await.unwrap();
    let other = place(&mut tx, id, &placement(server)).await;
    assert!(matches!(other, Err(DbError::Stale)), "another placement: {other:?}");
    tx.commit().await.unwrap();

    let second = rig.created(raw("second")).await.id;
    let mut tx = rig.tx().await;
    let stolen = place(&mut tx, second, &Placement { mark: Mark::generate(&System), ..at.clone() }).await;
    assert!(matches!(&stolen, Err(DbError::Constraint { constraint }) if constraint == "instances_database"), "{stolen:?}");
    tx.rollback().await.unwrap();

    for _ in 0..2 {
        let mut tx = rig.tx().await;
        unplace(&mut tx, id).await.unwrap();
        tx.commit().await.unwrap();
    }
    let undone = rig.get(id).await;
    assert!(undone.placement.is_none() && undone.db_secret.is_none() && undone.db_oid.is_none());
    assert_eq!(rig.sql("SELECT instances FROM instance_service.odoo_servers"), "0", "released once");
}

#[tokio::test]
async fn an_undo_leaves_an_instance_with_data_alone() {
    let rig = Rig::start();
    let server = active(&rig, "one", 5);
    let id = rig.created(raw("shop")).await.id;
    placed(&rig, id, server).await;
    rig.sql("UPDATE instances SET phase = 'ready', status = 'running', desired_state = 'running'");
    let mut tx = rig.tx().await;
    unplace(&mut tx, id).await.unwrap();
    tx.commit().await.unwrap();
    assert!(rig.get(id).await.placement.is_some());
    assert_eq!(rig.sql("SELECT instances FROM instance_service.odoo_servers"), "1");
}

#[tokio::test]
async fn scrubbing_leaves_a_record_without_names_secrets_and_personal_settings() {
    let rig = Rig::start();
    let server = active(&rig, "one", 5);
    let mut order = raw("shop");
    order.environment_vars = Some([("TOKEN".to_owned(), "x".to_owned())].into());
    order.description = Some("private".to_owned());
    let id = rig.created(order).await.id;
    let at = placed(&rig, id, server).await;
    let operation = OperationId::from_uuid(uuid::Uuid::from_u128(1));

    let mut tx = rig.tx().await;
    let seen = lock(&mut tx, id).await.unwrap().unwrap();
    let refused = scrub(&mut tx, &seen, operation, &worker()).await.unwrap();
    assert!(matches!(refused, Err(Refused::NotAllowed(_))), "not being purged: {refused:?}");
    tx.rollback().await.unwrap();

    assert!(matches!(rig.delete(id).await, Deleted::Accepted { .. }));
    rig.sql(&format!(
        "INSERT INTO instance_service.outbox (id, operation_id, instance_id, customer_id, template, variables, secret)
         SELECT gen_random_uuid(), o.id, '{id}', i.customer_id, 'instance_ready', '{{\"admin_email\": \"owner@shop.example\"}}', 'sealed'
           FROM instance_service.operations o JOIN public.instances i ON i.id = o.instance_id WHERE i.id = '{id}'"
    ));
    for _ in 0..2 {
        let mut tx = rig.tx().await;
        let seen = lock(&mut tx, id).await.unwrap().unwrap();
        let record = scrub(&mut tx, &seen, operation, &worker()).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        assert_eq!((record.axes.phase, record.axes.status), (Phase::Purged, Status::Terminated));
        assert!(record.purged_at.is_some() && record.placement.is_none() && record.db_secret.is_none());
        assert!(record.environment_vars.is_empty() && record.description.is_none() && record.admin_email.is_empty());
        assert_eq!((record.name.as_str(), record.database_name.as_str()), ("Shop", "shop"));
    }
    assert_eq!(rig.sql("SELECT instances FROM instance_service.odoo_servers"), "0", "released once");
    assert_eq!(rig.sql("SELECT state, variables, secret IS NULL FROM instance_service.outbox"), "dead|{}|t");
    let trail = rig.sql("SELECT details ->> 'database' FROM instance_service.audit_log WHERE action = 'purged'");
    assert_eq!(trail, at.db_name.as_str());
}

#[tokio::test]
async fn an_observation_touches_nothing_but_itself() {
    let rig = Rig::start();
    let before = rig.created(raw("shop")).await;
    for (seen, answered, revision) in
        [(ObservedState::Running, false, 1), (ObservedState::Running, true, 1), (ObservedState::Failed, false, 2)]
    {
        let mut tx = rig.tx().await;
        observe(&mut tx, before.id, seen, answered).await.unwrap();
        tx.commit().await.unwrap();
        let after = rig.get(before.id).await;
        assert_eq!((after.axes.observed, after.revision), (seen, before.revision + revision));
        assert_eq!((after.axes.status, after.updated_at), (before.axes.status, before.updated_at));
        assert!(after.observed_at.is_some());
    }
    assert!(rig.get(before.id).await.last_health_check.is_some());
}

#[tokio::test]
async fn pages_are_newest_first_and_the_total_counts_all_matches() {
    let rig = Rig::start();
    let customer = crate::rig::customer();
    let mut ids = Vec::new();
    for number in 0..5 {
        let mut order = raw(&format!("shop{number}"));
        order.customer_id = Some(customer.to_string());
        ids.insert(0, rig.created(order).await.id);
    }
    rig.terminate(ids[0], None).await;
    rig.created(raw("stranger")).await;
    let page = |status, page, page_size| ListFilter { customer_id: customer, status, page, page_size };
    let second = list(&rig.db, &page(None, 2, 2)).await.unwrap();
    assert_eq!((second.total, second.instances.iter().map(|i| i.id).collect::<Vec<_>>()), (5, ids[2..4].to_vec()));
    let creating = list(&rig.db, &page(Some(Status::Creating), 1, 1)).await.unwrap();
    assert_eq!((creating.total, creating.instances[0].id), (4, ids[1]));
    assert_eq!(list(&rig.db, &page(Some(Status::Running), 1, 100)).await.unwrap().total, 0);
    assert_eq!(db::platform::instances::count(&rig.db).await.unwrap(), 6);
}

#[tokio::test]
async fn constraints_keep_adopted_rows_clean() {
    let rig = Rig::start();
    let id = rig.created(raw("shop")).await.id;
    for broken in [
        "status = 'exploded'",
        "status = NULL",
        "billing_status = 'unknown'",
        "hostname = NULL",
        "provisioning_status = NULL",
        "phase = 'other'",
        "instance_type = 'playground'",
        "db_type = 'none'",
        "observed_state = 'gone'",
    ] {
        let update = format!("UPDATE instances SET {broken} WHERE id = '{id}'");
        let error = rig.cluster.psql("instance", &update).expect_err(broken).to_string();
        assert!(error.contains("violates check constraint"), "{broken}: {error}");
    }
    let other = rig.created(raw("other")).await.id;
    let taken = format!(
        "UPDATE instances SET subscription_id = (SELECT subscription_id FROM instances WHERE id = '{id}') WHERE id = '{other}'"
    );
    assert!(rig.cluster.psql("instance", &taken).unwrap_err().to_string().contains("instances_subscription_live"));
    let change = Change { subscription_id: Some(subscription()), ..Change::default() };
    let mut tx = rig.tx().await;
    let seen = lock(&mut tx, other).await.unwrap().unwrap();
    advance(&mut tx, &seen, "test", seen.axes, change, &by()).await.unwrap();
}

#[tokio::test]
async fn a_placement_is_whole_or_not_there() {
    let rig = Rig::start();
    let server = active(&rig, "one", 5);
    let id = rig.created(raw("shop")).await.id;
    placed(&rig, id, server).await;
    for column in ["odoo_server_id", "db_host", "db_port", "db_name", "db_user", "service_name", "data_dir", "mark"] {
        let torn = rig.refused(&format!("UPDATE public.instances SET {column} = NULL WHERE id = '{id}'"));
        assert!(torn.contains("instances_placement_whole"), "{column}: {torn}");
    }
}

/// The words are written out in the query and in its index.
#[tokio::test]
async fn failed_are_those_in_error_and_those_that_read_so() {
    let rig = Rig::start();
    for status in
        Status::ALL.iter().map(|status| format!("'{}'", status.as_str())).chain(["'exploded'".to_owned(), "NULL".to_owned()])
    {
        rig.sql(&format!(
            "INSERT INTO public.instances (customer_id, name, admin_email, database_name, status)
             VALUES (gen_random_uuid(), coalesce({status}, 'none'), 'a@b.example', 'old', {status})"
        ));
    }
    let failed = db::platform::instances::failed(&rig.db, 0, 100).await.unwrap();
    let mut names: Vec<&str> = failed.instances.iter().map(|instance| instance.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["error", "exploded", "none"]);
    assert_eq!(failed.total, 3);
}
