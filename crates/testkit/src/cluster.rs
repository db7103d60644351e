//! One throw-away PostgreSQL server for a test: quick to start, gone when dropped, also when the test is killed.

use crate::guard::Guard;
use crate::installation::Installation;
use crate::port::Port;
use crate::seed::{self, Seed};
use crate::server::{Server, Stop};
use crate::statements::{self, Entry};
use anyhow::{Context, Result};
use domain::endpoint::{Endpoint, SslMode};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::SecretString;
use std::process::Child;

/// How a throw-away server is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Real durability: for crash and fence tests. Without it everything is quicker.
    pub fsync: bool,
    /// More settings of `postgresql.conf`.
    pub settings: Vec<(String, String)>,
}

impl Options {
    /// Real durability.
    pub fn durable() -> Self {
        Self { fsync: true, ..Self::default() }
    }
}

/// Settings of a server that nobody asks for durability: it has few processes and does nothing by itself.
const HASTY: [(&str, &str); 6] = [
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("autovacuum", "off"),
    ("jit", "off"),
    ("max_wal_senders", "0"),
    ("max_logical_replication_workers", "0"),
];

/// A running throw-away server. Every statement is in its log.
#[derive(Debug)]
pub struct Cluster {
    server: Server,
    child: Option<Child>,
    guard: Guard,
    _directory: tempfile::TempDir,
    _port: Port,
}

impl Cluster {
    /// An empty server.
    ///
    /// # Errors
    /// When PostgreSQL is missing or does not start.
    pub fn start(options: &Options) -> Result<Self> {
        Self::from_seed(&Seed { name: "empty", ingredients: &[], fill: &|_| Ok(()) }, options)
    }

    /// A server with a copy of the seed's data.
    ///
    /// # Errors
    /// When PostgreSQL is missing or does not start.
    pub fn from_seed(seed: &Seed<'_>, options: &Options) -> Result<Self> {
        let installation = Installation::find(None)?;
        let running = match seed::memory()? {
            Some(memory) if !options.fsync => memory,
            _ => seed::place("run")?,
        };
        let directory = tempfile::Builder::new().prefix("").tempdir_in(&running).context("cannot make a directory")?;
        let port = Port::reserve()?;
        let mut server = Server::new(installation, directory.path(), port.number()).setting("log_statement", "all");
        // Small log files would bring a small limit with them, and more checkpoints than a deployment has.
        let settings = if options.fsync { &[("max_wal_size", "1GB")][..] } else { &HASTY[..] };
        for (name, value) in settings {
            server = server.setting(name, value);
        }
        for (name, value) in &options.settings {
            server = server.setting(name, value);
        }
        server.make_directory()?;
        seed.plant(server.installation(), directory.path())?;
        let guard = Guard::over(directory.path())?;
        let child = Some(server.start()?);
        Ok(Self { server, child, guard, _directory: directory, _port: port })
    }

    /// The server: port, log, SQL as superuser.
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// TCP port on 127.0.0.1; stays the same over restarts.
    pub const fn port(&self) -> u16 {
        self.server.port()
    }

    /// Where `user` reaches `database` on this server.
    pub fn endpoint(&self, database: &str, user: &str, password: &SecretString) -> Endpoint {
        Endpoint {
            host: "127.0.0.1".to_owned(),
            port: self.port(),
            database: database.to_owned(),
            user: user.to_owned(),
            password: password.clone(),
            ssl_mode: SslMode::Disable,
        }
    }

    /// Runs SQL as the superuser, without a trace in the log; see [`Server::psql`].
    ///
    /// # Errors
    /// With the server's message.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        self.server.psql(database, sql)
    }

    /// Stops the server; the data stay.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(&mut self, how: Stop) -> Result<()> {
        self.server.stop(how, self.child.as_mut())?;
        self.child = None;
        Ok(())
    }

    /// Starts it again on the same port.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&mut self) -> Result<()> {
        if self.child.is_none() {
            self.child = Some(self.server.start()?);
        }
        Ok(())
    }

    /// Stops and starts.
    ///
    /// # Errors
    /// When it does not end or start.
    pub fn restart(&mut self, how: Stop) -> Result<()> {
        self.stop(how)?;
        self.start_again()
    }

    /// Kills every process of the server at once, as a dying machine would.
    ///
    /// # Errors
    /// When the processes cannot be listed or killed.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let postmaster = Pid::from_child(&child);
        let backends = children_of(postmaster)?;
        child.kill()?;
        for pid in backends {
            // One that has ended by itself meanwhile is as good as killed.
            match kill_process(pid, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error).context("cannot kill a backend"),
            }
        }
        child.wait()?;
        Ok(())
    }

    /// The log so far.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn log(&self) -> Result<String> {
        self.server.log()
    }

    /// The log's entries so far.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn log_entries(&self) -> Result<Vec<Entry>> {
        Ok(statements::entries(&self.log()?))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stopped = self.stop(Stop::Immediate);
        if let Err(error) = stopped.and_then(|()| Ok(self.guard.release()?)) {
            eprintln!("a throw-away server may be left over in {}: {error:#}", self.server.directory().display());
        }
    }
}

fn children_of(parent: Pid) -> Result<Vec<Pid>> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc").context("cannot list processes")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<i32>() else { continue };
        // A process may end while we look at it: then it is no child any more.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let of = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<i32>().ok());
        if of == Some(parent.as_raw_nonzero().get()) {
            children.extend(Pid::from_raw(pid));
        }
    }
    Ok(children)
}
