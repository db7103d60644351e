//! Odoo's own format: out, in, and what nobody may bring in.

use crate::archive::{self, Entry};
use crate::rig::{Kind, Rig, backup_id, contents, facts, noise};
use crate::server::Server;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use backup::odoo_zip::{Limits, OdooManifest, OdooZip, write};
use backup::{Backup, BackupError, BackupResult, Class};
use domain::ids::InstanceId;
use futures::TryStreamExt;
use std::fs::{self, File};
use std::process::Command;
use tokio::io::{AsyncRead, AsyncReadExt};
use uuid::Uuid;

const MANIFEST: &[u8] = br#"{"odoo_dump": "1", "db_name": "shop", "version": "19.0", "version_info": [19, 0, 0, "final", 0, ""],
    "major_version": "19.0", "pg_version": "15.0", "modules": {"base": "19.0.1.3", "odd": null}}"#;

fn named(content: &[u8]) -> String {
    let name = hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, content));
    format!("filestore/{}/{name}", &name[..2])
}

/// What every archive has.
fn ordinary() -> Vec<Entry> {
    vec![Entry::deflated("dump.sql", b"SELECT 1;\n"), Entry::new("manifest.json", MANIFEST)]
}

async fn all(mut from: impl AsyncRead + Unpin) -> BackupResult<Vec<u8>> {
    let mut bytes = Vec::new();
    match from.read_to_end(&mut bytes).await {
        Ok(_) => Ok(bytes),
        Err(e) => Err(e.downcast().expect("an error of ours")),
    }
}

async fn read(bytes: &[u8]) -> BackupResult<OdooZip> {
    OdooZip::read(archive::file(bytes), Limits::default()).await
}

/// Reads everything that an archive offers.
async fn read_all(rig: &Rig, bytes: &[u8], limits: Limits) -> BackupResult<()> {
    let zip = OdooZip::read(archive::file(bytes), limits).await?;
    all(zip.dump_sql()).await?;
    rig.backups().writer(backup_id(1), rig.instance, 1).files_from(zip.files(&zip.names())).await
}

async fn backed_up(rig: &Rig) -> Backup {
    let stored = rig.back_up(backup_id(1)).await.unwrap();
    rig.backups().open(backup_id(1), 1, &stored.manifest_sha256).await.unwrap()
}

#[tokio::test]
async fn a_customer_leaves_and_comes() {
    let server = Server::start().await;
    let old = server.database("old");
    server.run(&old, "CREATE TABLE t (a text); INSERT INTO t SELECT repeat('ab\\', n) FROM generate_series(1, 500) n");
    let mut rig = Rig::new(Kind::Local, 100).await;
    let installation = server.cluster.server().installation();
    let dump = Command::new(installation.bin().join("pg_dump"))
        .args(["-Fc", "-Z0", "-h", "127.0.0.1", "-p", &old.port.to_string(), "-U", "tenant", "old"])
        .env("PGPASSWORD", crate::server::PASSWORD)
        .output()
        .unwrap();
    rig.dump = dump.stdout;
    let backup = backed_up(&rig).await;

    let manifest = OdooManifest::of(backup.manifest(), "shop").unwrap();
    let plain = server.tools.to_plain(backup.dump()).unwrap();
    let path = rig.path("shop.zip");
    let written = write(&backup, plain, &manifest, tokio::fs::File::create(&path).await.unwrap()).await.unwrap();
    assert_eq!(written.bytes, fs::metadata(&path).unwrap().len());
    assert_eq!(written.files.files, rig.wanted.len() as u64);

    let zip = OdooZip::read(File::open(&path).unwrap(), Limits::default()).await.unwrap();
    assert_eq!(zip.manifest(), &manifest);
    assert_eq!((manifest.version.as_str(), manifest.pg_version.as_str()), ("19.0", "15.0"));
    assert_eq!(zip.extent(), (written.files.files, written.files.files_bytes));
    assert_eq!(zip.ignored().count, 0);

    let new = server.database("new");
    server.tools.load_plain(&new, zip.dump_sql()).await.unwrap();
    let sum = "SELECT count(*), md5(string_agg(a, ',' ORDER BY a)) FROM t";
    assert_eq!(server.run(&new, sum), server.run(&old, sum));

    // As the backup of another instance.
    let instance = InstanceId::from_uuid(Uuid::from_u128(77));
    let mut writer = rig.backups().writer(backup_id(2), instance, 1);
    writer.dump(rig.dump.as_slice()).await.unwrap();
    writer.files_from(zip.files(&zip.names())).await.unwrap();
    writer.no_data().await.unwrap();
    let stored = writer.finish(facts()).await.unwrap();
    let came = rig.backups().open(backup_id(2), 1, &stored.manifest_sha256).await.unwrap();
    came.verify(true).await.unwrap();
    let restored = contents(&rig.restore(&came, "restored").await.unwrap());
    let mut before = contents(&rig.path("data"));
    before.retain(|path, _| path.starts_with("filestore/"));
    assert!(restored == before);

    // Once more: nothing is sent that is there.
    let mut again = rig.backups().writer(backup_id(3), instance, 1);
    again.files_from(zip.files(&zip.names())).await.unwrap();
    assert!(again.sent().bytes() < 10_000, "{}", again.sent().bytes());

    // Python's reader, which Odoo uses, reads it too.
    let script = "import sys, zipfile, json; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; \
        n = z.namelist(); assert n[0] == 'dump.sql'; m = json.loads(z.read('manifest.json')); print(len(n), m['major_version'])";
    let output = Command::new("python3").args(["-c", script]).arg(&path).output().unwrap();
    let expected = format!("{} 19.0\n", rig.wanted.len() + 2);
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn what_odoo_makes_is_read() {
    let rig = Rig::new(Kind::Local, 20).await;
    let root = rig.path("odoo");
    fs::create_dir_all(root.join("filestore/checklist/ab")).unwrap();
    fs::write(root.join("filestore/checklist/ab/abcdef"), "").unwrap();
    fs::write(root.join("dump.sql"), noise(1, 300_000)).unwrap();
    fs::write(root.join("manifest.json"), MANIFEST).unwrap();
    for (name, content) in contents(&rig.filestore()) {
        let path = root.join("filestore").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    // To a file, and through a pipe, which has sizes behind contents only.
    let script = "import os, sys, zipfile\nroot = sys.argv[1]\n\
        out = sys.stdout.buffer if sys.argv[2] == '-' else sys.argv[2]\n\
        with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED, allowZip64=True) as z:\n\
        \x20for place, _, names in os.walk(root):\n\
        \x20\x20for name in sorted(names, key=lambda n: n != 'dump.sql'):\n\
        \x20\x20\x20path = os.path.join(place, name)\n\
        \x20\x20\x20z.write(path, os.path.relpath(path, root))\n";
    let by = |target: &str| Command::new("python3").args(["-c", script]).arg(&root).arg(target).output().unwrap();
    let path = rig.path("odoo.zip");
    assert!(by(path.to_str().unwrap()).status.success());
    for bytes in [fs::read(&path).unwrap(), by("-").stdout] {
        let zip = read(&bytes).await.unwrap();
        assert_eq!(zip.manifest().db_name, "shop");
        assert_eq!(zip.manifest().modules["odd"], None);
        assert_eq!(zip.ignored().names, ["filestore/checklist/ab/abcdef"]);
        assert!(all(zip.dump_sql()).await.unwrap() == noise(1, 300_000));
        let files: Vec<_> = zip.files(&zip.names()).try_collect().await.unwrap();
        assert_eq!(
            files.iter().map(|file| file.name.clone()).collect::<Vec<_>>(),
            rig.wanted.iter().map(|w| w.name.clone()).collect::<Vec<_>>()
        );
        read_all(&rig, &bytes, Limits::default()).await.unwrap();
    }

    // One without a filestore, and one with directories and with what others add.
    assert_eq!(read(&archive::bytes(&ordinary())).await.unwrap().extent(), (0, 0));
    let mut entries = ordinary();
    for name in ["filestore/", "filestore/ab/", "__MACOSX/x", "README", "filestore/.DS_Store"] {
        entries.push(Entry::new(name, b""));
    }
    assert_eq!(read(&archive::bytes(&entries)).await.unwrap().ignored().names, ["__MACOSX/x", "README", "filestore/.DS_Store"]);

    // More entries than the short form can count.
    let mut many = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for entry in ordinary() {
        many.start_file(String::from_utf8(entry.name).unwrap(), options).unwrap();
        std::io::Write::write_all(&mut many, if entry.method == 0 { &entry.packed } else { b"SELECT 1;" }).unwrap();
    }
    for n in 0..66_000 {
        many.start_file(format!("filestore/checklist/{n}"), options).unwrap();
    }
    let zip = read(many.finish().unwrap().get_ref()).await.unwrap();
    assert_eq!((zip.ignored().count, zip.ignored().names.len()), (66_000, 100));
}

#[tokio::test]
async fn what_no_archive_of_odoo_has_is_refused() {
    let rig = Rig::new(Kind::Local, 0).await;
    let sum = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
    let entry = |name: &str| Entry::new(name, b"");
    let file = || Entry::deflated(&named(b"content"), b"content");
    let with = |extra: Vec<Entry>| [ordinary(), extra].concat();
    let mut cases: Vec<(&str, Vec<Entry>)> = Vec::new();
    for name in ["../x", "/dump.sql", "x/../../y", "filestore/../x", "x/./y", "x//y", "..", ".", "../", "/"] {
        cases.push(("leaves the archive", with(vec![entry(name)])));
    }
    for name in ["C:/x", "..\\x", "x\ny", "x\0y"] {
        cases.push(("what no name has", with(vec![entry(name)])));
    }
    cases.push(("not in UTF-8", with(vec![Entry { name: vec![b'x', 0xff], ..entry("") }])));
    cases.push(("too long", with(vec![entry(&"x".repeat(600))])));
    for name in [format!("filestore/db/{sum}"), format!("filestore/da/{}", sum.to_uppercase()), "filestore/da/x".to_owned()] {
        cases.push(("no file of a filestore", with(vec![entry(&name)])));
    }
    for name in [format!("filestore/da/da/{sum}"), format!("filestore/checklist/a/b/{sum}"), "filestore/da/39/".to_owned()] {
        cases.push(("no such directories", with(vec![entry(&name)])));
    }
    cases.push(("neither a file nor", with(vec![Entry { mode: 0o120_777, ..file() }])));
    cases.push(("neither a file nor", with(vec![Entry { mode: 0o120_777, ..entry("harmless") }])));
    cases.push(("neither a file nor", with(vec![Entry { mode: 0o010_644, ..file() }])));
    cases.push(("a directory and none", with(vec![Entry { mode: 0o040_755, ..file() }])));
    cases.push(("a directory and none", with(vec![Entry::new("x/", b"content")])));
    cases.push(("twice", with(vec![Entry::new("dump.sql", b"SELECT 2;")])));
    cases.push(("twice", with(vec![file(), file()])));
    cases.push(("encrypted", with(vec![Entry { flags: 1, ..file() }])));
    for method in [9, 12, 14, 93, 95, 99] {
        cases.push(("neither stored nor deflated", with(vec![Entry { method, ..file() }])));
    }
    cases.push(("inconsistency", with(vec![Entry { local_name: Some(named(b"another").into_bytes()), ..file() }])));
    cases.push(("inconsistency", with(vec![file(), Entry { name: b"x".to_vec(), within: Some(0), ..file() }])));
    let outer = Entry::new("x", &archive::local(&file()));
    cases.push(("overlapping", with(vec![outer, Entry { within: Some(31), ..file() }])));
    cases.push(("no dump.sql", vec![Entry::new("manifest.json", MANIFEST), file()]));
    cases.push(("no manifest.json", vec![Entry::new("dump.sql", b"SELECT 1;")]));
    for manifest in ["", "[]", "{\"odoo_dump\": \"1\"}", "{\"odoo_dump\": \"2\", \"major_version\": \"19.0\", \"modules\": {}}"] {
        cases.push(("manifest.json: ", vec![ordinary().remove(0), Entry::new("manifest.json", manifest.as_bytes())]));
    }
    cases.push(("too long", vec![ordinary().remove(0), Entry::new("manifest.json", &[b' '; 5 << 20])]));
    // Lies about sizes and sums come out when it is read.
    let long = noise(5, 200_000);
    for (why, entry) in [
        ("declared uncompressed size", Entry { size: 100, ..Entry::deflated("dump.sql", &long) }),
        ("declared uncompressed size", Entry { size: 0, ..Entry::deflated("dump.sql", &long) }),
        ("shorter than it says", Entry { size: 200_001, ..Entry::deflated("dump.sql", &long) }),
        ("", Entry { sum: 1, ..Entry::deflated("dump.sql", &long) }),
        ("", Entry { packed: long.clone(), ..Entry::deflated("dump.sql", &long) }),
    ] {
        cases.push((why, vec![entry, ordinary().remove(1)]));
    }
    cases.push(("not what its name says", with(vec![Entry::deflated(&named(b"content"), b"contenT")])));
    cases.push(("not what its name says", with(vec![Entry::new(&named(b"content"), &noise(1, 5 << 20))])));
    cases.push(("bomb", vec![Entry::deflated("dump.sql", &vec![b' '; 3 << 20]), ordinary().remove(1)]));
    for (why, entries) in &cases {
        let names: Vec<_> = entries.iter().map(|entry| String::from_utf8_lossy(&entry.name)).collect();
        let outcome = read_all(&rig, &archive::bytes(entries), Limits::default()).await;
        let Err(error) = outcome else { panic!("{why}: {names:?} was read") };
        assert!(matches!(error, BackupError::Refused(_)) && error.class() == Class::Permanent, "{why}: {names:?}: {error:?}");
        assert!(error.to_string().contains(why), "{why}: {names:?}: {error}");
    }
    assert!(cases.len() > 45);

    let limits = Limits::default();
    let good = archive::bytes(&with(vec![file()]));
    read_all(&rig, &good, limits).await.unwrap();
    let wide: Vec<Entry> = (0..40).map(|n| Entry { extra: vec![0; 60_000], ..entry(&n.to_string()) }).collect();
    for (why, bytes, limits) in [
        ("3 entries, where 2 are allowed", good.clone(), Limits { entries: 2, ..limits }),
        ("more than 100 bytes", good.clone(), Limits { bytes: 100, ..limits }),
        ("directory is too long", archive::bytes(&with(wide)), Limits { entries: 100, ..limits }),
        ("", good[..good.len() - 1].to_vec(), limits),
        ("", good[1..].to_vec(), limits),
        ("", [b"x", good.as_slice()].concat(), limits),
        ("", good[..good.len() / 2].to_vec(), limits),
        ("", b"PGDMP".to_vec(), limits),
        ("", Vec::new(), limits),
    ] {
        let error = read_all(&rig, &bytes, limits).await.unwrap_err();
        assert!(matches!(error, BackupError::Refused(_)) && error.to_string().contains(why), "{why}: {error:?}");
    }
}

#[tokio::test]
async fn a_wrong_file_never_gets_into_the_pool() {
    let rig = Rig::new(Kind::Local, 0).await;
    let wrong = [Entry::new(&named(b"small"), b"smalL"), Entry::new(&named(b"large"), &noise(1, 9 << 20))];
    for entry in wrong {
        let zip = read(&archive::bytes(&[ordinary(), vec![entry]].concat())).await.unwrap();
        let mut writer = rig.backups().writer(backup_id(1), rig.instance, 1);
        assert!(matches!(writer.files_from(zip.files(&zip.names())).await, Err(BackupError::Refused(_))));
        assert_eq!(rig.objects("pool"), Vec::<String>::new());
    }
    // Nobody comes by a file of the pool through its name.
    let backup = backed_up(&rig).await;
    let name = rig.wanted.iter().find(|wanted| wanted.bytes > Some(0)).unwrap();
    let path = format!("filestore/{}/{}", name.name.directory(), name.name);
    let claim = Entry::new(&path, &noise(2, usize::try_from(name.bytes.unwrap()).unwrap()));
    let zip = read(&archive::bytes(&[ordinary(), vec![claim]].concat())).await.unwrap();
    let mut writer = rig.backups().writer(backup_id(2), rig.instance, 1);
    assert!(matches!(writer.files_from(zip.files(&zip.names())).await, Err(BackupError::Refused(_))));
    backup.verify(true).await.unwrap();
}

#[tokio::test]
async fn an_archive_that_was_not_finished_is_none() {
    let rig = Rig::new(Kind::Local, 30).await;
    let backup = backed_up(&rig).await;
    let manifest = OdooManifest::of(backup.manifest(), "shop").unwrap();
    let into = async |name: &str| tokio::fs::File::create(rig.path(name)).await.unwrap();
    let is_none = async |name: &str| OdooZip::read(File::open(rig.path(name)).unwrap(), Limits::default()).await.is_err();

    // A content of the pool is damaged, or missing.
    let object = rig.objects("pool").into_iter().find(|path| !path.contains('.')).unwrap();
    let path = rig.path("store").join(object);
    let before = fs::read(&path).unwrap();
    fs::write(&path, vec![b'x'; before.len()]).unwrap();
    let error = write(&backup, b"SELECT 1;".as_slice(), &manifest, into("damaged").await).await.unwrap_err();
    assert!(matches!(error, BackupError::Damaged { .. }) && is_none("damaged").await, "{error}");
    fs::remove_file(&path).unwrap();
    let error = write(&backup, b"SELECT 1;".as_slice(), &manifest, into("missing").await).await.unwrap_err();
    assert!(matches!(error, BackupError::Damaged { .. }) && is_none("missing").await, "{error}");
    fs::write(&path, &before).unwrap();

    // The dump breaks off with an error of ours, or there is none.
    let broken = tokio_util::io::StreamReader::new(futures::stream::iter([
        Ok(bytes::Bytes::from_static(b"SELECT 1;")),
        Err(std::io::Error::other(BackupError::ServerAway("on purpose".to_owned()))),
    ]));
    let error = write(&backup, broken, &manifest, into("broken").await).await.unwrap_err();
    assert!(matches!(error, BackupError::ServerAway(_)) && is_none("broken").await, "{error}");
    let error = write(&backup, tokio::io::empty(), &manifest, into("empty").await).await.unwrap_err();
    assert!(matches!(error, BackupError::Refused(_)) && is_none("empty").await, "{error}");

    // Who reads it goes away, first at once and then half-way; or the call is dropped.
    let noise = noise(3, 3 << 20);
    for length in [0, 1 << 20] {
        let (near, mut far) = tokio::io::duplex(1024);
        let reading = async move {
            let mut some = vec![0; length];
            far.read_exact(&mut some).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(write(&backup, noise.as_slice(), &manifest, near), reading);
        assert!(matches!(outcome, Err(BackupError::Local { .. })), "{outcome:?}");
    }
    let (near, mut far) = tokio::io::duplex(1024);
    {
        let mut writing = std::pin::pin!(write(&backup, noise.as_slice(), &manifest, near));
        let mut some = vec![0; 1 << 20];
        tokio::select! {
            outcome = &mut writing => panic!("{outcome:?}"),
            read = far.read_exact(&mut some) => drop(read.unwrap()),
        }
    }
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).await.unwrap();
    assert!(!rest.windows(4).any(|window| window == b"PK\x05\x06"));
    write(&backup, noise.as_slice(), &manifest, into("whole").await).await.unwrap();
    assert!(!is_none("whole").await);
}
