//! Backups of the earlier service: three files side by side, `<name>_metadata.json`, `<name>_database.sql` and `<name>_data.tar.gz`.

use serde::{Deserialize, Serialize};

/// One of them, as it was when it was entered into the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Legacy {
    /// What the names of its files have in common: its id in the earlier service.
    pub name: String,
    /// Id of the directory that they lie in.
    pub root: String,
    /// What they hold; none if they are no whole backup.
    pub content: Option<Content>,
}

/// What a whole one holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The dump, plain SQL.
    pub dump: Sum,
    /// The archive of the data directory.
    pub archive: Sum,
    /// Whose filestore in the archive counts: the name of a database.
    pub filestore: Option<String>,
    /// Files of that filestore.
    pub files: u64,
    /// Their bytes.
    pub files_bytes: u64,
    /// Bytes of the files beside it.
    pub data_bytes: u64,
    /// Major version of the server that was dumped, if the dump says it.
    pub postgres_version: Option<u32>,
}

/// By what a file is known again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
}
