//! postgres1, the billing engine's stand-in, what follows it, and a worker's engine that is played.

use bootstrap::{OsEntropy, http};
use clients::{KillBill, KillBillAccess, killbill};
use db::platform::instances::{self, Change, Instance};
use db::platform::webhook_events::{self, DedupeKey};
use db::platform::{PlatformDb, PoolLimits, audit};
use domain::billing_event::BillingEvent;
use domain::ids::{OperationId, SubscriptionId};
use domain::instance::{Event, ObservedState};
use domain::names::ReservedHosts;
use domain::order::OrderRules;
use domain::sources::random_uuid;
use domain::version::OdooVersion;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use testkit::Platform;
use testkit::cluster::Options;
use testkit::pair::PLATFORM_DATABASE;
use testkit::services::killbill::{API_KEY, API_SECRET, KillBill as Engine, PASSWORD, USERNAME};
use worker::billing::{Billing, Inbox};
use worker::reconcile::Round as _;
use worker::reconcile::billing::BillingSync;

pub(crate) struct Rig {
    pub(crate) platform: Platform,
    pub(crate) db: PlatformDb,
    pub(crate) engine: Engine,
    pub(crate) billing: Arc<Billing>,
    pub(crate) customer: String,
    pub(crate) account: String,
}

impl Rig {
    pub(crate) fn start() -> Self {
        Self::with_overdue(false)
    }

    pub(crate) fn with_overdue(overdue: bool) -> Self {
        let platform = Platform::start(&Options::default()).unwrap();
        let db = PlatformDb::connect_lazy(&platform.platform(), &PoolLimits::default(), "test");
        let engine = Engine::start().unwrap();
        let access = KillBillAccess {
            username: USERNAME.to_owned(),
            password: PASSWORD.to_owned().into(),
            api_key: API_KEY.to_owned().into(),
            api_secret: API_SECRET.to_owned().into(),
        };
        let billing = Billing {
            db: db.clone(),
            killbill: KillBill::new(http::client(killbill::TIMEOUT).unwrap(), engine.url().parse().unwrap(), access),
            rules: OrderRules {
                supported_versions: vec![OdooVersion::new(17), OdooVersion::new(19)],
                default_version: OdooVersion::new(19),
                reserved_hosts: ReservedHosts::default(),
            },
            entropy: Arc::new(OsEntropy),
            overdue,
        };
        let customer = random_uuid(&OsEntropy).to_string();
        let account = engine.account(&customer).unwrap();
        Self { platform, db, engine, billing: Arc::new(billing), customer, account }
    }

    pub(crate) fn sql(&self, sql: &str) -> String {
        self.platform.postgres1.server().psql(PLATFORM_DATABASE, sql).unwrap().trim().to_owned()
    }

    /// A subscription whose custom fields order an instance.
    pub(crate) fn subscribed(&self, trial: bool) -> String {
        let id = self.engine.subscribe(&self.account, trial).unwrap();
        self.order(&id);
        id
    }

    pub(crate) fn order(&self, subscription: &str) {
        let label = format!("shop_{}", &subscription[..8]);
        let fields =
            [("instance_name", "Shop"), ("instance_admin_email", "owner@shop.example"), ("instance_database_name", &label)];
        self.engine.set_fields(subscription, &fields);
    }

    /// As the API keeps it.
    pub(crate) async fn deliver(&self, body: &Value) {
        let event = BillingEvent::read(body.as_object().unwrap()).unwrap();
        let key = DedupeKey::Brief(body.to_string());
        webhook_events::receive(&self.db, &event, &key).await.unwrap();
    }

    /// One attempt for every event that is not worked off yet, whatever pause the last one left.
    pub(crate) async fn work(&self) {
        self.sql("UPDATE instance_service.webhook_events SET next_try_at = '-infinity' WHERE state = 'pending'");
        self.work_off().await;
    }

    /// The same for those that are due.
    pub(crate) async fn work_off(&self) {
        let inbox = Inbox(self.billing.clone());
        while inbox.work_off_due().await.unwrap() > 0 {}
    }

    pub(crate) async fn push(&self, body: &Value) {
        self.deliver(body).await;
        self.work().await;
    }

    pub(crate) fn sync(&self) -> BillingSync {
        BillingSync { billing: self.billing.clone(), period: Duration::from_secs(3600) }
    }

    pub(crate) async fn sweep(&self) -> Value {
        self.sync().round().await.unwrap()
    }

    pub(crate) async fn find(&self, subscription: &str) -> Option<Instance> {
        let id = SubscriptionId::from_uuid(subscription.parse().unwrap());
        instances::by_subscription(&self.db, id).await.unwrap()
    }

    pub(crate) async fn instance(&self, subscription: &str) -> Instance {
        self.find(subscription).await.unwrap()
    }

    /// Status, suspension, billing and what it shall do, in one line.
    pub(crate) async fn at(&self, subscription: &str) -> String {
        let axes = self.instance(subscription).await.axes;
        format!("{} {} {} {}", axes.status, axes.suspension, axes.billing, axes.desired)
    }

    /// States of the events, in the order in which they came.
    pub(crate) fn events(&self) -> String {
        self.sql("SELECT string_agg(state, ' ' ORDER BY id) FROM instance_service.webhook_events")
    }

    /// What a worker does with all that is accepted, as far as rows show it.
    pub(crate) async fn play(&self, subscription: &str) {
        let Some(instance) = self.find(subscription).await else { return };
        let waiting = format!(
            "SELECT o.id || ' ' || o.kind FROM instance_service.operations o
              WHERE o.instance_id = '{}' AND o.state = 'queued' ORDER BY priority DESC, seq LIMIT 1",
            instance.id
        );
        loop {
            let next = self.sql(&waiting);
            let Some((id, kind)) = next.split_once(' ') else { return };
            let events: &[Event] = match kind {
                "provision" => &[Event::ProvisionBegins, Event::ProvisionDone],
                "start" | "unpause" | "reactivate" => &[Event::StartAccepted, Event::StartDone],
                _ => &[],
            };
            self.happen(&instance, id.parse().unwrap(), events).await;
            let finish = "state = 'succeeded', lease_token = 1, started_at = now(), finished_at = now()";
            self.sql(&format!("UPDATE instance_service.operations SET {finish} WHERE id = '{id}'"));
        }
    }

    /// Those that the row allows; a start that waited is accepted in its turn.
    async fn happen(&self, instance: &Instance, operation: OperationId, events: &[Event]) {
        let by = audit::AuditContext { door: audit::Door::Worker, actor: "played".into(), request_id: None };
        let mut tx = self.db.begin().await.unwrap();
        for event in events {
            let row = instances::lock(&mut tx, instance.id).await.unwrap().unwrap();
            let change = Change { operation_id: Some(operation), ..Change::default() };
            drop(instances::happen(&mut tx, &row, *event, change, &by).await.unwrap());
        }
        if events.is_empty() {
            instances::observe(&mut tx, instance.id, ObservedState::Stopped, false).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
}
