//! Backups of the earlier service: entered into the catalogue, restored, copied, checked and removed; and those that are none.

use crate::backups::{books, ended, with_data};
use crate::rig::Rig;
use backup::legacy::LegacyStore;
use bootstrap::OsEntropy;
use db::platform::acceptance::BackupDeleted;
use db::platform::backups::{self, Backup};
use db::platform::legacy_backups;
use domain::backup::{Origin, State as BackupState};
use domain::ids::{BackupId, InstanceId};
use domain::instance::Action;
use domain::operation::State;
use domain::sources::random_uuid;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use worker::adoption::{LegacyBackups, Outcome};

const NAME: &str = "shop_Mein Laden_before_move_20250304_050607";

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// The three files as the earlier service wrote them, of an instance as it is now.
async fn triple(rig: &Rig, id: InstanceId, name: &str) {
    let (instance, active) = (rig.instance(id).await, rig.store.path().join("active"));
    let database = instance.placement.as_ref().unwrap().db_name.to_string();
    fs::create_dir_all(&active).unwrap();
    let server = rig.pair.postgres2.server();
    run(Command::new(server.installation().bin().join("pg_dump"))
        .args(["--verbose", "--no-password", "-U", "postgres", "-h"])
        .arg(server.directory())
        .args(["-p", &rig.pair.postgres2.port().to_string(), "-d", &database, "-f"])
        .arg(active.join(format!("{name}_database.sql"))));

    let volume = tempfile::tempdir().unwrap();
    let put = |path: &str, content: &str| {
        let path = volume.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    put("conf/odoo.conf", "[options]\ndb_host = elsewhere\n");
    put("addons/shop/__manifest__.py", "{}");
    put("data/sessions/ab/secret", "a login");
    put("data/addons/19.0/shop/__init__.py", "import models\n");
    put("data/filestore/neighbour/ab/abcdef", "of nobody");
    put(&format!("data/filestore/{database}/checklist/ab/abcdef"), "");
    run(Command::new("cp")
        .arg("-r")
        .arg(format!("{}/.", rig.filestore(id).await.display()))
        .arg(volume.path().join("data/filestore").join(&database)));
    std::os::unix::fs::symlink("/etc/passwd", volume.path().join("addons/link")).unwrap();
    pack(volume.path(), &active.join(format!("{name}_data.tar.gz")));

    let metadata = json!({
        "backup_name": name,
        "instance_id": id,
        "instance_name": instance.name,
        "database_name": database,
        "customer_id": instance.customer_id,
        "odoo_version": "19.0",
        "created_at": "2025-03-04T05:06:07.123456",
        "database_backup_path": format!("/var/lib/odoo/backups/active/{name}_database.sql"),
        "status": "completed",
    });
    describe(rig, name, &metadata);
}

fn pack(directory: &Path, into: &Path) {
    run(Command::new("tar").arg("-czf").arg(into).arg("-C").arg(directory).arg("."));
}

fn describe(rig: &Rig, name: &str, metadata: &Value) {
    fs::write(file(rig, name, "_metadata.json"), serde_json::to_vec_pretty(metadata).unwrap()).unwrap();
}

fn file(rig: &Rig, name: &str, end: &str) -> PathBuf {
    rig.store.path().join(format!("active/{name}{end}"))
}

/// Every old file with its content.
fn files(rig: &Rig) -> BTreeMap<PathBuf, Vec<u8>> {
    let active = fs::read_dir(rig.store.path().join("active")).unwrap().map(|entry| entry.unwrap().path());
    active.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

async fn adopt(rig: &Rig, dry_run: bool) -> Vec<Outcome> {
    let (store, entropy) = (LegacyStore::new(rig.store.path()), Arc::new(OsEntropy));
    let adoption = LegacyBackups { db: rig.db.clone(), store, entropy, actor: "test".to_owned() };
    adoption.adopt(dry_run).await.unwrap().into_iter().map(|(_, outcome)| outcome).collect()
}

async fn imported(rig: &Rig, id: InstanceId) -> Vec<Backup> {
    let all = backups::of_instance(&rig.db, id, 100).await.unwrap();
    all.into_iter().filter(|backup| backup.origin == Origin::Imported).collect()
}

async fn named(rig: &Rig, id: InstanceId, name: &str) -> Option<BackupId> {
    let mut tx = rig.db.begin().await.unwrap();
    legacy_backups::named(&mut tx, id, name).await.unwrap()
}

async fn one(rig: &Rig) -> (InstanceId, BackupId) {
    let id = with_data(rig).await;
    triple(rig, id, NAME).await;
    assert_eq!(adopt(rig, false).await, [Outcome::Entered(id)]);
    (id, named(rig, id, NAME).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_earlier_service_took_is_entered_once_and_comes_back() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let before = books(&rig, id).await;
    triple(&rig, id, NAME).await;
    let old = files(&rig);
    assert_eq!(adopt(&rig, true).await, [Outcome::Entered(id)]);
    assert_eq!(imported(&rig, id).await, []);
    assert_eq!(adopt(&rig, false).await, [Outcome::Entered(id)]);
    assert_eq!(adopt(&rig, false).await, [Outcome::Known(id)]);
    let [row] = imported(&rig, id).await.try_into().unwrap();
    assert_eq!((row.state, row.name.as_str(), row.odoo_version.as_str()), (BackupState::Completed, NAME, "19"));
    assert_eq!(row.created_at.to_rfc3339(), "2025-03-04T05:06:07.123456+00:00");
    assert_eq!(row.files_count, i64::try_from(before.1.len()).ok());
    assert_eq!(named(&rig, id, NAME).await, Some(row.id));
    assert_eq!(named(&rig, InstanceId::from_uuid(random_uuid(&OsEntropy)), NAME).await, None);

    rig.inside(id, "DELETE FROM ir_attachment; UPDATE res_company SET name = 'Spoiled'").await;
    fs::remove_dir_all(rig.filestore(id).await).unwrap();
    rig.restore(id, row.id).await;
    ended(&rig, State::Succeeded).await;
    assert_eq!(rig.status(id).await, "running");
    assert_eq!(books(&rig, id).await, before);
    let home = PathBuf::from(rig.instance(id).await.placement.unwrap().data_dir);
    assert!(home.join("data/addons/19.0/shop/__init__.py").exists());
    assert!(!home.join("data/sessions/ab/secret").exists() && !home.join("data/filestore/neighbour").exists());
    assert!(!fs::read_to_string(home.join("conf/odoo.conf")).unwrap().contains("elsewhere"));

    rig.verify(id, row.id, true).await;
    ended(&rig, State::Succeeded).await;
    assert!(backups::get(&rig.db, row.id).await.unwrap().unwrap().proven_at.is_some());

    let copy = rig.copy(id, Some(row.id)).await;
    ended(&rig, State::Succeeded).await;
    assert_eq!((rig.status(copy).await, books(&rig, copy).await.1), ("running".to_owned(), before.1));
    assert_eq!(files(&rig), old);

    // Deleted like any other, it takes its files along, and nobody else's.
    triple(&rig, id, "another").await;
    rig.act(id, Action::Backup).await;
    ended(&rig, State::Succeeded).await;
    assert!(matches!(rig.delete_backup(row.id).await, BackupDeleted::Accepted(_)));
    ended(&rig, State::Succeeded).await;
    assert_eq!(named(&rig, id, NAME).await, None);
    assert!(files(&rig).into_keys().all(|path| path.to_str().unwrap().contains("another")) && files(&rig).len() == 3);
    rig.restore(id, rig.backup_of(id).await).await;
    ended(&rig, State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_whole_is_entered_as_failed_and_mended_when_it_is() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    triple(&rig, id, "b").await;
    let archive = fs::read(file(&rig, "b", "_data.tar.gz")).unwrap();
    let dump = fs::read(file(&rig, "b", "_database.sql")).unwrap();
    let spoil: [(&str, &str, Option<Vec<u8>>, &str); 7] = [
        ("a1", "_data.tar.gz", None, "a1_data.tar.gz is missing"),
        ("a2", "_data.tar.gz", Some(Vec::new()), "a2_data.tar.gz is empty"),
        ("a3", "_data.tar.gz", Some(archive[..archive.len() / 2].to_vec()), "a3_data.tar.gz: it cannot be read"),
        ("a4", "_database.sql", None, "a4_database.sql is missing"),
        ("a5", "_database.sql", Some(dump[..dump.len() / 2].to_vec()), "a5_database.sql"),
        ("a6", "_database.sql", Some([b"\\! touch /tmp/owned\n".as_slice(), &dump].concat()), "a6_database.sql"),
        (
            "a7",
            "_metadata.json",
            Some(json!({ "instance_id": id, "created_at": "2025-01-01T00:00:00" }).to_string().into()),
            "no version of Odoo",
        ),
    ];
    for (name, end, content, _) in &spoil {
        triple(&rig, id, name).await;
        match content {
            Some(content) => fs::write(file(&rig, name, end), content).unwrap(),
            None => fs::remove_file(file(&rig, name, end)).unwrap(),
        }
    }
    let outcomes = adopt(&rig, false).await;
    for ((name, _, _, why), outcome) in spoil.iter().zip(&outcomes) {
        assert!(matches!(outcome, Outcome::Failed(instance, told) if *instance == id && told.contains(why)), "{name}: {outcome}");
    }
    assert_eq!(outcomes[spoil.len()..], [Outcome::Entered(id)]);
    let rows = imported(&rig, id).await;
    let failed: Vec<&Backup> = rows.iter().filter(|row| row.state == BackupState::Failed).collect();
    assert_eq!((rows.len(), failed.len()), (8, 7));
    assert!(failed.iter().all(|row| row.error.as_ref().is_some_and(|error| error.starts_with("This backup of the earlier"))));
    let restorable = {
        let mut tx = rig.db.begin().await.unwrap();
        backups::restorable(&mut tx, failed[0].id, id).await.unwrap()
    };
    assert_eq!(restorable, None);

    assert!(adopt(&rig, false).await.iter().all(|outcome| *outcome == Outcome::Known(id)));
    fs::write(file(&rig, "a1", "_data.tar.gz"), &archive).unwrap();
    assert_eq!(
        adopt(&rig, false).await.into_iter().filter(|o| *o != Outcome::Known(id)).collect::<Vec<_>>(),
        [Outcome::Entered(id)]
    );
    rig.restore(id, named(&rig, id, "a1").await.unwrap()).await;
    ended(&rig, State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_what_is_not_his() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    triple(&rig, id, "b").await;
    let stranger = random_uuid(&OsEntropy);
    let other = |fields: Value| {
        let text = fs::read_to_string(file(&rig, "b", "_metadata.json")).unwrap();
        let mut metadata: Value = serde_json::from_str(&text).unwrap();
        for (name, value) in fields.as_object().unwrap() {
            metadata[name] = value.clone();
        }
        metadata
    };
    describe(&rig, "c", &other(json!({ "instance_id": stranger })));
    describe(&rig, "d", &other(json!({ "customer_id": stranger })));
    describe(&rig, "e", &other(json!({ "instance_id": "../../etc" })));
    fs::write(file(&rig, "f", "_metadata.json"), "{").unwrap();
    fs::write(file(&rig, "g", "_database.sql"), "SELECT 1;").unwrap();
    let told: Vec<String> = adopt(&rig, false).await.iter().map(ToString::to_string).collect();
    assert_eq!(told[0], format!("entered, instance {id}"));
    for (told, why) in told[1..].iter().zip([
        format!("not entered: there is no instance {stranger}"),
        format!("not entered: instance {id} belongs to customer"),
        "not entered: e_metadata.json: its instance_id".to_owned(),
        "not entered: f_metadata.json: it is no JSON".to_owned(),
        "not entered: its metadata are missing".to_owned(),
    ]) {
        assert!(told.starts_with(&why), "{told}");
    }
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.backups").trim(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_since_is_noticed_before_anything_live_is_touched() {
    let rig = Rig::start().await;
    let (id, backup) = one(&rig).await;
    let (before, server_before) = (books(&rig, id).await, rig.snapshot());
    for end in ["_database.sql", "_data.tar.gz"] {
        let (path, whole) = (file(&rig, NAME, end), fs::read(file(&rig, NAME, end)).unwrap());
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        let longer = [whole.as_slice(), b"\n"].concat();
        for content in [Some(flipped), Some(longer), Some(whole[..whole.len() - 1].to_vec()), None] {
            match &content {
                Some(content) => fs::write(&path, content).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            rig.restore(id, backup).await;
            assert_eq!(ended(&rig, State::Failed).await.error.unwrap().code, "backup_damaged", "{end}");
            assert_eq!(rig.status(id).await, "running");
        }
        assert!(matches!(adopt(&rig, false).await.as_slice(), [Outcome::Changed(..)]));
        fs::write(&path, whole).unwrap();
    }
    // A file system that is not mounted is waited for.
    let (here, away) = (rig.store.path().to_owned(), rig.store.path().with_extension("away"));
    fs::rename(&here, &away).unwrap();
    rig.restore(id, backup).await;
    rig.drain_until_away().await;
    assert_eq!((books(&rig, id).await, server_before.difference(&rig.snapshot()).is_empty()), (before, true));
    fs::rename(&away, &here).unwrap();
    ended(&rig, State::Succeeded).await;

    // A check that finds it changed says so for good.
    fs::write(file(&rig, NAME, "_data.tar.gz"), "x").unwrap();
    rig.verify(id, backup, false).await;
    ended(&rig, State::Failed).await;
    assert_eq!(backups::get(&rig.db, backup).await.unwrap().unwrap().state, BackupState::Failed);
    assert!(matches!(adopt(&rig, false).await.as_slice(), [Outcome::Changed(..)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_that_wants_more_than_the_tenant_may_changes_nothing() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let before = books(&rig, id).await;
    for (name, sql) in [
        ("a", "CREATE ROLE evil SUPERUSER;"),
        ("b", "COPY public.res_company FROM PROGRAM 'id';"),
        ("c", "TRUNCATE public.res_users CASCADE;"),
    ] {
        triple(&rig, id, name).await;
        let path = file(&rig, name, "_database.sql");
        let dump = fs::read_to_string(&path).unwrap();
        let end = "-- PostgreSQL database dump complete";
        fs::write(&path, dump.replace(end, &format!("{sql}\n{end}"))).unwrap();
    }
    let server_before = rig.snapshot();
    for (outcome, (name, code)) in
        adopt(&rig, false).await.into_iter().zip([("a", "backup_failed"), ("b", ""), ("c", "restored_data_wrong")])
    {
        if code.is_empty() {
            assert!(matches!(&outcome, Outcome::Failed(..)), "{name}: {outcome}");
            continue;
        }
        assert_eq!(outcome, Outcome::Entered(id), "{name}");
        rig.restore(id, named(&rig, id, name).await.unwrap()).await;
        assert_eq!(ended(&rig, State::Failed).await.error.unwrap().code, code, "{name}");
        assert_eq!(books(&rig, id).await, before);
    }
    let difference = server_before.difference(&rig.snapshot());
    assert!(difference.is_empty(), "{difference}");
}
