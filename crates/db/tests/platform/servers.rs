//! The registry of Odoo servers and its counts.

use crate::rig::{Rig, System};
use db::DbError;
use db::platform::servers::{
    ServerAddress, ServerHealth, ServerState, get, list, platform_identity, register_default, release, remember_identity,
    reserve, set_state, write_health,
};
use domain::ids::ServerId;
use domain::instance::DbType;
use domain::sources::random_uuid;
use serde_json::json;
use std::sync::Arc;

fn address(host: &str) -> ServerAddress {
    ServerAddress {
        admin_host: host.to_owned(),
        admin_port: 5432,
        default_database: "postgres".to_owned(),
        admin_user: "odoo_admin".to_owned(),
        secret_name: "ODOO_POSTGRES_ADMIN_PASSWORD".to_owned(),
        tenant_host: host.to_owned(),
        tenant_port: 5433,
    }
}

/// An active shared server.
pub(crate) fn active(rig: &Rig, name: &str, capacity: u32) -> ServerId {
    let id = random_uuid(&System);
    rig.sql(&format!(
        "INSERT INTO instance_service.odoo_servers (id, name, admin_host, admin_port, default_database, admin_user, secret_name,
                                                    tenant_host, tenant_port, capacity, state)
         VALUES ('{id}', '{name}', 'h', 5432, 'postgres', 'a', 'S', 'h', 5432, {capacity}, 'active')"
    ));
    ServerId::from_uuid(id)
}

#[tokio::test]
async fn the_server_of_the_settings_is_entered_once_and_kept_up_to_date() {
    let rig = Rig::start();
    let id = register_default(&rig.db, &address("old"), true, &System).await.unwrap();
    let health = ServerHealth {
        healthy: Some(true),
        latency_ms: Some(3),
        version: Some("15.18".to_owned()),
        deviations: json!([]),
        ..ServerHealth::default()
    };
    write_health(&rig.db, id, &health).await.unwrap();
    assert_eq!(register_default(&rig.db, &address("new"), false, &System).await.unwrap(), id);
    let server = get(&rig.db, id).await.unwrap().unwrap();
    assert_eq!((server.address, server.separated, server.state), (address("new"), false, ServerState::Active));
    assert_eq!((server.health.healthy, server.health.version.as_deref()), (Some(true), Some("15.18")));
    assert!(server.health.checked_at.is_some());
    assert_eq!(list(&rig.db).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_unhealthy_answer_keeps_a_server_probing_and_the_version_it_had() {
    let rig = Rig::start();
    let id = register_default(&rig.db, &address("h"), true, &System).await.unwrap();
    let bad = ServerHealth {
        healthy: Some(false),
        error: Some("not reachable".to_owned()),
        deviations: json!(["a superuser"]),
        ..ServerHealth::default()
    };
    write_health(&rig.db, id, &bad).await.unwrap();
    let server = get(&rig.db, id).await.unwrap().unwrap();
    assert_eq!(
        (server.state, server.health.healthy, server.health.deviations),
        (ServerState::Probing, Some(false), json!(["a superuser"]))
    );
    assert!(set_state(&rig.db, id, ServerState::Draining).await.unwrap());
    write_health(&rig.db, id, &ServerHealth { healthy: Some(true), deviations: json!([]), ..ServerHealth::default() })
        .await
        .unwrap();
    assert_eq!(get(&rig.db, id).await.unwrap().unwrap().state, ServerState::Draining, "an operator's word stands");
}

#[tokio::test]
async fn another_server_behind_the_address_is_noticed() {
    let rig = Rig::start();
    let id = register_default(&rig.db, &address("h"), true, &System).await.unwrap();
    assert_eq!(remember_identity(&rig.db, id, 41).await.unwrap(), 41);
    assert_eq!(remember_identity(&rig.db, id, 42).await.unwrap(), 41, "the first one is remembered");
    let platform = platform_identity(&rig.db).await.unwrap();
    assert_eq!(platform.system_identifier.to_string(), rig.sql("SELECT system_identifier FROM pg_control_system()"));
    assert_eq!(platform.database, "instance");
}

#[tokio::test]
async fn the_emptiest_active_server_of_the_tier_is_taken() {
    let rig = Rig::start();
    let (small, large) = (active(&rig, "small", 2), active(&rig, "large", 3));
    let mut taken = Vec::new();
    for _ in 0..6 {
        let mut tx = rig.tx().await;
        taken.push(reserve(&mut tx, DbType::Shared).await.unwrap().map(|server| server.id));
        tx.commit().await.unwrap();
    }
    assert_eq!(taken[0], Some(large));
    assert_eq!(taken.iter().filter(|id| **id == Some(small)).count(), 2);
    assert_eq!(taken.iter().filter(|id| **id == Some(large)).count(), 3);
    assert_eq!(taken[5], None, "full");
    let mut tx = rig.tx().await;
    assert!(reserve(&mut tx, DbType::Dedicated).await.unwrap().is_none());
    release(&mut tx, small).await.unwrap();
    assert_eq!(reserve(&mut tx, DbType::Shared).await.unwrap().unwrap().id, small);
    for _ in 0..2 {
        release(&mut tx, small).await.unwrap();
    }
    let below = release(&mut tx, small).await;
    assert!(matches!(below, Err(DbError::Constraint { .. })), "{below:?}");
}

#[tokio::test]
async fn parallel_placements_never_overfill() {
    let rig = Rig::start().crowded().await;
    active(&rig, "one", 5);
    active(&rig, "two", 5);
    let calls = (0..20).map(|_| {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move {
            let mut tx = rig.tx().await;
            let got = reserve(&mut tx, DbType::Shared).await.unwrap().is_some();
            tx.commit().await.unwrap();
            usize::from(got)
        })
    });
    let mut placed = 0;
    for call in calls.collect::<Vec<_>>() {
        placed += call.await.unwrap();
    }
    assert_eq!(placed, 10);
    assert_eq!(rig.sql("SELECT string_agg(instances::text, ',') FROM instance_service.odoo_servers"), "5,5");
}
