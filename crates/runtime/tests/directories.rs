//! Data directories: made whole, marked, never followed out of the root, removed only if ours.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use domain::ids::{InstanceId, OperationId};
use domain::names::PhysicalName;
use runtime::account::Account;
use runtime::directory::{DataDirectories, Filestore, Mark, Place};
use runtime::{Class, Owner, Turn};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use uuid::Uuid;

struct Root {
    _place: tempfile::TempDir,
    directories: DataDirectories,
}

fn root() -> Root {
    let place = tempfile::tempdir().unwrap();
    let directories = DataDirectories::new(place.path(), Account::named("nobody").unwrap()).unwrap();
    Root { _place: place, directories }
}

fn mark(number: u128) -> Mark {
    Mark {
        owner: Owner::Instance(InstanceId::from_uuid(Uuid::from_u128(number))),
        operation: OperationId::from_uuid(Uuid::from_u128(1_000 + number)),
    }
}

/// The first turn of the operation that a mark names.
fn turn(mark: Mark) -> Turn {
    Turn { operation: mark.operation, token: 1 }
}

impl Root {
    async fn made(&self, name: &str, mark: Mark) -> PathBuf {
        let path = self.directories.path(name).unwrap();
        self.directories.create(&path, mark.owner, turn(mark)).await.unwrap();
        path
    }

    fn staging(&self) -> PathBuf {
        self.directories.root().join(".staging")
    }

    fn staged(&self) -> usize {
        fs::read_dir(self.staging()).map_or(0, Iterator::count)
    }
}

/// What is below a path: relative names, sorted.
fn names(path: &Path) -> Vec<String> {
    let mut found: Vec<_> = fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    found
}

#[tokio::test]
async fn a_directory_is_complete_and_marked() {
    let root = root();
    let path = root.made("odoo_1f2e", mark(1)).await;
    assert_eq!(names(&path), ["addons", "conf", "data", "log", "mark.json"]);
    assert_eq!(root.directories.check(&path, mark(1).owner).await.unwrap(), Place::Ours(mark(1)));
    assert_eq!(root.directories.check(&path, mark(2).owner).await.unwrap(), Place::Foreign);
    assert_eq!(root.directories.list().await.unwrap(), [(path.clone(), mark(1))]);
    assert_eq!(root.staged(), 0);
    let mode = |name: &str| fs::metadata(path.join(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("data"), mode("conf"), mode("mark.json")), (0o700, 0o750, 0o600));
    if rustix::process::geteuid().is_root() {
        let owner = |name: &str| fs::metadata(path.join(name)).unwrap().uid();
        assert_eq!((owner("data/filestore"), owner("data")), (65534, 65534));
        assert_eq!((owner("conf"), owner("log"), owner("mark.json")), (0, 0, 0), "what Odoo must not exchange is ours");
    }
}

#[tokio::test]
async fn create_may_be_repeated_and_keeps_what_is_there() {
    let root = root();
    let path = root.made("odoo_1f2e", mark(1)).await;
    fs::write(path.join("data/kept"), "kept").unwrap();
    // A later operation of the same owner finds it; the first one's mark stays.
    let later = Mark { operation: mark(9).operation, ..mark(1) };
    root.directories.create(&path, later.owner, turn(later)).await.unwrap();
    assert!(path.join("data/kept").exists());
    assert_eq!(root.directories.check(&path, mark(1).owner).await.unwrap(), Place::Ours(mark(1)));
    assert_eq!(root.directories.create(&path, mark(2).owner, turn(mark(2))).await.unwrap_err().class(), Class::Foreign);
}

#[tokio::test]
async fn what_an_interrupted_create_left_is_replaced() {
    let root = root();
    let path = root.directories.path("odoo_1f2e").unwrap();
    let half = root.staging().join(format!("odoo_1f2e.{}.new.7-0", mark(1).operation));
    fs::create_dir_all(half.join("data")).unwrap();
    root.directories.create(&path, mark(1).owner, turn(mark(1))).await.unwrap();
    assert_eq!(names(&path), ["addons", "conf", "data", "log", "mark.json"]);
    assert_eq!(root.staged(), 0);
}

#[tokio::test]
async fn an_overtaken_turn_changes_nothing() {
    let root = root();
    let (owner, first) = (mark(1).owner, turn(mark(1)));
    let later = Turn { token: 2, ..first };
    let (from, files) = template(&root).await;
    let path = root.directories.path("odoo_1f2e").unwrap();
    root.directories.create(&path, owner, later).await.unwrap();
    let to = filestore(&path, 1, "odoo_a");
    assert_eq!(root.directories.remove(&path, owner, first).await.unwrap_err().class(), Class::Stale);
    assert_eq!(root.directories.copy_filestore(&from, &to, first).await.unwrap_err().class(), Class::Stale);
    assert_eq!(names(&path.join("data/filestore")), Vec::<String>::new());
    assert!(root.directories.copy_filestore(&from, &to, later).await.unwrap().is_some());
    assert!(path.join("data/filestore/odoo_a/ab/ab12").exists() && files.exists());
    // What was removed stays removed, also for one that was never told.
    root.directories.remove(&path, owner, later).await.unwrap();
    assert_eq!(root.directories.create(&path, owner, first).await.unwrap_err().class(), Class::Stale);
    assert_eq!(root.directories.check(&path, owner).await.unwrap(), Place::Absent);
    assert_eq!(root.staged(), 0);
}

#[tokio::test]
async fn what_a_later_turn_is_making_is_left_alone() {
    let root = root();
    let path = root.made("odoo_1f2e", mark(1)).await;
    let theirs = root.staging().join(format!("odoo_1f2e.{}.2.new.0", mark(1).operation));
    let earlier = root.staging().join(format!("odoo_1f2e.{}.0.filestore.0", mark(1).operation));
    fs::create_dir_all(&theirs).unwrap();
    fs::create_dir_all(&earlier).unwrap();
    root.directories.remove(&path, mark(1).owner, turn(mark(1))).await.unwrap();
    assert!(theirs.exists() && !earlier.exists());
}

#[tokio::test]
async fn a_directory_on_which_a_process_works_stays() {
    let root = root();
    let path = root.made("odoo_1f2e", mark(1)).await;
    let lock = File::create(path.join("run.lock")).unwrap();
    lock.try_lock().unwrap();
    assert_eq!(root.directories.remove(&path, mark(1).owner, turn(mark(1))).await.unwrap_err().class(), Class::Transient);
    assert!(path.join("data").exists());
    drop(lock);
    root.directories.remove(&path, mark(1).owner, turn(mark(1))).await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn racing_creates_make_one_directory() {
    let root = root();
    let path = root.directories.path("odoo_1f2e").unwrap();
    let (one, two) = (mark(1), Mark { operation: mark(2).operation, ..mark(1) });
    let (first, second) =
        tokio::join!(root.directories.create(&path, one.owner, turn(one)), root.directories.create(&path, two.owner, turn(two)));
    first.and(second).unwrap();
    assert!(matches!(root.directories.check(&path, mark(1).owner).await.unwrap(), Place::Ours(_)));
    assert_eq!(root.staged(), 0);
}

#[tokio::test]
async fn only_ours_is_removed_and_removing_may_be_repeated() {
    let root = root();
    let path = root.made("odoo_1f2e", mark(1)).await;
    assert_eq!(root.directories.remove(&path, mark(2).owner, turn(mark(2))).await.unwrap_err().class(), Class::Foreign);
    assert!(path.exists());
    for _ in 0..2 {
        root.directories.remove(&path, mark(1).owner, turn(mark(1))).await.unwrap();
        assert_eq!(root.directories.check(&path, mark(1).owner).await.unwrap(), Place::Absent);
    }
    let stranger = root.directories.path("strange").unwrap();
    fs::create_dir(&stranger).unwrap();
    assert_eq!(root.directories.remove(&stranger, mark(1).owner, turn(mark(1))).await.unwrap_err().class(), Class::Foreign);
    fs::write(stranger.join("mark.json"), "not a mark").unwrap();
    assert_eq!(root.directories.check(&stranger, mark(1).owner).await.unwrap(), Place::Foreign);
}

#[tokio::test]
async fn remove_finds_what_interrupted_calls_left() {
    let root = root();
    let path = root.made("odoo_1f2e", mark(1)).await;
    let other = root.staging().join("odoo_1f2ef.x.new");
    fs::create_dir_all(root.staging().join("odoo_1f2e.x.gone/data")).unwrap();
    fs::create_dir(root.staging().join("odoo_1f2e.y.new")).unwrap();
    fs::create_dir(&other).unwrap();
    root.directories.remove(&path, mark(1).owner, turn(mark(1))).await.unwrap();
    assert_eq!(names(&root.staging()), ["odoo_1f2ef.x.new"], "another directory's staging is not touched");
}

#[tokio::test]
async fn nothing_outside_the_root_is_touched() {
    let root = root();
    for name in ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "a\0b", "ü"] {
        assert_eq!(root.directories.path(name).unwrap_err().class(), Class::Permanent, "{name:?}");
    }
    let outside = tempfile::tempdir().unwrap();
    for path in [
        outside.path().to_owned(),
        root.directories.root().join("a/b"),
        root.directories.root().join("a/../.."),
        "relative".into(),
    ] {
        let owner = mark(1).owner;
        assert_eq!(
            root.directories.create(&path, mark(1).owner, turn(mark(1))).await.unwrap_err().class(),
            Class::Permanent,
            "{path:?}"
        );
        assert_eq!(root.directories.remove(&path, owner, turn(mark(1))).await.unwrap_err().class(), Class::Permanent, "{path:?}");
        assert_eq!(root.directories.check(&path, owner).await.unwrap_err().class(), Class::Permanent, "{path:?}");
        assert_eq!(root.directories.size(&path).await.unwrap_err().class(), Class::Permanent, "{path:?}");
    }
}

#[tokio::test]
async fn links_are_not_followed() {
    let root = root();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("precious"), "precious").unwrap();
    // A link in place of the directory is not ours, even if what it names carries our mark.
    let real = root.made("odoo_real", mark(1)).await;
    let link = root.directories.path("odoo_link").unwrap();
    symlink(&real, &link).unwrap();
    assert_eq!(root.directories.check(&link, mark(1).owner).await.unwrap(), Place::Foreign);
    // Links inside are removed as links.
    symlink(outside.path(), real.join("data/away")).unwrap();
    assert!(root.directories.size(&real).await.unwrap() < 1_000_000);
    root.directories.remove(&real, mark(1).owner, turn(mark(1))).await.unwrap();
    assert!(outside.path().join("precious").exists());
}

#[tokio::test]
async fn a_root_that_is_gone_is_unreachable_not_empty() {
    let root = root();
    let path = root.made("odoo_1f2e", mark(1)).await;
    fs::rename(root.directories.root(), root.directories.root().with_extension("away")).unwrap();
    assert_eq!(root.directories.check(&path, mark(1).owner).await.unwrap_err().class(), Class::Unreachable);
    assert_eq!(root.directories.remove(&path, mark(1).owner, turn(mark(1))).await.unwrap_err().class(), Class::Unreachable);
    assert_eq!(root.directories.list().await.unwrap_err().class(), Class::Unreachable);
    fs::rename(root.directories.root().with_extension("away"), root.directories.root()).unwrap();
}

fn filestore(directory: &Path, number: u128, database: &str) -> Filestore {
    Filestore { directory: directory.to_owned(), owner: mark(number).owner, database: PhysicalName::new(database).unwrap() }
}

/// A template's filestore with two files.
async fn template(root: &Root) -> (Filestore, PathBuf) {
    let directory = root.made("tmpl", mark(1)).await;
    let files = directory.join("data/filestore/tmpl_19");
    fs::create_dir_all(files.join("ab")).unwrap();
    fs::write(files.join("ab/ab12"), "first").unwrap();
    fs::write(files.join("ab/ab34"), "second!").unwrap();
    (filestore(&directory, 1, "tmpl_19"), files)
}

#[tokio::test]
async fn a_filestore_is_copied_whole_and_for_real() {
    let root = root();
    let (from, files) = template(&root).await;
    let directory = root.made("odoo_a", mark(2)).await;
    let to = filestore(&directory, 2, "odoo_a");
    let copied = root.directories.copy_filestore(&from, &to, turn(mark(2))).await.unwrap().unwrap();
    assert_eq!((copied.files, copied.bytes), (2, 12));
    let (source, copy) = (files.join("ab/ab12"), directory.join("data/filestore/odoo_a/ab/ab12"));
    assert_eq!(fs::read(&copy).unwrap(), b"first");
    let (source, target) = (fs::metadata(source).unwrap(), fs::metadata(&copy).unwrap());
    assert_ne!(source.ino(), target.ino(), "tenants share no file");
    assert_eq!((target.nlink(), target.mode() & 0o777), (1, 0o600));
    assert_eq!(target.uid(), fs::metadata(directory.join("data")).unwrap().uid());
    // Again: done already, and what Odoo wrote meanwhile stays.
    fs::write(directory.join("data/filestore/odoo_a/ab/new"), "new").unwrap();
    assert_eq!(root.directories.copy_filestore(&from, &to, turn(mark(2))).await.unwrap(), None);
    assert!(directory.join("data/filestore/odoo_a/ab/new").exists());
    assert_eq!(root.staged(), 0);
}

#[tokio::test]
async fn an_interrupted_copy_starts_anew() {
    let root = root();
    let (from, _) = template(&root).await;
    let directory = root.made("odoo_a", mark(2)).await;
    let half = root.staging().join(format!("odoo_a.{}.filestore.7-0", mark(2).operation));
    fs::create_dir_all(half.join("ab")).unwrap();
    fs::write(half.join("ab/ab12"), "fir").unwrap();
    let copied = root.directories.copy_filestore(&from, &filestore(&directory, 2, "odoo_a"), turn(mark(2))).await.unwrap();
    assert_eq!(copied.unwrap().bytes, 12);
    assert_eq!(root.staged(), 0);
}

#[tokio::test]
async fn a_filestore_with_links_or_in_strange_hands_is_refused() {
    let root = root();
    let (from, files) = template(&root).await;
    let directory = root.made("odoo_a", mark(2)).await;
    let copy = async |from: Filestore, to: Filestore| {
        root.directories.copy_filestore(&from, &to, turn(mark(2))).await.unwrap_err().class()
    };
    let to = filestore(&directory, 2, "odoo_a");
    assert_eq!(copy(filestore(&from.directory, 2, "tmpl_19"), to.clone()).await, Class::Foreign);
    assert_eq!(copy(from.clone(), filestore(&directory, 1, "odoo_a")).await, Class::Foreign);
    assert_eq!(copy(filestore(&from.directory, 1, "missing"), to.clone()).await, Class::Permanent);
    assert_eq!(copy(from.clone(), filestore(&directory, 2, "../../away")).await, Class::Permanent);
    symlink("/etc/hostname", files.join("ab/link")).unwrap();
    assert_eq!(copy(from.clone(), to.clone()).await, Class::Permanent);
    fs::remove_file(files.join("ab/link")).unwrap();
    // An Odoo that put a link in place of its own filestore area gets nothing written through it.
    let outside = tempfile::tempdir().unwrap();
    fs::remove_dir(directory.join("data/filestore")).unwrap();
    symlink(outside.path(), directory.join("data/filestore")).unwrap();
    assert_eq!(copy(from, to).await, Class::Permanent);
    assert_eq!(names(outside.path()), Vec::<String>::new());
}

#[tokio::test]
async fn the_size_is_what_the_files_occupy() {
    let root = root();
    let path = root.made("odoo_1f2e", mark(1)).await;
    let before = root.directories.size(&path).await.unwrap();
    fs::write(path.join("data/filestore/big"), vec![1_u8; 256 * 1024]).unwrap();
    File::open(path.join("data/filestore/big")).unwrap().sync_all().unwrap();
    let after = root.directories.size(&path).await.unwrap();
    assert!((256 * 1024..512 * 1024).contains(&(after - before)), "{before} {after}");
}
