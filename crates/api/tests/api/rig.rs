//! An API over a postgres1 of its own, and short words for what the tests ask of it. Every answer is checked against the
//! conventions, whatever the test is about.

use api::doors::InternalDoor;
use api::state::{AppState, Parts, Policy};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bootstrap::settings::{AuthMode, CorsOrigins, TransferSettings};
use bootstrap::{OsEntropy, SystemClock};
use chrono::{DateTime, TimeDelta, Utc};
use clients::Session;
use clients::sessions::fake::FakeSessions;
use db::platform::{PlatformDb, PoolLimits};
use domain::backup::schedule::{Keep, Schedule, Tz};
use domain::names::ReservedHosts;
use domain::order::OrderRules;
use domain::sources::{Clock, random_uuid};
use domain::version::OdooVersion;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use testkit::pair::PLATFORM_DATABASE;
use testkit::{Cluster, Options, Platform};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;

/// How long a request waits for a connection. Longer than in a deployment: a machine busy with other tests is not the subject.
const PATIENT: Duration = Duration::from_secs(20);

/// The end of the billing webhook's path.
pub(crate) const WEBHOOK_SECRET: &str = "0123456789-webhook_Secret";

/// An API and its postgres1. It knows nothing of postgres2, and there is none.
pub(crate) struct Rig {
    pub(crate) cluster: Cluster,
    pub(crate) state: AppState,
    pub(crate) router: Router,
    /// Who has logged in, for the public door.
    pub(crate) sessions: Arc<FakeSessions>,
    pub(crate) clock: Arc<SetClock>,
    /// Where archives are handed over.
    pub(crate) transfer: tempfile::TempDir,
    _ends_background_work: DropGuard,
}

impl Rig {
    /// Over a migrated database, with the policy of a deployment that sets nothing.
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// The same with another policy.
    pub(crate) fn with(change: impl FnOnce(&mut Policy)) -> Self {
        Self::over(Platform::start(&Options::default()).unwrap(), PATIENT, change)
    }

    /// Over a migrated database, giving up on it soon: for tests that take it away.
    pub(crate) fn impatient() -> Self {
        Self::over(Platform::start(&Options::default()).unwrap(), Duration::from_secs(1), |_| {})
    }

    /// Over an empty database.
    pub(crate) fn unmigrated() -> Self {
        Self::over(Platform::unmigrated(&Options::default()).unwrap(), PATIENT, |_| {})
    }

    fn over(platform: Platform, acquire_timeout: Duration, change: impl FnOnce(&mut Policy)) -> Self {
        let limits = PoolLimits { acquire_timeout, readers: 5, ..PoolLimits::default() };
        let db = PlatformDb::connect_lazy(&platform.platform(), &limits, "instance-api");
        let shutdown = CancellationToken::new();
        let transfer = shared_directory();
        let mut policy = policy(transfer.path());
        change(&mut policy);
        let (sessions, clock) = (Arc::new(FakeSessions::default()), Arc::new(SetClock::default()));
        let parts = Parts {
            db,
            policy,
            sessions: sessions.clone(),
            clock: clock.clone(),
            entropy: Arc::new(OsEntropy),
            shutdown: shutdown.clone(),
        };
        let state = AppState::new(parts);
        let router = api::app(&state);
        let ends = shutdown.drop_guard();
        Self { cluster: platform.postgres1, state, router, sessions, clock, transfer, _ends_background_work: ends }
    }

    /// The workers have the same directory as this API.
    pub(crate) fn share(&self) {
        self.sql("INSERT INTO instance_service.settings (name, value) VALUES ('backups_root', '\"here\"')");
    }

    /// The archives that lie there.
    pub(crate) fn handed_over(&self) -> Vec<String> {
        let names = |directory: &str| std::fs::read_dir(self.transfer.path().join(directory)).unwrap();
        let found = ["exports", "imports"].into_iter().flat_map(names);
        found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Sends a request and checks the answer against the conventions.
    pub(crate) async fn send(&self, request: Request<Body>) -> Got {
        send(&self.router, request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Got {
        self.send(Request::delete(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Got {
        self.send(Request::post(path).body(Body::from(body.to_string())).unwrap()).await
    }

    pub(crate) async fn post_with_key(&self, path: &str, key: &str, body: &Value) -> Got {
        let request = Request::post(path).header("idempotency-key", key).body(Body::from(body.to_string()));
        self.send(request.unwrap()).await
    }

    /// A customer logs in; answers the token.
    pub(crate) fn log_in(&self, customer: &str) -> String {
        let token = uuid();
        self.sessions.put(&token, Session { customer: customer.parse().unwrap(), expires_at: None });
        token
    }

    /// Sends a request by the public door, as the proxy passes it on.
    pub(crate) async fn by_public(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Got {
        let mut request = Request::builder().method(method).uri(path).header("x-forwarded-host", "app.example");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// Records an instance and answers its object.
    pub(crate) async fn created(&self) -> Value {
        let got = self.post("/api/v1/instances/", &order()).await;
        assert_eq!(got.status, 201, "{got:?}");
        got.json
    }

    /// Records an instance with its provisioning queued.
    pub(crate) async fn provisioning(&self) -> Value {
        let got = self.post("/api/v1/instances/?provision=true", &order()).await;
        assert_eq!(got.status, 201, "{got:?}");
        got.json
    }

    /// A backup of an instance that counts as whole, without anything in a store.
    pub(crate) fn whole_backup(&self, instance: &Value) -> String {
        let (id, customer) = (instance["id"].as_str().unwrap(), instance["customer_id"].as_str().unwrap());
        self.sql(&format!(
            "INSERT INTO instance_service.backups
                 (id, instance_id, customer_id, operation_id, name, origin, state, odoo_version, attempt, manifest_sha256, completed_at)
             VALUES (gen_random_uuid(), '{id}', '{customer}', gen_random_uuid(), 'b', 'requested', 'completed', '19', 1, sha256(''), now())
             RETURNING id"
        ))
    }

    /// As the superuser; rows as lines, columns parted by `|`.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.cluster.psql(PLATFORM_DATABASE, sql).unwrap().trim().to_owned()
    }

    /// How many rows the tables have that a request may write.
    pub(crate) fn rows(&self) -> String {
        self.sql(
            "SELECT (SELECT count(*) FROM public.instances), (SELECT count(*) FROM instance_service.operations),
                    (SELECT count(*) FROM instance_service.operation_events), (SELECT count(*) FROM instance_service.audit_log),
                    (SELECT count(*) FROM apalis.jobs), (SELECT sum(revision) FROM public.instances)",
        )
    }

    /// What a worker does when it has carried out an operation, as far as readers see it.
    pub(crate) fn finish(&self, operation: &str, result: &Value) {
        self.sql(&format!(
            "BEGIN;
             UPDATE instance_service.operations
                SET state = 'succeeded', percent = 100, result = '{result}', started_at = now(), finished_at = now()
              WHERE id = '{operation}';
             INSERT INTO instance_service.operation_events (operation_id, event, data)
             VALUES ('{operation}', 'operation', '{{\"id\": \"{operation}\", \"state\": \"succeeded\"}}');
             COMMIT"
        ));
    }
}

/// The system's clock, put forward by a test.
#[derive(Default)]
pub(crate) struct SetClock(AtomicI64);

impl SetClock {
    pub(crate) fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::seconds(self.0.load(Ordering::SeqCst))
    }
}

/// Sends a request to any router and checks the answer against the conventions.
pub(crate) async fn send(router: &Router, request: Request<Body>) -> Got {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 16 * 1024 * 1024).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    let got = Got { status: parts.status.as_u16(), headers: parts.headers, json, text };
    got.keeps_conventions(&method, &path);
    got
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
    pub(crate) text: String,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The customer's sentence of an error.
    pub(crate) fn detail(&self) -> &str {
        self.json["detail"].as_str().unwrap_or_else(|| panic!("no detail: {self:?}"))
    }

    /// The places of the wrong fields.
    pub(crate) fn places(&self) -> Vec<String> {
        let errors = self.json["errors"].as_array().unwrap_or_else(|| panic!("no errors: {self:?}"));
        let place = |error: &Value| {
            let parts: Vec<&str> = error["loc"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
            parts.join(".")
        };
        errors.iter().map(place).collect()
    }

    fn keeps_conventions(&self, method: &Method, path: &str) {
        assert!(!self.header("x-request-id").is_empty(), "no request id: {self:?}");
        assert!(self.header("vary").contains("origin"), "no Vary: {self:?}");
        assert!(self.header("access-control-expose-headers").contains("Idempotency-Replayed"), "no CORS: {self:?}");
        assert!(!StatusCode::from_u16(self.status).unwrap().is_redirection(), "a redirection: {self:?}");
        if self.status >= 400 && *method != Method::HEAD && path != "/health/database" {
            self.is_problem(path);
        }
    }

    fn is_problem(&self, path: &str) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.json["status"], self.status, "{self:?}");
        assert!(self.json["type"].as_str().unwrap().starts_with("/problems/"), "{self:?}");
        assert!(!self.json["title"].as_str().unwrap().is_empty(), "{self:?}");
        assert!(!self.detail().is_empty(), "{self:?}");
        let replayed = !self.header("idempotency-replayed").is_empty();
        assert!(replayed || self.json["request_id"] == self.header("x-request-id"), "{self:?}");
        let shown =
            path.split_once("/webhooks/killbill/").map_or(path.to_owned(), |(front, _)| format!("{front}/webhooks/killbill/***"));
        assert!(replayed || self.json["instance"] == shown, "{self:?}");
        for error in self.json["errors"].as_array().into_iter().flatten() {
            let part = error["loc"][0].as_str().unwrap();
            assert!(matches!(part, "body" | "query" | "path" | "header"), "{self:?}");
            assert!(error["msg"].is_string() && error["type"].is_string(), "{self:?}");
        }
        for inner in ["sqlx", "postgres", "SELECT", "panicked", "constraint"] {
            assert!(self.status < 500 || !self.text.contains(inner), "internals in {self:?}");
        }
    }
}

/// A valid order of a new customer with a new subscription.
pub(crate) fn order() -> Value {
    let label = format!("shop_{}", &uuid()[..8]);
    json!({
        "name": "Shop", "odoo_version": "17", "admin_email": "owner@shop.example", "database_name": label,
        "customer_id": uuid(), "subscription_id": uuid(), "billing_status": "paid",
        "cpu_limit": 1.5, "memory_limit": "2g", "storage_limit": "10G", "demo_data": false,
        "custom_addons": ["sale", "stock"], "metadata": {"source": "test"},
    })
}

/// A valid order with some fields set to other values.
pub(crate) fn order_with(fields: Value) -> Value {
    let mut order = order();
    let Value::Object(fields) = fields else { panic!("not an object") };
    order.as_object_mut().unwrap().extend(fields);
    order
}

pub(crate) fn uuid() -> String {
    random_uuid(&OsEntropy).to_string()
}

/// The path of an instance, with more behind it.
pub(crate) fn instance_path(instance: &Value, rest: &str) -> String {
    format!("/api/v1/instances/{}{rest}", instance["id"].as_str().unwrap())
}

/// Whether a text is a time as answers write it.
pub(crate) fn is_time(value: &Value) -> bool {
    let pattern = b"0000-00-00T00:00:00.000000+00:00";
    let text = value.as_str().unwrap_or_default().as_bytes();
    text.len() == pattern.len()
        && text.iter().zip(pattern).all(|(is, like)| if *like == b'0' { is.is_ascii_digit() } else { is == like })
}

/// As a worker makes it.
fn shared_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("exports")).unwrap();
    std::fs::create_dir(directory.path().join("imports")).unwrap();
    std::fs::write(directory.path().join(".root"), "here\n").unwrap();
    directory
}

fn policy(transfer: &Path) -> Policy {
    Policy {
        cors: CorsOrigins::Any,
        internal_door: InternalDoor { mode: AuthMode::Edge, token: None },
        order: OrderRules {
            supported_versions: [16, 17, 18, 19].map(OdooVersion::new).to_vec(),
            default_version: OdooVersion::new(17),
            reserved_hosts: ReservedHosts::default(),
        },
        delete_brake: None,
        backup_schedule: Schedule { enabled: false, hour: 3, timezone: Tz::UTC, keep: Keep { daily: 7, weekly: 4, monthly: 6 } },
        transfer: TransferSettings { path: transfer.to_owned(), largest: 1024 * 1024, hosts: Vec::new() },
        webhook_secret: Some(WEBHOOK_SECRET.into()),
        upload_limit: Duration::from_secs(60),
        request_limit: Duration::from_secs(25),
        // As PATIENT.
        change_limit: Duration::from_secs(25),
        logs_wait: Duration::from_secs(10),
        reconcile_wait: Duration::from_millis(300),
        longest_stream: Duration::from_secs(300),
    }
}
