//! Who owns an operation, and who does not any more.

use crate::rig::{Act, Rig, ToyEnds, hurried, short_lease, until};
use async_trait::async_trait;
use db::DbError;
use db::platform::claims::{self, Claim, Claimant, Claimed, Known};
use db::platform::operations::{self, CancelOutcome};
use db::platform::{PlatformDb, PoolLimits, record};
use domain::ids::OperationId;
use domain::operation::{Direction, Kind, Place, State};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use testkit::server::Stop;
use tokio_util::sync::CancellationToken;
use worker::engine::faults::Faults;
use worker::engine::proving::drive;
use worker::engine::{Cx, Engine, EngineSettings, Handler, Registry, Saga, Seen, Services, Step, StepError};

fn claimant(owner: &str) -> Claimant {
    Claimant {
        owner: owner.to_owned(),
        ttl: Duration::from_secs(60),
        known: vec![Known { kind: Kind::Provision, version: 1, plan: Vec::new(), limit: None }],
        share: 4,
    }
}

async fn claim(rig: &Rig, id: OperationId, owner: &str) -> Option<Claim> {
    let mut tx = rig.db.begin().await.unwrap();
    match claims::claim(&mut tx, id, &claimant(owner)).await.unwrap() {
        Claimed::Ours(claim) => {
            tx.commit().await.unwrap();
            Some(*claim)
        }
        _ => None,
    }
}

/// What a worker leaves behind that is killed right after its claim.
pub(crate) async fn claim_and_die(rig: &Rig, id: OperationId) {
    claim(rig, id, "dying").await.unwrap();
    rig.silence();
}

fn nothing(claim: &Claim) -> record::Write {
    record::Write {
        step: None,
        direction: Direction::Forward,
        attempts: 0,
        percent: 0,
        past_return: false,
        error: None,
        outcome: true,
        next: record::Next::End { state: State::Succeeded, result: Some(claim.operation.params.clone()) },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_lease_keeps_others_away() {
    let rig = Rig::start();
    let id = rig.provision().await;
    let first = claim(&rig, id, "first").await.unwrap();
    assert!(claim(&rig, id, "second").await.is_none());
    record::confirm(&rig.db, &first.fence).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_over_operation_refuses_its_old_owner() {
    let rig = Rig::start();
    let id = rig.provision().await;
    let old = claim(&rig, id, "old").await.unwrap();
    rig.silence();
    let new = claim(&rig, id, "new").await.unwrap();
    assert_eq!(new.fence.token, old.fence.token + 1);
    assert!(new.taken_over);
    assert!(matches!(record::confirm(&rig.db, &old.fence).await, Err(DbError::LeaseLost)));
    let mut tx = rig.db.begin().await.unwrap();
    assert!(matches!(record::write(&mut tx, &old.fence, &nothing(&old), &[]).await, Err(DbError::LeaseLost)));
    let mut tx = rig.db.begin().await.unwrap();
    assert!(matches!(record::lock(&mut tx, &old.fence, &old.operation).await, Err(DbError::LeaseLost)));
    assert!(matches!(record::happened(&rig.db, &old.fence).await, Err(DbError::LeaseLost)));
    assert_eq!(rig.get(id).await.state, State::Running);
    record::confirm(&rig.db, &new.fence).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_an_answer_is_looked_up() {
    let rig = Rig::start();
    let id = rig.provision().await;
    let claim = claim(&rig, id, "one").await.unwrap();
    let mut tx = rig.db.begin().await.unwrap();
    record::write(&mut tx, &claim.fence, &nothing(&claim), &[]).await.unwrap();
    drop(tx);
    assert!(!record::happened(&rig.db, &claim.fence).await.unwrap());
    let mut tx = rig.db.begin().await.unwrap();
    record::write(&mut tx, &claim.fence, &nothing(&claim), &[]).await.unwrap();
    tx.commit().await.unwrap();
    assert!(record::happened(&rig.db, &claim.fence).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_definition_is_left_to_those_who_know_it() {
    let rig = Rig::start();
    let id = rig.provision().await;
    rig.psql("UPDATE instance_service.operations SET def_version = 2");
    assert!(claim(&rig, id, "old release").await.is_none());
    assert_eq!(db::queue::sweep(&rig.db, &claimant("old release")).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runners_race_and_each_effect_happens_once() {
    let rig = Rig::start();
    let _first = rig.run(hurried("first"));
    let _second = rig.run(hurried("second"));
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(rig.provision().await);
    }
    for id in ids {
        rig.reaches(id, State::Succeeded).await;
    }
    assert_eq!(rig.world.times("apply").len(), 60);
    assert_eq!(rig.world.times("finish").len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_workers_operation_goes_on_elsewhere() {
    let rig = Rig::start();
    let id = rig.provision().await;
    let dead = claim(&rig, id, "dead").await.unwrap();
    rig.psql("UPDATE instance_service.leases SET expires_at = clock_timestamp() + interval '1 s'");
    let begun = Instant::now();
    let _running = rig.run_apalis(hurried("heir"));
    rig.reaches(id, State::Succeeded).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(rig.get(id).await.lease_token, Some(dead.fence.token + 1));
}

/// The holder counts its lease as lost by its own clock, before anybody else can have it.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_without_postgres1_gives_up_in_time() {
    let mut rig = Rig::start();
    rig.world.script("apply b", &[Act::Wait, Act::Done]);
    let settings = short_lease("one");
    let lease = settings.lease;
    let _running = rig.run(settings);
    let id = rig.provision().await;
    assert!(until(Duration::from_secs(5), async || rig.world.log().contains(&"apply b".to_owned())).await);
    let held = rig.psql("SELECT token FROM instance_service.leases");
    rig.platform.postgres1.stop(Stop::Immediate).unwrap();
    let stopped = Instant::now();
    tokio::time::sleep(lease).await;
    rig.platform.postgres1.start_again().unwrap();
    assert!(stopped.elapsed() >= lease);
    rig.reaches(id, State::Succeeded).await;
    assert_ne!(rig.psql("SELECT token FROM instance_service.leases"), held);
    assert_eq!(rig.world.times("apply b").len(), 1, "the object was there already, so it was only looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_renewed_while_a_step_runs() {
    let rig = Rig::start();
    rig.world.script("apply a", &[Act::Sleep(8_000)]);
    let _running = rig.run(short_lease("one"));
    let _other = rig.run(short_lease("two"));
    let id = rig.provision().await;
    rig.reaches(id, State::Succeeded).await;
    assert_eq!(rig.get(id).await.lease_token, Some(1));
    assert_eq!(rig.world.times("apply a").len(), 1);
}

/// Whoever stands still in a transaction on the row keeps neither slots nor later owners for long.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_gives_up_on_a_row_that_somebody_holds() {
    let rig = Rig::start();
    let (engine, _stop) = rig.engine(hurried("one"), Faults::default());
    let instance = rig.instance();
    let id = rig.enqueue(Kind::Provision, instance).await;
    let mut held = rig.db.begin().await.unwrap();
    db::platform::instances::lock(&mut held, instance).await.unwrap().unwrap();
    engine.handle(id).await.unwrap();
    assert_eq!(rig.get(id).await.state, State::Queued);
    // The server ends a session that stands still in a transaction: the row is free although nobody let it go.
    let free = async || {
        engine.handle(id).await.unwrap();
        rig.get(id).await.state == State::Succeeded
    };
    assert!(until(Duration::from_secs(30), free).await);
    assert!(held.commit().await.is_err());
}

/// Between the last look for a cancel and the start of the step from which on none is obeyed.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_just_before_the_point_of_no_return_counts() {
    let rig = Rig::start();
    let id = rig.provision().await;
    let claim = claim(&rig, id, "one").await.unwrap();
    let mut tx = rig.db.begin().await.unwrap();
    assert_eq!(operations::request_cancel(&mut tx, id, "").await.unwrap(), CancelOutcome::Requested);
    tx.commit().await.unwrap();
    let write = record::Write { past_return: true, next: record::Next::Continue, ..nothing(&claim) };
    let mut tx = rig.db.begin().await.unwrap();
    let recorded = record::write(&mut tx, &claim.fence, &write, &claim.journal).await.unwrap();
    assert!(!recorded.operation.past_return);
}

/// Takes the thread that runs it for itself, at its first call, until it is let go.
#[derive(Clone)]
struct Hung {
    let_go: Arc<Mutex<mpsc::Receiver<()>>>,
    calls: Arc<AtomicU32>,
}

#[async_trait]
impl Step for Hung {
    fn name(&self) -> &'static str {
        "a"
    }
    fn place(&self) -> Place {
        Place::Storage
    }
    fn limit(&self) -> Duration {
        Duration::from_millis(200)
    }
    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }
    async fn apply(&self, _cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        if self.calls.fetch_add(1, Ordering::SeqCst) == 0 {
            self.let_go.lock().unwrap().recv().unwrap();
        }
        Ok(json!({}))
    }
}

fn engine_of(hung: &Hung, rig: &Rig, owner: &str, db: PlatformDb) -> Engine {
    let saga = Saga::new(Kind::Provision, 1, ToyEnds(rig.world.clone())).step(hung.clone()).no_undo("it makes nothing");
    let settings = EngineSettings { hang_grace: Duration::from_millis(300), ..short_lease(owner) };
    let services = Services { db, ..rig.services() };
    Engine::new(settings, services, Registry::new([saga]).unwrap(), Faults::default(), CancellationToken::new()).unwrap()
}

/// A step that starves its whole process cannot be timed out from inside; so its lease is renewed no longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_hung_step_loses_its_lease() {
    let rig = Rig::start();
    let (release, let_go) = mpsc::channel();
    let hung = Hung { let_go: Arc::new(Mutex::new(let_go)), calls: Arc::default() };
    let id = rig.provision().await;
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| {
            // One thread, which the step takes; and connections of its own, which nobody else waits for.
            let process = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            process.block_on(async {
                let db = PlatformDb::connect_lazy(&rig.platform.platform(), &PoolLimits::default(), "hung");
                engine_of(&hung, &rig, "hung", db).handle(id).await
            })
        });
        let heir = async {
            assert!(until(Duration::from_secs(10), async || hung.calls.load(Ordering::SeqCst) == 1).await);
            drive(&engine_of(&hung, &rig, "heir", rig.db.clone()), id).await
        };
        let done = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(heir));
        release.send(()).unwrap();
        holder.join().unwrap().unwrap();
        let done = done.unwrap();
        assert_eq!((done.state, done.lease_token), (State::Succeeded, Some(2)));
    });
    assert_eq!((hung.calls.load(Ordering::SeqCst), rig.world.times("finish").len()), (2, 1));
    assert_eq!(rig.psql("SELECT max(lease_token) || ' ' || min(lease_token) FROM instance_service.operation_steps"), "2 2");
}
