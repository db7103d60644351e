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
        // A process may end while we look at it; a kernel thread has no arguments.
        let Ok(arguments) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        if arguments.is_empty() {
            continue;
        }
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        seen.insert(Seen {
            pid,
            arguments: String::from_utf8_lossy(&arguments).replace('\0', " "),
            environment: String::from_utf8_lossy(&environment).replace('\0', "\n"),
        });
    }
    Ok(())
}
