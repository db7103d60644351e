//! The four generic tests of a saga (engine 9, rule 10), for whoever can set up the world that the saga acts on.
//!
//! Owns: which points are disturbed how, and what must hold afterwards.
//! Leaves to others: the world, and what counts as a clean slate in it. Everything happens inside one process, by fault
//! points; the crash sweep with real kills is a test of its own.

use crate::engine::faults::{Action, Armed, ErrorKind, Faults, Moment, Point};
use crate::engine::{Engine, Handler, Saga};
use async_trait::async_trait;
use db::platform::journal::Phase;
use db::platform::operations::{self, Operation};
use domain::ids::OperationId;
use domain::operation::State;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Longest time for one operation, disturbed or not.
const PATIENCE: Duration = Duration::from_secs(120);

/// A world in which a saga can be run again and again.
#[async_trait]
pub trait World: Sync {
    /// Accepts one more operation of the saga's kind; whatever it needs is in place.
    async fn accept(&self) -> OperationId;
    /// An engine that knows the saga, with these faults.
    fn engine(&self, faults: Faults) -> Engine;
    /// At which moments the step at this index is disturbed, where each may be: at all of them, unless time is short.
    fn moments(&self, _step: usize) -> &'static [Moment] {
        Moment::ALL
    }
    /// What there is: databases, roles, files, services. Rows that record the past do not count.
    async fn slate(&self) -> BTreeSet<String>;
}

/// What did not hold.
#[derive(Debug, thiserror::Error)]
#[error("{test}, disturbed at {point}: {what}")]
pub struct Broken {
    /// Which of the four tests.
    pub test: &'static str,
    /// Where it was disturbed.
    pub point: String,
    /// What was found.
    pub what: String,
}

/// Every step is done twice: its end is not recorded the first time. The operation succeeds, and what it leaves is as much
/// as without the disturbance.
///
/// # Errors
/// What did not hold.
pub async fn each_step_twice(world: &dyn World, saga: &Saga) -> Result<(), Broken> {
    disturbed_apply(world, saga, "each step twice", |_| &[Moment::After], Action::Error(ErrorKind::Retry)).await
}

/// The operation fails at each step, before, during and after its effect: nothing is left. A saga that only goes forward is
/// cut off there instead, and the next owner leaves as much as without the disturbance.
///
/// # Errors
/// What did not hold.
pub async fn fail_at_each_step(world: &dyn World, saga: &Saga) -> Result<(), Broken> {
    if saga.is_forward_only() {
        return disturbed_apply(world, saga, "cut off at each step", |step| world.moments(step), Action::Vanish).await;
    }
    for point in steps(saga, Phase::Apply, |step| world.moments(step)) {
        let before = world.slate().await;
        let failure = vec![armed(point, Action::Error(ErrorKind::Permanent))];
        run(world, "fail at each step", point, failure, State::Failed).await?;
        clean(world, &before, "fail at each step", point).await?;
    }
    Ok(())
}

/// Every undo is done twice.
///
/// # Errors
/// What did not hold.
pub async fn every_undo_twice(world: &dyn World, saga: &Saga) -> Result<(), Broken> {
    disturbed_undo(world, saga, "every undo twice", |_| &[Moment::After], Action::Error(ErrorKind::Retry)).await
}

/// Every undo is cut off, before, during and after its effect, and taken up by the next owner.
///
/// # Errors
/// What did not hold.
pub async fn undo_cut_off(world: &dyn World, saga: &Saga) -> Result<(), Broken> {
    disturbed_undo(world, saga, "undo cut off", |step| world.moments(step), Action::Vanish).await
}

async fn disturbed_apply(
    world: &dyn World,
    saga: &Saga,
    test: &'static str,
    moments: impl Fn(usize) -> &'static [Moment] + Send,
    action: Action,
) -> Result<(), Broken> {
    let plain = grown(world, saga, "undisturbed", Vec::new()).await?;
    for point in steps(saga, Phase::Apply, moments) {
        let disturbed = grown(world, saga, test, vec![armed(point, action)]).await?;
        if disturbed != plain {
            return Err(broken(test, point, format!("left {disturbed} things instead of {plain}")));
        }
    }
    Ok(())
}

async fn disturbed_undo(
    world: &dyn World,
    saga: &Saga,
    test: &'static str,
    moments: impl Fn(usize) -> &'static [Moment] + Send,
    action: Action,
) -> Result<(), Broken> {
    if saga.is_forward_only() {
        return Ok(());
    }
    let turn = armed(Point::Finish(saga.kind(), Moment::Before), Action::Error(ErrorKind::Permanent));
    for point in steps(saga, Phase::Undo, moments) {
        let before = world.slate().await;
        run(world, test, point, vec![turn.clone(), armed(point, action)], State::Failed).await?;
        clean(world, &before, test, point).await?;
    }
    Ok(())
}

/// The points of every step, on the way back of those alone that have an undo.
fn steps(saga: &Saga, phase: Phase, moments: impl Fn(usize) -> &'static [Moment]) -> Vec<Point> {
    let kind = saga.kind();
    let mut points = Vec::new();
    for (index, entry) in saga.steps().iter().enumerate().filter(|(_, entry)| phase == Phase::Apply || entry.undo().is_some()) {
        let step = entry.step().name();
        points.extend(moments(index).iter().map(|&moment| Point::Step { kind, step, phase, moment }));
    }
    points
}

fn armed(point: Point, action: Action) -> Armed {
    Armed { point: point.to_string(), action, times: 1 }
}

fn broken(test: &'static str, point: impl ToString, what: impl Into<String>) -> Broken {
    Broken { test, point: point.to_string(), what: what.into() }
}

/// How many things an operation that succeeds adds.
async fn grown(world: &dyn World, saga: &Saga, test: &'static str, script: Vec<Armed>) -> Result<usize, Broken> {
    let before = world.slate().await;
    let point = script.first().map_or_else(|| saga.kind().to_string(), |armed| armed.point.clone());
    run(world, test, point, script, State::Succeeded).await?;
    Ok(world.slate().await.difference(&before).count())
}

async fn clean(world: &dyn World, before: &BTreeSet<String>, test: &'static str, point: Point) -> Result<(), Broken> {
    let after = world.slate().await;
    let differences: Vec<&String> = after.symmetric_difference(before).collect();
    if differences.is_empty() { Ok(()) } else { Err(broken(test, point, format!("not a clean slate: {differences:?}"))) }
}

async fn run(
    world: &dyn World,
    test: &'static str,
    point: impl ToString,
    script: Vec<Armed>,
    end: State,
) -> Result<Operation, Broken> {
    let faults = Faults::scripted(script);
    let engine = world.engine(faults.clone());
    let id = world.accept().await;
    let operation = drive(&engine, id).await.map_err(|what| broken(test, point.to_string(), what))?;
    if operation.state != end {
        return Err(broken(test, point, format!("ended {} instead of {end}: {:?}", operation.state, operation.error)));
    }
    if faults.is_left() {
        return Err(broken(test, point, "the point was never reached"));
    }
    Ok(operation)
}

/// Looks at an operation, whenever it is due, until it has ended.
///
/// # Errors
/// If it does not end in time, or postgres1 fails.
pub async fn drive(engine: &Engine, id: OperationId) -> Result<Operation, String> {
    let end = Instant::now() + PATIENCE;
    loop {
        engine.handle(id).await.map_err(|error| error.to_string())?;
        let found = operations::get(&engine.shared.services.db, id).await.map_err(|error| error.to_string())?;
        let operation = found.ok_or("no such operation")?;
        if operation.state.is_final() || operation.state == State::NeedsAttention {
            return Ok(operation);
        }
        if Instant::now() > end {
            return Err(format!("not over after {PATIENCE:?}: {operation:?}"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
