//! What a tenant's login can and cannot do, tried with the real login; and what the server's log keeps.

use crate::rig::{Rig, Tenant};
use db::odoo::{Personal, odoo_hash};
use secrecy::ExposeSecret as _;
use sqlx::PgConnection;

async fn refused(connection: &mut PgConnection, sql: &str) -> String {
    let error = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap_err();
    error.as_database_error().unwrap().code().unwrap().into_owned()
}

#[tokio::test]
async fn a_tenant_enters_its_own_database_and_the_maintenance_database_only() {
    let rig = Rig::start();
    let (tenant, neighbour, template) = (rig.tenant().await, rig.tenant().await, rig.tenant().await);
    rig.fence(&template.mark).await.finalise_template(&template.name, &template.name).await.unwrap();
    for database in [tenant.name.as_str(), "postgres"] {
        rig.log_in(&tenant, database).await.unwrap();
    }
    for database in [neighbour.name.as_str(), "template1", "template0", "ois", template.name.as_str()] {
        let error = rig.log_in(&tenant, database).await.unwrap_err();
        let code = error.as_database_error().unwrap().code().unwrap().into_owned();
        // 42501 no right to connect; 55000 the database takes no connections.
        assert!(["42501", "55000"].contains(&&*code), "{database}: {error}");
    }
}

#[tokio::test]
async fn a_tenant_makes_nothing_outside_its_database() {
    let rig = Rig::start();
    let (tenant, neighbour) = (rig.tenant().await, rig.tenant().await);
    let mut connection = rig.log_in(&tenant, "postgres").await.unwrap();
    let statements = [
        "CREATE DATABASE mine".to_owned(),
        "CREATE ROLE mine".to_owned(),
        "CREATE TABLE public.mine (id int)".to_owned(),
        "CREATE TEMP TABLE mine (id int)".to_owned(),
        "CREATE SCHEMA mine".to_owned(),
        "SELECT lo_create(0)".to_owned(),
        "SELECT lo_creat(-1)".to_owned(),
        "SELECT lo_from_bytea(0, 'data')".to_owned(),
        "SET ROLE odoo_admin".to_owned(),
        "SELECT * FROM pg_authid".to_owned(),
        format!("SET ROLE \"{}\"", neighbour.name),
        format!("ALTER ROLE \"{}\" CREATEDB", tenant.name),
        format!("COMMENT ON DATABASE \"{}\" IS 'mine'", neighbour.name),
    ];
    for statement in statements {
        assert_eq!(refused(&mut connection, &statement).await, "42501", "{statement}");
    }
    let mut own = rig.log_in(&tenant, tenant.name.as_str()).await.unwrap();
    sqlx::query("SELECT lo_put(lo_create(0), 0, 'data')").execute(&mut own).await.unwrap();
}

#[tokio::test]
async fn there_is_no_moment_in_which_a_stranger_can_enter() {
    let rig = Rig::start();
    let (neighbour, tenant) = (rig.tenant().await, rig.tenant().await);
    let stays_open = "SELECT count(*) = 0 FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
        WHERE a.grantee = 0 AND d.datallowconn AND d.datname LIKE 'odoo%'";
    assert_eq!(rig.cluster.psql("postgres", stays_open).unwrap(), "t");
    assert!(rig.log_in(&neighbour, tenant.name.as_str()).await.is_err());
    // Made closed, opened in the very transaction that revokes: the log has the order.
    let log = rig.cluster.log().unwrap();
    let made = format!(
        "CREATE DATABASE \"{}\" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' OWNER \"{0}\" ALLOW_CONNECTIONS false",
        tenant.name
    );
    let opened = format!(
        "REVOKE ALL ON DATABASE \"{0}\" FROM PUBLIC; COMMENT ON DATABASE \"{0}\" IS '{1}'; ALTER DATABASE \"{0}\" ALLOW_CONNECTIONS true",
        tenant.name, tenant.mark
    );
    assert!(log.find(&made).unwrap() < log.find(&opened).unwrap());
}

#[tokio::test]
async fn no_password_reaches_the_log_and_all_that_tenants_see_is_opaque() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    let hash = odoo_hash(&tenant.password, [3; 16]);
    crate::content::odoo_tables(&rig, &tenant);
    let personal = Personal {
        role: tenant.name.clone(),
        admin_email: "owner@customer.example".to_owned(),
        admin_password_hash: hash,
        company_name: "Customer".to_owned(),
        base_url: "http://customer.example".to_owned(),
    };
    let mut fence = rig.fence(&tenant.mark).await;
    fence.inside(&tenant.name).await.unwrap().personalise(&personal).await.unwrap();
    let log = rig.cluster.log().unwrap();
    assert!(log.contains("CREATE ROLE"), "the log shows statements at all");
    assert!(!log.contains(tenant.password.expose_secret()));
    assert!(!log.contains(rig.admin.password.expose_secret()));

    let mut theirs = rig.log_in(&Tenant { name: tenant.name.clone(), ..tenant }, "postgres").await.unwrap();
    let visible: Vec<String> = sqlx::query_scalar(
        "SELECT datname::text FROM pg_database UNION ALL SELECT rolname::text FROM pg_roles
         UNION ALL SELECT description FROM pg_shdescription UNION ALL SELECT application_name FROM pg_stat_activity WHERE application_name <> ''",
    )
    .fetch_all(&mut theirs)
    .await
    .unwrap();
    drop(fence);
    for text in visible.iter().filter(|text| text.starts_with("ois") || text.starts_with("odoo_")) {
        let opaque = text.split([':', '_']).skip(1).all(|part| part.bytes().all(|b| b.is_ascii_hexdigit()));
        assert!(opaque || ["odoo_admin", "odoo_tenants", "ois"].contains(&text.as_str()), "{text}");
    }
    assert!(visible.iter().any(|text| text.starts_with("ois:")), "the fence is seen: {visible:?}");
}
