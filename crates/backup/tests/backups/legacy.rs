//! Backups of the earlier service, as they should be and as somebody hostile would make them.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use backup::legacy::LegacyStore;
use backup::{Backup, BackupError, BackupResult, Class, Verified};
use domain::backup::legacy::{Content, Legacy};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

const DUMP: &str = "--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 15.4\n\nSELECT 1;\n\n\
                    --\n-- PostgreSQL database dump complete\n--\n\n";

struct Place {
    root: TempDir,
}

type Tar = Builder<GzEncoder<Vec<u8>>>;
/// Puts something into an archive that is not to be there.
type Hostile = Box<dyn FnOnce(&mut Tar)>;

fn sha1(content: &[u8]) -> String {
    hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, content))
}

fn stored(database: &str, content: &[u8]) -> String {
    let name = sha1(content);
    format!("./data/filestore/{database}/{}/{name}", &name[..2])
}

fn header(kind: EntryType, bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(bytes);
    header.set_mode(0o644);
    header
}

fn add(tar: &mut Tar, path: &str, content: &[u8]) {
    tar.append_data(&mut header(EntryType::Regular, content.len() as u64), path, content).unwrap();
}

/// An entry whose name the library would refuse to write.
fn add_raw(tar: &mut Tar, path: &[u8], kind: EntryType, content: &[u8]) {
    let mut header = header(kind, content.len() as u64);
    let name = &mut header.as_old_mut().name;
    name[..path.len()].copy_from_slice(path);
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

fn packed(fill: impl FnOnce(&mut Tar)) -> Vec<u8> {
    let mut tar = Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    fill(&mut tar);
    tar.into_inner().unwrap().finish().unwrap()
}

/// What every one below has beside what is wrong with it.
fn ordinary(tar: &mut Tar) {
    add(tar, "./conf/odoo.conf", b"[options]\n");
    add(tar, &stored("shop", b"a letter"), b"a letter");
    add(tar, "./data/addons/19.0/shop/__init__.py", b"import models\n");
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("active")).unwrap();
        fs::write(root.path().join(".root"), "here\n").unwrap();
        Self { root }
    }

    fn store(&self) -> LegacyStore {
        LegacyStore::new(self.root.path())
    }

    fn file(&self, end: &str) -> PathBuf {
        self.root.path().join(format!("active/b_{end}"))
    }

    async fn look(&self, archive: &[u8]) -> Result<Content, String> {
        fs::write(self.file("data.tar.gz"), archive).unwrap();
        fs::write(self.file("database.sql"), DUMP).unwrap();
        self.store().look("b", Some("shop".to_owned())).await.unwrap().map_err(|flaw| flaw.why)
    }

    async fn restore(&self, content: Content, into: &Path) -> BackupResult<Verified> {
        let legacy = Legacy { name: "b".to_owned(), root: "here".to_owned(), content: Some(content) };
        fs::create_dir(into).unwrap();
        let data = OwnedFd::from(File::open(into).unwrap());
        let filestore = Backup::make_filestore(&data, "mine").unwrap();
        self.store().open(&legacy).await?.restore(data, filestore).await
    }
}

#[tokio::test]
async fn all_that_counts_is_read_and_nothing_else() {
    let place = Place::new();
    let long = format!("./data/addons/19.0/{}/__init__.py", "a".repeat(120));
    let content = place
        .look(&packed(|tar| {
            ordinary(tar);
            add(tar, &stored("shop", b""), b"");
            add(tar, &stored("neighbour", b"of another"), b"of another");
            add(tar, "./data/filestore/shop/checklist/ab/abcd", b"");
            add(tar, "./data/sessions/ab/secret", b"a login");
            add(tar, &long, b"long");
            tar.append_pax_extensions([("path", "data/addons/from_pax".as_bytes()), ("mtime", b"1.5")]).unwrap();
            add(tar, "short", b"pax");
            tar.append_link(&mut header(EntryType::Symlink, 0), "./addons/link", "/etc/passwd").unwrap();
        }))
        .await
        .unwrap();
    assert_eq!((content.filestore.as_deref(), content.files, content.files_bytes), (Some("shop"), 2, 8));
    assert_eq!((content.data_bytes, content.postgres_version), (14 + 4 + 3, Some(15)));
    let into = place.root.path().join("restored");
    place.restore(content.clone(), &into).await.unwrap();
    let letter = sha1(b"a letter");
    let found = crate::rig::contents(&into);
    let mut names: Vec<&str> = found.keys().map(String::as_str).collect();
    names.sort_unstable();
    let empty = sha1(b"");
    assert_eq!(
        names,
        [
            "addons/19.0/".to_owned() + &"a".repeat(120) + "/__init__.py",
            "addons/19.0/shop/__init__.py".to_owned(),
            "addons/from_pax".to_owned(),
            format!("filestore/mine/{}/{empty}", &empty[..2]),
            format!("filestore/mine/{}/{letter}", &letter[..2]),
        ]
    );

    let legacy = Legacy { name: "b".to_owned(), root: "here".to_owned(), content: Some(content) };
    let opened = place.store().open(&legacy).await.unwrap();
    assert_eq!(opened.verify().await.unwrap(), Verified { files: 2, files_bytes: 8 });
    let mut dump = String::new();
    opened.dump().unwrap().read_to_string(&mut dump).await.unwrap();
    assert_eq!(dump, DUMP);
    let elsewhere = Legacy { root: "there".to_owned(), ..legacy.clone() };
    for done in [place.store().open(&elsewhere).await.map(drop), place.store().remove(&elsewhere).await] {
        assert_eq!(done.unwrap_err().class(), Class::Unreachable);
    }
    // What was exchanged since stays.
    fs::write(place.file("database.sql"), "another").unwrap();
    place.store().remove(&legacy).await.unwrap();
    place.store().remove(&legacy).await.unwrap();
    assert!(place.file("database.sql").exists() && !place.file("data.tar.gz").exists());
}

#[tokio::test]
async fn hostile_archives_are_refused() {
    let place = Place::new();
    let link = |kind| move |tar: &mut Tar| tar.append_link(&mut header(kind, 0), "./data/link", "/etc/passwd").unwrap();
    let cases: Vec<(&str, Hostile)> = vec![
        ("leaves its directory", Box::new(|tar| add_raw(tar, b"data/../../owned", EntryType::Regular, b"x"))),
        ("leaves its directory", Box::new(|tar| add_raw(tar, b"../owned", EntryType::Regular, b"x"))),
        ("leaves its directory", Box::new(|tar| add_raw(tar, b"/etc/owned", EntryType::Regular, b"x"))),
        (
            "leaves its directory",
            Box::new(|tar| {
                tar.append_pax_extensions([("path", "data/../../owned".as_bytes())]).unwrap();
                add(tar, "data/harmless", b"x");
            }),
        ),
        ("neither a file nor a directory", Box::new(link(EntryType::Symlink))),
        ("neither a file nor a directory", Box::new(link(EntryType::Link))),
        ("neither a file nor a directory", Box::new(|tar| add_raw(tar, b"data/filestore/shop/ab", EntryType::Symlink, b""))),
        ("neither a file nor a directory", Box::new(|tar| add_raw(tar, b"data/disk", EntryType::Block, b""))),
        ("neither a file nor a directory", Box::new(|tar| add_raw(tar, b"data/tty", EntryType::Char, b""))),
        ("neither a file nor a directory", Box::new(|tar| add_raw(tar, b"data/pipe", EntryType::Fifo, b""))),
        ("not what its name says", Box::new(|tar| add(tar, &stored("shop", b"wanted"), b"other!"))),
        (
            "only a bomb",
            Box::new(|tar| {
                tar.append_data(&mut header(EntryType::Regular, 20 << 20), "data/zeros", std::io::repeat(0).take(20 << 20))
                    .unwrap();
            }),
        ),
        (
            "only a bomb",
            Box::new(|tar| {
                tar.append_data(&mut header(EntryType::Regular, 20 << 20), "unseen", std::io::repeat(0).take(20 << 20)).unwrap();
            }),
        ),
        (
            "a header is too long",
            Box::new(|tar| {
                tar.append_data(&mut header(EntryType::GNULongName, 1 << 20), "x", std::io::repeat(b'a').take(1 << 20)).unwrap();
            }),
        ),
        (
            "length of a file is in an extended header",
            Box::new(|tar| {
                tar.append_pax_extensions([("size", "5".as_bytes())]).unwrap();
                add(tar, "data/harmless", b"x");
            }),
        ),
        (
            "a file has holes",
            Box::new(|tar| {
                tar.append_pax_extensions([("GNU.sparse.major", "1".as_bytes())]).unwrap();
                add(tar, "data/harmless", b"x");
            }),
        ),
        ("cannot be read", Box::new(|tar| tar.get_mut().write_all(&[b'x'; 1024]).unwrap())),
    ];
    for (why, hostile) in cases {
        let archive = packed(|tar| {
            ordinary(tar);
            hostile(tar);
        });
        let told = place.look(&archive).await.expect_err(why);
        assert!(told.contains(why), "{told}");
    }
    let whole = packed(ordinary);
    let mut wrong_sum = whole.clone();
    let at = whole.len() - 6;
    wrong_sum[at] ^= 1;
    for (archive, why) in [
        (&whole[..whole.len() / 2], "cannot be read"),
        (&wrong_sum[..], "cannot be read"),
        (b"no gzip at all", "cannot be read"),
        (b"", "is empty"),
        (&packed(|_| {}), "it holds no data directory"),
        (&packed(|tar| add(tar, "conf/odoo.conf", b"")), "it holds no data directory"),
    ] {
        let told = place.look(archive).await.expect_err(why);
        assert!(told.contains(why), "{told}");
    }
    assert!(!place.root.path().join("owned").exists());
}

/// Which filestore is its own is known by the database's name, or because there is no other.
#[tokio::test]
async fn of_several_filestores_one_is_chosen_or_none() {
    let place = Place::new();
    let two = packed(|tar| {
        add(tar, &stored("one", b"1"), b"1");
        add(tar, &stored("two", b"2"), b"2");
    });
    assert!(place.look(&two).await.unwrap_err().contains("which filestore is its own: one, two"));
    let content = place.look(&packed(|tar| add(tar, &stored("renamed", b"1"), b"1"))).await.unwrap();
    assert_eq!(content.filestore.as_deref(), Some("renamed"));
    let content = place.look(&packed(|tar| add(tar, "data/a", b"1"))).await.unwrap();
    assert_eq!((content.filestore, content.files), (None, 0));
}

#[tokio::test]
async fn what_was_entered_may_still_be_unfit_and_nothing_is_followed() {
    let place = Place::new();
    let twice = packed(|tar| {
        add(tar, "data/a", b"1");
        add(tar, "data/a", b"2");
    });
    let content = place.look(&twice).await.unwrap();
    let error = place.restore(content, &place.root.path().join("twice")).await.unwrap_err();
    assert!(matches!(&error, BackupError::Damaged { why, .. } if why.contains("there twice")), "{error}");

    // One that somebody has put a link in the place of is none.
    place.look(&packed(ordinary)).await.unwrap();
    fs::rename(place.file("data.tar.gz"), place.root.path().join("moved")).unwrap();
    std::os::unix::fs::symlink(place.root.path().join("moved"), place.file("data.tar.gz")).unwrap();
    assert!(place.store().look("b", None).await.is_err());
}
