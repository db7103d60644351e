//! Bringing the schema up to date: an empty database, repetition, two at once, a dead one in the way, and the rights afterwards.

use crate::rig::{Rig, raw};
use db::migrate::{MigrateError, Patience, SchemaState, run, run_patiently, schema_state};
use sqlx::Connection as _;
use std::time::Duration;
use testkit::pair::{OWNER, READER, SERVICE};

#[tokio::test]
async fn an_empty_database_is_filled_and_a_second_run_changes_nothing() {
    let rig = Rig::empty();
    assert_eq!(schema_state(&rig.db).await.unwrap(), SchemaState::TooOld);
    rig.migrate().await.unwrap();
    assert_eq!(schema_state(&rig.db).await.unwrap(), SchemaState::Fits);
    let schema = "SELECT string_agg(format('%s %s %s', attrelid::regclass, attname, atttypid), ' ' ORDER BY attrelid, attnum)
                    FROM pg_attribute WHERE attrelid > 16384";
    let before = rig.sql(schema);
    rig.migrate().await.unwrap();
    assert_eq!(rig.sql(schema), before);
    assert_eq!(schema_state(&rig.db).await.unwrap(), SchemaState::Fits);
    rig.created(raw("shop")).await;
}

#[tokio::test]
async fn histories_are_separate() {
    let rig = Rig::start();
    assert_eq!(rig.sql("SELECT max(version) < 100 FROM instance_service._migrations"), "t");
    assert_eq!(rig.sql("SELECT min(version) > 20000000000000 FROM apalis._sqlx_migrations"), "t");
}

#[tokio::test]
async fn an_older_and_a_newer_schema_are_told_apart() {
    let rig = Rig::start();
    rig.sql("UPDATE apalis._sqlx_migrations SET version = version + 1 WHERE version = (SELECT max(version) FROM apalis._sqlx_migrations)");
    assert_eq!(schema_state(&rig.db).await.unwrap(), SchemaState::TooNew);
    rig.sql("DELETE FROM apalis._sqlx_migrations WHERE version = (SELECT max(version) FROM apalis._sqlx_migrations)");
    assert_eq!(schema_state(&rig.db).await.unwrap(), SchemaState::TooOld);
    rig.sql("INSERT INTO instance_service._migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', true, '', 0)");
    assert_eq!(schema_state(&rig.db).await.unwrap(), SchemaState::TooNew);
    assert!(matches!(rig.migrate().await, Err(MigrateError::Newer(9999))));
}

#[tokio::test]
async fn an_unreachable_server_is_not_an_old_schema() {
    let mut rig = Rig::start();
    rig.cluster.stop(testkit::Stop::Fast).unwrap();
    assert!(schema_state(&rig.db).await.unwrap_err().is_unreachable());
}

#[tokio::test]
async fn two_at_once_wait_for_each_other() {
    let rig = Rig::empty();
    let owner = rig.owner_endpoint();
    let (first, second) = tokio::join!(run(&owner, SERVICE), run(&owner, SERVICE));
    first.unwrap();
    second.unwrap();
    assert_eq!(schema_state(&rig.db).await.unwrap(), SchemaState::Fits);
}

/// Class 3, key 0: what a `migrate` holds.
const TAKE_LOCK: &str = "SELECT pg_advisory_lock(3, 0)";

#[tokio::test]
async fn a_dead_starter_that_holds_the_lock_is_ended() {
    let rig = Rig::empty();
    let mut dead = owner_session(&rig).await;
    sqlx::query(TAKE_LOCK).execute(&mut dead).await.unwrap();
    let patience = Patience {
        idle: Duration::from_millis(200),
        total: Duration::from_secs(60),
        pause: Duration::from_millis(20),
        ..Patience::default()
    };
    run_patiently(&rig.owner_endpoint(), SERVICE, &patience).await.unwrap();
    assert!(dead.ping().await.is_err(), "the dead one's session was ended");
}

#[tokio::test]
async fn a_starter_at_work_is_left_alone() {
    let rig = Rig::empty();
    let mut other = owner_session(&rig).await;
    sqlx::query(TAKE_LOCK).execute(&mut other).await.unwrap();
    let patience = Patience {
        idle: Duration::from_millis(50),
        total: Duration::from_millis(600),
        pause: Duration::from_millis(20),
        ..Patience::default()
    };
    let owner = rig.owner_endpoint();
    let (worked, refused) =
        tokio::join!(sqlx::query("SELECT pg_sleep(1.5)").execute(&mut other), run_patiently(&owner, SERVICE, &patience));
    worked.unwrap();
    assert!(matches!(refused, Err(MigrateError::Busy(_))), "{refused:?}");
}

async fn owner_session(rig: &Rig) -> sqlx::PgConnection {
    use secrecy::ExposeSecret as _;
    use sqlx::ConnectOptions as _;
    sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(rig.cluster.port())
        .database(testkit::pair::PLATFORM_DATABASE)
        .username(OWNER)
        .password(rig.owner.expose_secret())
        .ssl_mode(sqlx::postgres::PgSslMode::Disable)
        .connect()
        .await
        .unwrap()
}

#[tokio::test]
async fn what_is_missing_is_said_in_clear_words() {
    let rig = Rig::empty();
    let unknown = run(&rig.owner_endpoint(), "nobody").await.unwrap_err();
    assert!(unknown.to_string().contains("role nobody does not exist"), "{unknown}");
    rig.sql("REVOKE CREATE ON SCHEMA public FROM instance_owner");
    let not_allowed = rig.migrate().await.unwrap_err();
    assert!(matches!(not_allowed, MigrateError::NotAllowed(ref role) if role == OWNER), "{not_allowed}");
}

#[tokio::test]
async fn the_runtime_role_works_on_rows_and_on_nothing_else() {
    let rig = Rig::start();
    for allowed in [
        "INSERT INTO instance_service.settings (name, value) VALUES ('a', '1')",
        "UPDATE instance_service.settings SET value = '2'",
        "DELETE FROM instance_service.settings",
        "INSERT INTO instance_service.audit_log (door, actor, action) VALUES ('worker', 'w', 'test')",
        "SELECT * FROM instance_service.audit_log",
        "SELECT version FROM instance_service._migrations",
        "SELECT apalis.generate_ulid()",
        "DELETE FROM apalis.jobs",
    ] {
        rig.sql_as(SERVICE, allowed).await.unwrap_or_else(|error| panic!("{allowed}: {error}"));
    }
    for refused in [
        "UPDATE instance_service.audit_log SET actor = 'x'",
        "DELETE FROM instance_service.audit_log",
        "TRUNCATE instance_service.audit_log",
        "DELETE FROM public.instances",
        "UPDATE instance_service._migrations SET success = false",
        "DELETE FROM apalis._sqlx_migrations",
        "CREATE TABLE public.t ()",
        "CREATE TABLE instance_service.t ()",
        "CREATE TABLE apalis.t ()",
        "CREATE TEMP TABLE t ()",
        "CREATE SCHEMA s",
        "ALTER TABLE public.instances ADD COLUMN c text",
        "DROP TABLE instance_service.outbox",
        "ALTER TABLE instance_service.audit_log DISABLE TRIGGER ALL",
    ] {
        let error = rig.sql_as(SERVICE, refused).await.expect_err(refused);
        assert!(error.contains("permission denied") || error.contains("must be owner"), "{refused}: {error}");
    }
}

#[tokio::test]
async fn the_reader_sees_everything_but_the_secret_columns() {
    let rig = Rig::start();
    rig.created(raw("shop")).await;
    for allowed in
        ["SELECT id, status, hostname, phase FROM public.instances", "SELECT id, state, kind FROM instance_service.operations"]
    {
        rig.sql_as(READER, allowed).await.unwrap_or_else(|error| panic!("{allowed}: {error}"));
    }
    for refused in [
        "SELECT * FROM public.instances",
        "SELECT db_secret FROM public.instances",
        "SELECT admin_password FROM public.instances",
        "SELECT environment_vars FROM public.instances",
        "SELECT secret FROM instance_service.outbox",
        "SELECT output FROM instance_service.operation_steps",
        "SELECT result FROM instance_service.operations",
        "SELECT error FROM instance_service.operations",
        "SELECT error FROM instance_service.operation_steps",
        "SELECT body FROM instance_service.idempotency_keys",
        "UPDATE public.instances SET name = 'x'",
    ] {
        let error = rig.sql_as(READER, refused).await.expect_err(refused);
        assert!(error.contains("permission denied"), "{refused}: {error}");
    }
}

#[tokio::test]
async fn strangers_may_not_enter() {
    let rig = Rig::start();
    rig.sql("CREATE ROLE stranger LOGIN");
    assert_eq!(rig.sql("SELECT has_database_privilege('stranger', 'instance', 'CONNECT')"), "f");
}
