//! How postgres1 carries out what is asked often, on as many rows as a large deployment has: by index, never by reading a whole
//! table that grows. The plans are those that the server itself logged for the statements that the code sent.

use crate::rig::{Rig, System, by, raw};
use db::platform::acceptance::{Provision, Trigger, provision};
use db::platform::claims::{self, Claimant, Known};
use db::platform::instances::{self, ListFilter};
use db::platform::operations::Filter;
use db::platform::{PlatformDb, PoolLimits, exports, operations, outbox, progress};
use db::queue;
use domain::ids::{BackupId, CustomerId, InstanceId, OperationId, SubscriptionId};
use domain::instance::{BillingStatus, Status};
use domain::names::{HostLabel, ReservedHosts};
use domain::operation::{Kind, State};
use std::time::Duration;
use testkit::crowd::{self, Plan};
use testkit::pair::SERVICE;
use uuid::Uuid;

const ROWS: u32 = 20_000;
/// What grows with customers or with time.
const GROWING: [&str; 8] =
    ["instances", "operations", "operation_steps", "operation_events", "outbox", "audit_log", "leases", "idempotency_keys"];
/// Each call is made so often: after five, the server may plan a statement once for all parameters.
const CALLS: usize = 7;

/// As many rows of the earlier service, not adopted.
const NOT_ADOPTED: &str = "INSERT INTO public.instances (customer_id, name, admin_email, database_name, subdomain, status)
    SELECT gen_random_uuid(), 'Old', 'a@b.example', 'Old_' || n, 'old-' || n, 'running' FROM generate_series(1, 20000) AS n;
    VACUUM (ANALYZE) public.instances";

struct Full {
    rig: Rig,
    db: PlatformDb,
    faults: Vec<String>,
}

impl Full {
    /// `plan_once`: as the worker asks. A pool of one: what its connection did before is in the log when it does something else.
    fn start(plan_once: bool) -> Self {
        let rig = Rig::with_settings(crowd::plan_settings());
        crowd::fill(rig.cluster.server(), ROWS).unwrap();
        rig.sql(NOT_ADOPTED);
        let limits = PoolLimits { plan_once, max_connections: 1, ..PoolLimits::default() };
        let db = PlatformDb::connect_lazy(&rig.cluster.endpoint("instance", SERVICE, &rig.service), &limits, "plans");
        Self { rig, db, faults: Vec::new() }
    }

    fn id(&self, what: &str) -> uuid::Uuid {
        self.rig.sql(&format!("SELECT md5('{what}')::uuid")).parse().unwrap()
    }

    /// Notes what a call read as a whole.
    async fn look(&mut self, what: &str, mut call: impl AsyncFnMut(&PlatformDb)) {
        let before = self.rig.cluster.log_entries().unwrap().len();
        for _ in 0..CALLS {
            call(&self.db).await;
        }
        self.db.ping().await.unwrap();
        let entries = self.rig.cluster.log_entries().unwrap();
        let plans: Vec<Plan> = entries[before..].iter().filter(|entry| entry.user == SERVICE).filter_map(Plan::of).collect();
        assert!(!plans.is_empty(), "{what}: no plan was logged");
        for plan in &plans {
            let whole: Vec<&str> = plan.scanned().into_iter().filter(|table| GROWING.contains(table)).collect();
            if !whole.is_empty() && !self.faults.iter().any(|fault| fault.starts_with(what)) {
                self.faults.push(format!("{what} reads all of {whole:?}:\n{}\n{}", plan.sql, plan.nodes));
            }
        }
    }

    fn assert_by_index(self) {
        assert!(self.faults.is_empty(), "{}", self.faults.join("\n\n"));
    }
}

#[tokio::test]
async fn what_the_api_asks_is_found_by_index() {
    let mut full = Full::start(false);
    let [instance, terminated] = ["instance 6", "instance 8"].map(|what| InstanceId::from_uuid(full.id(what)));
    let subscription = SubscriptionId::from_uuid(full.id("subscription 6"));
    full.look("get", async |db| assert!(instances::get(db, instance).await.unwrap().is_some())).await;
    full.look("by subscription", async |db| {
        assert_eq!(instances::by_subscription(db, subscription).await.unwrap().unwrap().id, instance);
    })
    .await;
    for (customer, count) in [("customer 0", 500), ("customer 7", 20), ("customer 9999", 1)] {
        let customer_id = CustomerId::from_uuid(full.id(customer));
        for status in [None, Some(Status::Running), Some(Status::Error)] {
            let filter = ListFilter { customer_id, status, page: 1, page_size: 100 };
            full.look("list", async |db| {
                let page = instances::list(db, &filter).await.unwrap();
                assert!(status.is_some() || page.total == count);
            })
            .await;
        }
    }
    for (label, taken) in [("shop-6", true), ("old-17", true), ("shop-8", false), ("free", false)] {
        let label = HostLabel::parse(label, &ReservedHosts::default()).unwrap();
        full.look("host name", async |db| {
            assert_eq!(instances::host_taken(db, &label).await.unwrap(), taken, "{label:?}");
        })
        .await;
    }
    full.look("failed instances", async |db| {
        assert_eq!(instances::failed(db, 0, 50).await.unwrap().instances.len(), 50);
    })
    .await;
    let filter = |instance_id, states: &[State], kind| Filter {
        instance_id,
        states: states.to_vec(),
        direction: None,
        kind,
        shown_to_customers: true,
        offset: 0,
        limit: 50,
    };
    for filter in [
        filter(Some(instance), &[], None),
        filter(Some(instance), &[State::Succeeded], Some(Kind::Stop)),
        filter(None, &[State::Queued], None),
        filter(None, &[State::Failed], None),
        filter(None, &[State::NeedsAttention], None),
    ] {
        full.look(&format!("operations {filter:?}"), async |db| {
            operations::list(db, &filter).await.unwrap();
        })
        .await;
    }
    let operation = OperationId::from_uuid(full.id("operation 6 3"));
    full.look("operation", async |db| assert!(progress::view(db, operation).await.unwrap().is_some())).await;
    full.look("events", async |db| assert!(progress::newest_event(db, operation).await.unwrap() > 0)).await;
    let backup = BackupId::from_uuid(Uuid::from_u128(7));
    full.look("exports", async |db| assert_eq!(exports::ready(db, backup).await.unwrap(), None)).await;
    orders(&mut full, terminated).await;
    full.assert_by_index();
}

/// What is looked at before an order or an action is accepted. Each is taken back.
async fn orders(full: &mut Full, terminated: InstanceId) {
    full.look("create", async |db| {
        let mut tx = db.begin().await.unwrap();
        let request = db::platform::acceptance::Create { order: crate::rig::order(raw("brand_new")), provision: true };
        drop(db::platform::acceptance::create(&mut tx, request, &ReservedHosts::default(), &System, &by()).await.unwrap());
        tx.rollback().await.unwrap();
    })
    .await;
    let stopped = InstanceId::from_uuid(full.id("instance 17"));
    full.look("provision", async |db| {
        let mut tx = db.begin().await.unwrap();
        let request = Provision {
            instance_id: stopped,
            subscription_id: None,
            billing_status: BillingStatus::Paid,
            trigger: Trigger::Start,
            reason: None,
        };
        drop(provision(&mut tx, request, &System, &by()).await.unwrap());
        tx.rollback().await.unwrap();
    })
    .await;
    full.look("delete", async |db| {
        let mut tx = db.begin().await.unwrap();
        let request = db::platform::acceptance::Delete { instance_id: terminated, reason: None, brake: Some(20) };
        drop(db::platform::acceptance::delete(&mut tx, request, &System, &by()).await.unwrap());
        tx.rollback().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_the_worker_asks_is_found_by_index() {
    let mut full = Full::start(true);
    let restart = Known { kind: Kind::Restart, version: 1, plan: Vec::new(), limit: None };
    let me = Claimant { owner: "plans".to_owned(), ttl: Duration::from_secs(6), known: vec![restart], share: 4 };
    let waiting = OperationId::from_uuid(full.id("waiting 1007"));
    let after = InstanceId::from_uuid(full.id("instance 6"));
    full.look("claim", async |db| {
        let mut tx = db.begin().await.unwrap();
        assert!(matches!(claims::claim(&mut tx, waiting, &me).await.unwrap(), claims::Claimed::Ours(_)));
        tx.rollback().await.unwrap();
    })
    .await;
    full.look("sweep", async |db| {
        queue::sweep(db, &me).await.unwrap();
    })
    .await;
    full.look("unknown definitions", async |db| drop(claims::unknown_to(db, &me).await.unwrap())).await;
    full.look("watched", async |db| {
        assert_eq!(instances::watched(db, Some(after), 100).await.unwrap().len(), 100);
    })
    .await;
    full.look("left down", async |db| drop(instances::left_down(db, Duration::ZERO, 100).await.unwrap())).await;
    full.look("mails due", async |db| {
        outbox::claim_due(db, 10, Duration::ZERO).await.unwrap();
    })
    .await;
    full.look("old secrets", async |db| {
        outbox::erase_old_secrets(db).await.unwrap();
    })
    .await;
    full.look("wake-ups kept", async |db| {
        queue::retain(db).await.unwrap();
    })
    .await;
    full.assert_by_index();
}
