//! Wake-ups through apalis: the regression tests of engine 4 that need no process of their own.

use crate::rig::{Act, Rig, hurried, until};
use async_trait::async_trait;
use db::queue::{self, QueuePool};
use domain::ids::OperationId;
use domain::operation::{Class, Kind, State};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use worker::engine::{Apalis, Handler, Transport};

fn one_slot(owner: &str) -> worker::engine::EngineSettings {
    let mut settings = hurried(owner);
    settings.slots.provision = 1;
    settings
}

fn owner() -> String {
    worker::engine::EngineSettings::owner("host", &bootstrap::SystemClock, &bootstrap::OsEntropy)
}

/// T2.
#[tokio::test(flavor = "multi_thread")]
async fn worker_name_is_new_at_each_start() {
    let rig = Rig::start();
    let first = rig.run_apalis_with(hurried(&owner()), SHORT_BEAT);
    let id = rig.provision().await;
    rig.reaches(id, State::Succeeded).await;
    // Not drained: as a killed process leaves it.
    first.task.abort();
    let _second = rig.run_apalis_with(hurried(&owner()), SHORT_BEAT);
    let id = rig.provision().await;
    rig.reaches(id, State::Succeeded).await;
    let names = rig.psql("SELECT count(*) || ' ' || count(DISTINCT id) FROM apalis.workers WHERE worker_type = 'provision'");
    assert_eq!(names, "2 2");
    // A row whose end the first could not write any more is found by the second, because its name is another.
    let idle = async || rig.psql("SELECT count(*) FROM apalis.jobs WHERE status <> 'Done'") == "0";
    assert!(until(Duration::from_secs(20), idle).await, "{}", rig.psql("SELECT array_agg(j) FROM apalis.jobs j"));
}

/// T4: the body outlasts the time after which a worker that stopped its heartbeat counts as dead.
#[tokio::test(flavor = "multi_thread")]
async fn long_job_runs_once() {
    let rig = Rig::start();
    rig.world.script("apply a", &[Act::Sleep(9_000)]);
    let _workers = [rig.run_apalis_with(hurried("one"), SHORT_BEAT), rig.run_apalis_with(hurried("two"), SHORT_BEAT)];
    let id = rig.provision().await;
    rig.reaches(id, State::Succeeded).await;
    assert_eq!(rig.world.times("apply a").len(), 1);
    assert_eq!(rig.get(id).await.lease_token, Some(1));
    assert_eq!(rig.psql("SELECT max(attempts) FROM apalis.jobs"), "1", "a wake-up was handed out a second time");
}

/// T5.
#[tokio::test(flavor = "multi_thread")]
async fn blocking_step_is_isolated() {
    let rig = Rig::start();
    rig.world.script("apply a", &[Act::Block(8_000)]);
    let _worker = rig.run_apalis_with(hurried("one"), SHORT_BEAT);
    let id = rig.provision().await;
    assert!(until(Duration::from_secs(5), async || !rig.world.times("apply a").is_empty()).await);
    let seen = "SELECT extract(epoch FROM clock_timestamp() - min(last_seen)) < 6 FROM apalis.workers";
    let over = async || {
        assert_eq!(rig.psql(seen), "t", "a worker's heartbeat stopped");
        !rig.world.times("apply b").is_empty()
    };
    assert!(until(Duration::from_secs(30), over).await, "{:?}", rig.world.log());
    rig.reaches(id, State::Succeeded).await;
    assert_eq!(rig.world.times("apply a").len(), 1);
}

/// So a worker counts as dead after six seconds instead of thirty.
const SHORT_BEAT: Duration = Duration::from_secs(1);

/// T13.
#[tokio::test(flavor = "multi_thread")]
async fn priority_and_run_at_hold() {
    let rig = Rig::start();
    let mut ids = Vec::new();
    for priority in [1, 9, 5] {
        let new = db::platform::operations::NewOperation { priority, ..rig.new_operation(Kind::Provision, rig.instance()) };
        ids.push(new.id);
        assert_eq!(rig.try_enqueue(new).await, db::platform::operations::Enqueued::Accepted(ids[ids.len() - 1]));
    }
    let late = rig.provision().await;
    let put_off = format!(
        "UPDATE instance_service.operations SET next_run_at = clock_timestamp() + interval '4 s' WHERE id = '{late}';
         UPDATE apalis.jobs SET run_at = clock_timestamp() + interval '4 s', priority = 50 WHERE idempotency_key LIKE '{late}%'"
    );
    rig.psql(&put_off);
    let _worker = rig.run_apalis(one_slot("one"));
    for id in ids.iter().chain([&late]) {
        rig.reaches(*id, State::Succeeded).await;
    }
    let order = rig
        .psql("SELECT string_agg(priority::text, ' ' ORDER BY started_at) FROM instance_service.operations WHERE priority > 0");
    assert_eq!(order, "9 5 1", "{}", rig.psql("SELECT string_agg(j::text, E'\\n') FROM apalis.jobs j"));
    assert_eq!(rig.psql(&format!("SELECT started_at >= next_run_at FROM instance_service.operations WHERE id = '{late}'")), "t");
}

/// T15: neither a NOTIFY that never came nor a LISTEN that died costs more than the poll.
#[tokio::test(flavor = "multi_thread")]
async fn lost_notify_is_found() {
    let rig = Rig::start();
    let mut settings = hurried("one");
    // Neither sweep nor heartbeat may help: only the poll is left.
    settings.sweep_every = Duration::from_secs(600);
    let _worker = rig.run_apalis_with(settings, Duration::from_secs(600));
    let warm = rig.provision().await;
    rig.reaches(warm, State::Succeeded).await;
    rig.psql("ALTER TABLE apalis.jobs DISABLE TRIGGER notify_workers");
    let begun = Instant::now();
    let unheard = rig.provision().await;
    rig.reaches(unheard, State::Succeeded).await;
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let cut = rig.psql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'");
    assert_eq!(cut, "4", "one LISTEN for each class");
    let begun = Instant::now();
    let after_cut = rig.provision().await;
    rig.reaches(after_cut, State::Succeeded).await;
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn wakeup_table_can_be_lost() {
    let rig = Rig::start();
    rig.world.script("apply b", &[Act::Sleep(200)]);
    let _worker = rig.run_apalis(hurried("one"));
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(rig.provision().await);
    }
    assert!(until(Duration::from_secs(10), async || rig.world.times("finish").len() >= 2).await);
    rig.psql("DELETE FROM apalis.jobs");
    for id in &ids {
        rig.reaches(*id, State::Succeeded).await;
    }
    assert_eq!(rig.world.times("apply").len(), 36);
}

/// A wake-up that was lost before anybody saw it.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_wake_up_is_written_anew() {
    let rig = Rig::start();
    let id = rig.provision().await;
    rig.psql("DELETE FROM apalis.jobs; UPDATE instance_service.operations SET woken_at = now() - interval '4 s'");
    let _worker = rig.run_apalis(hurried("one"));
    rig.reaches(id, State::Succeeded).await;
    assert_eq!(rig.get(id).await.wake_no, 2);
}

/// T3, and the other figures that nobody may change by the way.
#[test]
fn prefetch_is_one() {
    for &class in Class::ALL {
        let settings = queue::fixed_settings(class);
        assert_eq!(settings.batch_size, 1);
        assert_eq!(settings.heartbeat_interval, Duration::from_secs(5));
        assert_eq!(settings.missed_heartbeats, 6);
        assert!(settings.lock_tasks && settings.persist_results);
        assert_eq!(settings.queue.as_ref(), class.as_str());
    }
}

/// Counts how often it is handed each operation, and takes its time for each.
#[derive(Default)]
struct Counting(Mutex<BTreeMap<OperationId, usize>>);

impl Counting {
    fn most(&self) -> usize {
        self.0.lock().unwrap().values().copied().max().unwrap_or_default()
    }
}

#[async_trait]
impl Handler for Counting {
    async fn handle(&self, id: OperationId) -> db::DbResult<()> {
        *self.0.lock().unwrap().entry(id).or_default() += 1;
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(())
    }
}

/// T3, why it is one: with ten, jobs that wait inside a live worker stop its heartbeat, it counts as dead, and they are handed out
/// again. Runs in full runs only. Should it fail after an upgrade of the library, the fixed prefetch may be thought over.
#[tokio::test(flavor = "multi_thread")]
async fn prefetch_of_ten_runs_jobs_twice() {
    let rig = Rig::start();
    for _ in 0..12 {
        rig.provision().await;
    }
    let handler = Arc::new(Counting::default());
    let start = |owner: &str| {
        let pool = QueuePool::connect_lazy(&rig.platform.platform(), 4, owner).beating_every(Duration::from_millis(500));
        let transport = Apalis::new(pool.prefetching(10), one_slot(owner));
        AbortOnDropHandle::new(tokio::spawn(transport.run(handler.clone(), CancellationToken::new())))
    };
    let _workers = [start("one"), start("two")];
    assert!(until(Duration::from_secs(90), async || handler.most() > 1).await, "each was handed out once");
}
