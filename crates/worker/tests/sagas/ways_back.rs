//! The way back from a restore or an update leads exactly to where it began, however often: the same rows and the same files.
//!
//! A few times each day; with `INSTANCE_SOAK=1` a hundred times.

use crate::backups::{books, ended, with_data};
use crate::rig::Rig;
use bootstrap::OsEntropy;
use domain::ids::InstanceId;
use domain::instance::Action;
use domain::operation::State;
use std::fs;
use std::sync::Arc;
use worker::reconcile::Round as _;
use worker::reconcile::retention::Retention;

const EACH_DAY: usize = 4;
const SOAK: usize = 100;

#[allow(clippy::disallowed_methods, reason = "a test reads its own environment")]
fn times() -> usize {
    if std::env::var("INSTANCE_SOAK").is_ok_and(|value| value == "1") { SOAK } else { EACH_DAY }
}

/// The customer works on: rows come, change and go, and so do files.
async fn work(rig: &Rig, id: InstanceId, day: usize) {
    rig.attach(id, format!("letter of day {day}").as_bytes()).await;
    let rows = format!(
        "INSERT INTO res_partner (name, type) VALUES ('Partner of day {day}', 'contact');
         UPDATE res_company SET name = 'Company on day {day}', write_date = now();
         DELETE FROM ir_attachment WHERE id = (SELECT min(id) FROM ir_attachment WHERE name = 'a file' AND {day} % 3 = 0)"
    );
    rig.inside(id, &rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_back_leads_to_where_it_began() {
    let rig = Rig::start().await;
    let id = with_data(&rig).await;
    rig.act(id, Action::Backup).await;
    ended(&rig, State::Succeeded).await;
    let backup = rig.backup_of(id).await;
    let retention = Retention { db: rig.db.clone(), entropy: Arc::new(OsEntropy) };
    for day in 0..times() {
        work(&rig, id, day).await;
        let (before, oid) = (books(&rig, id).await, rig.instance(id).await.db_oid);
        if day % 2 == 0 {
            rig.restore(id, backup).await;
        } else {
            rig.update(id, &["base"]).await;
        }
        ended(&rig, State::Succeeded).await;
        assert_ne!(rig.instance(id).await.db_oid, oid, "day {day}: nothing was exchanged");
        assert_ne!(books(&rig, id).await, before, "day {day}: nothing was done");
        // Somebody notices only after some work that it was wrong.
        work(&rig, id, 1000 + day).await;
        fs::write(rig.filestore(id).await.join("stray"), "not there before").unwrap();
        rig.undo_restore(id).await;
        ended(&rig, State::Succeeded).await;
        assert_eq!(rig.instance(id).await.db_oid, oid, "day {day}");
        assert!(books(&rig, id).await == before, "day {day}: the books are others than before");
        // What is kept of it goes with time.
        rig.sql("UPDATE instance_service.replaced_data SET keep_until = now()");
        retention.round().await.unwrap();
        ended(&rig, State::Succeeded).await;
    }
}
