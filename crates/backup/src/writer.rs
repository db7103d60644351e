//! Writing a backup: parts in any order, the manifest at the end.

use crate::digest::Summing;
use crate::error::{BackupError, BackupResult};
use crate::files::Wanted;
use crate::manifest::{FORMAT, Facts, FilesPart, Manifest, Part};
use crate::pool::Content;
use crate::reader::Backup;
use crate::store::{BackupStore, Key, Object, PIECE};
use crate::{archive, layout, pieces, pool, remove_objects, stored, tree};
use async_trait::async_trait;
use bytes::Bytes;
use domain::ids::{BackupId, InstanceId};
use futures::Stream;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How `pg_dump -Fc` begins (PostgreSQL, `pg_backup_archiver.c`).
const DUMP_HEAD: &[u8] = b"PGDMP";
/// What lies between who makes content and who stores it.
const PIPE: usize = 256 * 1024;

/// A backup that is being written. Dropping a call's future ends the call; what it left is replaced by the next try, or removed by
/// [`crate::Backups::remove`].
#[derive(Debug)]
pub struct Writer {
    store: Arc<dyn BackupStore>,
    counted: Arc<Counted>,
    id: BackupId,
    instance: InstanceId,
    attempt: i64,
    dump: Option<Part>,
    data: Option<(Part, u64)>,
    files: Option<FilesPart>,
}

/// What was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// SHA-256 of the manifest: to be kept where the store cannot change it.
    pub manifest_sha256: Vec<u8>,
    /// Bytes that belong to this backup alone.
    pub own_bytes: u64,
    /// Bytes that were sent to the store this time.
    pub new_bytes: u64,
    /// Files of the filestore.
    pub files: u64,
    /// Their bytes.
    pub files_bytes: u64,
}

impl Writer {
    pub(crate) fn new(store: Arc<dyn BackupStore>, id: BackupId, instance: InstanceId, attempt: i64) -> Self {
        let counted = Arc::new(Counted { inner: store, sent: AtomicU64::new(0) });
        Self { store: counted.clone(), counted, id, instance, attempt, dump: None, data: None, files: None }
    }

    /// Bytes sent so far: whoever waits can see whether it goes on.
    pub fn sent(&self) -> Sent {
        Sent(self.counted.clone())
    }

    /// Removes what earlier tries left.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn begin(&mut self) -> BackupResult<()> {
        (self.dump, self.data, self.files) = (None, None, None);
        remove_objects(&self.store, &stored(&self.store, self.id, self.attempt).await?).await
    }

    /// Stores a dump in custom format.
    ///
    /// # Errors
    /// [`BackupError::Refused`] for something that is none; those of the store and of the reader.
    pub async fn dump(&mut self, mut dump: impl AsyncRead + Unpin + Send) -> BackupResult<()> {
        let mut head = Vec::new();
        let read = (&mut dump).take(DUMP_HEAD.len() as u64).read_to_end(&mut head).await;
        read.map_err(|e| BackupError::out_of(e, "read the dump"))?;
        if head != DUMP_HEAD {
            return Err(BackupError::Refused("what should be a dump does not begin like one".to_owned()));
        }
        let whole = pieces::compressed(std::io::Cursor::new(head).chain(dump));
        self.dump = Some(pieces::write(&self.store, &layout::part(self.id, self.attempt, layout::DUMP), whole).await?);
        Ok(())
    }

    /// Makes sure that the pool has the `wanted` files of a filestore, which come in the order of their names, each once.
    ///
    /// # Errors
    /// [`BackupError::Vanished`] if one is not there or not what its name says; those of the store and of the stream.
    pub async fn files(&mut self, source: OwnedFd, wanted: impl Stream<Item = BackupResult<Wanted>> + Send) -> BackupResult<()> {
        let (into, list) = tokio::io::duplex(PIPE);
        let key = layout::part(self.id, self.attempt, layout::FILES);
        let written = pieces::write(&self.store, &key, pieces::compressed(list));
        let (kept, list) = tokio::try_join!(pool::keep(&self.store, self.instance, source, wanted, into), written)?;
        self.files = Some(FilesPart { list, count: kept.count, bytes: kept.bytes });
        Ok(())
    }

    /// The same for the filestore of `database` in a data directory. One that is not there has no files.
    ///
    /// # Errors
    /// As [`Self::files`].
    pub async fn files_of(
        &mut self,
        data: &OwnedFd,
        database: &str,
        wanted: impl Stream<Item = BackupResult<Wanted>> + Send,
    ) -> BackupResult<()> {
        let found = tree::open_directory(data, "filestore").and_then(|files| tree::open_directory(files, database));
        let source = match found {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                data.try_clone().map_err(|e| BackupError::local("open the filestore", e))?
            }
            found => found.map_err(|e| BackupError::local("open the filestore", e))?,
        };
        self.files(source, wanted).await
    }

    /// The same for files that come as bytes, in the order of their names, each once; nothing of them is believed.
    ///
    /// # Errors
    /// [`BackupError::Refused`] if one is not what its name says; those of the store and of the stream.
    pub async fn files_from(&mut self, contents: impl Stream<Item = BackupResult<Content>> + Send) -> BackupResult<()> {
        let (into, list) = tokio::io::duplex(PIPE);
        let waiting = layout::part(self.id, self.attempt, layout::WAITING);
        let key = layout::part(self.id, self.attempt, layout::FILES);
        let written = pieces::write(&self.store, &key, pieces::compressed(list));
        let (kept, list) = tokio::try_join!(pool::keep_from(&self.store, self.instance, contents, &waiting, into), written)?;
        self.files = Some(FilesPart { list, count: kept.count, bytes: kept.bytes });
        Ok(())
    }

    /// Stores that there is no rest of a data directory.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn no_data(&mut self) -> BackupResult<()> {
        let key = layout::part(self.id, self.attempt, layout::DATA);
        self.data = Some((pieces::write(&self.store, &key, pieces::compressed(archive::NOTHING)).await?, 0));
        Ok(())
    }

    /// Stores the rest of a data directory.
    ///
    /// # Errors
    /// Those of the store; a file cannot be read.
    pub async fn data(&mut self, source: OwnedFd) -> BackupResult<()> {
        let (into, from) = tokio::io::duplex(PIPE);
        let key = layout::part(self.id, self.attempt, layout::DATA);
        let written = pieces::write(&self.store, &key, pieces::compressed(from));
        let (packed, part) = tokio::try_join!(archive::pack(source, into), written)?;
        self.data = Some((part, packed.bytes));
        Ok(())
    }

    /// Writes the manifest and reads it back. Only now there is a backup.
    ///
    /// Before that it is looked whether the pool has everything still: somebody who was overtaken may have removed what nobody needed when he
    /// began.
    ///
    /// # Errors
    /// [`BackupError::Refused`] while a part is missing; those of the store. A new try stores what the pool does not have any more.
    pub async fn finish(self, facts: Facts) -> BackupResult<Stored> {
        let (Some(dump), Some((data, data_bytes)), Some(files)) = (self.dump, self.data, self.files) else {
            return Err(BackupError::Refused("a backup without all of its parts".to_owned()));
        };
        let manifest = Manifest {
            format: FORMAT,
            backup: self.id,
            attempt: self.attempt,
            instance: self.instance,
            facts,
            dump,
            data,
            data_bytes,
            files,
        };
        let text = manifest.to_bytes()?;
        let mut sum = Summing::sha256();
        sum.add(&text);
        let own_bytes = manifest.own_bytes() + text.len() as u64;
        let backup = Backup::written(self.store.clone(), manifest);
        backup.look_for_contents().await?;
        // What the manifest speaks of has reached the disk before the manifest does.
        self.store.settle().await?;
        for (key, piece) in layout::manifests(self.id, self.attempt, text.len()).iter().zip(text.chunks(PIECE)) {
            self.store.put_checked(key, Bytes::copy_from_slice(piece)).await?;
        }
        self.store.settle().await?;
        let files = &backup.manifest().files;
        Ok(Stored {
            manifest_sha256: sum.bytes(),
            own_bytes,
            new_bytes: self.counted.sent.load(Ordering::Relaxed),
            files: files.count,
            files_bytes: files.bytes,
        })
    }
}

/// How many bytes a [`Writer`] has sent.
#[derive(Clone, Debug)]
pub struct Sent(Arc<Counted>);

impl Sent {
    /// Until now.
    pub fn bytes(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }
}

/// A store, and what was sent to it.
#[derive(Debug)]
struct Counted {
    inner: Arc<dyn BackupStore>,
    sent: AtomicU64,
}

#[async_trait]
impl BackupStore for Counted {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn put(&self, key: &Key, content: Bytes) -> BackupResult<()> {
        let bytes = content.len() as u64;
        self.inner.put(key, content).await?;
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    async fn put_checked(&self, key: &Key, content: Bytes) -> BackupResult<()> {
        let bytes = content.len() as u64;
        self.inner.put_checked(key, content).await?;
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    async fn get(&self, key: &Key) -> BackupResult<Bytes> {
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &Key) -> BackupResult<Vec<Object>> {
        self.inner.list(prefix).await
    }

    async fn delete(&self, key: &Key) -> BackupResult<()> {
        self.inner.delete(key).await
    }

    async fn settle(&self) -> BackupResult<()> {
        self.inner.settle().await
    }

    async fn tidy(&self) -> BackupResult<()> {
        self.inner.tidy().await
    }
}
