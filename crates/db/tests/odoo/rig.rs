//! One bootstrapped server and short words for what the tests do on it.

use db::odoo::{Fence, Identity, OdooResult, OdooServer, Salt, ScramVerifier, ServerAddress, TenantLimits};
use domain::endpoint::Endpoint;
use domain::ids::ServerId;
use domain::names::{Mark, PhysicalName};
use domain::sources::Entropy;
use secrecy::SecretString;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, PgConnection};
use std::convert::Infallible;
use std::fs::File;
use std::io::Read as _;
use testkit::cluster::{Cluster, Options};
use testkit::pair::{ODOO_ADMIN, odoo_cluster, set_passwords};

pub(crate) struct System;

impl Entropy for System {
    fn fill(&self, bytes: &mut [u8]) {
        File::open("/dev/urandom").unwrap().read_exact(bytes).unwrap();
    }
}

pub(crate) struct Rig {
    pub(crate) cluster: Cluster,
    pub(crate) server: OdooServer,
    pub(crate) admin: Endpoint,
}

impl Rig {
    pub(crate) fn start() -> Self {
        Self::with(&Options::default())
    }

    pub(crate) fn with(options: &Options) -> Self {
        let cluster = odoo_cluster(options).unwrap();
        let password = SecretString::from(testkit::random::password().unwrap());
        set_passwords(cluster.server(), &[(ODOO_ADMIN, &password)]).unwrap();
        let admin = cluster.endpoint("postgres", ODOO_ADMIN, &password);
        Self { server: server(admin.clone()), cluster, admin }
    }

    pub(crate) async fn fence(&self, mark: &Mark) -> Fence {
        confirmed(self.server.fence(mark, 1).await).await
    }

    /// A tenant with role and empty database.
    pub(crate) async fn tenant(&self) -> Tenant {
        let tenant = Tenant::draw();
        let mut fence = self.fence(&tenant.mark).await;
        fence.ensure_role(&tenant.name, &tenant.verifier(), &TenantLimits::default()).await.unwrap();
        fence.create_empty_database(&tenant.name, &tenant.name).await.unwrap();
        fence.release().await.unwrap();
        tenant
    }

    pub(crate) async fn log_in(&self, tenant: &Tenant, database: &str) -> Result<PgConnection, sqlx::Error> {
        use secrecy::ExposeSecret as _;
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.cluster.port())
            .ssl_mode(PgSslMode::Disable)
            .username(tenant.name.as_str())
            .password(tenant.password.expose_secret())
            .database(database)
            .connect()
            .await
    }

    /// Polls until the superuser's query answers `t`.
    pub(crate) async fn until(&self, query: &str) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while self.cluster.psql("postgres", query).unwrap() != "t" {
            assert!(std::time::Instant::now() < deadline, "never came true: {query}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

pub(crate) fn server(admin: Endpoint) -> OdooServer {
    let (tenant_host, tenant_port) = (admin.host.clone(), admin.port);
    let id = ServerId::from_uuid(uuid::Uuid::nil());
    OdooServer::new(ServerAddress {
        id,
        name: "default".to_owned(),
        admin,
        tenant_host,
        tenant_port,
        identity: Identity::default(),
    })
}

pub(crate) async fn confirmed(fence: OdooResult<db::odoo::UnconfirmedFence>) -> Fence {
    fence.unwrap().confirm(async { Ok::<(), Infallible>(()) }).await.unwrap()
}

/// Name, mark and password of one tenant; role and database have the same name.
pub(crate) struct Tenant {
    pub(crate) name: PhysicalName,
    pub(crate) mark: Mark,
    pub(crate) password: SecretString,
}

impl Tenant {
    pub(crate) fn draw() -> Self {
        Self::named(PhysicalName::generate("odoo", &System))
    }

    pub(crate) fn named(name: PhysicalName) -> Self {
        let password = testkit::random::password().unwrap().into();
        Self { name, mark: Mark::generate(&System), password }
    }

    pub(crate) fn verifier(&self) -> ScramVerifier {
        let mut salt = Salt::default();
        System.fill(&mut salt);
        ScramVerifier::derive(&self.password, salt)
    }
}
