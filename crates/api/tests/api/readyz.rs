//! `GET /readyz`, and what is served while the schema does not fit.

use crate::rig::Rig;

#[tokio::test]
async fn a_fitting_schema_is_ready() {
    let got = Rig::start().get("/readyz").await;
    assert_eq!((got.status, &got.json["status"]), (200, &"ready".into()));
}

#[tokio::test]
async fn an_empty_database_is_too_old_to_serve() {
    let rig = Rig::unmigrated();
    assert_eq!(rig.get("/readyz").await.status, 503);
    let data = rig.get("/api/v1/operations").await;
    assert_eq!((data.status, data.header("retry-after").is_empty()), (503, false));
    assert_eq!(rig.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_newer_schema_is_not_served_and_one_that_fits_again_is() {
    let rig = Rig::start();
    assert_eq!(rig.get("/api/v1/operations").await.status, 200);
    rig.sql(
        "INSERT INTO instance_service._migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of a later release', true, '', 0)",
    );
    assert_eq!(rig.get("/readyz").await.status, 503);
    assert_eq!(rig.get("/api/v1/operations").await.status, 503);
    rig.sql("DELETE FROM instance_service._migrations WHERE version = 9999");
    assert_eq!(rig.get("/api/v1/operations").await.status, 200);
    assert_eq!(rig.get("/readyz").await.status, 200);
}
