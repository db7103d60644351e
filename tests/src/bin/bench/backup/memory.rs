//! How much memory the worker holds, by the kernel's account.

use anyhow::{Context, Result};
use stories::Stack;

/// The most it ever held, in MB. What it starts (`pg_dump`, `pg_restore`) is not part of it.
pub(crate) fn most(stack: &Stack) -> Result<f64> {
    let worker = stack.workers.first().context("no worker")?;
    let pid = worker.process.pid().context("no process")?.as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel does not say")?;
    let kilobytes: f64 = value.trim().strip_suffix(" kB").context("no kilobytes")?.parse()?;
    Ok(kilobytes / 1024.0)
}
