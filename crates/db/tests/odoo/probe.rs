//! What a server says of itself, and whether missing bootstrap steps are seen.

use crate::rig::{Rig, System, server};
use db::odoo::{Identity, OdooError, OdooServer, ServerAddress, Verdict};
use domain::names::Mark;

#[tokio::test]
async fn a_bootstrapped_server_shows_no_deviation() {
    let rig = Rig::start();
    let report = rig.server.admin_connection().await.unwrap().probe().await.unwrap();
    assert_eq!(report.deviations, Vec::<String>::new());
    assert!(!report.admin_is_superuser);
    let identifier = rig.cluster.psql("postgres", "SELECT system_identifier FROM pg_control_system()").unwrap();
    assert_eq!(report.system_identifier.to_string(), identifier);
    assert!(report.version_number >= 150_000 && report.version.starts_with(&(report.version_number / 10_000).to_string()));
}

#[tokio::test]
async fn each_missing_step_of_the_bootstrap_is_named() {
    let rig = Rig::start();
    // The group's own right comes first: once PUBLIC may connect, its members may as well.
    let damages = [
        ("REVOKE CONNECT ON DATABASE postgres FROM odoo_tenants", "the group odoo_tenants may not connect to postgres"),
        ("GRANT CONNECT ON DATABASE postgres TO PUBLIC", "PUBLIC may connect on database postgres"),
        ("GRANT TEMP ON DATABASE template1 TO PUBLIC", "PUBLIC may temporary on database template1"),
        ("GRANT CREATE ON SCHEMA public TO PUBLIC", "PUBLIC has create on schema public of postgres"),
        ("GRANT EXECUTE ON FUNCTION lo_create(oid) TO PUBLIC", "PUBLIC may execute lo_create in postgres"),
        ("GRANT CONNECT ON DATABASE ois TO odoo_tenants", "the group odoo_tenants may connect to ois"),
        ("ALTER DATABASE ois ALLOW_CONNECTIONS false", "the database ois is missing"),
        ("ALTER ROLE odoo_admin NOCREATEDB", "the admin role lacks CREATEDB"),
        ("ALTER ROLE odoo_admin NOCREATEROLE", "the admin role lacks CREATEROLE"),
        ("ALTER ROLE odoo_tenants LOGIN", "the group odoo_tenants may log in"),
        ("REVOKE ADMIN OPTION FOR odoo_tenants FROM odoo_admin", "the admin role may not grant odoo_tenants"),
    ];
    for (sql, deviation) in damages {
        rig.cluster.psql("postgres", sql).unwrap();
        let seen = rig.server.admin_connection().await.unwrap().probe().await.unwrap().deviations;
        assert!(seen.iter().any(|text| text == deviation), "{sql}: {seen:?}");
    }
}

#[tokio::test]
async fn a_superuser_as_admin_is_reported_and_refused_unless_permitted() {
    let rig = Rig::start();
    rig.cluster.psql("postgres", "ALTER ROLE odoo_admin SUPERUSER").unwrap();
    let report = rig.server.whoever_answers().admin_connection().await.unwrap().probe().await.unwrap();
    assert!(report.admin_is_superuser);
    assert!(report.deviations.contains(&"the admin role is a superuser".to_owned()));
    let mark = Mark::generate(&System);
    let error = rig.server.fence(&mark, 1).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::NeedsAttention, "{error}");
    let identity = Identity { superuser: true, ..Identity::default() };
    let permitted = OdooServer::new(ServerAddress { identity, ..rig.server.address().clone() });
    permitted.fence(&mark, 1).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_needs_attention_and_is_not_told() {
    let rig = Rig::start();
    let mut admin = rig.admin.clone();
    admin.password = "not the right one".into();
    let error = server(admin).admin_connection().await.unwrap_err();
    assert!(matches!(error, OdooError::Refused { .. }), "{error}");
    assert_eq!(error.verdict(), Verdict::NeedsAttention);
    assert!(!format!("{error} {error:?}").contains("not the right one"));
}

#[tokio::test]
async fn the_bootstrap_script_run_again_changes_nothing() {
    let rig = Rig::start();
    let before = testkit::catalog::Snapshot::of_server(&rig.cluster).unwrap();
    rig.cluster.psql("postgres", include_str!("../../../../deploy/postgres2-bootstrap.sql")).unwrap();
    let difference = before.difference(&testkit::catalog::Snapshot::of_server(&rig.cluster).unwrap());
    assert!(difference.is_empty(), "{difference}");
}
