//! What reached the two servers, told by their own logs, and who sent it.

use anyhow::{Context, Result};
use serde_json::Value;
use stories::Stack;
use testkit::Cluster;
use testkit::statements::Entry;

/// What clients did on both servers.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) postgres1: Vec<Entry>,
    pub(crate) postgres2: Vec<Entry>,
}

/// Does something, and answers with it what reached the servers meanwhile. A server logs a statement before it runs it.
pub(crate) fn during<T>(stack: &Stack, act: impl FnOnce() -> Result<T>) -> Result<(T, Traffic)> {
    let before = (of_clients(&stack.pair.postgres1)?.len(), of_clients(&stack.pair.postgres2)?.len());
    let done = act()?;
    let traffic = Traffic {
        postgres1: of_clients(&stack.pair.postgres1)?.split_off(before.0),
        postgres2: of_clients(&stack.pair.postgres2)?.split_off(before.1),
    };
    Ok((done, traffic))
}

/// The entries that come from a client, refused logins among them; not what the server says of itself.
pub(crate) fn of_clients(server: &Cluster) -> Result<Vec<Entry>> {
    let mut entries = server.log_entries()?;
    entries.retain(|entry| !entry.user.is_empty());
    Ok(entries)
}

/// The SQL on one line.
pub(crate) fn sql(entry: &Entry) -> String {
    entry.statement().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether one of the entries is SQL that contains `part`.
pub(crate) fn says(entries: &[Entry], part: &str) -> bool {
    entries.iter().any(|entry| sql(entry).contains(part))
}

/// Through which kind of connection the worker reached postgres2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    /// The admin in the database of the fences, holding the lock of an instance or template.
    Fence,
    /// The admin in the maintenance database, reading.
    Catalogue,
    /// The admin inside a tenant's or template's database, reading, or writing under a fence.
    Inside,
    /// A tenant in its own database: PostgreSQL's own programs, and what is read of its tables.
    Tenant,
    /// No kind that there should be.
    Other,
}

impl Through {
    pub(crate) fn of(entry: &Entry) -> Self {
        match (entry.user.as_str(), entry.application.as_str(), entry.database.as_str()) {
            ("odoo_admin", "ois", "postgres") => Self::Catalogue,
            ("odoo_admin", "ois", _) => Self::Inside,
            ("odoo_admin", application, "ois") if is_fence(application) => Self::Fence,
            ("odoo_admin", application, database) if is_fence(application) && database != "postgres" => Self::Inside,
            (user, "ois" | "ois backup", database) if user != "odoo_admin" && user == database => Self::Tenant,
            _ => Self::Other,
        }
    }
}

/// `ois:<16 hexadecimal digits>:<token>`.
fn is_fence(application: &str) -> bool {
    let mut parts = application.split(':');
    let (service, mark, token, end) = (parts.next(), parts.next(), parts.next(), parts.next());
    service == Some("ois")
        && mark.is_some_and(is_hex16)
        && token.is_some_and(|token| token.parse::<u64>().is_ok())
        && end.is_none()
}

fn is_hex16(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A step of an operation, by the journal, with its times as the log of postgres2 writes them.
#[derive(Clone, Debug)]
pub(crate) struct JournalStep {
    pub(crate) name: String,
    pub(crate) place: String,
    from: String,
    to: String,
}

impl JournalStep {
    /// The steps of an operation.
    pub(crate) fn of(stack: &Stack, operation: &str) -> Result<Vec<Self>> {
        Self::on_way(stack, operation, "apply")
    }

    /// The steps of an operation that were taken back.
    pub(crate) fn undone(stack: &Stack, operation: &str) -> Result<Vec<Self>> {
        Self::on_way(stack, operation, "undo")
    }

    fn on_way(stack: &Stack, operation: &str, phase: &str) -> Result<Vec<Self>> {
        let zone = stack.pair.postgres2.psql("postgres", "SHOW log_timezone")?;
        let time = |column: &str| format!("to_char({column} AT TIME ZONE '{zone}', 'YYYY-MM-DD HH24:MI:SS.MS')");
        let rows = stack.platform_sql(&format!(
            "SELECT json_agg(json_build_array(step, place, {}, {}) ORDER BY position)
               FROM instance_service.operation_steps WHERE operation_id = '{operation}' AND phase = '{phase}'",
            time("started_at"),
            time("finished_at"),
        ))?;
        let rows: Vec<[String; 4]> = serde_json::from_str(&rows).with_context(|| format!("journal of {operation}: {rows}"))?;
        Ok(rows.into_iter().map(|[name, place, from, to]| Self { name, place, from, to }).collect())
    }

    /// Whether it began after the entry was written.
    pub(crate) fn is_after(&self, entry: &Entry) -> bool {
        entry.time < self.from
    }

    /// Whether it was at work when the entry was written. Both are told to the millisecond, so that neighbours may share one.
    pub(crate) fn covers(&self, entry: &Entry) -> bool {
        self.from <= entry.time && entry.time <= self.to
    }
}

/// Leaves out what the probe of the servers sent: it looks every minute, whatever else goes on.
pub(crate) fn without_probe(stack: &Stack, entries: Vec<Entry>) -> Result<Vec<Entry>> {
    let probes = probes(&of_clients(&stack.pair.postgres2)?);
    Ok(entries.into_iter().filter(|entry| !probes.contains(&entry.pid)).collect())
}

/// The sessions that asked the server for its version and for our rights. Who it is, every session of ours asks; its version, a
/// backup asks as well.
pub(crate) fn probes(entries: &[Entry]) -> Vec<u32> {
    let asks = |entry: &&Entry| sql(entry).contains("server_version_num") && sql(entry).contains("rolsuper");
    entries.iter().filter(asks).map(|entry| entry.pid).collect()
}

/// The operation that built the only template.
pub(crate) fn template_build(stack: &Stack) -> Result<String> {
    let operation = stack.platform_sql("SELECT operation_id FROM instance_service.templates WHERE state = 'ready'")?;
    anyhow::ensure!(!operation.is_empty(), "there is no template");
    Ok(operation)
}

/// The names of template and content role.
pub(crate) fn template_names(stack: &Stack) -> Result<(String, String)> {
    let row = stack.platform_sql("SELECT json_build_array(db_name, content_role) FROM instance_service.templates")?;
    let row: Value = serde_json::from_str(&row)?;
    let name = |index: usize| row[index].as_str().map(str::to_owned).context("a template has names");
    Ok((name(0)?, name(1)?))
}
