//! The record that is left of a deleted instance (contract 12.9): that it was there, and nothing personal, secret or physical.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stories::{Place, Stack};

/// Columns that must be empty.
const EMPTY: [&str; 16] = [
    "admin_password",
    "description",
    "hostname",
    "external_url",
    "internal_url",
    "external_port",
    "service_id",
    "service_name",
    "db_host",
    "db_name",
    "db_user",
    "db_oid",
    "db_secret",
    "data_dir",
    "mark",
    "odoo_server_id",
];

/// What the order of a customer said that a record has no business to keep.
const PERSONAL: [&str; 4] = ["owner@florist.example", "behind the station", "flowers-for-all", "prefers-phone-calls"];

/// Checks the record of an instance that was deleted, and that was where `place` says.
pub(crate) fn record_of(stack: &Stack, id: &str, place: &Place) -> Result<()> {
    let row = stack.platform_sql(&format!("SELECT row_to_json(i) FROM public.instances i WHERE id = '{id}'"))?;
    let row: Value = serde_json::from_str(&row).context("no record is left")?;
    ensure!(row["phase"] == "purged" && row["status"] == "terminated" && !row["purged_at"].is_null(), "{row:#}");
    for column in EMPTY {
        ensure!(row[column].is_null(), "{column} is still {}", row[column]);
    }
    let text = row.to_string();
    let physical = [&place.database, &place.role, &place.service, &place.mark];
    for known in PERSONAL.into_iter().chain(physical.map(String::as_str)) {
        ensure!(!text.contains(known), "the record still has {known}: {row:#}");
    }
    let shown = stack.instance(id)?;
    ensure!(shown["status"] == "terminated" && shown["admin_email"] == "", "{shown:#}");
    no_clear_or_sealed_secret_is_left(stack, id)
}

/// Journals and mails of its operations: what was sealed there is erased as well.
fn no_clear_or_sealed_secret_is_left(stack: &Stack, id: &str) -> Result<()> {
    let sealed = stack.platform_sql(&format!(
        "SELECT count(*) FROM instance_service.outbox WHERE instance_id = '{id}' AND secret IS NOT NULL"
    ))?;
    ensure!(sealed == "0", "{sealed} mails keep a secret");
    let journal = stack.platform_sql(&format!(
        "SELECT s.output FROM instance_service.operation_steps s JOIN instance_service.operations o ON o.id = s.operation_id
          WHERE o.instance_id = '{id}' AND s.step = 'secrets' AND s.output ? 'admin_password'"
    ))?;
    ensure!(journal.is_empty(), "a journal keeps the administrator's password, sealed: {journal}");
    Ok(())
}
