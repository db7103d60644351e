//! Reading an archive that anybody may have made. Nothing in it is believed: not a name, not a size, not a sum.

use super::{DUMP, FILESTORE, MANIFEST, OdooManifest};
use crate::error::{BackupError, BackupResult, blocking};
use crate::files::ContentName;
use crate::pool::Content;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, Stream};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;
use zip::read::{ArchiveOffset, Config, ZipArchiveMetadata, ZipFileEntry, ZipReadOptions};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

/// How many pieces are read ahead.
const AHEAD: usize = 2;
const CHUNK: usize = 64 * 1024;
/// No manifest is longer: a thousand modules are 60 KiB.
const LONGEST_MANIFEST: u64 = 4 * 1024 * 1024;
/// No name is longer.
const LONGEST_NAME: usize = 512;
/// So much of the archive's directory may an entry have on average: three times what Odoo's have.
const HEADER: u64 = 300;
/// What is smaller than this may be compressed as well as it likes.
const SMALL: u64 = 1024 * 1024;
/// So many names of what is ignored are told.
const TOLD: usize = 100;
const COMPRESSIONS: [CompressionMethod; 2] = [CompressionMethod::Stored, CompressionMethod::Deflated];

/// What an archive may cost. Sizes that it declares are held to these at once, and what is read is held to what was declared.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries, those that are ignored as well.
    pub entries: usize,
    /// Bytes of dump, manifest and files, unpacked.
    pub bytes: u64,
    /// Unpacked bytes for each byte of the archive, in each entry of more than 1 MiB.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 500_000, bytes: 64 << 30, ratio: 200 }
    }
}

/// An archive of Odoo's that may be read: its directory was looked through.
#[derive(Debug)]
pub struct OdooZip {
    file: Arc<File>,
    directory: Arc<ZipArchiveMetadata>,
    manifest: OdooManifest,
    dump: usize,
    files: Arc<Vec<Listed>>,
    files_bytes: u64,
    ignored: Ignored,
}

/// A file of the filestore.
#[derive(Debug)]
struct Listed {
    name: ContentName,
    bytes: u64,
    /// Which entry it is.
    at: usize,
}

/// What an archive has beside what it should have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// How many entries.
    pub count: usize,
    /// The first of their names.
    pub names: Vec<String>,
}

impl OdooZip {
    /// Looks through an archive.
    ///
    /// Directories are no matter, and whatever else has a harmless name is ignored: Odoo's own archives have `filestore/checklist/...`.
    ///
    /// # Errors
    /// [`BackupError::Refused`] if it is none of Odoo's, lacks its dump or its manifest, has more than `limits` allow, or something that
    /// no archive of Odoo's has: names that leave it or come twice, links, encrypted entries, other compression than deflate,
    /// entries that overlap, files of a filestore under a name that is none. The file cannot be read.
    pub async fn read(file: File, limits: Limits) -> BackupResult<Self> {
        blocking(move || look_through(Arc::new(file), &limits)).await
    }

    /// What it says of itself.
    pub const fn manifest(&self) -> &OdooManifest {
        &self.manifest
    }

    /// How many files it has, and their bytes.
    pub fn extent(&self) -> (u64, u64) {
        (self.files.len() as u64, self.files_bytes)
    }

    /// What was ignored.
    pub const fn ignored(&self) -> &Ignored {
        &self.ignored
    }

    /// The plain dump: a program for psql, for [`crate::tools::ClientTools::load_plain`] only. The reader's errors are ours.
    pub fn dump_sql(&self) -> impl AsyncRead + Send + Unpin + use<> {
        unpacked(self.file.clone(), self.directory.clone(), self.dump)
    }

    /// The names of its files.
    pub fn names(&self) -> BTreeSet<ContentName> {
        self.files.iter().map(|file| file.name.clone()).collect()
    }

    /// Those of its files that are `wanted`, in the order of their names, for [`crate::Writer::files_from`], which compares each with its
    /// name.
    pub fn files(&self, wanted: &BTreeSet<ContentName>) -> impl Stream<Item = BackupResult<Content>> + Send + use<> {
        let (file, directory, files) = (self.file.clone(), self.directory.clone(), self.files.clone());
        let chosen: Vec<usize> = (0..files.len()).filter(|number| wanted.contains(&files[*number].name)).collect();
        stream::iter(chosen.into_iter().map(move |number| {
            let Listed { name, bytes, at } = &files[number];
            let content = Box::new(unpacked(file.clone(), directory.clone(), *at));
            Ok(Content { name: name.clone(), bytes: *bytes, content })
        }))
    }
}

fn refused(why: impl std::fmt::Display) -> BackupError {
    BackupError::Refused(format!("the archive: {why}"))
}

fn failed(error: ZipError) -> BackupError {
    match error {
        ZipError::Io(e) if !matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) => {
            BackupError::out_of(e, "read the archive")
        }
        other => refused(other),
    }
}

/// What an entry is, by its name.
enum Place {
    Dump,
    Manifest,
    File(ContentName),
    Directory,
    Ignored,
}

fn place(name: &[u8]) -> BackupResult<Place> {
    let bad = |why: &str| refused(format!("entry {:?}: {why}", String::from_utf8_lossy(&name[..name.len().min(LONGEST_NAME)])));
    let text = std::str::from_utf8(name).map_err(|_| bad("its name is not in UTF-8"))?;
    if name.len() > LONGEST_NAME {
        return Err(bad("its name is too long"));
    }
    if text.contains(['\\', ':']) || text.contains(char::is_control) {
        return Err(bad("its name has what no name has"));
    }
    let (path, is_directory) = text.strip_suffix('/').map_or((text, false), |path| (path, true));
    let parts: Vec<&str> = path.split('/').collect();
    if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
        return Err(bad("its name leaves the archive"));
    }
    match parts[..] {
        [FILESTORE, "checklist", ..] if parts.len() <= 4 => {}
        [FILESTORE, _] | [FILESTORE] => {}
        [FILESTORE, directory, file] if !is_directory => {
            let name = ContentName::of_store_fname(&format!("{directory}/{file}"));
            return name.map(Place::File).ok_or_else(|| bad("no file of a filestore has such a name"));
        }
        [FILESTORE, ..] => return Err(bad("a filestore has no such directories")),
        [DUMP] if !is_directory => return Ok(Place::Dump),
        [MANIFEST] if !is_directory => return Ok(Place::Manifest),
        _ => {}
    }
    Ok(if is_directory { Place::Directory } else { Place::Ignored })
}

/// What an archive's directory has.
#[derive(Default)]
struct Found {
    dump: Option<usize>,
    manifest: Option<usize>,
    files: Vec<Listed>,
    files_bytes: u64,
    unpacked: u64,
    ignored: Ignored,
}

fn look_through(file: Arc<File>, limits: &Limits) -> BackupResult<OdooZip> {
    let source = Source::new(file.clone()).map_err(|e| BackupError::local("read the archive", e))?;
    let allowance = source.allowance.clone();
    // The directory is in memory before anything of it can be counted.
    allowance.store(HEADER.saturating_mul(limits.entries as u64).saturating_add(SMALL), Ordering::Relaxed);
    let mut archive = ZipArchive::with_config(Config { archive_offset: ArchiveOffset::Known(0) }, source).map_err(failed)?;
    allowance.store(u64::MAX, Ordering::Relaxed);
    if archive.len() > limits.entries {
        return Err(refused(format!("{} entries, where {} are allowed", archive.len(), limits.entries)));
    }
    if archive.has_duplicate_names() {
        return Err(refused("an entry is there twice"));
    }
    let directory = archive.metadata();
    let mut found = Found::default();
    for at in 0..directory.len() {
        found.add(at, &directory.entry(at).map_err(failed)?, limits)?;
    }
    archive.validate_header_consistency().map_err(failed)?;
    let Found { dump, manifest, mut files, files_bytes, ignored, .. } = found;
    let dump = dump.ok_or_else(|| refused(format!("there is no {DUMP}")))?;
    let manifest = manifest.ok_or_else(|| refused(format!("there is no {MANIFEST}")))?;
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let mut text = Vec::new();
    unpack(file.clone(), &directory, manifest, |bytes| {
        text.extend_from_slice(&bytes);
        true
    })?;
    let manifest = OdooManifest::of_bytes(&text)?;
    Ok(OdooZip { file, directory, manifest, dump, files: Arc::new(files), files_bytes, ignored })
}

impl Found {
    fn add(&mut self, at: usize, entry: &ZipFileEntry<'_>, limits: &Limits) -> BackupResult<()> {
        let place = place(entry.name_raw())?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let bad = |why: &str| refused(format!("entry {name:?}: {why}"));
        if entry.encrypted() {
            return Err(bad("it is encrypted"));
        }
        if !COMPRESSIONS.contains(&entry.compression()) {
            return Err(bad("it is neither stored nor deflated"));
        }
        // The kind of a file, in the upper half of what Unix adds (stat(2)).
        let kind = entry.unix_mode().unwrap_or_default() & 0o170_000;
        if !matches!(kind, 0 | 0o100_000 | 0o040_000) {
            return Err(bad("it is neither a file nor a directory"));
        }
        let is_directory = matches!(place, Place::Directory);
        if is_directory && entry.size() > 0 || !is_directory && kind == 0o040_000 {
            return Err(bad("it is a directory and none"));
        }
        let (unpacked, packed) = (entry.size(), entry.compressed_size());
        match place {
            Place::Directory => return Ok(()),
            Place::Ignored => {
                self.ignored.count += 1;
                if self.ignored.names.len() < TOLD {
                    self.ignored.names.push(name);
                }
                return Ok(());
            }
            _ => {}
        }
        self.unpacked = self.unpacked.saturating_add(unpacked);
        if self.unpacked > limits.bytes {
            return Err(refused(format!("more than {} bytes unpacked", limits.bytes)));
        }
        if unpacked > SMALL && unpacked / limits.ratio.max(1) > packed {
            return Err(bad("it is compressed as only a bomb is"));
        }
        match place {
            Place::Manifest if unpacked > LONGEST_MANIFEST => return Err(bad("it is too long")),
            Place::Manifest => self.manifest = Some(at),
            Place::Dump => self.dump = Some(at),
            Place::File(name) => {
                self.files_bytes += unpacked;
                self.files.push(Listed { name, bytes: unpacked, at });
            }
            Place::Directory | Place::Ignored => {}
        }
        Ok(())
    }
}

/// The content of an entry, from a thread that ends when nobody reads on.
fn unpacked(file: Arc<File>, directory: Arc<ZipArchiveMetadata>, at: usize) -> impl AsyncRead + Send + Unpin + use<> {
    let (pieces, mut taken) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
    tokio::task::spawn_blocking(move || {
        let outcome = unpack(file, &directory, at, |bytes| pieces.blocking_send(Ok(bytes)).is_ok());
        if let Err(error) = outcome
            && pieces.blocking_send(Err(error.into_io())).is_err()
        {
            tracing::debug!("nobody asks any more why an archive could not be read");
        }
    });
    StreamReader::new(stream::poll_fn(move |cx| taken.poll_recv(cx)))
}

/// Hands the content of an entry on for as long as it is wanted. It has as many bytes as were declared, or it is an error.
fn unpack(
    file: Arc<File>,
    directory: &ZipArchiveMetadata,
    at: usize,
    mut hand_on: impl FnMut(Bytes) -> bool,
) -> BackupResult<()> {
    let entry = directory.entry(at).map_err(failed)?;
    let (name, mut left) = (String::from_utf8_lossy(entry.name_raw()).into_owned(), entry.size());
    let bad = |why: &str| refused(format!("entry {name:?}: {why}"));
    let mut source = Source::new(file).map_err(|e| BackupError::local("read the archive", e))?;
    let mut content = entry.with_reader(&mut source, ZipReadOptions::new()).map_err(failed)?;
    loop {
        let mut chunk = BytesMut::zeroed(CHUNK);
        let read = match content.read(&mut chunk) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            // Deflate and the checksum complain in these ways; what the disk says is something else.
            Err(e) if e.raw_os_error().is_none() => return Err(bad(&e.to_string())),
            other => other.map_err(|e| BackupError::local("read the archive", e))?,
        };
        left = left.checked_sub(read as u64).ok_or_else(|| bad("it is longer than it says"))?;
        if read == 0 {
            return if left == 0 { Ok(()) } else { Err(bad("it is shorter than it says")) };
        }
        chunk.truncate(read);
        if !hand_on(chunk.freeze()) {
            return Ok(());
        }
    }
}

/// A place in a file that others read as well, each at a place of its own.
#[derive(Debug)]
struct Source {
    file: Arc<File>,
    length: u64,
    at: u64,
    /// How much may be read yet.
    allowance: Arc<AtomicU64>,
    window: Vec<u8>,
    window_at: u64,
}

impl Source {
    fn new(file: Arc<File>) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, length, at: 0, allowance: Arc::new(AtomicU64::new(u64::MAX)), window: Vec::new(), window_at: 0 })
    }

    fn ahead(&self) -> &[u8] {
        let begin = self.at.checked_sub(self.window_at).and_then(|begin| usize::try_from(begin).ok());
        begin.and_then(|begin| self.window.get(begin..)).unwrap_or_default()
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ahead().is_empty() {
            self.window.resize(CHUNK, 0);
            let read = self.file.read_at(&mut self.window, self.at)?;
            self.window.truncate(read);
            self.window_at = self.at;
        }
        let read = self.ahead().read(buffer)?;
        self.at += read as u64;
        let allowed = self.allowance.load(Ordering::Relaxed);
        let left = allowed.checked_sub(read as u64).ok_or_else(|| refused("its directory is too long").into_io())?;
        self.allowance.store(left, Ordering::Relaxed);
        Ok(read)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
