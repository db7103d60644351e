//! A migrated postgres1 and short words for what the tests do on it.

use db::platform::acceptance::{Create, Created, Delete, Deleted, Provision, Provisioned, Terminate, Terminated, Trigger};
use db::platform::acceptance::{create, delete, provision, terminate};
use db::platform::audit::{AuditContext, Door};
use db::platform::instances::{self, Instance};
use db::platform::{PlatformDb, PlatformTx, PoolLimits};
use db::secrets::Keyring;
use domain::ids::{CustomerId, InstanceId, OperationId, SubscriptionId};
use domain::instance::BillingStatus;
use domain::names::ReservedHosts;
use domain::order::{Order, OrderRules, RawOrder};
use domain::sources::{Entropy, random_uuid};
use domain::version::OdooVersion;
use secrecy::{SecretBox, SecretString};
use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;
use testkit::cluster::{Cluster, Options};
use testkit::pair::{OWNER, PLATFORM_DATABASE, READER, SERVICE, platform_cluster, set_passwords, unmigrated_cluster};

pub(crate) const TAKEOVER: &str = include_str!("../../../../deploy/postgres1-takeover.sql");

pub(crate) struct System;

impl Entropy for System {
    fn fill(&self, bytes: &mut [u8]) {
        File::open("/dev/urandom").unwrap().read_exact(bytes).unwrap();
    }
}

/// postgres1 of one test.
pub(crate) struct Rig {
    pub(crate) cluster: Cluster,
    pub(crate) db: PlatformDb,
    connections: u32,
    pub(crate) owner: SecretString,
    pub(crate) service: SecretString,
    pub(crate) reader: SecretString,
}

impl Rig {
    /// Migrated.
    pub(crate) fn start() -> Self {
        Self::with_pool(10)
    }

    /// Migrated, with a pool of this size.
    pub(crate) fn with_pool(connections: u32) -> Self {
        Self::of(platform_cluster(&Options::default()).unwrap(), connections)
    }

    /// Migrated, on a server with these settings.
    pub(crate) fn with_settings(settings: Vec<(String, String)>) -> Self {
        Self::of(platform_cluster(&Options { settings, ..Options::default() }).unwrap(), 10)
    }

    /// Roles and an empty database only.
    pub(crate) fn empty() -> Self {
        Self::of(unmigrated_cluster(&Options::default()).unwrap(), 10)
    }

    fn of(cluster: Cluster, connections: u32) -> Self {
        let [owner, service, reader] = [(); 3].map(|()| SecretString::from(testkit::random::password().unwrap()));
        set_passwords(cluster.server(), &[(OWNER, &owner), (SERVICE, &service), (READER, &reader)]).unwrap();
        let limits = PoolLimits { max_connections: connections, ..PoolLimits::default() };
        let db = PlatformDb::connect_lazy(&cluster.endpoint(PLATFORM_DATABASE, SERVICE, &service), &limits, "test");
        Self { cluster, db, connections, owner, service, reader }
    }

    /// Opens every connection of the pool first: else the first one would serve all callers of a race in turn.
    pub(crate) async fn crowded(self) -> Arc<Self> {
        let mut open = Vec::new();
        for _ in 0..self.connections {
            open.push(self.tx().await);
        }
        for tx in open {
            tx.rollback().await.unwrap();
        }
        Arc::new(self)
    }

    pub(crate) async fn migrate(&self) -> Result<(), db::migrate::MigrateError> {
        db::migrate::run(&self.owner_endpoint(), SERVICE).await
    }

    pub(crate) fn owner_endpoint(&self) -> domain::endpoint::Endpoint {
        self.cluster.endpoint(PLATFORM_DATABASE, OWNER, &self.owner)
    }

    /// As the superuser; rows as lines, columns parted by `|`.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.cluster.psql(PLATFORM_DATABASE, sql).unwrap()
    }

    /// What the server says against it.
    pub(crate) fn refused(&self, sql: &str) -> String {
        self.cluster.psql(PLATFORM_DATABASE, sql).unwrap_err().to_string()
    }

    /// A connection of the service's own role.
    pub(crate) async fn rows(&self) -> sqlx::PgConnection {
        use secrecy::ExposeSecret as _;
        use sqlx::ConnectOptions as _;
        sqlx::postgres::PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.cluster.port())
            .database(PLATFORM_DATABASE)
            .username(SERVICE)
            .password(self.service.expose_secret())
            .ssl_mode(sqlx::postgres::PgSslMode::Disable)
            .connect()
            .await
            .unwrap()
    }

    /// As one of the roles. The error is the server's first line.
    pub(crate) async fn sql_as(&self, role: &str, sql: &'static str) -> Result<u64, String> {
        use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
        let password = match role {
            OWNER => &self.owner,
            SERVICE => &self.service,
            READER => &self.reader,
            _ => panic!("no such role here"),
        };
        use secrecy::ExposeSecret as _;
        let mut connection = sqlx::postgres::PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.cluster.port())
            .database(PLATFORM_DATABASE)
            .username(role)
            .password(password.expose_secret())
            .ssl_mode(sqlx::postgres::PgSslMode::Disable)
            .connect()
            .await
            .unwrap();
        let done = connection.execute(sql).await;
        connection.close().await.unwrap();
        done.map(|done| done.rows_affected()).map_err(|error| match error {
            sqlx::Error::Database(error) => error.message().to_owned(),
            other => panic!("{other}"),
        })
    }

    pub(crate) async fn tx(&self) -> PlatformTx {
        self.db.begin().await.unwrap()
    }

    pub(crate) async fn get(&self, id: InstanceId) -> Instance {
        instances::get(&self.db, id).await.unwrap().unwrap()
    }

    pub(crate) async fn create(&self, raw: RawOrder) -> Created {
        self.create_with(raw, false).await
    }

    pub(crate) async fn create_with(&self, raw: RawOrder, provision: bool) -> Created {
        let mut tx = self.tx().await;
        let request = Create { order: order(raw), provision };
        let created = create(&mut tx, request, &ReservedHosts::default(), &System, &by()).await.unwrap();
        tx.commit().await.unwrap();
        created
    }

    pub(crate) async fn created(&self, raw: RawOrder) -> Instance {
        match self.create(raw).await {
            Created::New(instance) => instance,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn provision(&self, id: InstanceId, billing: BillingStatus) -> Provisioned {
        self.provision_as(Provision {
            instance_id: id,
            subscription_id: None,
            billing_status: billing,
            trigger: Trigger::Start,
            reason: None,
        })
        .await
    }

    pub(crate) async fn provision_as(&self, request: Provision) -> Provisioned {
        let mut tx = self.tx().await;
        let outcome = provision(&mut tx, request, &System, &by()).await.unwrap();
        tx.commit().await.unwrap();
        outcome
    }

    pub(crate) async fn started(&self, id: InstanceId) -> OperationId {
        match self.provision(id, BillingStatus::Paid).await {
            Provisioned::Started { operation: Some(operation), .. } => operation,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn terminate(&self, id: InstanceId, reason: Option<&str>) -> (Instance, Option<OperationId>) {
        let mut tx = self.tx().await;
        let request = Terminate { instance_id: id, reason: reason.map(str::to_owned) };
        let outcome = terminate(&mut tx, request, &System, &by()).await.unwrap();
        tx.commit().await.unwrap();
        match outcome {
            Terminated::Done { instance, operation } => (instance, operation),
            Terminated::NotFound => panic!("not found"),
        }
    }

    pub(crate) async fn delete(&self, id: InstanceId) -> Deleted {
        let mut tx = self.tx().await;
        let outcome = delete(&mut tx, Delete { instance_id: id, reason: None, brake: None }, &System, &by()).await.unwrap();
        tx.commit().await.unwrap();
        outcome
    }
}

pub(crate) fn by() -> AuditContext {
    AuditContext { door: Door::Internal, actor: "billing".to_owned(), request_id: Some("r-1".to_owned()) }
}

pub(crate) fn keyring() -> Keyring {
    Keyring::new(&SecretBox::new(Box::new([7; 32])), None)
}

pub(crate) fn customer() -> CustomerId {
    CustomerId::from_uuid(random_uuid(&System))
}

pub(crate) fn subscription() -> SubscriptionId {
    SubscriptionId::from_uuid(random_uuid(&System))
}

/// A valid order of a new customer with a new subscription.
pub(crate) fn raw(label: &str) -> RawOrder {
    RawOrder {
        name: Some("Shop".to_owned()),
        admin_email: Some("owner@shop.example".to_owned()),
        database_name: Some(label.to_owned()),
        customer_id: Some(customer().to_string()),
        subscription_id: Some(subscription().to_string()),
        billing_status: Some("paid".to_owned()),
        cpu_limit: Some(1.25),
        ..RawOrder::default()
    }
}

pub(crate) fn order(raw: RawOrder) -> Order {
    let rules = OrderRules {
        supported_versions: vec![OdooVersion::new(17), OdooVersion::new(19)],
        default_version: OdooVersion::new(19),
        reserved_hosts: ReservedHosts::default(),
    };
    domain::order::parse(raw, &rules).unwrap()
}
