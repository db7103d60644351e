//! Asking an Odoo server who it is and whether its bootstrap still holds (contract 2.1 and 14.2).

use super::connection::AdminConnection;
use super::error::OdooResult;
use super::fence::FENCES;
use std::time::{Duration, Instant};

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerReport {
    /// `server_version`, for people.
    pub version: String,
    /// `server_version_num`, for comparing.
    pub version_number: i32,
    /// What tells this server from every other; another one behind the same address has another.
    pub system_identifier: i64,
    /// Time of one round trip.
    pub latency: Duration,
    /// Our role there is a superuser: refused unless the settings allow it.
    pub admin_is_superuser: bool,
    /// The database of the fences is there: without it nothing can be done on this server.
    pub has_fences: bool,
    /// What differs from the bootstrap script, one sentence each.
    pub deviations: Vec<String>,
}

impl AdminConnection {
    /// Looks at the server.
    ///
    /// # Errors
    /// Any [`super::OdooError`].
    pub async fn probe(&mut self) -> OdooResult<ServerReport> {
        let latency = self.round_trip().await?;
        let (server, conn) = self.parts();
        let question = sqlx::query_as(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::integer,
                    (SELECT system_identifier FROM pg_control_system()), r.rolsuper,
                    EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datallowconn)
               FROM pg_roles r WHERE r.rolname = current_user",
        );
        let (version, version_number, system_identifier, admin_is_superuser, has_fences): (String, i32, i64, bool, bool) =
            server.answer(question.bind(FENCES).fetch_one(conn)).await?;
        let deviations = self.deviations().await?;
        Ok(ServerReport { version, version_number, system_identifier, latency, admin_is_superuser, has_fences, deviations })
    }

    /// The server's major version: `server_version_num` is that times 10,000 and the minor one (PostgreSQL docs, 20.15).
    ///
    /// # Errors
    /// Any [`super::OdooError`].
    pub async fn major_version(&mut self) -> OdooResult<u32> {
        let (server, conn) = self.parts();
        let question = sqlx::query_scalar("SELECT current_setting('server_version_num')::integer / 10000").fetch_one(conn);
        let major: i32 = server.answer(question).await?;
        Ok(u32::try_from(major).unwrap_or_default())
    }

    async fn round_trip(&mut self) -> OdooResult<Duration> {
        let start = Instant::now();
        let (server, conn) = self.parts();
        server.answer(sqlx::query("SELECT 1").execute(conn)).await?;
        Ok(start.elapsed())
    }

    /// One row for each thing that the bootstrap script would have made otherwise.
    async fn deviations(&mut self) -> OdooResult<Vec<String>> {
        let (server, conn) = self.parts();
        let deviations = sqlx::query_scalar(
            "SELECT 'the admin role is a superuser' FROM pg_roles WHERE rolname = current_user AND rolsuper
             UNION ALL SELECT 'the admin role lacks CREATEDB' FROM pg_roles WHERE rolname = current_user AND NOT rolcreatedb
             UNION ALL SELECT 'the admin role lacks CREATEROLE' FROM pg_roles WHERE rolname = current_user AND NOT rolcreaterole
             UNION ALL SELECT 'PUBLIC may ' || lower(a.privilege_type) || ' on database ' || d.datname
               FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
              WHERE a.grantee = 0 AND a.privilege_type IN ('CONNECT', 'TEMPORARY') AND d.datname IN (current_database(), 'template1', $1)
             UNION ALL SELECT 'the database ' || $1 || ' is missing' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datallowconn)
             UNION ALL SELECT 'the group odoo_tenants may connect to ' || d.datname FROM pg_database d
              WHERE d.datname = $1 AND has_database_privilege(to_regrole('odoo_tenants'), d.oid, 'CONNECT')
             UNION ALL SELECT 'PUBLIC may execute ' || p.proname || ' in ' || current_database()
               FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
              WHERE a.grantee = 0 AND p.pronamespace = 'pg_catalog'::regnamespace
                AND p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lowrite')
             UNION ALL SELECT 'PUBLIC has ' || lower(a.privilege_type) || ' on schema public of ' || current_database()
               FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
              WHERE a.grantee = 0 AND n.nspname = 'public'
             UNION ALL SELECT 'the group odoo_tenants is missing' WHERE to_regrole('odoo_tenants') IS NULL
             UNION ALL SELECT 'the group odoo_tenants may log in' FROM pg_roles WHERE rolname = 'odoo_tenants' AND rolcanlogin
             UNION ALL SELECT 'the group odoo_tenants may not connect to ' || current_database()
              WHERE to_regrole('odoo_tenants') IS NOT NULL AND NOT has_database_privilege(to_regrole('odoo_tenants'), current_database(), 'CONNECT')
             UNION ALL SELECT 'the admin role may not grant odoo_tenants'
              WHERE to_regrole('odoo_tenants') IS NOT NULL
                AND NOT pg_has_role(current_user, to_regrole('odoo_tenants'), 'MEMBER WITH ADMIN OPTION')",
        );
        server.answer(deviations.bind(FENCES).fetch_all(conn)).await
    }
}
