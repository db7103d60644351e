//! The processes that were started for the stack: remembered by id *and* start time, so that an id which the system has
//! given to somebody else meanwhile is never signalled.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const GLANCE: Duration = Duration::from_millis(20);

/// A process of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Running {
    pub(super) name: String,
    pid: i32,
    /// Since the machine's start, in the kernel's ticks.
    started: u64,
}

impl Running {
    fn of(name: &str, pid: i32) -> Option<Self> {
        Some(Self { name: name.to_owned(), pid, started: start_time(pid)? })
    }

    pub(super) fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Signals it, if it still is the same process.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.is_alive()) else { return Ok(()) };
        match kill_process(pid, signal) {
            // It ended by itself in between.
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot stop {} ({})", self.name, self.pid)),
        }
    }

    /// Asks it to end, and after `patience` makes it. Answers whether it was alive.
    pub(super) fn stop(&self, patience: Duration) -> Result<bool> {
        if !self.is_alive() {
            return Ok(false);
        }
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + patience;
        let mut asked = true;
        while self.is_alive() {
            if asked && Instant::now() > deadline {
                self.signal(Signal::KILL)?;
                asked = false;
            }
            std::thread::sleep(GLANCE);
        }
        Ok(true)
    }
}

/// `None` when there is no such process, or only its remains that nobody has collected.
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; what counts comes after it.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    (*fields.first()? != "Z").then(|| fields.get(19)?.parse().ok())?
}

/// Processes whose command line names a file under `directory`: the Odoos of our instances, whoever started them.
pub(super) fn working_in(directory: &Path) -> Result<Vec<Running>> {
    let prefix = format!("{}/", directory.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("cannot list processes")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<i32>() else { continue };
        // A process may end while we look at it.
        let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let is_odoo = line.split(|byte| *byte == 0).any(|word| word.ends_with(b"/odoo"));
        let in_directory = line.split(|byte| *byte == 0).any(|word| String::from_utf8_lossy(word).contains(&prefix));
        if is_odoo && in_directory {
            found.extend(Running::of("odoo", pid));
        }
    }
    Ok(found)
}

/// The file that remembers them.
#[derive(Debug)]
pub(super) struct Processes {
    file: PathBuf,
}

impl Processes {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    /// In the order of their start.
    pub(super) fn all(&self) -> Result<Vec<Running>> {
        match std::fs::read(&self.file) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| format!("{} is damaged: remove it", self.file.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Starts a process that outlives us, with its output in `log`, and remembers it.
    pub(super) fn start(&self, name: &str, command: &mut Command, log: &Path) -> Result<Running> {
        let out = File::options().create(true).append(true).open(log)?;
        command.current_dir("/").process_group(0).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let pid = i32::try_from(child.id())?;
        let running = Running::of(name, pid).with_context(|| format!("{name} ended at once: see {}", log.display()))?;
        let mut all = self.all()?;
        all.push(running.clone());
        let new = self.file.with_extension("new");
        std::fs::write(&new, serde_json::to_vec(&all)?)?;
        std::fs::rename(&new, &self.file)?;
        Ok(running)
    }

    pub(super) fn forget(&self) -> Result<()> {
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_id_and_start_time() {
        let directory = tempfile::tempdir().unwrap();
        let processes = Processes::new(&directory.path().join("processes.json"));
        let running = processes.start("sleeper", Command::new("sleep").arg("600"), &directory.path().join("log")).unwrap();
        assert_eq!(processes.all().unwrap(), std::slice::from_ref(&running));
        assert!(running.is_alive());
        let stranger = Running { started: running.started + 1, ..running.clone() };
        assert!(!stranger.stop(Duration::from_secs(1)).unwrap(), "another process with the same id must be left alone");
        assert!(running.is_alive());
        assert!(running.stop(Duration::from_secs(10)).unwrap());
        assert!(!running.is_alive());
    }
}
