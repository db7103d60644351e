//! Which backups go and which stay, by what the catalogue says; and what lies in the store that nobody knows.

use crate::backups::{ended, with_data};
use crate::kept::{SCHEDULE, backed_up, keep};
use crate::rig::{Rig, by};
use bootstrap::{OsEntropy, SystemClock};
use chrono::{TimeDelta, Timelike as _};
use db::platform::acceptance::{self, BackupDeleted, Delete, Deleted};
use db::platform::backups;
use db::platform::operations::{self, NewOperation, Scope};
use db::platform::replaced;
use domain::backup::State as BackupState;
use domain::backup::retention::Policy;
use domain::backup::schedule::{Keep as Kept, Schedule};
use domain::ids::{BackupId, InstanceId, OperationId};
use domain::instance::Action;
use domain::operation::{Kind, State};
use domain::sources::{Clock as _, random_uuid};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use worker::engine::Handler as _;
use worker::engine::faults::{Action as Fault, Armed, ErrorKind};
use worker::reconcile::Round as _;
use worker::reconcile::backups::{Keep, Orphans, Proofs, Schedules};
use worker::reconcile::retention::Retention;

const COUNT: Policy = Policy { count: Some(1), days: None, daily: None, weekly: None, monthly: None };

/// Enters a backup into the catalogue that was whole some time ago.
fn entered(rig: &Rig, of: InstanceId, (origin, state, ago): (&str, &str, &str), operation: Option<OperationId>) -> BackupId {
    let id = random_uuid(&OsEntropy);
    let operation = operation.map_or_else(|| random_uuid(&OsEntropy), |id| id.as_uuid());
    rig.sql(&format!(
        "INSERT INTO instance_service.backups (id, instance_id, customer_id, operation_id, name, origin, state, odoo_version, attempt,
                                               manifest_sha256, created_at, completed_at)
         VALUES ('{id}', '{of}', gen_random_uuid(), '{operation}', 'one', '{origin}', '{state}', '19', 1, decode(repeat('00', 32), 'hex'),
                 now() - interval '{ago}', now() - interval '{ago}')"
    ));
    BackupId::from_uuid(id)
}

async fn state(rig: &Rig, id: BackupId) -> BackupState {
    backups::get(&rig.db, id).await.unwrap().unwrap().state
}

/// An update that is accepted and has not ended.
async fn unfinished(rig: &Rig, of: InstanceId) -> OperationId {
    rig.enqueue(NewOperation {
        id: OperationId::from_uuid(random_uuid(&OsEntropy)),
        scope: Scope::Instance(of),
        instance_id: Some(of),
        kind: Kind::Update,
        params: serde_json::json!({}),
        priority: 0,
        reason: None,
        trace_parent: None,
    })
    .await
}

fn one_a_day(rig: &Rig) -> Keep {
    let configured = Schedule { keep: Kept { daily: 1, weekly: 0, monthly: 0 }, ..SCHEDULE };
    Keep { configured, ..keep(rig, Policy::default()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safety_copy_takes_no_place_of_a_scheduled_backup() {
    let rig = Rig::start().await;
    let id = rig.order(|_| {}).await;
    let scheduled = entered(&rig, id, ("scheduled", "completed", "3 hours"), None);
    let copy = entered(&rig, id, ("before_restore", "completed", "1 hour"), None);
    let older = entered(&rig, id, ("before_restore", "completed", "2 days"), None);
    assert_eq!(one_a_day(&rig).round().await.unwrap()["condemned"], 1);
    assert_eq!(state(&rig, scheduled).await, BackupState::Completed);
    assert_eq!((state(&rig, copy).await, state(&rig, older).await), (BackupState::Completed, BackupState::Deleting));
    // Nor where a count is kept of all.
    assert_eq!(keep(&rig, COUNT).round().await.unwrap()["condemned"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_work_that_has_not_ended_stands_for_no_other() {
    let rig = Rig::start().await;
    let id = rig.order(|_| {}).await;
    let last = entered(&rig, id, ("requested", "completed", "3 days"), None);
    let copies = [
        entered(&rig, id, ("before_update", "completed", "2 days"), None),
        entered(&rig, id, ("before_update", "completed", "1 hour"), Some(unfinished(&rig, id).await)),
    ];
    assert_eq!(keep(&rig, COUNT).round().await.unwrap()["condemned"], 0);
    assert!(matches!(rig.delete_backup(copies[0]).await, BackupDeleted::Accepted(_)));
    assert!(matches!(rig.delete_backup(last).await, BackupDeleted::LastWhole));
    assert_eq!((state(&rig, last).await, state(&rig, copies[1]).await), (BackupState::Completed, BackupState::Completed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_a_copy_waits_for_is_read() {
    let rig = Rig::start().await;
    let (id, copy) = (rig.order(|_| {}).await, rig.order(|_| {}).await);
    let operation = OperationId::from_uuid(random_uuid(&OsEntropy));
    let taken = entered(&rig, id, ("requested", "completed", "2 hours"), Some(operation));
    entered(&rig, id, ("requested", "completed", "1 hour"), None);
    let note = format!(
        "INSERT INTO instance_service.clones (instance_id, source_id, backup_operation) VALUES ('{copy}', '{id}', '{operation}')"
    );
    rig.sql(&note);
    assert_eq!(keep(&rig, COUNT).round().await.unwrap()["condemned"], 0);
    assert!(matches!(rig.delete_backup(taken).await, BackupDeleted::BeingRead));
    rig.terminate(copy).await;
    assert!(matches!(rig.delete_backup(taken).await, BackupDeleted::Accepted(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_goes_when_it_would_have_gone_whole() {
    let rig = Rig::start().await;
    let id = rig.order(|_| {}).await;
    let old = entered(&rig, id, ("requested", "failed", "90 days"), None);
    let nothing = entered(&rig, id, ("requested", "failed", "31 days"), None);
    rig.sql(&format!(
        "UPDATE instance_service.backups SET attempt = NULL, manifest_sha256 = NULL, completed_at = NULL WHERE id = '{nothing}'"
    ));
    let scheduled = entered(&rig, id, ("scheduled", "failed", "2 days"), None);
    assert_eq!(one_a_day(&rig).round().await.unwrap()["condemned"], 1);
    assert_eq!((state(&rig, old).await, state(&rig, nothing).await), (BackupState::Failed, BackupState::Deleting));
    entered(&rig, id, ("scheduled", "completed", "1 hour"), None);
    assert_eq!(one_a_day(&rig).round().await.unwrap()["condemned"], 1);
    assert_eq!((state(&rig, old).await, state(&rig, scheduled).await), (BackupState::Failed, BackupState::Deleting));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_read_keeps_nobody_from_the_others() {
    let rig = Rig::start().await;
    let (one, other) = (rig.order(|_| {}).await, rig.order(|_| {}).await);
    let (bad, good) = (one.min(other), one.max(other));
    rig.sql(&format!("INSERT INTO instance_service.backup_schedules VALUES ('{bad}', true, 3, 'Nowhere/Atall', 1, 1, 1)"));
    let mut rows = Vec::new();
    for id in [bad, good] {
        rows.push(entered(&rig, id, ("scheduled", "completed", "3 days"), None));
        entered(&rig, id, ("scheduled", "completed", "1 hour"), None);
    }
    let error = one_a_day(&rig).round().await.unwrap_err().to_string();
    assert!(error.starts_with("1 could not be dealt with"), "{error}");
    assert_eq!((state(&rig, rows[0]).await, state(&rig, rows[1]).await), (BackupState::Completed, BackupState::Deleting));
}

async fn terminated_long_ago(rig: &Rig) -> InstanceId {
    let id = rig.order(|_| {}).await;
    rig.terminate(id).await;
    rig.sql(&format!("UPDATE public.instances SET updated_at = now() - interval '91 days' WHERE id = '{id}'"));
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_brought_back_meanwhile_is_not_removed_and_removals_are_braked() {
    let rig = Rig::start().await;
    let [id, other] = [terminated_long_ago(&rig).await, terminated_long_ago(&rig).await];
    let purge = async |instance_id, brake| {
        let mut tx = rig.db.begin().await.unwrap();
        let request = Delete { instance_id, reason: None, brake };
        let purged = acceptance::purge(&mut tx, request, 90, &OsEntropy, &by()).await.unwrap();
        tx.commit().await.unwrap();
        purged
    };
    // Since it was found, somebody has brought it back, or changed it.
    for change in ["awaiting_reactivation = true", "updated_at = now()"] {
        rig.sql(&format!("UPDATE public.instances SET {change} WHERE id = '{id}'"));
        assert!(purge(id, None).await.is_none(), "{change}");
    }
    rig.sql(&format!(
        "UPDATE public.instances SET awaiting_reactivation = false, updated_at = now() - interval '91 days' WHERE id = '{id}'"
    ));
    let round = Keep { delete_brake: Some(1), ..keep(&rig, Policy::default()) };
    assert_eq!(round.round().await.unwrap()["purged"], 1);
    assert_eq!(round.round().await.unwrap()["purged"], 0);
    let left = rig.sql("SELECT count(*) FROM public.instances WHERE phase = 'registered'");
    assert_eq!(left.trim(), "1");
    let braked = [purge(id, Some(1)).await, purge(other, Some(1)).await];
    assert_eq!(braked.iter().filter(|purged| matches!(purged, Some(Deleted::Braked))).count(), 1, "{braked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_forgets_only_what_the_pool_has_forgotten() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let first = backed_up(&rig, id).await;
    rig.inside(id, "DELETE FROM ir_attachment").await;
    backed_up(&rig, id).await;
    let pool = || rig.stored().into_iter().filter(|object| object.starts_with("pool/")).count();
    let before = pool();
    rig.faults.arm(Armed {
        point: "prune_backups/prune_pool/apply/before".to_owned(),
        action: Fault::Error(ErrorKind::Permanent),
        times: 1,
    });
    assert!(matches!(rig.delete_backup(first).await, BackupDeleted::Accepted(_)));
    ended(&rig, State::Failed).await;
    assert_eq!((pool(), state(&rig, first).await), (before, BackupState::Deleting));
    keep(&rig, Policy::default()).round().await.unwrap();
    ended(&rig, State::Succeeded).await;
    assert!(pool() < before);
    assert_eq!(backups::get(&rig.db, first).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_does_not_keep_what_nobody_needs() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let (first, second) = (backed_up(&rig, id).await, backed_up(&rig, id).await);
    rig.inside(id, "DELETE FROM ir_attachment").await;
    let third = backed_up(&rig, id).await;
    let spoil = |id: BackupId| {
        let manifest =
            rig.stored().into_iter().find(|object| object.contains(&id.to_string()) && object.ends_with("manifest.json"));
        fs::write(rig.store.path().join(manifest.unwrap()), "{}").unwrap();
    };
    let pool = || rig.stored().into_iter().filter(|object| object.starts_with("pool/")).count();
    let before = pool();
    spoil(second);
    assert!(matches!(rig.delete_backup(first).await, BackupDeleted::Accepted(_)));
    ended(&rig, State::Succeeded).await;
    assert_eq!((state(&rig, second).await, state(&rig, third).await), (BackupState::Failed, BackupState::Completed));
    let left = pool();
    assert!(left < before);
    // Where none can be read any more, nothing goes.
    spoil(third);
    assert!(matches!(rig.delete_backup(second).await, BackupDeleted::Accepted(_)));
    assert_eq!(ended(&rig, State::Failed).await.error.unwrap().code, "no_backup_readable");
    assert_eq!((pool(), state(&rig, third).await), (left, BackupState::Completed));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_store_and_nobody_knows_goes_when_it_is_old() {
    let rig = Rig::start().await;
    let id = rig.order(|_| {}).await;
    let known = entered(&rig, id, ("requested", "completed", "90 days"), None);
    let put = |name: &str, days: u64| {
        let path = rig.store.path().join("active").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        let at = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        fs::File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
    };
    let [old, young, partly, strange] = [(); 4].map(|()| random_uuid(&OsEntropy));
    put(&format!("{known}/1/manifest.json"), 90);
    put(&format!("{old}/1/database.dump.zst/000000"), 31);
    put(&format!("{young}/1/manifest.json"), 29);
    put(&format!("{partly}/1/files.zst/000000"), 31);
    put(&format!("{partly}/2/files.zst/000000"), 1);
    put(&format!("{strange}/1/holiday.jpg"), 31);
    put("shop_1_metadata.json", 31);
    let before = rig.stored();
    let orphans = Orphans { db: rig.db.clone(), backups: rig.tools.backups.clone(), clock: Arc::new(SystemClock) };
    assert_eq!(orphans.round().await.unwrap()["removed"], 1);
    let gone: Vec<String> = before.into_iter().filter(|object| !rig.stored().contains(object)).collect();
    assert_eq!(gone, [format!("active/{old}/1/database.dump.zst/000000")]);
}

fn by_schedule(rig: &Rig, hour: u32) -> Schedules {
    let configured = Schedule { hour, ..SCHEDULE };
    Schedules { db: rig.db.clone(), entropy: Arc::new(OsEntropy), clock: Arc::new(SystemClock), configured }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_by_schedule_is_in_nobodys_way_until_it_begins() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    assert_eq!(by_schedule(&rig, 3).round().await.unwrap()["queued"], 1);
    assert_eq!(rig.status(id).await, "running");
    assert_eq!(by_schedule(&rig, 3).round().await.unwrap()["queued"], 0, "one is queued already");
    // What is asked for goes first, and is shown at once.
    rig.act(id, Action::Stop).await;
    assert_eq!(rig.status(id).await, "stopping");
    rig.drain().await;
    let order = rig.sql("SELECT string_agg(kind, ' ' ORDER BY started_at) FROM instance_service.operations WHERE kind IN ('stop', 'backup') AND state = 'succeeded'");
    assert_eq!((order.trim(), rig.status(id).await.as_str()), ("stop backup", "stopped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_by_schedule_does_not_wait_for_its_store() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let root = rig.store.path().join(".root");
    fs::remove_file(&root).unwrap();
    assert_eq!(by_schedule(&rig, 3).round().await.unwrap()["queued"], 1);
    let error = ended(&rig, State::Failed).await.error.unwrap();
    assert_eq!((error.code.as_str(), rig.status(id).await.as_str()), ("backup_store_unreachable", "running"));
    assert_eq!(by_schedule(&rig, 3).round().await.unwrap()["queued"], 0, "it is tried again in an hour");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_made_up_for_does_not_move_the_next_one() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    // Its hour is the one before this one.
    let hour = (SystemClock.now() - TimeDelta::hours(1)).hour();
    let last = entered(&rig, id, ("scheduled", "completed", "3 hours"), None);
    assert_eq!(by_schedule(&rig, hour).round().await.unwrap()["queued"], 1);
    rig.drain().await;
    assert_ne!(rig.backup_of(id).await, last);
    assert_eq!(by_schedule(&rig, hour).round().await.unwrap()["queued"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_asked_for_once_and_one_that_fails_waits_its_turn() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let backup = backed_up(&rig, id).await;
    rig.sql("UPDATE instance_service.backups SET completed_at = completed_at - interval '2 hours'");
    let manifest = format!("active/{backup}/");
    let manifest =
        rig.stored().into_iter().find(|object| object.starts_with(&manifest) && object.contains("database.dump")).unwrap();
    let proofs = Proofs { db: rig.db.clone(), entropy: Arc::new(OsEntropy), age: Duration::from_secs(7 * 24 * 3600) };
    assert_eq!(proofs.round().await.unwrap()["queued"], 1);
    assert_eq!(proofs.round().await.unwrap()["queued"], 0, "it is under way");
    let at = rig.store.path().join(manifest);
    let whole = fs::read(&at).unwrap();
    fs::write(&at, "x").unwrap();
    assert_eq!(ended(&rig, State::Failed).await.error.unwrap().code, "backup_damaged");
    // One that is found whole again is one.
    fs::write(&at, whole).unwrap();
    rig.verify(id, backup, false).await;
    ended(&rig, State::Succeeded).await;
    let row = backups::get(&rig.db, backup).await.unwrap().unwrap();
    assert_eq!((row.state, row.error), (BackupState::Completed, None));
    assert_eq!(proofs.round().await.unwrap()["queued"], 0, "others come first");
    rig.sql("UPDATE instance_service.operations SET created_at = created_at - interval '2 days'");
    assert_eq!(proofs.round().await.unwrap()["queued"], 1);
    ended(&rig, State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_state_that_stays_keeps_no_other() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let backup = backed_up(&rig, id).await;
    for _ in 0..2 {
        rig.restore(id, backup).await;
        ended(&rig, State::Succeeded).await;
    }
    let former = replaced::of(&rig.db, id).await.unwrap();
    assert_eq!(former.len(), 2);
    // The first one's database is another one than was noted.
    let first = former[0].0.number;
    rig.sql(&format!(
        "UPDATE instance_service.replaced_data SET keep_until = now(), db_oid = CASE number WHEN {first} THEN 1 ELSE db_oid END"
    ));
    Retention { db: rig.db.clone(), entropy: Arc::new(OsEntropy) }.round().await.unwrap();
    assert_eq!(ended(&rig, State::Failed).await.error.unwrap().code, "former_data_stay");
    let left: Vec<u32> = replaced::of(&rig.db, id).await.unwrap().iter().map(|(former, _)| former.number).collect();
    assert_eq!(left, [first]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_meets_damage_has_the_backup_checked() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let backup = backed_up(&rig, id).await;
    let pool = rig.stored().into_iter().find(|object| object.starts_with("pool/")).unwrap();
    let path = rig.store.path().join(pool);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, vec![b'x'; whole.len()]).unwrap();
    let export = rig.export(id, backup).await;
    rig.engine.handle(export).await.unwrap();
    let failed = operations::get(&rig.db, export).await.unwrap().unwrap();
    assert_eq!((failed.state, failed.error.unwrap().code.as_str()), (State::Failed, "backup_damaged"));
    // It may have been read badly.
    assert_eq!(state(&rig, backup).await, BackupState::Completed);
    fs::write(&path, whole).unwrap();
    assert_eq!(ended(&rig, State::Succeeded).await.kind, Kind::VerifyBackup);
    assert_eq!(state(&rig, backup).await, BackupState::Completed);
}
