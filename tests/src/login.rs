//! Logging in to a server as one of its roles, with that role's password, through PostgreSQL's own client.

use anyhow::{Result, bail};
use secrecy::{ExposeSecret, SecretString};
use std::process::{Command, Stdio};
use testkit::Cluster;

/// A role and its password.
#[derive(Clone, Debug)]
pub struct Login {
    /// The role.
    pub role: String,
    /// Its password.
    pub password: SecretString,
}

impl Login {
    /// A client at `database` of `server` over TCP, as an Odoo would connect; what it runs comes from its standard input.
    pub fn client(&self, server: &Cluster, database: &str) -> Command {
        let mut psql = server.server().installation().command("psql");
        psql.args(["-XqAtw", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", &self.role, "-d", database, "-f", "-"])
            .args(["-p", &server.port().to_string()])
            .env("PGPASSWORD", self.password.expose_secret())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        psql
    }

    /// Runs SQL; answers the rows.
    ///
    /// # Errors
    /// With the server's message, when it lets the role not in or refuses the statement.
    pub fn run(&self, server: &Cluster, database: &str, sql: &str) -> Result<String> {
        use std::io::Write;
        let mut child = self.client(server, database).spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // A client that was not let in reads nothing; its own message says why.
            input.write_all(sql.as_bytes()).ok();
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// With which words the server refuses this.
    ///
    /// # Errors
    /// When it does not refuse it.
    pub fn refusal(&self, server: &Cluster, database: &str, sql: &str) -> Result<String> {
        match self.run(server, database, sql) {
            Err(refused) => Ok(refused.to_string()),
            Ok(rows) => bail!("{} may do this in {database}: {sql}\n{rows}", self.role),
        }
    }
}
