//! Tenant databases: cloned from a template, closed, dropped; never somebody else's.

use crate::rig::{Rig, Tenant};
use db::odoo::{DatabaseState, OdooError, Recorded, TenantLimits, Verdict};
use domain::names::PhysicalName;
use std::time::{Duration, Instant};
use testkit::cluster::Options;

/// A finished template with one table in it, made the way a build makes it.
struct Template {
    own: Tenant,
    role: PhysicalName,
    oid: u32,
}

async fn template(rig: &Rig) -> Template {
    let own = Tenant::draw();
    let role = PhysicalName::new(format!("{}_content", own.name)).unwrap();
    let mut fence = rig.fence(&own.mark).await;
    fence.ensure_role(&role, &own.verifier(), &TenantLimits::default()).await.unwrap();
    let oid = fence.create_empty_database(&own.name, &role).await.unwrap();
    fence.inside(&own.name).await.unwrap().create_trigram_extension(&role).await.unwrap();
    let content = format!("SET ROLE \"{role}\"; CREATE TABLE content (id int); GRANT SELECT ON content TO \"{role}\"");
    rig.cluster.psql(own.name.as_str(), &content).unwrap();
    fence.finalise_template(&own.name, &role).await.unwrap();
    Template { own, role, oid }
}

async fn role_only(rig: &Rig) -> Tenant {
    let tenant = Tenant::draw();
    let mut fence = rig.fence(&tenant.mark).await;
    fence.ensure_role(&tenant.name, &tenant.verifier(), &TenantLimits::default()).await.unwrap();
    fence.release().await.unwrap();
    tenant
}

fn unrecorded(tenant: &Tenant) -> Recorded<'_> {
    Recorded { oid: None, owner: &tenant.name }
}

#[tokio::test]
async fn a_clone_belongs_to_the_tenant_with_everything_in_it() {
    let rig = Rig::start();
    let (template, tenant) = (template(&rig).await, role_only(&rig).await);
    let mut fence = rig.fence(&tenant.mark).await;
    let oid = fence.clone_database(&tenant.name, &template.own.name, &tenant.name).await.unwrap();
    assert_eq!(fence.clone_database(&tenant.name, &template.own.name, &tenant.name).await.unwrap(), oid);

    let mut inside = fence.inside(&tenant.name).await.unwrap();
    assert!(inside.reader().objects_of(&template.role).await.unwrap() > 0);
    for _ in 0..2 {
        inside.take_ownership(&template.role, &tenant.name).await.unwrap();
        assert_eq!(inside.reader().objects_of(&template.role).await.unwrap(), 0);
    }
    let owners = "SELECT string_agg(DISTINCT pg_get_userbyid(o), ',') FROM
        (SELECT relowner o FROM pg_class WHERE relname = 'content' UNION ALL SELECT extowner FROM pg_extension WHERE extname = 'pg_trgm') x";
    assert_eq!(rig.cluster.psql(tenant.name.as_str(), owners).unwrap(), tenant.name.as_str());
    // The template stays what it was, so a second clone works.
    assert_eq!(fence.catalogue().template_fault(&template.own.name, &template.own.mark, template.oid).await.unwrap(), None);
    let mut theirs = rig.log_in(&tenant, tenant.name.as_str()).await.unwrap();
    sqlx::query("CREATE TABLE more (id int)").execute(&mut theirs).await.unwrap();
}

#[tokio::test]
async fn content_is_not_handed_over_while_its_role_owns_a_database() {
    let rig = Rig::start();
    let (template, tenant) = (template(&rig).await, role_only(&rig).await);
    let mut fence = rig.fence(&tenant.mark).await;
    fence.clone_database(&tenant.name, &template.own.name, &tenant.name).await.unwrap();
    rig.cluster.psql("postgres", &format!("CREATE DATABASE stray OWNER \"{}\"", template.role)).unwrap();
    let error = fence.inside(&tenant.name).await.unwrap().take_ownership(&template.role, &tenant.name).await.unwrap_err();
    assert!(matches!(&error, OdooError::Blocked { holders, .. } if holders == &["stray"]), "{error}");
}

#[tokio::test]
async fn a_clone_interrupted_before_its_label_is_taken_up() {
    let rig = Rig::start();
    let (template, tenant) = (template(&rig).await, role_only(&rig).await);
    let half = format!(
        "SET ROLE odoo_admin; CREATE DATABASE \"{0}\" TEMPLATE \"{1}\" OWNER \"{0}\" ALLOW_CONNECTIONS false",
        tenant.name, template.own.name
    );
    rig.cluster.psql("postgres", &half.replace("; ", ";\n")).unwrap();
    let mut fence = rig.fence(&tenant.mark).await;
    let state = fence.catalogue().database_state(&tenant.name, unrecorded(&tenant), &tenant.mark).await.unwrap();
    assert!(matches!(state, DatabaseState::Half(_)), "{state:?}");
    fence.clone_database(&tenant.name, &template.own.name, &tenant.name).await.unwrap();
    let facts = fence.catalogue().database(&tenant.name, &tenant.mark).await.unwrap().unwrap();
    assert!(facts.allows_connections && facts.labelled);
}

#[tokio::test]
async fn what_an_interrupted_drop_left_is_dropped_and_made_anew() {
    let rig = Rig::start();
    let (template, tenant) = (template(&rig).await, role_only(&rig).await);
    let mut fence = rig.fence(&tenant.mark).await;
    let first = fence.clone_database(&tenant.name, &template.own.name, &tenant.name).await.unwrap();
    rig.cluster.psql("postgres", &format!("UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{}'", tenant.name)).unwrap();
    let second = fence.clone_database(&tenant.name, &template.own.name, &tenant.name).await.unwrap();
    assert_ne!(first, second);
    rig.log_in(&tenant, tenant.name.as_str()).await.unwrap();
}

#[tokio::test]
async fn a_missing_or_invalid_template_is_named() {
    let rig = Rig::start();
    let (template, tenant) = (template(&rig).await, role_only(&rig).await);
    let mut fence = rig.fence(&tenant.mark).await;
    let missing = PhysicalName::new("no_such_template").unwrap();
    let error = fence.clone_database(&tenant.name, &missing, &tenant.name).await.unwrap_err();
    assert!(matches!(error, OdooError::TemplateUnusable { .. }), "{error}");
    let (name, mark) = (&template.own.name, &template.own.mark);
    rig.cluster.psql("postgres", &format!("UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{name}'")).unwrap();
    let error = fence.clone_database(&tenant.name, name, &tenant.name).await.unwrap_err();
    assert!(matches!(error, OdooError::TemplateUnusable { .. }), "{error}");
    let fault = fence.catalogue().template_fault(name, mark, template.oid).await.unwrap();
    assert_eq!(fault.as_deref(), Some("its drop was interrupted"));
}

#[tokio::test]
async fn a_template_finished_or_not_goes_without_a_trace() {
    let rig = Rig::start();
    let before = testkit::catalog::Snapshot::of_server(&rig.cluster).unwrap();
    let finished = template(&rig).await;
    let mut fence = rig.fence(&finished.own.mark).await;
    fence.finalise_template(&finished.own.name, &finished.role).await.unwrap();
    for _ in 0..2 {
        fence.drop_template(&finished.own.name, &finished.role, Some(finished.oid)).await.unwrap();
        fence.drop_role(&finished.role).await.unwrap();
    }
    let half = rig.tenant().await;
    let mut fence = rig.fence(&half.mark).await;
    fence.drop_template(&half.name, &half.name, None).await.unwrap();
    fence.drop_role(&half.name).await.unwrap();
    let difference = before.difference(&testkit::catalog::Snapshot::of_server(&rig.cluster).unwrap());
    assert!(difference.is_empty(), "{difference}");
}

#[tokio::test]
async fn a_strangers_database_is_neither_adopted_nor_closed_nor_dropped() {
    let rig = Rig::start();
    let (template, tenant) = (template(&rig).await, role_only(&rig).await);
    rig.cluster.psql("postgres", &format!("CREATE DATABASE \"{}\"", tenant.name)).unwrap();
    let mut fence = rig.fence(&tenant.mark).await;
    let error = fence.clone_database(&tenant.name, &template.own.name, &tenant.name).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::Permanent, "{error}");
    let error = fence.close_database(&tenant.name, unrecorded(&tenant)).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::NeedsAttention, "{error}");
    let error = fence.drop_database(&tenant.name, unrecorded(&tenant)).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::NeedsAttention, "{error}");
    let facts = fence.catalogue().database(&tenant.name, &tenant.mark).await.unwrap().unwrap();
    assert!(facts.allows_connections);
}

/// The owner of a database may change its comment, and take it away.
#[tokio::test]
async fn a_tenant_that_changes_its_label_is_closed_and_dropped_all_the_same() {
    let rig = Rig::start();
    for comment in ["'of mine'", "NULL"] {
        let tenant = rig.tenant().await;
        let mut fence = rig.fence(&tenant.mark).await;
        let oid = fence.catalogue().database(&tenant.name, &tenant.mark).await.unwrap().unwrap().oid;
        let recorded = Recorded { oid: Some(oid), owner: &tenant.name };
        let mut theirs = rig.log_in(&tenant, tenant.name.as_str()).await.unwrap();
        let change = format!("COMMENT ON DATABASE \"{}\" IS {comment}", tenant.name);
        sqlx::query(sqlx::AssertSqlSafe(change)).execute(&mut theirs).await.unwrap();

        // What was never recorded is known by its label only; but nobody logs in any more, and the text goes nowhere.
        let error = fence.close_database(&tenant.name, unrecorded(&tenant)).await.unwrap_err();
        assert!(matches!(error, OdooError::Mismatch { .. }) && !error.to_string().contains("of mine"), "{error}");
        assert!(rig.log_in(&tenant, tenant.name.as_str()).await.is_err());

        fence.close_database(&tenant.name, recorded).await.unwrap();
        assert!(sqlx::query("SELECT 1").execute(&mut theirs).await.is_err());
        fence.verify_database(&tenant.name, recorded).await.unwrap();
        fence.drop_database(&tenant.name, recorded).await.unwrap();
        assert!(fence.catalogue().database(&tenant.name, &tenant.mark).await.unwrap().is_none());
        fence.drop_role(&tenant.name).await.unwrap();
    }
}

#[tokio::test]
async fn a_database_with_the_recorded_oid_of_a_strangers_role_is_a_strangers() {
    let rig = Rig::start();
    let (tenant, stranger) = (Tenant::draw(), Tenant::draw());
    rig.cluster.psql("postgres", &format!("CREATE ROLE \"{}\"", stranger.name)).unwrap();
    rig.cluster.psql("postgres", &format!("CREATE DATABASE \"{}\" OWNER \"{}\"", tenant.name, stranger.name)).unwrap();
    let mut fence = rig.fence(&tenant.mark).await;
    let oid = fence.catalogue().database(&tenant.name, &tenant.mark).await.unwrap().unwrap().oid;
    let recorded = Recorded { oid: Some(oid), owner: &stranger.name };
    let error = fence.drop_database(&tenant.name, recorded).await.unwrap_err();
    assert!(matches!(error, OdooError::Mismatch { .. }), "{error}");
}

#[tokio::test]
async fn databases_are_made_a_few_at_a_time() {
    let rig = Rig::start();
    let tenant = role_only(&rig).await;
    let mut others = rig.cluster.superuser("ois").await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(2, n) FROM generate_series(1, 4) n").execute(&mut others).await.unwrap();
    let mut fence = rig.fence(&tenant.mark).await;
    let error = fence.create_empty_database(&tenant.name, &tenant.name).await.unwrap_err();
    assert!(matches!(error, OdooError::Busy { .. }), "{error}");
    sqlx::query("SELECT pg_advisory_unlock(2, 3)").execute(&mut others).await.unwrap();
    fence.create_empty_database(&tenant.name, &tenant.name).await.unwrap();
    // The place is free again while the fence is still held.
    sqlx::query("SET lock_timeout = '10s'").execute(&mut others).await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(2, 3)").execute(&mut others).await.unwrap();
}

#[tokio::test]
async fn another_oid_or_owner_stops_the_drop() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    let mut fence = rig.fence(&tenant.mark).await;
    let facts = fence.catalogue().database(&tenant.name, &tenant.mark).await.unwrap().unwrap();
    let other_oid = Recorded { oid: Some(facts.oid + 1), owner: &tenant.name };
    let error = fence.drop_database(&tenant.name, other_oid).await.unwrap_err();
    assert!(matches!(error, OdooError::Mismatch { .. }), "{error}");
    rig.cluster.psql("postgres", &format!("ALTER DATABASE \"{}\" OWNER TO odoo_admin", tenant.name)).unwrap();
    let error = fence.drop_database(&tenant.name, unrecorded(&tenant)).await.unwrap_err();
    assert!(matches!(error, OdooError::Mismatch { .. }), "{error}");
    assert!(fence.catalogue().database(&tenant.name, &tenant.mark).await.unwrap().is_some());
}

#[tokio::test]
async fn closing_ends_sessions_and_lets_none_in_again() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    let mut inside = rig.log_in(&tenant, tenant.name.as_str()).await.unwrap();
    let mut listening = rig.log_in(&tenant, "postgres").await.unwrap();
    let mut fence = rig.fence(&tenant.mark).await;
    for _ in 0..2 {
        fence.close_database(&tenant.name, unrecorded(&tenant)).await.unwrap();
    }
    for session in [&mut inside, &mut listening] {
        assert!(sqlx::query("SELECT 1").execute(session).await.is_err());
    }
    assert!(rig.log_in(&tenant, tenant.name.as_str()).await.is_err());
    assert!(rig.log_in(&tenant, "postgres").await.is_err());
}

#[tokio::test]
async fn a_prepared_transaction_blocks_a_drop_by_name() {
    let options = testkit::cluster::Options {
        settings: vec![("max_prepared_transactions".to_owned(), "2".to_owned())],
        ..Default::default()
    };
    let rig = Rig::with(&options);
    let tenant = rig.tenant().await;
    rig.cluster.psql(tenant.name.as_str(), "BEGIN; CREATE TABLE t (id int); PREPARE TRANSACTION 'half done'").unwrap();
    let mut fence = rig.fence(&tenant.mark).await;
    let error = fence.drop_database(&tenant.name, unrecorded(&tenant)).await.unwrap_err();
    assert!(matches!(&error, OdooError::Blocked { holders, .. } if holders == &["prepared transaction half done"]), "{error}");
    rig.cluster.psql(tenant.name.as_str(), "ROLLBACK PREPARED 'half done'").unwrap();
    fence.drop_database(&tenant.name, unrecorded(&tenant)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_down_is_unreachable_not_empty() {
    let mut rig = Rig::start();
    let tenant = rig.tenant().await;
    let mut open = rig.server.admin_connection().await.unwrap();
    rig.cluster.stop(testkit::server::Stop::Fast).unwrap();
    let error = open.database(&tenant.name, &tenant.mark).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::Snooze, "{error}");
    let error = rig.server.admin_connection().await.unwrap_err();
    assert!(matches!(error, OdooError::Unreachable { .. }), "{error}");
    rig.cluster.start_again().unwrap();
    assert!(rig.server.admin_connection().await.unwrap().database(&tenant.name, &tenant.mark).await.unwrap().is_some());
}

#[tokio::test]
async fn a_session_that_is_not_ours_to_end_makes_a_drop_wait() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    let operator = rig.cluster.superuser(tenant.name.as_str()).await.unwrap();
    let mut fence = rig.fence(&tenant.mark).await;
    fence.close_database(&tenant.name, unrecorded(&tenant)).await.unwrap();
    let error = fence.drop_database(&tenant.name, unrecorded(&tenant)).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::Snooze, "{error}");
    drop(operator);
    fence.drop_database(&tenant.name, unrecorded(&tenant)).await.unwrap();
}

/// A vacuum that the server runs by itself is a session of nobody's, and FORCE may not end it; a plain drop does.
#[tokio::test]
async fn a_database_under_vacuum_is_dropped() {
    let settings = [("autovacuum", "on"), ("autovacuum_naptime", "1s")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let rig = Rig::with(&Options { settings: settings.to_vec(), ..Options::default() });
    let tenant = rig.tenant().await;
    let slow = "CREATE TABLE slow WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1,
                                        autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)
                    AS SELECT generate_series(1, 100000) AS n;
                DELETE FROM slow WHERE n % 2 = 0;";
    rig.cluster.psql(tenant.name.as_str(), slow).unwrap();
    let vacuum = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND datname = ";
    let deadline = Instant::now() + Duration::from_secs(60);
    while rig.cluster.psql("postgres", &format!("{vacuum}'{}'", tenant.name)).unwrap() != "1" {
        assert!(Instant::now() < deadline, "nothing is vacuumed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut fence = rig.fence(&tenant.mark).await;
    fence.drop_database(&tenant.name, unrecorded(&tenant)).await.unwrap();
    assert!(fence.catalogue().database(&tenant.name, &tenant.mark).await.unwrap().is_none());
}
