//! Odoo's part in a database: the tables of a fresh Odoo, modules that become installed, assets that become attachments.

use super::files::{self, ASSETS, INITIAL, Seat, UPDATED};
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
pub(super) async fn run(psql: &Path, order: &Order, seat: &Seat, task: &Task, account: Account) -> RuntimeResult<OneOffEnd> {
    let sql = match task {
        Task::Initialise => {
            let demo = format!("UPDATE ir_module_module SET demo = {} WHERE state = 'installed';\n", order.demo);
            format!("{TABLES}{demo}{}", files::attachments(INITIAL)?)
        }
        Task::Install(modules) => install(modules)?,
        Task::Update(modules) => format!("{}{}", update(modules)?, files::attachments(UPDATED)?),
        // Odoo reads which modules are installed.
        Task::Neutralise => "SELECT name FROM ir_module_module;\n".to_owned(),
    };
    match task {
        Task::Initialise => keep(order, seat, INITIAL, account).await?,
        Task::Update(_) => keep(order, seat, UPDATED, account).await?,
        Task::Install(_) | Task::Neutralise => {}
    }
    let end = execute(psql, order, &sql).await?;
    Ok(OneOffEnd { output: if *task == Task::Neutralise { SCRIPT.to_owned() } else { String::new() }, ..end })
}

/// What makes the tables of this Odoo harmless, in the form in which Odoo prints it.
const SCRIPT: &str = "BEGIN;
-- deactivate mail servers
UPDATE ir_mail_server SET active = false;
INSERT INTO ir_mail_server (name, smtp_port, smtp_host, smtp_encryption, active, smtp_authentication)
VALUES ('neutralization - disable emails', 1025, 'invalid', 'none', true, 'login');
-- deactivate crons
UPDATE ir_cron SET active = false WHERE id <> 1;
INSERT INTO ir_config_parameter (key, value) VALUES ('database.is_neutralized', true)
    ON CONFLICT (key) DO UPDATE SET value = true;
COMMIT;
";

/// Records and writes the assets of login page and web client; returns how many.
pub(super) async fn warm(psql: &Path, order: &Order, account: Account) -> RuntimeResult<usize> {
    keep(order, &Seat::live(), ASSETS, account).await?;
    let end = execute(psql, order, &files::attachments(ASSETS)?).await?;
    match end.exit {
        Some(0) => Ok(ASSETS.len()),
        _ => Err(RuntimeError::Transient(format!("assets of {}: {}", order.database, end.log.join(" ")))),
    }
}

async fn keep(order: &Order, seat: &Seat, stored: &'static [files::Stored], account: Account) -> RuntimeResult<()> {
    let (order, seat) = (order.clone(), seat.clone());
    blocking(move || files::store(&order, &seat, stored, account)).await
}

fn install(modules: &[String]) -> RuntimeResult<String> {
    let names = listed(modules)?;
    Ok(format!("UPDATE ir_module_module SET state = 'installed', latest_version = '19.0.1.0' WHERE name IN ({names});\n"))
}

/// An updated module has a later version, and what was to be done with it is done.
fn update(modules: &[String]) -> RuntimeResult<String> {
    let names = listed(modules)?;
    Ok(format!(
        "UPDATE ir_module_module SET state = 'installed', latest_version = '19.0.2.0'
          WHERE state IN ('installed', 'to upgrade') AND (name IN ({names}) OR 'all' IN ({names}));\n"
    ))
}

fn listed(modules: &[String]) -> RuntimeResult<String> {
    let is_name = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if let Some(odd) = modules.iter().find(|name| !is_name(name)) {
        return Err(RuntimeError::Permanent(format!("{odd:?} is no module name")));
    }
    let names: Vec<String> = modules.iter().map(|name| format!("'{name}'")).collect();
    Ok(names.join(", "))
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
    Ok(OneOffEnd { exit: output.status.code(), log, output: String::new() })
}
