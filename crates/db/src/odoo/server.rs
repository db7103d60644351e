//! The registry of Odoo servers, and how a connection to one of them is opened.

use super::connection::{AdminConnection, InstanceConnection};
use super::error::{OdooError, OdooResult};
use super::fence::UnconfirmedFence;
use super::lane::Lane;
use crate::platform::connect_options;
use domain::endpoint::Endpoint;
use domain::ids::ServerId;
use domain::names::{Mark, PhysicalName};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long opening a connection may take before the server counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a registered server is: for us, and as its tenants see it.
#[derive(Clone, Debug)]
pub struct ServerAddress {
    /// Its id in the registry.
    pub id: ServerId,
    /// Its name in the registry, for logs.
    pub name: String,
    /// The admin's login; its database is the maintenance database, the same for all workers.
    pub admin: Endpoint,
    /// Host name for Odoo itself.
    pub tenant_host: String,
    /// Port for Odoo itself.
    pub tenant_port: u16,
    /// Which server must answer there before anything is changed on it.
    pub identity: Identity,
}

/// Who must answer at an address (engine 12). It may lead to another server after a fault or a typo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The system identifier seen first; `None` before the first look.
    pub known: Option<i64>,
    /// postgres1's own, unless the server is registered as not separated.
    pub forbidden: Option<i64>,
    /// Our role there may be a superuser (`ALLOW_SUPERUSER_ODOO_ADMIN`).
    pub superuser: bool,
}

impl Identity {
    /// Whether this is a server of which nothing may be believed, and on which nothing may be changed.
    fn refuses(self, found: i64) -> bool {
        self.known.is_some_and(|known| known != found) || self.forbidden == Some(found)
    }
}

/// For all sessions of ours. The owner of a database may set defaults for whoever enters it, and put objects of its own in
/// the way of ours: these settings come with the connection, and win.
const SETTINGS: [(&str, &str); 3] =
    [("search_path", "pg_catalog"), ("default_transaction_read_only", "off"), ("statement_timeout", "0")];

/// The same, where the server knows the setting, inside a tenant's database: what stands there as a view is not read, since its
/// functions would run with our rights (CVE-2024-7348), and no transaction ends by its length.
const GUARD: &str = "SELECT set_config(name, CASE name WHEN 'transaction_timeout' THEN '0' ELSE 'view, foreign-table' END, false)
                       FROM pg_settings WHERE name IN ('transaction_timeout', 'restrict_nonsystem_relation_kind')";

/// One Odoo server. Opens connections; holds none.
#[derive(Clone, Debug)]
pub struct OdooServer {
    address: Arc<ServerAddress>,
    lane: Arc<Lane>,
    /// Whoever answers at the address is believed.
    asking: bool,
}

impl OdooServer {
    /// A server at this address. Nothing is connected yet.
    pub fn new(address: ServerAddress) -> Self {
        Self { address: Arc::new(address), lane: Arc::default(), asking: false }
    }

    /// The same, for asking who answers there, and whether anybody does: neither its identity nor our role on it is compared
    /// with what must be, and it is tried however often it failed.
    #[must_use]
    pub fn whoever_answers(&self) -> Self {
        Self { asking: true, ..self.clone() }
    }

    /// Where it is.
    pub fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// The admin role in the maintenance database, for reading catalogues.
    ///
    /// # Errors
    /// [`OdooError::Unreachable`] when the server does not answer in time, [`OdooError::Refused`] for a wrong password.
    pub async fn admin_connection(&self) -> OdooResult<AdminConnection> {
        let conn = self.connect(self.options().application_name("ois")).await?;
        Ok(AdminConnection::new(self.clone(), conn))
    }

    /// The admin role inside one tenant or template database, for reading. Writing goes through [`super::Fence::inside`].
    ///
    /// # Errors
    /// As [`Self::admin_connection`]; [`OdooError::Server`] when the database is absent or closed.
    pub async fn instance_connection(&self, database: &PhysicalName) -> OdooResult<InstanceConnection> {
        let options = self.options().application_name("ois").database(database.as_str());
        Ok(InstanceConnection::new(self.clone(), database.clone(), self.enter(options).await?))
    }

    /// The lock of one instance (or template) on this server, on a connection of its own (engine 11).
    ///
    /// # Errors
    /// [`OdooError::StaleToken`] when a later owner holds it, [`OdooError::Busy`] when the holder cannot be judged.
    pub async fn fence(&self, mark: &Mark, token: i64) -> OdooResult<UnconfirmedFence> {
        UnconfirmedFence::acquire(self, mark, token).await
    }

    pub(super) fn name(&self) -> &str {
        &self.address.name
    }

    pub(super) fn options(&self) -> PgConnectOptions {
        // Statements carry password verifiers: they are not for any log of ours.
        connect_options(&self.address.admin).disable_statement_logging()
    }

    /// A connection into a database that may be missing. Only the server that we know can say that it is.
    pub(super) async fn enter(&self, options: PgConnectOptions) -> OdooResult<PgConnection> {
        match self.connect(options).await {
            Err(error) if error.is_no_entry() => {
                self.admin_connection().await?;
                Err(error)
            }
            Ok(mut conn) => {
                self.answer(sqlx::query(GUARD).execute(&mut conn)).await?;
                Ok(conn)
            }
            other => other,
        }
    }

    /// The only door: asks the lane, opens a connection and looks who is there.
    pub(super) async fn connect(&self, options: PgConnectOptions) -> OdooResult<PgConnection> {
        let options = options.options(SETTINGS);
        if self.asking {
            return self.open(&options).await;
        }
        if let Err(after) = self.lane.admit(Instant::now()) {
            return Err(OdooError::Away { server: self.name().to_owned(), after });
        }
        let opened = self.open_and_recognise(&options).await;
        match &opened {
            Err(OdooError::Unreachable { .. }) => self.lane.failed(Instant::now()),
            _ => self.lane.answered(),
        }
        opened
    }

    async fn open(&self, options: &PgConnectOptions) -> OdooResult<PgConnection> {
        match tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(options)).await {
            Ok(result) => result.map_err(|error| self.error(error)),
            Err(_) => Err(self.unreachable("no connection in time")),
        }
    }

    async fn open_and_recognise(&self, options: &PgConnectOptions) -> OdooResult<PgConnection> {
        let mut conn = self.open(options).await?;
        self.recognise(&mut conn).await?;
        Ok(conn)
    }

    async fn recognise(&self, conn: &mut PgConnection) -> OdooResult<()> {
        let question =
            "SELECT c.system_identifier, r.rolsuper FROM pg_control_system() c, pg_roles r WHERE r.rolname = current_user";
        let (identifier, superuser): (i64, bool) = self.answer(sqlx::query_as(question).fetch_one(conn)).await?;
        let identity = self.address.identity;
        if identity.refuses(identifier) {
            // The server that we know is not there: that is all there is to say of it.
            return Err(self.unreachable("another server answers behind its address"));
        }
        if superuser && !identity.superuser {
            return Err(OdooError::Mismatch {
                what: format!("our role on {}", self.name()),
                expected: "no superuser".to_owned(),
                found: "a superuser".to_owned(),
            });
        }
        Ok(())
    }

    pub(super) fn error(&self, error: sqlx::Error) -> OdooError {
        OdooError::classify(self.name(), error)
    }

    pub(super) fn unreachable(&self, cause: &str) -> OdooError {
        OdooError::Unreachable { server: self.name().to_owned(), cause: cause.to_owned() }
    }
}

/// The servers that this worker knows. Rows are read again while it runs, so entries may come and change.
#[derive(Debug, Default)]
pub struct OdooServers {
    servers: RwLock<HashMap<ServerId, OdooServer>>,
}

impl OdooServers {
    /// A registry of these servers.
    pub fn new(addresses: impl IntoIterator<Item = ServerAddress>) -> Self {
        let servers = Self::default();
        servers.replace(addresses);
        servers
    }

    /// Puts these servers in place of all that were known; one that was known keeps its lane. Connections already open are
    /// not touched.
    pub fn replace(&self, addresses: impl IntoIterator<Item = ServerAddress>) {
        let mut servers = self.servers.write().unwrap_or_else(PoisonError::into_inner);
        let kept = |address: ServerAddress| {
            let lane = servers.get(&address.id).map_or_else(Arc::default, |known| known.lane.clone());
            (address.id, OdooServer { lane, ..OdooServer::new(address) })
        };
        let now_known = addresses.into_iter().map(kept).collect();
        *servers = now_known;
    }

    /// The server with this id was seen well: it may be tried again.
    pub fn mark_well(&self, id: ServerId) {
        if let Some(server) = self.get(id) {
            server.lane.answered();
        }
    }

    /// The server with this id.
    pub fn get(&self, id: ServerId) -> Option<OdooServer> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// All servers, in no order.
    pub fn all(&self) -> Vec<OdooServer> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
