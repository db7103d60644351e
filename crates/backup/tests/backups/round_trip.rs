//! What was backed up is what is restored, and what is there already is not sent again.

use crate::over_every_store;
use crate::rig::{Kind, Rig, backup_id, contents, facts, open, prune};
use backup::{BackupError, Class};
use std::fs;

over_every_store!(
    a_manifest_may_be_longer_than_an_object,
    what_is_restored_is_what_was_there_but_for_logins,
    an_unchanged_filestore_is_not_stored_again,
    removing_a_backup_takes_what_no_other_needs,
    a_file_that_is_missing_or_another_one_fails_the_backup,
    what_is_no_dump_is_no_backup,
);

async fn what_is_restored_is_what_was_there_but_for_logins(kind: Kind) {
    let rig = Rig::new(kind, 300).await;
    let stored = rig.back_up(backup_id(1)).await.unwrap();
    let backup = rig.backups().open(backup_id(1), 1, &stored.manifest_sha256).await.unwrap();
    assert_eq!(backup.manifest().facts, facts());
    let verified = backup.verify(true).await.unwrap();
    assert_eq!((verified.files, verified.files_bytes), (stored.files, stored.files_bytes));
    assert_eq!(backup.verify(false).await.unwrap(), verified);
    let restored = rig.restore(&backup, "restored").await.unwrap();
    let mut before = contents(&rig.path("data"));
    before.retain(|path, _| !path.starts_with("sessions/"));
    assert_eq!(before.len(), 303);
    assert!(contents(&restored) == before);
}

async fn an_unchanged_filestore_is_not_stored_again(kind: Kind) {
    let mut rig = Rig::new(kind, 500 / kind.part() as u64).await;
    rig.dump.truncate(1000);
    let first = rig.back_up(backup_id(1)).await.unwrap();
    let second = rig.back_up(backup_id(2)).await.unwrap();
    assert!(second.new_bytes * 100 < first.new_bytes * 3, "{} of {}", second.new_bytes, first.new_bytes);
    let pool = rig.objects("pool").len();
    let added = rig.add_file(b"one more");
    let third = rig.back_up(backup_id(3)).await.unwrap();
    assert_eq!(rig.objects("pool").len(), pool + 1);
    assert_eq!(third.files, first.files + 1);
    // What an instance shares, it shares with nobody else.
    assert!(rig.objects("pool").iter().all(|path| path.contains(&rig.instance.to_string())), "{added}");
}

async fn removing_a_backup_takes_what_no_other_needs(kind: Kind) {
    let mut rig = Rig::new(kind, 40).await;
    let first = rig.back_up(backup_id(1)).await.unwrap();
    rig.wanted.truncate(20);
    rig.add_file(b"in the second only");
    let second = rig.back_up(backup_id(2)).await.unwrap();
    let backups = rig.backups();
    let kept = backups.open(backup_id(2), 1, &second.manifest_sha256).await.unwrap();
    backups.remove(backup_id(1), 1).await.unwrap();
    backups.remove(backup_id(1), 1).await.unwrap();
    let gone = backups.open(backup_id(1), 1, &first.manifest_sha256).await.unwrap_err();
    assert_eq!(gone.class(), Class::Permanent, "{gone}");
    assert!(prune(&backups, rig.instance, std::slice::from_ref(&kept)).await.unwrap() > 0);
    assert_eq!(prune(&backups, rig.instance, std::slice::from_ref(&kept)).await.unwrap(), 0);
    kept.verify(true).await.unwrap();
    backups.remove(backup_id(2), 1).await.unwrap();
    prune(&backups, rig.instance, &[]).await.unwrap();
    assert_eq!(rig.objects("active").len() + rig.objects("pool").len() + rig.objects(".staging").len(), 0);
}

async fn a_file_that_is_missing_or_another_one_fails_the_backup(kind: Kind) {
    let mut rig = Rig::new(kind, 5).await;
    let name = rig.add_file(b"soon gone");
    let path = rig.filestore().join(name.directory()).join(name.as_str());
    fs::write(&path, b"soon gonE").unwrap();
    let error = rig.back_up(backup_id(1)).await.unwrap_err();
    assert!(matches!(&error, BackupError::Vanished { .. }) && error.class() == Class::Transient, "{error}");
    fs::remove_file(&path).unwrap();
    let error = rig.back_up(backup_id(1)).await.unwrap_err();
    assert!(matches!(error, BackupError::Vanished { .. }), "{error}");
    assert!(!rig.path("store/active").join(backup_id(1).to_string()).join("1/manifest.json").exists());
    fs::write(&path, b"soon gone").unwrap();
    rig.back_up(backup_id(1)).await.unwrap();
}

async fn what_is_no_dump_is_no_backup(kind: Kind) {
    let mut rig = Rig::new(kind, 1).await;
    for nothing in [Vec::new(), b"PGD".to_vec(), b"psql: error".to_vec()] {
        rig.dump = nothing;
        assert!(matches!(rig.back_up(backup_id(1)).await, Err(BackupError::Refused(_))));
    }
    let mut writer = rig.backups().writer(backup_id(1), rig.instance, 1);
    writer.data(open(&rig.path("data"))).await.unwrap();
    assert!(matches!(writer.finish(facts()).await, Err(BackupError::Refused(_))), "parts are missing");
}

async fn a_manifest_may_be_longer_than_an_object(kind: Kind) {
    let mut rig = Rig::new(kind, 3).await;
    rig.dump.truncate(1000);
    let mut facts = facts();
    facts.modules = (0..120_000).map(|n| (format!("a_module_with_a_long_name_{n}"), "19.0.1.0.0".to_owned())).collect();
    let backups = rig.backups();
    let mut writer = backups.writer(backup_id(1), rig.instance, 1);
    rig.write(&mut writer).await.unwrap();
    let stored = writer.finish(facts.clone()).await.unwrap();
    let manifests = rig.objects("active").into_iter().filter(|object| object.contains("manifest.json.")).count();
    assert!(manifests > 1, "{manifests}");
    let backup = backups.open(backup_id(1), 1, &stored.manifest_sha256).await.unwrap();
    assert!(backup.manifest().facts == facts);
    backup.verify(true).await.unwrap();
    backups.remove(backup_id(1), 1).await.unwrap();
    assert_eq!(rig.objects("active").len(), 0);
}
