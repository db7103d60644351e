//! What a loaded database must not keep of the moment in which it was saved (contract 16.3).

use super::error::{OdooError, OdooResult};
use super::tenant::{TenantSession, TenantTx};
use sqlx::query;

/// What differs from restore to restore.
#[derive(Clone, Debug)]
pub struct Reset {
    /// Where the instance is reached.
    pub base_url: String,
    /// The data come from another instance: two databases would sign with one secret, and be one to in-app services.
    pub renew_identity: bool,
}

/// Each may fail without harm to the others: Odoo starts without it. A module to be installed has no tables yet: to call it
/// installed would break Odoo.
const OPTIONAL: [(&str, &str); 3] = [
    (
        "module states",
        "UPDATE public.ir_module_module SET state = CASE state WHEN 'to install' THEN 'uninstalled' ELSE 'installed' END
          WHERE state IN ('to install', 'to upgrade', 'to remove')",
    ),
    ("base.module_upgrade", "UPDATE public.ir_config_parameter SET value = 'false' WHERE key = 'base.module_upgrade'"),
    (
        "scheduled jobs on modules",
        "UPDATE public.ir_cron SET active = false WHERE active AND ir_actions_server_id IN
            (SELECT a.id FROM public.ir_act_server a JOIN public.ir_model m ON m.id = a.model_id WHERE m.model = 'ir.module.module')",
    ),
];

/// Keys of a subscription that a copy must not use.
const FOREIGN_KEYS: [&str; 3] = ["database.enterprise_code", "database.expiration_date", "database.expiration_reason"];

impl TenantSession<'_> {
    /// Resets Odoo's state in one transaction. Returns what was left as it was, with the server's words.
    ///
    /// # Errors
    /// Any [`OdooError`]; nothing is changed then.
    pub async fn reset_state(&mut self, reset: &Reset) -> OdooResult<Vec<String>> {
        let mut tx = self.begin().await?;
        let mut skipped = Vec::new();
        for (what, sql) in OPTIONAL {
            if let Some(cause) = tx.optionally(query(sql)).await? {
                skipped.push(format!("{what}: {cause}"));
            }
        }
        tx.set_parameter("web.base.url", &reset.base_url).await?;
        if reset.renew_identity {
            tx.renew_identity().await?;
        }
        tx.commit().await?;
        Ok(skipped)
    }
}

impl TenantTx<'_> {
    async fn set_parameter(&mut self, key: &str, value: &str) -> OdooResult<()> {
        let update = query("UPDATE public.ir_config_parameter SET value = $2 WHERE key = $1").bind(key).bind(value);
        if self.execute(update).await? == 0 {
            let insert = query("INSERT INTO public.ir_config_parameter (key, value) VALUES ($1, $2)").bind(key).bind(value);
            self.execute(insert).await?;
        }
        Ok(())
    }

    /// Each statement names what it must leave, since a rule or trigger of the tenant's may have swallowed the one before.
    async fn renew_identity(&mut self) -> OdooResult<()> {
        const IDENTITY: &str = "SELECT coalesce(string_agg(key || '=' || value, ' ' ORDER BY key), '')
                                  FROM public.ir_config_parameter WHERE key IN ('database.uuid', 'database.secret')";
        let before = self.text(IDENTITY).await?;
        self.execute(query("DELETE FROM public.ir_config_parameter WHERE key IN ('database.uuid', 'database.secret')")).await?;
        self.execute(query(
            "INSERT INTO public.ir_config_parameter (key, value)
             VALUES ('database.uuid', gen_random_uuid()::text), ('database.secret', gen_random_uuid()::text)",
        ))
        .await?;
        let after = self.text(IDENTITY).await?;
        let is_new = |pair: &str| pair.len() > 36 && !before.split(' ').any(|old| old == pair);
        if after.split(' ').count() != 2 || !after.split(' ').all(is_new) {
            return Err(OdooError::Unfit { what: "the identity".to_owned(), faults: vec!["it cannot be renewed".to_owned()] });
        }
        self.execute(query(
            "UPDATE public.ir_config_parameter SET value = to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
              WHERE key = 'database.create_date'",
        ))
        .await?;
        self.execute(query("DELETE FROM public.ir_config_parameter WHERE key = ANY($1)").bind(FOREIGN_KEYS)).await.map(drop)
    }
}
