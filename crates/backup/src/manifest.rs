//! What a backup says of itself. Written last: without its manifest there is no backup.

use crate::error::{BackupError, BackupResult};
use chrono::{DateTime, Utc};
use domain::ids::{BackupId, CustomerId, InstanceId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The form of manifests that this release writes and reads.
pub(crate) const FORMAT: u32 = 1;

/// The manifest of one backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Form of the manifest and of the layout; 1.
    pub format: u32,
    /// Which backup.
    pub backup: BackupId,
    /// Which try of it: where its parts are.
    pub attempt: i64,
    /// Of which instance: the owner of the pool that it shares.
    pub instance: InstanceId,
    /// What was backed up.
    pub facts: Facts,
    /// `pg_dump` in custom format, uncompressed, as one zstd stream (RFC 8878).
    pub dump: Part,
    /// The data directory without filestore and sessions: tar in one zstd stream.
    pub data: Part,
    /// Bytes of the files in it.
    pub data_bytes: u64,
    /// The filestore.
    pub files: FilesPart,
}

/// What is known of what was backed up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Whose.
    pub customer: CustomerId,
    /// When the snapshot was taken that dump and filestore are consistent by.
    pub taken_at: DateTime<Utc>,
    /// Odoo's version as the row has it.
    pub odoo_version: String,
    /// Major version of the PostgreSQL server.
    pub postgres_version: u32,
    /// First line of `pg_dump --version`.
    pub dump_tool: String,
    /// Physical name of the database; its filestore was named so.
    pub database: String,
    /// Its size on the server, in bytes.
    pub database_bytes: u64,
    /// Where Odoo keeps attachments.
    pub attachments: Attachments,
    /// Attachments that name a file which Odoo itself could not find: there is none of them in the backup.
    #[serde(default)]
    pub unusable_attachments: u64,
    /// Installed modules with their versions.
    pub modules: BTreeMap<String, String>,
    /// Rows of the most important tables, in the snapshot.
    pub rows: Vec<Row>,
}

/// Where Odoo keeps attachments (`ir_attachment.location`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attachments {
    /// In the filestore.
    Files,
    /// In the database: an empty filestore is correct.
    Database,
}

/// How many rows a table has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The table.
    pub table: String,
    /// Its rows.
    pub count: u64,
}

/// A stored stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Stored bytes, all pieces together.
    pub bytes: u64,
    /// SHA-256 of them, in hexadecimal digits.
    pub sha256: String,
    /// Its objects, in order.
    pub pieces: Vec<Piece>,
}

/// A stored object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// The filestore: a list, and the contents in the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesPart {
    /// The list, as a zstd stream.
    pub list: Part,
    /// How many files.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Manifest {
    pub(crate) fn to_bytes(&self) -> BackupResult<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| BackupError::Refused(format!("manifest: {e}")))
    }

    /// Reads the manifest of this backup.
    pub(crate) fn of(id: BackupId, attempt: i64, text: &[u8]) -> BackupResult<Self> {
        let manifest: Self = serde_json::from_slice(text).map_err(|e| BackupError::damaged(format!("manifest of {id}"), e))?;
        if manifest.format != FORMAT {
            return Err(BackupError::Refused(format!("the manifest of {id} has format {}", manifest.format)));
        }
        if (manifest.backup, manifest.attempt) != (id, attempt) {
            return Err(BackupError::damaged(format!("manifest of {id}"), format!("it is that of {}", manifest.backup)));
        }
        Ok(manifest)
    }

    /// Bytes in the store that belong to this backup alone.
    pub(crate) fn own_bytes(&self) -> u64 {
        self.dump.bytes + self.data.bytes + self.files.list.bytes
    }
}
