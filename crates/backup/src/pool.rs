//! Contents of the filestores of one instance, each once, under its SHA-1: what the backups of the instance share.

use crate::buffers::Buffer;
use crate::digest::{Summing, sha256};
use crate::error::{BackupError, BackupResult, blocking};
use crate::files::{ContentName, Entry, Wanted};
use crate::layout;
use crate::reader::{Backup, Listed, is_damage};
use crate::store::{BackupStore, Key, PIECE};
use crate::tree;
use bytes::Bytes;
use domain::ids::InstanceId;
use futures::stream::{self, FuturesOrdered, FuturesUnordered, Stream, StreamExt, TryStreamExt};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How many files are on their way at once; each needs at most one piece of memory.
const AT_ONCE: usize = 4;

/// What a backup has of a filestore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

/// A file that comes as bytes.
pub struct Content {
    /// Its name.
    pub name: ContentName,
    /// Its length.
    pub bytes: u64,
    /// So many bytes, of which nothing is believed.
    pub content: Box<dyn AsyncRead + Send + Unpin>,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content").field("name", &self.name).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// The objects of one content: itself, or its pieces.
fn objects(prefix: &Key, entry: &Entry) -> Vec<(Key, u64)> {
    let name = entry.name.as_str();
    if entry.bytes <= PIECE as u64 {
        return vec![(prefix.child(name), entry.bytes)];
    }
    let pieces = entry.bytes.div_ceil(PIECE as u64);
    let length = |n: u64| (entry.bytes - n * PIECE as u64).min(PIECE as u64);
    (0..pieces).map(|n| (prefix.child(&format!("{name}.{n}")), length(n))).collect()
}

fn directory(instance: InstanceId, name: &str) -> Key {
    layout::pool(instance).child(name)
}

/// What a pool has under one pair of digits.
pub(crate) struct Shelf {
    prefix: Key,
    there: HashMap<Key, u64>,
}

impl Shelf {
    pub(crate) async fn look(store: &Arc<dyn BackupStore>, instance: InstanceId, name: &str) -> BackupResult<Self> {
        let prefix = directory(instance, name);
        let there = store.list(&prefix).await?.into_iter().map(|object| (object.key, object.bytes)).collect();
        Ok(Self { prefix, there })
    }

    /// Whether it has this content, by its objects and their lengths. One piece more would be another content's length.
    pub(crate) fn has(&self, entry: &Entry) -> bool {
        let expected = objects(&self.prefix, entry);
        let beyond = self.prefix.child(&format!("{}.{}", entry.name, expected.len()));
        expected.iter().all(|(key, bytes)| self.there.get(key) == Some(bytes)) && !self.there.contains_key(&beyond)
    }
}

/// Makes sure that the pool has what is `wanted`, in the order of names, of the filestore `source`, and writes the list.
pub(crate) async fn keep(
    store: &Arc<dyn BackupStore>,
    instance: InstanceId,
    source: OwnedFd,
    wanted: impl Stream<Item = BackupResult<Wanted>> + Send,
    mut list: impl AsyncWrite + Unpin,
) -> BackupResult<Kept> {
    let source = Arc::new(source);
    let mut wanted = std::pin::pin!(wanted.peekable());
    let mut kept = Kept::default();
    while let Some(first) = wanted.as_mut().next().await.transpose()? {
        let name = first.name.directory().to_owned();
        let mut group = vec![first];
        // An error ends the group and is met at the head of the next.
        while let Some(next) = wanted.as_mut().next_if(|next| next.as_ref().is_ok_and(|next| next.name.directory() == name)).await
        {
            group.push(next?);
        }
        if group.windows(2).any(|pair| pair[0].name >= pair[1].name) {
            return Err(BackupError::Refused("the names of files are not in order".to_owned()));
        }
        let shelf = Arc::new(Shelf::look(store, instance, &name).await?);
        let each = group.into_iter().map(|wanted| keep_one(store.clone(), shelf.clone(), source.clone(), wanted));
        let mut entries = stream::iter(each).buffered(AT_ONCE);
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            kept.count += 1;
            kept.bytes += entry.bytes;
            list.write_all(entry.line().as_bytes()).await.map_err(|e| BackupError::out_of(e, "write the list of files"))?;
        }
    }
    list.shutdown().await.map_err(|e| BackupError::out_of(e, "write the list of files"))?;
    Ok(kept)
}

/// Under a name of the pool nothing is ever put that is not known to belong there: other backups rely on it.
async fn keep_one(store: Arc<dyn BackupStore>, shelf: Arc<Shelf>, source: Arc<OwnedFd>, wanted: Wanted) -> BackupResult<Entry> {
    if let Some(bytes) = wanted.bytes {
        let entry = Entry { name: wanted.name.clone(), bytes };
        if shelf.has(&entry) {
            return Ok(entry);
        }
    }
    let here = shelf.clone();
    match blocking(move || look(&source, wanted.name, &here)).await? {
        Found::There(entry) => Ok(entry),
        Found::Short(entry, content) => {
            store.put_checked(&shelf.prefix.child(entry.name.as_str()), content).await?;
            Ok(entry)
        }
        Found::Long(entry, mut file, sums) => {
            for ((key, length), sum) in objects(&shelf.prefix, &entry).into_iter().zip(sums) {
                let piece;
                (file, piece) = read_again(file, length, sum, &entry.name).await?;
                store.put_checked(&key, piece).await?;
            }
            Ok(entry)
        }
    }
}

/// What a filestore has under a name, and the pool has not.
enum Found {
    There(Entry),
    /// Its content, which is what its name says.
    Short(Entry, Bytes),
    /// The file, and the sums of its pieces: it was read once, and its content is what its name says.
    Long(Entry, File, Vec<String>),
}

fn look(source: &OwnedFd, name: ContentName, shelf: &Shelf) -> BackupResult<Found> {
    let (mut file, bytes) = open(source, &name)?;
    let entry = Entry { name, bytes };
    if shelf.has(&entry) {
        return Ok(Found::There(entry));
    }
    let (mut whole, mut sums) = (Summing::sha1(), Vec::new());
    let objects = objects(&shelf.prefix, &entry);
    for (_, length) in &objects {
        let piece = read_piece(&mut file, *length, &entry.name)?;
        whole.add(&piece);
        if objects.len() == 1 {
            compare(whole, &entry.name)?;
            return Ok(Found::Short(entry, piece));
        }
        sums.push(sha256(&piece));
    }
    compare(whole, &entry.name)?;
    file.rewind().map_err(|e| vanished(&entry.name, e))?;
    Ok(Found::Long(entry, file, sums))
}

/// The same for files that come as bytes, from whoever: the pool gets nothing that was not compared with its name to the end.
pub(crate) async fn keep_from(
    store: &Arc<dyn BackupStore>,
    instance: InstanceId,
    contents: impl Stream<Item = BackupResult<Content>> + Send,
    waiting: &Key,
    mut list: impl AsyncWrite + Unpin,
) -> BackupResult<Kept> {
    let mut contents = std::pin::pin!(contents);
    let (mut last, mut here): (Option<ContentName>, Option<Arc<Shelf>>) = (None, None);
    let (mut under_way, mut kept) = (FuturesOrdered::new(), Kept::default());
    loop {
        let next = contents.next().await.transpose()?;
        let is_over = next.is_none();
        if let Some(content) = next {
            if last.as_ref().is_some_and(|last| *last >= content.name) {
                return Err(BackupError::Refused("the names of files are not in order".to_owned()));
            }
            let name = content.name.directory();
            let shelf = match here.take().filter(|_| last.as_ref().is_some_and(|last| last.directory() == name)) {
                Some(shelf) => shelf,
                None => Arc::new(Shelf::look(store, instance, name).await?),
            };
            last = Some(content.name.clone());
            here = Some(shelf.clone());
            under_way.push_back(keep_content(store.clone(), shelf, waiting.clone(), content));
        }
        while under_way.len() == AT_ONCE || (is_over && !under_way.is_empty()) {
            let Some(entry) = under_way.try_next().await? else { break };
            kept.count += 1;
            kept.bytes += entry.bytes;
            list.write_all(entry.line().as_bytes()).await.map_err(|e| BackupError::out_of(e, "write the list of files"))?;
        }
        if is_over {
            break;
        }
    }
    list.shutdown().await.map_err(|e| BackupError::out_of(e, "write the list of files"))?;
    Ok(kept)
}

/// What the pool has already is compared all the same: nobody comes by a file through its name. What is longer than a piece can be judged at
/// its end only, and waits until then in a place of its own.
async fn keep_content(store: Arc<dyn BackupStore>, shelf: Arc<Shelf>, waiting: Key, content: Content) -> BackupResult<Entry> {
    let Content { name, bytes, mut content } = content;
    let entry = Entry { name, bytes };
    let objects = objects(&shelf.prefix, &entry);
    let (is_there, is_long) = (shelf.has(&entry), objects.len() > 1);
    let (mut sum, mut first, mut put) = (Summing::sha1(), None, Vec::new());
    for (number, (_, length)) in objects.iter().enumerate() {
        let length = usize::try_from(*length).unwrap_or(PIECE);
        let mut piece = Buffer::of(length);
        content.read_exact(&mut piece).await.map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::Refused(format!("file {} is shorter than it should be", entry.name)),
            _ => BackupError::out_of(e, "read a file"),
        })?;
        sum.add(&piece);
        let piece = piece.filled(length);
        if is_long && !is_there {
            let key = waiting.child(&format!("{}.{number}", entry.name));
            store.put_checked(&key, piece).await?;
            put.push(key);
        } else {
            first = Some(piece);
        }
    }
    let is_over = content.read(&mut [0]).await.map_err(|e| BackupError::out_of(e, "read a file"))? == 0;
    let is_right = is_over && sum.hex() == entry.name.as_str();
    match (objects.as_slice(), first) {
        ([(key, _)], Some(piece)) if is_right && !is_there => {
            store.put_checked(key, piece).await?;
        }
        _ => {}
    }
    for (from, (to, length)) in put.iter().zip(&objects) {
        if is_right {
            store.put_checked(to, fetch(&store, from, *length).await?).await?;
        }
        store.delete(from).await?;
    }
    if is_right { Ok(entry) } else { Err(BackupError::Refused(format!("file {} is not what its name says", entry.name))) }
}

fn open(source: &OwnedFd, name: &ContentName) -> BackupResult<(File, u64)> {
    let found = tree::open_directory(source, name.directory()).and_then(|directory| tree::open_file(directory, name.as_str()));
    found.map_err(|e| vanished(name, e))
}

fn read_piece(file: &mut File, length: u64, name: &ContentName) -> BackupResult<Bytes> {
    let length = usize::try_from(length).unwrap_or(PIECE);
    let mut piece = Buffer::of(length);
    file.read_exact(&mut piece).map_err(|e| vanished(name, e))?;
    Ok(piece.filled(length))
}

async fn read_again(mut file: File, length: u64, sum: String, name: &ContentName) -> BackupResult<(File, Bytes)> {
    let name = name.clone();
    blocking(move || {
        let piece = read_piece(&mut file, length, &name)?;
        if sha256(&piece) == sum { Ok((file, piece)) } else { Err(vanished(&name, "it changed while it was read")) }
    })
    .await
}

fn compare(sum: Summing, name: &ContentName) -> BackupResult<()> {
    if sum.hex() == name.as_str() { Ok(()) } else { Err(vanished(name, "its content is not what its name says")) }
}

fn vanished(name: &ContentName, why: impl std::fmt::Display) -> BackupError {
    BackupError::Vanished { file: name.to_string(), why: why.to_string() }
}

/// An object of the pool, in its length.
async fn fetch(store: &Arc<dyn BackupStore>, key: &Key, length: u64) -> BackupResult<Bytes> {
    match store.get(key).await {
        Err(BackupError::Missing(what)) => Err(BackupError::damaged(what, "it is missing")),
        Ok(piece) if piece.len() as u64 != length => Err(BackupError::damaged(key.as_str(), "it has another length")),
        other => other,
    }
}

fn proven(sum: Summing, entry: &Entry) -> BackupResult<()> {
    if sum.hex() == entry.name.as_str() {
        return Ok(());
    }
    Err(BackupError::damaged(format!("content {}", entry.name), "it is not what its name says"))
}

/// A content, piece by piece; only its end says that it was all right.
pub(crate) fn pieces(
    store: Arc<dyn BackupStore>,
    instance: InstanceId,
    entry: Entry,
) -> impl Stream<Item = BackupResult<Bytes>> + Send + use<> {
    let left = objects(&directory(instance, entry.name.directory()), &entry).into_iter();
    stream::try_unfold((left, Summing::sha1()), move |(mut left, mut sum)| {
        let (store, entry) = (store.clone(), entry.clone());
        async move {
            let Some((key, length)) = left.next() else { return proven(sum, &entry).map(|()| None) };
            let piece = fetch(&store, &key, length).await?;
            sum.add(&piece);
            Ok(Some((piece, (left, sum))))
        }
    })
}

/// Compares a content. The objects of one that is wrong, also when it is read again, are noted.
pub(crate) async fn check(
    store: &Arc<dyn BackupStore>,
    instance: InstanceId,
    entry: Entry,
    wrong: &Mutex<Vec<Key>>,
) -> BackupResult<()> {
    let objects = objects(&directory(instance, entry.name.directory()), &entry);
    let compared = match compare_stored(store, &objects, &entry).await {
        Err(error) if is_damage(&error) => compare_stored(store, &objects, &entry).await,
        other => other,
    };
    match compared {
        Err(damage @ BackupError::Damaged { .. }) => {
            tracing::error!(content = %entry.name, %damage, "a content of the pool is damaged");
            wrong.lock().unwrap_or_else(PoisonError::into_inner).extend(objects.into_iter().map(|(key, _)| key));
            Ok(())
        }
        other => other,
    }
}

async fn compare_stored(store: &Arc<dyn BackupStore>, objects: &[(Key, u64)], entry: &Entry) -> BackupResult<()> {
    let mut sum = Summing::sha1();
    for (key, length) in objects {
        sum.add(&fetch(store, key, *length).await?);
    }
    proven(sum, entry)
}

/// Writes a content into a new filestore. It is compared while it is written; a file that turned out to be wrong ends everything.
pub(crate) async fn restore(
    store: Arc<dyn BackupStore>,
    instance: InstanceId,
    entry: Entry,
    target: Arc<OwnedFd>,
) -> BackupResult<()> {
    let (mut file, mut sum) = (None, Summing::sha1());
    for (key, length) in objects(&directory(instance, entry.name.directory()), &entry) {
        let piece = fetch(&store, &key, length).await?;
        let (target, name) = (target.clone(), entry.name.clone());
        let write = move || -> io::Result<(File, Summing)> {
            sum.add(&piece);
            let mut file = match file {
                Some(file) => file,
                None => tree::create_file(tree::ensure_directory(&*target, name.directory())?, name.as_str())?,
            };
            file.write_all(&piece)?;
            Ok((file, sum))
        };
        let (written, so_far) = blocking(move || write().map_err(|e| BackupError::local("write a file", e))).await?;
        (file, sum) = (Some(written), so_far);
    }
    proven(sum, &entry)
}

/// Works on the entries of a list, several at once.
pub(crate) async fn each<W>(list: &mut Listed, work: impl Fn(Entry) -> W) -> BackupResult<Kept>
where
    W: Future<Output = BackupResult<()>>,
{
    let mut kept = Kept::default();
    let mut under_way = FuturesUnordered::new();
    while let Some(entry) = list.next().await? {
        kept.count += 1;
        kept.bytes += entry.bytes;
        under_way.push(work(entry));
        if under_way.len() == AT_ONCE {
            under_way.try_next().await?;
        }
    }
    while under_way.try_next().await?.is_some() {}
    Ok(kept)
}

/// Finds the contents of an instance that no backup needs, one part of the pool after the other.
#[derive(Debug)]
pub struct Pruning {
    store: Arc<dyn BackupStore>,
    instance: InstanceId,
    lists: Vec<Listed>,
    next: Option<u8>,
}

impl Pruning {
    pub(crate) const fn new(store: Arc<dyn BackupStore>, instance: InstanceId) -> Self {
        Self { store, instance, lists: Vec::new(), next: Some(0) }
    }

    /// What this backup needs is not found. Its list is read once, to its end.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] if nobody can say any more what it needs; those of the store.
    pub async fn keep(&mut self, backup: &Backup) -> BackupResult<()> {
        if backup.manifest().instance != self.instance {
            return Err(BackupError::Refused("a backup of another instance".to_owned()));
        }
        let (mut list, mut last) = (backup.list(), None);
        while let Some(entry) = list.next().await? {
            if last.as_ref().is_some_and(|last| *last >= entry.name) {
                return Err(BackupError::damaged("list of files", "it is not in order"));
            }
            last = Some(entry.name);
        }
        self.lists.push(backup.list());
        Ok(())
    }

    /// The objects of the next part that nothing needs, or `None` when all parts are done. Nobody may be writing a backup of the instance:
    /// whoever removes them with [`crate::Backups::remove_objects`] makes sure of it, after this and before.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn step(&mut self) -> BackupResult<Option<Vec<Key>>> {
        let Some(number) = self.next else {
            self.store.settle().await?;
            return Ok(None);
        };
        let name = hex::encode([number]);
        let mut needed = HashSet::new();
        for list in &mut self.lists {
            while let Some(entry) = list.next_if(|entry| entry.name.directory() == name).await? {
                needed.extend(objects(&directory(self.instance, &name), &entry).into_iter().map(|(key, _)| key));
            }
        }
        let there = self.store.list(&directory(self.instance, &name)).await?.into_iter().map(|object| object.key);
        self.next = number.checked_add(1);
        Ok(Some(there.filter(|key| !needed.contains(key)).collect()))
    }
}
