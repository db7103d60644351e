//! Odoo's own format: what its database manager and `odoo db dump` write, and `odoo db load` reads (Odoo 19, `odoo/service/db.py`).
//!
//! ```text
//! dump.sql                 plain pg_dump
//! manifest.json            OdooManifest
//! filestore/<xx>/<sha1>    contents of attachments
//! ```
//!
//! So a customer can leave, and come. What lies beside the filestore in a data directory has no place in it.

mod read;
mod write;

pub use read::{Limits, OdooZip};
pub use write::{Written, write};

use crate::error::{BackupError, BackupResult};
use crate::manifest::Manifest;
use domain::version::OdooVersion;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const DUMP: &str = "dump.sql";
const MANIFEST: &str = "manifest.json";
const FILESTORE: &str = "filestore";

/// What an archive says of itself (`dump_db_manifest`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OdooManifest {
    /// Form of the archive; "1".
    pub odoo_dump: String,
    /// The database's name where it was made.
    #[serde(default)]
    pub db_name: String,
    /// Odoo's version, e.g. `19.0` or `saas~18.2+e`.
    #[serde(default)]
    pub version: String,
    /// The same in parts (`odoo.release.version_info`).
    #[serde(default)]
    pub version_info: Vec<Value>,
    /// Its series, e.g. `19.0`.
    pub major_version: String,
    /// That of the PostgreSQL server; Odoo itself writes `15.0` for every 15.
    #[serde(default)]
    pub pg_version: String,
    /// Installed modules with their versions.
    pub modules: BTreeMap<String, Option<String>>,
}

impl OdooManifest {
    /// For what was backed up, under a name that the customer knows.
    ///
    /// # Errors
    /// [`BackupError::Refused`] if the backup's version is none of Odoo's.
    pub fn of(manifest: &Manifest, db_name: &str) -> BackupResult<Self> {
        let facts = &manifest.facts;
        let version = OdooVersion::parse(&facts.odoo_version)
            .ok_or_else(|| BackupError::Refused(format!("{:?} is no version of Odoo", facts.odoo_version)))?;
        let major_version = format!("{version}.0");
        let parts = [json!(version.major()), json!(0), json!(0), json!("final"), json!(0), json!("")];
        Ok(Self {
            odoo_dump: "1".to_owned(),
            db_name: db_name.to_owned(),
            version: major_version.clone(),
            version_info: parts.to_vec(),
            major_version,
            pg_version: format!("{}.0", facts.postgres_version),
            modules: facts.modules.iter().map(|(name, version)| (name.clone(), Some(version.clone()))).collect(),
        })
    }

    fn to_bytes(&self) -> BackupResult<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(|e| BackupError::Refused(format!("{MANIFEST}: {e}")))
    }

    fn of_bytes(text: &[u8]) -> BackupResult<Self> {
        let manifest: Self = serde_json::from_slice(text).map_err(|e| BackupError::Refused(format!("{MANIFEST}: {e}")))?;
        if manifest.odoo_dump != "1" {
            return Err(BackupError::Refused(format!("{MANIFEST}: odoo_dump is {:?}", manifest.odoo_dump)));
        }
        Ok(manifest)
    }
}
