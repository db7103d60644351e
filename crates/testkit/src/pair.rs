//! The two servers of a test: postgres1, migrated, and postgres2, bootstrapped, as a deployment has them.

use crate::cluster::{Cluster, Options};
use crate::random;
use crate::seed::Seed;
use crate::server::Server;
use anyhow::{Result, anyhow};
use domain::endpoint::Endpoint;
use secrecy::{ExposeSecret, SecretString};

/// The database on postgres1.
pub const PLATFORM_DATABASE: &str = "instance";
/// Owns the schema on postgres1; only `migrate` uses it.
pub const OWNER: &str = "instance_owner";
/// The services' role on postgres1.
pub const SERVICE: &str = "instance_service";
/// Reads on postgres1, without the secret columns.
pub const READER: &str = "readonly_user";
/// The worker's role on postgres2.
pub const ODOO_ADMIN: &str = "odoo_admin";

/// postgres1 and postgres2 of one test, on different ports, with passwords of their own.
#[derive(Debug)]
pub struct Pair {
    /// The platform's server.
    pub postgres1: Cluster,
    /// The Odoo server.
    pub postgres2: Cluster,
    owner: SecretString,
    service: SecretString,
    reader: SecretString,
    odoo_admin: SecretString,
}

impl Pair {
    /// Both servers ready for use: postgres1 migrated, postgres2 bootstrapped.
    ///
    /// # Errors
    /// When a server cannot be made.
    #[cfg(feature = "platform")]
    pub fn start(options: &Options) -> Result<Self> {
        Self::with_platform(|| platform_cluster(options), options)
    }

    /// Both servers bootstrapped; postgres1 has roles and an empty database only: for tests of the migrations themselves.
    ///
    /// # Errors
    /// When a server cannot be made.
    pub fn unmigrated(options: &Options) -> Result<Self> {
        Self::with_platform(|| unmigrated_cluster(options), options)
    }

    fn with_platform(platform: impl FnOnce() -> Result<Cluster>, options: &Options) -> Result<Self> {
        let (service, owner, reader) = (secret()?, secret()?, secret()?);
        let odoo_admin = secret()?;
        let (postgres1, postgres2) = std::thread::scope(|scope| {
            let odoo = scope.spawn(|| {
                let postgres2 = odoo_cluster(options)?;
                set_passwords(postgres2.server(), &[(ODOO_ADMIN, &odoo_admin)])?;
                anyhow::Ok(postgres2)
            });
            let postgres1 = platform()?;
            set_passwords(postgres1.server(), &[(OWNER, &owner), (SERVICE, &service), (READER, &reader)])?;
            let postgres2 = odoo.join().map_err(|_panic| anyhow!("starting postgres2 panicked"))??;
            anyhow::Ok((postgres1, postgres2))
        })?;
        Ok(Self { postgres1, postgres2, owner, service, reader, odoo_admin })
    }

    /// postgres1 as the services use it.
    pub fn platform(&self) -> Endpoint {
        self.postgres1.endpoint(PLATFORM_DATABASE, SERVICE, &self.service)
    }

    /// postgres1 as `migrate` uses it.
    pub fn platform_owner(&self) -> Endpoint {
        self.postgres1.endpoint(PLATFORM_DATABASE, OWNER, &self.owner)
    }

    /// postgres1 as a reader of reports uses it.
    pub fn platform_reader(&self) -> Endpoint {
        self.postgres1.endpoint(PLATFORM_DATABASE, READER, &self.reader)
    }

    /// postgres2 as the worker uses it.
    pub fn odoo_admin(&self) -> Endpoint {
        self.postgres2.endpoint("postgres", ODOO_ADMIN, &self.odoo_admin)
    }
}

/// A migrated postgres1 alone; its roles have no passwords yet, see [`set_passwords`].
///
/// # Errors
/// When it cannot be made.
#[cfg(feature = "platform")]
pub fn platform_cluster(options: &Options) -> Result<Cluster> {
    let migrations = crate::migrated::ingredients()?;
    let ingredients = [PLATFORM_BOOTSTRAP, &migrations];
    Cluster::from_seed(&Seed { name: "platform", ingredients: &ingredients, fill: &crate::migrated::fill }, options)
}

/// The same with roles and an empty database only.
///
/// # Errors
/// When it cannot be made.
pub fn unmigrated_cluster(options: &Options) -> Result<Cluster> {
    Cluster::from_seed(&Seed { name: "unmigrated", ingredients: &[PLATFORM_BOOTSTRAP], fill: &bootstrap_platform }, options)
}

/// One more bootstrapped Odoo server; its admin has no password yet, see [`set_passwords`].
///
/// # Errors
/// When it cannot be made.
pub fn odoo_cluster(options: &Options) -> Result<Cluster> {
    Cluster::from_seed(&Seed { name: "odoo", ingredients: &[ODOO_BOOTSTRAP], fill: &bootstrap_odoo }, options)
}

/// Gives roles their passwords; neither the log nor a process list shows them.
///
/// # Errors
/// With the server's message.
pub fn set_passwords(server: &Server, passwords: &[(&str, &SecretString)]) -> Result<()> {
    let variables: Vec<_> = passwords.iter().map(|(role, password)| (*role, password.expose_secret())).collect();
    let sql: String = passwords.iter().map(|(role, _)| format!("ALTER ROLE {role} PASSWORD :'{role}';\n")).collect();
    server.psql_with("postgres", &variables, &sql).map(drop)
}

fn secret() -> Result<SecretString> {
    Ok(random::password()?.into())
}

// The scripts that a deployment runs, so that tests meet the same rights.
const PLATFORM_BOOTSTRAP: &str = include_str!("../../../deploy/postgres1-bootstrap.sql");
const ODOO_BOOTSTRAP: &str = include_str!("../../../deploy/postgres2-bootstrap.sql");

/// Roles and the empty database of a postgres1, as a deployment has them.
///
/// # Errors
/// With the server's message.
pub fn bootstrap_platform(server: &Server) -> Result<()> {
    server.psql("postgres", PLATFORM_BOOTSTRAP).map(drop)
}

/// The admin role of a postgres2 and the closed doors, as a deployment has them.
///
/// # Errors
/// With the server's message.
pub fn bootstrap_odoo(server: &Server) -> Result<()> {
    server.psql("postgres", ODOO_BOOTSTRAP).map(drop)
}
