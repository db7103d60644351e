//! The rest of a data directory as a tar archive: regular files and directories, nothing else, neither on the way in nor out.

use crate::error::{BackupError, BackupResult, blocking};
use crate::tree::{self, Kind};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use tar::{Archive, Builder, EntryType, Header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::SyncIoBridge;

/// What has a place of its own in a backup, and what belongs into none: logins.
const LEFT_OUT: [&[u8]; 2] = [b"filestore", b"sessions"];
/// Deeper, or more of them, nobody's add-ons are.
const DEEPEST: usize = 64;
const MOST: u64 = 1_000_000;

/// How much an archive holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packed {
    /// Files and directories.
    pub(crate) entries: u64,
    /// Bytes of the files.
    pub(crate) bytes: u64,
}

/// An archive of nothing: two blocks of zeros (POSIX pax, "ustar Interchange Format").
pub(crate) const NOTHING: &[u8] = &[0; 1024];

/// Writes the archive of what lies below `source`.
pub(crate) async fn pack(source: OwnedFd, into: impl AsyncWrite + Unpin + Send + 'static) -> BackupResult<Packed> {
    let into = SyncIoBridge::new(into);
    blocking(move || {
        let (mut builder, mut packed) = (Builder::new(into), Packed::default());
        let end = add(&mut builder, &source, Path::new(""), 0, &mut packed).and_then(|()| builder.into_inner());
        let end = end.and_then(|mut into| into.shutdown());
        end.map(|()| packed).map_err(|e| BackupError::out_of(e, "archive the data directory"))
    })
    .await
}

fn add<W: io::Write>(
    builder: &mut Builder<W>,
    directory: &OwnedFd,
    path: &Path,
    depth: usize,
    packed: &mut Packed,
) -> io::Result<()> {
    if depth > DEEPEST {
        return Err(BackupError::Refused("directories are nested too deep".to_owned()).into_io());
    }
    for (name, kind) in tree::entries(directory)? {
        if depth == 0 && LEFT_OUT.contains(&name.as_slice()) {
            continue;
        }
        packed.entries += 1;
        if packed.entries > MOST {
            return Err(BackupError::Refused(format!("more than {MOST} files and directories beside the filestore")).into_io());
        }
        let name = OsStr::from_bytes(&name);
        let path = path.join(name);
        let mut header = Header::new_gnu();
        header.set_mtime(0);
        match kind {
            Kind::Directory => {
                header.set_entry_type(EntryType::Directory);
                header.set_mode(0o700);
                header.set_size(0);
                builder.append_data(&mut header, &path, io::empty())?;
                add(builder, &tree::open_directory(directory, name)?, &path, depth + 1, packed)?;
            }
            Kind::File => {
                let (file, bytes) = tree::open_file(directory, name)?;
                header.set_mode(0o600);
                header.set_size(bytes);
                packed.bytes += bytes;
                builder.append_data(&mut header, &path, Exactly { file, left: bytes })?;
            }
            Kind::Other => tracing::debug!(?path, "neither a file nor a directory; it is left out"),
        }
    }
    Ok(())
}

/// So many bytes of a file, or an error: the archive has said how many there are.
struct Exactly<R> {
    file: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file became shorter meanwhile"));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Unpacks an archive of at most `most` bytes below `target`, a new directory. Returns how many files it had.
pub(crate) async fn unpack(
    from: impl AsyncRead + Unpin + Send + 'static,
    target: Option<OwnedFd>,
    most: u64,
) -> BackupResult<u64> {
    let from = SyncIoBridge::new(from);
    blocking(move || {
        let mut archive = Archive::new(from);
        let (mut count, mut left) = (0, most);
        let entries = archive.entries().map_err(|e| BackupError::out_of(e, "read the archive"))?;
        for entry in entries {
            let mut entry = entry.map_err(|e| BackupError::out_of(e, "read the archive"))?;
            count += 1;
            let path = plain(&entry.path().map_err(|e| BackupError::out_of(e, "read the archive"))?)?;
            let kind = entry.header().entry_type();
            if count > MOST || !matches!(kind, EntryType::Regular | EntryType::Directory) {
                return Err(BackupError::Refused(format!("an archive with more than files and directories: {kind:?}")));
            }
            let bytes = entry.size();
            left = left
                .checked_sub(bytes)
                .ok_or_else(|| BackupError::damaged("data archive", format!("it holds more than {most} bytes")))?;
            match &target {
                Some(target) => place(target, &path, kind, &mut entry),
                None => io::copy(&mut entry, &mut io::sink()).map(drop),
            }
            .map_err(|e| BackupError::out_of(e, "unpack the archive"))?;
        }
        Ok(count)
    })
    .await
}

/// A path that stays below its directory.
fn plain(path: &Path) -> BackupResult<PathBuf> {
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if is_plain && path.components().count() <= DEEPEST + 1 && path.components().next().is_some() {
        return Ok(path.to_owned());
    }
    Err(BackupError::Refused(format!("an archive that leaves its directory: {path:?}")))
}

fn place(target: &OwnedFd, path: &Path, kind: EntryType, content: &mut impl Read) -> io::Result<()> {
    let mut directory = target.as_fd().try_clone_to_owned()?;
    for part in path.parent().into_iter().flat_map(Path::components) {
        directory = tree::ensure_directory(&directory, part.as_os_str())?;
    }
    let Some(name) = path.file_name() else { return Ok(()) };
    if kind == EntryType::Directory {
        return tree::ensure_directory(&directory, name).map(drop);
    }
    let mut file = tree::create_file(&directory, name)?;
    io::copy(content, &mut file).map(drop)
}
