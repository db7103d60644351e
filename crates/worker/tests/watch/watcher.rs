//! The event watcher: what it reads, where it goes on, and when it does not watch.

use crate::rig::{Rig, SETUP, Told, cursor};
use bootstrap::{OsEntropy, SystemClock};
use db::platform::audit::{AuditContext, Door};
use db::platform::monitoring::{self, Effective, WATCHER, Watching};
use db::platform::turn::Turn;
use runtime::Observed;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::watcher::Watcher;
use worker::wishes;

struct Scene {
    rig: Rig,
    runtime: Arc<Told>,
    setup: watch::Sender<Effective>,
}

impl Scene {
    fn new() -> Self {
        Self { rig: Rig::start(), runtime: Arc::default(), setup: watch::Sender::new(SETUP) }
    }

    fn watcher(&self) -> Watcher {
        Watcher {
            db: self.rig.db.clone(),
            runtime: self.runtime.clone(),
            entropy: Arc::new(OsEntropy),
            clock: Arc::new(SystemClock),
            worker: "w-1".into(),
            setup: self.setup.subscribe(),
        }
    }

    /// Watches until the runtime has told everything and its watcher asked for more.
    async fn watch(&self) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let watcher = self.watcher();
        let stopped = async {
            self.runtime.told_all().await;
            stop.cancel();
        };
        let (outcome, ()) = tokio::join!(watcher.turn(&stop), stopped);
        outcome
    }

    async fn state(&self) -> monitoring::Watcher {
        monitoring::watcher(&self.rig.db).await.unwrap().unwrap().0
    }
}

fn crashed() -> Observed {
    Observed::Failed { reason: "killed".into() }
}

#[tokio::test]
async fn a_crash_is_followed_up_at_once_and_what_is_told_twice_is_not() {
    let scene = Scene::new();
    let row = scene.rig.row(scene.rig.instance("running", "running").await).await;
    scene.runtime.services(&[(&row, crashed())]);
    scene.runtime.happens(&[], "a", false);
    scene.runtime.happens(&[("1", &row)], "b", false);
    scene.runtime.happens(&[("1", &row)], "c", false);
    scene.watch().await.unwrap();
    assert_eq!(scene.rig.status(row.id).await, "error");
    let trail = "SELECT actor, action, from_status, to_status FROM instance_service.audit_log";
    assert_eq!(scene.rig.sql(trail), "watcher|observed_failed|running|error");
    let state = scene.state().await;
    assert_eq!((state.state, state.total, state.successful, state.duplicate), (Watching::Running, 2, 1, 1));
    assert!(
        state.last_event_time.is_some() && state.event_ms.is_some() && state.runtime_ms.is_some() && state.store_ms.is_some()
    );
    assert_eq!(scene.runtime.asked(), [None, Some(cursor("a")), Some(cursor("b")), Some(cursor("c"))]);
}

#[tokio::test]
async fn it_goes_on_where_it_stood_also_on_another_worker() {
    let scene = Scene::new();
    let row = scene.rig.row(scene.rig.instance("running", "running").await).await;
    scene.runtime.services(&[(&row, crashed())]);
    scene.runtime.happens(&[], "a", false);
    scene.watch().await.unwrap();
    let begun = scene.state().await.started_at;
    // Meanwhile something happens; the event reaches the next watcher, from the stored place on.
    scene.runtime.happens(&[("1", &row)], "b", false);
    scene.watch().await.unwrap();
    assert_eq!(scene.runtime.asked(), [None, Some(cursor("a")), Some(cursor("a")), Some(cursor("b"))]);
    assert_eq!(scene.rig.status(row.id).await, "error");
    assert_eq!(scene.state().await.started_at, begun, "it is one watch");
}

#[tokio::test]
async fn an_event_that_could_not_be_followed_up_is_read_again() {
    let scene = Scene::new();
    let row = scene.rig.row(scene.rig.instance("running", "running").await).await;
    scene.runtime.happens(&[], "a", false);
    scene.runtime.happens(&[("1", &row)], "b", false);
    // The runtime tells that something happened, and then cannot be asked what.
    scene.watcher().turn(&CancellationToken::new()).await.unwrap_err();
    let state = scene.state().await;
    assert_eq!((state.state, state.total, state.cursor), (Watching::Error, 0, Some("a".into())));
    assert!(state.runtime_away);
    assert_eq!(scene.rig.status(row.id).await, "running", "unreachable is not absent");
    scene.runtime.services(&[(&row, crashed())]);
    scene.runtime.happens(&[("1", &row)], "b", false);
    scene.watch().await.unwrap();
    assert_eq!((scene.rig.status(row.id).await.as_str(), scene.state().await.successful), ("error", 1));
}

#[tokio::test]
async fn instances_at_work_and_strangers_are_left_alone() {
    let scene = Scene::new();
    let at_work = scene.rig.row(scene.rig.instance("running", "running").await).await;
    scene.rig.operation(at_work.id, "running");
    let mut stranger = scene.rig.row(scene.rig.instance("running", "running").await).await;
    scene.rig.sql(&format!("DELETE FROM public.instances WHERE id = '{}'", stranger.id));
    scene.runtime.services(&[(&at_work, crashed()), (&stranger, crashed())]);
    let paused = scene.rig.row(scene.rig.instance("paused", "running").await).await;
    scene.runtime.happens(&[("1", &at_work), ("2", &stranger), ("3", &paused)], "a", false);
    scene.watch().await.unwrap();
    let state = scene.state().await;
    assert_eq!((state.total, state.ignored, state.successful, state.failed), (3, 2, 1, 0));
    assert_eq!((scene.rig.status(at_work.id).await.as_str(), state.waiting.len()), ("running", 1));
    let observed = scene.rig.row(paused.id).await.axes;
    assert_eq!((observed.status.as_str(), observed.observed.as_str()), ("paused", "absent"), "noted, and not moved");
    // A service that its instance has no more.
    stranger.id = paused.id;
    scene.runtime.happens(&[("4", &stranger)], "b", false);
    scene.watch().await.unwrap();
    assert_eq!(scene.state().await.ignored, 3);
    // The operation has ended, and nobody tells again what happened meanwhile.
    scene.rig.sql("UPDATE instance_service.operations SET state = 'succeeded', finished_at = now() WHERE kind = 'backup'");
    scene.runtime.happens(&[], "c", false);
    scene.watch().await.unwrap();
    assert_eq!((scene.rig.status(at_work.id).await.as_str(), scene.state().await.waiting.len()), ("error", 0));
}

#[tokio::test]
async fn a_gap_is_followed_by_a_comparison_of_everything() {
    let scene = Scene::new();
    scene.runtime.happens(&[], "a", false);
    scene.runtime.happens(&[], "b", true);
    scene.runtime.happens(&[], "c", true);
    scene.watch().await.unwrap();
    let queued = "SELECT kind, scope, actor, params ->> 'dry_run' FROM instance_service.operations";
    assert_eq!(scene.rig.sql(queued), "reconcile|reconcile|watcher|false", "one is enough");
}

#[tokio::test]
async fn one_watches_and_a_wish_ends_or_begins_it_anew() {
    let scene = Scene::new();
    scene.runtime.happens(&[], "a", false);
    let elsewhere = Turn::try_take(&scene.rig.db, WATCHER).await.unwrap().unwrap();
    scene.watcher().turn(&CancellationToken::new()).await.unwrap();
    assert!(scene.runtime.asked().is_empty(), "another worker watches");
    elsewhere.end().await;
    let by = AuditContext { door: Door::Internal, actor: "test".into(), request_id: None };
    let wish = async |change: fn(&mut monitoring::Wishes)| {
        let mut tx = scene.rig.db.begin().await.unwrap();
        monitoring::wish(&mut tx, &by, "monitoring_changed", |wishes, _| change(wishes)).await.unwrap();
        tx.commit().await.unwrap();
        wishes::look(&scene.rig.db, SETUP, &scene.setup).await.unwrap();
    };
    let watching = async {
        scene.watcher().turn(&CancellationToken::new()).await.unwrap();
    };
    let ended = async {
        scene.runtime.told_all().await;
        wish(|wishes| wishes.run = Some(false)).await;
    };
    tokio::join!(watching, ended);
    scene.watcher().turn(&CancellationToken::new()).await.unwrap();
    assert_eq!(scene.state().await.state, Watching::Stopped);
    let first = scene.state().await.started_at;
    wish(|wishes| (wishes.run, wishes.restarts) = (Some(true), 1)).await;
    scene.runtime.happens(&[], "b", false);
    scene.watch().await.unwrap();
    let state = scene.state().await;
    assert_eq!((state.state, state.restarts), (Watching::Running, 1));
    assert!(state.started_at > first);
    assert_eq!(scene.runtime.asked()[2], Some(cursor("a")), "without a gap");
    assert_eq!(scene.rig.sql("SELECT count(*) FROM instance_service.audit_log WHERE action = 'monitoring_changed'"), "2");
}
