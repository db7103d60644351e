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
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use std::sync::Arc;
use std::time::SystemTime;
use store::{BackupStore, Key};

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

    /// Removes what the tries up to `last` have stored of a backup: who was overtaken removes nothing of a later one. Contents that it shares stay in
    /// the pool: [`Self::pruning`] finds those that nothing needs any more. Repeatable.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remove(&self, id: BackupId, last: i64) -> BackupResult<()> {
        self.remove_objects(&self.stored(id, last).await?).await?;
        self.store.settle().await
    }

    /// The objects that the tries up to `last` have stored of a backup.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn stored(&self, id: BackupId, last: i64) -> BackupResult<Vec<Key>> {
        stored(&self.store, id, last).await
    }

    /// Removes objects. Whoever does so makes sure before that nobody else may rely on them by now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remove_objects(&self, objects: &[Key]) -> BackupResult<()> {
        remove_objects(&self.store, objects).await
    }

    /// The backups of which the store has anything.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn ids(&self) -> BackupResult<Vec<BackupId>> {
        let names = self.store.below(&layout::all()).await?.into_iter();
        Ok(names.filter_map(|name| name.parse().ok().filter(|id: &BackupId| id.to_string() == name)).collect())
    }

    /// When something of a backup was put last. `None` if there is nothing, or something that was not put by us.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn last_put(&self, id: BackupId) -> BackupResult<Option<SystemTime>> {
        let objects = self.store.list(&layout::backup(id)).await?;
        let is_ours = objects.iter().all(|object| layout::is_ours(id, &object.key));
        Ok(objects.iter().map(|object| object.put_at).max().filter(|_| is_ours))
    }

    /// Removes what writers left in the store that were killed.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn tidy(&self) -> BackupResult<()> {
        self.store.tidy().await
    }

    /// Begins to look for contents of an instance that no backup needs.
    pub fn pruning(&self, instance: InstanceId) -> Pruning {
        Pruning::new(self.store.clone(), instance)
    }
}

/// How many objects are removed at once.
const AT_ONCE: usize = 4;

async fn stored(store: &Arc<dyn BackupStore>, id: BackupId, last: i64) -> BackupResult<Vec<Key>> {
    let objects = store.list(&layout::backup(id)).await?.into_iter().map(|object| object.key);
    Ok(objects.filter(|key| layout::attempt_of(id, key).is_none_or(|attempt| attempt <= last)).collect())
}

async fn remove_objects(store: &Arc<dyn BackupStore>, objects: &[Key]) -> BackupResult<()> {
    let remove = |key: Key| {
        let store = store.clone();
        async move { store.delete(&key).await }
    };
    stream::iter(objects.to_vec()).map(remove).buffer_unordered(AT_ONCE).try_collect().await
}

/// Where things lie in a store.
mod layout {
    use crate::store::{Key, PIECE};
    use domain::ids::{BackupId, InstanceId};

    pub(crate) const DUMP: &str = "database.dump.zst";
    pub(crate) const DATA: &str = "data.tar.zst";
    pub(crate) const FILES: &str = "files.zst";
    pub(crate) const WAITING: &str = "waiting";
    const MANIFEST: &str = "manifest.json";

    pub(crate) fn all() -> Key {
        Key::known("active".to_owned())
    }

    pub(crate) fn backup(id: BackupId) -> Key {
        all().child(&id.to_string())
    }

    /// Whether an object below [`backup`] is where we put one.
    pub(crate) fn is_ours(id: BackupId, object: &Key) -> bool {
        let part = object.as_str().strip_prefix(backup(id).as_str()).and_then(|rest| rest.split('/').nth(2));
        let is_part = |name: &str| [DUMP, DATA, FILES, WAITING].contains(&name) || name.starts_with(MANIFEST);
        attempt_of(id, object).is_some() && part.is_some_and(is_part)
    }

    pub(crate) fn attempt(id: BackupId, attempt: i64) -> Key {
        backup(id).child(&attempt.to_string())
    }

    /// Of which try an object below [`backup`] is.
    pub(crate) fn attempt_of(id: BackupId, object: &Key) -> Option<i64> {
        object.as_str().strip_prefix(backup(id).as_str())?.split('/').nth(1)?.parse().ok()
    }

    pub(crate) fn manifest(id: BackupId, number: i64) -> Key {
        attempt(id, number).child(MANIFEST)
    }

    /// A piece of a manifest that is longer than an object may be.
    pub(crate) fn manifest_piece(id: BackupId, number: i64, piece: usize) -> Key {
        attempt(id, number).child(&format!("{MANIFEST}.{piece}"))
    }

    /// The objects of a manifest of this length: itself, or its pieces.
    pub(crate) fn manifests(id: BackupId, number: i64, bytes: usize) -> Vec<Key> {
        if bytes <= PIECE {
            return vec![manifest(id, number)];
        }
        (0..bytes.div_ceil(PIECE)).map(|piece| manifest_piece(id, number, piece)).collect()
    }

    pub(crate) fn part(id: BackupId, number: i64, name: &str) -> Key {
        attempt(id, number).child(name)
    }

    pub(crate) fn pool(instance: InstanceId) -> Key {
        Key::known(format!("pool/{instance}"))
    }
}
