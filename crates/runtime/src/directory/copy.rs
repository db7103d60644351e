//! Copying a tree of files between open directories, and putting the copy on disk.

use super::tree::{make_directory, open_directory};
use crate::account::Account;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, linkat, openat, readlinkat, statat, symlinkat};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

/// So many files are flushed together. The file system then commits them in a few goes instead of one by one, which is five to
/// ten times quicker, and the number of open files stays bounded however large the tree is.
const TOGETHER: usize = 32;

/// Deeper trees are nobody's data; each level keeps a file open.
const DEEPEST: usize = 100;

/// A copy under way.
struct Copying {
    account: Account,
    /// Into the same data directory: it may share files with its original, and takes what lies there.
    is_beside: bool,
    unflushed: Vec<File>,
    files: u64,
    bytes: u64,
}

/// Copies everything below `from` into the empty directory `to`, as new files of `account`, and puts it on disk. Anything but
/// files and directories is refused. Returns count and bytes.
pub(super) fn copy(from: &OwnedFd, to: OwnedFd, account: Account) -> io::Result<(u64, u64)> {
    Copying { account, is_beside: false, unflushed: Vec::new(), files: 0, bytes: 0 }.all(from, to)
}

/// The same for a copy beside the original, in the hands of the same account: files of filestores get a second name instead,
/// links are copied as links, and what is neither is left out.
pub(super) fn copy_beside(from: &OwnedFd, to: OwnedFd, account: Account) -> io::Result<(u64, u64)> {
    Copying { account, is_beside: true, unflushed: Vec::new(), files: 0, bytes: 0 }.all(from, to)
}

impl Copying {
    fn all(mut self, from: &OwnedFd, to: OwnedFd) -> io::Result<(u64, u64)> {
        self.directory(from, to, 0, false)?;
        self.flush()?;
        Ok((self.files, self.bytes))
    }

    fn directory(&mut self, from: &OwnedFd, to: OwnedFd, depth: usize, is_filestore: bool) -> io::Result<()> {
        if depth > DEEPEST {
            return Err(invalid(format!("there are more than {DEEPEST} directories in each other")));
        }
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            match FileType::from_raw_mode(statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode) {
                FileType::Directory => {
                    let is_filestore = is_filestore || (self.is_beside && depth == 0 && name == c"filestore");
                    self.directory(&open_directory(from, name)?, make_directory(&to, name, 0o700)?, depth + 1, is_filestore)?;
                }
                FileType::RegularFile if is_filestore => {
                    linkat(from, name, &to, name, AtFlags::empty())?;
                    self.files += 1;
                }
                FileType::RegularFile => self.file(from, &to, name)?,
                FileType::Symlink if self.is_beside => {
                    symlinkat(&*readlinkat(from, name, Vec::new())?, &to, name)?;
                    self.account.own_link(&to, name)?;
                }
                _ if self.is_beside => {}
                other => return Err(invalid(format!("{name:?} is a {other:?}"))),
            }
        }
        self.account.own(&to)?;
        self.written(to.into())
    }

    fn file(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr) -> io::Result<()> {
        // Nor is anything waited for that was put in a file's place just now.
        let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut source = File::from(openat(from, name, read, Mode::empty())?);
        if !source.metadata()?.is_file() {
            return Err(invalid(format!("{name:?} is no file any more")));
        }
        let mut target = File::from(openat(to, name, write, Mode::from_raw_mode(0o600))?);
        self.bytes += io::copy(&mut source, &mut target)?;
        self.files += 1;
        self.account.own(&target)?;
        self.written(target)
    }

    fn written(&mut self, file: File) -> io::Result<()> {
        self.unflushed.push(file);
        if self.unflushed.len() < TOGETHER { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        let files = std::mem::take(&mut self.unflushed);
        std::thread::scope(|scope| {
            let flushing: Vec<_> = files.iter().map(|file| scope.spawn(|| file.sync_all())).collect();
            let ended = |flush: std::thread::ScopedJoinHandle<'_, io::Result<()>>| {
                flush.join().map_err(|_| io::Error::other("a flush ended early"))?
            };
            flushing.into_iter().try_for_each(ended)
        })
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
