//! Making a clone its owner's: login, company, address and identity (postgres-and-odoo 4).

use super::connection::{Inside, InstanceConnection};
use super::error::{OdooError, OdooResult};
use super::quote::{ident, ident_text};
use super::server::OdooServer;
use domain::names::PhysicalName;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection as _, Postgres, Transaction};

/// What makes a clone its owner's.
#[derive(Clone, Debug)]
pub struct Personal {
    /// The tenant's role, as which everything is written.
    pub role: PhysicalName,
    /// Login and address of the first user.
    pub admin_email: String,
    /// His password, as [`super::odoo_hash`] makes it.
    pub admin_password_hash: String,
    /// Name of the company.
    pub company_name: String,
    /// Where the instance is reached.
    pub base_url: String,
}

/// Keys that belong to one database and that a copy must not keep.
const FOREIGN_KEYS: [&str; 4] =
    ["database.enterprise_code", "database.expiration_date", "database.expiration_reason", "database.is_neutralized"];

impl Inside<'_> {
    /// Personalises the clone, before Odoo first starts on it: each process of Odoo caches the parameters. One transaction,
    /// bound values only. Doing it twice leaves the same but for a new identity.
    ///
    /// # Errors
    /// [`OdooError::Missing`] when a row is not there that has to be replaced: the clone would share it with its template.
    pub async fn personalise(&mut self, personal: &Personal) -> OdooResult<()> {
        let mut tx = self.as_role(&personal.role).await?;
        tx.write_owner(personal).await?;
        tx.write_identity().await?;
        tx.write_address(&personal.base_url).await?;
        tx.commit().await
    }

    /// Gives the first user another password, as [`super::odoo_hash`] makes it. Written as `role`.
    ///
    /// # Errors
    /// [`OdooError::Missing`] when there is no such user.
    pub async fn set_admin_password(&mut self, role: &PhysicalName, hash: &str) -> OdooResult<()> {
        let mut tx = self.as_role(role).await?;
        let update = sqlx::query("UPDATE public.res_users SET password = $1 WHERE id = 2").bind(hash);
        tx.exactly(1, "user 2", update).await?;
        tx.commit().await
    }

    /// A transaction with the rights of a tenant: triggers and the like run with them as well. Only where no tenant has been
    /// yet: what it left could take our rights back, so there one writes in a [`super::TenantSession`].
    async fn as_role(&mut self, role: &PhysicalName) -> OdooResult<Tenant<'_>> {
        let (server, conn) = self.connection.parts();
        let mut tx = server.answer(conn.begin()).await?;
        let set = sqlx::raw_sql(AssertSqlSafe(format!("SET LOCAL ROLE {}", ident(role))));
        server.answer(set.execute(&mut *tx)).await?;
        Ok(Tenant { server, tx })
    }
}

impl InstanceConnection {
    /// Whether the clone carries this login and this password hash: [`Self::personalise`] was done.
    ///
    /// # Errors
    /// Any [`super::OdooError`].
    pub async fn is_personalised(&mut self, personal: &Personal) -> OdooResult<bool> {
        let (server, conn) = self.parts();
        let carries = "SELECT count(*) = 1 FROM public.res_users WHERE id = 2 AND login = $1 AND password = $2";
        let carries = sqlx::query_scalar(carries).bind(&personal.admin_email).bind(&personal.admin_password_hash);
        server.answer(carries.fetch_one(conn)).await
    }
}

struct Tenant<'c> {
    server: &'c OdooServer,
    tx: Transaction<'c, Postgres>,
}

impl Tenant<'_> {
    /// The user with id 2 is `base.user_admin`, the company with id 1 `base.main_company`, its partner `base.main_partner`.
    async fn write_owner(&mut self, personal: &Personal) -> OdooResult<()> {
        let user = sqlx::query("UPDATE public.res_users SET login = $1, password = $2 WHERE id = 2")
            .bind(&personal.admin_email)
            .bind(&personal.admin_password_hash);
        self.exactly(1, "user 2", user).await?;
        let address =
            "UPDATE public.res_partner SET email = $1 WHERE id = (SELECT partner_id FROM public.res_users WHERE id = 2)";
        self.exactly(1, "the partner of user 2", sqlx::query(address).bind(&personal.admin_email)).await?;
        let company = sqlx::query("UPDATE public.res_company SET name = $1 WHERE id = 1").bind(&personal.company_name);
        self.exactly(1, "company 1", company).await?;
        let partner = format!(
            "UPDATE public.res_partner SET {} WHERE id = (SELECT partner_id FROM public.res_company WHERE id = 1)",
            self.names_of_a_partner().await?.join(", ")
        );
        let partner = sqlx::query(AssertSqlSafe(partner)).bind(&personal.company_name);
        self.exactly(1, "the partner of company 1", partner).await
    }

    /// Odoo keeps a copy of a partner's name: in `display_name` up to 16, in `complete_name` from 17 on.
    async fn names_of_a_partner(&mut self) -> OdooResult<Vec<String>> {
        let columns = sqlx::query_scalar(
            "SELECT attname::text FROM pg_attribute
              WHERE attrelid = to_regclass('public.res_partner') AND NOT attisdropped
                AND attname IN ('name', 'display_name', 'complete_name')",
        );
        let columns: Vec<String> = self.server.answer(columns.fetch_all(&mut *self.tx)).await?;
        Ok(columns.iter().map(|column| format!("{} = $1", ident_text(column))).collect())
    }

    /// `database.secret` signs sessions and tokens, `database.uuid` is what in-app services know the database by.
    async fn write_identity(&mut self) -> OdooResult<()> {
        let identity = "UPDATE public.ir_config_parameter SET value = gen_random_uuid()::text
                         WHERE key IN ('database.uuid', 'database.secret')";
        self.exactly(2, "database.uuid or database.secret", sqlx::query(identity)).await?;
        self.any(sqlx::query(
            "UPDATE public.ir_config_parameter SET value = to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
              WHERE key = 'database.create_date'",
        ))
        .await?;
        self.any(sqlx::query("DELETE FROM public.ir_config_parameter WHERE key = ANY($1)").bind(FOREIGN_KEYS)).await.map(drop)
    }

    async fn write_address(&mut self, base_url: &str) -> OdooResult<()> {
        for (key, value) in [("web.base.url", base_url), ("web.base.url.freeze", "True")] {
            let parameter = "INSERT INTO public.ir_config_parameter (key, value) VALUES ($1, $2)
                                 ON CONFLICT (key) DO UPDATE SET value = excluded.value";
            self.any(sqlx::query(parameter).bind(key).bind(value)).await?;
        }
        Ok(())
    }

    async fn exactly(&mut self, rows: u64, what: &str, query: Query<'_, Postgres, PgArguments>) -> OdooResult<()> {
        if self.any(query).await? == rows {
            return Ok(());
        }
        Err(OdooError::Missing { what: format!("{what} in Odoo's tables") })
    }

    async fn any(&mut self, query: Query<'_, Postgres, PgArguments>) -> OdooResult<u64> {
        Ok(self.server.answer(query.execute(&mut *self.tx)).await?.rows_affected())
    }

    async fn commit(self) -> OdooResult<()> {
        self.server.answer(self.tx.commit()).await
    }
}
