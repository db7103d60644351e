//! The two servers of the stack: made once, started each time, stopped by id.

use super::Stack;
use super::secrets::Secret;
use anyhow::{Context, Result};
use secrecy::SecretString;
use std::path::PathBuf;
use testkit::installation::Installation;
use testkit::pair;
use testkit::server::{SUPERUSER, Server, Stop};

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Postgres1,
    Postgres2,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Postgres1, Self::Postgres2];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Postgres1 => "postgres1",
            Self::Postgres2 => "postgres2",
        }
    }

    pub(super) const fn superuser(self) -> Secret {
        match self {
            Self::Postgres1 => Secret::Postgres1Superuser,
            Self::Postgres2 => Secret::Postgres2Superuser,
        }
    }

    fn bootstrap(self, server: &Server) -> Result<()> {
        match self {
            Self::Postgres1 => pair::bootstrap_platform(server),
            Self::Postgres2 => pair::bootstrap_odoo(server),
        }
    }

    fn logins(self, stack: &Stack) -> Result<Vec<(&'static str, SecretString)>> {
        let secret = |secret| stack.secret(secret).map(SecretString::from);
        Ok(match self {
            Self::Postgres1 => vec![
                (SUPERUSER, secret(Secret::Postgres1Superuser)?),
                (pair::OWNER, secret(Secret::PlatformOwner)?),
                (pair::SERVICE, secret(Secret::PlatformService)?),
            ],
            Self::Postgres2 => {
                vec![(SUPERUSER, secret(Secret::Postgres2Superuser)?), (pair::ODOO_ADMIN, secret(Secret::OdooAdmin)?)]
            }
        })
    }
}

impl Stack {
    pub(super) const fn port(&self, side: Side) -> u16 {
        match side {
            Side::Postgres1 => self.options.postgres1_port,
            Side::Postgres2 => self.options.postgres2_port,
        }
    }

    fn server(&self, side: Side) -> Result<Server> {
        let installation = Installation::find(self.options.postgres_bin.as_deref())?;
        Ok(Server::new(installation, &self.at(side.name()), self.port(side)))
    }

    fn bootstrapped(&self, side: Side) -> PathBuf {
        self.at(side.name()).join("bootstrapped")
    }
}

/// Starts one server; makes it first if it is not there.
pub(super) fn start(stack: &Stack, side: Side) -> Result<()> {
    let server = stack.server(side)?;
    let marker = stack.bootstrapped(side);
    if !marker.exists() {
        // Half made, or not at all.
        testkit::seed::remove(server.directory())?;
        server.init().with_context(|| format!("cannot make {}", side.name()))?;
    }
    // The handle is given up: the server runs on, and is found again by the file it writes.
    drop(server.start().with_context(|| format!("cannot start {}", side.name()))?);
    if !marker.exists() {
        side.bootstrap(&server)?;
        std::fs::write(&marker, "")?;
    }
    let logins = side.logins(stack)?;
    let logins: Vec<_> = logins.iter().map(|(role, password)| (*role, password)).collect();
    pair::set_passwords(&server, &logins)?;
    link(&server.log_path(), &stack.log(side.name())?)
}

/// Its log stands among the other logs.
fn link(log: &std::path::Path, name: &std::path::Path) -> Result<()> {
    match std::os::unix::fs::symlink(log, name) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Stops both, those that run; answers how many that were.
pub(super) fn stop(stack: &Stack) -> Result<usize> {
    let mut stopped = 0;
    for side in Side::BOTH {
        if !stack.at(side.name()).exists() {
            continue;
        }
        let server = stack.server(side)?;
        stopped += usize::from(server.pid().is_some());
        server.stop(Stop::Fast, None)?;
    }
    Ok(stopped)
}

/// Whether a server of this stack runs.
pub(super) fn is_up(stack: &Stack, side: Side) -> bool {
    stack.server(side).is_ok_and(|server| server.pid().is_some())
}
