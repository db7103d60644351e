//! What a process list would have shown at any time: arguments and environment of every process, looked at without a pause.

use anyhow::{Context, Result, anyhow};
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// One process as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Its process id.
    pub pid: u32,
    /// Its arguments, separated by spaces.
    pub arguments: String,
    /// Its environment, one variable a line; empty when it may not be read.
    pub environment: String,
}

/// Looks at all processes until it is asked what it saw.
pub struct ProcessWatch {
    stop: Arc<AtomicBool>,
    looking: JoinHandle<Result<BTreeSet<Seen>>>,
}

impl ProcessWatch {
    /// Begins.
    pub fn begin() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let looking = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !told.load(Ordering::Relaxed) {
                look(&mut seen)?;
                std::thread::yield_now();
            }
            Ok(seen)
        });
        Self { stop, looking }
    }

    /// Ends, and answers everything that was seen.
    ///
    /// # Errors
    /// When processes could not be listed.
    pub fn end(self) -> Result<BTreeSet<Seen>> {
        self.stop.store(true, Ordering::Relaxed);
        self.looking.join().map_err(|_panic| anyhow!("looking at processes panicked"))?
    }
}

fn look(seen: &mut BTreeSet<Seen>) -> Result<()> {
    for entry in fs::read_dir("/proc").context("cannot list processes")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        // A process may end while we look at it, or begin another program; a kernel thread has no arguments.
        let Some((arguments, environment)) = shown(pid).filter(|(arguments, _)| !arguments.is_empty()) else { continue };
        let it = Seen { pid, arguments, environment };
        if seen.contains(&it) {
            continue;
        }
        let shows_its_parent = |(arguments, environment)| it.arguments == arguments && it.environment == environment;
        if !parent(pid).and_then(shown).is_some_and(shows_its_parent) {
            seen.insert(it);
        }
    }
    Ok(())
}

/// Arguments and environment of one and the same program.
fn shown(pid: u32) -> Option<(String, String)> {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let text = |bytes: &[u8], separator| String::from_utf8_lossy(bytes).replace('\0', separator);
    (fs::read(format!("/proc/{pid}/cmdline")).ok()? == arguments).then(|| (text(&arguments, " "), text(&environment, "\n")))
}

/// Until a fork begins its own program, it is what its parent is: it shows nothing that the parent does not show.
fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
