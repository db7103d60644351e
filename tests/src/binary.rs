//! One process of ours: started with an environment built from nothing, its output in a file, ended with us.

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::until;

/// A running binary of the workspace.
#[derive(Debug)]
pub struct Binary {
    child: Child,
    log: PathBuf,
}

impl Binary {
    /// Where the binaries of this build are.
    ///
    /// # Errors
    /// When this test's own path is not below a target directory.
    pub fn path(name: &str) -> Result<PathBuf> {
        let own = std::env::current_exe().context("where am I?")?;
        let profile = own.parent().and_then(|deps| if deps.ends_with("deps") { deps.parent() } else { Some(deps) });
        let path = profile.context("no target directory")?.join(name);
        ensure!(path.exists(), "{} is not built: run `cargo dev test`, which builds it", path.display());
        Ok(path)
    }

    /// Starts `name` with `arguments`; both outputs go to `log`.
    ///
    /// # Errors
    /// When it is not built or cannot be started.
    pub fn start(name: &str, arguments: &[&str], environment: &[(String, String)], log: &Path) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        let child = Command::new(Self::path(name)?)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("RUST_BACKTRACE", "1")
            // Every process of a stack names its directory: so it is found when the test is killed.
            .env("TMPDIR", log.parent().unwrap_or(Path::new("/tmp")))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Runs `name` with `arguments` to its end and answers what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn answer(name: &str, arguments: &[&str], environment: &[(String, String)]) -> Result<String> {
        let output = Command::new(Self::path(name)?)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {name}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{name} {arguments:?} ended with {}: {said}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Its process id.
    pub fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()).ok()?)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid().context("no process id")?, signal).context("cannot signal")
    }

    /// The exit status, if it has ended.
    ///
    /// # Errors
    /// When the process cannot be asked.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot ask for the exit status")
    }

    /// Whether it was ended by SIGKILL.
    ///
    /// # Errors
    /// When the process cannot be asked.
    pub fn was_killed(&mut self) -> Result<bool> {
        Ok(self.ended()?.is_some_and(|status| status.signal() == Some(9)))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it has not ended within `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let log = self.log.display().to_string();
        until(limit, &format!("the end of the process that logs to {log}"), || self.ended())
    }

    /// What it has written.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn output(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // A stopped process has to be killed too; errors mean that it is gone.
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}
