//! A server that does not answer, and many who want it.

use crate::rig::{Rig, server};
use db::odoo::{OdooError, OdooServers};
use domain::ids::ServerId;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Accepts and hangs up, and counts.
async fn dead_end() -> (u16, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(connection);
        }
    });
    (port, count)
}

#[tokio::test]
async fn a_dead_server_is_tried_a_few_times_and_all_go_on_when_it_is_back() {
    let rig = Rig::start();
    let (port, attempts) = dead_end().await;
    let (alive, id) = (rig.server.address().clone(), ServerId::from_uuid(uuid::Uuid::nil()));
    let mut dead = alive.clone();
    dead.admin.port = port;
    let servers = OdooServers::new([dead.clone()]);
    let mut away = 0;
    for _ in 0..20 {
        // The registry is read anew all the time.
        servers.replace([dead.clone()]);
        match servers.get(id).unwrap().admin_connection().await.unwrap_err() {
            OdooError::Away { after, .. } => away += usize::from(!after.is_zero()),
            error => assert!(matches!(error, OdooError::Unreachable { .. }), "{error}"),
        }
    }
    assert_eq!((attempts.load(Ordering::SeqCst), away), (3, 17));
    // Who asks whether it is back may always try.
    server(dead.admin.clone()).whoever_answers().admin_connection().await.unwrap_err();
    assert_eq!(attempts.load(Ordering::SeqCst), 4);

    servers.replace([alive]);
    assert!(matches!(servers.get(id).unwrap().admin_connection().await, Err(OdooError::Away { .. })));
    servers.mark_well(id);
    for _ in 0..20 {
        servers.get(id).unwrap().admin_connection().await.unwrap();
    }
}
