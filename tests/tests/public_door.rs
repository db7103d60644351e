//! The public door of the real binary, with login sessions in a real Redis.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;
use stories::{Stack, StackOptions, call_with, until};
use testkit::port::Port;
use testkit::redis::Redis;

const PATIENCE: Duration = Duration::from_secs(60);

struct Door(String);

impl Door {
    /// Status and body of a call with this token.
    fn get(&self, path: &str, token: &str) -> Result<(u16, Value)> {
        let authorization = format!("Bearer {token}");
        let answer = call_with("GET", &format!("{}{path}", self.0), None, &[("authorization", &authorization)])?;
        Ok((answer.status, answer.body))
    }
}

#[test]
fn a_customer_sees_what_is_theirs_while_their_session_lasts() -> Result<()> {
    let mut redis = Redis::start()?;
    let listen = Port::reserve()?;
    let set = |name: &str, value: String| (name.to_owned(), value);
    let environment = vec![
        set("PUBLIC_LISTEN_ADDR", format!("127.0.0.1:{}", listen.number())),
        set("REDIS_HOST", "127.0.0.1".into()),
        set("REDIS_PORT", redis.port().to_string()),
        set("REDIS_PASSWORD", redis.password().to_owned()),
    ];
    let stack = Stack::start(&StackOptions { environment, ..StackOptions::default() })?;
    let order = stack.order("shop")?;
    let (instance, operation) = stack.provision(&order)?;
    stack.await_success(&operation, PATIENCE)?;
    let shown = stack.instance(&instance)?;
    let session = |customer: &Value| {
        json!({ "customer_id": customer, "is_active": true, "expires_at": "2099-01-01T00:00:00+00:00" }).to_string()
    };
    redis.set("session:owner", &session(&shown["customer_id"]))?;
    redis.set("session:stranger", &session(&json!(stories::uuid()?)))?;
    let door = Door(format!("http://127.0.0.1:{}", listen.number()));
    let path = format!("/api/v1/instances/{instance}");
    let (status, body) = door.get(&path, "owner")?;
    ensure!(status == 200 && body["id"] == shown["id"], "{body:#}");
    ensure!(door.get(&path, "stranger")?.0 == 404 && door.get(&path, "nobody")?.0 == 401);
    ensure!(door.get("/admin/instance-stats", "owner")?.0 == 403);
    let (status, logs) = door.get(&format!("{path}/logs"), "owner")?;
    ensure!(status == 200 && logs["logs"].is_array(), "a customer reads the real lines: {logs:#}");
    redis.remove("session:owner")?;
    until(PATIENCE, "the end of the session", || Ok((door.get(&path, "owner")?.0 == 401).then_some(())))?;
    redis.set("session:owner", &session(&shown["customer_id"]))?;
    redis.stop()?;
    let (status, body) = door.get(&path, "owner")?;
    ensure!(status == 503 && body["detail"].is_string(), "neither logged out nor let in: {status} {body:#}");
    redis.start_again()?;
    redis.set("session:owner", &session(&shown["customer_id"]))?;
    until(PATIENCE, "the store that is back", || Ok((door.get(&path, "owner")?.0 == 200).then_some(())))
}
