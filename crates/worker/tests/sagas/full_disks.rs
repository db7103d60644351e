//! Disks that are full, on postgres2 and under the store: whatever was asked for ends with words that say so, or waits for room, and nothing
//! is left half done. The disks are small file systems in memory, which only root can mount.

use crate::backups::{books, ended, with_data};
use crate::rig::Rig;
use db::platform::backups;
use db::platform::operations::Operation;
use domain::backup::State as BackupState;
use domain::ids::InstanceId;
use domain::instance::Action;
use domain::operation::State;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use worker::engine::Handler as _;

const BALLAST: &str = "ballast";

/// A file system of a few MiB over a directory. It goes with this, also while somebody is in it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn over(directory: &Path, mib: u32) -> Self {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(directory).output().unwrap();
        assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
        Self(directory.to_owned())
    }

    /// Another directory in place of this one.
    fn bind(from: &Path, directory: &Path) -> Self {
        let mounted = Command::new("mount").arg("--bind").args([from, directory]).status().unwrap();
        assert!(mounted.success());
        Self(directory.to_owned())
    }

    /// Fills it but for so many KiB.
    fn leave(&self, kib: usize) {
        let free = rustix::fs::statvfs(&self.0).unwrap();
        let bytes = usize::try_from(free.f_bavail * free.f_frsize).unwrap();
        fs::write(self.0.join(BALLAST), vec![1; bytes.checked_sub(kib * 1024).unwrap()]).unwrap();
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join(BALLAST)).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(gone.is_ok_and(|status| status.success()), "{} is left mounted", self.0.display());
    }
}

fn can_mount() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("only root can mount a small disk: nothing was tested");
    }
    is_root
}

/// From now on databases of postgres2 lie on a small disk: new ones, and that of the instance.
async fn small_server(rig: &Rig, id: InstanceId) -> SmallDisk {
    let server = &rig.pair.postgres2;
    let directory = server.server().directory().join("small");
    fs::create_dir(&directory).unwrap();
    let disk = SmallDisk::over(&directory, 128);
    let owner = Command::new("chown").arg("--reference").arg(server.server().directory()).arg(&directory).status().unwrap();
    assert!(owner.success());
    server.psql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", directory.display())).unwrap();
    let live = rig.instance(id).await.placement.unwrap().db_name;
    for database in ["template0", live.as_str()] {
        server.psql("postgres", &format!("ALTER DATABASE \"{database}\" SET TABLESPACE small")).unwrap();
    }
    server.psql("postgres", "CHECKPOINT").unwrap();
    disk
}

/// Rows that take some 16 MiB.
async fn grow(rig: &Rig, id: InstanceId) {
    let owner = rig.instance(id).await.placement.unwrap().db_user;
    let rows = format!(
        "SET ROLE \"{owner}\"; CREATE TABLE mail_message (id integer PRIMARY KEY, body text);
         INSERT INTO mail_message SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, 50000) n"
    );
    rig.inside(id, &rows).await;
}

fn says_that_there_is_no_room(operation: &Operation) {
    let error = operation.error.as_ref().unwrap();
    assert_eq!(error.code, "no_room", "{operation:#?}");
    assert!(error.message.contains("no room"), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_ends_restore_update_and_copy_and_leaves_nothing() {
    if !can_mount() {
        return;
    }
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    grow(&rig, id).await;
    rig.act(id, Action::Backup).await;
    ended(&rig, State::Succeeded).await;
    let backup = rig.backup_of(id).await;
    let disk = small_server(&rig, id).await;
    let (books_before, before) = (books(&rig, id).await, rig.snapshot());
    let unchanged = async |rig: &Rig, what: &str| {
        assert_eq!(rig.status(id).await, "running", "{what}");
        assert_eq!(books(rig, id).await, books_before, "{what}");
        let difference = before.difference(&rig.snapshot());
        assert!(difference.is_empty(), "{what}: {difference}");
    };
    // Room for an empty database and a part of the rows; then not even for an empty one.
    for room in [14 * 1024, 2 * 1024] {
        disk.leave(room);
        rig.restore(id, backup).await;
        says_that_there_is_no_room(&ended(&rig, State::Failed).await);
        unchanged(&rig, "restore").await;
        rig.update(id, &["base"]).await;
        says_that_there_is_no_room(&ended(&rig, State::Failed).await);
        unchanged(&rig, "update").await;
        let copy = rig.copy(id, Some(backup)).await;
        says_that_there_is_no_room(&ended(&rig, State::Failed).await);
        assert_eq!(rig.status(copy).await, "error");
        unchanged(&rig, "copy").await;
        disk.make_room();
    }
    rig.restore(id, backup).await;
    ended(&rig, State::Succeeded).await;
    rig.update(id, &["base"]).await;
    ended(&rig, State::Succeeded).await;
    let copy = rig.copy(id, Some(backup)).await;
    ended(&rig, State::Succeeded).await;
    assert_eq!(rig.status(copy).await, "running");
}

/// Objects of the store that are no contents of the pool.
fn half_done(rig: &Rig) -> Vec<String> {
    rig.stored().into_iter().filter(|object| !object.starts_with("pool/")).collect()
}

fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// One step of the operation, until it waits.
async fn waits_for_room(rig: &Rig) {
    let operation = rig.last_operation().await;
    rig.engine.handle(operation.id).await.unwrap();
    let waiting = rig.last_operation().await;
    assert_eq!((waiting.state, waiting.unreachable_since), (State::Waiting, None), "{waiting:#?}");
    assert_eq!(waiting.attempts, 0, "waiting is no failure");
    assert_eq!(waiting.current_step.as_deref(), Some("store"));
    assert_eq!(half_done(rig), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_is_waited_for_and_given_up_and_nothing_is_half_done() {
    if !can_mount() {
        return;
    }
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let root = fs::read(rig.store.path().join(".root")).unwrap();
    let disk = SmallDisk::over(rig.store.path(), 32);
    fs::write(rig.store.path().join(".root"), root).unwrap();
    for number in 0..6 {
        rig.attach(id, &noise(number, 1 << 20)).await;
    }
    // There is room for the dump and for some of the files.
    disk.leave(3 * 1024);
    let before = books(&rig, id).await;
    rig.act(id, Action::Backup).await;
    waits_for_room(&rig).await;
    // Room comes, and the same backup goes on.
    disk.make_room();
    rig.sql("UPDATE instance_service.operations SET next_run_at = now() WHERE state = 'waiting'");
    ended(&rig, State::Succeeded).await;
    rig.verify(id, rig.backup_of(id).await, true).await;
    ended(&rig, State::Succeeded).await;

    // It does not come.
    rig.attach(id, &noise(77, 5 << 20)).await;
    disk.leave(2 * 1024);
    rig.act(id, Action::Backup).await;
    let good = half_done(&rig);
    let operation = rig.last_operation().await;
    rig.engine.handle(operation.id).await.unwrap();
    assert_eq!(rig.last_operation().await.state, State::Waiting);
    assert_eq!(half_done(&rig), good);
    rig.sql("UPDATE instance_service.operations SET deadline_at = now(), next_run_at = now() WHERE state = 'waiting'");
    let failed = ended(&rig, State::Failed).await;
    assert_eq!(failed.error.unwrap().code, "timed_out");
    assert_eq!(half_done(&rig), good);
    let all = backups::of_instance(&rig.db, id, 10).await.unwrap();
    assert_eq!(all.iter().map(|row| row.state).collect::<Vec<_>>(), [BackupState::Failed, BackupState::Completed]);
    assert_eq!(rig.status(id).await, "running");
    assert!(rig.mails().ends_with("backup_failed"), "{}", rig.mails());

    // And a later one works when there is room again.
    disk.make_room();
    rig.act(id, Action::Backup).await;
    ended(&rig, State::Succeeded).await;
    rig.verify(id, rig.backup_of(id).await, true).await;
    ended(&rig, State::Succeeded).await;
    assert_ne!(books(&rig, id).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_mounted_is_waited_for() {
    if !can_mount() {
        return;
    }
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    // The store lies elsewhere and is mounted where it belongs; below the mount there is an empty directory.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::rename(rig.store.path().join(".root"), elsewhere.path().join(".root")).unwrap();
    let mounted = SmallDisk::bind(elsewhere.path(), rig.store.path());
    rig.act(id, Action::Backup).await;
    ended(&rig, State::Succeeded).await;
    let backup = rig.backup_of(id).await;

    drop(mounted);
    rig.attach(id, b"one more").await;
    rig.act(id, Action::Backup).await;
    rig.drain_until_away().await;
    // Archives are handed over in a directory there, which the rig has made.
    let below: Vec<_> = fs::read_dir(rig.store.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(below, ["transfer"], "something was written below the mount");
    assert_eq!(backups::get(&rig.db, backup).await.unwrap().unwrap().state, BackupState::Completed, "it counts as lost");
    let mounted = SmallDisk::bind(elsewhere.path(), rig.store.path());
    ended(&rig, State::Succeeded).await;

    // A restore that can read nothing of it waits as well, and nothing is touched.
    drop(mounted);
    let before = books(&rig, id).await;
    rig.restore(id, backup).await;
    rig.drain_until_away().await;
    assert_eq!(books(&rig, id).await, before);
    let _mounted = SmallDisk::bind(elsewhere.path(), rig.store.path());
    ended(&rig, State::Succeeded).await;
    assert_ne!(books(&rig, id).await, before);
}
