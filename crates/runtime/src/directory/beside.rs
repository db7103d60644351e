//! Data beside the live ones, for a restore or an update: staged in `incoming-<number>`, put in their place in one go, and what
//! they replaced kept in `replaced-<number>` until it is put back or removed.
//!
//! Both are in the data directory itself, so that a rename is enough, and belong to us: an Odoo cannot exchange them. Each step
//! is told by which of the three names are there, and so may be repeated after a kill at any moment.

use super::copy::copy_beside;
use super::filestore::exists;
use super::handover::hand_over;
use super::tree::{make_directory, open_directory};
use super::{Copied, DataDirectories, GONE, Place, foreign, staged_conf_path};
use crate::error::{RuntimeError, RuntimeResult, blocking};
use crate::process::lock;
use crate::turn::{Asked, Entered, in_turn};
use crate::workload::{Files, OneOff, Owner, Turn};
use rustix::fs::{AtFlags, CWD, Dir, FileType, RenameFlags, renameat_with, statat, symlinkat, syncfs, unlinkat};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The part of a data directory that an Odoo works on.
pub(crate) const DATA: &str = "data";

/// The name of what is staged.
pub(crate) fn incoming(number: u32) -> String {
    format!("incoming-{number}")
}

fn replaced(number: u32) -> String {
    format!("replaced-{number}")
}

/// Something beside the live data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Beside {
    /// Staged, not in its place yet.
    Incoming(u32),
    /// Replaced, and kept.
    Replaced(u32),
}

impl Beside {
    fn name(self) -> String {
        match self {
            Self::Incoming(number) => incoming(number),
            Self::Replaced(number) => replaced(number),
        }
    }

    fn of(name: &str) -> Option<Self> {
        let number = |kind: &str| name.strip_prefix(kind)?.parse().ok();
        let found = number("incoming-").map(Self::Incoming).or_else(|| number("replaced-").map(Self::Replaced));
        found.filter(|beside| beside.name() == name)
    }
}

/// How far staged data got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapState {
    /// Nothing is staged under this number, and nothing was replaced.
    Nothing,
    /// Staged.
    NotYet,
    /// Killed in the middle: there are no live data. Forwards and backwards both go on from here.
    Half,
    /// In its place.
    Done,
}

/// Which way to go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Forth,
    Back,
}

impl DataDirectories {
    /// Makes `incoming-<number>`, empty and ours, and opens it for filling. What was staged under the number before goes:
    /// whoever still writes there can make no more files.
    pub async fn stage(&self, directory: &Path, owner: Owner, turn: Turn, number: u32) -> RuntimeResult<OwnedFd> {
        let (this, directory) = (self.clone(), directory.to_owned());
        in_turn(turn, move |asked| this.stage_now(&directory, owner, number, asked)).await
    }

    /// The same, filled with the live data and handed over. Files of filestores are the same files under a second name: Odoo
    /// never rewrites one. All others are copied; what is neither file, directory nor link is left out.
    pub async fn stage_copy(&self, directory: &Path, owner: Owner, turn: Turn, number: u32) -> RuntimeResult<Copied> {
        let (this, directory) = (self.clone(), directory.to_owned());
        in_turn(turn, move |asked| {
            let live = this.part(&directory, owner, DATA)?;
            let staged = this.stage_now(&directory, owner, number, asked)?;
            let (files, bytes) =
                copy_beside(&live, staged, this.account).map_err(|e| failed("copy the data of", &directory, &e))?;
            Ok(Copied { files, bytes })
        })
        .await
    }

    /// Gives what is staged to Odoo's account, readable for nobody else, and puts it on disk. Links are handed over as links.
    pub async fn hand_over(&self, directory: &Path, owner: Owner, turn: Turn, number: u32) -> RuntimeResult<()> {
        let (this, directory) = (self.clone(), directory.to_owned());
        in_turn(turn, move |asked| {
            let entered = this.enter(&directory, owner, asked)?;
            let staged = this.part(&directory, owner, &incoming(number))?;
            // It takes long, and what it works on is its own whatever comes meanwhile.
            drop(entered);
            let work = || hand_over(&staged, this.account).and_then(|()| Ok(syncfs(&staged)?));
            work().map_err(|e| failed("hand over what is staged in", &directory, &e))
        })
        .await
    }

    /// Puts staged data in the place of the live ones, which become `replaced-<number>`. Done already: nothing happens. Refused
    /// while a process works in the directory.
    pub async fn swap(&self, directory: &Path, owner: Owner, turn: Turn, number: u32) -> RuntimeResult<()> {
        self.go(directory, owner, turn, number, Way::Forth).await
    }

    /// The way back, from any point: the data before are the live ones again, and what had replaced them is `incoming-<number>`.
    pub async fn swap_back(&self, directory: &Path, owner: Owner, turn: Turn, number: u32) -> RuntimeResult<()> {
        self.go(directory, owner, turn, number, Way::Back).await
    }

    /// Stages what is kept as `replaced-<kept>` once more, as `incoming-<number>`. Done already: nothing happens.
    pub async fn recall(&self, directory: &Path, owner: Owner, turn: Turn, kept: u32, number: u32) -> RuntimeResult<()> {
        self.rename_beside(directory, owner, turn, [Beside::Replaced(kept), Beside::Incoming(number)]).await
    }

    /// The way back from there.
    pub async fn shelve(&self, directory: &Path, owner: Owner, turn: Turn, kept: u32, number: u32) -> RuntimeResult<()> {
        self.rename_beside(directory, owner, turn, [Beside::Incoming(number), Beside::Replaced(kept)]).await
    }

    async fn rename_beside(&self, directory: &Path, owner: Owner, turn: Turn, names: [Beside; 2]) -> RuntimeResult<()> {
        let (this, directory) = (self.clone(), directory.to_owned());
        in_turn(turn, move |asked| {
            let _entered = this.enter(&directory, owner, asked)?;
            let top = this.top(&directory, owner)?;
            let [from, to] = names.map(Beside::name);
            let there = |name: &str| exists(&top, name).map_err(|e| failed("look at", &directory, &e));
            match (there(&from)?, there(&to)?) {
                (true, false) => {
                    let rename = || -> io::Result<()> {
                        renameat_with(&top, from.as_str(), &top, to.as_str(), RenameFlags::NOREPLACE)?;
                        Ok(rustix::fs::fsync(&top)?)
                    };
                    rename().map_err(|e| failed("rename something in", &directory, &e))
                }
                (false, true) => Ok(()),
                found => {
                    let text = format!("{} has not one of {from} and {to}: {found:?}", directory.display());
                    Err(RuntimeError::Permanent(text))
                }
            }
        })
        .await
    }

    /// How far it got.
    pub async fn swap_state(&self, directory: &Path, owner: Owner, number: u32) -> RuntimeResult<SwapState> {
        let (this, directory) = (self.clone(), directory.to_owned());
        blocking(move || state(&this.top(&directory, owner)?, &directory, number)).await
    }

    /// What is there beside the live data.
    pub async fn beside(&self, directory: &Path, owner: Owner) -> RuntimeResult<Vec<Beside>> {
        let (this, directory) = (self.clone(), directory.to_owned());
        blocking(move || {
            let top = this.top(&directory, owner)?;
            let mut found = names(&top).map_err(|e| failed("read", &directory, &e))?;
            found.sort();
            Ok(found)
        })
        .await
    }

    /// Removes something beside the live data; what is gone is done. Data that would be the only ones left stay.
    pub async fn remove_beside(&self, directory: &Path, owner: Owner, turn: Turn, which: Beside) -> RuntimeResult<()> {
        let (this, directory) = (self.clone(), directory.to_owned());
        in_turn(turn, move |asked| {
            let gone = this.staged(&directory, asked.turn(), GONE)?;
            {
                let _entered = this.enter(&directory, owner, asked)?;
                let top = this.top(&directory, owner)?;
                if !exists(&top, DATA).map_err(|e| failed("look at", &directory, &e))? {
                    return Err(RuntimeError::Transient(format!("{} is between two data", directory.display())));
                }
                this.take_beside(&top, &directory, which, &gone)?;
            }
            this.sweep(&directory, |left| left.token == asked.turn().token && left.is_gone)
        })
        .await
    }

    /// The live data, for reading. Odoo may work on them, and whatever lies there may have been put there by its tenant.
    pub async fn open_data(&self, directory: &Path, owner: Owner) -> RuntimeResult<OwnedFd> {
        let (this, directory) = (self.clone(), directory.to_owned());
        blocking(move || this.part(&directory, owner, DATA)).await
    }

    /// Bytes that may still be written below the root.
    pub async fn free_space(&self) -> RuntimeResult<u64> {
        let this = self.clone();
        blocking(move || {
            this.turns.present()?;
            let space = rustix::fs::statvfs(&this.root);
            let space = space.map_err(|e| RuntimeError::io(format!("look at {}", this.root.display()), &e.into()))?;
            Ok(space.f_bavail.saturating_mul(space.f_frsize))
        })
        .await
    }

    fn stage_now(&self, directory: &Path, owner: Owner, number: u32, asked: &Asked) -> RuntimeResult<OwnedFd> {
        let gone = self.staged(directory, asked.turn(), GONE)?;
        let staged = {
            let _entered = self.enter(directory, owner, asked)?;
            let top = self.top(directory, owner)?;
            match state(&top, directory, number)? {
                SwapState::Nothing | SwapState::NotYet => {}
                SwapState::Half | SwapState::Done => {
                    return Err(RuntimeError::Permanent(format!("{} has number {number} in place", directory.display())));
                }
            }
            self.take_beside(&top, directory, Beside::Incoming(number), &gone)?;
            make_directory(&top, &*incoming(number), 0o700).map_err(|e| failed("stage data in", directory, &e))?
        };
        self.sweep(directory, |left| left.token == asked.turn().token && left.is_gone)?;
        Ok(staged)
    }

    /// It disappears at once, whole, as a directory that is removed.
    fn take_beside(&self, top: &OwnedFd, directory: &Path, which: Beside, gone: &Path) -> RuntimeResult<()> {
        if let Beside::Incoming(number) = which {
            require_free(lock::is_free(&lock::staged_path(directory, number))?, directory)?;
        }
        match renameat_with(top, &*which.name(), CWD, gone, RenameFlags::NOREPLACE) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(e) => Err(failed("take something away in", directory, &e.into())),
        }
    }

    async fn go(&self, directory: &Path, owner: Owner, turn: Turn, number: u32, way: Way) -> RuntimeResult<()> {
        let (this, directory) = (self.clone(), directory.to_owned());
        in_turn(turn, move |asked| {
            let _entered = this.enter(&directory, owner, asked)?;
            let top = this.top(&directory, owner)?;
            let moves = moves(way, state(&top, &directory, number)?, number);
            let Some(moves) = moves else {
                return Err(RuntimeError::Permanent(format!("nothing is staged as {number} in {}", directory.display())));
            };
            // Whoever starts a process takes its lock in a turn of this directory, so none can begin between look and rename.
            require_free(moves.is_empty() || lock::all_free(&directory)?, &directory)?;
            if way == Way::Forth && !moves.is_empty() {
                drop_links(&top, number).map_err(|e| failed("clear what is staged in", &directory, &e))?;
            }
            let work = || -> io::Result<()> {
                for (from, to) in &moves {
                    renameat_with(&top, from.as_str(), &top, to.as_str(), RenameFlags::NOREPLACE)?;
                }
                Ok(rustix::fs::fsync(&top)?)
            };
            work().map_err(|e| failed("exchange the data in", &directory, &e))
        })
        .await
    }

    /// Opens a directory that must be there and be its owner's.
    fn top(&self, directory: &Path, owner: Owner) -> RuntimeResult<OwnedFd> {
        match self.check_now(directory, owner)? {
            Place::Ours(_) => open_directory(CWD, directory).map_err(|e| failed("open", directory, &e)),
            Place::Foreign => Err(foreign(directory)),
            Place::Absent => Err(RuntimeError::Permanent(format!("{} is missing", directory.display()))),
        }
    }

    /// Opens a part of it.
    fn part(&self, directory: &Path, owner: Owner, name: &str) -> RuntimeResult<OwnedFd> {
        let top = self.top(directory, owner)?;
        open_directory(&top, name).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => RuntimeError::Permanent(format!("there is no {name} in {}", directory.display())),
            _ => failed(&format!("open {name} in"), directory, &e),
        })
    }

    /// Prepares staged files for a run on another database than theirs: it finds the filestore under that one's name as well.
    pub(crate) fn alias(&self, _: &Entered, one_off: &OneOff) -> RuntimeResult<()> {
        let Files::Staged { number, filestore } = &one_off.files else { return Ok(()) };
        let (workload, database) = (&one_off.workload, one_off.workload.database.name.as_str());
        let staged = self.part(&workload.directory, workload.service.owner, &incoming(*number))?;
        if database == filestore.as_str() {
            return Ok(());
        }
        if database.contains('/') || filestore.as_str().contains('/') {
            return Err(RuntimeError::Permanent(format!("{database:?} names no filestore")));
        }
        let work = || -> io::Result<()> {
            let area = open_directory(&staged, "filestore")?;
            if !exists(&area, filestore.as_str())? {
                self.account.own(make_directory(&area, filestore.as_str(), 0o700)?)?;
            }
            match symlinkat(filestore.as_str(), &area, database) {
                // A worker that was killed left it.
                Err(rustix::io::Errno::EXIST) if is_link(&area, database)? => Ok(()),
                other => Ok(other?),
            }
        };
        work().map_err(|e| failed("prepare what is staged in", &workload.directory, &e))
    }

    /// Takes away what a run on staged files needed beside them.
    pub(crate) fn unalias(&self, _: &Entered, one_off: &OneOff) -> RuntimeResult<()> {
        let Files::Staged { number, .. } = &one_off.files else { return Ok(()) };
        let directory = &one_off.workload.directory;
        let top = self.top(directory, one_off.workload.service.owner)?;
        drop_links(&top, *number).map_err(|e| failed("clear what is staged in", directory, &e))?;
        let conf = staged_conf_path(directory, *number);
        match std::fs::remove_file(&conf) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(RuntimeError::io(format!("remove {}", conf.display()), &e)),
            _ => Ok(()),
        }
    }
}

fn state(top: &OwnedFd, directory: &Path, number: u32) -> RuntimeResult<SwapState> {
    let there = |name: &str| exists(top, name).map_err(|e| failed("look at", directory, &e));
    match (there(DATA)?, there(&incoming(number))?, there(&replaced(number))?) {
        (true, false, false) => Ok(SwapState::Nothing),
        (true, true, false) => Ok(SwapState::NotYet),
        (false, true, true) => Ok(SwapState::Half),
        (true, false, true) => Ok(SwapState::Done),
        found => Err(RuntimeError::Permanent(format!(
            "the data in {} are neither as before number {number} nor as after: {found:?}",
            directory.display()
        ))),
    }
}

/// The renames that are left; `None` where there is nothing to put in place.
fn moves(way: Way, state: SwapState, number: u32) -> Option<Vec<(String, String)>> {
    let (data, incoming, replaced) = (DATA.to_owned(), incoming(number), replaced(number));
    let moves = match way {
        Way::Forth => [(data.clone(), replaced), (incoming, data)],
        Way::Back => [(data.clone(), incoming), (replaced, data)],
    };
    match (way, state) {
        (Way::Forth, SwapState::Nothing) => None,
        (Way::Forth, SwapState::Done) | (Way::Back, SwapState::Nothing | SwapState::NotYet) => Some(Vec::new()),
        (Way::Forth, SwapState::NotYet) | (Way::Back, SwapState::Done) => Some(moves.into()),
        (_, SwapState::Half) => Some(moves.into_iter().skip(1).collect()),
    }
}

fn names(top: &OwnedFd) -> io::Result<Vec<Beside>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(top)? {
        found.extend(entry?.file_name().to_str().ok().and_then(Beside::of));
    }
    Ok(found)
}

/// Removes second names of staged filestores. Odoo never makes a link there.
fn drop_links(top: &OwnedFd, number: u32) -> io::Result<()> {
    let area = open_directory(top, &*incoming(number)).and_then(|staged| open_directory(staged, "filestore"));
    let area = match area {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        other => other?,
    };
    for entry in Dir::read_from(&area)? {
        let entry = entry?;
        if is_link(&area, entry.file_name())? {
            unlinkat(&area, entry.file_name(), AtFlags::empty())?;
        }
    }
    Ok(())
}

fn is_link(area: &OwnedFd, name: impl rustix::path::Arg) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(statat(area, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode) == FileType::Symlink)
}

fn require_free(is_free: bool, directory: &Path) -> RuntimeResult<()> {
    if is_free { Ok(()) } else { Err(RuntimeError::Transient(format!("a process works on {}", directory.display()))) }
}

fn failed(doing: &str, directory: &Path, error: &io::Error) -> RuntimeError {
    match error.kind() {
        io::ErrorKind::InvalidData => RuntimeError::Permanent(format!("{doing} {}: {error}", directory.display())),
        _ => RuntimeError::io(format!("{doing} {}", directory.display()), error),
    }
}
