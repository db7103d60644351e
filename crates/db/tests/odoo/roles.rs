//! Tenant roles: made whole, logged in to for real, dropped with all that hangs on them.

use crate::rig::{Rig, Tenant};
use db::odoo::{OdooError, Recorded, RoleState, TenantLimits, Verdict};
use domain::names::PhysicalName;
use testkit::catalog::Snapshot;

fn unrecorded(tenant: &Tenant) -> Recorded<'_> {
    Recorded { oid: None, owner: &tenant.name }
}

#[tokio::test]
async fn a_role_can_log_in_and_is_gone_without_a_trace_when_dropped() {
    let rig = Rig::start();
    let before = Snapshot::of_server(&rig.cluster).unwrap();
    let tenant = rig.tenant().await;
    rig.log_in(&tenant, tenant.name.as_str()).await.unwrap();

    let mut fence = rig.fence(&tenant.mark).await;
    fence.close_database(&tenant.name, unrecorded(&tenant)).await.unwrap();
    fence.drop_database(&tenant.name, unrecorded(&tenant)).await.unwrap();
    fence.drop_role(&tenant.name).await.unwrap();
    let difference = before.difference(&Snapshot::of_server(&rig.cluster).unwrap());
    assert!(difference.is_empty(), "{difference}");
}

#[tokio::test]
async fn every_action_twice_leaves_the_same() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    let once = Snapshot::of_server(&rig.cluster).unwrap();
    let mut fence = rig.fence(&tenant.mark).await;
    fence.ensure_role(&tenant.name, &tenant.verifier(), &TenantLimits::default()).await.unwrap();
    fence.create_empty_database(&tenant.name, &tenant.name).await.unwrap();
    let difference = once.difference(&Snapshot::of_server(&rig.cluster).unwrap());
    assert!(difference.is_empty(), "{difference}");
    rig.log_in(&tenant, tenant.name.as_str()).await.unwrap();
    for _ in 0..2 {
        fence.close_database(&tenant.name, unrecorded(&tenant)).await.unwrap();
    }
    for _ in 0..2 {
        fence.drop_database(&tenant.name, unrecorded(&tenant)).await.unwrap();
    }
    for _ in 0..2 {
        fence.drop_role(&tenant.name).await.unwrap();
    }
}

#[tokio::test]
async fn a_password_set_again_replaces_the_old_one() {
    let rig = Rig::start();
    let old = rig.tenant().await;
    let new = Tenant { password: "another one".into(), name: old.name.clone(), mark: old.mark.clone() };
    let mut fence = rig.fence(&new.mark).await;
    fence.ensure_role(&new.name, &new.verifier(), &TenantLimits::default()).await.unwrap();
    assert!(rig.log_in(&old, "postgres").await.is_err());
    rig.log_in(&new, "postgres").await.unwrap();
}

#[tokio::test]
async fn a_strangers_role_is_neither_adopted_nor_dropped() {
    let rig = Rig::start();
    let tenant = Tenant::draw();
    rig.cluster.psql("postgres", &format!("CREATE ROLE \"{}\" LOGIN", tenant.name)).unwrap();
    let mut fence = rig.fence(&tenant.mark).await;
    let error = fence.ensure_role(&tenant.name, &tenant.verifier(), &TenantLimits::default()).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::Permanent, "{error}");
    let error = fence.drop_role(&tenant.name).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::NeedsAttention, "{error}");
    assert_eq!(fence.catalogue().role(&tenant.name, &tenant.mark).await.unwrap(), RoleState::Foreign);
}

#[tokio::test]
async fn what_a_role_owns_or_was_granted_elsewhere_does_not_keep_it_alive() {
    let rig = Rig::start();
    let (tenant, neighbour) = (rig.tenant().await, rig.tenant().await);
    // A neighbour may grant on its own database, and with it the right to leave objects there.
    let mut theirs = rig.log_in(&neighbour, neighbour.name.as_str()).await.unwrap();
    let grant = format!(
        "GRANT CONNECT ON DATABASE \"{0}\" TO \"{1}\"; GRANT CREATE ON SCHEMA public TO \"{1}\"",
        neighbour.name, tenant.name
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(grant)).execute(&mut theirs).await.unwrap();
    let mut ours = rig.log_in(&tenant, neighbour.name.as_str()).await.unwrap();
    sqlx::query("CREATE TABLE public.left_there (id int)").execute(&mut ours).await.unwrap();
    // The trap: whoever comes to own it lends its rights to the neighbour.
    let trap = "CREATE FUNCTION public.trap(sql text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN EXECUTE sql; END'";
    sqlx::query(trap).execute(&mut ours).await.unwrap();

    let mut fence = rig.fence(&tenant.mark).await;
    fence.close_database(&tenant.name, unrecorded(&tenant)).await.unwrap();
    fence.drop_database(&tenant.name, unrecorded(&tenant)).await.unwrap();
    fence.drop_role(&tenant.name).await.unwrap();
    assert_eq!(fence.catalogue().role(&tenant.name, &tenant.mark).await.unwrap(), RoleState::Absent);
    let left = "SELECT (SELECT count(*) FROM pg_proc WHERE proname = 'trap') + (SELECT count(*) FROM pg_tables WHERE tablename = 'left_there')";
    assert_eq!(rig.cluster.psql(neighbour.name.as_str(), left).unwrap(), "0");
    let admins = "SELECT count(*) FROM pg_shdepend WHERE refobjid = 'odoo_admin'::regrole AND deptype = 'o' AND dbid <> 0";
    assert_eq!(rig.cluster.psql("postgres", admins).unwrap(), "0", "nothing in a tenant's database is the admin's");
}

/// A role with a table in a neighbour's database.
async fn guest(rig: &Rig, neighbour: &Tenant) -> Tenant {
    let guest = rig.tenant().await;
    let mut fence = rig.fence(&guest.mark).await;
    fence.drop_database(&guest.name, unrecorded(&guest)).await.unwrap();
    fence.release().await.unwrap();
    let table = format!("CREATE TABLE public.theirs (id int); ALTER TABLE public.theirs OWNER TO \"{}\"", guest.name);
    rig.cluster.psql(neighbour.name.as_str(), &table).unwrap();
    guest
}

#[tokio::test]
async fn what_others_depend_on_keeps_a_role_by_name() {
    let rig = Rig::start();
    let neighbour = rig.tenant().await;
    let guest = guest(&rig, &neighbour).await;
    rig.cluster.psql(neighbour.name.as_str(), "CREATE VIEW public.needs AS SELECT * FROM public.theirs").unwrap();
    let error = rig.fence(&guest.mark).await.drop_role(&guest.name).await.unwrap_err();
    let expected = format!("objects in {} that others depend on", neighbour.name);
    assert!(matches!(&error, OdooError::Blocked { holders, .. } if *holders == [expected]), "{error}");
}

#[tokio::test]
async fn a_database_that_lets_nobody_in_keeps_a_role_by_name() {
    let rig = Rig::start();
    let neighbour = rig.tenant().await;
    let guest = guest(&rig, &neighbour).await;
    rig.cluster.psql("postgres", &format!("ALTER DATABASE \"{}\" ALLOW_CONNECTIONS false", neighbour.name)).unwrap();
    let error = rig.fence(&guest.mark).await.drop_role(&guest.name).await.unwrap_err();
    let expected = format!("objects in {}, which lets nobody in", neighbour.name);
    assert!(matches!(&error, OdooError::Blocked { holders, .. } if *holders == [expected]), "{error}");
}

#[tokio::test]
async fn a_role_that_owns_a_database_is_not_dropped() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    let error = rig.fence(&tenant.mark).await.drop_role(&tenant.name).await.unwrap_err();
    assert!(matches!(&error, OdooError::Blocked { holders, .. } if holders == &[tenant.name.to_string()]), "{error}");
}

#[tokio::test]
async fn hostile_names_are_names() {
    let rig = Rig::start();
    for name in ["a\"; DROP ROLE odoo_admin; --", "x'y\\z", "Ünïcödé 名前", "../../etc/passwd", "select"] {
        let tenant = Tenant::named(PhysicalName::new(name).unwrap());
        let before = Snapshot::of_server(&rig.cluster).unwrap();
        let mut fence = rig.fence(&tenant.mark).await;
        fence.ensure_role(&tenant.name, &tenant.verifier(), &TenantLimits::default()).await.unwrap();
        fence.create_empty_database(&tenant.name, &tenant.name).await.unwrap();
        rig.log_in(&tenant, name).await.unwrap();
        fence.close_database(&tenant.name, unrecorded(&tenant)).await.unwrap();
        fence.drop_database(&tenant.name, unrecorded(&tenant)).await.unwrap();
        fence.drop_role(&tenant.name).await.unwrap();
        let difference = before.difference(&Snapshot::of_server(&rig.cluster).unwrap());
        assert!(difference.is_empty(), "{name}: {difference}");
    }
}
