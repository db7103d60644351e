//! Data directories of instances: `<root>/<name>/{data/filestore/<database>, conf/odoo.conf, addons, log}`.
//!
//! Owns: making, checking, filling, measuring and removing them, exchanging the data in them, and who may read what. Directories
//! and the mark belong to us, so that an Odoo cannot exchange them; `data` and the configuration file belong to Odoo's account.
//! Nothing outside the root is ever touched, and no symbolic link below it is followed. Leaves to others: names (the row's),
//! quotas, and what runs on a directory (the drivers).

mod beside;
mod conf;
mod copy;
mod filestore;
mod handover;
mod root_id;
mod tree;

use crate::account::Account;
use crate::error::{RuntimeError, RuntimeResult, blocking};
use crate::process::lock;
use crate::turn::{Asked, Entered, Turns, in_turn};
use crate::workload::{Owner, Service, Turn};
use domain::ids::OperationId;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

pub use beside::{Beside, SwapState};
pub(crate) use beside::{DATA, incoming};
pub(crate) use conf::{conf_path, staged_conf_path};
pub use filestore::{Copied, Filestore};
pub use root_id::{name_root, root_id};
pub(crate) use tree::{flush, private};

const MARK: &str = "mark.json";
/// Directories under construction and under removal. It lies on the root's own file system, so that a rename is enough.
const STAGING: &str = ".staging";
/// Purpose of what is on its way out.
const GONE: &str = "gone";
static ATTEMPTS: AtomicU64 = AtomicU64::new(0);

/// Whose directory it is and which operation made it; a file in the directory says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Whose it is.
    pub owner: Owner,
    /// The operation that made it.
    pub operation: OperationId,
}

/// What stands at the place of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing.
    Absent,
    /// A complete directory of this owner.
    Ours(Mark),
    /// Anything else.
    Foreign,
}

/// The root of all data directories.
#[derive(Clone, Debug)]
pub struct DataDirectories {
    root: PathBuf,
    account: Account,
    turns: Turns,
}

impl DataDirectories {
    /// The directories below `root`, an absolute path that exists, for Odoo's `account`.
    pub fn new(root: impl Into<PathBuf>, account: Account) -> RuntimeResult<Self> {
        let root = root.into();
        let root = fs::canonicalize(&root).map_err(|e| RuntimeError::io(format!("open root {}", root.display()), &e))?;
        Ok(Self { turns: Turns::open(&root)?, root, account })
    }

    /// The root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn account(&self) -> Account {
        self.account
    }

    /// The path of a directory with this name. To be stored in the row, not computed again.
    pub fn path(&self, name: &str) -> RuntimeResult<PathBuf> {
        if plain(name) { Ok(self.root.join(name)) } else { Err(outside(Path::new(name))) }
    }

    /// The plain name of a directory that must be a direct child of the root.
    pub(crate) fn name_of<'a>(&self, directory: &'a Path) -> RuntimeResult<&'a str> {
        let name = directory.file_name().and_then(|name| name.to_str()).filter(|name| plain(name));
        match (directory.parent(), name) {
            (Some(parent), Some(name)) if parent == self.root => Ok(name),
            _ => Err(outside(directory)),
        }
    }

    /// What stands at this place, seen from this owner.
    pub async fn check(&self, directory: &Path, owner: Owner) -> RuntimeResult<Place> {
        let (this, directory) = (self.clone(), directory.to_owned());
        blocking(move || this.check_now(&directory, owner)).await
    }

    pub(crate) fn check_now(&self, directory: &Path, owner: Owner) -> RuntimeResult<Place> {
        self.name_of(directory)?;
        self.turns.present()?;
        match fs::symlink_metadata(directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Place::Absent),
            Err(e) => return Err(RuntimeError::io(format!("look at {}", directory.display()), &e)),
            Ok(found) if !found.is_dir() => return Ok(Place::Foreign),
            Ok(_) => {}
        }
        Ok(match read_mark(directory)? {
            Some(mark) if mark.owner == owner => Place::Ours(mark),
            _ => Place::Foreign,
        })
    }

    /// The right to change what stands at this place.
    pub(crate) fn enter(&self, directory: &Path, owner: Owner, asked: &Asked) -> RuntimeResult<Entered> {
        self.turns.enter(self.name_of(directory)?, owner, asked)
    }

    /// The same for the service that works on a directory.
    pub(crate) fn enter_service(&self, service: &Service, asked: &Asked) -> RuntimeResult<Entered> {
        self.turns.enter(&service.name, service.owner, asked)
    }

    /// Makes the directory, complete and marked, in one visible step. Done already by this owner: nothing happens.
    pub async fn create(&self, directory: &Path, owner: Owner, turn: Turn) -> RuntimeResult<()> {
        let (this, directory) = (self.clone(), directory.to_owned());
        in_turn(turn, move |asked| this.create_now(&directory, owner, asked)).await
    }

    fn create_now(&self, directory: &Path, owner: Owner, asked: &Asked) -> RuntimeResult<()> {
        let entered = self.enter(directory, owner, asked)?;
        match self.check_now(directory, owner)? {
            Place::Ours(_) => return Ok(()),
            Place::Foreign => return Err(foreign(directory)),
            Place::Absent => drop(entered),
        }
        let staged = self.staged(directory, asked.turn(), "new")?;
        let mark = Mark { owner, operation: asked.turn().operation };
        match tree::build(&staged, &mark, self.account).and_then(|()| self.put(&staged, directory, owner, asked)) {
            Ok(true) => Ok(()),
            other => clear(&staged).and(other.map(drop)),
        }
    }

    /// Puts a whole directory in its place; false if there is one of this owner already.
    fn put(&self, staged: &Path, directory: &Path, owner: Owner, asked: &Asked) -> RuntimeResult<bool> {
        let _entered = self.enter(directory, owner, asked)?;
        match self.check_now(directory, owner)? {
            Place::Ours(_) => return Ok(false),
            Place::Foreign => return Err(foreign(directory)),
            Place::Absent => {}
        }
        fs::rename(staged, directory).map_err(|e| RuntimeError::io(format!("put {} in place", directory.display()), &e))?;
        flush(&self.root)?;
        Ok(true)
    }

    /// Removes the directory with everything in it; one that is gone is done, one of somebody else is `Foreign`. While a process
    /// works on it, it stays.
    pub async fn remove(&self, directory: &Path, owner: Owner, turn: Turn) -> RuntimeResult<()> {
        let (this, directory) = (self.clone(), directory.to_owned());
        in_turn(turn, move |asked| this.remove_now(&directory, owner, asked)).await
    }

    fn remove_now(&self, directory: &Path, owner: Owner, asked: &Asked) -> RuntimeResult<()> {
        let gone = self.staged(directory, asked.turn(), GONE)?;
        self.take_away(directory, &gone, owner, asked)?;
        self.sweep(directory, |left| left.token < asked.turn().token || (left.token == asked.turn().token && left.is_gone))
    }

    /// It disappears at once, whole; what an interruption leaves is in the staging area and found by the next call.
    fn take_away(&self, directory: &Path, gone: &Path, owner: Owner, asked: &Asked) -> RuntimeResult<()> {
        let _entered = self.enter(directory, owner, asked)?;
        match self.check_now(directory, owner)? {
            Place::Absent => return Ok(()),
            Place::Foreign => return Err(foreign(directory)),
            Place::Ours(_) => {}
        }
        // Whoever starts a process takes its lock in a turn of this directory, so none can begin between look and rename.
        if !lock::all_free(directory)? {
            return Err(RuntimeError::Transient(format!("a process works on {}", directory.display())));
        }
        fs::rename(directory, gone).map_err(|e| RuntimeError::io(format!("take {} away", directory.display()), &e))
    }

    /// Bytes that the files of the directory occupy.
    pub async fn size(&self, directory: &Path) -> RuntimeResult<u64> {
        self.name_of(directory)?;
        let directory = directory.to_owned();
        blocking(move || tree::size(&directory)).await
    }

    /// Every marked directory, for the comparison of rows and reality.
    pub async fn list(&self) -> RuntimeResult<Vec<(PathBuf, Mark)>> {
        let this = self.clone();
        blocking(move || {
            this.turns.present()?;
            let mut found = Vec::new();
            let entries = fs::read_dir(&this.root);
            for entry in entries.map_err(|e| RuntimeError::Unreachable(format!("root {}: {e}", this.root.display())))? {
                let path = entry.map_err(|e| RuntimeError::io("read the root", &e))?.path();
                let is_ours = path.file_name().and_then(|name| name.to_str()).is_some_and(plain);
                if let Some(mark) = if is_ours { read_mark(&path)? } else { None } {
                    found.push((path, mark));
                }
            }
            found.sort_by(|a, b| a.0.cmp(&b.0));
            Ok(found)
        })
        .await
    }

    /// A place in the staging area that nobody has used before; what earlier turns left goes. A token belongs to one worker, and
    /// its own tries are counted, so nobody ever writes into another's half-made files.
    fn staged(&self, directory: &Path, turn: Turn, purpose: &str) -> RuntimeResult<PathBuf> {
        private(&self.staging())?;
        self.sweep(directory, |left| left.token < turn.token)?;
        let number = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
        let name = self.name_of(directory)?;
        Ok(self.staging().join(format!("{name}.{}.{}.{purpose}.{number}", turn.operation, turn.token)))
    }

    fn staging(&self) -> PathBuf {
        self.root.join(STAGING)
    }

    /// Removes what interrupted calls on this directory left in the staging area.
    fn sweep(&self, directory: &Path, is_over: impl Fn(&LeftOver) -> bool) -> RuntimeResult<()> {
        let name = self.name_of(directory)?;
        let entries = match fs::read_dir(self.staging()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|e| RuntimeError::io("read the staging area", &e))?,
        };
        for entry in entries {
            let entry = entry.map_err(|e| RuntimeError::io("read the staging area", &e))?;
            if entry.file_name().to_str().and_then(|entry| LeftOver::of(name, entry)).is_some_and(|left| is_over(&left)) {
                clear(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// What an interrupted call left in the staging area.
struct LeftOver {
    token: i64,
    is_gone: bool,
}

impl LeftOver {
    /// By the entry's name, if it is of the directory with this name. Earlier releases wrote no token: anybody's came later.
    fn of(directory: &str, entry: &str) -> Option<Self> {
        let rest: Vec<&str> = entry.strip_prefix(directory)?.strip_prefix('.')?.split('.').collect();
        let token = rest.get(1).and_then(|token| token.parse().ok()).unwrap_or(i64::MIN);
        Some(Self { token, is_gone: rest.get(2) == Some(&GONE) })
    }
}

/// The mark of a directory; `None` if it has none that can be read as one.
fn read_mark(directory: &Path) -> RuntimeResult<Option<Mark>> {
    let path = directory.join(MARK);
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Ok(None),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(RuntimeError::io(format!("look at {}", path.display()), &e)),
    }
    let text = fs::read(&path).map_err(|e| RuntimeError::io(format!("read {}", path.display()), &e))?;
    Ok(serde_json::from_slice(&text).ok())
}

/// Removes a directory tree of ours, following no link; a missing one is done.
fn clear(path: &Path) -> RuntimeResult<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(RuntimeError::io(format!("remove {}", path.display()), &e)),
        _ => Ok(()),
    }
}

/// Whether a name is one plain path component that can neither leave its parent nor be hidden.
pub(crate) fn plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

fn outside(path: &Path) -> RuntimeError {
    RuntimeError::Permanent(format!("{path:?} is not the name of a data directory under the root"))
}

fn foreign(directory: &Path) -> RuntimeError {
    RuntimeError::Foreign(format!("{} does not carry our mark", directory.display()))
}
