//! Making a clone its owner's: login, company, address and identity (postgres-and-odoo 4).

use super::connection::InstanceConnection;
use super::error::OdooResult;
use super::quote::ident;
use domain::names::PhysicalName;
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

impl InstanceConnection {
    /// Personalises the clone, before Odoo first starts on it: each process of Odoo caches the parameters. One transaction,
    /// bound values only. Doing it twice leaves the same but for a new identity.
    ///
    /// # Errors
    /// Any [`super::OdooError`].
    pub async fn personalise(&mut self, personal: &Personal) -> OdooResult<()> {
        let result = write(self, personal).await;
        result.map_err(|error| self.error(error))
    }

    /// Gives the first user another password, as [`super::odoo_hash`] makes it.
    ///
    /// # Errors
    /// Any [`super::OdooError`].
    pub async fn set_admin_password(&mut self, hash: &str) -> OdooResult<()> {
        let done = sqlx::query("UPDATE public.res_users SET password = $1 WHERE id = 2").bind(hash).execute(self.conn()).await;
        done.map(drop).map_err(|error| self.error(error))
    }

    /// Whether the clone carries this login and this password hash: [`Self::personalise`] was done.
    ///
    /// # Errors
    /// Any [`super::OdooError`].
    pub async fn is_personalised(&mut self, personal: &Personal) -> OdooResult<bool> {
        sqlx::query_scalar("SELECT count(*) = 1 FROM public.res_users WHERE id = 2 AND login = $1 AND password = $2")
            .bind(&personal.admin_email)
            .bind(&personal.admin_password_hash)
            .fetch_one(self.conn())
            .await
            .map_err(|error| self.error(error))
    }
}

async fn write(connection: &mut InstanceConnection, personal: &Personal) -> Result<(), sqlx::Error> {
    let mut tx = connection.conn().begin().await?;
    sqlx::raw_sql(AssertSqlSafe(format!("SET LOCAL ROLE {}", ident(&personal.role)))).execute(&mut *tx).await?;
    write_owner(&mut tx, personal).await?;
    write_identity(&mut tx).await?;
    write_address(&mut tx, &personal.base_url).await?;
    tx.commit().await
}

/// The user with id 2 is `base.user_admin`, the company with id 1 `base.main_company`, its partner `base.main_partner`.
async fn write_owner(tx: &mut Transaction<'_, Postgres>, personal: &Personal) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE public.res_users SET login = $1, password = $2 WHERE id = 2")
        .bind(&personal.admin_email)
        .bind(&personal.admin_password_hash)
        .execute(&mut **tx)
        .await?;
    sqlx::query("UPDATE public.res_partner SET email = $1 WHERE id = (SELECT partner_id FROM public.res_users WHERE id = 2)")
        .bind(&personal.admin_email)
        .execute(&mut **tx)
        .await?;
    sqlx::query("UPDATE public.res_company SET name = $1 WHERE id = 1").bind(&personal.company_name).execute(&mut **tx).await?;
    sqlx::query("UPDATE public.res_partner SET name = $1, complete_name = $1 WHERE id = (SELECT partner_id FROM public.res_company WHERE id = 1)")
        .bind(&personal.company_name)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// `database.secret` signs sessions and tokens, `database.uuid` is what in-app services know the database by.
async fn write_identity(tx: &mut Transaction<'_, Postgres>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE public.ir_config_parameter SET value = gen_random_uuid()::text WHERE key IN ('database.uuid', 'database.secret')",
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "UPDATE public.ir_config_parameter SET value = to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
          WHERE key = 'database.create_date'",
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query("DELETE FROM public.ir_config_parameter WHERE key = ANY($1)").bind(FOREIGN_KEYS).execute(&mut **tx).await?;
    Ok(())
}

async fn write_address(tx: &mut Transaction<'_, Postgres>, base_url: &str) -> Result<(), sqlx::Error> {
    for (key, value) in [("web.base.url", base_url), ("web.base.url.freeze", "True")] {
        sqlx::query(
            "INSERT INTO public.ir_config_parameter (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(key)
        .bind(value)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}
