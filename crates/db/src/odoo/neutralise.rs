//! Making a copy harmless before anybody can reach it: no mail, no jobs, no payments (postgres-and-odoo 12).

use super::error::{OdooError, OdooResult};
use super::snapshot::Snapshot;
use super::tenant::TenantSession;

/// Tables with something that must be off, and the condition that tells it. Odoo puts in one mail server that leads nowhere, so
/// that nothing falls back to another.
const LIVE: [(&str, &[&str], &str); 4] = [
    ("ir_mail_server", &["active", "smtp_host"], "active AND smtp_host IS DISTINCT FROM 'invalid'"),
    ("fetchmail_server", &["active"], "active"),
    ("payment_provider", &["state"], "state = 'enabled'"),
    // Odoo's own clean-up stays on.
    ("ir_cron", &["active"], "active"),
];

impl TenantSession<'_> {
    /// Runs what `odoo neutralize --stdout` printed, in a transaction of ours: all of it or nothing.
    ///
    /// # Errors
    /// [`OdooError::Unfit`] for a text that is no such script, and for one that ends the transaction by itself: what it did is
    /// then unknown, and the copy must go.
    pub async fn neutralise(&mut self, script: &str) -> OdooResult<()> {
        const TRANSACTION: &str = "SELECT pg_current_xact_id()::text";
        let statements = statements(script).ok_or_else(|| unfit("it is not BEGIN; ... COMMIT;"))?;
        let mut tx = self.begin().await?;
        let before = tx.text(TRANSACTION).await?;
        tx.script(&format!("SET LOCAL search_path = public;\n{statements}")).await?;
        if tx.text(TRANSACTION).await? != before {
            return Err(unfit("it ends its own transaction"));
        }
        tx.commit().await
    }
}

/// What stands between the first `BEGIN;` and the last `COMMIT;`, each on a line of its own.
fn statements(script: &str) -> Option<&str> {
    let (_, rest) = script.split_once("BEGIN;\n")?;
    let (statements, _) = rest.rsplit_once("COMMIT;")?;
    (statements.is_empty() || statements.ends_with('\n')).then_some(statements)
}

fn unfit(fault: &str) -> OdooError {
    OdooError::Unfit { what: "the script of odoo neutralize".to_owned(), faults: vec![fault.to_owned()] }
}

impl Snapshot {
    /// Whether a copy is harmless: Odoo's flag is set, no mail server but the dummy is active, no payment provider, one scheduled
    /// job at most, and it is not known by the UUID of its original.
    ///
    /// # Errors
    /// [`OdooError::Unfit`] with everything that is not so.
    pub async fn verify_neutralised(&mut self, original_uuid: Option<&str>) -> OdooResult<()> {
        let mut faults = Vec::new();
        let flag = self.parameter("database.is_neutralized").await?.unwrap_or_default();
        if !flag.eq_ignore_ascii_case("true") {
            faults.push("database.is_neutralized is not set".to_owned());
        }
        for (table, columns, condition) in LIVE {
            let harmless = u64::from(table == "ir_cron");
            if self.holds(table, columns).await? {
                let live = self.count(format!("SELECT count(*) FROM public.{table} WHERE {condition}")).await?;
                if live > harmless {
                    faults.push(format!("{live} rows of {table} are live"));
                }
            }
        }
        if original_uuid.is_some() && self.uuid().await?.as_deref() == original_uuid {
            faults.push("it has the UUID of its original".to_owned());
        }
        self.fit(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_what_stands_between_begin_and_commit() {
        assert_eq!(statements("BEGIN;\nUPDATE a;\nCOMMIT;\n"), Some("UPDATE a;\n"));
        assert_eq!(statements("a warning\nBEGIN;\nCOMMIT;"), Some(""));
        for other in ["", "BEGIN;\nUPDATE a;", "UPDATE a;\nCOMMIT;", "BEGIN;\nUPDATE a; COMMIT;"] {
            assert_eq!(statements(other), None, "{other:?}");
        }
    }
}
