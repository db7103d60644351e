//! Wake-ups as rows: what is written with an operation, and what apalis' own schema makes of it (engine 4 and 6).
#![allow(clippy::unwrap_used, reason = "tests")]

use db::platform::audit::{AuditContext, Door};
use db::platform::operations::{self, Enqueued, NewOperation, Scope};
use db::platform::{PlatformDb, PoolLimits};
use db::queue;
use domain::ids::OperationId;
use domain::operation::{Class, Kind};
use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{PgConnection, Row};
use std::time::Duration;
use testkit::Platform;
use testkit::cluster::Options;
use testkit::pair::PLATFORM_DATABASE;
use uuid::Uuid;

struct Rig {
    platform: Platform,
    db: PlatformDb,
    look: PgConnection,
}

impl Rig {
    async fn start() -> Self {
        let platform = Platform::start(&Options::default()).unwrap();
        let db = PlatformDb::connect_lazy(&platform.platform(), &PoolLimits::default(), "queue-test");
        let look = platform.postgres1.superuser(PLATFORM_DATABASE).await.unwrap();
        Self { platform, db, look }
    }

    async fn count(&mut self, table: &'static str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut self.look).await.unwrap()
    }

    async fn run(&mut self, sql: &'static str) -> u64 {
        sqlx::query(sql).execute(&mut self.look).await.unwrap().rows_affected()
    }

    async fn rows(&mut self) -> [i64; 3] {
        let mut counts = [0; 3];
        let tables = ["instance_service.operations", "instance_service.operation_events", "apalis.jobs"];
        for (count, table) in counts.iter_mut().zip(tables) {
            *count = self.count(table).await;
        }
        counts
    }
}

fn logs_of_nobody() -> NewOperation {
    let id = OperationId::from_uuid(Uuid::from_u128(0x5eed));
    NewOperation {
        id,
        scope: Scope::Own(id),
        instance_id: None,
        kind: Kind::FetchLogs,
        params: serde_json::json!({}),
        priority: 3,
        reason: None,
        trace_parent: None,
    }
}

fn by() -> AuditContext {
    AuditContext { door: Door::Internal, actor: "test".to_owned(), request_id: None }
}

/// T11.
#[tokio::test]
async fn enqueue_is_transactional() {
    let mut rig = Rig::start().await;
    let mut tx = rig.db.begin().await.unwrap();
    assert!(matches!(operations::enqueue(&mut tx, logs_of_nobody(), &by()).await.unwrap(), Enqueued::Accepted(_)));
    drop(tx);
    assert_eq!(rig.rows().await, [0, 0, 0]);

    let pool = PgPoolOptions::new().connect_lazy_with(listening(&rig.platform));
    let mut listener = PgListener::connect_with(&pool).await.unwrap();
    listener.listen("apalis::job::insert").await.unwrap();
    let mut tx = rig.db.begin().await.unwrap();
    assert!(matches!(operations::enqueue(&mut tx, logs_of_nobody(), &by()).await.unwrap(), Enqueued::Accepted(_)));
    assert!(tokio::time::timeout(Duration::from_millis(300), listener.recv()).await.is_err(), "told before the commit");
    assert_eq!(rig.rows().await, [0, 0, 0]);
    tx.commit().await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(5), listener.recv()).await.unwrap().unwrap();
    assert!(told.payload().contains("\"control\""), "{}", told.payload());
    assert_eq!(rig.rows().await, [1, 1, 1]);
}

fn listening(platform: &Platform) -> sqlx::postgres::PgConnectOptions {
    use secrecy::ExposeSecret;
    let endpoint = platform.platform();
    sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .host(&endpoint.host)
        .port(endpoint.port)
        .database(&endpoint.database)
        .username(&endpoint.user)
        .password(endpoint.password.expose_secret())
}

/// T14: the same key twice gives no row, and the transaction goes on.
#[tokio::test]
async fn duplicate_wakeup_keeps_the_transaction() {
    let mut rig = Rig::start().await;
    let new = logs_of_nobody();
    let id = new.id;
    let mut tx = rig.db.begin().await.unwrap();
    assert_eq!(operations::enqueue(&mut tx, new, &by()).await.unwrap(), Enqueued::Accepted(id));
    tx.commit().await.unwrap();
    rig.run("UPDATE instance_service.operations SET wake_no = 0").await;
    let mut tx = rig.db.begin().await.unwrap();
    assert_eq!(queue::wake(&mut tx, &[id]).await.unwrap(), 0);
    assert_eq!(queue::wake(&mut tx, &[id]).await.unwrap(), 1);
    tx.commit().await.unwrap();
    let keys: Vec<String> =
        sqlx::query_scalar("SELECT idempotency_key FROM apalis.jobs ORDER BY 1").fetch_all(&mut rig.look).await.unwrap();
    assert_eq!(keys, [format!("{id}:1"), format!("{id}:2")]);
}

/// Our row is what the library's own insert writes, but for what we set on purpose.
#[tokio::test]
async fn own_insert_matches_library_schema() {
    use apalis_core::backend::TaskSink;
    let mut rig = Rig::start().await;
    let new = logs_of_nobody();
    let id = new.id;
    let mut tx = rig.db.begin().await.unwrap();
    assert_eq!(operations::enqueue(&mut tx, new, &by()).await.unwrap(), Enqueued::Accepted(id));
    tx.commit().await.unwrap();
    let pool = PgPoolOptions::new().connect_lazy_with(listening(&rig.platform));
    let mut library = apalis_postgres::PostgresStorage::<domain::operation::WakeUp>::new(&pool)
        .with_config(queue::fixed_settings(Class::Control));
    library.push(domain::operation::WakeUp { operation_id: id }).await.unwrap();
    let rows = sqlx::query(
        "SELECT length(id) AS id_length, job_type, convert_from(job, 'UTF8')::jsonb AS job, status, attempts, lock_at IS NULL AS free,
                lock_by IS NULL AS unowned, done_at IS NULL AS open, last_result IS NULL AS silent, metadata IS NOT NULL AS has_metadata
           FROM apalis.jobs ORDER BY (idempotency_key IS NULL)",
    )
    .fetch_all(&mut rig.look)
    .await
    .unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].get::<serde_json::Value, _>("job"), serde_json::json!({ "operation_id": id }));
    for column in ["job_type", "status"] {
        assert_eq!(rows[0].get::<String, _>(column), rows[1].get::<String, _>(column), "{column}");
    }
    assert_eq!(rows[0].get::<serde_json::Value, _>("job"), rows[1].get::<serde_json::Value, _>("job"));
    for column in ["id_length", "attempts"] {
        assert_eq!(rows[0].get::<i32, _>(column), rows[1].get::<i32, _>(column), "{column}");
    }
    for column in ["free", "unowned", "open", "silent", "has_metadata"] {
        assert_eq!(rows[0].get::<bool, _>(column), rows[1].get::<bool, _>(column), "{column}");
    }
    // Every column of the table is one that we know: a new one must be looked at.
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT column_name::text FROM information_schema.columns WHERE table_schema = 'apalis' AND table_name = 'jobs' ORDER BY 1",
    )
    .fetch_all(&mut rig.look)
    .await
    .unwrap();
    let known = "attempts done_at id idempotency_key job job_type last_result lock_at lock_by max_attempts metadata priority run_at status";
    assert_eq!(columns.join(" "), known);
}

#[tokio::test]
async fn retention_spares_live_workers() {
    let mut rig = Rig::start().await;
    rig.run(
        "INSERT INTO apalis.workers (id, worker_type, storage_name, last_seen) VALUES
            ('live', 'control', 'PgStorage', now()), ('idle', 'control', 'PgStorage', now() - interval '23 hours'),
            ('dead', 'control', 'PgStorage', now() - interval '2 days'), ('owes', 'control', 'PgStorage', now() - interval '2 days'),
            ('done', 'control', 'PgStorage', now() - interval '9 days')",
    )
    .await;
    rig.run(
        "INSERT INTO apalis.jobs (id, job_type, job, status, lock_by, done_at, run_at, attempts, max_attempts) VALUES
            ('a', 'control', '', 'Running', 'owes', NULL, now() - interval '9 days', 0, 1),
            ('b', 'control', '', 'Done', 'done', now() - interval '8 days', now() - interval '8 days', 1, 1),
            ('c', 'control', '', 'Done', 'live', now() - interval '6 days', now() - interval '6 days', 1, 1),
            ('d', 'control', '', 'Pending', NULL, NULL, now() - interval '30 days', 0, 1),
            ('e', 'control', '', 'Failed', NULL, now() - interval '8 days', now() - interval '8 days', 1, 1),
            ('f', 'control', '', 'Killed', 'live', now() - interval '8 days', now() - interval '8 days', 0, 1)",
    )
    .await;
    let removed = queue::retain(&rig.db).await.unwrap();
    assert_eq!(removed, queue::Removed { jobs: 3, workers: 2 });
    let left: Vec<String> = sqlx::query_scalar("SELECT id FROM apalis.jobs UNION ALL SELECT id FROM apalis.workers ORDER BY 1")
        .fetch_all(&mut rig.look)
        .await
        .unwrap();
    assert_eq!(left, ["a", "c", "d", "idle", "live", "owes"]);
}

#[tokio::test]
async fn migration_histories_are_separate() {
    let mut rig = Rig::start().await;
    let of =
        "SELECT to_regclass('instance_service._migrations') IS NOT NULL AND to_regclass('apalis._sqlx_migrations') IS NOT NULL
                 AND to_regclass('public._sqlx_migrations') IS NULL";
    assert!(sqlx::query_scalar::<_, bool>(of).fetch_one(&mut rig.look).await.unwrap());
    let shared = "SELECT count(*) FROM instance_service._migrations ours JOIN apalis._sqlx_migrations theirs USING (version)";
    assert_eq!(sqlx::query_scalar::<_, i64>(shared).fetch_one(&mut rig.look).await.unwrap(), 0);
}
