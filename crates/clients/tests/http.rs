//! Both clients against an HTTP server that checks what they send.
#![allow(clippy::unwrap_used, reason = "tests")]

use clients::notifications::HttpNotificationService;
use clients::users::HttpUserService;
use clients::{ClientError, Mail, NotificationService, UserService};
use domain::ids::CustomerId;
use serde_json::{Map, json};
use url::Url;
use uuid::Uuid;
use wiremock::matchers::{body_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const CUSTOMER: &str = "/users/internal/00000000-0000-0000-0000-000000000007";

fn http() -> reqwest::Client {
    reqwest::Client::builder().build().unwrap()
}

/// `/base/` shows that a path in the address, and a slash at its end, are kept and not doubled.
fn base(server: &MockServer) -> Url {
    Url::parse(&format!("{}/base/", server.uri())).unwrap()
}

fn users(server: &MockServer) -> HttpUserService {
    HttpUserService::new(http(), base(server))
}

fn customer_id() -> CustomerId {
    CustomerId::from_uuid(Uuid::from_u128(7))
}

async fn user_answer(answer: ResponseTemplate) -> Result<clients::Customer, ClientError> {
    let server = MockServer::start().await;
    Mock::given(method("GET")).and(path(format!("/base{CUSTOMER}"))).respond_with(answer).expect(1).mount(&server).await;
    users(&server).customer(customer_id()).await
}

#[tokio::test]
async fn a_customer_is_read() {
    let body = json!({"id": "x", "email": "a@example.org", "first_name": "Owner", "last_name": null, "status": "active"});
    let customer = user_answer(ResponseTemplate::new(200).set_body_json(body)).await.unwrap();
    assert_eq!((customer.email.as_str(), customer.greeting()), ("a@example.org", "Owner"));
    assert!(!format!("{customer:?}").contains("example"));
}

#[tokio::test]
async fn a_customer_without_a_name_is_greeted_all_the_same() {
    for first_name in [json!(null), json!(""), json!("  ")] {
        let body = json!({"email": "a@example.org", "first_name": first_name});
        assert_eq!(user_answer(ResponseTemplate::new(200).set_body_json(body)).await.unwrap().greeting(), "there");
    }
    let body = json!({"email": "a@example.org"});
    assert_eq!(user_answer(ResponseTemplate::new(200).set_body_json(body)).await.unwrap().greeting(), "there");
}

#[tokio::test]
async fn user_service_errors_are_told_apart() {
    let refused = user_answer(ResponseTemplate::new(404)).await.unwrap_err();
    assert_eq!(refused, ClientError::Refused { service: "user service", status: 404 });
    for status in [500, 503, 429] {
        let error = user_answer(ResponseTemplate::new(status)).await.unwrap_err();
        assert!(matches!(error, ClientError::Unavailable { .. }), "{status}: {error}");
    }
    let broken = user_answer(ResponseTemplate::new(200).set_body_string("not json")).await.unwrap_err();
    assert!(matches!(broken, ClientError::Unavailable { .. }), "{broken}");
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_the_text_names_no_address() {
    // A port that was free a moment ago, and on which nobody listens now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let gone = HttpUserService::new(http(), Url::parse(&format!("http://127.0.0.1:{port}")).unwrap());
    let error = gone.customer(customer_id()).await.unwrap_err();
    assert_eq!(error.to_string(), "user service is unavailable: cannot connect");
    assert!(!error.is_permanent());
}

fn mail() -> Mail {
    let mut variables = Map::new();
    variables.insert("first_name".into(), "Owner".into());
    variables.insert("admin_password".into(), "pw-7".into());
    Mail {
        id: Uuid::from_u128(9),
        to: "a@example.org".into(),
        template: "instance_ready".into(),
        variables,
        tags: vec!["instance".into(), "ready".into()],
    }
}

async fn mail_answer(answer: ResponseTemplate) -> Result<(), ClientError> {
    let server = MockServer::start().await;
    let expected = json!({
        "to_emails": ["a@example.org"],
        "template_name": "instance_ready",
        "template_variables": {"first_name": "Owner", "admin_password": "pw-7"},
        "priority": "normal",
        "tags": ["instance", "ready"],
    });
    Mock::given(method("POST"))
        .and(path("/base/api/v1/emails/send-template"))
        .and(header("Idempotency-Key", Uuid::from_u128(9).to_string()))
        .and(body_json(expected))
        .respond_with(answer)
        .expect(1)
        .mount(&server)
        .await;
    HttpNotificationService::new(http(), base(&server)).send(&mail()).await
}

#[tokio::test]
async fn a_mail_is_handed_over() {
    mail_answer(ResponseTemplate::new(200).set_body_json(json!({"success": true}))).await.unwrap();
}

#[tokio::test]
async fn only_an_unknown_template_is_permanent() {
    let unknown = json!({"detail": "Template 'instance_ready' not found"});
    let error = mail_answer(ResponseTemplate::new(404).set_body_json(unknown)).await.unwrap_err();
    assert_eq!(error, ClientError::UnknownTemplate { template: "instance_ready".into() });
    assert!(error.is_permanent());
    let other = [
        ResponseTemplate::new(404),
        ResponseTemplate::new(404).set_body_json(json!({"detail": "Not Found"})),
        ResponseTemplate::new(422).set_body_json(json!({"detail": [{"msg": "instance_ready"}]})),
        ResponseTemplate::new(503),
        ResponseTemplate::new(302).insert_header("Location", "http://127.0.0.1:1/"),
    ];
    for answer in other {
        let error = mail_answer(answer).await.unwrap_err();
        assert!(!error.is_permanent(), "{error}");
    }
}

#[test]
fn a_mail_shows_nothing_of_its_content() {
    let shown = format!("{:?}", mail());
    assert!(!shown.contains("pw-7") && !shown.contains("example") && !shown.contains("Owner"), "{shown}");
}
