//! Rows against real servers and directories.

use crate::rig::Rig;
use db::platform::acceptance::{Compare, compare};
use db::platform::audit::{AuditContext, Door};
use db::platform::operations::Enqueued;
use domain::ids::OperationId;
use serde_json::Value;
use worker::reconcile::drift::{Drift, Found};

async fn look(rig: &Rig) -> Found {
    let (servers, directories) = (rig.tools.servers.clone(), rig.tools.directories.clone());
    Drift { db: rig.db.clone(), servers, directories }.look().await.unwrap()
}

fn told(found: &Found) -> Vec<&str> {
    found.wrong.iter().map(|wrong| wrong.what).collect()
}

fn strays(found: &Found) -> Vec<(&str, &str)> {
    let mut strays: Vec<_> = found.strays.iter().map(|stray| (stray.kind, stray.name.as_str())).collect();
    strays.sort_unstable();
    strays
}

async fn asked(rig: &Rig) -> Value {
    let by = AuditContext { door: Door::Internal, actor: "test".into(), request_id: None };
    let mut tx = rig.db.begin().await.unwrap();
    let Enqueued::Accepted(id) = compare(&mut tx, &Compare::default(), &bootstrap::OsEntropy, &by).await.unwrap() else {
        panic!("nothing else is asked for");
    };
    tx.commit().await.unwrap();
    rig.drain().await;
    result(rig, id).await
}

async fn result(rig: &Rig, id: OperationId) -> Value {
    db::platform::operations::get(&rig.db, id).await.unwrap().unwrap().result.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_it_is_told_and_nothing_is_touched() {
    let rig = Rig::start().await;
    let (running, gone) = (rig.order(|_| {}).await, rig.order(|_| {}).await);
    rig.drain().await;
    rig.terminate(gone).await;
    rig.drain().await;
    let found = look(&rig).await;
    assert_eq!((told(&found), strays(&found)), (vec![], vec![]), "templates, instances and terminated ones are known");
    assert!(found.unreachable.is_empty());

    let admin = |sql: &str| rig.pair.postgres2.psql("postgres", sql).unwrap();
    let names = |instance: &db::platform::instances::Instance| instance.placement.clone().unwrap();
    let (mine, closed) = (names(&rig.instance(running).await), names(&rig.instance(gone).await));
    admin(&format!("ALTER DATABASE \"{}\" WITH ALLOW_CONNECTIONS true", closed.db_name));
    admin(&format!("ALTER DATABASE \"{}\" RENAME TO misplaced", mine.db_name));
    admin("CREATE ROLE lost; GRANT lost TO odoo_admin");
    admin("CREATE ROLE of_somebody_else");
    admin("CREATE DATABASE of_somebody_else OWNER of_somebody_else");
    let found = look(&rig).await;
    let mut wrong = told(&found);
    wrong.sort_unstable();
    assert_eq!(wrong, ["its database is missing", "its database is open although it is terminated"]);
    assert_eq!(strays(&found), [("database", "misplaced"), ("role", "lost")], "what was never ours is no business of ours");
    let there = "SELECT count(*) FROM pg_database WHERE datname IN ('misplaced', 'of_somebody_else')";
    assert_eq!(admin(there), "2", "nothing is removed");

    let result = asked(&rig).await;
    assert_eq!((&result["mismatched"], &result["errors"]), (&4.into(), &0.into()), "{result}");
    let words = result.to_string();
    assert!(
        words.contains("its database is missing") && !words.contains("misplaced") && !words.contains(mine.db_name.as_str()),
        "{words}"
    );
}
