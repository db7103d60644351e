//! Runs programs to their end, with their output in a file. A failure is one line: what failed, what to do, where all of it is.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `command` with its output appended to `log`.
///
/// # Errors
/// With its last complaint, `remedy` and the log's path, in one line, when it fails.
pub(crate) fn logged(command: &mut Command, log: &Path, remedy: &str) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = File::options().create(true).append(true).open(log).with_context(|| format!("cannot write {}", log.display()))?;
    let before = out.metadata()?.len();
    let status = command
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .status()
        .with_context(|| format!("cannot run {name}: {remedy}"))?;
    if status.success() {
        return Ok(());
    }
    let written = std::fs::read(log)?;
    let written = String::from_utf8_lossy(written.get(usize::try_from(before)?..).unwrap_or_default()).into_owned();
    bail!("{name} failed ({}): {remedy} (all of it is in {})", complaint(&written), log.display())
}

/// The line of a program's words that says most about its failure: the first that calls itself an error, else the last.
pub(crate) fn complaint(words: &str) -> &str {
    let mut lines = words.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines.clone().find(|line| line.to_ascii_lowercase().starts_with("e:") || is_error(line));
    error.or(lines.next_back()).unwrap_or("without a word")
}

fn is_error(line: &str) -> bool {
    line.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("error"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_that_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        std::fs::write(&log, "error: of an earlier run\n").unwrap();
        let mut fails = Command::new("sh");
        fails.args(["-c", "echo one; echo 'E: Unable to locate package x' >&2; echo 'much more'; exit 100"]);
        let error = format!("{:#}", logged(&mut fails, &log, "check the network").unwrap_err());
        assert_eq!(
            error,
            format!("sh failed (E: Unable to locate package x): check the network (all of it is in {})", log.display())
        );
        assert!(std::fs::read_to_string(&log).unwrap().contains("much more"));
        let error = format!("{:#}", logged(&mut Command::new("/no/such/tool"), &log, "install it").unwrap_err());
        assert!(error.contains("install it") && !error.contains('\n'), "{error}");
        assert_eq!(complaint("a\n\nb\n"), "b");
    }
}
