//! Data directories made once and copied for each test: `initdb` and migrations cost seconds, a copy costs milliseconds.

use crate::installation::Installation;
use crate::server::Server;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Room for the servers of several tests at once, some of them with the databases of a real Odoo.
const MEMORY_WANTED: u64 = 4 << 30;

/// The harness' own directory for everything that a run leaves for the next one: seeds, locks, running clusters.
///
/// # Errors
/// When it cannot be made, or belongs to somebody else, who could then plant files for us.
pub fn root() -> Result<PathBuf> {
    root_in(&std::env::temp_dir())
}

fn root_in(directory: &Path) -> Result<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let root = directory.join(format!("instance-testkit-{uid}"));
    passable(&root)?;
    if std::fs::symlink_metadata(&root)?.uid() != uid {
        bail!("{} belongs to somebody else: remove it or set TMPDIR", root.display());
    }
    Ok(root)
}

/// A directory below [`root`].
///
/// # Errors
/// As [`root`].
pub fn place(name: &str) -> Result<PathBuf> {
    let place = root()?.join(name);
    passable(&place)?;
    Ok(place)
}

/// A directory in memory that is gone with the machine, where servers without durability run quickest; `None` where memory is
/// not offered so, or only a little.
///
/// # Errors
/// As [`root`].
pub fn memory() -> Result<Option<PathBuf>> {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |room| room.f_bavail.saturating_mul(room.f_frsize));
    if free < MEMORY_WANTED {
        return Ok(None);
    }
    let running = root_in(memory)?.join("run");
    passable(&running)?;
    Ok(Some(running))
}

/// Makes a directory that others may pass through, but not list: the servers of root run as user postgres.
fn passable(directory: &Path) -> Result<()> {
    match std::fs::create_dir(directory) {
        // The mode is set apart from the creation, or the umask would have a say.
        Ok(()) => std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o711)).map_err(anyhow::Error::from),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
    }
    .with_context(|| format!("cannot create {}", directory.display()))
}

/// Small log files: the usual 16 MB would be most of what is copied.
const INIT: [&str; 1] = ["--wal-segsize=1"];

/// What a seed is made of. Equal fingerprints mean equal contents, so a changed migration makes a new seed.
pub struct Seed<'a> {
    /// What it is for.
    pub name: &'a str,
    /// Everything that its contents depend on.
    pub ingredients: &'a [&'a str],
    /// Fills a running, empty server.
    pub fill: &'a dyn Fn(&Server) -> Result<()>,
}

impl std::fmt::Debug for Seed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seed").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Seed<'_> {
    /// Copies the seed's data directory into `target`; makes the seed first if it is not there. Many processes may ask at
    /// once: one builds, the others wait for it.
    ///
    /// # Errors
    /// When building or copying fails.
    pub fn plant(&self, installation: &Installation, target: &Path) -> Result<()> {
        let seeds = place("seeds")?;
        let mut hasher = DefaultHasher::new();
        (installation.version(), installation.account().map(|account| account.uid), INIT, self.ingredients).hash(&mut hasher);
        let seed = seeds.join(format!("{}-{:016x}", self.name, hasher.finish()));
        if !seed.exists() {
            let lock = File::create(seed.with_extension("lock"))?;
            lock.lock().context("cannot wait for the builder of the data directory")?;
            if !seed.exists() {
                self.build(installation, &seed)?;
            }
        }
        copy(&seed.join("data"), &target.join("data"))
    }

    fn build(&self, installation: &Installation, seed: &Path) -> Result<()> {
        let staging = seed.with_extension("new");
        remove(&staging)?;
        let port = crate::port::Port::reserve()?;
        let server = Server::new(installation.clone(), &staging, port.number()).setting("fsync", "off");
        server.init_with(&INIT)?;
        let mut child = server.start()?;
        let filled = (self.fill)(&server);
        server.stop(crate::server::Stop::Fast, Some(&mut child))?;
        filled.with_context(|| format!("cannot build the data directory {}", self.name))?;
        // Its files must be on disk: tests with fsync start from copies of them.
        rustix::fs::sync();
        std::fs::rename(&staging, seed).context("cannot put the data directory in place")
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    // cp keeps owner and mode, which PostgreSQL insists on, and shares blocks where the file system can.
    let output = Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to).output().context("cannot run cp")?;
    if !output.status.success() {
        bail!("cannot copy {}: {}", from.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Removes a directory tree, if it is there.
///
/// # Errors
/// When the file system refuses.
pub fn remove(directory: &Path) -> Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
