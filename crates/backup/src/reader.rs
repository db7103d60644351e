//! Reading a backup: nothing is handed on that was not compared.

use crate::digest::sha256;
use crate::error::{BackupError, BackupResult, blocking};
use crate::files::Entry;
use crate::manifest::{Manifest, Part};
use crate::pool::{self, Shelf};
use crate::store::{BackupStore, Key};
use crate::{archive, layout, pieces, tree};
use bytes::Bytes;
use domain::ids::BackupId;
use futures::Stream;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};

/// A backup that is there.
#[derive(Clone, Debug)]
pub struct Backup {
    store: Arc<dyn BackupStore>,
    manifest: Manifest,
}

/// What a check has looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Files of the filestore.
    pub files: u64,
    /// Bytes of the filestore.
    pub files_bytes: u64,
}

impl Backup {
    pub(crate) async fn open(store: Arc<dyn BackupStore>, id: BackupId, attempt: i64, expected: &[u8]) -> BackupResult<Self> {
        let text = match manifest(&store, id, attempt, expected).await {
            Err(damage) if is_damage(&damage) => manifest(&store, id, attempt, expected).await?,
            found => found?,
        };
        let manifest = Manifest::of(id, attempt, &text)?;
        Ok(Self { store, manifest })
    }

    /// One whose parts are written.
    pub(crate) const fn written(store: Arc<dyn BackupStore>, manifest: Manifest) -> Self {
        Self { store, manifest }
    }

    /// Whether the pool has all contents, by their lengths.
    pub(crate) async fn look_for_contents(&self) -> BackupResult<()> {
        match self.verify_presence(&mut self.list()).await {
            Err(BackupError::Damaged { what, why }) => {
                Err(BackupError::local(format!("look for {what}"), io::Error::other(format!("{why}: somebody has removed it"))))
            }
            other => other.map(drop),
        }
    }

    /// What it says of itself.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Compares everything with its checksums. With `contents` the contents of all files are read as well; without, the store is only
    /// asked whether it has them in their length.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] names the first thing that is wrong; those of the store.
    pub async fn verify(&self, contents: bool) -> BackupResult<Verified> {
        let (verified, wrong) = self.examine(contents).await?;
        match wrong.first() {
            None => Ok(verified),
            Some(content) => Err(BackupError::damaged(content.as_str(), "it is not what its name says")),
        }
    }

    /// The same, and all contents of the pool that are wrong: once they are removed, the next backup stores them anew, which mends all that refer to
    /// them. What is only this backup's own ends everything if it is wrong.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub async fn examine(&self, contents: bool) -> BackupResult<(Verified, Vec<Key>)> {
        for (name, part) in self.parts() {
            pieces::check(&self.store, &layout::part(self.manifest.backup, self.manifest.attempt, name), part).await?;
        }
        archive::unpack(self.data_stream(), None, self.manifest.data_bytes).await?;
        let instance = self.manifest.instance;
        let (mut list, wrong) = (self.list(), Mutex::new(Vec::new()));
        let kept = if contents {
            pool::each(&mut list, |entry| pool::check(&self.store, instance, entry, &wrong)).await?
        } else {
            self.verify_presence(&mut list).await?
        };
        Ok((self.count(kept)?, wrong.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    async fn verify_presence(&self, list: &mut Listed) -> BackupResult<pool::Kept> {
        let mut kept = pool::Kept::default();
        let mut shelf: Option<(String, Shelf)> = None;
        while let Some(entry) = list.next().await? {
            let name = entry.name.directory();
            let here = match shelf.take().filter(|(at, _)| at == name) {
                Some(here) => here,
                None => (name.to_owned(), Shelf::look(&self.store, self.manifest.instance, name).await?),
            };
            if !here.1.has(&entry) {
                return Err(BackupError::damaged(format!("content {}", entry.name), "it is missing"));
            }
            shelf = Some(here);
            kept.count += 1;
            kept.bytes += entry.bytes;
        }
        Ok(kept)
    }

    /// The dump, in PostgreSQL's custom format. The reader's errors are those of the store, and [`BackupError::Damaged`].
    pub fn dump(&self) -> impl AsyncRead + Send + Unpin + use<> {
        let key = layout::part(self.manifest.backup, self.manifest.attempt, layout::DUMP);
        pieces::decompressed(self.store.clone(), key, &self.manifest.dump)
    }

    /// Writes the filestore into a new directory, and returns when it is on disk.
    ///
    /// # Errors
    /// [`BackupError::Damaged`]; those of the store; the directory cannot be written.
    pub async fn restore_files(&self, target: OwnedFd) -> BackupResult<Verified> {
        let (instance, target) = (self.manifest.instance, Arc::new(target));
        let mut list = self.list();
        let restore = |entry| pool::restore(self.store.clone(), instance, entry, target.clone());
        let kept = pool::each(&mut list, restore).await?;
        let verified = self.count(kept)?;
        blocking(move || rustix::fs::syncfs(&*target).map_err(|e| BackupError::local("flush the filestore", e))).await?;
        Ok(verified)
    }

    /// Writes the rest of the data directory into a new directory, and returns when it is on disk.
    ///
    /// # Errors
    /// [`BackupError::Damaged`]; those of the store; the directory cannot be written.
    pub async fn restore_data(&self, target: OwnedFd) -> BackupResult<()> {
        let flushed = target.try_clone().map_err(|e| BackupError::local("open the data directory", e))?;
        archive::unpack(self.data_stream(), Some(target), self.manifest.data_bytes).await?;
        blocking(move || rustix::fs::syncfs(&flushed).map_err(|e| BackupError::local("flush the data directory", e))).await
    }

    /// Makes the directory of a filestore below a new data directory and opens it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make_filestore(data: &OwnedFd, database: &str) -> BackupResult<OwnedFd> {
        let make = || tree::ensure_directory(tree::ensure_directory(data, "filestore")?, database);
        make().map_err(|e| BackupError::local("make the filestore", e))
    }

    fn parts(&self) -> [(&'static str, &Part); 3] {
        let manifest = &self.manifest;
        [(layout::DUMP, &manifest.dump), (layout::DATA, &manifest.data), (layout::FILES, &manifest.files.list)]
    }

    fn data_stream(&self) -> impl AsyncRead + Send + Unpin + use<> {
        let key = layout::part(self.manifest.backup, self.manifest.attempt, layout::DATA);
        pieces::decompressed(self.store.clone(), key, &self.manifest.data)
    }

    /// The list of files.
    pub(crate) fn list(&self) -> Listed {
        let key = layout::part(self.manifest.backup, self.manifest.attempt, layout::FILES);
        let text = pieces::decompressed(self.store.clone(), key, &self.manifest.files.list);
        let text: Box<dyn AsyncRead + Send + Unpin> = Box::new(text);
        Listed { lines: BufReader::new(text).lines(), ahead: None }
    }

    /// The content of a file of the list.
    pub(crate) fn content(&self, entry: Entry) -> impl Stream<Item = BackupResult<Bytes>> + Send + use<> {
        pool::pieces(self.store.clone(), self.manifest.instance, entry)
    }

    pub(crate) fn count(&self, kept: pool::Kept) -> BackupResult<Verified> {
        let files = &self.manifest.files;
        if (kept.count, kept.bytes) != (files.count, files.bytes) {
            return Err(BackupError::damaged("list of files", "it is not as long as the manifest says"));
        }
        Ok(Verified { files: kept.count, files_bytes: kept.bytes })
    }
}

/// The text of a manifest that must have this sum.
async fn manifest(store: &Arc<dyn BackupStore>, id: BackupId, attempt: i64, expected: &[u8]) -> BackupResult<Vec<u8>> {
    let text = match store.get(&layout::manifest(id, attempt)).await {
        Err(BackupError::Missing(_)) => {
            let mut text = Vec::new();
            for piece in 0.. {
                match store.get(&layout::manifest_piece(id, attempt, piece)).await {
                    Err(BackupError::Missing(_)) => break,
                    found => text.extend_from_slice(&found?),
                }
            }
            text
        }
        found => found?.to_vec(),
    };
    match sha256(&text) == hex::encode(expected) {
        true => Ok(text),
        false if text.is_empty() => Err(BackupError::damaged(format!("manifest of {id}"), "it is missing")),
        false => Err(BackupError::damaged(format!("manifest of {id}"), "it is not what was stored")),
    }
}

/// Whether what was read is to be read a second time: one bad read is none of the store's.
pub(crate) fn is_damage(error: &BackupError) -> bool {
    let is_damage = matches!(error, BackupError::Damaged { .. });
    if is_damage {
        tracing::warn!(%error, "what was read is wrong, and is read again");
    }
    is_damage
}

/// The entries of a list, one after the other.
pub(crate) struct Listed {
    lines: Lines<BufReader<Box<dyn AsyncRead + Send + Unpin>>>,
    ahead: Option<Entry>,
}

impl Listed {
    pub(crate) async fn next(&mut self) -> BackupResult<Option<Entry>> {
        if let Some(entry) = self.ahead.take() {
            return Ok(Some(entry));
        }
        let line = self.lines.next_line().await.map_err(|e| BackupError::out_of(e, "read the list of files"))?;
        line.map(|line| Entry::of_line(&line)).transpose()
    }

    pub(crate) async fn next_if(&mut self, is_next: impl Fn(&Entry) -> bool) -> BackupResult<Option<Entry>> {
        match self.next().await? {
            Some(entry) if is_next(&entry) => Ok(Some(entry)),
            other => {
                self.ahead = other;
                Ok(None)
            }
        }
    }
}

impl fmt::Debug for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listed").field("ahead", &self.ahead).finish_non_exhaustive()
    }
}
