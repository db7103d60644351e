//! Runs programs to their end, with their output in a file and their last words in the error.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `command` with its output appended to `log`.
///
/// # Errors
/// With the last lines it wrote, when it fails.
pub(crate) fn logged(command: &mut Command, log: &Path) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = File::options().create(true).append(true).open(log).with_context(|| format!("cannot write {}", log.display()))?;
    let before = out.metadata()?.len();
    let status = command
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .status()
        .with_context(|| format!("cannot run {name}"))?;
    if status.success() {
        return Ok(());
    }
    let written = std::fs::read(log)?;
    let written = String::from_utf8_lossy(written.get(usize::try_from(before)?..).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = written.trim_end().lines().collect();
    let last = lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n");
    bail!("{name} failed ({status}); all of it is in {}\n{last}", log.display())
}

/// What `command` prints.
///
/// # Errors
/// With what it says on its error output, when it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
