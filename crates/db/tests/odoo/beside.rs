//! Databases beside a live one: made anew, copied, never at the cost of the live one.

use crate::content::odoo_tables;
use crate::rig::{Rig, Tenant};
use db::odoo::{OdooError, Recorded, beside};

#[tokio::test]
async fn one_to_load_a_backup_into_is_empty_each_time() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    let name = beside(&tenant.name, 'n', 1).unwrap();
    let mut fence = rig.fence(&tenant.mark).await;
    let live = fence.catalogue().database(&tenant.name, &tenant.mark).await.unwrap().unwrap().oid;
    let first = fence.create_fresh_database(&name, &tenant.name, &[live]).await.unwrap();
    rig.cluster.psql(name.as_str(), "CREATE TABLE half_loaded (id int)").unwrap();
    let second = fence.create_fresh_database(&name, &tenant.name, &[live]).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(rig.cluster.psql(name.as_str(), "SELECT to_regclass('half_loaded') IS NULL").unwrap(), "t");
    let facts = fence.catalogue().database(&name, &tenant.mark).await.unwrap().unwrap();
    assert!(facts.labelled && facts.owner == tenant.name.as_str());
    let form = "SELECT pg_encoding_to_char(encoding) || datcollate || coalesce(datacl::text, 'default') FROM pg_database WHERE datname = ";
    let form = rig.cluster.psql("postgres", &format!("{form}'{name}'")).unwrap();
    assert_eq!(form, format!("UTF8C{{{0}=CTc/{0}}}", tenant.name), "nothing for PUBLIC");
    let neighbour = rig.tenant().await;
    rig.log_in(&tenant, name.as_str()).await.unwrap();
    assert!(rig.log_in(&neighbour, name.as_str()).await.is_err());
}

#[tokio::test]
async fn neither_the_live_one_nor_a_strangers_is_made_anew() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    let mut fence = rig.fence(&tenant.mark).await;
    let live = fence.catalogue().database(&tenant.name, &tenant.mark).await.unwrap().unwrap().oid;
    let error = fence.create_fresh_database(&tenant.name, &tenant.name, &[7, live]).await.unwrap_err();
    assert!(matches!(error, OdooError::Mismatch { .. }), "{error}");
    let stranger = beside(&tenant.name, 'n', 1).unwrap();
    rig.cluster.psql("postgres", &format!("CREATE DATABASE \"{stranger}\"")).unwrap();
    let error = fence.create_fresh_database(&stranger, &tenant.name, &[live]).await.unwrap_err();
    assert!(matches!(error, OdooError::Foreign { .. }), "{error}");
    assert!(fence.catalogue().database(&tenant.name, &tenant.mark).await.unwrap().is_some());
}

#[tokio::test]
async fn a_copy_has_everything_and_nobody_is_in_the_original_meanwhile() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    odoo_tables(&rig, &tenant);
    let name = beside(&tenant.name, 'n', 1).unwrap();
    let mut fence = rig.fence(&tenant.mark).await;
    let live = fence.catalogue().database(&tenant.name, &tenant.mark).await.unwrap().unwrap().oid;
    let recorded = Recorded { oid: Some(live), owner: &tenant.name };
    let mut theirs = rig.log_in(&tenant, tenant.name.as_str()).await.unwrap();
    let error = fence.copy_database(&tenant.name, recorded, &name).await.unwrap_err();
    assert!(matches!(error, OdooError::Busy { .. }), "{error}");

    fence.shut_database(&tenant.name, recorded).await.unwrap();
    assert!(sqlx::query("SELECT 1").execute(&mut theirs).await.is_err());
    rig.log_in(&tenant, "postgres").await.unwrap();
    let first = fence.copy_database(&tenant.name, recorded, &name).await.unwrap();
    let second = fence.copy_database(&tenant.name, recorded, &name).await.unwrap();
    assert!(first != second && second != live);
    assert!(rig.log_in(&tenant, tenant.name.as_str()).await.is_err());
    let mut copy = rig.log_in(&tenant, name.as_str()).await.unwrap();
    let users: i64 = sqlx::query_scalar("SELECT count(*) FROM res_users").fetch_one(&mut copy).await.unwrap();
    assert_eq!(users, 2);
    fence.open_database(&tenant.name, recorded).await.unwrap();
    let (mut one, mut other) = (
        rig.server.snapshot(&tenant.name, &tenant.name, &tenant.password).await.unwrap(),
        rig.server.snapshot(&name, &tenant.name, &tenant.password).await.unwrap(),
    );
    let (one, other) = (one.data_digest().await.unwrap(), other.data_digest().await.unwrap());
    assert_eq!(one.differences(&other), Default::default());
}

#[tokio::test]
async fn what_is_not_as_recorded_is_not_copied() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    let name = beside(&tenant.name, 'n', 1).unwrap();
    let mut fence = rig.fence(&tenant.mark).await;
    let live = fence.catalogue().database(&tenant.name, &tenant.mark).await.unwrap().unwrap().oid;
    let copy = async |fence: &mut db::odoo::Fence, tenant: &Tenant, oid| {
        let recorded = Recorded { oid: Some(oid), owner: &tenant.name };
        fence.copy_database(&tenant.name, recorded, &name).await.unwrap_err()
    };
    let error = copy(&mut fence, &tenant, live + 1).await;
    assert!(matches!(error, OdooError::Mismatch { .. }), "{error}");
    rig.cluster.psql("postgres", &format!("UPDATE pg_database SET datconnlimit = -2 WHERE oid = {live}")).unwrap();
    let error = copy(&mut fence, &tenant, live).await;
    assert!(matches!(error, OdooError::Missing { .. }), "{error}");
}
