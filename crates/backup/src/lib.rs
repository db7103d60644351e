//! Backups: what they look like in a store, how they are written, checked and read.
//!
//! Owns: the layout (`docs/backups.md`), the stores behind one trait, checksums, the pool of filestore contents that the backups of one
//! instance share, Odoo's own format, and the reading of what may be hostile.
//! Leaves to others: when a backup is made and what is known of it (the catalogue in `db`), the session that dump and filestore
//! are consistent by (`db::odoo`), and where a restored directory goes (`runtime::directory`).
//!
//! Three rules hold for everything here. A directory comes in as an open file descriptor, and nothing below it is opened through a
//! symbolic link: a tenant owns what lies there. Whatever is read from a store is compared with its checksum before it is handed on.
//! A store that cannot be asked is an error and never reads as one that holds nothing.
//!
//! To add a store: implement [`store::BackupStore`] in a module of its own and add it to the kinds of
//! `tests/backups/rig.rs`: every test there runs over each.

mod archive;
mod buffers;
mod digest;
mod dump_end;
mod error;
mod files;
mod foreign_sql;
pub mod legacy;
mod manifest;
pub mod odoo_zip;
mod pieces;
mod pool;
mod reader;
pub mod store;
pub mod tools;
mod tree;
mod writer;

pub use dump_end::DumpEnd;
pub use error::{BackupError, BackupResult, Class};
pub use files::{ContentName, Wanted};
pub use manifest::{Attachments, Facts, FilesPart, Manifest, Part, Piece, Row};
pub use pool::{Content, Pruning};
pub use reader::{Backup, Verified};
pub use writer::{Stored, Writer};

use domain::ids::{BackupId, InstanceId};
use std::sync::Arc;
use store::BackupStore;

/// The backups of a store.
#[derive(Clone, Debug)]
pub struct Backups {
    store: Arc<dyn BackupStore>,
}

impl Backups {
    /// Those in this store.
    pub fn new(store: Arc<dyn BackupStore>) -> Self {
        Self { store }
    }

    /// Begins a try of a backup. Tries have numbers that grow, the fencing tokens of who writes: each writes in a place of its own, and removes
    /// what earlier ones left. So one that was overtaken, and wakes up, changes nothing of the one that counts.
    pub fn writer(&self, id: BackupId, instance: InstanceId, attempt: i64) -> Writer {
        Writer::new(self.store.clone(), id, instance, attempt)
    }

    /// Opens a backup whose manifest must have this SHA-256; the catalogue has kept it, and the try that it is of.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] if there is no such manifest, or another one.
    pub async fn open(&self, id: BackupId, attempt: i64, manifest_sha256: &[u8]) -> BackupResult<Backup> {
        Backup::open(self.store.clone(), id, attempt, manifest_sha256).await
    }

    /// Removes a backup, or what an interrupted one left. Contents that it shares stay in the pool: [`Self::prune`] removes those that
    /// nothing needs any more. Repeatable.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remove(&self, id: BackupId) -> BackupResult<()> {
        for object in self.store.list(&layout::backup(id)).await? {
            self.store.delete(&object.key).await?;
        }
        self.store.settle().await
    }

    /// Removes what writers left in the store that were killed.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn tidy(&self) -> BackupResult<()> {
        self.store.tidy().await
    }

    /// Begins to remove the contents of an instance that none of the `kept` backups needs: all of them, if there are none. Nobody may be
    /// writing a backup of the instance meanwhile: whoever prunes makes sure of it before each step.
    ///
    /// # Errors
    /// Those of the store; one of the kept backups cannot be read, and then nothing is removed.
    pub async fn pruning(&self, instance: InstanceId, kept: &[Backup]) -> BackupResult<Pruning> {
        Pruning::of(self.store.clone(), instance, kept).await
    }
}

/// Where things lie in a store.
mod layout {
    use crate::store::Key;
    use domain::ids::{BackupId, InstanceId};

    pub(crate) const DUMP: &str = "database.dump.zst";
    pub(crate) const DATA: &str = "data.tar.zst";
    pub(crate) const FILES: &str = "files.zst";
    pub(crate) const WAITING: &str = "waiting";

    pub(crate) fn backup(id: BackupId) -> Key {
        Key::known(format!("active/{id}"))
    }

    pub(crate) fn attempt(id: BackupId, attempt: i64) -> Key {
        backup(id).child(&attempt.to_string())
    }

    /// Of which try an object below [`backup`] is.
    pub(crate) fn attempt_of(id: BackupId, object: &Key) -> Option<i64> {
        object.as_str().strip_prefix(backup(id).as_str())?.split('/').nth(1)?.parse().ok()
    }

    pub(crate) fn manifest(id: BackupId, number: i64) -> Key {
        attempt(id, number).child("manifest.json")
    }

    pub(crate) fn part(id: BackupId, number: i64, name: &str) -> Key {
        attempt(id, number).child(name)
    }

    pub(crate) fn pool(instance: InstanceId) -> Key {
        Key::known(format!("pool/{instance}"))
    }
}
