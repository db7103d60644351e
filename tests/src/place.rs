//! Where an instance is: by the platform's row, and by the configuration that its Odoo reads.

use crate::{Login, Stack};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::PathBuf;

/// The physical names of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its database on postgres2.
    pub database: String,
    /// The role that owns it.
    pub role: String,
    /// Its service at the runtime.
    pub service: String,
    /// Its data directory.
    pub directory: PathBuf,
    /// What marks its objects on postgres2.
    pub mark: String,
    /// The OID of its database.
    pub oid: i64,
}

impl Stack {
    /// Where an instance is.
    ///
    /// # Errors
    /// When it is nowhere.
    pub fn place(&self, instance: &str) -> Result<Place> {
        let row = self.platform_sql(&format!(
            "SELECT json_build_object('database', db_name, 'role', db_user, 'service', service_name, 'directory', data_dir,
                    'mark', mark, 'oid', db_oid)
               FROM public.instances WHERE id = '{instance}'"
        ))?;
        let row: Value = serde_json::from_str(&row).with_context(|| format!("no instance {instance}"))?;
        let text = |name: &str| row[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {row}"));
        Ok(Place {
            database: text("database")?,
            role: text("role")?,
            service: text("service")?,
            directory: text("directory")?.into(),
            mark: text("mark")?,
            oid: row["oid"].as_i64().with_context(|| format!("no OID in {row}"))?,
        })
    }
}

impl Place {
    /// The configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.directory.join("conf/odoo.conf")
    }

    /// A value of the configuration file.
    ///
    /// # Errors
    /// When it is not set.
    pub fn option(&self, name: &str) -> Result<String> {
        let file = self.configuration();
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let found = text.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == name);
        Ok(found.with_context(|| format!("no {name} in {}", file.display()))?.1.trim().to_owned())
    }

    /// The login that its Odoo uses.
    ///
    /// # Errors
    /// When the configuration does not have it.
    pub fn login(&self) -> Result<Login> {
        Ok(Login { role: self.option("db_user")?, password: self.option("db_password")?.into() })
    }
}
