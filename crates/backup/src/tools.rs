//! `pg_dump` and `pg_restore` of a server's own major version, as children.
//!
//! An older tool refuses a newer server; a newer `pg_restore` sends settings that an older server does not know. So the versions must be the
//! same (PostgreSQL docs, `pg_dump`, notes). A child's environment is built from nothing, its password is in that environment and
//! nowhere else, and it ends with the call that it belongs to.

use crate::error::{BackupError, BackupResult};
use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::{ExposeSecret, SecretString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

/// Where Debian has the programs of each major version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// How much of a child's words is kept.
const WORDS: u64 = 64 * 1024;
/// How many of its last lines are told.
const LINES: usize = 5;

/// The programs of one major version.
#[derive(Clone, Debug)]
pub struct ClientTools {
    directory: PathBuf,
    version: String,
}

/// A database, and who works on it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database.
    pub database: String,
    /// Role.
    pub user: String,
    /// Its password.
    pub password: SecretString,
    /// As libpq's `sslmode`.
    pub ssl_mode: &'static str,
}

impl ClientTools {
    /// Looks for the programs of this major version in `directories`, each a `bin`, and then where Debian has them.
    ///
    /// # Errors
    /// [`BackupError::Refused`] if there are none of this version.
    pub async fn find(major: u32, directories: &[PathBuf]) -> BackupResult<Self> {
        let debian = Path::new(DEBIAN).join(major.to_string()).join("bin");
        for directory in directories.iter().chain([&debian]) {
            let Ok(answer) = bare(&directory.join("pg_dump")).arg("--version").output().await else { continue };
            let version = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
            if answer.status.success() && major_of(&version) == Some(major) {
                return Ok(Self { directory: directory.clone(), version });
            }
        }
        Err(BackupError::Refused(format!("there is no pg_dump of PostgreSQL {major} on this machine")))
    }

    /// First line of `pg_dump --version`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Begins a dump in custom format, uncompressed, of what `snapshot` sees.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn dump(&self, target: &Target, snapshot: &str) -> BackupResult<Dump> {
        let mut command = self.command("pg_dump", target, "");
        command.args(["-Fc", "-Z0", "--no-owner", "--no-acl", "--no-password"]);
        command.arg(format!("--snapshot={snapshot}"));
        let mut child = Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()), "pg_dump")?;
        let Some(content) = child.child.stdout.take() else { return Err(child.lacks("output")) };
        Ok(Dump { child, content })
    }

    /// Loads a dump in custom format into an empty database, all of it or nothing, as the role of `target`: that role owns everything
    /// afterwards. The commits are not waited for: whoever records the load as done commits something in that database first, with
    /// `synchronous_commit` on, which brings the log before it to disk (PostgreSQL docs, 30.4 "Asynchronous Commit").
    ///
    /// # Errors
    /// [`BackupError::Refused`] with the program's words; those of `content`; the server went away.
    pub async fn restore(&self, target: &Target, mut content: impl AsyncRead + Unpin + Send) -> BackupResult<()> {
        let mut command = self.command("pg_restore", target, "-c synchronous_commit=off");
        command.args([
            "--single-transaction",
            "--exit-on-error",
            "--no-owner",
            "--no-acl",
            "--no-password",
            "-d",
            &target.database,
        ]);
        let mut child = Running::start(command.stdin(Stdio::piped()).stdout(Stdio::null()), "pg_restore")?;
        let Some(mut into) = child.child.stdin.take() else { return Err(child.lacks("input")) };
        // A dump that breaks off must not look like one that has ended: the program is gone before its input is.
        if let Err(error) = feed(&mut content, &mut into).await {
            drop(child);
            return Err(error);
        }
        drop(into);
        child.end().await
    }

    fn command(&self, program: &str, target: &Target, options: &str) -> Command {
        let mut command = bare(&self.directory.join(program));
        command
            .env("PGHOST", &target.host)
            .env("PGPORT", target.port.to_string())
            .env("PGDATABASE", &target.database)
            .env("PGUSER", &target.user)
            .env("PGPASSWORD", target.password.expose_secret())
            .env("PGSSLMODE", target.ssl_mode)
            .env("PGCONNECT_TIMEOUT", "10")
            .env("PGAPPNAME", "ois backup")
            .env("PGOPTIONS", options);
        command
    }
}

/// A program without anything of our own environment.
fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").process_group(0).kill_on_drop(true);
    command
}

/// `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`
fn major_of(version: &str) -> Option<u32> {
    version.strip_prefix("pg_dump (PostgreSQL) ")?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Passes everything on; a reader that has gone is no error here.
async fn feed(content: &mut (impl AsyncRead + Unpin), into: &mut ChildStdin) -> BackupResult<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = content.read(&mut buffer).await.map_err(|e| BackupError::out_of(e, "read the dump"))?;
        if read == 0 {
            return Ok(());
        }
        if let Err(e) = into.write_all(&buffer[..read]).await {
            tracing::debug!(error = %e, "the reader of a dump has gone");
            return Ok(());
        }
    }
}

/// A dump under way. Dropping it ends it.
#[derive(Debug)]
pub struct Dump {
    child: Running,
    content: ChildStdout,
}

impl Dump {
    /// What it yields. It is a dump only when [`Self::end`] says so.
    pub fn content(&mut self) -> &mut (impl AsyncRead + Unpin + Send + use<>) {
        &mut self.content
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`BackupError::Refused`] with its words.
    pub async fn end(self) -> BackupResult<()> {
        drop(self.content);
        self.child.end().await
    }
}

/// A child in a process group of its own, which ends with this.
#[derive(Debug)]
struct Running {
    program: &'static str,
    child: Child,
    words: Option<JoinHandle<String>>,
}

impl Running {
    fn start(command: &mut Command, program: &'static str) -> BackupResult<Self> {
        let mut child = command.stderr(Stdio::piped()).spawn().map_err(|e| BackupError::local(format!("start {program}"), e))?;
        let words = child.stderr.take().map(|words| tokio::spawn(listen(words)));
        Ok(Self { program, child, words })
    }

    fn lacks(&self, what: &str) -> BackupError {
        BackupError::Refused(format!("{} has no {what}", self.program))
    }

    async fn end(mut self) -> BackupResult<()> {
        let status = self.child.wait().await.map_err(|e| BackupError::local(format!("wait for {}", self.program), e))?;
        let words = match self.words.take() {
            Some(words) => words.await.unwrap_or_default(),
            None => String::new(),
        };
        judge(self.program, status, &words)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What it has started goes with it; the child itself is killed and reaped by tokio.
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()))
            && let Err(error) = kill_process_group(pid, Signal::KILL)
        {
            tracing::debug!(program = self.program, %error, "it has ended already");
        }
    }
}

async fn listen(mut words: ChildStderr) -> String {
    let mut text = Vec::new();
    if let Err(error) = (&mut words).take(WORDS).read_to_end(&mut text).await {
        tracing::debug!(%error, "a child's words are lost");
    }
    // Whatever else it says must not make it wait.
    if let Err(error) = tokio::io::copy(&mut words, &mut tokio::io::sink()).await {
        tracing::debug!(%error, "a child's words are lost");
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// What a program's end means, by its own words: those of its lines that begin with its name, up to the command that it quotes, which
/// a tenant may have written.
fn judge(program: &str, status: ExitStatus, words: &str) -> BackupResult<()> {
    if status.success() {
        return Ok(());
    }
    let own = format!("{program}: error: ");
    let said: Vec<&str> = words.lines().filter_map(|line| line.strip_prefix(&own)).collect();
    let last = said[said.len().saturating_sub(LINES)..].join("; ");
    let text = format!("{program}: {status}: {last}");
    let says = |words: &[&str]| words.iter().any(|words| last.contains(words));
    if says(FULL) {
        return Err(BackupError::Full(text));
    }
    if !says(REFUSED) && (status.code().is_none() || says(AWAY)) {
        return Err(BackupError::ServerAway(text));
    }
    Err(BackupError::Refused(text))
}

/// The server answers, and will not do it however often it is asked.
const REFUSED: &[&str] = &[
    "password authentication failed",
    "no pg_hba.conf entry",
    "\" does not exist",
    "permission denied",
    "is not permitted to log in",
];
const FULL: &[&str] = &["No space left on device", "Disk quota exceeded"];
/// The server, or the way there, is not there now.
const AWAY: &[&str] = &[
    "connection to server",
    "could not connect",
    "could not translate host name",
    "server closed the connection",
    "no connection to the server",
    "terminating connection",
    "the database system is",
    "could not receive data from server",
    "could not send data to server",
    "SSL SYSCALL error",
    "SSL connection has been closed unexpectedly",
    "too many connections",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn versions_are_read_as_the_programs_print_them() {
        for (text, major) in [
            ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Some(15)),
            ("pg_dump (PostgreSQL) 18beta1", Some(18)),
            ("pg_dump 15", None),
            ("", None),
        ] {
            assert_eq!(major_of(text), major, "{text}");
        }
    }

    #[test]
    fn a_program_is_judged_by_its_own_words() {
        let end = |program: &str, words: &str| judge(program, ExitStatus::from_raw(256), words).unwrap_err();
        let at = "pg_dump: error: connection to server at \"127.0.0.1\", port 5432 failed: ";
        for words in [
            format!("{at}Connection refused"),
            format!("{at}FATAL:  the database system is shutting down"),
            "pg_dump: error: could not translate host name \"pg2\" to address: Name or service not known".to_owned(),
            "pg_dump: error: server closed the connection unexpectedly".to_owned(),
        ] {
            assert!(matches!(end("pg_dump", &words), BackupError::ServerAway(_)), "{words}");
        }
        for words in [
            format!("{at}FATAL:  password authentication failed for user \"t\""),
            format!("{at}FATAL:  database \"nope\" does not exist"),
            "pg_restore: error: could not execute query: ERROR:  relation \"a\" already exists".to_owned(),
            String::new(),
        ] {
            assert!(
                matches!(
                    end(if words.starts_with("pg_restore") { "pg_restore" } else { "pg_dump" }, &words),
                    BackupError::Refused(_)
                ),
                "{words}"
            );
        }
        let full =
            "pg_restore: error: could not execute query: ERROR:  could not extend file \"base/1\": No space left on device";
        assert!(matches!(end("pg_restore", full), BackupError::Full(_)));
        // What a tenant wrote is quoted below the program's own words.
        let quoted =
            "pg_restore: error: could not execute query: ERROR:  syntax error\nCommand was: SELECT 'terminating connection';";
        assert!(matches!(end("pg_restore", quoted), BackupError::Refused(_)));
    }

    #[tokio::test]
    async fn another_major_version_is_not_taken() {
        let found = ClientTools::find(7, &[PathBuf::from("/usr/lib/postgresql/15/bin")]).await;
        assert!(matches!(found, Err(BackupError::Refused(_))), "{found:?}");
    }
}
