//! What stands on an Odoo server that is ours, or could be: for the comparison with the rows (engine 12, drift).

use super::connection::AdminConnection;
use super::error::OdooResult;
use super::fence::FENCES;
use std::collections::BTreeMap;

/// Databases and roles that belong to our admin, or to roles that it is a direct member of: nothing else can have been made by us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Databases, by name.
    pub databases: BTreeMap<String, DatabaseEntry>,
    /// Roles, by name; whether each may log in.
    pub roles: BTreeMap<String, bool>,
}

/// One database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseEntry {
    /// Its OID.
    pub oid: u32,
    /// Whether sessions may be opened.
    pub open: bool,
}

/// `r.oid` is the admin's own, or of a role that was granted to it.
const OURS: &str = "(r.oid = me.oid OR EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = r.oid AND m.member = me.oid))";

impl AdminConnection {
    /// Lists what stands there.
    ///
    /// # Errors
    /// Any [`super::OdooError`].
    pub async fn inventory(&mut self) -> OdooResult<Inventory> {
        let (server, conn) = self.parts();
        let databases = format!(
            "SELECT d.datname::text, d.oid::bigint, d.datallowconn
               FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba JOIN pg_roles me ON me.rolname = current_user
              WHERE {OURS} AND d.datname NOT IN (current_database(), 'template0', 'template1', $1)"
        );
        let databases: Vec<(String, i64, bool)> =
            server.answer(sqlx::query_as(sqlx::AssertSqlSafe(databases)).bind(FENCES).fetch_all(&mut *conn)).await?;
        let roles = format!(
            "SELECT r.rolname::text, r.rolcanlogin FROM pg_roles r JOIN pg_roles me ON me.rolname = current_user
              WHERE {OURS} AND r.oid <> me.oid AND r.rolname <> 'odoo_tenants' AND NOT starts_with(r.rolname, 'pg_')"
        );
        let roles: Vec<(String, bool)> = server.answer(sqlx::query_as(sqlx::AssertSqlSafe(roles)).fetch_all(conn)).await?;
        let entry = |(name, oid, open): (String, i64, bool)| Some((name, DatabaseEntry { oid: u32::try_from(oid).ok()?, open }));
        Ok(Inventory { databases: databases.into_iter().filter_map(entry).collect(), roles: roles.into_iter().collect() })
    }
}
