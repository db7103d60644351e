//! A throw-away Redis for a test: on loopback, with a password, gone when dropped, also when the test is killed.

use crate::guard::Guard;
use crate::port::Port;
use crate::random;
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Debian's program.
pub const PROGRAM: &str = "/usr/bin/redis-server";
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running throw-away Redis.
#[derive(Debug)]
pub struct Redis {
    child: Option<Child>,
    guard: Guard,
    directory: tempfile::TempDir,
    port: Port,
    password: String,
}

impl Redis {
    /// An empty one.
    ///
    /// # Errors
    /// When Debian's `redis-server` is missing or does not start.
    pub fn start() -> Result<Self> {
        if !Path::new(PROGRAM).exists() {
            bail!("{PROGRAM} is missing: run `cargo dev test`, which installs it");
        }
        let directory = tempfile::Builder::new().prefix("redis-").tempdir().context("cannot make a directory")?;
        let (guard, port, password) = (Guard::over(directory.path())?, Port::reserve()?, random::password()?);
        let mut settings = String::new();
        for (name, value) in [
            ("bind", "127.0.0.1"),
            ("port", &port.number().to_string()),
            ("dir", &directory.path().display().to_string()),
            ("save", "\"\""),
            ("appendonly", "no"),
            // The guard finds it by its directory in its command line, which it would otherwise write over.
            ("set-proc-title", "no"),
            ("requirepass", &password),
        ] {
            writeln!(settings, "{name} {value}")?;
        }
        std::fs::write(directory.path().join("redis.conf"), settings)?;
        let mut redis = Self { child: None, guard, directory, port, password };
        redis.start_again()?;
        Ok(redis)
    }

    /// TCP port on 127.0.0.1; stays the same over restarts.
    pub const fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Ends it; nothing that it held is kept.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill()?;
        child.wait().map(drop).context("redis-server cannot be waited for")
    }

    /// Starts it again on the same port, empty.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&mut self) -> Result<()> {
        let conf = self.directory.path().join("redis.conf");
        let child = Command::new(PROGRAM).arg(conf).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.context("cannot run redis-server")?);
        let begin = Instant::now();
        while let Err(error) = self.command(&["PING"]) {
            if begin.elapsed() > PATIENCE {
                return Err(error.context("redis-server does not answer"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Sets a key.
    ///
    /// # Errors
    /// When Redis refuses.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        self.command(&["SET", key, value])
    }

    /// Removes a key.
    ///
    /// # Errors
    /// When Redis refuses.
    pub fn remove(&self, key: &str) -> Result<()> {
        self.command(&["DEL", key])
    }

    /// One command on a connection of its own, by the protocol's arrays of bulk strings (RESP).
    fn command(&self, words: &[&str]) -> Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port()))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(array(&["AUTH", &self.password]).as_bytes())?;
        stream.write_all(array(words).as_bytes())?;
        let mut said = Vec::new();
        // Two lines: one for the password, one for the command.
        while said.iter().filter(|byte| **byte == b'\n').count() < 2 {
            let mut part = [0_u8; 256];
            let read = stream.read(&mut part)?;
            if read == 0 {
                bail!("redis-server has closed the connection");
            }
            said.extend_from_slice(&part[..read]);
        }
        let said = String::from_utf8_lossy(&said);
        if said.lines().any(|line| line.starts_with('-')) {
            bail!("redis-server says {said:?}");
        }
        Ok(())
    }
}

fn array(words: &[&str]) -> String {
    let parts = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), parts.collect::<String>())
}

impl Drop for Redis {
    fn drop(&mut self) {
        let stopped = self.stop();
        if let Err(error) = stopped.and_then(|()| Ok(self.guard.release()?)) {
            eprintln!("a throw-away Redis may be left over in {}: {error:#}", self.directory.path().display());
        }
    }
}
