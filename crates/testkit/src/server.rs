//! One PostgreSQL server in one data directory: make, start, wait, stop, and ask it something as its superuser.
//!
//! Owns: the flags of a server and how it is started and stopped. Leaves to others: how long its data live (`Cluster` for a
//! test, `cargo dev up` for days).

use crate::installation::Installation;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// The superuser that `initdb` makes; it may enter without password through the socket, which only its owner can reach.
pub const SUPERUSER: &str = "postgres";

const PATIENCE: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(5);

/// How to stop a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Sessions are ended, data are flushed.
    Fast,
    /// As in a power cut, but orderly for the processes: the next start recovers from the log.
    Immediate,
}

/// A data directory and how its server is run.
#[derive(Clone, Debug)]
pub struct Server {
    installation: Installation,
    directory: PathBuf,
    port: u16,
    settings: Vec<(String, String)>,
}

impl Server {
    /// A server whose files are in `directory`, listening on loopback at `port` and on a socket in `directory`.
    pub fn new(installation: Installation, directory: &Path, port: u16) -> Self {
        Self { installation, directory: directory.to_owned(), port, settings: Vec::new() }
    }

    /// Adds a setting of `postgresql.conf`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The TCP port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The programs it runs with.
    pub const fn installation(&self) -> &Installation {
        &self.installation
    }

    /// The file that holds its log.
    pub fn log_path(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Whether `initdb` has run here.
    pub fn exists(&self) -> bool {
        self.data().join("PG_VERSION").exists()
    }

    /// Makes the directory, owned by the server's account and closed to others.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn make_directory(&self) -> Result<()> {
        std::fs::create_dir_all(&self.directory).with_context(|| format!("cannot create {}", self.directory.display()))?;
        if let Some(account) = self.installation.account() {
            std::os::unix::fs::chown(&self.directory, Some(account.uid), Some(account.gid))?;
        }
        Ok(())
    }

    /// Runs `initdb`: UTF-8, C collation, password authentication over TCP.
    ///
    /// # Errors
    /// With what `initdb` says.
    pub fn init(&self) -> Result<()> {
        self.init_with(&[])
    }

    /// The same with more arguments of `initdb`.
    ///
    /// # Errors
    /// With what `initdb` says.
    pub fn init_with(&self, arguments: &[&str]) -> Result<()> {
        self.make_directory()?;
        let output = self
            .installation
            .command("initdb")
            .args(["--username", SUPERUSER, "--encoding", "UTF8", "--locale", "C", "--auth-local", "trust"])
            .args(["--auth-host", "scram-sha-256", "--no-instructions", "--pgdata"])
            .arg(self.data())
            .args(arguments)
            .output()
            .context("cannot run initdb")?;
        if !output.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Starts the server and waits until it accepts connections.
    ///
    /// # Errors
    /// When it ends before that; with the end of its log.
    pub fn start(&self) -> Result<Child> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut child = self.spawn()?;
            if self.becomes_ready(&mut child, deadline)? {
                return Ok(child);
            }
            let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(5).collect();
            // After a kill the old server's children still hold its memory for a moment.
            let again = last.iter().any(|line| line.contains("shared memory block") || line.contains("lock file"));
            if !again || Instant::now() > deadline {
                let text = last.into_iter().rev().collect::<Vec<_>>().join("\n");
                bail!("PostgreSQL did not start in {}:\n{text}", self.directory.display());
            }
        }
    }

    fn spawn(&self) -> Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let mut command = self.installation.command("postgres");
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string()).arg("-k").arg(&self.directory);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "log_line_prefix=%m|%p|%a|%u|%d|"]);
        for (name, value) in &self.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn().with_context(|| format!("cannot run {}", self.installation.bin().join("postgres").display()))
    }

    fn becomes_ready(&self, child: &mut Child, deadline: Instant) -> Result<bool> {
        loop {
            if child.try_wait()?.is_some() {
                return Ok(false);
            }
            // Line 8 of this file is the server's own word on its state; line 1 says whose word it is.
            let state = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
            let mut lines = state.lines();
            let ours = lines.next().is_some_and(|pid| pid == child.id().to_string());
            if ours && lines.nth(6).is_some_and(|state| state.trim() == "ready") {
                return Ok(true);
            }
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                return Ok(false);
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// The process id of the running server; `None` when it does not run.
    pub fn pid(&self) -> Option<Pid> {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        let pid: i32 = file.lines().next()?.parse().ok()?;
        // A stale file may name a process of somebody else by now: a server's working directory is its data directory.
        let there = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        let data = self.data().canonicalize().ok()?;
        (there == data).then(|| Pid::from_raw(pid)).flatten()
    }

    /// Stops the server, if it runs, and waits until its process is gone.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(&self, how: Stop, child: Option<&mut Child>) -> Result<()> {
        let Some(pid) = self.pid() else { return reap(child) };
        let signal = match how {
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        };
        kill_process(pid, signal).context("cannot signal the server")?;
        match child {
            Some(child) => reap(Some(child)),
            None => until_gone(pid),
        }
    }

    /// Runs SQL as the superuser through the socket; answers the rows, unaligned, one per line. The text goes in through
    /// standard input and is not logged by the server, so it may carry a password.
    ///
    /// # Errors
    /// With the server's message.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        self.psql_with(database, &[], sql)
    }

    /// As [`Server::psql`], with psql variables. They are set through standard input as well.
    ///
    /// # Errors
    /// With the server's message.
    pub fn psql_with(&self, database: &str, variables: &[(&str, &str)], sql: &str) -> Result<String> {
        let mut child = self
            .installation
            .command("psql")
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", SUPERUSER, "-d", database, "-f", "-", "-h"])
            .arg(&self.directory)
            .args(["-p", &self.port.to_string()])
            .env("PGOPTIONS", "-c log_statement=none -c log_min_error_statement=panic")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run psql")?;
        let mut script = String::new();
        for (name, value) in variables {
            let quoted = value.replace('\\', "\\\\").replace('\'', "\\'");
            script.push_str(&format!("\\set {name} '{quoted}'\n"));
        }
        script.push_str(sql);
        if let Some(mut input) = child.stdin.take() {
            input.write_all(script.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// Its log so far.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn log(&self) -> Result<String> {
        std::fs::read_to_string(self.log_path()).context("cannot read the server's log")
    }

    /// Empties the log, for a server that lives long.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn clear_log(&self) -> Result<()> {
        File::create(self.log_path()).map(drop).context("cannot empty the server's log")
    }
}

fn reap(child: Option<&mut Child>) -> Result<()> {
    let Some(child) = child else { return Ok(()) };
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            bail!("PostgreSQL {} does not end", child.id());
        }
        std::thread::sleep(GLANCE);
    }
    Ok(())
}

fn until_gone(pid: Pid) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while is_there(pid) {
        if Instant::now() > deadline {
            bail!("PostgreSQL {} does not end", pid.as_raw_nonzero());
        }
        std::thread::sleep(GLANCE);
    }
    Ok(())
}

/// A process that has ended and was not collected yet, since we started it ourselves, is not there any more.
fn is_there(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
