//! 100,000 rows of the earlier service, migrated while its replicas work: how long `migrate` keeps them from the table.
//!
//! Measured is what the server says: a second connection looks again and again which locks on `public.instances` the migration
//! holds that stand in the way of a replica (a table lock that excludes its writes or reads, or the rows that a transaction has
//! changed), and for how long each of its transactions has done so. How long a replica's statement takes is printed, not judged:
//! on a busy machine it waits for the processor.

use crate::legacy::{FIRST, SECOND, earlier, take_over};
use crate::rig::Rig;
use db::migrate::{SchemaState, schema_state};
use sqlx::{Connection as _, Row as _};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use testkit::pair::PLATFORM_DATABASE;
use tokio::sync::watch;

/// How often the locks are looked at.
const LOOK: Duration = Duration::from_millis(2);
/// Longest time that one transaction of a migration may hold what a replica needs.
const BOUND: Duration = Duration::from_secs(1);

/// Both spellings, every word, duplicates, NULL, and values that nobody checked.
const FILL: &str = "INSERT INTO public.instances (customer_id, subscription_id, name, odoo_version, status, billing_status,
        provisioning_status, cpu_limit, memory_limit, admin_email, database_name, service_id, service_name, db_host, environment_vars, created_at)
    SELECT md5('c' || n % 9000)::uuid, CASE WHEN n % 3 > 0 THEN md5('s' || n % 40000)::uuid END, 'Shop ' || n,
           (ARRAY['17.0', '17', '18.0', '16', 'master', NULL])[1 + n % 6],
           (ARRAY['running', 'stopped', 'paused', 'creating', 'terminated', 'error', 'exploded', NULL])[1 + n % 8],
           (ARRAY['pending_payment', 'paid', 'payment_required', 'trial', NULL])[1 + n % 5],
           (ARRAY['pending', 'provisioning', 'half', NULL])[1 + n % 4],
           (ARRAY[1.0, 2.5, 'NaN', NULL])[1 + n % 4], (ARRAY['1G', '512M', '1.5 GiB', NULL])[1 + n % 4],
           'owner@shop.example', 'shop_' || n % 70000, 'svc' || n, 'odoo-shop-' || n % 70000,
           CASE WHEN n % 2 = 0 THEN 'postgres' END, jsonb_build_object('A', repeat('x', 200)), timestamptz '2024-01-01' + n * interval '1 minute'
      FROM generate_series(1, :rows) AS n";

/// What a replica of the earlier service does, one after the other.
const REPLICA: [&str; 3] = [
    "UPDATE public.instances SET status = 'running', updated_at = now() WHERE id = '00000000-0000-4000-8000-000000000001'",
    "INSERT INTO public.instances (customer_id, name, admin_email, database_name) VALUES (gen_random_uuid(), 'New', 'a@b.example', 'new')",
    "SELECT id, customer_id, status, odoo_version, billing_status, cpu_limit FROM public.instances
      WHERE customer_id = '00000000-0000-4000-8000-0000000000c1'",
];

/// Of a transaction that is over (`/0`), locks may be seen that are just being freed. ShareUpdateExclusiveLock (a validation, an index built beside the work) lets both read and write.
const HELD: &str = "SELECT pid, virtualtransaction, extract(epoch FROM clock_timestamp())::float8 AS seen, mode
       FROM pg_locks JOIN pg_stat_activity USING (pid)
      WHERE application_name = 'instance-migrate' AND granted AND relation = 'public.instances'::regclass
        AND mode IN ('RowExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
        AND virtualtransaction NOT LIKE '%/0'";

#[tokio::test]
async fn a_hundred_thousand_rows_are_never_held_for_long() {
    let rig = crowd("100000");
    let (stop, stopped) = watch::channel(false);
    let migration = async {
        let started = Instant::now();
        rig.migrate().await.unwrap();
        stop.send(true).unwrap();
        started.elapsed()
    };
    let (took, held, (calls, slowest)) = tokio::join!(migration, longest_holds(&rig, &stopped), replica(&rig, &stopped));
    println!("migrated in {took:?}: held for {held:?}; {calls} calls of a replica, the slowest {slowest:?}");
    assert!(held.values().all(|held| *held < BOUND), "a transaction of the migration held the table too long: {held:?}");
    assert!(calls > 0, "no replica worked meanwhile");
    assert_eq!(old_spellings(&rig), 0);
    assert_eq!(
        rig.sql("SELECT count(*) FROM pg_constraint WHERE conrelid = 'public.instances'::regclass AND NOT convalidated"),
        "0"
    );
}

/// Values are changed part by part: of a migration that is ended meanwhile some are done, and the next one does the others.
#[tokio::test]
async fn a_migration_ended_between_two_parts_is_completed_by_the_next() {
    let rig = crowd("30000");
    let before = old_spellings(&rig);
    let end = async {
        let mut connection = rig.cluster.superuser(PLATFORM_DATABASE).await.unwrap();
        let mut count = async || sqlx::query_scalar::<_, i64>(OLD_SPELLINGS).fetch_one(&mut connection).await.unwrap();
        while count().await == before {}
        sqlx::raw_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'instance-migrate'")
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    };
    let (ended, ()) = tokio::join!(rig.migrate(), end);
    ended.unwrap_err();
    assert!(old_spellings(&rig) > 0, "ended too late");
    assert_eq!(schema_state(&rig.db).await.unwrap(), SchemaState::TooOld);
    rig.migrate().await.unwrap();
    assert_eq!(old_spellings(&rig), 0);
    assert_eq!(schema_state(&rig.db).await.unwrap(), SchemaState::Fits);
}

fn crowd(rows: &str) -> Rig {
    let rig = earlier(&[FIRST, SECOND]);
    rig.sql(&FILL.replace(":rows", rows));
    // A deployment has statistics.
    rig.sql("ANALYZE public.instances");
    take_over(&rig);
    rig
}

const OLD_SPELLINGS: &str = "SELECT count(*) FROM public.instances
      WHERE name ~ '^Shop [0-9]' AND (odoo_version LIKE '%.0' OR billing_status = 'pending_payment')";

fn old_spellings(rig: &Rig) -> i64 {
    rig.sql(OLD_SPELLINGS).parse().unwrap()
}

/// From the first to the last time that the same transaction was seen with such a lock, by the kind of lock.
async fn longest_holds(rig: &Rig, stopped: &watch::Receiver<bool>) -> BTreeMap<String, Duration> {
    let mut connection = rig.cluster.superuser(PLATFORM_DATABASE).await.unwrap();
    let (mut first, mut longest) = (HashMap::new(), BTreeMap::new());
    let mut looks = tokio::time::interval(LOOK);
    while !*stopped.borrow() {
        looks.tick().await;
        for row in sqlx::query(HELD).fetch_all(&mut connection).await.unwrap() {
            let (pid, transaction, seen, mode): (i32, String, f64, String) = (row.get(0), row.get(1), row.get(2), row.get(3));
            let began: f64 = *first.entry((pid, transaction, mode.clone())).or_insert(seen);
            let held: &mut Duration = longest.entry(mode).or_default();
            *held = Duration::from_secs_f64(seen - began).max(*held);
        }
    }
    assert!(!first.is_empty(), "the migration was never seen at work");
    connection.close().await.unwrap();
    longest
}

async fn replica(rig: &Rig, stopped: &watch::Receiver<bool>) -> (u32, Duration) {
    let mut connection = rig.rows().await;
    let (mut calls, mut slowest) = (0, Duration::ZERO);
    while !*stopped.borrow() {
        for call in REPLICA {
            let started = Instant::now();
            sqlx::raw_sql(call).execute(&mut connection).await.unwrap();
            slowest = slowest.max(started.elapsed());
            calls += 1;
        }
    }
    connection.close().await.unwrap();
    (calls, slowest)
}
