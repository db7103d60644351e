//! A backup's whole life in a bucket, and what its server can do to us.

use crate::backups::{books, ended, with_data};
use crate::rig::Rig;
use db::platform::acceptance::BackupDeleted;
use db::platform::backups;
use domain::backup::State as BackupState;
use domain::ids::{BackupId, InstanceId};
use domain::instance::Action;
use domain::operation::State;
use std::fs;
use testkit::s3::Fault;

async fn backed_up(rig: &Rig, id: InstanceId) -> BackupId {
    rig.act(id, Action::Backup).await;
    ended(rig, State::Succeeded).await;
    rig.backup_of(id).await
}

async fn deleted(rig: &Rig, backup: BackupId) {
    assert!(matches!(rig.delete_backup(backup).await, BackupDeleted::Accepted(..)));
    ended(rig, State::Succeeded).await;
}

/// Every backup that the bucket has something of.
fn kept(rig: &Rig) -> Vec<String> {
    let mut ids: Vec<String> =
        rig.stored().iter().filter_map(|object| Some(object.strip_prefix("active/")?.split('/').next()?.to_owned())).collect();
    ids.dedup();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_lives_in_a_bucket_as_in_a_directory() {
    let rig = Rig::with_bucket().await;
    let id = with_data(&rig).await;
    let before = books(&rig, id).await;
    let backup = backed_up(&rig, id).await;
    rig.verify(id, backup, true).await;
    ended(&rig, State::Succeeded).await;
    assert!(backups::get(&rig.db, backup).await.unwrap().unwrap().proven_at.is_some());

    rig.inside(id, "DELETE FROM ir_attachment; UPDATE res_company SET name = 'Spoiled'").await;
    fs::remove_dir_all(rig.filestore(id).await).unwrap();
    rig.restore(id, backup).await;
    ended(&rig, State::Succeeded).await;
    assert_eq!(books(&rig, id).await, before);

    let copy = rig.copy(id, Some(backup)).await;
    ended(&rig, State::Succeeded).await;
    assert_eq!(rig.status(copy).await, "running");
    assert_eq!(books(&rig, copy).await.1, before.1);

    // What goes leaves nothing behind, and takes nothing of what stays.
    rig.attach(id, b"a third letter").await;
    let (now, newer) = (books(&rig, id).await, backed_up(&rig, id).await);
    deleted(&rig, backup).await;
    assert_eq!(kept(&rig), [newer.to_string()]);
    rig.restore(id, newer).await;
    ended(&rig, State::Succeeded).await;
    assert_eq!(books(&rig, id).await, now);
}

/// In the middle of whatever it does; each is over before anybody gives up.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_a_moment_is_tried_again() {
    let rig = Rig::with_bucket().await;
    let id = with_data(&rig).await;
    let (before, server_before) = (books(&rig, id).await, rig.snapshot());
    let faults = [
        Fault::Answer(500, "InternalError"),
        Fault::Answer(503, "SlowDown"),
        Fault::HangUp,
        Fault::CutRequest,
        Fault::CutAnswer,
        Fault::Silence,
    ];
    let mut taken = Vec::new();
    for (n, fault) in faults.into_iter().enumerate() {
        rig.store.proxy().spoil_after(2 + 2 * n, fault);
        taken.push(backed_up(&rig, id).await);
        assert!(rig.store.proxy().has_struck(), "{fault:?}");
        rig.store.proxy().heal();
    }
    let difference = server_before.difference(&rig.snapshot());
    assert!(difference.is_empty(), "{difference}");
    for (n, (fault, backup)) in faults.into_iter().zip(&taken).enumerate() {
        rig.inside(id, "DELETE FROM ir_attachment").await;
        rig.store.proxy().spoil_after(1 + 2 * n, fault);
        rig.restore(id, *backup).await;
        ended(&rig, State::Succeeded).await;
        assert!(rig.store.proxy().has_struck(), "{fault:?}");
        rig.store.proxy().heal();
        assert_eq!(books(&rig, id).await, before, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_waited_for_and_one_that_refuses_us_changes_nothing() {
    let rig = Rig::with_bucket().await;
    let id = with_data(&rig).await;
    let backup = backed_up(&rig, id).await;
    let (before, server_before) = (books(&rig, id).await, rig.snapshot());
    for fault in [Fault::Answer(503, "SlowDown"), Fault::Answer(404, "NoSuchBucket"), Fault::HangUp] {
        rig.store.proxy().spoil(fault);
        rig.act(id, Action::Backup).await;
        rig.drain_until_away().await;
        assert_eq!(rig.status(id).await, "maintenance");
        rig.store.proxy().heal();
        ended(&rig, State::Succeeded).await;
        let newest = rig.backup_of(id).await;
        deleted(&rig, newest).await;
    }
    assert_eq!(kept(&rig), [backup.to_string()]);

    let refused = Fault::Answer(403, "AccessDenied");
    for requests in [0, 6] {
        rig.store.proxy().spoil_from(requests, refused);
        rig.act(id, Action::Backup).await;
        let error = ended(&rig, State::Failed).await.error.unwrap();
        assert_eq!((error.code.as_str(), error.message.as_str()), ("backup_failed", "The backup could not be read or written."));
        assert_eq!(rig.status(id).await, "running");
        rig.store.proxy().spoil_from(requests, refused);
        rig.restore(id, backup).await;
        assert_eq!(ended(&rig, State::Failed).await.error.unwrap().code, "backup_failed");
        assert_eq!(rig.status(id).await, "running");
        rig.store.proxy().heal();
    }
    assert_eq!(books(&rig, id).await, before);
    let difference = server_before.difference(&rig.snapshot());
    assert!(difference.is_empty(), "{difference}");

    // What a try could not take back goes with its entry.
    for failed in backups::of_instance(&rig.db, id, 100).await.unwrap() {
        if failed.state == BackupState::Failed {
            deleted(&rig, failed.id).await;
        }
    }
    assert_eq!(kept(&rig), [backup.to_string()]);
    rig.restore(id, backup).await;
    ended(&rig, State::Succeeded).await;
    assert_eq!(books(&rig, id).await, before);
}
