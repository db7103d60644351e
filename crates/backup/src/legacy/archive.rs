//! The archive of a data directory, read as from a stranger: nothing in it is opened by its name, and nothing is written but regular files and
//! directories below the two directories that were handed in.
//!
//! Extended headers are read here, not by the library, which takes as much memory for them as they ask for. What lies outside `data/` is passed
//! over (`conf/odoo.conf` is written anew, add-ons belong to the installation), and so are sessions and other databases' filestores.

use crate::digest::Summing;
use crate::error::{BackupError, BackupResult};
use crate::files::ContentName;
use crate::tree;
use domain::backup::legacy::{Content, Sum};
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use tar::{Archive, Entry, EntryType, PaxExtensions};

const DATA: &str = "data";
const FILESTORE: &str = "filestore";
const SESSIONS: &str = "sessions";
/// As for archives of our own; a filestore has more.
const DEEPEST: usize = 64;
const MOST: u64 = 10_000_000;
/// Filestores of other databases that are told apart.
const MOST_DATABASES: usize = 100;
/// Longest name of anything, and all that an extended header may hold.
const LONGEST_HEADER: u64 = 64 * 1024;
/// Unpacked bytes for each byte of the archive, beyond so many: as in Odoo's own format.
const RATIO: u64 = 200;
const SMALL: u64 = 16 << 20;
const BUFFER: usize = 256 * 1024;

fn refused(why: impl std::fmt::Display) -> BackupError {
    BackupError::Refused(why.to_string())
}

/// What the decoder and the library say of the archive, or the system of the file.
fn unread(error: io::Error) -> BackupError {
    if error.raw_os_error().is_some() {
        return BackupError::local("read the archive", error);
    }
    match error.downcast::<BackupError>() {
        Ok(own) => own,
        Err(other) => refused(format!("it cannot be read: {other}")),
    }
}

/// What was entered could be read: it is another one.
pub(super) fn unless_refused(sum: BackupResult<Sum>) -> BackupResult<Sum> {
    sum.map_err(|e| match e {
        BackupError::Refused(why) => BackupError::damaged("archive of files", why),
        other => other,
    })
}

/// Something in the data directory.
pub(super) enum Met<'a> {
    /// A file of a database's filestore.
    Stored {
        database: String,
        name: ContentName,
        content: &'a mut dyn Read,
    },
    /// Another file.
    File {
        path: PathBuf,
        content: &'a mut dyn Read,
    },
    Directory {
        path: PathBuf,
    },
}

/// Goes through an archive of so many bytes to its end; its sum.
pub(super) fn walk(file: File, packed: u64, mut each: impl FnMut(Met<'_>) -> BackupResult<()>) -> BackupResult<Sum> {
    let mut summed = Summed { file, sum: Summing::sha256(), bytes: 0 };
    let most = SMALL.max(packed.saturating_mul(RATIO));
    let mut unpacked = Bounded { inner: MultiGzDecoder::new(BufReader::with_capacity(BUFFER, &mut summed)), left: most };
    let mut archive = Archive::new(&mut unpacked);
    let (mut named, mut count) = (None, 0);
    for entry in archive.entries().map_err(unread)?.raw(true) {
        let mut entry = entry.map_err(unread)?;
        count += 1;
        if count > MOST {
            return Err(refused(format!("more than {MOST} entries")));
        }
        match entry.header().entry_type() {
            EntryType::GNULongName => named = Some(long_name(&mut entry)?),
            EntryType::XHeader => named = extended(&mut entry)?.or(named),
            EntryType::GNULongLink | EntryType::XGlobalHeader => drop(header(&mut entry)?),
            kind => {
                let name = named.take().unwrap_or_else(|| entry.path_bytes().into_owned());
                met(&name, kind, &mut entry, &mut each)?;
            }
        }
    }
    // The checksum of what was compressed comes last.
    io::copy(&mut unpacked, &mut io::sink()).map_err(unread)?;
    drop(unpacked);
    io::copy(&mut summed, &mut io::sink()).map_err(unread)?;
    Ok(Sum { bytes: summed.bytes, sha256: summed.sum.hex() })
}

fn header(entry: &mut Entry<'_, impl Read>) -> BackupResult<Vec<u8>> {
    if entry.size() > LONGEST_HEADER {
        return Err(refused("a header is too long"));
    }
    let mut text = Vec::new();
    entry.read_to_end(&mut text).map_err(unread)?;
    Ok(text)
}

/// Ends with a zero byte (GNU tar, `././@LongLink`).
fn long_name(entry: &mut Entry<'_, impl Read>) -> BackupResult<Vec<u8>> {
    let mut name = header(entry)?;
    name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
    Ok(name)
}

/// The name in an extended header (POSIX pax), if it has one.
fn extended(entry: &mut Entry<'_, impl Read>) -> BackupResult<Option<Vec<u8>>> {
    let (text, mut name) = (header(entry)?, None);
    for record in PaxExtensions::new(&text) {
        let record = record.map_err(unread)?;
        match record.key_bytes() {
            b"path" => name = Some(record.value_bytes().to_vec()),
            b"size" => return Err(refused("the length of a file is in an extended header")),
            key if key.starts_with(b"GNU.sparse.") => return Err(refused("a file has holes")),
            _ => {}
        }
    }
    Ok(name)
}

fn met(
    name: &[u8],
    kind: EntryType,
    content: &mut dyn Read,
    each: &mut impl FnMut(Met<'_>) -> BackupResult<()>,
) -> BackupResult<()> {
    let parts = parts(name)?;
    let below = match parts.split_first() {
        Some((first, below)) if *first == DATA && !below.is_empty() => below,
        _ => return Ok(()),
    };
    let is_file = matches!(kind, EntryType::Regular | EntryType::Continuous);
    match below {
        [first, ..] if *first == SESSIONS => return Ok(()),
        [first, database, directory, file] if *first == FILESTORE && is_file => {
            let name = directory
                .to_str()
                .zip(file.to_str())
                .and_then(|(directory, file)| ContentName::of_store_fname(&format!("{directory}/{file}")));
            // Beside contents there are lists of what may be removed (`checklist`).
            let Some((name, database)) = name.zip(database.to_str()) else { return Ok(()) };
            return each(Met::Stored { database: database.to_owned(), name, content });
        }
        [first, ..] if *first == FILESTORE && (is_file || kind == EntryType::Directory) => return Ok(()),
        _ => {}
    }
    let path: PathBuf = below.iter().collect();
    match kind {
        EntryType::Directory => each(Met::Directory { path }),
        _ if is_file => each(Met::File { path, content }),
        other => Err(refused(format!("{path:?} is neither a file nor a directory: {other:?}"))),
    }
}

/// The parts of a name that stays below its directory.
fn parts(name: &[u8]) -> BackupResult<Vec<&OsStr>> {
    let path = Path::new(OsStr::from_bytes(name));
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part),
            _ => return Err(refused(format!("{path:?} leaves its directory"))),
        }
    }
    if parts.len() > DEEPEST || name.contains(&0) {
        return Err(refused("a name that nobody has"));
    }
    Ok(parts)
}

/// What an archive holds.
#[derive(Default)]
pub(super) struct Tally {
    databases: BTreeMap<String, Filestore>,
    data: Option<u64>,
}

#[derive(Default)]
struct Filestore {
    files: u64,
    bytes: u64,
    /// The first file that is not what its name says.
    wrong: Option<ContentName>,
}

pub(super) struct Held {
    pub(super) filestore: Option<String>,
    pub(super) files: u64,
    pub(super) files_bytes: u64,
    pub(super) data_bytes: u64,
}

impl Tally {
    pub(super) fn add(&mut self, met: Met<'_>) -> BackupResult<()> {
        let data = self.data.get_or_insert_default();
        match met {
            Met::Stored { database, name, content } => {
                let (bytes, sum) = copy(content, &mut io::sink())?;
                if self.databases.len() >= MOST_DATABASES && !self.databases.contains_key(&database) {
                    return Err(refused("filestores of too many databases"));
                }
                let filestore = self.databases.entry(database).or_default();
                filestore.files += 1;
                filestore.bytes += bytes;
                if sum != name.as_str() {
                    filestore.wrong.get_or_insert(name);
                }
            }
            Met::File { content, .. } => *data += copy(content, &mut io::sink())?.0,
            Met::Directory { .. } => {}
        }
        Ok(())
    }

    /// With the filestore of this database, or the only one.
    pub(super) fn held(self, database: Option<String>) -> BackupResult<Held> {
        let data_bytes = self.data.ok_or_else(|| refused("it holds no data directory"))?;
        let mut databases = self.databases;
        let named = database.and_then(|name| databases.remove_entry(&name));
        let chosen = match named {
            Some(named) => Some(named),
            None if databases.len() > 1 => {
                let names: Vec<&str> = databases.keys().map(String::as_str).collect();
                return Err(refused(format!("nobody knows which filestore is its own: {}", names.join(", "))));
            }
            None => databases.pop_first(),
        };
        let Some((name, filestore)) = chosen else {
            return Ok(Held { filestore: None, files: 0, files_bytes: 0, data_bytes });
        };
        if let Some(wrong) = filestore.wrong {
            return Err(refused(format!("file {wrong} of its filestore is not what its name says")));
        }
        Ok(Held { filestore: Some(name), files: filestore.files, files_bytes: filestore.bytes, data_bytes })
    }
}

/// Writes what an archive holds.
pub(super) struct Unpacking<'a> {
    content: &'a Content,
    data: &'a OwnedFd,
    filestore: &'a OwnedFd,
    left: u64,
}

impl<'a> Unpacking<'a> {
    pub(super) fn new(content: &'a Content, data: &'a OwnedFd, filestore: &'a OwnedFd) -> Self {
        Self { content, data, filestore, left: content.files_bytes.saturating_add(content.data_bytes) }
    }

    pub(super) fn place(&mut self, met: Met<'_>) -> BackupResult<()> {
        match met {
            Met::Stored { database, .. } if self.content.filestore.as_ref() != Some(&database) => Ok(()),
            Met::Stored { name, content, .. } => {
                let directory = tree::ensure_directory(self.filestore, name.directory()).map_err(placed)?;
                let sum = self.write(&directory, OsStr::new(name.as_str()), content)?;
                if sum == name.as_str() { Ok(()) } else { Err(refused(format!("file {name} is not what its name says"))) }
            }
            Met::File { path, content } => {
                let directory = self.directory(path.parent())?;
                let name = path.file_name().ok_or_else(|| refused("a file without a name"))?;
                self.write(&directory, name, content).map(drop)
            }
            Met::Directory { path } => self.directory(Some(&path)).map(drop),
        }
    }

    fn directory(&self, path: Option<&Path>) -> BackupResult<OwnedFd> {
        let mut directory = self.data.as_fd().try_clone_to_owned().map_err(placed)?;
        for part in path.into_iter().flat_map(Path::components) {
            directory = tree::ensure_directory(&directory, part.as_os_str()).map_err(placed)?;
        }
        Ok(directory)
    }

    /// The SHA-1 of what was written; no more than what was seen when it was entered.
    fn write(&mut self, directory: &OwnedFd, name: &OsStr, content: &mut dyn Read) -> BackupResult<String> {
        let mut file = tree::create_file(directory, name).map_err(placed)?;
        let (bytes, sum) = copy(&mut content.take(self.left.saturating_add(1)), &mut file)?;
        self.left = self.left.checked_sub(bytes).ok_or_else(|| refused("it holds more than it did"))?;
        Ok(sum)
    }
}

fn placed(error: io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => refused("an entry is there twice"),
        _ => BackupError::local("unpack the archive", error),
    }
}

/// How many bytes, and their SHA-1.
fn copy(content: &mut dyn Read, into: &mut dyn Write) -> BackupResult<(u64, String)> {
    let (mut sum, mut bytes, mut buffer) = (Summing::sha1(), 0, vec![0; 64 * 1024]);
    loop {
        let read = content.read(&mut buffer).map_err(unread)?;
        if read == 0 {
            return Ok((bytes, sum.hex()));
        }
        sum.add(&buffer[..read]);
        bytes += read as u64;
        into.write_all(&buffer[..read]).map_err(|e| BackupError::local("unpack the archive", e))?;
    }
}

struct Summed {
    file: File,
    sum: Summing,
    bytes: u64,
}

impl Read for Summed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.sum.add(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = self.left.checked_sub(read as u64);
        self.left = left.ok_or_else(|| refused("it is compressed as only a bomb is").into_io())?;
        Ok(read)
    }
}
