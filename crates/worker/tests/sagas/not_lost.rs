//! What changes an instance's data loses nothing on the way: copies that are taken first, former states, copies of instances, what a delete finds.

use crate::backups::{books, ended, with_data};
use crate::rig::{Rig, by};
use bootstrap::OsEntropy;
use db::platform::acceptance::{self, Acted, CloneInstance, Cloned, Created};
use db::platform::attention::{self, Decided, Decision};
use db::platform::operations::Operation;
use db::platform::{backups, operations, replaced};
use domain::ids::{BackupId, InstanceId, OperationId};
use domain::instance::Action;
use domain::names::ReservedHosts;
use domain::operation::State;
use runtime::fake::{Call, Effect, Fault};
use serde_json::json;
use std::fs;
use worker::engine::Handler as _;
use worker::engine::faults::{Action as Act, Armed, ErrorKind};

async fn backed_up(rig: &Rig, id: InstanceId) -> BackupId {
    rig.act(id, Action::Backup).await;
    ended(rig, State::Succeeded).await;
    rig.backup_of(id).await
}

async fn restored(rig: &Rig, id: InstanceId, backup: BackupId) -> OperationId {
    rig.restore(id, backup).await;
    ended(rig, State::Succeeded).await.id
}

/// Asks for the way back from one operation, or from the last.
async fn take_back(rig: &Rig, id: InstanceId, operation: Option<OperationId>) -> Acted {
    let mut tx = rig.db.begin().await.unwrap();
    let acted = acceptance::undo_restore(&mut tx, id, operation, &OsEntropy, &by()).await.unwrap();
    tx.commit().await.unwrap();
    acted
}

fn vanish(point: &str) -> Armed {
    Armed { point: point.to_owned(), action: Act::Vanish, times: 1 }
}

fn is_there(rig: &Rig, database: &str) -> bool {
    rig.pair.postgres2.psql("postgres", &format!("SELECT 1 FROM pg_database WHERE datname = '{database}'")).unwrap() == "1"
}

async fn operation(rig: &Rig, id: OperationId) -> Operation {
    operations::get(&rig.db, id).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_recent_when_it_is_needed_not_when_that_was_asked_for() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let backup = backed_up(&rig, id).await;
    rig.restore(id, backup).await;
    rig.sql(
        "UPDATE instance_service.backups SET summary = jsonb_set(summary, '{taken_at}', to_jsonb(now() - interval '2 minutes'))",
    );
    rig.sql("UPDATE instance_service.operations SET created_at = created_at - interval '2 minutes'");
    let result = ended(&rig, State::Succeeded).await.result.unwrap();
    assert!(result["safety_copy"].is_string() && result["safety_copy"] != json!(backup), "{result}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_came_to_nothing_is_taken_by_whoever_takes_over() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let backup = backed_up(&rig, id).await;
    rig.age_backups();
    let lost = rig.attach(id, b"lost for a while").await;
    fs::remove_file(&lost).unwrap();
    rig.faults.arm(vanish("restore/safety_copy/apply/after"));
    rig.restore(id, backup).await;
    rig.engine.handle(rig.last_operation().await.id).await.unwrap();
    assert!(!rig.faults.is_left());
    fs::write(&lost, b"lost for a while").unwrap();
    let result = ended(&rig, State::Succeeded).await.result.unwrap();
    let copy: BackupId = serde_json::from_value(result["safety_copy"].clone()).unwrap();
    let row = backups::get(&rig.db, copy).await.unwrap().unwrap();
    assert_eq!((row.state, row.error), (domain::backup::State::Completed, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_is_decided_when_it_is_asked_for() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let backup = backed_up(&rig, id).await;
    rig.inside(id, "UPDATE res_company SET name = 'Later work'").await;
    let later = books(&rig, id).await;
    let first = restored(&rig, id, backup).await;
    // The last one, as it is seen now; and then another comes before its turn.
    rig.restore(id, backup).await;
    rig.undo_restore(id).await;
    let refused = ended(&rig, State::Cancelled).await;
    assert!(refused.error.unwrap().message.starts_with("The data of this instance were exchanged again since"));
    assert_eq!(rig.status(id).await, "running");
    assert_ne!(books(&rig, id).await, later);
    // One that is named is meant whatever came since.
    assert!(matches!(take_back(&rig, id, Some(first)).await, Acted::Queued(..)));
    ended(&rig, State::Succeeded).await;
    assert_eq!(books(&rig, id).await, later);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_down_for_former_data_that_are_gone() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let backup = backed_up(&rig, id).await;
    restored(&rig, id, backup).await;
    let placement = rig.instance(id).await.placement.unwrap();
    let stops = rig.control().counts(&placement.service_name).await.unwrap().stops;
    rig.pair.postgres2.psql("postgres", &format!("DROP DATABASE \"{}_o1\"", placement.db_name)).unwrap();
    rig.undo_restore(id).await;
    assert_eq!(ended(&rig, State::Failed).await.error.unwrap().code, "nothing_kept");
    assert_eq!(rig.control().counts(&placement.service_name).await.unwrap().stops, stops);
    assert_eq!(rig.status(id).await, "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_former_state_is_what_was_there_before_anything_was_restored() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let backup = backed_up(&rig, id).await;
    rig.inside(id, "UPDATE res_company SET name = 'Later work'").await;
    let later = books(&rig, id).await;
    restored(&rig, id, backup).await;
    rig.undo_restore(id).await;
    ended(&rig, State::Succeeded).await;
    // What was rejected is not the first, though it was kept before.
    let again = restored(&rig, id, backup).await;
    restored(&rig, id, backup).await;
    let due: Vec<bool> = replaced::of(&rig.db, id).await.unwrap().into_iter().map(|(_, is_due)| is_due).collect();
    assert_eq!(due, [true, false, false]);
    assert!(matches!(take_back(&rig, id, Some(again)).await, Acted::Queued(..)));
    ended(&rig, State::Succeeded).await;
    assert_eq!(books(&rig, id).await, later);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_leaves_former_data_while_the_live_ones_are_gone() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let backup = backed_up(&rig, id).await;
    restored(&rig, id, backup).await;
    let placement = rig.instance(id).await.placement.unwrap();
    let (live, former) = (placement.db_name.to_string(), format!("{}_o1", placement.db_name));
    rig.pair.postgres2.psql("postgres", &format!("DROP DATABASE \"{live}\" WITH (FORCE)")).unwrap();
    rig.delete(id).await;
    let stopped = ended(&rig, State::NeedsAttention).await;
    assert_eq!(stopped.current_step.as_deref(), Some("final_backup"));
    assert!(is_there(&rig, &former) && std::path::Path::new(&placement.data_dir).join("replaced-1").is_dir());
    // An operator finds out that nobody needs them.
    rig.pair.postgres2.psql("postgres", &format!("DROP DATABASE \"{former}\"")).unwrap();
    let mut tx = rig.db.begin().await.unwrap();
    assert_eq!(attention::decide(&mut tx, stopped.id, Decision::Retry, &by()).await.unwrap(), Decided::Done);
    tx.commit().await.unwrap();
    ended(&rig, State::Succeeded).await;
    assert!(!std::path::Path::new(&placement.data_dir).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_goes_with_the_data() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let image = async || rig.instance(id).await.placement.unwrap().image.unwrap();
    let newest = image().await;
    let runs = async |expected: &str| {
        assert_eq!(image().await, expected);
        let services = rig.tools.runtime.list().await.unwrap();
        assert!(services.iter().any(|service| service.image.as_str() == expected), "{services:?}");
    };
    rig.sql("UPDATE public.instances SET image = 'an older one'");
    let at = "update/ready/apply/after".to_owned();
    rig.faults.arm(Armed { point: at, action: Act::Error(ErrorKind::Permanent), times: 1 });
    rig.update(id, &[]).await;
    ended(&rig, State::Failed).await;
    runs("an older one").await;
    rig.update(id, &[]).await;
    ended(&rig, State::Succeeded).await;
    runs(&newest).await;
    for expected in ["an older one", &newest] {
        rig.undo_restore(id).await;
        ended(&rig, State::Succeeded).await;
        runs(expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_update_has_installed_is_told_by_whoever_takes_over() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    rig.faults.arm(vanish("update/update_modules/apply/after"));
    rig.update(id, &["crm"]).await;
    let result = ended(&rig, State::Succeeded).await.result.unwrap();
    assert!(!rig.faults.is_left());
    assert_eq!((&result["installed"], &result["updated"]), (&json!(["crm"]), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_no_instance_that_has_its_subscription_already() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let original = rig.instance(id).await;
    let copy = rig.copy(id, None).await;
    let ordered = async |of: InstanceId, source: InstanceId| {
        let subscription = rig.instance(of).await.subscription_id.unwrap();
        let order = rig.parsed(|raw| {
            raw.customer_id = Some(original.customer_id.to_string());
            raw.subscription_id = Some(subscription.to_string());
        });
        let request = CloneInstance { source, order, name: "Copy".to_owned(), backup: None };
        let mut tx = rig.db.begin().await.unwrap();
        acceptance::clone_instance(&mut tx, request, &ReservedHosts::with([]), &OsEntropy, &by()).await.unwrap()
    };
    assert!(matches!(ordered(id, id).await, Cloned::Ordered(Created::SubscriptionTaken)));
    assert!(matches!(ordered(copy, copy).await, Cloned::Ordered(Created::SubscriptionTaken)));
    assert!(matches!(ordered(copy, id).await, Cloned::Ordered(Created::Replayed(same)) if same.id == copy));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_the_time_of_a_restore_and_can_be_made_after_its_backup_failed() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let lost = rig.attach(id, b"lost for a while").await;
    fs::remove_file(&lost).unwrap();
    let copy = rig.copy(id, None).await;
    rig.drain().await;
    assert_eq!((rig.status(id).await.as_str(), rig.status(copy).await.as_str()), ("running", "error"));
    fs::write(&lost, b"lost for a while").unwrap();
    rig.act(copy, Action::Start).await;
    rig.drain().await;
    assert_eq!(rig.status(copy).await, "running");
    assert_eq!(books(&rig, copy).await.1, books(&rig, id).await.1);
    let times = "SELECT DISTINCT round(extract(epoch FROM deadline_at - started_at) / 60)
                   FROM instance_service.operations WHERE kind = 'provision'";
    let own = rig.sql(&format!("{times} AND instance_id = '{id}'"));
    assert_eq!((own.as_str(), rig.sql(&format!("{times} AND instance_id = '{copy}'")).as_str()), ("30", "240"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_run_ends_badly_is_not_called_harmless() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    rig.control()
        .add_fault(Fault { call: Call::RunOnce, service: None, times: 100, effect: Effect::ExitStatus(1) })
        .await
        .unwrap();
    let copy = rig.copy(id, None).await;
    rig.drain().await;
    assert_eq!(rig.status(copy).await, "error");
    let provision =
        rig.sql(&format!("SELECT id FROM instance_service.operations WHERE instance_id = '{copy}' AND kind = 'provision'"));
    let failed = operation(&rig, provision.parse().unwrap()).await;
    assert_eq!(failed.error.unwrap().code, "not_harmless");
}
