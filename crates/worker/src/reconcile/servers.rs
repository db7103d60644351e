//! The Odoo servers: reachable, still the same, separate from postgres1, and as the bootstrap script left them.
//!
//! The registry is read anew each time, so a server entered or changed by an operator is known within one round.

use super::Round;
use bootstrap::settings::OdooServerSettings;
use db::odoo::{Identity, OdooError, OdooServer, OdooServers, ServerAddress, ServerReport};
use db::platform::PlatformDb;
use db::platform::servers::{self, PlatformIdentity, ServerHealth, ServerRecord};
use domain::endpoint::Endpoint;
use domain::ids::ServerId;
use domain::sources::Entropy;
use futures::future::join_all;
use metrics::gauge;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest look at one server.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How often (contract 12.14).
const PERIOD: Duration = Duration::from_secs(60);
/// How often while a server is not well, so that its work goes on soon after it is back.
const PERIOD_IN_TROUBLE: Duration = Duration::from_secs(5);
/// Name of the secret that the default server's row refers to.
pub const DEFAULT_SECRET: &str = "ODOO_POSTGRES_ADMIN_PASSWORD";

/// Finds the password that a row names, or says in one sentence why there is none.
pub type Secrets = Arc<dyn Fn(&str) -> Result<SecretString, String> + Send + Sync>;

/// What a server must not be, unless an operator permits it.
#[derive(Clone, Copy, Debug)]
pub struct Permitted {
    /// The default server may be postgres1 itself.
    pub shared: bool,
    /// The admin may be a superuser.
    pub superuser: bool,
}

/// The server probe.
pub struct Servers {
    /// postgres1.
    pub db: PlatformDb,
    /// The registry that steps use.
    pub registry: Arc<OdooServers>,
    /// Passwords.
    pub secrets: Secrets,
    /// Exceptions.
    pub permitted: Permitted,
    /// TLS policy and the like of the default server, also used for the others.
    pub settings: OdooServerSettings,
    /// Whether the last round found a server that is not well.
    pub troubled: AtomicBool,
}

#[async_trait::async_trait]
impl Round for Servers {
    fn name(&self) -> &'static str {
        "servers"
    }

    fn period(&self) -> Duration {
        if self.troubled.load(Ordering::Relaxed) { PERIOD_IN_TROUBLE } else { PERIOD }
    }

    /// Every worker's steps need the registry, whoever looks at the servers.
    async fn prepare(&self) -> anyhow::Result<()> {
        self.refresh(&servers::platform_identity(&self.db).await?).await.map(drop).map_err(Into::into)
    }

    async fn round(&self) -> anyhow::Result<Value> {
        let platform = servers::platform_identity(&self.db).await?;
        let records = self.refresh(&platform).await?;
        let looks = join_all(records.iter().map(|record| self.look(record, &platform))).await;
        let mut healthy = 0_usize;
        for (record, health) in records.iter().zip(looks) {
            let well = health.healthy == Some(true);
            healthy += usize::from(well);
            if well {
                self.registry.mark_well(record.id);
            }
            gauge!("odoo_server_up", "server" => record.name.clone()).set(f64::from(u8::from(well)));
            if health.healthy != record.health.healthy || health.error != record.health.error {
                tracing::info!(server = record.name, healthy = well, error = health.error, "state of an Odoo server changed");
            }
            servers::write_health(&self.db, record.id, &health).await?;
        }
        self.troubled.store(healthy < records.len(), Ordering::Relaxed);
        Ok(json!({"servers": records.len(), "healthy": healthy}))
    }
}

impl Servers {
    /// Enters the server of the settings as `default`, and makes the registry known to the steps.
    ///
    /// # Errors
    /// postgres1 could not be read or written.
    pub async fn register_default(&self, separated: bool, entropy: &dyn Entropy) -> db::DbResult<ServerId> {
        let admin = &self.settings.admin;
        let address = servers::ServerAddress {
            admin_host: admin.host.clone(),
            admin_port: admin.port,
            default_database: admin.database.clone(),
            admin_user: admin.user.clone(),
            secret_name: DEFAULT_SECRET.to_owned(),
            tenant_host: self.settings.tenant_host.clone(),
            tenant_port: self.settings.tenant_port,
        };
        let id = servers::register_default(&self.db, &address, separated, entropy).await?;
        self.refresh(&servers::platform_identity(&self.db).await?).await?;
        Ok(id)
    }

    /// Reads the registry again and makes it known to the steps.
    async fn refresh(&self, platform: &PlatformIdentity) -> db::DbResult<Vec<ServerRecord>> {
        let records = servers::list(&self.db).await?;
        self.registry.replace(records.iter().filter_map(|record| self.address(record, platform).ok()));
        Ok(records)
    }

    fn address(&self, record: &ServerRecord, platform: &PlatformIdentity) -> Result<ServerAddress, String> {
        let address = &record.address;
        let admin = Endpoint {
            host: address.admin_host.clone(),
            port: address.admin_port,
            database: address.default_database.clone(),
            user: address.admin_user.clone(),
            password: (self.secrets)(&address.secret_name)?,
            ssl_mode: self.settings.admin.ssl_mode,
        };
        Ok(ServerAddress {
            id: record.id,
            name: record.name.clone(),
            admin,
            tenant_host: address.tenant_host.clone(),
            tenant_port: address.tenant_port,
            identity: Identity {
                known: record.system_identifier,
                forbidden: (!self.may_be_platform(record)).then_some(platform.system_identifier),
                superuser: self.permitted.superuser,
            },
        })
    }

    /// Whether the server may be postgres1 itself: registered so, or permitted before anybody could look.
    fn may_be_platform(&self, record: &ServerRecord) -> bool {
        !record.separated || self.permitted.shared && record.name == servers::DEFAULT_SERVER
    }

    async fn look(&self, record: &ServerRecord, platform: &PlatformIdentity) -> ServerHealth {
        let address = match self.address(record, platform) {
            Ok(address) => address,
            Err(problem) => return unhealthy(problem),
        };
        match probe(&OdooServer::new(address)).await {
            Ok(report) => self.judge(record, platform, &report).await,
            Err(error) => {
                tracing::warn!(server = record.name, error = %error, "an Odoo server does not answer as it should");
                unhealthy(general(&error).to_owned())
            }
        }
    }

    async fn judge(&self, record: &ServerRecord, platform: &PlatformIdentity, report: &ServerReport) -> ServerHealth {
        let problem = match self.identify(record, platform, report).await {
            Ok(None) if report.admin_is_superuser && !self.permitted.superuser => Some("its admin is a superuser"),
            Ok(None) if !report.has_fences => Some("the database of the fences is missing; run postgres2-bootstrap.sql again"),
            Ok(problem) => problem,
            Err(error) => {
                tracing::warn!(server = record.name, error = %error, "the identity of a server cannot be compared");
                return unhealthy("its identity could not be compared".to_owned());
            }
        };
        ServerHealth {
            healthy: Some(problem.is_none()),
            latency_ms: i32::try_from(report.latency.as_millis()).ok(),
            version: Some(report.version.clone()),
            error: problem.map(str::to_owned),
            deviations: json!(report.deviations),
            checked_at: None,
        }
    }

    /// Why this is a server that must not be used; one that may be is remembered at the first look.
    async fn identify(
        &self,
        record: &ServerRecord,
        platform: &PlatformIdentity,
        report: &ServerReport,
    ) -> db::DbResult<Option<&'static str>> {
        if report.system_identifier == platform.system_identifier && !self.may_be_platform(record) {
            return Ok(Some("it is the platform's own server"));
        }
        let known = servers::remember_identity(&self.db, record.id, report.system_identifier).await?;
        Ok((known != report.system_identifier).then_some("another server answers behind its address"))
    }
}

/// Whether a server is postgres1 itself, as far as it can be told now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separation {
    /// Two servers.
    Separate,
    /// One and the same.
    Same,
    /// The Odoo server does not answer; the probe goes on asking.
    Unknown,
}

/// Compares a server with postgres1 by system identifier (contract 2.1).
pub async fn separation(platform: &PlatformIdentity, server: &OdooServer) -> Separation {
    match probe(server).await {
        Ok(report) if report.system_identifier == platform.system_identifier => Separation::Same,
        Ok(_) => Separation::Separate,
        Err(error) => {
            tracing::warn!(error = %error, "the Odoo server does not answer yet");
            Separation::Unknown
        }
    }
}

async fn probe(server: &OdooServer) -> Result<ServerReport, OdooError> {
    let server = server.whoever_answers();
    let look = async { server.admin_connection().await?.probe().await };
    match tokio::time::timeout(TIMEOUT, look).await {
        Ok(result) => result,
        Err(_) => Err(OdooError::Unreachable { server: server.address().name.clone(), cause: "no answer in time".to_owned() }),
    }
}

fn unhealthy(error: String) -> ServerHealth {
    ServerHealth { healthy: Some(false), error: Some(error), deviations: json!([]), ..ServerHealth::default() }
}

/// The words for `/health/database`; the cause is in our log.
const fn general(error: &OdooError) -> &'static str {
    match error {
        OdooError::Unreachable { .. } => "it cannot be reached",
        OdooError::Refused { .. } => "it refuses our login",
        _ => "it answers with an error",
    }
}
