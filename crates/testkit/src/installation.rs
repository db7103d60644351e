//! Where PostgreSQL's programs are and which account may run a server: `initdb` and `postgres` refuse root.

use anyhow::{Context, Result, bail};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names a directory with `initdb`, `postgres` and `psql`, for machines where they are not in Debian's place.
pub const BIN_VARIABLE: &str = "INSTANCE_POSTGRES_BIN";

/// An unprivileged system account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
}

impl Account {
    /// The account called `name`, read from the system's user list.
    ///
    /// # Errors
    /// When the list cannot be read. An unknown name is `None`.
    pub fn named(name: &str) -> Result<Option<Self>> {
        let users = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        Ok(users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (user, uid, gid) = (fields.next()?, fields.nth(1)?, fields.next()?);
            (user == name).then_some(Self { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
        }))
    }
}

/// PostgreSQL's programs and the account that runs servers.
#[derive(Clone, Debug)]
pub struct Installation {
    bin: PathBuf,
    account: Option<Account>,
    version: String,
}

impl Installation {
    /// Finds the programs: in `bin` if given, else in [`BIN_VARIABLE`], else Debian's newest.
    /// Root runs servers as user `postgres`; everybody else as themselves.
    ///
    /// # Errors
    /// One line that says what is missing and what to do.
    pub fn find(bin: Option<&Path>) -> Result<Self> {
        let bin = match bin.map(Path::to_owned).or_else(named_by_environment).or_else(debians_newest) {
            Some(bin) if bin.join("initdb").exists() && bin.join("postgres").exists() => bin,
            Some(bin) => bail!("no initdb and postgres in {}: point {BIN_VARIABLE} at PostgreSQL's bin directory", bin.display()),
            None => bail!("no PostgreSQL server found: apt-get install postgresql, or set {BIN_VARIABLE} to its bin directory"),
        };
        let account = if rustix::process::geteuid().is_root() {
            let account = Account::named("postgres")?;
            Some(account.context("PostgreSQL refuses to run as root and there is no user postgres: apt-get install postgresql")?)
        } else {
            None
        };
        let version = program_version(&bin)?;
        Ok(Self { bin, account, version })
    }

    /// The account that servers run as; `None` = our own.
    pub const fn account(&self) -> Option<Account> {
        self.account
    }

    /// What `postgres --version` says, for example `postgres (PostgreSQL) 15.18`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The directory with the programs.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// A command for one of the programs: server's account, an environment made from nothing, a group of its own, so that
    /// neither a stray `PGPASSWORD` nor a Ctrl-C meant for us reaches it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir("/").process_group(0);
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }
}

#[expect(clippy::disallowed_methods, reason = "the harness is not one of the services whose settings bootstrap reads")]
fn named_by_environment() -> Option<PathBuf> {
    std::env::var_os(BIN_VARIABLE).map(PathBuf::from)
}

fn debians_newest() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let newest = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()).max()?;
    Some(PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin")))
}

fn program_version(bin: &Path) -> Result<String> {
    let output = Command::new(bin.join("postgres")).arg("--version").output().context("cannot run postgres --version")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
