//! `GET /health` and `GET /livez`: liveness, whatever the state of postgres1.

use crate::rig::Rig;
use serde_json::json;
use testkit::Stop;

#[tokio::test]
async fn liveness_does_not_depend_on_postgres1() {
    let mut rig = Rig::impatient();
    rig.cluster.stop(Stop::Immediate).unwrap();
    let health = rig.get("/health").await;
    let expected = json!({"status": "healthy", "service": "instance-service", "version": env!("CARGO_PKG_VERSION")});
    assert_eq!((health.status, health.json), (200, expected));
    assert_eq!(rig.get("/livez").await.status, 200);
}
