//! `GET /`

use crate::rig::Rig;
use serde_json::json;

#[tokio::test]
async fn it_says_what_this_is() {
    let got = Rig::start().get("/").await;
    let expected =
        json!({"service": "instance-service", "version": env!("CARGO_PKG_VERSION"), "status": "running", "docs": "/docs"});
    assert_eq!((got.status, got.json), (200, expected));
}
