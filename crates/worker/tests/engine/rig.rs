//! A postgres1, toy sagas whose steps do what a script says, and engines that run them.

use async_trait::async_trait;
use db::platform::audit::{AuditContext, Door};
use db::platform::operations::{self, Enqueued, NewOperation, Operation, Scope};
use db::platform::{PlatformDb, PlatformTx, PoolLimits};
use db::queue::QueuePool;
use domain::ids::{InstanceId, OperationId};
use domain::operation::{Kind, Place, State};
use domain::sources::{Clock, random_uuid};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::Platform;
use testkit::cluster::Options;
use testkit::pair::PLATFORM_DATABASE;
use tokio_util::sync::CancellationToken;
use worker::engine::faults::Faults;
use worker::engine::*;

/// What a toy step does when it is called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Act {
    Done,
    Retry,
    Permanent,
    Snooze(u64),
    /// A server is away.
    Away,
    Attention,
    Panic,
    /// Awaits for so many milliseconds without looking at anything.
    Sleep(u64),
    /// Blocks a thread of the blocking pool.
    Block(u64),
    /// Waits until told to stop.
    Wait,
}

/// The world that toy steps change, and what they were seen doing.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    made: BTreeSet<String>,
    log: Vec<(String, Instant)>,
    scripts: BTreeMap<String, Vec<Act>>,
    calls: BTreeMap<String, usize>,
    refuse: Option<String>,
}

impl World {
    /// From the first call on, `what` (`apply a`, `undo b`, `finish`) does this; the last one stays.
    pub(crate) fn script(&self, what: &str, acts: &[Act]) {
        self.0.lock().unwrap().scripts.insert(what.to_owned(), acts.to_vec());
    }
    pub(crate) fn refuse(&self, why: &str) {
        self.0.lock().unwrap().refuse = Some(why.to_owned());
    }
    pub(crate) fn made(&self) -> Vec<String> {
        self.0.lock().unwrap().made.iter().cloned().collect()
    }
    pub(crate) fn log(&self) -> Vec<String> {
        self.0.lock().unwrap().log.iter().map(|(what, _)| what.clone()).collect()
    }
    pub(crate) fn times(&self, what: &str) -> Vec<Instant> {
        self.0.lock().unwrap().log.iter().filter(|(seen, _)| seen.starts_with(what)).map(|(_, at)| *at).collect()
    }
    fn call(&self, what: &str, who: &str) -> Act {
        let mut inner = self.0.lock().unwrap();
        inner.log.push((format!("{what} {who}").trim().to_owned(), Instant::now()));
        let call = inner.calls.entry(format!("{what} {who}")).or_default();
        *call += 1;
        let call = *call;
        let script = inner.scripts.get(what).cloned().unwrap_or_default();
        script.get(call - 1).or(script.last()).copied().unwrap_or(Act::Done)
    }
    pub(crate) fn make(&self, name: String) {
        self.0.lock().unwrap().made.insert(name);
    }
    fn has(&self, name: &str) -> bool {
        self.0.lock().unwrap().made.contains(name)
    }
    fn remove(&self, name: &str) {
        self.0.lock().unwrap().made.remove(name);
    }
}

async fn perform(act: Act, cx: &Cx) -> Result<(), StepError> {
    match act {
        Act::Done => Ok(()),
        Act::Retry => Err(StepError::retry("toy_retry", "passing", "the script says so")),
        Act::Permanent => Err(StepError::permanent("toy_permanent", "for good", "the script says so")),
        Act::Attention => Err(StepError::needs_attention("toy_attention", "look", "the script says so")),
        Act::Snooze(ms) => Err(StepError::snooze(Duration::from_millis(ms), "toy_snooze", "later", "the script says so")),
        Act::Away => Err(StepError::unreachable("toy_away", "later", "the script says so")),
        Act::Panic => panic!("the script says so"),
        Act::Sleep(ms) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(())
        }
        Act::Block(ms) => {
            let blocking = tokio::task::spawn_blocking(move || std::thread::sleep(Duration::from_millis(ms)));
            blocking.await.map_err(|error| StepError::retry("toy", "toy", error))
        }
        Act::Wait => loop {
            cx.pause(Duration::from_millis(20)).await?;
        },
    }
}

/// A step that makes an object `operation/step`, recognises it as its own, and removes it.
pub(crate) struct Toy {
    pub(crate) name: &'static str,
    pub(crate) world: World,
    pub(crate) limit: Duration,
    pub(crate) interruptible: bool,
}

impl Toy {
    fn object(&self, cx: &Cx) -> String {
        format!("{}/{}", cx.operation().id, self.name)
    }
}

#[async_trait]
impl Step for Toy {
    fn name(&self) -> &'static str {
        self.name
    }
    fn place(&self) -> Place {
        Place::Storage
    }
    fn limit(&self) -> Duration {
        self.limit
    }
    fn interruptible(&self) -> bool {
        self.interruptible
    }
    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        Ok(if self.world.has(&self.object(cx)) { Seen::Ours(json!({ "made": self.name })) } else { Seen::Absent })
    }
    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let act = self.world.call(&format!("apply {}", self.name), "");
        self.world.make(self.object(cx));
        perform(act, cx).await?;
        Ok(json!({ "made": self.name }))
    }
}

#[async_trait]
impl Undo for Toy {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let act = self.world.call(&format!("undo {}", self.name), "");
        perform(act, cx).await?;
        self.world.remove(&self.object(cx));
        Ok(())
    }
}

/// The ends of every toy saga.
pub(crate) struct ToyEnds(pub World);

#[async_trait]
impl Ends for ToyEnds {
    async fn admit(&self, _operation: &Operation, _tx: &mut PlatformTx) -> Result<Admission, StepError> {
        Ok(self.0.0.lock().unwrap().refuse.clone().map_or(Admission::Go, Admission::Refused))
    }
    async fn finish(&self, cx: &Cx, _tx: &mut PlatformTx) -> Result<Value, StepError> {
        perform(self.0.call("finish", ""), cx).await?;
        cx.output::<Value>("a")
    }
    async fn unwound(&self, cx: &Cx, _tx: &mut PlatformTx, outcome: &Outcome) -> Result<(), StepError> {
        let how = match outcome {
            Outcome::Failed(fault) => format!("failed {}", fault.code),
            Outcome::Cancelled { preempted_by: Some(kind), .. } => format!("cancelled for {kind}"),
            Outcome::Cancelled { .. } => "cancelled".to_owned(),
        };
        perform(self.0.call("unwound", &how), cx).await
    }
}

pub(crate) fn toy(world: &World, name: &'static str) -> Toy {
    Toy { name, world: world.clone(), limit: Duration::from_secs(10), interruptible: true }
}

/// Steps a, b, c of a kind that turns back.
pub(crate) fn abc(world: &World, kind: Kind) -> Saga {
    let ends = ToyEnds(world.clone());
    Saga::new(kind, 1, ends).step(toy(world, "a")).undo().step(toy(world, "b")).undo().step(toy(world, "c")).undo()
}

/// The same, forward only.
pub(crate) fn onward(world: &World, kind: Kind) -> Saga {
    Saga::forward_only(kind, 1, ToyEnds(world.clone())).step(toy(world, "a")).no_undo("forward only")
}

pub(crate) fn registry(world: &World) -> Registry {
    let turning = [Kind::Provision, Kind::Start, Kind::Backup, Kind::Restart, Kind::FetchLogs].map(|kind| abc(world, kind));
    let onward = [Kind::Suspend, Kind::Terminate, Kind::Delete].map(|kind| onward(world, kind));
    Registry::new(turning.into_iter().chain(onward)).unwrap()
}

/// Figures of the specification, in a hurry.
pub(crate) fn hurried(owner: &str) -> EngineSettings {
    EngineSettings {
        sweep_every: Duration::from_millis(200),
        backoff_first: Duration::from_millis(20),
        backoff_longest: Duration::from_millis(80),
        ..EngineSettings::new(owner, Slots { control: 4, provision: 4, backup: 2, maintenance: 1 })
    }
}

/// With a lease that is soon over, for tests of just that.
pub(crate) fn short_lease(owner: &str) -> EngineSettings {
    EngineSettings {
        lease: Duration::from_secs(3),
        renew_every: Duration::from_millis(400),
        fence_margin: Duration::from_millis(800),
        ..hurried(owner)
    }
}

/// The service's side of postgres1.
pub(crate) struct Rig {
    pub(crate) platform: Platform,
    pub(crate) db: PlatformDb,
    pub(crate) world: World,
}

/// A running engine; it is stopped when dropped.
pub(crate) struct Running {
    pub(crate) stop: CancellationToken,
    pub(crate) task: tokio::task::JoinHandle<Result<(), TransportError>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Running {
    /// Stops it and waits until it has drained.
    pub(crate) async fn drain(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap().unwrap();
    }
}

impl Rig {
    pub(crate) fn start() -> Self {
        Self::with(&Options::default())
    }

    pub(crate) fn with(options: &Options) -> Self {
        let platform = Platform::start(options).unwrap();
        let db = PlatformDb::connect_lazy(&platform.platform(), &PoolLimits::default(), "engine-test");
        Self { platform, db, world: World::default() }
    }

    pub(crate) fn psql(&self, sql: &str) -> String {
        self.platform.postgres1.psql(PLATFORM_DATABASE, sql).unwrap().trim().to_owned()
    }

    pub(crate) fn services(&self) -> Services {
        Services { db: self.db.clone(), entropy: Arc::new(bootstrap::OsEntropy) }
    }

    pub(crate) fn id(&self) -> OperationId {
        OperationId::from_uuid(random_uuid(&bootstrap::OsEntropy))
    }

    /// A row in `instances`, of this customer.
    pub(crate) fn instance_of(&self, customer: uuid::Uuid) -> InstanceId {
        let id = InstanceId::from_uuid(random_uuid(&bootstrap::OsEntropy));
        self.psql(&format!(
            "INSERT INTO public.instances (id, customer_id, name, admin_email, database_name) VALUES ('{id}', '{customer}', 'toy', 'a@b.c', '{id}')"
        ));
        id
    }

    pub(crate) fn instance(&self) -> InstanceId {
        self.instance_of(random_uuid(&bootstrap::OsEntropy))
    }

    pub(crate) fn new_operation(&self, kind: Kind, instance: InstanceId) -> NewOperation {
        NewOperation {
            id: self.id(),
            scope: Scope::Instance(instance),
            instance_id: Some(instance),
            kind,
            params: json!({}),
            priority: 0,
            reason: None,
            trace_parent: None,
        }
    }

    pub(crate) async fn try_enqueue(&self, new: NewOperation) -> Enqueued {
        let mut tx = self.db.begin().await.unwrap();
        let outcome = operations::enqueue(&mut tx, new, &by()).await.unwrap();
        tx.commit().await.unwrap();
        outcome
    }

    pub(crate) async fn enqueue(&self, kind: Kind, instance: InstanceId) -> OperationId {
        match self.try_enqueue(self.new_operation(kind, instance)).await {
            Enqueued::Accepted(id) => id,
            other => panic!("{other:?}"),
        }
    }

    /// An operation on an instance of its own.
    pub(crate) async fn provision(&self) -> OperationId {
        self.enqueue(Kind::Provision, self.instance()).await
    }

    pub(crate) fn engine(&self, settings: EngineSettings, faults: Faults) -> (Engine, CancellationToken) {
        let stop = CancellationToken::new();
        let engine = Engine::new(settings, self.services(), registry(&self.world), faults, stop.clone()).unwrap();
        (engine, stop)
    }

    /// An engine behind a plain loop over due operations: quicker than apalis' two seconds between polls.
    pub(crate) fn run(&self, settings: EngineSettings) -> Running {
        self.run_with(settings, Faults::default())
    }

    pub(crate) fn run_with(&self, settings: EngineSettings, faults: Faults) -> Running {
        let (engine, stop) = self.engine(settings, faults);
        let due = DueLoop(self.platform.platform());
        let task = tokio::spawn(async move { engine.run(due).await });
        Running { stop, task }
    }

    /// An engine behind apalis.
    pub(crate) fn run_apalis(&self, settings: EngineSettings) -> Running {
        self.run_apalis_with(settings, db::queue::HEARTBEAT_INTERVAL)
    }

    /// The same, with another heartbeat: only what outlasts it is tested with one.
    pub(crate) fn run_apalis_with(&self, settings: EngineSettings, heartbeat: Duration) -> Running {
        let (engine, stop) = self.engine(settings.clone(), Faults::default());
        let pool = QueuePool::connect_lazy(&self.platform.platform(), 4, "engine-queue").beating_every(heartbeat);
        let task = tokio::spawn(async move { engine.run(Apalis::new(pool, settings)).await });
        Running { stop, task }
    }

    pub(crate) async fn get(&self, id: OperationId) -> Operation {
        operations::get(&self.db, id).await.unwrap().unwrap()
    }

    /// Waits until it is in this state.
    pub(crate) async fn reaches(&self, id: OperationId, state: State) -> Operation {
        let mut last = None;
        let reached = until(Duration::from_secs(30), async || {
            // A fault may have cut this look, too.
            let Ok(Some(operation)) = operations::get(&self.db, id).await else { return false };
            let there = operation.state == state;
            last = Some(operation);
            there
        })
        .await;
        assert!(reached, "not {state}: {last:?}\n{:?}", self.world.log());
        last.unwrap()
    }

    /// Lets every lease run out, as if its holder had gone silent long ago.
    pub(crate) fn silence(&self) {
        self.psql("UPDATE instance_service.leases SET expires_at = '-infinity'");
    }
}

pub(crate) fn by() -> AuditContext {
    AuditContext { door: Door::Internal, actor: "test".to_owned(), request_id: None }
}

/// Asks until the answer is yes.
pub(crate) async fn until(patience: Duration, mut asks: impl AsyncFnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    loop {
        if asks().await {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The other transport: asks the table of operations itself. That it fits shows that apalis could be replaced.
struct DueLoop(domain::endpoint::Endpoint);

#[async_trait]
impl Transport for DueLoop {
    async fn run(self, handler: Arc<dyn Handler>, stop: CancellationToken) -> Result<(), TransportError> {
        let db = PlatformDb::connect_lazy(&self.0, &PoolLimits::default(), "due-loop");
        let busy = Arc::new(Mutex::new(BTreeSet::new()));
        while !stop.is_cancelled() {
            let filter = operations::Filter {
                states: vec![State::Queued, State::Running, State::Waiting],
                limit: 200,
                ..operations::Filter::default()
            };
            let page = operations::list(&db, &filter).await.map(|page| page.operations).unwrap_or_default();
            for operation in page.into_iter().filter(|o| o.next_run_at <= bootstrap::SystemClock.now()) {
                if !busy.lock().unwrap().insert(operation.id) {
                    continue;
                }
                let (handler, busy) = (handler.clone(), busy.clone());
                tokio::spawn(async move {
                    drop(handler.handle(operation.id).await);
                    busy.lock().unwrap().remove(&operation.id);
                });
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        Ok(())
    }
}
