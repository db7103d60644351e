//! Backups of the earlier service (contract 16.2), where it left them:
//!
//! ```text
//! active/<name>_metadata.json      whose it is, and of when
//! active/<name>_database.sql       pg_dump, plain
//! active/<name>_data.tar.gz        the data directory: conf, addons, data/filestore/<database>/<xx>/<sha1>, ...
//! ```
//!
//! They are read as from a stranger, and never changed. What they held when they were entered into the catalogue ([`Content`]) is compared
//! whenever they are read.

mod archive;
mod dump;
mod metadata;

pub use metadata::Metadata;

use crate::error::{BackupError, BackupResult, blocking};
use crate::reader::Verified;
use crate::tree;
use archive::Tally;
use domain::backup::legacy::{Content, Legacy, Sum};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::AsyncRead;

/// Says which root this is; the same file as that of our own backups.
const ROOT_ID: &str = ".root";
const ACTIVE: &str = "active";
const METADATA: &str = "_metadata.json";
const DUMP: &str = "_database.sql";
const ARCHIVE: &str = "_data.tar.gz";
/// More than any of it has.
const LONGEST_METADATA: u64 = 1 << 20;

/// The directory that they lie in.
#[derive(Clone, Debug)]
pub struct LegacyStore {
    root: PathBuf,
}

/// Why something is no whole backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// In words for the customer.
    pub public: &'static str,
    /// In words for an operator.
    pub why: String,
}

impl Flaw {
    fn new(public: &'static str, why: impl std::fmt::Display) -> Self {
        Self { public, why: why.to_string() }
    }
}

/// The words for a file that cannot be had, unless that says nothing about the file.
fn opened(active: &OwnedFd, name: &str, missing: &'static str) -> BackupResult<Result<(File, u64), Flaw>> {
    match tree::open_file(active, name) {
        Ok((_, 0)) => Ok(Err(Flaw::new(missing, format!("{name} is empty")))),
        Ok(found) => Ok(Ok(found)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Err(Flaw::new(missing, format!("{name} is missing")))),
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Ok(Err(Flaw::new(missing, format!("{name}: {e}")))),
        Err(e) => Err(BackupError::local(format!("open {name}"), e)),
    }
}

/// What was refused is a flaw; what could not be asked is none.
fn flawed<T>(result: BackupResult<T>, public: &'static str, name: &str) -> BackupResult<Result<T, Flaw>> {
    match result {
        Ok(found) => Ok(Ok(found)),
        Err(BackupError::Refused(why)) => Ok(Err(Flaw::new(public, format!("{name}: {why}")))),
        Err(e) => Err(e),
    }
}

impl LegacyStore {
    /// Those below this directory (`CEPHFS_BACKUPS_PATH`).
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where that is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn active(&self) -> BackupResult<OwnedFd> {
        let opened = File::open(&self.root).and_then(|root| tree::open_directory(&root, ACTIVE));
        opened.map_err(|e| BackupError::Unreachable(format!("{}/{ACTIVE}: {e}", self.root.display())))
    }

    /// Every name of which a file is there, and whether its metadata are; none if the earlier service has never taken a backup here.
    ///
    /// # Errors
    /// [`BackupError::Unreachable`] if the root cannot be looked into.
    pub async fn list(&self) -> BackupResult<BTreeMap<String, bool>> {
        let this = self.clone();
        blocking(move || {
            let unreachable = |e: io::Error| BackupError::Unreachable(format!("{}: {e}", this.root.display()));
            let root = File::open(&this.root).map_err(unreachable)?;
            let mut found = BTreeMap::<String, bool>::new();
            let active = match tree::open_directory(&root, ACTIVE) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
                active => active.map_err(unreachable)?,
            };
            for (name, _) in tree::entries(&active).map_err(unreachable)? {
                let Ok(name) = String::from_utf8(name) else { continue };
                let Some((name, end)) = [METADATA, DUMP, ARCHIVE].iter().find_map(|end| Some((name.strip_suffix(end)?, *end)))
                else {
                    continue;
                };
                *found.entry(name.to_owned()).or_default() |= end == METADATA;
            }
            Ok(found)
        })
        .await
    }

    /// Whose it is and of when, or why nobody can tell.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn metadata(&self, name: &str) -> BackupResult<Result<Metadata, String>> {
        let (this, name) = (self.clone(), format!("{name}{METADATA}"));
        blocking(move || {
            let (file, _) = match opened(&this.active()?, &name, "")? {
                Ok(found) => found,
                Err(flaw) => return Ok(Err(flaw.why)),
            };
            let mut text = Vec::new();
            let read = file.take(LONGEST_METADATA).read_to_end(&mut text);
            read.map_err(|e| BackupError::local(format!("read {name}"), e))?;
            Ok(Metadata::of(&text).map_err(|why| format!("{name}: {why}")))
        })
        .await
    }

    /// Reads all of it, and what it holds, or why it is no whole backup. `database` is what the filestore that counts is called, if that is
    /// known.
    ///
    /// # Errors
    /// The files cannot be read, whatever they hold.
    pub async fn look(&self, name: &str, database: Option<String>) -> BackupResult<Result<Content, Flaw>> {
        const NO_DUMP: &str = "This backup of the earlier service is not whole: its dump of the database is missing or cut off.";
        const BAD_DUMP: &str = "This backup of the earlier service cannot be used: its dump of the database cannot be read.";
        const NO_ARCHIVE: &str = "This backup of the earlier service is not whole: its archive of files is missing or empty.";
        const BAD_ARCHIVE: &str = "This backup of the earlier service cannot be used: its archive of files cannot be read.";
        let (this, dump, archive) = (self.clone(), format!("{name}{DUMP}"), format!("{name}{ARCHIVE}"));
        blocking(move || {
            let active = this.active()?;
            // Looked at first: it is there for the price of a look.
            let (files, packed) = match opened(&active, &archive, NO_ARCHIVE)? {
                Ok(found) => found,
                Err(flaw) => return Ok(Err(flaw)),
            };
            let (text, _) = match opened(&active, &dump, NO_DUMP)? {
                Ok(found) => found,
                Err(flaw) => return Ok(Err(flaw)),
            };
            let dumped = match flawed(dump::look(text), BAD_DUMP, &dump)? {
                Ok(dumped) if dumped.is_whole => dumped,
                Ok(_) => return Ok(Err(Flaw::new(NO_DUMP, format!("{dump} is cut off: its last line is missing")))),
                Err(flaw) => return Ok(Err(flaw)),
            };
            let mut tally = Tally::default();
            let sum = archive::walk(files, packed, |met| tally.add(met));
            let (sum, held) = match flawed(sum.and_then(|sum| Ok((sum, tally.held(database)?))), BAD_ARCHIVE, &archive)? {
                Ok(found) => found,
                Err(flaw) => return Ok(Err(flaw)),
            };
            Ok(Ok(Content {
                dump: dumped.sum,
                archive: sum,
                filestore: held.filestore,
                files: held.files,
                files_bytes: held.files_bytes,
                data_bytes: held.data_bytes,
                postgres_version: dumped.postgres_version,
            }))
        })
        .await
    }

    /// One that is in the catalogue, to be read.
    ///
    /// # Errors
    /// [`BackupError::Unreachable`] if this is not the directory that it lies in; [`BackupError::Damaged`] if its files are not there, or not as
    /// long as they were.
    pub async fn open(&self, legacy: &Legacy) -> BackupResult<LegacyBackup> {
        let (this, Legacy { name, root, content }) = (self.clone(), legacy.clone());
        blocking(move || {
            this.is_here(&root)?;
            let content = content.ok_or_else(|| BackupError::damaged(name.as_str(), "it never was a whole backup"))?;
            let opened = LegacyBackup { active: Arc::new(this.active()?), name, content };
            opened.file(DUMP)?;
            opened.file(ARCHIVE)?;
            Ok(opened)
        })
        .await
    }

    /// Removes the files of one that is in the catalogue, but for those that are not as long as they were when it was entered. Repeatable.
    ///
    /// # Errors
    /// [`BackupError::Unreachable`] if this is not the directory that it lies in; a file cannot be removed.
    pub async fn remove(&self, legacy: &Legacy) -> BackupResult<()> {
        let (this, Legacy { name, root, content }) = (self.clone(), legacy.clone());
        blocking(move || {
            this.is_here(&root)?;
            let active = this.active()?;
            let sizes = content.map_or([None, None], |content| [Some(content.dump.bytes), Some(content.archive.bytes)]);
            // The metadata go last: they say whose the others are.
            for (end, bytes) in [(DUMP, sizes[0]), (ARCHIVE, sizes[1]), (METADATA, None)] {
                let file = format!("{name}{end}");
                let failed = |e: io::Error| BackupError::local(format!("remove {file}"), e);
                match tree::open_file(&active, file.as_str()) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    Ok((_, found)) if bytes.is_some_and(|bytes| bytes != found) => {
                        tracing::warn!(file, "it is not what was entered into the catalogue, and stays");
                        continue;
                    }
                    found => found.map_err(failed)?,
                };
                rustix::fs::unlinkat(&active, file.as_str(), rustix::fs::AtFlags::empty()).map_err(|e| failed(e.into()))?;
            }
            rustix::fs::fsync(&active).map_err(|e| BackupError::local("flush a directory", e))
        })
        .await
    }

    /// A file system that is not mounted has lost nothing.
    fn is_here(&self, root: &str) -> BackupResult<()> {
        match fs::read_to_string(self.root.join(ROOT_ID)) {
            Ok(text) if text.trim() == root => Ok(()),
            Ok(_) => Err(BackupError::Unreachable(format!("{} is another root", self.root.display()))),
            Err(e) => Err(BackupError::Unreachable(format!("root {}: {e}", self.root.display()))),
        }
    }
}

/// One that is there.
#[derive(Clone, Debug)]
pub struct LegacyBackup {
    active: Arc<OwnedFd>,
    name: String,
    content: Content,
}

impl LegacyBackup {
    /// What it held when it was entered into the catalogue.
    pub const fn content(&self) -> &Content {
        &self.content
    }

    fn file(&self, end: &str) -> BackupResult<File> {
        let (name, expected) = (format!("{}{end}", self.name), self.sum(end));
        match tree::open_file(&*self.active, name.as_str()) {
            Ok((file, bytes)) if bytes == expected.bytes => Ok(file),
            Ok(_) => Err(BackupError::damaged(name, "it has another length")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(BackupError::damaged(name, "it is missing")),
            Err(e) => Err(BackupError::local(format!("open {name}"), e)),
        }
    }

    fn sum(&self, end: &str) -> &Sum {
        if end == DUMP { &self.content.dump } else { &self.content.archive }
    }

    fn compare(&self, end: &str, sum: &Sum) -> BackupResult<()> {
        if sum == self.sum(end) {
            return Ok(());
        }
        Err(BackupError::damaged(format!("{}{end}", self.name), "it is not what was entered into the catalogue"))
    }

    /// Compares both files with their sums: what they held was looked at when those were taken.
    ///
    /// # Errors
    /// [`BackupError::Damaged`]; a file cannot be read.
    pub async fn verify(&self) -> BackupResult<Verified> {
        let this = self.clone();
        blocking(move || {
            for end in [DUMP, ARCHIVE] {
                this.compare(end, &dump::sum(this.file(end)?)?)?;
            }
            Ok(Verified { files: this.content.files, files_bytes: this.content.files_bytes })
        })
        .await
    }

    /// The dump: a program for psql, for [`crate::tools::ClientTools::load_plain`] only. The reader's errors are ours; its end is that of the
    /// dump that was entered.
    ///
    /// # Errors
    /// [`BackupError::Damaged`]; the file cannot be read.
    pub fn dump(&self) -> BackupResult<impl AsyncRead + Send + Unpin + use<>> {
        Ok(dump::Compared::new(self.file(DUMP)?, format!("{}{DUMP}", self.name), self.content.dump.clone()))
    }

    /// Writes its filestore, and the rest of its data directory but for sessions, into new directories, and returns when they are on disk.
    ///
    /// # Errors
    /// [`BackupError::Damaged`]; the directories cannot be written.
    pub async fn restore(&self, data: OwnedFd, filestore: OwnedFd) -> BackupResult<Verified> {
        let this = self.clone();
        blocking(move || {
            let mut unpacking = archive::Unpacking::new(&this.content, &data, &filestore);
            let sum = archive::walk(this.file(ARCHIVE)?, this.content.archive.bytes, |met| unpacking.place(met));
            this.compare(ARCHIVE, &archive::unless_refused(sum)?)?;
            rustix::fs::syncfs(&data).map_err(|e| BackupError::local("flush the data directory", e))?;
            Ok(Verified { files: this.content.files, files_bytes: this.content.files_bytes })
        })
        .await
    }
}
