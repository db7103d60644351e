//! `BACKUP_MODE=offline`: Odoo is down while it is backed up, and as it was afterwards, whatever became of the backup.

use crate::backups::{ended, with_data};
use crate::lifecycle::seen;
use crate::rig::Rig;
use domain::instance::Action;
use domain::operation::State;
use runtime::fake::{Call, Effect, Fault};
use std::fs;
use worker::engine::Handler as _;

#[tokio::test(flavor = "multi_thread")]
async fn odoo_is_down_while_it_is_backed_up_and_comes_back_whatever_happens() {
    let rig = Rig::with_offline_backups().await;
    let id = with_data(&rig).await;
    let (root, away) = (rig.store.path().join(".root"), rig.store.path().join("away"));
    let begin = async || {
        fs::rename(&root, &away).unwrap();
        rig.act(id, Action::Backup).await;
        rig.drain_until_away().await;
        assert_eq!((rig.status(id).await.as_str(), seen(&rig, id).await.is_up()), ("maintenance", false));
        fs::rename(&away, &root).unwrap();
    };
    begin().await;
    ended(&rig, State::Succeeded).await;
    assert_eq!((rig.status(id).await.as_str(), seen(&rig, id).await.is_up()), ("running", true));

    begin().await;
    rig.sql("UPDATE instance_service.operations SET deadline_at = now(), next_run_at = now() WHERE state = 'waiting'");
    ended(&rig, State::Failed).await;
    assert_eq!((rig.status(id).await.as_str(), seen(&rig, id).await.is_up()), ("running", true));

    // What is down by request stays down.
    rig.act(id, Action::Stop).await;
    ended(&rig, State::Succeeded).await;
    begin().await;
    ended(&rig, State::Succeeded).await;
    assert_eq!((rig.status(id).await.as_str(), seen(&rig, id).await.is_up()), ("stopped", false));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_odoo_that_is_not_ready_again_takes_no_backup_back() {
    let rig = Rig::with_offline_backups().await;
    let id = with_data(&rig).await;
    rig.control().add_fault(Fault { call: Call::Ready, service: None, times: u32::MAX, effect: Effect::NotReady }).await.unwrap();
    rig.act(id, Action::Backup).await;
    let operation = rig.last_operation().await;
    rig.engine.handle(operation.id).await.unwrap();
    let waiting = rig.last_operation().await;
    assert_eq!((waiting.state, waiting.current_step.as_deref()), (State::Waiting, Some("ready")), "{waiting:#?}");
    rig.sql("UPDATE instance_service.operation_steps SET started_at = started_at - interval '10 minutes' WHERE step = 'ready'");
    rig.sql("UPDATE instance_service.operations SET next_run_at = now() WHERE state = 'waiting'");
    ended(&rig, State::Succeeded).await;
    rig.control().clear_faults().await.unwrap();
    rig.verify(id, rig.backup_of(id).await, true).await;
    ended(&rig, State::Succeeded).await;
}
