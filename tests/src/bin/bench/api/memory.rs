//! How much memory the API holds, by the kernel's account.

use anyhow::{Context, Result};
use stories::Stack;

/// At the moment, in MB.
pub(crate) fn now(stack: &Stack) -> Result<f64> {
    field(stack, "VmRSS:")
}

/// The most it ever held, in MB.
pub(crate) fn most(stack: &Stack) -> Result<f64> {
    field(stack, "VmHWM:")
}

fn field(stack: &Stack, name: &str) -> Result<f64> {
    let pid = stack.api.pid().context("no process")?.as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(name)).context("the kernel does not say")?;
    let kilobytes: f64 = value.trim().strip_suffix(" kB").context("no kilobytes")?.parse()?;
    Ok(kilobytes / 1024.0)
}
