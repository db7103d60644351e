//! Odoo's part in a database: the tables of a fresh Odoo, modules that become installed, assets that become attachments.

use super::files::{self, ASSETS, INITIAL};
use super::wire::Order;
use crate::account::Account;
use crate::error::{RuntimeError, RuntimeResult, blocking};
use crate::observed::OneOffEnd;
use crate::workload::Task;
use std::path::Path;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const TABLES: &str = include_str!("odoo_tables.sql");

/// Does what a one-off run of Odoo would do. As with Odoo, a module that does not exist is no failure.
pub(super) async fn run(psql: &Path, order: &Order, task: &Task, account: Account) -> RuntimeResult<OneOffEnd> {
    let sql = match task {
        Task::Initialise => {
            let demo = format!("UPDATE ir_module_module SET demo = {} WHERE state = 'installed';\n", order.demo);
            format!("{TABLES}{demo}{}", files::attachments(INITIAL)?)
        }
        Task::Install(modules) => install(modules)?,
    };
    if *task == Task::Initialise {
        keep(order, INITIAL, account).await?;
    }
    execute(psql, order, &sql).await
}

/// Records and writes the assets of login page and web client; returns how many.
pub(super) async fn warm(psql: &Path, order: &Order, account: Account) -> RuntimeResult<usize> {
    keep(order, ASSETS, account).await?;
    let end = execute(psql, order, &files::attachments(ASSETS)?).await?;
    match end.exit {
        Some(0) => Ok(ASSETS.len()),
        _ => Err(RuntimeError::Transient(format!("assets of {}: {}", order.database, end.log.join(" ")))),
    }
}

async fn keep(order: &Order, stored: &'static [files::Stored], account: Account) -> RuntimeResult<()> {
    let order = order.clone();
    blocking(move || files::store(&order, stored, account)).await
}

fn install(modules: &[String]) -> RuntimeResult<String> {
    let is_name = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if let Some(odd) = modules.iter().find(|name| !is_name(name)) {
        return Err(RuntimeError::Permanent(format!("{odd:?} is no module name")));
    }
    let names: Vec<String> = modules.iter().map(|name| format!("'{name}'")).collect();
    Ok(format!(
        "UPDATE ir_module_module SET state = 'installed', latest_version = '19.0.1.0' WHERE name IN ({});\n",
        names.join(", ")
    ))
}

/// Runs SQL as the order's role. The password goes by environment and the text by standard input: neither is in an argument list.
async fn execute(psql: &Path, order: &Order, sql: &str) -> RuntimeResult<OneOffEnd> {
    let mut child = Command::new(psql)
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("PGHOST", &order.host)
        .env("PGPORT", order.database_port.to_string())
        .env("PGDATABASE", &order.database)
        .env("PGUSER", &order.user)
        .env("PGPASSWORD", &order.password)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| RuntimeError::io(format!("start {}", psql.display()), &e))?;
    if let Some(mut input) = child.stdin.take() {
        // psql may end before it has read everything; its own message says why.
        if let Err(error) = input.write_all(sql.as_bytes()).await {
            tracing::debug!(%error, "psql stopped reading");
        }
    }
    let output = child.wait_with_output().await.map_err(|e| RuntimeError::io("wait for psql", &e))?;
    let log = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
    Ok(OneOffEnd { exit: output.status.code(), log })
}
