//! `pg_dump`, `pg_restore` and `psql` of a server's own major version, as children.
//!
//! An older tool refuses a newer server; a newer `pg_restore` sends settings that an older server does not know. So the versions must be the
//! same (PostgreSQL docs, `pg_dump`, notes). A child's environment is built from nothing, its password is in that environment and
//! nowhere else, and it ends with the call that it belongs to.

mod child;

use crate::error::{BackupError, BackupResult, blocking};
use crate::foreign_sql::Filter;
use aws_lc_rs::rand;
use child::{Running, bare, written};
use secrecy::{ExposeSecret, SecretString};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio_util::task::AbortOnDropHandle;

/// Where Debian has the programs of each major version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// The authorities that the machine trusts, in Debian's place. libpq's own default is a file in a home that a child does not have.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// What there must be of a version.
const PROGRAMS: [&str; 3] = ["pg_dump", "pg_restore", "psql"];
/// For loads: see [`ClientTools::restore`].
const HASTY: &str = "-c synchronous_commit=off";
/// psql keeps what a query answers, and a statement, as a whole. Whoever wrote the dump chooses how much that is.
const PSQL_MEMORY: u64 = 1 << 30;
const BUFFER: usize = 256 * 1024;
/// How many load a dump at once. The server has other tenants.
const SESSIONS: &str = "2";

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
    /// Certificates of the authorities that `verify-ca` and `verify-full` believe; `None`: those of the machine.
    pub ssl_root_cert: Option<PathBuf>,
}

impl ClientTools {
    /// Looks for the programs of this major version in `directories`, each a `bin`, and then where Debian has them. All of them must
    /// be in one place.
    ///
    /// # Errors
    /// [`BackupError::Refused`] if there are none of this version.
    pub async fn find(major: u32, directories: &[PathBuf]) -> BackupResult<Self> {
        let debian = Path::new(DEBIAN).join(major.to_string()).join("bin");
        for directory in directories.iter().chain([&debian]) {
            if let Some(version) = version_of(directory, major).await {
                return Ok(Self { directory: directory.clone(), version });
            }
        }
        Err(BackupError::Refused(format!("there is no {} of PostgreSQL {major} on this machine", PROGRAMS.join(", "))))
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
        let content = child.output()?;
        Ok(Dump { child, content })
    }

    /// Begins a dump as plain SQL, of what `snapshot` sees or of now. The reader's end is the end of a dump that went well; its errors
    /// are ours otherwise.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn dump_plain(&self, target: &Target, snapshot: Option<&str>) -> BackupResult<impl AsyncRead + Send + Unpin + use<>> {
        let mut command = self.command("pg_dump", target, "");
        command.args(["-Fp", "--no-owner", "--no-acl", "--no-password"]);
        command.args(snapshot.map(|snapshot| format!("--snapshot={snapshot}")));
        written(Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()), "pg_dump")?, None)
    }

    /// A dump in custom format as plain SQL; no server is needed. The reader is one as that of [`Self::dump_plain`].
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn to_plain<C>(&self, mut content: C) -> BackupResult<impl AsyncRead + Send + Unpin + use<C>>
    where
        C: AsyncRead + Send + Unpin + 'static,
    {
        let mut command = bare(&self.directory.join("pg_restore"));
        command.args(["--no-owner", "--no-acl", "--exit-on-error", "-f", "-"]);
        let mut child = Running::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()), "pg_restore")?;
        let mut into = child.input()?;
        let feed = tokio::spawn(async move { feed(&mut content, &mut into).await });
        written(child, Some(AbortOnDropHandle::new(feed)))
    }

    /// Loads a dump in custom format into an empty database, as the role of `target`, which owns everything afterwards. It is written into a
    /// file in `spool` first, which has no name and goes with this call: nothing is loaded of a dump that is not whole, and several
    /// sessions load it, which `pg_restore` does from a file only. A load that fails leaves a part of it in the database.
    /// The commits are not waited for: whoever records the load as done commits something in that database first, with `synchronous_commit`
    /// on, which brings the log before it to disk (PostgreSQL docs, 30.4 "Asynchronous Commit").
    ///
    /// # Errors
    /// [`BackupError::Refused`] with the program's words; those of `content`; the server went away; `spool` cannot be written.
    pub async fn restore(&self, target: &Target, content: impl AsyncRead + Unpin + Send, spool: &Path) -> BackupResult<()> {
        let dump = spooled(content, spool.to_owned()).await?;
        let mut command = self.command("pg_restore", target, HASTY);
        command.args(["--exit-on-error", "--no-owner", "--no-acl", "--no-password", "-j", SESSIONS, "-d", &target.database]);
        // Each of its sessions opens it anew.
        command.arg(format!("/proc/{}/fd/{}", std::process::id(), dump.as_raw_fd()));
        Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()), "pg_restore")?.end().await
    }

    /// Loads a plain dump that anybody may have written into an empty database; otherwise as [`Self::restore`]. Between it and psql there
    /// are two walls: nothing that psql itself would carry out gets through to it, and `\restrict` (of psql 13.22, 14.19, 15.14,
    /// 16.10, 17.6 and newer; older ones refuse the load) with a key that the dump cannot know forbids it such commands.
    /// Owners, permissions and comments of extensions in the dump are left out. How long it may take is the caller's to bound: a dump may
    /// make the server wait for ever.
    ///
    /// # Errors
    /// [`BackupError::Refused`] for what is no plain dump, and with the server's words; those of `content`; the server went away.
    pub async fn load_plain(&self, target: &Target, mut content: impl AsyncRead + Unpin + Send) -> BackupResult<()> {
        let mut key = [0; 16];
        rand::fill(&mut key).map_err(|_| BackupError::local("make a key", std::io::Error::other("no randomness")))?;
        let mut command = self.command("psql", target, &format!("{HASTY} -c client_min_messages=warning"));
        command.env("PGCLIENTENCODING", "UTF8");
        command.args(["-X", "-q", "--no-password", "-v", "ON_ERROR_STOP=1", "--single-transaction", "-f", "-"]);
        let mut child = Running::start(command.stdin(Stdio::piped()).stdout(Stdio::null()), "psql")?;
        child.bound_memory(PSQL_MEMORY)?;
        let mut into = child.input()?;
        let head = format!("\\restrict {}\n", hex::encode(key));
        if let Err(error) = feed_filtered(&mut content, head.into_bytes(), &mut into).await {
            drop(child);
            return Err(error);
        }
        drop(into);
        child.ended().await?.verdict_of_script()
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
            .env("PGSSLROOTCERT", target.ssl_root_cert.as_deref().unwrap_or(Path::new(AUTHORITIES)))
            .env("PGCONNECT_TIMEOUT", "10")
            .env("PGAPPNAME", "ois backup")
            .env("PGOPTIONS", options);
        command
    }
}

/// What `pg_dump` says of itself, if all programs are here and of this version.
async fn version_of(directory: &Path, major: u32) -> Option<String> {
    let mut versions = Vec::new();
    for program in PROGRAMS {
        let answer = bare(&directory.join(program)).arg("--version").output().await.ok()?;
        let version = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        if !answer.status.success() || major_of(program, &version) != Some(major) {
            return None;
        }
        versions.push(version);
    }
    versions.into_iter().next()
}

/// `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`
fn major_of(program: &str, version: &str) -> Option<u32> {
    let number = version.strip_prefix(program)?.strip_prefix(" (PostgreSQL) ")?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A file without a name that holds everything.
async fn spooled(mut content: impl AsyncRead + Unpin + Send, spool: PathBuf) -> BackupResult<std::fs::File> {
    let failed = |e| BackupError::local("write a dump that is to be loaded", e);
    let mut file = File::from_std(blocking(move || tempfile::tempfile_in(spool).map_err(failed)).await?);
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = content.read(&mut buffer).await.map_err(|e| BackupError::out_of(e, "read the dump"))?;
        if read == 0 {
            file.flush().await.map_err(failed)?;
            return Ok(file.into_std().await);
        }
        file.write_all(&buffer[..read]).await.map_err(failed)?;
    }
}

/// Passes everything on; a reader that has gone is no error here.
async fn feed(content: &mut (impl AsyncRead + Unpin), into: &mut ChildStdin) -> BackupResult<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = content.read(&mut buffer).await.map_err(|e| BackupError::out_of(e, "read the dump"))?;
        if read == 0 || !give(into, &buffer[..read]).await {
            return Ok(());
        }
    }
}

/// The same through the filter, behind a head of our own. Only what ends where a dump may end has ended.
async fn feed_filtered(content: &mut (impl AsyncRead + Unpin), head: Vec<u8>, into: &mut ChildStdin) -> BackupResult<()> {
    let (mut filter, mut buffer, mut out) = (Filter::default(), vec![0; BUFFER], head);
    loop {
        let read = content.read(&mut buffer).await.map_err(|e| BackupError::out_of(e, "read the dump"))?;
        if read == 0 {
            return filter.end();
        }
        filter.push(&buffer[..read], &mut out)?;
        if !give(into, &out).await {
            return Ok(());
        }
        out.clear();
    }
}

async fn give(into: &mut ChildStdin, bytes: &[u8]) -> bool {
    let given = into.write_all(bytes).await;
    if let Err(error) = &given {
        tracing::debug!(%error, "the reader of a dump has gone");
    }
    given.is_ok()
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

    /// Waits for its end after its content was `stored`, or was not; what went wrong first is told. What does not look like a dump is
    /// often one that the program could not make, and it knows why; but that nobody read on is no cause.
    ///
    /// # Errors
    /// Those of `stored`; else as [`Self::end`].
    pub async fn end_of<T>(self, stored: BackupResult<T>) -> BackupResult<T> {
        if !matches!(stored, Ok(_) | Err(BackupError::Refused(_))) {
            return stored;
        }
        drop(self.content);
        let ended = self.child.ended().await?;
        if stored.is_err() && ended.was_left() {
            return stored;
        }
        ended.verdict().and(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn versions_are_read_as_the_programs_print_them() {
        for (text, major) in [
            ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Some(15)),
            ("pg_dump (PostgreSQL) 18beta1", Some(18)),
            ("psql (PostgreSQL) 15.18", None),
            ("pg_dump 15", None),
            ("", None),
        ] {
            assert_eq!(major_of("pg_dump", text), major, "{text}");
        }
    }

    #[tokio::test]
    async fn another_major_version_is_not_taken() {
        let found = ClientTools::find(7, &[PathBuf::from("/usr/lib/postgresql/15/bin")]).await;
        assert!(matches!(found, Err(BackupError::Refused(_))), "{found:?}");
    }

    #[tokio::test]
    async fn all_programs_must_be_there_and_of_one_version() {
        let place = tempfile::tempdir().unwrap();
        let program = |name: &str, version: &str| {
            let path = place.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        };
        let find = async || ClientTools::find(7, &[place.path().to_owned()]).await;
        program("pg_dump", "7.4");
        program("pg_restore", "7.4");
        assert!(find().await.is_err());
        program("psql", "8.0");
        assert!(find().await.is_err());
        std::fs::remove_file(place.path().join("psql")).unwrap();
        program("psql7", "7.4");
        symlink(place.path().join("psql7"), place.path().join("psql")).unwrap();
        assert!(find().await.is_err(), "it says that it is another program");
        std::fs::remove_file(place.path().join("psql")).unwrap();
        program("psql", "7.4");
        let tools = find().await.unwrap();
        assert_eq!(tools.version(), "pg_dump (PostgreSQL) 7.4");

        let tells = "#!/bin/sh\nread -r line\nprintf 'psql: error: %s\\n' \"$line\" >&2\n\
            echo \"psql: error: [$*] $PGSSLMODE $PGSSLROOTCERT $PGUSER ${HOME-homeless}\" >&2\nexit 3\n";
        std::fs::write(place.path().join("psql"), tells).unwrap();
        let mut target = Target {
            host: "h".to_owned(),
            port: 1,
            database: "d".to_owned(),
            user: "u".to_owned(),
            password: "p".to_owned().into(),
            ssl_mode: "verify-full",
            ssl_root_cert: None,
        };
        let said = tools.load_plain(&target, b"".as_slice()).await.unwrap_err().to_string();
        assert!(said.ends_with(&format!("--single-transaction -f -] verify-full {AUTHORITIES} u homeless")), "{said}");
        target.ssl_root_cert = Some("/ca.pem".into());
        let said = tools.load_plain(&target, b"".as_slice()).await.unwrap_err().to_string();
        assert!(said.contains(" verify-full /ca.pem "), "{said}");

        // Its first line forbids everything that is not SQL, with a key that nobody knows beforehand.
        let key = async || {
            let said = tools.load_plain(&target, b"SELECT 1;".as_slice()).await.unwrap_err().to_string();
            let (_, key) = said.split_once("\\restrict ").unwrap();
            key.split(';').next().unwrap().to_owned()
        };
        let (one, other) = (key().await, key().await);
        assert!(one != other && one.len() == 32 && one.bytes().all(|b| b.is_ascii_hexdigit()), "{one} {other}");
    }
}
