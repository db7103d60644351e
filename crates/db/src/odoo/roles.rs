//! Login roles of tenants, and the content roles of templates. Each carries the mark of its owner as its comment.

use super::beside::is_beside;
use super::connection::AdminConnection;
use super::error::{OdooError, OdooResult};
use super::fence::Fence;
use super::password::ScramVerifier;
use super::quote::{ident, ident_text, literal};
use domain::names::{Mark, PhysicalName};
use std::time::Duration;

/// The group that may connect to the maintenance database, where Odoo's bus and cron listen (bootstrap script).
const TENANTS: &str = "odoo_tenants";

/// A load and a dump, and one that has not ended yet.
const SCRATCH_CONNECTIONS: u16 = 4;

/// `dependent_objects_still_exist` (PostgreSQL docs, appendix A).
const DEPENDENTS: &str = "2BP01";

/// Limits that sit on a tenant's role, since it owns its database and could change them there (contract 14.2).
#[derive(Clone, Debug)]
pub struct TenantLimits {
    /// Most connections at a time.
    pub connections: u16,
    /// Longest wait for a lock; generous, since Odoo holds long transactions.
    pub lock_timeout: Duration,
    /// Longest idle time inside a transaction.
    pub idle_in_transaction: Duration,
}

impl Default for TenantLimits {
    fn default() -> Self {
        Self { connections: 32, lock_timeout: Duration::from_secs(15 * 60), idle_in_transaction: Duration::from_secs(60 * 60) }
    }
}

/// What the catalogue says of a role.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct RoleFacts {
    /// May log in.
    pub can_login: bool,
    /// Its comment is the mark of whoever asks.
    pub labelled: bool,
}

/// A role, seen from the owner of a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleState {
    /// There is none.
    Absent,
    /// It carries our mark.
    Ours(RoleFacts),
    /// It does not.
    Foreign,
}

impl AdminConnection {
    /// The role as `mark`'s owner sees it. Made in one transaction with its comment, so an unmarked one is never ours.
    ///
    /// # Errors
    /// Any [`OdooError`]: a server that cannot be asked says nothing.
    pub async fn role(&mut self, role: &PhysicalName, mark: &Mark) -> OdooResult<RoleState> {
        let (server, conn) = self.parts();
        let facts = sqlx::query_as(
            "SELECT rolcanlogin AS can_login, shobj_description(oid, 'pg_authid') IS NOT DISTINCT FROM $2 AS labelled
               FROM pg_roles WHERE rolname = $1",
        );
        let facts: Option<RoleFacts> = server.answer(facts.bind(role.as_str()).bind(mark.as_str()).fetch_optional(conn)).await?;
        Ok(match facts {
            None => RoleState::Absent,
            Some(facts) if facts.labelled => RoleState::Ours(facts),
            Some(_) => RoleState::Foreign,
        })
    }
}

impl Fence {
    /// Makes the login role, or sets password, login and limits again if it is ours. One transaction: a role without its
    /// mark and memberships never exists.
    ///
    /// # Errors
    /// [`OdooError::Foreign`] for a role that does not carry our mark.
    pub async fn ensure_role(&mut self, role: &PhysicalName, password: &ScramVerifier, limits: &TenantLimits) -> OdooResult<()> {
        self.ensure(role, password, limits, &format!("; GRANT {} TO {}", ident_text(TENANTS), ident(role))).await
    }

    /// The same for statements that a stranger wrote: a role that may enter no database but those that it owns.
    ///
    /// # Errors
    /// As [`Self::ensure_role`].
    pub async fn ensure_scratch_role(
        &mut self,
        role: &PhysicalName,
        password: &ScramVerifier,
        limits: &TenantLimits,
    ) -> OdooResult<()> {
        let limits = TenantLimits { connections: SCRATCH_CONNECTIONS, ..limits.clone() };
        self.ensure(role, password, &limits, "").await
    }

    async fn ensure(
        &mut self,
        role: &PhysicalName,
        password: &ScramVerifier,
        limits: &TenantLimits,
        group: &str,
    ) -> OdooResult<()> {
        let statement = match self.role(role).await? {
            RoleState::Absent => create_role(role, self.mark(), password, limits),
            RoleState::Ours(_) => alter_role(role, password, limits),
            RoleState::Foreign => return Err(foreign(role)),
        };
        match self.catalogue().run(statement + group).await {
            // Somebody was quicker with the same name, which only chance can bring about; the next attempt sees whose it is.
            Err(error) if error.is_duplicate() => Err(foreign(role)),
            other => other,
        }
    }

    /// Forbids new logins. Sessions go on until they are ended ([`Self::close_database`] does both). Absent is done.
    ///
    /// # Errors
    /// [`OdooError::Mismatch`] for a role that does not carry our mark.
    pub async fn forbid_login(&mut self, role: &PhysicalName) -> OdooResult<()> {
        match self.role(role).await? {
            RoleState::Absent => Ok(()),
            RoleState::Ours(facts) if !facts.can_login => Ok(()),
            RoleState::Ours(_) => self.catalogue().run(format!("ALTER ROLE {} NOLOGIN", ident(role))).await,
            RoleState::Foreign => Err(not_ours(role, self.mark())),
        }
    }

    /// Allows logins again, with the password that it has.
    pub(super) async fn allow_login(&mut self, role: &PhysicalName) -> OdooResult<()> {
        match self.role(role).await? {
            RoleState::Absent => Err(OdooError::Missing { what: format!("role {role}") }),
            RoleState::Ours(facts) if facts.can_login => Ok(()),
            RoleState::Ours(_) => self.catalogue().run(format!("ALTER ROLE {} LOGIN", ident(role))).await,
            RoleState::Foreign => Err(not_ours(role, self.mark())),
        }
    }

    /// Drops the role, once it owns no database. What it owns or was granted in databases of others, by whatever hand, is
    /// dropped or revoked first. It is never given to another role: a tenant may have left a function that its next owner
    /// would lend its rights to. Absent is done.
    ///
    /// # Errors
    /// [`OdooError::Mismatch`] for a role that is not ours; [`OdooError::Blocked`] while it owns a database, or something in
    /// one that others depend on or that lets nobody in.
    pub async fn drop_role(&mut self, role: &PhysicalName) -> OdooResult<()> {
        match self.role(role).await? {
            RoleState::Absent => return Ok(()),
            RoleState::Foreign => return Err(not_ours(role, self.mark())),
            RoleState::Ours(_) => {}
        }
        match self.catalogue().run(drop_statement(role)).await {
            Err(error) if error.sqlstate().as_deref() == Some(DEPENDENTS) => {
                self.free_dependents(role).await?;
                self.catalogue().run(drop_statement(role)).await
            }
            other => other,
        }
    }

    /// The roles of this instance beside its own: they carry our mark, and have a name that is made from its name.
    ///
    /// # Errors
    /// Any [`OdooError`].
    pub async fn roles_beside(&mut self, own: &PhysicalName) -> OdooResult<Vec<PhysicalName>> {
        let mark = self.mark().clone();
        let (server, conn) = self.catalogue().parts();
        let names = sqlx::query_scalar::<_, String>(
            "SELECT rolname::text FROM pg_roles WHERE shobj_description(oid, 'pg_authid') = $1 ORDER BY 1",
        );
        let names = server.answer(names.bind(mark.as_str()).fetch_all(conn)).await?.into_iter();
        Ok(names.filter(|name| is_beside(own, name)).filter_map(|name| PhysicalName::new(name).ok()).collect())
    }

    /// Drops the content role of a template. What belongs to it in a clone that has not been handed over yet keeps it.
    /// Absent is done.
    ///
    /// # Errors
    /// [`OdooError::Busy`] while anything depends on it; [`OdooError::Mismatch`] for a role that is not ours.
    pub async fn drop_unused_role(&mut self, role: &PhysicalName) -> OdooResult<()> {
        match self.role(role).await? {
            RoleState::Absent => return Ok(()),
            RoleState::Foreign => return Err(not_ours(role, self.mark())),
            RoleState::Ours(_) => {}
        }
        match self.catalogue().run(drop_statement(role)).await {
            Err(error) if error.sqlstate().as_deref() == Some(DEPENDENTS) => {
                Err(OdooError::Busy { holder: format!("objects of role {role}") })
            }
            other => other,
        }
    }

    async fn role(&mut self, role: &PhysicalName) -> OdooResult<RoleState> {
        let mark = self.mark().clone();
        self.catalogue().role(role, &mark).await
    }

    async fn free_dependents(&mut self, role: &PhysicalName) -> OdooResult<()> {
        let owned = self.catalogue().databases_of(role).await?;
        if !owned.is_empty() {
            return Err(OdooError::Blocked { what: format!("role {role}"), holders: owned });
        }
        let free = format!("DROP OWNED BY {} RESTRICT", ident(role));
        let mut holders = Vec::new();
        for database in self.catalogue().databases_with_objects_of(role).await? {
            let freed = match self.inside(&database).await {
                Ok(mut inside) => inside.connection.run(free.clone()).await,
                Err(error) => Err(error),
            };
            match freed {
                Err(error) if error.is_no_entry() => holders.push(format!("objects in {database}, which lets nobody in")),
                Err(error) if error.sqlstate().as_deref() == Some(DEPENDENTS) => {
                    holders.push(format!("objects in {database} that others depend on"));
                }
                other => other?,
            }
        }
        if !holders.is_empty() {
            return Err(OdooError::Blocked { what: format!("role {role}"), holders });
        }
        // Grants on shared objects, such as CONNECT on another tenant's database, are revoked from any database.
        self.catalogue().run(free).await
    }
}

impl AdminConnection {
    /// Names of the databases that a role owns: of a tenant's, the live one and those beside it.
    ///
    /// # Errors
    /// Any [`OdooError`].
    pub async fn databases_of(&mut self, role: &PhysicalName) -> OdooResult<Vec<String>> {
        let (server, conn) = self.parts();
        let owned = "SELECT d.datname::text FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE r.rolname = $1";
        server.answer(sqlx::query_scalar(owned).bind(role.as_str()).fetch_all(conn)).await
    }

    async fn databases_with_objects_of(&mut self, role: &PhysicalName) -> OdooResult<Vec<PhysicalName>> {
        let (server, conn) = self.parts();
        let names = sqlx::query_scalar(
            "SELECT DISTINCT d.datname::text FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid JOIN pg_database d ON d.oid = s.dbid
              WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = $1 AND d.datname <> current_database()",
        );
        let names: Vec<String> = server.answer(names.bind(role.as_str()).fetch_all(conn)).await?;
        let what = || OdooError::Missing { what: "a usable database name".to_owned() };
        names.into_iter().map(|name| PhysicalName::new(name).map_err(|_| what())).collect()
    }
}

fn create_role(role: &PhysicalName, mark: &Mark, password: &ScramVerifier, limits: &TenantLimits) -> String {
    let name = ident(role);
    // INHERIT: on PostgreSQL 15 an owner without it may not create in schema public, and no module could be installed.
    format!(
        "CREATE ROLE {name} LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT {} \
         PASSWORD {}; COMMENT ON ROLE {name} IS {}; {}",
        limits.connections,
        literal(password.as_str()),
        literal(mark.as_str()),
        membership_and_timeouts(role, limits)
    )
}

fn alter_role(role: &PhysicalName, password: &ScramVerifier, limits: &TenantLimits) -> String {
    let password = literal(password.as_str());
    let name = ident(role);
    format!(
        "ALTER ROLE {name} LOGIN CONNECTION LIMIT {} PASSWORD {password}; {}",
        limits.connections,
        membership_and_timeouts(role, limits)
    )
}

/// Membership of the admin is what makes it legal to create a database for the tenant, to end its sessions and to work inside.
fn membership_and_timeouts(role: &PhysicalName, limits: &TenantLimits) -> String {
    let name = ident(role);
    format!(
        "GRANT {name} TO CURRENT_USER; ALTER ROLE {name} SET lock_timeout = {}; \
         ALTER ROLE {name} SET idle_in_transaction_session_timeout = {}",
        limits.lock_timeout.as_millis(),
        limits.idle_in_transaction.as_millis()
    )
}

fn drop_statement(role: &PhysicalName) -> String {
    format!("DROP ROLE IF EXISTS {}", ident(role))
}

fn foreign(role: &PhysicalName) -> OdooError {
    OdooError::Foreign { what: format!("role {role}") }
}

fn not_ours(role: &PhysicalName, mark: &Mark) -> OdooError {
    OdooError::Mismatch {
        what: format!("role {role}"),
        expected: format!("mark {mark}"),
        found: "another mark or none".to_owned(),
    }
}
