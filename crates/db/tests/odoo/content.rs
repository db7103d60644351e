//! The statements inside a tenant database, on tables with the columns that Odoo 19 gives them. Real Odoo comes in with the
//! stories.

use crate::rig::{Rig, Tenant};
use db::odoo::{OdooError, Personal, Verdict};

/// The tables that personalising touches, owned by the tenant.
pub(crate) fn odoo_tables(rig: &Rig, tenant: &Tenant) {
    let sql = format!(
        "SET ROLE \"{}\";
         CREATE TABLE ir_module_module (id serial PRIMARY KEY, name text UNIQUE, state text);
         CREATE TABLE ir_config_parameter (id serial PRIMARY KEY, key text UNIQUE, value text);
         CREATE TABLE res_partner (id serial PRIMARY KEY, name text, complete_name text, email text);
         CREATE TABLE res_company (id serial PRIMARY KEY, name text UNIQUE, partner_id int);
         CREATE TABLE res_users (id serial PRIMARY KEY, login text UNIQUE, password text, partner_id int);
         INSERT INTO res_partner (name) VALUES ('My Company'), ('OdooBot'), ('Administrator');
         INSERT INTO res_company (name, partner_id) VALUES ('My Company', 1);
         INSERT INTO res_users (login, partner_id) VALUES ('__system__', 2), ('admin', 3);
         INSERT INTO ir_config_parameter (key, value) VALUES ('database.uuid', 'template'), ('database.secret', 'template'),
            ('database.create_date', 'template'), ('web.base.url', 'http://localhost:8069'), ('database.enterprise_code', 'template');
         INSERT INTO ir_module_module (name, state) VALUES ('base', 'installed'), ('crm', 'uninstalled'), ('sale', 'to install');",
        tenant.name
    );
    rig.cluster.psql(tenant.name.as_str(), &sql).unwrap();
}

fn personal(tenant: &Tenant) -> Personal {
    Personal {
        role: tenant.name.clone(),
        admin_email: "O'Neil+x@customer.example".to_owned(),
        admin_password_hash: "$pbkdf2-sha512$600000$x$y".to_owned(),
        company_name: "Shop'); DROP TABLE res_users;--".to_owned(),
        base_url: "http://shop.example".to_owned(),
    }
}

#[tokio::test]
async fn a_personalised_clone_keeps_nothing_of_the_template() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    odoo_tables(&rig, &tenant);
    let personal = personal(&tenant);
    let mut fence = rig.fence(&tenant.mark).await;
    let mut inside = fence.inside(&tenant.name).await.unwrap();
    assert!(!inside.reader().is_personalised(&personal).await.unwrap());
    for _ in 0..2 {
        inside.personalise(&personal).await.unwrap();
        assert!(inside.reader().is_personalised(&personal).await.unwrap());
    }
    let database = tenant.name.as_str();
    let ask = |sql: &str| rig.cluster.psql(database, sql).unwrap();
    assert_eq!(ask("SELECT count(*) FROM ir_config_parameter WHERE value = 'template'"), "0");
    assert_eq!(
        ask("SELECT string_agg(key || '=' || value, ' ' ORDER BY key) FROM ir_config_parameter WHERE key LIKE 'web%'"),
        "web.base.url=http://shop.example web.base.url.freeze=True"
    );
    let identities = "SELECT count(DISTINCT value) FROM ir_config_parameter WHERE key IN ('database.uuid', 'database.secret') AND length(value) = 36";
    assert_eq!(ask(identities), "2");
    let company =
        "SELECT c.name || '|' || p.name || '|' || p.complete_name FROM res_company c JOIN res_partner p ON p.id = c.partner_id";
    let name = &personal.company_name;
    assert_eq!(ask(company), format!("{name}|{name}|{name}"));
    assert_eq!(ask("SELECT email FROM res_partner WHERE id = 3"), personal.admin_email);
}

#[tokio::test]
async fn a_database_that_is_no_odoo_is_not_tried_again() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    let mut fence = rig.fence(&tenant.mark).await;
    let error = fence.inside(&tenant.name).await.unwrap().personalise(&personal(&tenant)).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::Permanent, "{error}");
}

/// A server that has become a standby takes no writes (25006): its work waits for the one that took its place.
#[tokio::test]
async fn a_server_that_takes_no_writes_is_waited_for() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    odoo_tables(&rig, &tenant);
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN RAISE EXCEPTION ''cannot write'' USING ERRCODE = ''25006''; END';
        CREATE TRIGGER refuse BEFORE UPDATE ON res_users FOR EACH ROW EXECUTE FUNCTION refuse()";
    rig.cluster.psql(tenant.name.as_str(), refuse).unwrap();
    let mut fence = rig.fence(&tenant.mark).await;
    let error = fence.inside(&tenant.name).await.unwrap().personalise(&personal(&tenant)).await.unwrap_err();
    assert!(matches!(error, OdooError::Unreachable { .. }), "{error}");
}

/// Odoo 16 has another copy of a partner's name than 17 and later.
#[tokio::test]
async fn a_clone_of_odoo_16_is_personalised_as_well() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    odoo_tables(&rig, &tenant);
    let database = tenant.name.as_str();
    rig.cluster.psql(database, "ALTER TABLE res_partner RENAME complete_name TO display_name").unwrap();
    let personal = personal(&tenant);
    let mut fence = rig.fence(&tenant.mark).await;
    fence.inside(&tenant.name).await.unwrap().personalise(&personal).await.unwrap();
    let name = rig.cluster.psql(database, "SELECT name || '|' || display_name FROM res_partner WHERE id = 1").unwrap();
    assert_eq!(name, format!("{0}|{0}", personal.company_name));
}

#[tokio::test]
async fn a_clone_that_would_share_a_secret_with_its_template_is_refused() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    odoo_tables(&rig, &tenant);
    let mut fence = rig.fence(&tenant.mark).await;
    let missing = [
        "DELETE FROM ir_config_parameter WHERE key = 'database.secret'",
        "UPDATE res_company SET id = 7",
        "DELETE FROM res_users WHERE id = 2",
    ];
    for damage in missing {
        rig.cluster.psql(tenant.name.as_str(), damage).unwrap();
        let error = fence.inside(&tenant.name).await.unwrap().personalise(&personal(&tenant)).await.unwrap_err();
        assert!(matches!(error, OdooError::Missing { .. }), "{damage}: {error}");
    }
    let kept = "SELECT value FROM ir_config_parameter WHERE key = 'database.uuid'";
    assert_eq!(rig.cluster.psql(tenant.name.as_str(), kept).unwrap(), "template", "half of it is not written");
}

/// The owner of a database may set defaults for all who enter it.
#[tokio::test]
async fn what_a_tenant_puts_in_the_way_of_our_sessions_is_not_used() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    odoo_tables(&rig, &tenant);
    let mut theirs = rig.log_in(&tenant, tenant.name.as_str()).await.unwrap();
    let trap = format!(
        "CREATE SCHEMA trap; CREATE VIEW trap.pg_shdepend AS SELECT 1 AS no_such_column;
         ALTER DATABASE \"{0}\" SET search_path = trap, pg_catalog, public; ALTER DATABASE \"{0}\" SET default_transaction_read_only = on",
        tenant.name
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(trap)).execute(&mut theirs).await.unwrap();
    let mut fence = rig.fence(&tenant.mark).await;
    let mut inside = fence.inside(&tenant.name).await.unwrap();
    assert!(inside.reader().objects_of(&tenant.name).await.unwrap() > 0);
    inside.personalise(&personal(&tenant)).await.unwrap();
}

#[tokio::test]
async fn module_states_tell_installed_pending_and_unknown_apart() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    let mut inside = rig.server.instance_connection(&tenant.name).await.unwrap();
    assert_eq!(inside.module_states().await.unwrap(), Default::default());
    odoo_tables(&rig, &tenant);
    let states = inside.module_states().await.unwrap();
    assert!(states.is_installed("base") && !states.is_installed("sale"));
    assert_eq!(states.pending, ["sale"]);
    assert!(states.is_known("crm") && !states.is_known("no_such_module"));
}
