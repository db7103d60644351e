//! Backups and restores: what is kept, what comes back, and that nothing is lost on the way.

use crate::rig::Rig;
use bootstrap::OsEntropy;
use db::platform::backups;
use db::platform::operations::Operation;
use db::platform::replaced;
use domain::backup::State as BackupState;
use domain::ids::InstanceId;
use domain::instance::Action;
use domain::operation::State;
use std::fs;
use std::sync::Arc;
use worker::reconcile::Round as _;
use worker::reconcile::retention::Retention;

pub(crate) async fn with_data(rig: &Rig) -> InstanceId {
    rig.prepare_template().await;
    let id = rig.order(|_| {}).await;
    rig.drain().await;
    rig.attach(id, b"first letter").await;
    rig.attach(id, b"second letter").await;
    id
}

pub(crate) async fn ended(rig: &Rig, state: State) -> Operation {
    rig.drain().await;
    let operation = rig.last_operation().await;
    assert_eq!(operation.state, state, "{operation:#?}");
    operation
}

/// What the instance's books hold: every table by row, and the files.
pub(crate) async fn books(rig: &Rig, id: InstanceId) -> (Vec<String>, Vec<String>) {
    let placement = rig.instance(id).await.placement.unwrap();
    let server = rig.tools.servers.get(placement.server).unwrap();
    let mut snapshot = server.snapshot(&placement.db_name, &placement.db_user, &rig.password(id).await).await.unwrap();
    let digest = format!("{:?}", snapshot.data_digest().await.unwrap());
    let mut files: Vec<String> = Vec::new();
    for directory in fs::read_dir(rig.filestore(id).await).unwrap() {
        for file in fs::read_dir(directory.unwrap().path()).into_iter().flatten() {
            files.push(file.unwrap().file_name().into_string().unwrap());
        }
    }
    files.sort();
    (digest.split("), (").map(str::to_owned).collect(), files)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_backed_up_comes_back_and_what_was_there_is_kept() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let before = books(&rig, id).await;
    rig.act(id, Action::Backup).await;
    assert_eq!(rig.status(id).await, "maintenance");
    ended(&rig, State::Succeeded).await;
    assert_eq!(rig.status(id).await, "running");
    let backup = rig.backup_of(id).await;
    let row = backups::get(&rig.db, backup).await.unwrap().unwrap();
    assert_eq!((row.state, row.files_count), (BackupState::Completed, i64::try_from(before.1.len()).ok()), "{row:#?}");

    // The customer goes on, and loses something.
    rig.inside(id, "DELETE FROM ir_attachment; UPDATE res_company SET name = 'Spoiled'").await;
    fs::remove_dir_all(rig.filestore(id).await).unwrap();
    let oid = rig.instance(id).await.db_oid;
    rig.restore(id, backup).await;
    assert_eq!(rig.status(id).await, "maintenance");
    let operation = ended(&rig, State::Succeeded).await;
    assert_eq!(operation.result.unwrap()["backup_id"], serde_json::json!(backup));
    assert_eq!(rig.status(id).await, "running");
    assert_eq!(books(&rig, id).await, before);
    assert_ne!(rig.instance(id).await.db_oid, oid);
    let placement = rig.instance(id).await.placement.unwrap();
    let former = format!("{}_o1", placement.db_name);
    assert_eq!(
        rig.pair
            .postgres2
            .psql("postgres", &format!("SELECT datallowconn FROM pg_database WHERE datname = '{former}'"))
            .unwrap()
            .trim(),
        "f"
    );
    assert!(rig.mails().ends_with("backup_completed restore_completed"), "{}", rig.mails());

    // Of three former states the first keeps its time, and the one between goes; a delete makes all go.
    for _ in 0..2 {
        rig.restore(id, backup).await;
        ended(&rig, State::Succeeded).await;
    }
    assert_eq!(replaced::due(&rig.db, 10).await.unwrap(), [id]);
    let report = Retention { db: rig.db.clone(), entropy: Arc::new(OsEntropy) }.round().await.unwrap();
    assert_eq!(report["replaced_data"], 1);
    ended(&rig, State::Succeeded).await;
    assert_eq!(replaced::due(&rig.db, 10).await.unwrap(), []);
    let databases = rig
        .pair
        .postgres2
        .psql("postgres", &format!("SELECT datname FROM pg_database WHERE datname LIKE '{}%' ORDER BY 1", placement.db_name))
        .unwrap();
    assert_eq!(databases.trim(), format!("{0}\n{0}_o1\n{0}_o3", placement.db_name));
    rig.delete(id).await;
    ended(&rig, State::Succeeded).await;
    let left = rig
        .pair
        .postgres2
        .psql("postgres", &format!("SELECT count(*) FROM pg_database WHERE datname LIKE '{}%'", placement.db_name))
        .unwrap();
    assert_eq!(left.trim(), "0");
    assert!(!std::path::Path::new(&placement.data_dir).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_down_stays_down() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    rig.act(id, Action::Stop).await;
    ended(&rig, State::Succeeded).await;
    rig.act(id, Action::Backup).await;
    ended(&rig, State::Succeeded).await;
    assert_eq!(rig.status(id).await, "stopped");
    rig.restore(id, rig.backup_of(id).await).await;
    ended(&rig, State::Succeeded).await;
    assert_eq!(rig.status(id).await, "stopped");
    let services = rig.tools.runtime.list().await.unwrap();
    assert!(services.iter().all(|service| !service.observed.is_up()), "{services:?}");
    rig.act(id, Action::Start).await;
    ended(&rig, State::Succeeded).await;
    assert_eq!(rig.status(id).await, "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_touches_nothing() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    rig.act(id, Action::Backup).await;
    ended(&rig, State::Succeeded).await;
    let backup = rig.backup_of(id).await;
    let (books_before, server_before) = (books(&rig, id).await, rig.snapshot());
    for object in rig.stored().into_iter().filter(|object| !object.starts_with(".staging")) {
        let path = rig.store.path().join(&object);
        let whole = fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        fs::write(&path, damaged).unwrap();
        rig.restore(id, backup).await;
        let operation = ended(&rig, State::Failed).await;
        let error = operation.error.unwrap();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("backup_damaged", "This backup is damaged. Nothing was changed."),
            "{object}"
        );
        assert_eq!(rig.status(id).await, "running");
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(books(&rig, id).await, books_before);
    let difference = server_before.difference(&rig.snapshot());
    assert!(difference.is_empty(), "{difference}");
    rig.restore(id, backup).await;
    ended(&rig, State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_missing_fails_the_backup_and_leaves_nothing() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let lost = rig.attach(id, b"lost").await;
    fs::remove_file(lost).unwrap();
    rig.act(id, Action::Backup).await;
    ended(&rig, State::Failed).await;
    assert_eq!(rig.status(id).await, "running");
    assert!(rig.stored().iter().all(|object| object.starts_with("pool/")), "{:?}", rig.stored());
    let all = backups::of_instance(&rig.db, id, 10).await.unwrap();
    assert_eq!(all.iter().map(|backup| backup.state).collect::<Vec<_>>(), [BackupState::Failed]);
    assert!(rig.mails().ends_with("backup_failed"), "{}", rig.mails());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_waited_for() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    let (here, away) = (rig.store.path().to_owned(), rig.store.path().with_extension("away"));
    fs::rename(&here, &away).unwrap();
    fs::create_dir(&here).unwrap();
    rig.act(id, Action::Backup).await;
    rig.drain_until_away().await;
    assert_eq!(fs::read_dir(&here).unwrap().count(), 0);
    fs::remove_dir(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    ended(&rig, State::Succeeded).await;
    rig.backup_of(id).await;
}
