//! Archives in Odoo's own format: a customer leaves with one, and comes with one that may hold anything.

use crate::backups::{books, ended, with_data};
use crate::rig::{Rig, by};
use bootstrap::OsEntropy;
use db::platform::acceptance::{self, BackupDeleted, BackupExported, BackupImported, ExportBackup, ImportBackup};
use db::platform::backups;
use db::platform::exports::{self, Exported};
use domain::backup::transfer::Archive;
use domain::backup::{Origin, State as BackupState};
use domain::ids::{BackupId, InstanceId, OperationId};
use domain::instance::Action;
use domain::operation::State;
use domain::sources::random_uuid;
use std::fs;
use std::io::{Cursor, Read as _, Write as _};
use std::path::PathBuf;
use worker::engine::faults::{Action as Fault, Armed, ErrorKind};
use worker::reconcile::Round as _;
use worker::reconcile::backups::Transfers;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

impl Rig {
    /// Asks for an archive of a backup; one that should be there is `lost`.
    pub(crate) async fn ask_export(&self, id: InstanceId, backup: BackupId, lost: Option<OperationId>) -> BackupExported {
        let mut tx = self.db.begin().await.unwrap();
        let request = ExportBackup { instance_id: id, backup, lost };
        let asked = acceptance::export_backup(&mut tx, request, &OsEntropy, &by()).await.unwrap();
        tx.commit().await.unwrap();
        asked
    }

    /// Has an archive of a backup made.
    pub(crate) async fn export(&self, id: InstanceId, backup: BackupId) -> OperationId {
        match self.ask_export(id, backup, None).await {
            BackupExported::UnderWay { operation, .. } => operation,
            other => panic!("{other:?}"),
        }
    }

    /// As if all archives had had their time.
    pub(crate) fn expire_exports(&self) {
        self.sql(
            "UPDATE instance_service.operations SET result = jsonb_set(result, '{expires_at}', '\"2020-01-01T00:00:00Z\"')
              WHERE kind = 'export' AND result IS NOT NULL",
        );
    }

    /// Brings an archive, as the API does.
    pub(crate) async fn import(&self, instance_id: InstanceId, archive: &[u8]) -> OperationId {
        let operation = OperationId::from_uuid(random_uuid(&OsEntropy));
        std::fs::write(Archive::imported(operation).path(&self.transfer()), archive).unwrap();
        let (bytes, label) = (archive.len() as u64, Some("from elsewhere".to_owned()));
        let request = ImportBackup { instance_id, operation, bytes, label };
        let mut tx = self.db.begin().await.unwrap();
        let asked = acceptance::import_backup(&mut tx, request, &by()).await.unwrap();
        assert_eq!(asked, BackupImported::Queued);
        tx.commit().await.unwrap();
        operation
    }

    /// Where archives are handed over.
    pub(crate) fn transfer(&self) -> PathBuf {
        self.store.path().join("transfer")
    }

    /// The archives that lie there.
    pub(crate) fn handed_over(&self) -> Vec<String> {
        let names = |directory| std::fs::read_dir(self.transfer().join(directory)).unwrap();
        let mut found: Vec<String> = ["exports", "imports"]
            .into_iter()
            .flat_map(|directory| {
                names(directory).map(move |entry| format!("{directory}/{}", entry.unwrap().file_name().display()))
            })
            .collect();
        found.sort();
        found
    }

    /// How many files a backup has.
    pub(crate) async fn files_of(&self, backup: BackupId) -> usize {
        let row = backups::get(&self.db, backup).await.unwrap().unwrap();
        usize::try_from(row.files_count.unwrap()).unwrap()
    }
}

type Entries = Vec<(String, Vec<u8>)>;

/// Backs up an instance and exports that; answers the backup and its archive.
async fn exported(rig: &Rig, id: InstanceId) -> (BackupId, Vec<u8>) {
    rig.act(id, Action::Backup).await;
    ended(rig, State::Succeeded).await;
    let backup = rig.backup_of(id).await;
    rig.export(id, backup).await;
    let operation = ended(rig, State::Succeeded).await;
    let made: Exported = serde_json::from_value(operation.result.unwrap()).unwrap();
    let bytes = fs::read(rig.transfer().join("exports").join(Archive::exported(operation.id, made.attempt).whole())).unwrap();
    assert_eq!((made.bytes, made.backup_id), (bytes.len() as u64, backup));
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    assert_eq!(made.sha256, sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    (backup, bytes)
}

fn entries(archive: &[u8]) -> Entries {
    let mut archive = ZipArchive::new(Cursor::new(archive)).unwrap();
    let all = 0..archive.len();
    all.map(|at| {
        let mut entry = archive.by_index(at).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.name().unwrap().into_owned(), content)
    })
    .collect()
}

fn packed(entries: &Entries) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        archive.start_file(name, SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// An archive with another dump.
fn with_dump(archive: &[u8], change: impl FnOnce(String) -> String) -> Vec<u8> {
    let mut entries = entries(archive);
    let dump = entries.iter_mut().find(|(name, _)| name == "dump.sql").unwrap();
    dump.1 = change(String::from_utf8(std::mem::take(&mut dump.1)).unwrap()).into_bytes();
    packed(&entries)
}

async fn uuid_of(rig: &Rig, id: InstanceId) -> Option<String> {
    let placement = rig.instance(id).await.placement.unwrap();
    let server = rig.tools.servers.get(placement.server).unwrap();
    let mut snapshot = server.snapshot(&placement.db_name, &placement.db_user, &rig.password(id).await).await.unwrap();
    snapshot.uuid().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_archive_is_made_kept_for_a_while_and_made_again() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let (backup, bytes) = exported(&rig, id).await;
    let names: Vec<String> = entries(&bytes).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[..2], ["dump.sql", "manifest.json"]);
    assert_eq!(names.iter().filter(|name| name.starts_with("filestore/")).count(), rig.files_of(backup).await, "{names:?}");

    // There is one: it is fetched, not made again.
    let ready = exports::ready(&rig.db, backup).await.unwrap().unwrap();
    assert_eq!(rig.ask_export(id, backup, None).await, BackupExported::Ready(ready.operation));
    let round = Transfers { db: rig.db.clone(), transfer: rig.tools.transfer.clone() };
    assert_eq!(round.round().await.unwrap(), serde_json::json!({ "kept": 1, "removed": 0 }));
    // Whoever finds it missing has another one made, one at a time; the backup stays meanwhile.
    let again = match rig.ask_export(id, backup, Some(ready.operation)).await {
        BackupExported::UnderWay { operation, last_failure: None } => operation,
        other => panic!("{other:?}"),
    };
    let joined = rig.ask_export(id, backup, None).await;
    assert_eq!(joined, BackupExported::UnderWay { operation: again, last_failure: None });
    rig.act(id, Action::Backup).await;
    assert!(matches!(rig.delete_backup(backup).await, BackupDeleted::BeingRead));
    rig.drain().await;
    assert_eq!(exports::ready(&rig.db, backup).await.unwrap().unwrap().operation, again);

    // Its time is over.
    rig.expire_exports();
    assert_eq!(exports::ready(&rig.db, backup).await.unwrap(), None);
    assert_eq!(round.round().await.unwrap(), serde_json::json!({ "kept": 0, "removed": 2 }));
    assert!(matches!(rig.ask_export(id, backup, None).await, BackupExported::UnderWay { .. }));
    rig.drain().await;
    // A backup that is to go takes its archive along.
    assert!(matches!(rig.delete_backup(backup).await, BackupDeleted::Accepted(_)));
    assert_eq!(round.round().await.unwrap()["removed"], 1);
    assert_eq!(rig.ask_export(id, backup, None).await, BackupExported::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_fails_says_why_and_leaves_nothing() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    rig.act(id, Action::Backup).await;
    ended(&rig, State::Succeeded).await;
    let backup = rig.backup_of(id).await;
    // Nobody waits for an export with whatever else is asked of the instance.
    rig.export(id, backup).await;
    rig.act(id, Action::Stop).await;
    assert_eq!(rig.status(id).await, "stopping");
    rig.drain().await;
    rig.expire_exports();

    let pool = rig.stored().into_iter().find(|object| object.starts_with("pool/")).unwrap();
    fs::remove_file(rig.store.path().join(pool)).unwrap();
    rig.export(id, backup).await;
    let error = ended(&rig, State::Failed).await.error.unwrap();
    assert_eq!(error.code, "backup_damaged");
    Transfers { db: rig.db.clone(), transfer: rig.tools.transfer.clone() }.round().await.unwrap();
    assert_eq!(rig.handed_over(), Vec::<String>::new());
    assert_eq!(backups::get(&rig.db, backup).await.unwrap().unwrap().state, BackupState::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_left_comes_back_and_nothing_of_the_way_is_left() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let (_, archive) = exported(&rig, id).await;
    let before = books(&rig, id).await;
    let (slate, uuid) = (rig.snapshot(), uuid_of(&rig, id).await);
    // Files that the database does not refer to do not get in.
    let mut more = entries(&archive);
    more.push(("filestore/checklist/da/da39a3ee5e6b4b0d3255bfef95601890afd80709".to_owned(), Vec::new()));
    more.push(("filestore/da/da39a3ee5e6b4b0d3255bfef95601890afd80709".to_owned(), Vec::new()));
    rig.import(id, &packed(&more)).await;
    let operation = ended(&rig, State::Succeeded).await;
    assert_eq!(rig.status(id).await, "running");
    let result = operation.result.unwrap();
    assert_eq!(result["ignored_files"], 1, "{result}");
    let backup: BackupId = serde_json::from_value(result["backup_id"].clone()).unwrap();
    let row = backups::get(&rig.db, backup).await.unwrap().unwrap();
    assert_eq!((row.state, row.origin, row.name.as_str()), (BackupState::Completed, Origin::Imported, "from elsewhere"));
    assert_eq!(row.files_count, i64::try_from(before.1.len()).ok());
    let difference = slate.difference(&rig.snapshot());
    assert!(difference.is_empty(), "{difference}");
    Transfers { db: rig.db.clone(), transfer: rig.tools.transfer.clone() }.round().await.unwrap();
    assert_eq!(rig.handed_over().len(), 1, "the export: {:?}", rig.handed_over());

    rig.inside(id, "DELETE FROM ir_attachment; UPDATE res_company SET name = 'Spoiled'").await;
    rig.restore(id, backup).await;
    let restored = ended(&rig, State::Succeeded).await;
    // It is no copy of what the instance had.
    assert_ne!(restored.result.unwrap()["safety_copy"], serde_json::json!(backup));
    assert_eq!(books(&rig, id).await, before);
    assert_eq!(uuid_of(&rig, id).await, uuid, "it came from this very instance");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_instance_left_gets_an_identity_of_its_own() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let (_, archive) = exported(&rig, id).await;
    let other = rig.order(|_| {}).await;
    rig.drain().await;
    let (of_original, of_other) = (uuid_of(&rig, id).await, uuid_of(&rig, other).await);
    rig.import(other, &archive).await;
    ended(&rig, State::Succeeded).await;
    let backup = rig.oldest_backup_of(other).await;
    // It is nobody's last copy of what they have.
    assert!(matches!(rig.delete_backup(rig.oldest_backup_of(id).await).await, BackupDeleted::LastWhole));
    rig.restore(other, backup).await;
    ended(&rig, State::Succeeded).await;
    let after = uuid_of(&rig, other).await;
    assert!(after.is_some() && after != of_original && after != of_other, "{after:?}");
    assert_eq!(books(&rig, other).await.1, books(&rig, id).await.1);
    assert!(matches!(rig.delete_backup(backup).await, BackupDeleted::Accepted(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_brings_does_no_harm_and_leaves_nothing() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let (_, good) = exported(&rig, id).await;
    let placement = rig.instance(id).await.placement.unwrap();
    let (live, tenant) = (placement.db_name.to_string(), placement.db_user.to_string());
    let before = (rig.snapshot(), books(&rig, id).await, rig.handed_over());
    let end = |sql: &str| with_dump(&good, |dump| format!("{dump}\n{sql}\n"));
    let mut lacking = entries(&good);
    lacking.retain(|(name, _)| !name.starts_with("filestore/"));
    let mut older = entries(&good);
    let manifest = older.iter_mut().find(|(name, _)| name == "manifest.json").unwrap();
    manifest.1 = String::from_utf8(manifest.1.clone()).unwrap().replace("\"19.0\"", "\"18.0\"").into_bytes();
    let mut wrong = entries(&good);
    let file = wrong.iter_mut().find(|(name, _)| name.starts_with("filestore/")).unwrap();
    file.1[0] ^= 1;
    let mut outside = entries(&good);
    outside.push(("../../etc/cron.d/x".to_owned(), b"* * * * * root true".to_vec()));
    for (what, archive, code, words) in [
        ("no archive", b"PK\x03\x04 and nothing more".to_vec(), "archive_refused", "cannot be imported"),
        ("a part", good[..good.len() / 2].to_vec(), "archive_refused", "cannot be imported"),
        ("leaves it", packed(&outside), "archive_refused", "its name leaves the archive"),
        ("a bomb", with_dump(&good, |_| " ".repeat(64 << 20)), "archive_refused", "as only a bomb is"),
        ("another series", packed(&older), "other_odoo_version", "made with Odoo 18.0, and the instance runs Odoo 19"),
        (
            "another series in truth",
            with_dump(&good, |dump| dump.replace("\t19.0.", "\t18.0.")),
            "other_odoo_version",
            "made with Odoo 18.0",
        ),
        ("no files", packed(&lacking), "archive_incomplete", "of the files that its database refers to"),
        ("a wrong file", packed(&wrong), "archive_refused", "A file of the archive is damaged"),
        (
            "no Odoo",
            with_dump(&good, |_| "CREATE TABLE t (a text);\n-- PostgreSQL database dump complete\n".to_owned()),
            "archive_not_odoo",
            "not one that Odoo",
        ),
        (
            "a dump that broke off",
            with_dump(&good, |dump| dump[..dump.rfind("ALTER TABLE").unwrap()].to_owned()),
            "dump_incomplete",
            "has no end",
        ),
        (
            "a view in the place of a table",
            end("CREATE VIEW public.sale_order AS SELECT 1 AS id;"),
            "archive_not_odoo",
            "not one that Odoo",
        ),
        ("half a statement", end("SELECT 'and then"), "dump_refused", "cannot be loaded"),
        ("a shell", end("\\! touch /tmp/x"), "dump_refused", "cannot be loaded"),
        ("a superuser", end("ALTER SYSTEM SET log_statement = 'all';"), "dump_refused", "cannot be loaded"),
        ("an extension", end("CREATE EXTENSION file_fdw;"), "dump_refused", "cannot be loaded"),
        ("a role", end("CREATE ROLE mine SUPERUSER LOGIN;"), "dump_refused", "cannot be loaded"),
        // What the tenant's own role might do, the one that loads may not.
        ("the live role", end(&format!("ALTER ROLE {tenant} PASSWORD 'known';")), "dump_refused", "cannot be loaded"),
        ("the live database", end(&format!("ALTER DATABASE {live} RENAME TO mine;")), "dump_refused", "cannot be loaded"),
        ("to be another", end(&format!("SET ROLE {tenant};")), "dump_refused", "cannot be loaded"),
    ] {
        rig.import(id, &archive).await;
        let error = ended(&rig, State::Failed).await.error.unwrap();
        assert!(error.code == code && error.message.contains(words), "{what}: {error:#?}");
        assert!(!error.message.contains(&tenant) && !error.message.contains("ERROR"), "{what}: {error:#?}");
        let difference = before.0.difference(&rig.snapshot());
        assert!(difference.is_empty(), "{what}: {difference}");
        assert_eq!(rig.handed_over(), before.2, "{what}");
        let newest = backups::of_instance(&rig.db, id, 1).await.unwrap().remove(0);
        assert!(newest.origin != Origin::Imported || newest.state == BackupState::Failed, "{what}: {newest:#?}");
        assert_eq!(rig.status(id).await, "running", "{what}");
    }
    assert_eq!(books(&rig, id).await, before.1);

    // It takes what only its owner would feel from its role and its database, and ends well all the same.
    let own = "COMMENT ON DATABASE current IS NULL;".replace("current", &format!("{live}_n1"));
    rig.import(id, &end(&format!("{own} ALTER ROLE {tenant}_n1 PASSWORD 'known'; ALTER DATABASE {live}_n1 IS_TEMPLATE true;")))
        .await;
    ended(&rig, State::Succeeded).await;
    let difference = before.0.difference(&rig.snapshot());
    assert!(difference.is_empty(), "{difference}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_gives_way_to_the_end_of_an_instance_and_waits_for_what_came_before() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let (_, archive) = exported(&rig, id).await;
    rig.act(id, Action::Stop).await;
    let import = rig.import(id, &archive).await;
    rig.act(id, Action::Start).await;
    rig.drain().await;
    assert_eq!(rig.status(id).await, "running");
    let state = |id| rig.sql(&format!("SELECT state FROM instance_service.operations WHERE id = '{id}'")).trim().to_owned();
    assert_eq!(state(import), "succeeded");
    let second = rig.import(id, &archive).await;
    rig.terminate(id).await;
    rig.drain().await;
    assert_eq!(state(second), "cancelled");
    Transfers { db: rig.db.clone(), transfer: rig.tools.transfer.clone() }.round().await.unwrap();
    assert_eq!(rig.handed_over().len(), 1, "the export only: {:?}", rig.handed_over());
    let mut tx = rig.db.begin().await.unwrap();
    let operation = OperationId::from_uuid(random_uuid(&OsEntropy));
    let late = ImportBackup { instance_id: id, operation, bytes: 1, label: None };
    let refused = acceptance::import_backup(&mut tx, late, &by()).await.unwrap();
    assert!(matches!(refused, BackupImported::CannotLoad(_)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_takes_what_an_import_left_that_stopped_half_way() {
    let stops = Fault::Error(ErrorKind::NeedsAttention);
    let rig = Rig::start().await;
    rig.faults.arm(Armed { point: "import/store/apply/before".to_owned(), action: stops, times: 1 });
    let slate = rig.snapshot();
    let id = with_data(&rig).await;
    let (_, archive) = exported(&rig, id).await;
    rig.import(id, &archive).await;
    ended(&rig, State::NeedsAttention).await;
    let placement = rig.instance(id).await.placement.unwrap();
    let beside = format!("{}_n1", placement.db_name);
    assert!(slate.difference(&rig.snapshot()).added.iter().any(|line| line.contains(&beside)), "nothing is left of it");
    rig.delete(id).await;
    ended(&rig, State::Succeeded).await;
    let left = slate.difference(&rig.snapshot()).added;
    assert!(left.iter().all(|line| !line.contains(placement.db_name.as_str())), "{left:#?}");
    Transfers { db: rig.db.clone(), transfer: rig.tools.transfer.clone() }.round().await.unwrap();
    assert!(rig.handed_over().iter().all(|file| file.starts_with("exports/")), "{:?}", rig.handed_over());
}
