//! Cleans up after a test process that was killed: nothing of it may linger.
//!
//! A small shell waits on a pipe whose other end only we hold. However we end, the pipe closes, and the shell stops the
//! server and removes its directory. (The kernel's parent-death signal is no substitute: it follows the *thread* that
//! started the child, and it is lost when the child changes its user.)

use anyhow::{Context, Result};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SCRIPT: &str = r#"
cat >/dev/null
pid=$(head -n 1 "$0/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$0/data" ]; then
    kill -CONT "$pid"; kill -QUIT "$pid"
    left=100
    while kill -0 "$pid" 2>/dev/null && [ "$left" -gt 0 ]; do sleep 0.1; left=$((left - 1)); done
    kill -KILL "$pid" 2>/dev/null
fi
rm -rf "$0"
"#;

/// The shell that waits for our end.
#[derive(Debug)]
pub(crate) struct Watcher(Child);

impl Watcher {
    pub(crate) fn over(directory: &Path) -> Result<Self> {
        let child = Command::new("sh")
            .arg("-c")
            .arg(SCRIPT)
            .arg(directory)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run sh")?;
        Ok(Self(child))
    }

    /// Lets it clean up and waits for it.
    pub(crate) fn release(&mut self) -> std::io::Result<()> {
        drop(self.0.stdin.take());
        self.0.wait().map(drop)
    }
}
