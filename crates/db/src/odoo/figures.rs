//! What a manifest says of a database, and what a restored one must have again.

use super::connection::LONG_LIMIT;
use super::error::{OdooError, OdooResult};
use super::quote::ident_text;
use super::snapshot::Snapshot;
use std::collections::BTreeMap;

/// Tables whose rows are counted for a manifest, where they exist. None that resetting or neutralising adds rows to.
pub const KEY_TABLES: [&str; 16] = [
    "res_users",
    "res_partner",
    "res_company",
    "ir_module_module",
    "ir_attachment",
    "ir_model",
    "ir_model_fields",
    "ir_ui_view",
    "mail_message",
    "account_move",
    "account_move_line",
    "sale_order",
    "purchase_order",
    "stock_move",
    "project_task",
    "crm_lead",
];

/// Without these there is no Odoo.
const CORE_TABLES: [&str; 6] =
    ["ir_module_module", "ir_config_parameter", "ir_attachment", "res_users", "res_partner", "res_company"];

/// The server that holds a database, and how much it takes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// `server_version`, for people.
    pub server_version: String,
    /// `server_version_num`, for comparing.
    pub server_version_number: i32,
    /// Bytes of the database on the server's disk.
    pub bytes: u64,
}

impl Snapshot {
    /// Version of the server and size of the database.
    ///
    /// # Errors
    /// Any [`OdooError`].
    pub async fn extent(&mut self) -> OdooResult<Extent> {
        let (server, conn) = self.parts();
        let extent = sqlx::query_as(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::integer,
                    pg_database_size(current_database())",
        );
        let (server_version, server_version_number, bytes): (String, i32, i64) =
            server.answer_inside_in(LONG_LIMIT, extent.fetch_one(conn)).await?;
        Ok(Extent { server_version, server_version_number, bytes: u64::try_from(bytes).unwrap_or(0) })
    }

    /// The rows of these tables of schema `public`; those that do not exist are left out.
    ///
    /// # Errors
    /// [`OdooError::Unfit`] for one that is no plain table.
    pub async fn row_counts(
        &mut self,
        tables: impl IntoIterator<Item = impl AsRef<str> + Send, IntoIter: Send> + Send,
    ) -> OdooResult<BTreeMap<String, u64>> {
        let mut counts = BTreeMap::new();
        for table in tables {
            let table = table.as_ref();
            if self.holds(table, &[]).await? {
                let count = format!("SELECT count(*) FROM public.{}", ident_text(table));
                counts.insert(table.to_owned(), self.count(count).await?);
            }
        }
        Ok(counts)
    }

    /// The installed modules with their versions.
    ///
    /// # Errors
    /// [`OdooError::Unfit`] where the table is not what Odoo makes.
    pub async fn modules(&mut self) -> OdooResult<BTreeMap<String, String>> {
        if !self.holds("ir_module_module", &["name", "state", "latest_version"]).await? {
            return Ok(BTreeMap::new());
        }
        let (server, conn) = self.parts();
        let modules = sqlx::query_as(
            "SELECT left(name, 200), left(coalesce(latest_version, ''), 200) FROM public.ir_module_module
              WHERE state IN ('installed', 'to upgrade', 'to remove') AND name IS NOT NULL LIMIT 20000",
        );
        let modules: Vec<(String, String)> = server.answer_inside(modules.fetch_all(conn)).await?;
        Ok(modules.into_iter().collect())
    }

    /// What in-app services know the database by.
    ///
    /// # Errors
    /// Any [`OdooError`].
    pub async fn uuid(&mut self) -> OdooResult<Option<String>> {
        self.parameter("database.uuid").await
    }

    /// Whether this is the Odoo that was saved: its core tables can be read, module `base` is installed, there are users, and
    /// each of these tables has as many rows as the manifest says. A manifest without counts asks for nothing more.
    ///
    /// # Errors
    /// [`OdooError::Unfit`] with everything that is not so.
    pub async fn verify_restored(&mut self, expected: &BTreeMap<String, u64>) -> OdooResult<()> {
        let core = CORE_TABLES.into_iter().map(str::to_owned);
        let tables: Vec<String> = core.chain(expected.keys().cloned()).collect();
        let found = self.row_counts(tables).await?;
        let mut faults: Vec<String> =
            CORE_TABLES.iter().filter(|table| !found.contains_key(**table)).map(|table| format!("{table} is missing")).collect();
        if found.get("res_users") == Some(&0) {
            faults.push("there are no users".to_owned());
        }
        if !self.modules().await?.contains_key("base") {
            faults.push("module base is not installed".to_owned());
        }
        for (table, rows) in expected {
            let rows_found = found.get(table).copied().unwrap_or(0);
            if rows_found != *rows {
                faults.push(format!("{table} has {rows_found} rows, not {rows}"));
            }
        }
        self.fit(faults)
    }

    pub(super) fn fit(&self, faults: Vec<String>) -> OdooResult<()> {
        if faults.is_empty() { Ok(()) } else { Err(OdooError::Unfit { what: format!("database {}", self.database()), faults }) }
    }
}
