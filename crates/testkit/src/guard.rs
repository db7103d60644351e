//! Cleans up after a test process that was killed: nothing of it may linger.
//!
//! A small shell waits on a pipe whose other end only we hold. However we end, the pipe closes, and the shell ends every
//! process that names our directory in its command line or environment, and removes the directory. (The kernel's
//! parent-death signal is no substitute: it follows the *thread* that started the child, and it is lost when the child
//! changes its user.)

use anyhow::{Context, Result};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

// The directory comes through the pipe, so that no process of this script names it. A second line means that all is well.
const SCRIPT: &str = r#"
read -r directory || exit
read -r _ && exit
left=50
while [ "$left" -gt 0 ]; do
    pids=$(grep -lF -f - /proc/[0-9]*/cmdline /proc/[0-9]*/environ <<PATTERN | cut -d / -f 3 | sort -u
$directory
PATTERN
    )
    [ -n "$pids" ] || break
    if [ "$left" -gt 30 ]; then kill -CONT $pids; kill -QUIT $pids; else kill -KILL $pids; fi
    sleep 0.1
    left=$((left - 1))
done 2>/dev/null
rm -rf "$directory"
"#;

/// Watches over one directory and the processes that work in it, until released.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    /// Begins to watch. The directory's name must be unique, for example a temporary one: whoever names it is ended.
    ///
    /// # Errors
    /// When the shell cannot be started.
    pub fn over(directory: &Path) -> Result<Self> {
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run sh")?;
        let input = child.stdin.as_mut().context("sh has no input")?;
        writeln!(input, "{}", directory.display())?;
        Ok(Self(child))
    }

    /// Cleans up now: ends every process that names the directory, and removes it.
    ///
    /// # Errors
    /// When the shell is gone already.
    pub fn clean(&mut self) -> std::io::Result<()> {
        drop(self.0.stdin.take());
        self.0.wait().map(drop)
    }

    /// Ends the watch: what was to be cleaned up has been.
    ///
    /// # Errors
    /// When the shell is gone already.
    pub fn release(&mut self) -> std::io::Result<()> {
        if let Some(mut input) = self.0.stdin.take() {
            writeln!(input, "released")?;
        }
        self.0.wait().map(drop)
    }
}
