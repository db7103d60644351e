//! Files below an open directory, never through a symbolic link: what lies there belongs to a tenant, who may plant some.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, mkdirat, openat, statat};
use rustix::io::Errno;
use rustix::path::Arg;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Without NONBLOCK the opening of a planted pipe would wait for somebody to write.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
const NEW: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

pub(crate) fn open_directory(parent: impl AsFd, name: impl Arg) -> io::Result<OwnedFd> {
    Ok(openat(parent, name, DIRECTORY, Mode::empty())?)
}

/// Opens a regular file for reading and says how long it is.
pub(crate) fn open_file(parent: impl AsFd, name: impl Arg) -> io::Result<(File, u64)> {
    let file = openat(parent, name, FILE, Mode::empty())?;
    let found = fstat(&file)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let bytes = u64::try_from(found.st_size).map_err(io::Error::other)?;
    Ok((File::from(file), bytes))
}

/// A new file that only its owner can read.
pub(crate) fn create_file(parent: impl AsFd, name: impl Arg) -> io::Result<File> {
    Ok(File::from(openat(parent, name, NEW, Mode::from_raw_mode(0o600))?))
}

/// The directory, made if it is not there.
pub(crate) fn ensure_directory(parent: impl AsFd, name: impl Arg + Copy) -> io::Result<OwnedFd> {
    match mkdirat(&parent, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => open_directory(parent, name),
        Err(e) => Err(e.into()),
    }
}

/// What an entry is, not what it points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Other,
}

/// The entries of a directory, by name.
pub(crate) fn entries(directory: impl AsFd) -> io::Result<Vec<(Vec<u8>, Kind)>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                FileType::from_raw_mode(statat(&directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
            }
            known => known,
        };
        let kind = match kind {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            _ => Kind::Other,
        };
        found.push((name.to_vec(), kind));
    }
    found.sort_by(|a: &(Vec<u8>, Kind), b| a.0.cmp(&b.0));
    Ok(found)
}
