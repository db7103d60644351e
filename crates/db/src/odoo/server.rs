//! The registry of Odoo servers, and how a connection to one of them is opened.

use super::connection::{AdminConnection, InstanceConnection};
use super::error::{OdooError, OdooResult};
use super::fence::UnconfirmedFence;
use crate::platform::connect_options;
use domain::endpoint::Endpoint;
use domain::ids::ServerId;
use domain::names::{Mark, PhysicalName};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

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

/// What is known of a server's system identifier (engine 12). An address may lead to another server after a fault or a typo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The identifier seen first; `None` before the first look.
    pub known: Option<i64>,
    /// postgres1's own, unless the server is registered as not separated.
    pub forbidden: Option<i64>,
}

impl Identity {
    /// Whether this is a server on which nothing may be changed.
    pub(super) fn refuses(self, found: i64) -> bool {
        self.known.is_some_and(|known| known != found) || self.forbidden == Some(found)
    }
}

/// One Odoo server. Opens connections; holds none.
#[derive(Clone, Debug)]
pub struct OdooServer {
    address: Arc<ServerAddress>,
}

impl OdooServer {
    /// A server at this address. Nothing is connected yet.
    pub fn new(address: ServerAddress) -> Self {
        Self { address: Arc::new(address) }
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

    /// The admin role inside one tenant or template database.
    ///
    /// # Errors
    /// As [`Self::admin_connection`]; [`OdooError::Server`] when the database is absent or closed.
    pub async fn instance_connection(&self, database: &PhysicalName) -> OdooResult<InstanceConnection> {
        let options = self.options().application_name("ois").database(database.as_str());
        Ok(InstanceConnection::new(self.clone(), database.clone(), self.connect(options).await?))
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

    pub(super) async fn connect(&self, options: PgConnectOptions) -> OdooResult<PgConnection> {
        match tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options)).await {
            Ok(result) => result.map_err(|error| self.error(error)),
            Err(_) => Err(self.unreachable("no connection in time")),
        }
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

    /// Puts these servers in place of all that were known. Connections already open are not touched.
    pub fn replace(&self, addresses: impl IntoIterator<Item = ServerAddress>) {
        let servers = addresses.into_iter().map(|address| (address.id, OdooServer::new(address))).collect();
        *self.servers.write().unwrap_or_else(PoisonError::into_inner) = servers;
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
