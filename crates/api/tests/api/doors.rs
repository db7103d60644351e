//! The two doors (contract 9).

use crate::rig::{Rig, WEBHOOK_SECRET, send};
use axum::body::Body;
use axum::http::Request;
use bootstrap::settings::AuthMode;

fn ask(path: &str) -> axum::http::request::Builder {
    Request::get(path)
}

#[tokio::test]
async fn the_public_door_asks_for_a_session_however_it_is_reached() {
    let rig = Rig::start();
    let instance = rig.created().await;
    let path = crate::rig::instance_path(&instance, "");
    let requests = [
        ask(&format!("/instance{path}")),
        ask(&path).header("x-forwarded-host", "app.example"),
        ask(&path).header("x-forwarded-prefix", "/instance"),
    ];
    for request in requests {
        let got = rig.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!((got.status, got.detail(), got.header("www-authenticate")), (401, "Please log in", "Bearer"), "{got:?}");
    }
    let public = api::public_app(&rig.state);
    for (path, status) in [("/", 200), ("/health", 200), (path.as_str(), 401), ("/nothing", 401), ("/metrics", 401)] {
        assert_eq!(send(&public, ask(path).body(Body::empty()).unwrap()).await.status, status, "{path}");
    }
    for path in ["/instance", "/instance/", "/instance/health"] {
        assert_eq!(rig.get(path).await.status, 200, "{path}");
    }
    assert_eq!(rig.get("/instances").await.status, 404, "only the whole word is the prefix");
}

#[tokio::test]
async fn mode_off_checks_nothing_on_the_public_door() {
    let rig = Rig::with(|policy| policy.internal_door.mode = AuthMode::Off);
    let instance = rig.created().await;
    assert_eq!(rig.by_public("GET", &crate::rig::instance_path(&instance, ""), None, "").await.status, 200);
}

#[tokio::test]
async fn a_configured_token_is_demanded_by_administration_and_monitoring() {
    let rig = Rig::with(|policy| policy.internal_door.token = Some("right".into()));
    for (path, open) in [("/admin/odoo-servers", 501), ("/api/v1/monitoring/status", 200), ("/api/v1/monitoring/status/", 200)] {
        assert_eq!(rig.get(path).await.status, 403, "{path}");
        for (token, status) in [("wrong", 403), ("right ", 403), ("righ", 403), ("", 403), ("right", open)] {
            let request = ask(path).header("x-internal-token", token).body(Body::empty()).unwrap();
            assert_eq!(rig.send(request).await.status, status, "{path} {token:?}");
        }
    }
    assert_eq!(rig.get("/api/v1/operations").await.status, 200);
}

#[tokio::test]
async fn without_a_token_the_internal_door_is_open() {
    let rig = Rig::start();
    assert_eq!(rig.get("/admin/odoo-servers").await.status, 501);
}

#[tokio::test]
async fn mode_all_demands_the_token_everywhere_but_for_liveness() {
    let rig = Rig::with(|policy| {
        policy.internal_door.mode = AuthMode::All;
        policy.internal_door.token = Some("right".into());
    });
    for path in ["/livez", "/health", "/health/"] {
        assert_eq!(rig.get(path).await.status, 200, "{path}");
    }
    let webhook = Request::post(format!("/webhooks/killbill/{WEBHOOK_SECRET}")).body(Body::empty()).unwrap();
    assert_eq!(rig.send(webhook).await.status, 200, "it has a secret of its own");
    for path in ["/", "/readyz", "/metrics", "/docs", "/openapi.json", "/health/database", "/api/v1/operations"] {
        assert_eq!(rig.get(path).await.status, 403, "{path}");
        let request = ask(path).header("x-internal-token", "right").body(Body::empty()).unwrap();
        assert_eq!(rig.send(request).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn mode_off_checks_nothing_on_the_internal_door() {
    let rig = Rig::with(|policy| {
        policy.internal_door.mode = AuthMode::Off;
        policy.internal_door.token = Some("right".into());
    });
    assert_eq!(rig.get("/admin/odoo-servers").await.status, 501);
}
