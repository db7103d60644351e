//! What the service does, by its own journal: from the accepted call to the end of the operation.

use super::millis;
use super::shop::Shop;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::time::Duration;
use stories::Stack;

const LIMIT: Duration = Duration::from_secs(3600);

pub(crate) struct Ours<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) shop: &'a Shop,
}

pub(crate) struct BackedUp {
    pub(crate) id: String,
    pub(crate) took: Duration,
    /// Bytes that were sent to the store.
    pub(crate) sent: f64,
}

pub(crate) struct Restored {
    pub(crate) whole: Duration,
    /// Without the backup that is taken before it.
    pub(crate) own: Duration,
    /// Of both databases.
    pub(crate) renames: Duration,
    /// From the first rename of a database, when all sessions are cut, to the last one of a directory.
    pub(crate) exchange: Duration,
}

#[derive(Deserialize)]
struct Times {
    whole: f64,
    copy: f64,
    renames: f64,
    exchange: f64,
}

impl Ours<'_> {
    /// As before the first backup: the pool has nothing.
    pub(crate) fn forget_files(&self) -> Result<()> {
        let pool = self.stack.log_directory().join("backups/pool").join(&self.shop.id);
        match std::fs::remove_dir_all(&pool) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context(pool.display().to_string()),
            _ => Ok(()),
        }
    }

    pub(crate) fn back_up(&self) -> Result<BackedUp> {
        let operation = self.stack.act(&self.shop.id, "backup")?;
        let ended = self.stack.await_success(&operation, LIMIT)?;
        let id = ended["result"]["backup_id"].as_str().context("no backup")?.to_owned();
        let sent = ended["result"]["new_bytes"].as_f64().context("no bytes")?;
        Ok(BackedUp { id, took: millis(self.times(&operation)?.whole), sent })
    }

    pub(crate) fn restore(&self, backup: &str) -> Result<Restored> {
        let operation = self.stack.restore(&self.shop.id, backup)?;
        self.stack.await_success(&operation, LIMIT)?;
        let Times { whole, copy, renames, exchange } = self.times(&operation)?;
        Ok(Restored { whole: millis(whole), own: millis(whole - copy), renames: millis(renames), exchange: millis(exchange) })
    }

    /// In milliseconds. The journal has the ends of steps; sessions are cut at the beginning of the step that renames.
    fn times(&self, operation: &str) -> Result<Times> {
        let step = |name: &str, what: &str| format!("coalesce((SELECT {what} FROM s WHERE step = '{name}'), 0)");
        let took = "extract(epoch FROM finished_at - started_at) * 1000";
        let (copy, renames) = (step("safety_copy", took), step("switch_database", "(output->>'renamed_in_ms')::float"));
        let sql = format!(
            "WITH s AS (SELECT * FROM instance_service.operation_steps WHERE operation_id = '{operation}' AND phase = 'apply')
             SELECT extract(epoch FROM o.finished_at - o.created_at) * 1000 AS whole, {copy} AS copy, {renames} AS renames,
                    coalesce((SELECT extract(epoch FROM d.finished_at - b.finished_at) * 1000 FROM s d, s b
                               WHERE d.step = 'swap_data' AND b.step = 'switch_database'), 0) + {renames} AS exchange
               FROM instance_service.operations o WHERE o.id = '{operation}'"
        );
        self.stack.platform_rows(&sql)?.pop().context("no such operation")
    }
}
