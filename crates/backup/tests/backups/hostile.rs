//! A tenant owns the directory that is backed up, and plants what is not his into it.

use crate::rig::{Kind, Rig, backup_id, contents};
use backup::BackupError;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

#[tokio::test]
async fn links_are_never_followed() {
    let mut rig = Rig::new(Kind::Local, 3).await;
    fs::create_dir(rig.path("others")).unwrap();
    fs::write(rig.path("others/books"), "not his").unwrap();
    symlink(rig.path("others"), rig.path("data/addons/others")).unwrap();
    symlink(rig.path("others/books"), rig.path("data/addons/books")).unwrap();
    let _socket = UnixListener::bind(rig.path("data/addons/socket")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        rig.path("data/addons/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let stored = rig.back_up(backup_id(1)).await.unwrap();
    let backup = rig.backups().open(backup_id(1), 1, &stored.manifest_sha256).await.unwrap();
    let restored = contents(&rig.restore(&backup, "restored").await.unwrap());
    let addons: Vec<&String> = restored.keys().filter(|path| path.starts_with("addons/")).collect();
    assert_eq!(addons, ["addons/19.0/shop/__init__.py"]);

    // A file of the filestore that is a link to one with the right content, and a directory of it that is one.
    let name = rig.add_file(b"not his");
    let path = rig.filestore().join(name.directory()).join(name.as_str());
    fs::rename(&path, rig.path("others/same")).unwrap();
    symlink(rig.path("others/same"), &path).unwrap();
    assert!(matches!(rig.back_up(backup_id(2)).await, Err(BackupError::Vanished { .. })));
    fs::remove_file(&path).unwrap();
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    fs::create_dir(rig.path("others/directory")).unwrap();
    fs::copy(rig.path("others/same"), rig.path("others/directory").join(name.as_str())).unwrap();
    symlink(rig.path("others/directory"), path.parent().unwrap()).unwrap();
    assert!(matches!(rig.back_up(backup_id(2)).await, Err(BackupError::Vanished { .. })));
}
