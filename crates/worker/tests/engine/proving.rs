//! The generic saga tests on toy sagas: that they pass for a good one, and see each fault of a bad one. And every listed
//! point is one that a run reaches.

use crate::rig::{Act, Rig, ToyEnds, abc, hurried, onward};
use async_trait::async_trait;
use domain::ids::OperationId;
use domain::operation::{Kind, Place, State};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio_util::sync::CancellationToken;
use worker::engine::faults::{Action, Armed, Faults, points};
use worker::engine::proving::{self, World, drive};
use worker::engine::*;

struct Toys<'a> {
    rig: &'a Rig,
    saga: fn(&Rig) -> Saga,
    kind: Kind,
}

#[async_trait]
impl World for Toys<'_> {
    async fn accept(&self) -> OperationId {
        self.rig.enqueue(self.kind, self.rig.instance()).await
    }
    fn engine(&self, faults: Faults) -> Engine {
        let registry = Registry::new([(self.saga)(self.rig)]).unwrap();
        Engine::new(hurried("proving"), self.rig.services(), registry, faults, CancellationToken::new()).unwrap()
    }
    async fn slate(&self) -> BTreeSet<String> {
        self.rig.world.made().into_iter().collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_saga_passes_all_four() {
    let rig = Rig::start();
    let world = Toys { rig: &rig, saga: |rig| abc(&rig.world, Kind::Provision), kind: Kind::Provision };
    let saga = (world.saga)(&rig);
    proving::each_step_twice(&world, &saga).await.unwrap();
    proving::fail_at_each_step(&world, &saga).await.unwrap();
    proving::every_undo_twice(&world, &saga).await.unwrap();
    proving::undo_cut_off(&world, &saga).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_only_saga_passes_too() {
    let rig = Rig::start();
    let world = Toys { rig: &rig, saga: |rig| onward(&rig.world, Kind::Delete), kind: Kind::Delete };
    let saga = (world.saga)(&rig);
    proving::each_step_twice(&world, &saga).await.unwrap();
    proving::fail_at_each_step(&world, &saga).await.unwrap();
}

/// Makes another object at each call, and removes only the last.
struct Careless(crate::rig::World, AtomicU32);

#[async_trait]
impl Step for Careless {
    fn name(&self) -> &'static str {
        "a"
    }
    fn place(&self) -> Place {
        Place::Storage
    }
    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }
    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        self.0.make(format!("{}/{}", cx.operation().id, self.1.fetch_add(1, Ordering::SeqCst)));
        Ok(json!({}))
    }
}

#[async_trait]
impl Undo for Careless {
    async fn undo(&self, _cx: &Cx) -> Result<(), StepError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_careless_step_is_seen() {
    let rig = Rig::start();
    fn careless(rig: &Rig) -> Saga {
        let step = Careless(rig.world.clone(), AtomicU32::new(0));
        Saga::new(Kind::Provision, 1, ToyEnds(rig.world.clone())).step(step).undo()
    }
    let world = Toys { rig: &rig, saga: careless, kind: Kind::Provision };
    let saga = careless(&rig);
    let twice = proving::each_step_twice(&world, &saga).await.unwrap_err();
    assert_eq!((twice.point.as_str(), twice.what.as_str()), ("provision/a/apply/after", "left 2 things instead of 1"));
    assert!(proving::fail_at_each_step(&world, &saga).await.unwrap_err().what.contains("not a clean slate"));
    assert!(proving::every_undo_twice(&world, &saga).await.unwrap_err().what.contains("not a clean slate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listed_point_is_reached() {
    let rig = Rig::start();
    let registry = Registry::new([abc(&rig.world, Kind::Provision), onward(&rig.world, Kind::Delete)]).unwrap();
    let listed: BTreeSet<String> = points(&registry).into_iter().filter(|point| point != "renew").collect();
    let faults = Faults::default();
    let stop = CancellationToken::new();
    let engine = Engine::new(hurried("one"), rig.services(), registry, faults.clone(), stop).unwrap();
    let good = rig.provision().await;
    assert_eq!(drive(&engine, good).await.unwrap().state, State::Succeeded);
    let delete = rig.enqueue(Kind::Delete, rig.instance()).await;
    assert_eq!(drive(&engine, delete).await.unwrap().state, State::Succeeded);
    rig.world.script("finish", &[Act::Permanent]);
    let bad = rig.provision().await;
    assert_eq!(drive(&engine, bad).await.unwrap().state, State::Failed);
    let reached: BTreeSet<String> = faults.reached().into_iter().collect();
    assert_eq!(listed.difference(&reached).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(reached.difference(&listed).collect::<Vec<_>>(), Vec::<&String>::new());
}

/// F13 of engine 15, inside one process: every connection of the service is cut while a run is under way.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_survives_the_loss_of_every_connection() {
    let rig = Rig::start();
    for point in ["provision/b/apply/before", "provision/b/apply/after", "provision/finish/before", "provision/finish/during"] {
        let faults = Faults::scripted(vec![Armed { point: point.to_owned(), action: Action::Disconnect, times: 1 }]);
        let _running = rig.run_with(hurried("one"), faults.clone());
        let id = rig.provision().await;
        rig.reaches(id, State::Succeeded).await;
        assert!(!faults.is_left(), "{point}");
    }
}

/// The holder of a lease that ran out goes on unaware; nothing it writes counts.
#[tokio::test(flavor = "multi_thread")]
async fn an_unaware_stale_owner_changes_nothing() {
    let rig = Rig::start();
    let pause = Armed { point: "provision/b/apply/after".to_owned(), action: Action::Pause, times: 1 };
    let lose = Armed { point: "provision/b/apply/before".to_owned(), action: Action::LeaseLoss, times: 1 };
    let stale = Faults::scripted(vec![lose, pause]);
    let (old, _stop) = rig.engine(hurried("old"), stale.clone());
    let id = rig.provision().await;
    let run = tokio::spawn({
        let old = old.clone();
        async move { old.handle(id).await }
    });
    let paused = async || !stale.is_left();
    assert!(crate::rig::until(std::time::Duration::from_secs(10), paused).await);
    let (new, _stop) = rig.engine(hurried("new"), Faults::default());
    let done = drive(&new, id).await.unwrap();
    assert_eq!((done.state, done.lease_token), (State::Succeeded, Some(2)));
    let written = rig.psql("SELECT string_agg(s::text, E'\\n' ORDER BY step) FROM instance_service.operation_steps s");
    stale.resume();
    run.await.unwrap().unwrap();
    assert_eq!(rig.psql("SELECT string_agg(s::text, E'\\n' ORDER BY step) FROM instance_service.operation_steps s"), written);
    assert_eq!(rig.world.times("finish").len(), 1);
}
