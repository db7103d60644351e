//! What a server, a directory and the process list hold, as sets that can be compared: "exactly one more of each",
//! "nothing left".

use crate::cluster::Cluster;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// Everything in a snapshot, one line each, for example `database odoo_1f2e owner=odoo_1f2e ...`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot(BTreeSet<String>);

/// What changed between two snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// In the later one only.
    pub added: Vec<String>,
    /// In the earlier one only.
    pub removed: Vec<String>,
}

const CATALOG: &str = "
    SELECT 'database ' || datname || ' owner=' || pg_get_userbyid(datdba) || ' template=' || datistemplate || ' open='
           || datallowconn || ' limit=' || datconnlimit || ' acl=' || coalesce(array_to_string(datacl, ','), 'default')
      FROM pg_database
    UNION ALL
    SELECT 'role ' || rolname || ' login=' || rolcanlogin || ' super=' || rolsuper || ' createdb=' || rolcreatedb || ' createrole='
           || rolcreaterole || ' inherit=' || rolinherit || ' limit=' || rolconnlimit || ' password=' || (rolpassword IS NOT NULL)
      FROM pg_authid WHERE rolname !~ '^pg_'
    UNION ALL
    SELECT 'membership ' || pg_get_userbyid(member) || ' in ' || pg_get_userbyid(roleid) FROM pg_auth_members
    UNION ALL
    SELECT 'setting of ' || pg_get_userbyid(setrole) || ' in '
           || coalesce((SELECT datname FROM pg_database d WHERE d.oid = setdatabase), 'all') || ': ' || unnest(setconfig)
      FROM pg_db_role_setting
    UNION ALL
    SELECT 'comment on ' || CASE classoid WHEN 'pg_database'::regclass
                            THEN 'database ' || coalesce((SELECT datname FROM pg_database d WHERE d.oid = objoid), '(gone)')
                            ELSE 'role ' || coalesce((SELECT rolname FROM pg_roles r WHERE r.oid = objoid), '(gone)') END
           || ': ' || description
      FROM pg_shdescription";

impl Snapshot {
    /// Databases, roles, memberships, role settings and comments of a server.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn of_server(cluster: &Cluster) -> Result<Self> {
        let rows = cluster.psql("postgres", CATALOG)?;
        Ok(Self(rows.lines().map(str::to_owned).collect()))
    }

    /// Adds the entries of a directory (not of those below it). A missing directory has none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn with_directory(mut self, directory: &Path) -> Result<Self> {
        match std::fs::read_dir(directory) {
            Ok(entries) => {
                for entry in entries {
                    self.0.insert(format!("file {}", entry?.path().display()));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", directory.display())),
        }
        Ok(self)
    }

    /// Adds the processes whose command line contains `text`.
    ///
    /// # Errors
    /// When processes cannot be listed.
    pub fn with_processes(mut self, text: &str) -> Result<Self> {
        for entry in std::fs::read_dir("/proc").context("cannot list processes")? {
            let pid = entry?.file_name().to_string_lossy().into_owned();
            if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            // A process may end while we look at it; a dead one that nobody has reaped has an empty command line.
            let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { continue };
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(text) {
                self.0.insert(format!("process {pid} {}", line.trim()));
            }
        }
        Ok(self)
    }

    /// The lines that begin with `kind`: `database`, `role`, `membership`, `setting`, `comment`, `file`, `process`.
    pub fn lines(&self, kind: &str) -> impl Iterator<Item = &str> {
        let prefix = format!("{kind} ");
        self.0.iter().filter(move |line| line.starts_with(&prefix)).map(String::as_str)
    }

    /// What changed from `self` to `later`.
    pub fn difference(&self, later: &Self) -> Difference {
        Difference {
            added: later.0.difference(&self.0).cloned().collect(),
            removed: self.0.difference(&later.0).cloned().collect(),
        }
    }
}

impl Difference {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.added {
            writeln!(f, "+ {line}")?;
        }
        for line in &self.removed {
            writeln!(f, "- {line}")?;
        }
        Ok(())
    }
}
