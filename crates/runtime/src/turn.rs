//! Whose turn it is at a service or a data directory: `<root>/.turns/<name>` holds the owner and the highest token that ever
//! acted on the name.
//!
//! Whoever acts locks that file, is refused if a higher token was there, and keeps the lock for one short section of work. So
//! sections on a name follow each other, and a worker that was overtaken changes nothing any more, however long it slept. The
//! file stays when the service or directory goes: it is the tombstone that keeps a late worker from making it again. A day later no
//! worker is that late; names are random and never used twice.

use crate::directory::{flush, plain, private};
use crate::error::{RuntimeError, RuntimeResult, blocking};
use crate::workload::{Owner, Turn};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long another section on the same name may take. They are short: what takes long happens outside.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);
/// How long a tombstone stands.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// More than a file of ours ever has.
const LONGEST: u64 = 512;

/// The turns of all names below one root.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    area: PathBuf,
}

/// The right to act on a name, for as long as it is kept.
#[derive(Debug)]
#[must_use]
pub(crate) struct Entered {
    _lock: File,
}

/// A turn, and whether its caller still waits. A thread goes on when its caller is gone, and the caller's own clean-up has the
/// same token: what is not begun by then must not begin.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    turn: Turn,
    given_up: Arc<AtomicBool>,
}

struct GiveUp(Arc<AtomicBool>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs file work for a turn on a thread that may block.
pub(crate) async fn in_turn<T: Send + 'static>(
    turn: Turn,
    work: impl FnOnce(&Asked) -> RuntimeResult<T> + Send + 'static,
) -> RuntimeResult<T> {
    let asked = Asked { turn, given_up: Arc::default() };
    let _caller = GiveUp(asked.given_up.clone());
    blocking(move || work(&asked)).await
}

impl Asked {
    pub(crate) const fn turn(&self) -> Turn {
        self.turn
    }
}

impl Turns {
    /// The turns below a root, with the place for them.
    pub(crate) fn open(root: &Path) -> RuntimeResult<Self> {
        let area = root.join(".turns");
        private(&area)?;
        Ok(Self { area })
    }

    /// Whether the turns are there: where they are not, the file system of the root may be missing, and nothing that is read
    /// there says anything.
    pub(crate) fn present(&self) -> RuntimeResult<()> {
        match fs::metadata(&self.area) {
            Ok(area) if area.is_dir() => Ok(()),
            Ok(_) => Err(RuntimeError::Unreachable(format!("{} is no directory", self.area.display()))),
            Err(e) => Err(RuntimeError::Unreachable(format!("{}: {e}", self.area.display()))),
        }
    }

    /// Enters a name of this owner: refused as `Stale` if a later turn was here.
    pub(crate) fn enter(&self, name: &str, owner: Owner, asked: &Asked) -> RuntimeResult<Entered> {
        if !plain(name) {
            return Err(RuntimeError::Permanent(format!("{name:?} names no service and no directory")));
        }
        let path = self.area.join(name);
        let failed = |e: io::Error| RuntimeError::io(format!("turn {}", path.display()), &e);
        self.present()?;
        let (file, is_new) = open(&path).map_err(failed)?;
        wait(&file, name)?;
        if asked.given_up.load(Ordering::SeqCst) {
            return Err(RuntimeError::Stale(format!("nobody waits for this work on {name} any more")));
        }
        let token = asked.turn.token;
        match read(&file).map_err(failed)? {
            Some((_, theirs)) if theirs != owner => return Err(RuntimeError::Foreign(format!("{name} belongs to {theirs}"))),
            Some((later, _)) if later > token => {
                return Err(RuntimeError::Stale(format!("{name} was taken over: turn {later} came after {token}")));
            }
            Some((same, _)) if same == token => {}
            _ => write(&file, token, owner).map_err(failed)?,
        }
        if is_new {
            flush(&self.area)?;
            self.prune().map_err(failed)?;
        }
        Ok(Entered { _lock: file })
    }

    /// Takes away tombstones that have stood long enough. The directory tells: a service has the name of its directory.
    fn prune(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.area)? {
            let entry = entry?;
            let Ok(written) = entry.metadata().and_then(|file| file.modified()) else { continue };
            let is_old = written.elapsed().is_ok_and(|age| age > KEPT);
            let directory = entry.file_name().to_string_lossy().replace('-', "_");
            if is_old && !self.area.with_file_name(directory).exists() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, bool)> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(CWD, path, flags, Mode::empty()) {
        Ok(file) => Ok((file.into(), false)),
        Err(rustix::io::Errno::NOENT) => {
            Ok((openat(CWD, path, flags | OFlags::CREATE, Mode::from_raw_mode(0o600))?.into(), true))
        }
        Err(e) => Err(e.into()),
    }
}

fn wait(file: &File, name: &str) -> RuntimeResult<()> {
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => std::thread::sleep(POLL),
            Err(TryLockError::WouldBlock) => return Err(RuntimeError::Busy(format!("somebody else works on {name}"))),
            Err(TryLockError::Error(e)) => return Err(RuntimeError::io(format!("lock the turn of {name}"), &e)),
        }
    }
}

/// Token and owner; nothing in a file that was only just made.
fn read(file: &File) -> io::Result<Option<(i64, Owner)>> {
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    let parts = text.trim_end().split_once(' ');
    let parsed = parts.and_then(|(token, owner)| Some((token.parse().ok()?, serde_json::from_str(owner).ok()?)));
    match parsed {
        None if text.is_empty() => Ok(None),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "it cannot be read")),
        found => Ok(found),
    }
}

/// In one write of one length, so that a killed worker leaves the old text or the new one.
fn write(file: &File, token: i64, owner: Owner) -> io::Result<()> {
    let text = format!("{token:020} {}\n", serde_json::to_string(&owner)?);
    file.write_all_at(text.as_bytes(), 0)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;
    use domain::ids::{InstanceId, OperationId};
    use uuid::Uuid;

    fn owner(number: u128) -> Owner {
        Owner::Instance(InstanceId::from_uuid(Uuid::from_u128(number)))
    }

    fn asked(token: i64) -> Asked {
        Asked { turn: Turn { operation: OperationId::from_uuid(Uuid::nil()), token }, given_up: Arc::default() }
    }

    #[test]
    fn tokens_only_grow_and_the_owner_stays() {
        let root = tempfile::tempdir().unwrap();
        let turns = Turns::open(root.path()).unwrap();
        let enter = |token, who| turns.enter("odoo_a", owner(who), &asked(token)).map(drop).map_err(|e| e.class());
        assert_eq!(
            [enter(3, 1), enter(3, 1), enter(2, 1), enter(4, 2)],
            [Ok(()), Ok(()), Err(Class::Stale), Err(Class::Foreign)]
        );
        assert_eq!([enter(10, 1), enter(9, 1)], [Ok(()), Err(Class::Stale)]);
        assert_eq!(turns.enter("../x", owner(1), &asked(1)).unwrap_err().class(), Class::Permanent);
    }

    #[test]
    fn sections_follow_each_other() {
        let root = tempfile::tempdir().unwrap();
        let turns = Turns::open(root.path()).unwrap();
        let first = turns.enter("odoo_a", owner(1), &asked(1)).unwrap();
        assert_eq!(turns.enter("odoo_a", owner(1), &asked(2)).unwrap_err().class(), Class::Busy);
        drop(first);
        turns.enter("odoo_a", owner(1), &asked(2)).map(drop).unwrap();
    }

    #[test]
    fn work_that_nobody_waits_for_does_not_begin() {
        let root = tempfile::tempdir().unwrap();
        let late = asked(1);
        drop(GiveUp(late.given_up.clone()));
        assert_eq!(Turns::open(root.path()).unwrap().enter("odoo_a", owner(1), &late).unwrap_err().class(), Class::Stale);
    }

    #[test]
    fn a_tombstone_stands_for_a_day() {
        let root = tempfile::tempdir().unwrap();
        let turns = Turns::open(root.path()).unwrap();
        fs::create_dir(root.path().join("odoo_lives")).unwrap();
        for name in ["odoo_gone", "odoo-gone", "odoo_lives", "odoo-lives", "odoo_young"] {
            turns.enter(name, owner(1), &asked(1)).map(drop).unwrap();
            if name != "odoo_young" {
                let file = File::options().write(true).open(turns.area.join(name)).unwrap();
                file.set_modified(std::time::SystemTime::now() - 2 * KEPT).unwrap();
            }
        }
        turns.enter("odoo_new", owner(1), &asked(1)).map(drop).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(&turns.area).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["odoo-lives", "odoo_lives", "odoo_new", "odoo_young"]);
    }

    #[test]
    fn a_root_that_is_not_there_says_nothing() {
        let root = tempfile::tempdir().unwrap();
        let turns = Turns::open(root.path()).unwrap();
        fs::remove_dir(&turns.area).unwrap();
        assert_eq!(turns.enter("odoo_a", owner(1), &asked(1)).unwrap_err().class(), Class::Unreachable);
    }
}
