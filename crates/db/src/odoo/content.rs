//! The inside of a tenant database: who owns its objects, and which modules are installed.

use super::connection::{Inside, InstanceConnection};
use super::error::{OdooError, OdooResult};
use super::quote::ident;
use super::server::OdooServer;
use super::tenant::TenantSession;
use domain::names::PhysicalName;
use sqlx::PgConnection;

/// States of Odoo's modules. An installation is done when `pending` is empty: Odoo's exit status proves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleStates {
    /// Names of the installed ones.
    pub installed: Vec<String>,
    /// Names of those still in `to install`, `to upgrade` or `to remove`.
    pub pending: Vec<String>,
    /// Names of the others that Odoo knows.
    pub available: Vec<String>,
}

impl ModuleStates {
    /// Whether a module of that name is installed.
    pub fn is_installed(&self, name: &str) -> bool {
        self.installed.iter().any(|installed| installed == name)
    }

    /// Whether Odoo has the code of a module of that name.
    pub fn is_known(&self, name: &str) -> bool {
        self.is_installed(name) || [&self.pending, &self.available].iter().any(|names| names.iter().any(|known| known == name))
    }
}

impl Inside<'_> {
    /// Hands everything that the template's content role owns here to the tenant, and removes what was granted to that role.
    /// Idempotent.
    ///
    /// # Errors
    /// [`OdooError::Blocked`] while the content role owns a database: `REASSIGN OWNED` would move that as well.
    pub async fn take_ownership(&mut self, content_role: &PhysicalName, tenant: &PhysicalName) -> OdooResult<()> {
        let (server, conn) = self.connection.parts();
        let owned = "SELECT d.datname::text FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE r.rolname = $1";
        let owned: Vec<String> = server.answer(sqlx::query_scalar(owned).bind(content_role.as_str()).fetch_all(conn)).await?;
        if !owned.is_empty() {
            return Err(OdooError::Blocked { what: format!("content of {content_role}"), holders: owned });
        }
        let (from, to) = (ident(content_role), ident(tenant));
        // After the first statement the role owns nothing here: the second takes grants and default privileges away.
        self.connection.run(format!("REASSIGN OWNED BY {from} TO {to}; DROP OWNED BY {from}")).await
    }
}

impl InstanceConnection {
    /// How many objects of this database depend on a role, as owner or by a grant.
    ///
    /// # Errors
    /// Any [`OdooError`].
    pub async fn objects_of(&mut self, role: &PhysicalName) -> OdooResult<i64> {
        let (server, conn) = self.parts();
        let count = sqlx::query_scalar(
            "SELECT count(*) FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid JOIN pg_database d ON d.oid = s.dbid
              WHERE s.refclassid = 'pg_authid'::regclass AND d.datname = current_database() AND r.rolname = $1",
        );
        server.answer(count.bind(role.as_str()).fetch_one(conn)).await
    }

    /// The states of Odoo's modules; all empty in a database that has no Odoo yet. Only where no tenant has ever been: what a tenant
    /// has made of its tables may run where they are read, even functions in an index (`eval_const_expressions` of the planner).
    ///
    /// # Errors
    /// Any [`OdooError`].
    pub async fn module_states(&mut self) -> OdooResult<ModuleStates> {
        let (server, conn) = self.parts();
        module_states(server, conn).await
    }
}

impl TenantSession<'_> {
    /// The states of Odoo's modules; all empty in a database that has no Odoo yet.
    ///
    /// # Errors
    /// Any [`OdooError`].
    pub async fn module_states(&mut self) -> OdooResult<ModuleStates> {
        let (server, conn) = self.parts();
        module_states(server, conn).await
    }
}

async fn module_states(server: &OdooServer, conn: &mut PgConnection) -> OdooResult<ModuleStates> {
    let exists = "SELECT to_regclass('public.ir_module_module') IS NOT NULL";
    let exists: bool = server.answer_inside(sqlx::query_scalar(exists).fetch_one(&mut *conn)).await?;
    if !exists {
        return Ok(ModuleStates::default());
    }
    let rows = sqlx::query_as("SELECT name, state FROM public.ir_module_module ORDER BY name");
    let rows: Vec<(String, Option<String>)> = server.answer_inside(rows.fetch_all(conn)).await?;
    let mut states = ModuleStates::default();
    for (name, state) in rows {
        match state.as_deref() {
            Some("installed") => states.installed.push(name),
            Some("to install" | "to upgrade" | "to remove") => states.pending.push(name),
            _ => states.available.push(name),
        }
    }
    Ok(states)
}
