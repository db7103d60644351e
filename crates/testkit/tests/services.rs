//! The stand-ins answer as the real services would, and fail as told.

use serde_json::{Value, json};
use std::io::{Read, Write};
use testkit::services::{Fault, Services};

/// Status and body of one call, over a plain socket.
fn call(services: &Services, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
    let address = services.url().replace("http://", "");
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(std::time::Duration::from_millis(500))).ok()?;
    let body = body.to_string();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?))
}

#[test]
fn users_and_mails_are_kept_as_files_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let services = Services::start(directory.path()).unwrap();
    let id = services.create_user("owner@shop.example", "Owner").unwrap();
    let mail = json!({ "to_emails": ["owner@shop.example"], "template_name": "instance_ready",
                       "template_variables": { "admin_password": "x" }, "priority": "normal", "tags": [] });
    assert_eq!(call(&services, "POST", "/api/v1/emails/send-template", &mail).unwrap().0, 200);
    drop(services);
    let services = Services::start(directory.path()).unwrap();
    let (status, user) = call(&services, "GET", &format!("/users/internal/{id}"), &Value::Null).unwrap();
    assert_eq!((status, &user["email"], &user["first_name"]), (200, &json!("owner@shop.example"), &json!("Owner")));
    let mails = services.mails().unwrap();
    assert_eq!((mails.len(), &mails[0]["template_name"]), (1, &json!("instance_ready")));
    let file = std::fs::metadata(directory.path().join("mails/000001.json")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o077, 0, "mails carry passwords");
}

#[test]
fn wrong_calls_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let services = Services::start(directory.path()).unwrap();
    let send = |mail: &Value| call(&services, "POST", "/api/v1/emails/send-template", mail).unwrap().0;
    assert_eq!(send(&json!({ "to_emails": ["a@b"], "template_name": "no_such", "template_variables": {} })), 404);
    assert_eq!(send(&json!({ "to_emails": [], "template_name": "instance_ready", "template_variables": {} })), 422);
    assert_eq!(send(&Value::Null), 422);
    assert_eq!(call(&services, "GET", "/users/internal/../mails/000001", &Value::Null).unwrap().0, 404);
    assert!(services.mails().unwrap().is_empty());
}

#[test]
fn scripted_faults_happen_as_often_as_told() {
    let directory = tempfile::tempdir().unwrap();
    let services = Services::start(directory.path()).unwrap();
    let health = || call(&services, "GET", "/health", &Value::Null).map(|(status, _)| status);
    services.fail("/health", Fault::Status(503), 2);
    services.fail("/health", Fault::Close, 1);
    services.fail("/health", Fault::Hang, 1);
    assert_eq!([health(), health(), health(), health(), health()], [Some(503), Some(503), None, None, Some(200)]);
    call(&services, "POST", "/faults", &json!({ "path": "/mails", "status": 500 })).unwrap();
    assert_eq!(call(&services, "GET", "/mails", &Value::Null).unwrap().0, 500);
    assert_eq!(call(&services, "GET", "/mails", &Value::Null).unwrap().0, 200);
}
