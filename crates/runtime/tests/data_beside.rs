//! Data beside the live ones: staged, handed over, exchanged, put back, removed; by name only, so that a kill at any moment is
//! survived.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use domain::ids::{InstanceId, OperationId};
use runtime::account::Account;
use runtime::directory::{Beside, DataDirectories, SwapState};
use runtime::{Class, Owner, Turn};
use rustix::fs::{Mode, OFlags, openat};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// One instance's directory, with a file in its filestore and one in an add-on.
struct Home {
    _place: tempfile::TempDir,
    directories: DataDirectories,
    path: PathBuf,
}

fn owner(number: u128) -> Owner {
    Owner::Instance(InstanceId::from_uuid(Uuid::from_u128(number)))
}

fn turn(token: i64) -> Turn {
    Turn { operation: OperationId::from_uuid(Uuid::from_u128(7)), token }
}

impl Home {
    async fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let directories = DataDirectories::new(place.path(), Account::named("nobody").unwrap()).unwrap();
        let path = directories.path("odoo_1f2e").unwrap();
        directories.create(&path, owner(1), turn(1)).await.unwrap();
        for (file, content) in [("filestore/odoo_1f2e/ab/ab12", "old"), ("addons/19.0/x/run.sh", "code"), ("sessions/s", "login")]
        {
            let file = path.join("data").join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        Self { _place: place, directories, path }
    }

    async fn stage(&self, token: i64) -> OwnedFd {
        self.directories.stage(&self.path, owner(1), turn(token), 1).await.unwrap()
    }

    /// Stages data with one file, and hands them over.
    async fn staged(&self) {
        let staged = self.stage(1).await;
        put(&staged, "new", "new");
        self.directories.hand_over(&self.path, owner(1), turn(1), 1).await.unwrap();
    }

    async fn swap(&self, token: i64) -> Result<(), Class> {
        self.directories.swap(&self.path, owner(1), turn(token), 1).await.map_err(|e| e.class())
    }

    async fn swap_back(&self, token: i64) -> Result<(), Class> {
        self.directories.swap_back(&self.path, owner(1), turn(token), 1).await.map_err(|e| e.class())
    }

    async fn state(&self) -> SwapState {
        self.directories.swap_state(&self.path, owner(1), 1).await.unwrap()
    }

    async fn beside(&self) -> Vec<Beside> {
        self.directories.beside(&self.path, owner(1)).await.unwrap()
    }

    async fn remove(&self, which: Beside) -> Result<(), Class> {
        self.directories.remove_beside(&self.path, owner(1), turn(1), which).await.map_err(|e| e.class())
    }

    /// Which data are live.
    fn live(&self) -> &'static str {
        if self.path.join("data/new").exists() { "new" } else { "old" }
    }

    fn left_over(&self) -> usize {
        fs::read_dir(self.directories.root().join(".staging")).map_or(0, Iterator::count)
    }
}

fn put(place: &OwnedFd, name: &str, content: &str) {
    let file = openat(place, name, OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC, Mode::from_raw_mode(0o644)).unwrap();
    File::from(file).write_all(content.as_bytes()).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn staged_data_are_ours_until_they_are_handed_over() {
    let home = Home::new().await;
    let staged = home.stage(1).await;
    let incoming = home.path.join("incoming-1");
    put(&staged, "new", "new");
    fs::create_dir_all(incoming.join("addons/19.0")).unwrap();
    let program = incoming.join("addons/19.0/run.sh");
    fs::write(&program, "code").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    symlink(outside.path(), incoming.join("addons/link")).unwrap();
    let before = fs::metadata(outside.path()).unwrap();
    let ours = fs::metadata(&incoming).unwrap();
    assert_eq!((ours.uid(), mode(&incoming)), (rustix::process::geteuid().as_raw(), 0o700));

    for _ in 0..2 {
        home.directories.hand_over(&home.path, owner(1), turn(1), 1).await.unwrap();
    }
    let theirs = fs::metadata(home.path.join("data")).unwrap();
    for path in ["", "new", "addons/19.0", "addons/19.0/run.sh", "addons/link", "filestore"] {
        let found = fs::symlink_metadata(incoming.join(path)).unwrap();
        assert_eq!((found.uid(), found.gid()), (theirs.uid(), theirs.gid()), "{path}");
    }
    assert_eq!((mode(&incoming), mode(&incoming.join("new")), mode(&program)), (0o700, 0o600, 0o700));
    let after = fs::metadata(outside.path()).unwrap();
    assert_eq!((before.uid(), before.mode()), (after.uid(), after.mode()), "no link is followed");
}

#[tokio::test]
async fn what_is_no_data_is_not_handed_over() {
    let home = Home::new().await;
    home.stage(1).await;
    let socket = std::os::unix::net::UnixListener::bind(home.path.join("incoming-1/socket")).unwrap();
    let hand_over = home.directories.hand_over(&home.path, owner(1), turn(1), 1).await;
    assert_eq!(hand_over.unwrap_err().class(), Class::Permanent);
    drop(socket);
    fs::remove_file(home.path.join("incoming-1/socket")).unwrap();
    fs::create_dir_all(home.path.join("incoming-1").join("d/".repeat(200))).unwrap();
    let hand_over = home.directories.hand_over(&home.path, owner(1), turn(1), 1).await;
    assert_eq!(hand_over.unwrap_err().class(), Class::Permanent);
    let missing = home.directories.hand_over(&home.path, owner(1), turn(1), 2).await;
    assert_eq!(missing.unwrap_err().class(), Class::Permanent);
}

#[tokio::test]
async fn staging_again_begins_anew_and_who_was_overtaken_writes_nothing() {
    let home = Home::new().await;
    let first = home.stage(1).await;
    put(&first, "half", "half");
    let second = home.stage(2).await;
    let late = openat(&first, "late", OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC, Mode::from_raw_mode(0o600));
    assert_eq!(late.unwrap_err(), rustix::io::Errno::NOENT);
    put(&second, "new", "new");
    let names: Vec<_> = fs::read_dir(home.path.join("incoming-1")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["new"]);
    assert_eq!(home.left_over(), 0);
    let stale = home.directories.stage(&home.path, owner(1), turn(1), 1).await;
    assert_eq!(stale.unwrap_err().class(), Class::Stale);
    let foreign = home.directories.stage(&home.path, owner(2), turn(3), 1).await;
    assert_eq!(foreign.unwrap_err().class(), Class::Foreign);
    assert_eq!((home.swap(1).await, home.swap_back(1).await), (Err(Class::Stale), Err(Class::Stale)));
}

#[tokio::test]
async fn data_are_exchanged_once_and_put_back_once() {
    let home = Home::new().await;
    assert_eq!((home.state().await, home.swap(1).await), (SwapState::Nothing, Err(Class::Permanent)));
    assert_eq!(home.swap_back(1).await, Ok(()), "there is nothing to put back");
    home.staged().await;
    let id = |name: &str| fs::metadata(home.path.join(name)).unwrap().ino();
    let (old, new) = (id("data"), id("incoming-1"));
    for _ in 0..2 {
        assert_eq!((home.state().await, home.live()), (SwapState::NotYet, "old"));
        for _ in 0..2 {
            home.swap(1).await.unwrap();
            assert_eq!((home.state().await, home.live()), (SwapState::Done, "new"));
        }
        assert_eq!((id("data"), id("replaced-1")), (new, old));
        assert_eq!(home.beside().await, [Beside::Replaced(1)]);
        let again = home.directories.stage(&home.path, owner(1), turn(1), 1).await;
        assert_eq!(again.unwrap_err().class(), Class::Permanent, "its number is used");
        for _ in 0..2 {
            home.swap_back(1).await.unwrap();
        }
        assert_eq!((id("data"), id("incoming-1")), (old, new));
    }
    home.swap(1).await.unwrap();
    for _ in 0..2 {
        home.remove(Beside::Replaced(1)).await.unwrap();
        home.remove(Beside::Incoming(1)).await.unwrap();
    }
    assert_eq!((home.beside().await, home.live(), home.left_over()), (Vec::new(), "new", 0));
}

/// A worker killed between the two renames leaves no live data; its successor goes on, whichever way it has to go.
#[tokio::test]
async fn a_kill_in_the_middle_is_survived_both_ways() {
    for forth in [true, false] {
        for killed_going_forth in [true, false] {
            let home = Home::new().await;
            home.staged().await;
            let rename = |from: &str, to: &str| fs::rename(home.path.join(from), home.path.join(to)).unwrap();
            if killed_going_forth {
                rename("data", "replaced-1");
            } else {
                home.swap(1).await.unwrap();
                rename("data", "incoming-1");
            }
            assert_eq!(home.state().await, SwapState::Half);
            // Nothing is lost meanwhile.
            assert_eq!(home.remove(Beside::Replaced(1)).await, Err(Class::Transient));
            assert_eq!(home.remove(Beside::Incoming(1)).await, Err(Class::Transient));
            let restage = home.directories.stage(&home.path, owner(1), turn(1), 1).await;
            assert_eq!(restage.unwrap_err().class(), Class::Permanent);
            let (gone, state, live) = if forth {
                (home.swap(2).await, SwapState::Done, "new")
            } else {
                (home.swap_back(2).await, SwapState::NotYet, "old")
            };
            assert_eq!((gone, home.state().await, home.live()), (Ok(()), state, live));
        }
    }
}

#[tokio::test]
async fn a_directory_in_which_a_process_works_keeps_its_data() {
    let home = Home::new().await;
    home.staged().await;
    for lock in ["run.lock", "incoming-1.lock"] {
        let held = File::create(home.path.join(lock)).unwrap();
        held.try_lock().unwrap();
        assert_eq!(home.swap(1).await, Err(Class::Transient), "{lock}");
        let remove = home.directories.remove(&home.path, owner(1), turn(1)).await;
        assert_eq!(remove.unwrap_err().class(), Class::Transient, "{lock}");
        let restage = home.directories.stage(&home.path, owner(1), turn(1), 1).await.map_err(|e| e.class());
        if lock == "incoming-1.lock" {
            assert_eq!(restage.map(drop), Err(Class::Transient), "a run works on it");
        } else {
            // The service does not keep others from preparing.
            drop(restage.unwrap());
        }
        assert_eq!(home.live(), "old");
        drop(held);
    }
    home.swap(1).await.unwrap();
    let held = File::open(home.path.join("run.lock")).unwrap();
    held.try_lock().unwrap();
    assert_eq!(home.swap_back(1).await, Err(Class::Transient));
    assert_eq!(home.swap(1).await, Ok(()), "done is done");
}

#[tokio::test]
async fn a_copy_shares_the_files_of_filestores_and_nothing_else() {
    let home = Home::new().await;
    let data = home.path.join("data");
    symlink("/etc/passwd", data.join("addons/link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(data.join("socket")).unwrap();
    let copied = home.directories.stage_copy(&home.path, owner(1), turn(1), 1).await.unwrap();
    assert_eq!((copied.files, copied.bytes), (3, 9));
    let incoming = home.path.join("incoming-1");
    let id = |path: PathBuf| fs::symlink_metadata(path).unwrap().ino();
    let (stored, code) = ("filestore/odoo_1f2e/ab/ab12", "addons/19.0/x/run.sh");
    assert_eq!(id(data.join(stored)), id(incoming.join(stored)));
    assert_ne!(id(data.join(code)), id(incoming.join(code)));
    assert_eq!(fs::read(incoming.join(code)).unwrap(), b"code");
    assert_eq!(fs::read_link(incoming.join("addons/link")).unwrap(), Path::new("/etc/passwd"));
    assert!(!incoming.join("socket").exists());
    let theirs = fs::metadata(&data).unwrap().uid();
    assert_eq!((fs::metadata(&incoming).unwrap().uid(), mode(&incoming)), (theirs, 0o700));
    // What an update's Odoo takes away, the former data still have.
    home.swap(1).await.unwrap();
    fs::remove_file(home.path.join("data").join(stored)).unwrap();
    assert_eq!(fs::read(home.path.join("replaced-1").join(stored)).unwrap(), b"old");
}

#[tokio::test]
async fn second_names_of_a_filestore_do_not_get_into_the_live_data() {
    let home = Home::new().await;
    home.staged().await;
    symlink("odoo_1f2e", home.path.join("incoming-1/filestore/odoo_1f2e_n1")).unwrap();
    home.swap(1).await.unwrap();
    assert_eq!(fs::read_dir(home.path.join("data/filestore")).unwrap().count(), 0);
}

#[tokio::test]
async fn data_are_opened_for_reading_and_links_in_their_place_are_not() {
    let home = Home::new().await;
    let data = home.directories.open_data(&home.path, owner(1)).await.unwrap();
    openat(&data, "addons", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    assert_eq!(home.directories.open_data(&home.path, owner(2)).await.unwrap_err().class(), Class::Foreign);
    fs::rename(home.path.join("data"), home.path.join("elsewhere")).unwrap();
    assert_eq!(home.directories.open_data(&home.path, owner(1)).await.unwrap_err().class(), Class::Permanent);
    symlink("elsewhere", home.path.join("data")).unwrap();
    home.directories.open_data(&home.path, owner(1)).await.unwrap_err();
}

#[tokio::test]
async fn free_space_is_that_of_the_roots_file_system() {
    let home = Home::new().await;
    let free = home.directories.free_space().await.unwrap();
    assert!((1024 * 1024..1 << 60).contains(&free), "{free}");
    fs::remove_dir_all(home.directories.root().join(".turns")).unwrap();
    assert_eq!(home.directories.free_space().await.unwrap_err().class(), Class::Unreachable);
}

/// A caller that is dropped leaves the thread to itself; what it leaves is found by the next.
#[tokio::test]
async fn a_dropped_call_leaves_nothing_that_the_next_does_not_find() {
    let home = Home::new().await;
    for token in 2..40 {
        let staging = home.directories.stage(&home.path, owner(1), turn(token), 1);
        let patience = std::time::Duration::from_micros(token.unsigned_abs() * 40);
        drop(tokio::time::timeout(patience, staging).await);
    }
    home.stage(50).await;
    home.remove_at(50).await;
    assert_eq!((home.beside().await, home.left_over(), home.live()), (Vec::new(), 0, "old"));
}

impl Home {
    async fn remove_at(&self, token: i64) {
        self.directories.remove_beside(&self.path, owner(1), turn(token), Beside::Incoming(1)).await.unwrap();
    }
}
