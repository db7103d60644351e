//! The life of backups: by schedule, checked, proven, let go; restores taken back; copies of instances; the last backup of a delete.

use crate::backups::{books, ended, with_data};
use crate::rig::{Rig, by};
use bootstrap::{OsEntropy, SystemClock};
use chrono::TimeDelta;
use db::platform::acceptance::{self, Acted, BackupDeleted, CloneInstance, Cloned};
use db::platform::{backups, replaced};
use domain::backup::retention::Policy;
use domain::backup::schedule::{Keep as Kept, Schedule, Tz};
use domain::backup::{Origin, State as BackupState};
use domain::ids::{BackupId, InstanceId};
use domain::instance::Action;
use domain::names::ReservedHosts;
use domain::operation::{Kind, State};
use domain::sources::Clock as _;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use worker::reconcile::Round as _;
use worker::reconcile::backups::{Keep, Proofs, Schedules};

pub(crate) const SCHEDULE: Schedule =
    Schedule { enabled: true, hour: 3, timezone: Tz::UTC, keep: Kept { daily: 2, weekly: 0, monthly: 0 } };

pub(crate) async fn backed_up(rig: &Rig, id: InstanceId) -> BackupId {
    rig.act(id, Action::Backup).await;
    ended(rig, State::Succeeded).await;
    rig.backup_of(id).await
}

pub(crate) fn keep(rig: &Rig, every: Policy) -> Keep {
    Keep {
        db: rig.db.clone(),
        entropy: Arc::new(OsEntropy),
        clock: Arc::new(SystemClock),
        configured: SCHEDULE,
        every,
        purged_days: 30,
        purge_after_days: Some(90),
        delete_brake: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_reads_everything_and_a_proof_loads_it_and_leaves_nothing() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let backup = backed_up(&rig, id).await;
    let before = rig.snapshot();
    rig.verify(id, backup, true).await;
    let operation = ended(&rig, State::Succeeded).await;
    assert_eq!((operation.kind, &operation.result.unwrap()["restored"]), (Kind::VerifyBackup, &serde_json::json!(true)));
    let difference = before.difference(&rig.snapshot());
    assert!(difference.is_empty(), "{difference}");
    assert!(backups::get(&rig.db, backup).await.unwrap().unwrap().proven_at.is_some());
    assert_eq!(rig.status(id).await, "running");

    // What a check finds damaged counts as none from then on, and the one before is restored from.
    let pool = rig.stored().into_iter().find(|object| object.starts_with("pool/")).unwrap();
    let path = rig.store.path().join(pool);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, vec![b'x'; whole.len()]).unwrap();
    rig.verify(id, backup, false).await;
    let error = ended(&rig, State::Failed).await.error.unwrap();
    assert_eq!(error.code, "backup_damaged");
    assert_eq!(backups::get(&rig.db, backup).await.unwrap().unwrap().state, BackupState::Failed);
    let gone = {
        let mut tx = rig.db.begin().await.unwrap();
        backups::restorable(&mut tx, backup, id).await.unwrap()
    };
    assert_eq!(gone, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_gives_way_to_a_customer() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let backup = backed_up(&rig, id).await;
    let check = rig.verify(id, backup, true).await;
    rig.act(id, Action::Stop).await;
    // The row shows what the customer asked for at once: the check is in nobody's way.
    assert_eq!(rig.status(id).await, "stopping");
    rig.drain().await;
    assert_eq!(rig.status(id).await, "stopped");
    let state = rig.sql(&format!("SELECT state FROM instance_service.operations WHERE id = '{check}'"));
    assert!(["cancelled", "succeeded"].contains(&state.trim()), "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_backups_go_with_what_only_they_had() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let first = backed_up(&rig, id).await;
    assert!(matches!(rig.delete_backup(first).await, BackupDeleted::LastWhole));
    rig.inside(id, "DELETE FROM ir_attachment").await;
    rig.attach(id, b"of the second only").await;
    let second = backed_up(&rig, id).await;
    let objects = rig.stored().len();
    assert!(matches!(rig.delete_backup(first).await, BackupDeleted::Accepted(Some(_))));
    assert!(matches!(rig.delete_backup(first).await, BackupDeleted::NotFound));
    ended(&rig, State::Succeeded).await;
    assert_eq!(backups::get(&rig.db, first).await.unwrap(), None);
    assert!(rig.stored().len() < objects && rig.stored().iter().all(|object| !object.contains(&first.to_string())));
    // The other one is whole still.
    rig.verify(id, second, true).await;
    ended(&rig, State::Succeeded).await;
    // One that is to be restored from stays.
    let third = backed_up(&rig, id).await;
    rig.restore(id, second).await;
    assert!(matches!(rig.delete_backup(second).await, BackupDeleted::BeingRead));
    ended(&rig, State::Succeeded).await;
    assert!(matches!(rig.delete_backup(second).await, BackupDeleted::Accepted(_)));
    assert!(matches!(rig.delete_backup(third).await, BackupDeleted::LastWhole));
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_are_backed_up_once_a_day_and_old_backups_go() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let round = |enabled| Schedules {
        db: rig.db.clone(),
        entropy: Arc::new(OsEntropy),
        clock: Arc::new(SystemClock),
        configured: Schedule { enabled, ..SCHEDULE },
    };
    assert_eq!(round(false).round().await.unwrap()["queued"], 0);
    assert_eq!(round(true).round().await.unwrap()["queued"], 1);
    assert_eq!(round(true).round().await.unwrap()["queued"], 0);
    ended(&rig, State::Succeeded).await;
    assert_eq!(round(true).round().await.unwrap()["queued"], 0);
    let taken = backups::of_instance(&rig.db, id, 10).await.unwrap();
    assert_eq!(taken.iter().map(|backup| backup.origin).collect::<Vec<_>>(), [Origin::Scheduled]);
    assert!(!rig.mails().contains("backup_completed"), "nobody asked for it: {}", rig.mails());

    // One a day for four days; the newest of two days are kept, and what somebody asked for is.
    let requested = backed_up(&rig, id).await;
    for day in 1..=3 {
        rig.sql("UPDATE instance_service.backups SET created_at = created_at - interval '1 day', completed_at = completed_at - interval '1 day'");
        assert_eq!(round(true).round().await.unwrap()["queued"], 1, "day {day}");
        ended(&rig, State::Succeeded).await;
    }
    assert_eq!(keep(&rig, Policy::default()).round().await.unwrap()["condemned"], 2);
    ended(&rig, State::Succeeded).await;
    let left = backups::of_instance(&rig.db, id, 10).await.unwrap();
    assert_eq!(left.len(), 3, "{left:#?}");
    assert!(left.iter().any(|backup| backup.id == requested));
    // A count for all is kept to, whoever asked.
    let every = Policy { count: Some(1), ..Policy::default() };
    assert_eq!(keep(&rig, every).round().await.unwrap()["condemned"], 2);
    ended(&rig, State::Succeeded).await;
    assert_eq!(backups::of_instance(&rig.db, id, 10).await.unwrap().len(), 1);
    rig.restore(id, rig.backup_of(id).await).await;
    ended(&rig, State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_proven_for_long_is_proven() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let backup = backed_up(&rig, id).await;
    let proofs = Proofs { db: rig.db.clone(), entropy: Arc::new(OsEntropy), age: Duration::from_secs(7 * 24 * 3600) };
    assert_eq!(proofs.round().await.unwrap()["queued"], 0, "it was taken just now");
    rig.sql("UPDATE instance_service.backups SET completed_at = completed_at - interval '2 hours'");
    assert_eq!(proofs.round().await.unwrap()["queued"], 1);
    ended(&rig, State::Succeeded).await;
    assert!(backups::get(&rig.db, backup).await.unwrap().unwrap().proven_at.is_some());
    assert_eq!(proofs.round().await.unwrap()["queued"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_taken_back_and_so_is_that() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let backup = backed_up(&rig, id).await;
    rig.inside(id, "UPDATE res_company SET name = 'Later work'").await;
    rig.attach(id, b"a later letter").await;
    let later = books(&rig, id).await;
    rig.restore(id, backup).await;
    ended(&rig, State::Succeeded).await;
    let restored = books(&rig, id).await;
    assert_ne!(later, restored);
    for expected in [&later, &restored, &later] {
        rig.undo_restore(id).await;
        assert_eq!(rig.status(id).await, "maintenance");
        ended(&rig, State::Succeeded).await;
        assert_eq!(rig.status(id).await, "running");
        assert_eq!(&books(&rig, id).await, expected);
    }
    assert_eq!(replaced::of(&rig.db, id).await.unwrap().len(), 1);
    // Too late.
    rig.sql("UPDATE instance_service.replaced_data SET keep_until = now()");
    let mut tx = rig.db.begin().await.unwrap();
    let acted = acceptance::undo_restore(&mut tx, id, None, &OsEntropy, &by()).await.unwrap();
    assert!(matches!(acted, Acted::NoSuchBackup), "{acted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_runs_or_stays_down_as_it_was_asked() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let backup = backed_up(&rig, id).await;
    for (start, status) in [(Some(false), "stopped"), (None, "stopped"), (Some(true), "running"), (None, "running")] {
        rig.restore_and(id, backup, start).await;
        ended(&rig, State::Succeeded).await;
        assert_eq!(rig.status(id).await, status, "{start:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_live_is_copied_before_a_restore_unless_that_was_done_just_now() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let backup = backed_up(&rig, id).await;
    rig.restore(id, backup).await;
    let result = ended(&rig, State::Succeeded).await.result.unwrap();
    assert_eq!(result["safety_copy"], serde_json::json!(backup));
    rig.age_backups();
    rig.inside(id, "UPDATE res_company SET name = 'Later work'").await;
    let later = books(&rig, id).await;
    rig.restore(id, backup).await;
    let result = ended(&rig, State::Succeeded).await.result.unwrap();
    let copy: BackupId = serde_json::from_value(result["safety_copy"].clone()).unwrap();
    assert_eq!(backups::get(&rig.db, copy).await.unwrap().unwrap().origin, Origin::BeforeRestore);
    // It is as good as any.
    rig.restore(id, copy).await;
    ended(&rig, State::Succeeded).await;
    assert_eq!(books(&rig, id).await.1, later.1);
    // What cannot be copied any more can be restored all the same.
    rig.age_backups();
    let lost = rig.attach(id, b"lost").await;
    fs::remove_file(lost).unwrap();
    rig.restore(id, copy).await;
    let result = ended(&rig, State::Succeeded).await.result.unwrap();
    assert_eq!(result["safety_copy"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_takes_a_last_backup_which_goes_in_its_time() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    rig.terminate(id).await;
    ended(&rig, State::Succeeded).await;
    rig.delete(id).await;
    ended(&rig, State::Succeeded).await;
    let kept = backups::of_instance(&rig.db, id, 10).await.unwrap();
    assert_eq!(kept.iter().map(|b| (b.origin, b.state)).collect::<Vec<_>>(), [(Origin::Final, BackupState::Completed)]);
    let row = &kept[0];
    let opened = rig.tools.backups.open(row.id, row.attempt.unwrap(), row.manifest_sha256.as_deref().unwrap()).await.unwrap();
    opened.verify(true).await.unwrap();
    let round = keep(&rig, Policy::default());
    assert_eq!(round.round().await.unwrap()["condemned"], 0);
    rig.sql("UPDATE public.instances SET purged_at = now() - interval '31 days'");
    assert_eq!(round.round().await.unwrap()["condemned"], 1);
    ended(&rig, State::Succeeded).await;
    assert!(rig.stored().iter().all(|object| object.starts_with(".staging")), "{:?}", rig.stored());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_was_terminated_long_ago_is_removed_with_a_last_backup() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    rig.terminate(id).await;
    ended(&rig, State::Succeeded).await;
    let round = keep(&rig, Policy::default());
    assert_eq!(round.round().await.unwrap()["purged"], 0);
    let long_ago = SystemClock.now() - TimeDelta::days(91);
    rig.sql(&format!("UPDATE public.instances SET updated_at = '{long_ago}'"));
    assert_eq!(round.round().await.unwrap()["purged"], 1);
    ended(&rig, State::Succeeded).await;
    assert_eq!(rig.sql("SELECT phase FROM public.instances").trim(), "purged");
    assert_eq!(backups::of_instance(&rig.db, id, 10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_the_data_and_an_identity_of_its_own_and_does_no_harm() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    const JOB: &str = "INSERT INTO ir_cron (id, cron_name, user_id, interval_number, interval_type, active, nextcall)
                       VALUES (2, 'Send invoices', 1, 1, 'days', true, now() AT TIME ZONE 'UTC')";
    rig.inside(id, JOB).await;
    let (_, files) = books(&rig, id).await;
    let copy = rig.copy(id, None).await;
    rig.drain().await;
    assert_eq!((rig.status(id).await.as_str(), rig.status(copy).await.as_str()), ("running", "running"));
    assert_eq!(books(&rig, copy).await.1, files);
    const IDENTITY: &str =
        "SELECT key, value FROM ir_config_parameter WHERE key IN ('database.uuid', 'database.secret', 'web.base.url') ORDER BY 1";
    let (original, own) = (rig.inside(id, IDENTITY).await, rig.inside(copy, IDENTITY).await);
    for (original, own) in original.lines().zip(own.lines()) {
        assert_ne!(original, own);
    }
    const AT_WORK: &str = "SELECT count(*) FROM ir_cron WHERE active AND id <> 1";
    assert_eq!(rig.inside(copy, AT_WORK).await.trim(), "0");
    assert_ne!(rig.inside(id, AT_WORK).await.trim(), "0");
    // Another customer's data are nobody's to copy.
    let mut tx = rig.db.begin().await.unwrap();
    let request = CloneInstance { source: id, order: rig.parsed(|_| {}), name: "Theirs".to_owned(), backup: None };
    let refused = acceptance::clone_instance(&mut tx, request, &ReservedHosts::with([]), &OsEntropy, &by()).await.unwrap();
    assert!(matches!(refused, Cloned::OtherCustomer), "{refused:?}");
}

async fn states(rig: &Rig, id: InstanceId) -> String {
    let states = "SELECT string_agg(name || '=' || state || ' ' || coalesce(latest_version, ''), ', ' ORDER BY name) FROM ir_module_module";
    rig.inside(id, states).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_done_to_a_copy_and_can_be_taken_back() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let (before, then) = (books(&rig, id).await, states(&rig, id).await);
    rig.update(id, &["crm", "nobody_knows_it", "base"]).await;
    assert_eq!(rig.status(id).await, "updating");
    let result = ended(&rig, State::Succeeded).await.result.unwrap();
    assert_eq!((&result["updated"], &result["installed"]), (&serde_json::json!(["base"]), &serde_json::json!(["crm"])));
    assert_eq!(result["unknown"], serde_json::json!(["nobody_knows_it"]));
    let copy: BackupId = serde_json::from_value(result["safety_copy"].clone()).unwrap();
    assert_eq!(backups::get(&rig.db, copy).await.unwrap().unwrap().origin, Origin::BeforeUpdate);
    assert_eq!(rig.status(id).await, "running");
    assert_ne!(states(&rig, id).await, then);
    // What it replaced is there still, and the same to the last row.
    rig.undo_restore(id).await;
    ended(&rig, State::Succeeded).await;
    assert_eq!(books(&rig, id).await, before);
    assert_eq!(states(&rig, id).await, then);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_fails_leaves_everything_as_it_was() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    backed_up(&rig, id).await;
    let (books_before, before) = (books(&rig, id).await, rig.snapshot());
    // A trigger of the tenant's refuses what the update writes.
    rig.inside(
        id,
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
         CREATE TRIGGER no BEFORE UPDATE ON ir_module_module FOR EACH ROW EXECUTE FUNCTION no()",
    )
    .await;
    rig.update(id, &[]).await;
    let error = ended(&rig, State::Failed).await.error.unwrap();
    assert_eq!(error.code, "update_failed");
    let row = rig.instance(id).await;
    assert_eq!((rig.status(id).await.as_str(), row.error_message), ("running", Some(error.message)));
    rig.inside(id, "DROP TRIGGER no ON ir_module_module; DROP FUNCTION no()").await;
    assert_eq!(books(&rig, id).await, books_before);
    let difference = before.difference(&rig.snapshot());
    assert!(difference.is_empty(), "{difference}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_whose_database_is_gone_leaves_no_backup_under_way() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let name = rig.instance(id).await.placement.unwrap().db_name;
    rig.pair.postgres2.psql("postgres", &format!("DROP DATABASE \"{name}\" WITH (FORCE)")).unwrap();
    rig.delete(id).await;
    ended(&rig, State::Succeeded).await;
    assert_eq!(backups::of_instance(&rig.db, id, 10).await.unwrap(), []);
}
