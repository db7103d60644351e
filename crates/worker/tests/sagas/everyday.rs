//! What happens when nothing goes wrong.

use crate::rig::Rig;
use db::platform::{operations, outbox};
use domain::operation::State;
use runtime::{Observed, Owner, Service};
use secrecy::ExposeSecret as _;
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_becomes_a_running_instance_and_a_delete_leaves_a_record() {
    let rig = Rig::start().await;
    rig.prepare_template().await;
    let before = rig.snapshot();
    let id = rig.order(|_| {}).await;
    rig.drain().await;

    let operation = rig.last_operation().await;
    assert_eq!((operation.state, operation.percent), (State::Succeeded, 100), "{operation:#?}");
    let instance = rig.instance(id).await;
    let placement = instance.placement.clone().unwrap();
    assert_eq!(instance.axes.status.as_str(), "running");
    assert_eq!(instance.external_url, Some(format!("http://127.0.0.1:{}", placement.external_port.unwrap())));
    assert_eq!(rig.mails(), "instance_provisioning_started instance_ready");
    let service = Service { name: placement.service_name.clone(), owner: Owner::Instance(id) };
    assert!(matches!(rig.tools.runtime.observe(&service).await.unwrap(), Observed::Running { .. }));
    let during = before.difference(&rig.snapshot());
    let (database, role) = (placement.db_name.as_str(), placement.db_user.as_str());
    assert_eq!(during.added.iter().filter(|line| line.starts_with(&format!("database {database} "))).count(), 1, "{during}");
    assert_eq!(during.added.iter().filter(|line| line.starts_with("database ")).count(), 1, "{during}");
    assert_eq!(during.added.iter().filter(|line| line.starts_with(&format!("role {role} "))).count(), 1, "{during}");
    assert_eq!(during.added.iter().filter(|line| line.starts_with("file ")).count(), 1, "{during}");
    assert_eq!(during.removed, Vec::<String>::new());

    let quoted = r#"error = '{"code": "c", "message": "m", "cause": "a line of the tenant"}'"#;
    rig.sql(&format!("UPDATE instance_service.operations SET {quoted} WHERE instance_id IS NOT NULL"));
    rig.sql(&format!("UPDATE instance_service.operation_steps SET {quoted} WHERE step = 'addons'"));
    rig.delete(id).await;
    rig.drain().await;
    let kept = "SELECT error FROM instance_service.operations UNION ALL SELECT error FROM instance_service.operation_steps";
    assert!(!rig.sql(kept).contains("a line of the tenant"), "{}", rig.sql(kept));
    let after = before.difference(&rig.snapshot());
    assert!(after.is_empty(), "{after}");
    assert_eq!(rig.tools.runtime.observe(&service).await.unwrap(), Observed::Absent);
    let record = rig.instance(id).await;
    assert_eq!((record.axes.phase.as_str(), record.admin_email.as_str()), ("purged", ""));
    assert!(record.placement.is_none() && record.db_secret.is_none());
    assert_eq!(rig.sql("SELECT sum(instances) FROM instance_service.odoo_servers"), "0");
    assert_eq!(rig.mails(), "instance_provisioning_started instance_ready", "billing tells the customer of the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_about_a_delete_survives_the_erasure_if_it_is_wanted() {
    let rig = Rig::with_extra_mails().await;
    let id = rig.order(|_| {}).await;
    rig.delete(id).await;
    rig.drain().await;
    assert_eq!(rig.instance(id).await.axes.phase.as_str(), "purged");
    let due = outbox::claim_due(&rig.db, 10, Duration::from_secs(60)).await.unwrap();
    let [mail] = &due[..] else { panic!("{due:?}") };
    assert_eq!((mail.template.as_str(), &mail.tags), ("instance_deleted", &json!(["instance", "lifecycle", "deleted"])));
    let variables = outbox::open_secrets(mail, &rig.tools.keyring).unwrap();
    let told: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
    assert_eq!(told, [("backup_info", "No backup is kept."), ("instance_name", "Shop")]);
    outbox::delivered(&rig.db, mail.id).await.unwrap();
    let left = "SELECT variables, secret IS NULL FROM instance_service.outbox WHERE template = 'instance_deleted'";
    assert_eq!(rig.sql(left), "{}|t");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clone_is_its_owners() {
    let rig = Rig::start().await;
    let id = rig.order(|raw| raw.name = Some("Shop'); DROP TABLE res_users;--".to_owned())).await;
    rig.drain().await;
    assert_eq!(rig.status(id).await, "running");
    let instance = rig.instance(id).await;
    let placement = instance.placement.as_ref().unwrap();
    let inside = |sql: &str| rig.pair.postgres2.psql(placement.db_name.as_str(), sql).unwrap();
    assert_eq!(inside("SELECT login FROM res_users WHERE id = 2"), "owner@customer.example");
    assert!(inside("SELECT password FROM res_users WHERE id = 2").starts_with("$pbkdf2-sha512$600000$"));
    assert_eq!(inside("SELECT name FROM res_company WHERE id = 1"), instance.name);
    assert_eq!(inside("SELECT value FROM ir_config_parameter WHERE key = 'web.base.url'"), instance.external_url.unwrap());
    let strangers = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                      WHERE n.nspname = 'public' AND pg_get_userbyid(c.relowner) <> (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database())";
    assert_eq!(inside(strangers), "0");
    let template = &rig.templates().await[0];
    let file =
        |name: &str| rig.pair.postgres2.psql(name, "SELECT store_fname FROM ir_attachment WHERE store_fname IS NOT NULL LIMIT 1");
    let stored = file(placement.db_name.as_str()).unwrap();
    let copied = std::path::Path::new(&placement.data_dir).join("data/filestore").join(placement.db_name.as_str()).join(stored);
    assert!(copied.is_file(), "{}", copied.display());
    assert!(rig.root().join(&template.directory).is_dir());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_left_in_rows_logs_or_files_that_others_read() {
    let rig = Rig::start().await;
    let id = rig.order(|_| {}).await;
    rig.drain().await;
    assert_eq!(rig.status(id).await, "running");
    let sealed = rig.sql("SELECT count(*) FROM instance_service.operation_steps WHERE output::text LIKE '%password%'");
    assert_eq!(sealed, "0", "the journal forgets sealed passwords");
    let instance = rig.instance(id).await;
    let place = db::platform::instances::secret_place(id);
    let password = rig.tools.keyring.open_text(&place, instance.db_secret.unwrap().as_bytes()).unwrap();
    let due = db::platform::outbox::claim_due(&rig.db, 10, std::time::Duration::from_secs(1)).await.unwrap();
    let ready = due.iter().find(|mail| mail.template == "instance_ready").unwrap();
    let admin = db::platform::outbox::open_secrets(ready, &rig.tools.keyring).unwrap()["admin_password"].clone();
    for log in [rig.pair.postgres1.log().unwrap(), rig.pair.postgres2.log().unwrap()] {
        assert!(!log.contains(password.expose_secret()) && !log.contains(admin.expose_secret()));
    }
    // The mail's password is the one that Odoo holds a hash of.
    let database = instance.placement.unwrap().db_name;
    let hash = rig.pair.postgres2.psql(database.as_str(), "SELECT password FROM res_users WHERE id = 2").unwrap();
    assert_eq!(db::odoo::odoo_hash(&admin, salt_of(&hash)), hash);
}

fn salt_of(hash: &str) -> db::odoo::Salt {
    use base64::Engine as _;
    let salt = hash.split('$').nth(3).unwrap().replace('.', "+");
    base64::engine::general_purpose::STANDARD_NO_PAD.decode(salt).unwrap().try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn known_add_ons_are_installed_and_unknown_ones_listed() {
    let rig = Rig::start().await;
    let id = rig.order(|raw| raw.custom_addons = Some(vec!["crm".to_owned(), "no_such_module".to_owned()])).await;
    rig.drain().await;
    let operation =
        operations::list(&rig.db, &operations::Filter { instance_id: Some(id), limit: 1, ..Default::default() }).await.unwrap();
    let result = operation.operations[0].result.clone().unwrap();
    assert_eq!(result["installed_addons"], serde_json::json!(["crm"]));
    assert_eq!(result["unknown_addons"], serde_json::json!(["no_such_module"]));
    let database = rig.instance(id).await.placement.unwrap().db_name;
    let state = rig.pair.postgres2.psql(database.as_str(), "SELECT state FROM ir_module_module WHERE name = 'crm'").unwrap();
    assert_eq!(state, "installed");
}

#[tokio::test(flavor = "multi_thread")]
async fn terminate_keeps_the_data_and_closes_access() {
    let rig = Rig::start().await;
    let id = rig.order(|_| {}).await;
    rig.drain().await;
    let placement = rig.instance(id).await.placement.unwrap();
    for _ in 0..2 {
        rig.terminate(id).await;
        rig.drain().await;
    }
    let service = Service { name: placement.service_name.clone(), owner: Owner::Instance(id) };
    assert_eq!(rig.tools.runtime.observe(&service).await.unwrap(), Observed::Absent);
    let name = &placement.db_name;
    let closed = format!(
        "SELECT NOT d.datallowconn AND NOT r.rolcanlogin FROM pg_database d JOIN pg_roles r ON r.rolname = '{name}' WHERE d.datname = '{name}'"
    );
    assert_eq!(rig.pair.postgres2.psql("postgres", &closed).unwrap(), "t");
    assert!(std::path::Path::new(&placement.data_dir).is_dir());
    assert_eq!(rig.status(id).await, "terminated");
    rig.delete(id).await;
    rig.drain().await;
    assert_eq!(rig.instance(id).await.axes.phase.as_str(), "purged");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_customers_with_one_label_share_nothing() {
    let rig = Rig::start().await;
    let same = |raw: &mut domain::order::RawOrder| raw.database_name = Some("production".to_owned());
    let (one, other) = (rig.order(same).await, rig.order(same).await);
    rig.drain().await;
    let place = |instance: db::platform::instances::Instance| instance.placement.unwrap();
    let (first, second) = (place(rig.instance(one).await), place(rig.instance(other).await));
    assert_ne!(
        (&first.db_name, &first.data_dir, &first.external_port),
        (&second.db_name, &second.data_dir, &second.external_port)
    );
    rig.delete(one).await;
    rig.drain().await;
    assert_eq!(rig.status(other).await, "running");
    rig.pair.postgres2.psql(second.db_name.as_str(), "SELECT 1 FROM res_users").unwrap();
}
