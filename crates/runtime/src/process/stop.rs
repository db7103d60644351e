//! Bringing processes down, verified: stopped means that processes, lock and port are gone, not that a signal was sent.
//!
//! Every look signals what it sees in one section of the caller's turn, so that a worker that was overtaken never ends what its
//! successor has started.

use super::record::Wanted;
use super::seat::Seat;
use super::table::{self, ProcessTable};
use super::{GRACE, POLL, ProcessRuntime, accepts, lock, members};
use crate::error::{RuntimeError, RuntimeResult};
use crate::workload::{Service, Turn, Workload};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long the kernel gets to end a killed process.
const AFTER_KILL: Duration = Duration::from_secs(30);
/// How long a port may answer once no process and no lock of the directory is left. Then it is a stranger's: the kernel closes what a
/// process listened on when it ends.
const AFTER_EXIT: Duration = Duration::from_secs(2);

/// What is to be brought down, and who wants it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    service: Service,
    turn: Turn,
    directory: PathBuf,
    /// Only what works there; `None` is anywhere in the directory.
    seat: Option<Seat>,
    port: Option<u16>,
}

impl Target {
    /// Everything that works on a workload's live data, and whoever answers at this port.
    pub(super) fn of(workload: &Workload, port: Option<u16>) -> Self {
        Self { port, ..Self::at(workload, Seat::live(&workload.directory)) }
    }

    /// Everything that works at one place of a workload's directory.
    pub(super) fn at(workload: &Workload, seat: Seat) -> Self {
        let (service, directory) = (workload.service.clone(), workload.directory.clone());
        Self { service, turn: workload.turn, directory, seat: Some(seat), port: None }
    }

    fn seats(&self) -> RuntimeResult<Vec<Seat>> {
        match &self.seat {
            Some(seat) => Ok(vec![seat.clone()]),
            None => Seat::all(&self.directory),
        }
    }
}

/// Stops a service. The record says "stopped" first: whoever dies in the middle leaves a service that shall be down.
pub(super) async fn stop(runtime: &ProcessRuntime, service: &Service, turn: Turn, grace: Duration) -> RuntimeResult<()> {
    let subject = service.clone();
    let known = runtime
        .act(turn, move |this, asked| {
            let _entered = this.directories.enter_service(&subject, asked)?;
            let Some(mut record) = this.records.load(&subject)? else { return Ok(None) };
            if record.wanted != Wanted::Stopped {
                record.wanted = Wanted::Stopped;
                this.records.save(&subject.name, &record)?;
            }
            Ok(Some(record))
        })
        .await?;
    let Some(record) = known else { return Ok(()) };
    let target = Target { service: service.clone(), turn, directory: record.directory, seat: None, port: record.port };
    clear(runtime, &target, grace).await
}

/// Stops a service and forgets it, unless something came up in between.
pub(super) async fn remove(runtime: &ProcessRuntime, service: &Service, turn: Turn) -> RuntimeResult<()> {
    stop(runtime, service, turn, GRACE).await?;
    let service = service.clone();
    runtime
        .act(turn, move |this, asked| {
            let _entered = this.directories.enter_service(&service, asked)?;
            let Some(record) = this.records.load(&service)? else { return Ok(()) };
            match left(&Seat::all(&record.directory)?, None)? {
                Some(left) => Err(RuntimeError::Transient(format!("{} came up again: {}", service.name, left.what))),
                None => this.records.delete(&service.name),
            }
        })
        .await
}

/// Ends every process of a directory and waits until they, the lock and the port are gone; not for a port that a stranger took.
pub(super) async fn clear(runtime: &ProcessRuntime, target: &Target, grace: Duration) -> RuntimeResult<()> {
    let began = Instant::now();
    let mut gone_since = None;
    let mut asked_to_end = BTreeSet::new();
    loop {
        let force = began.elapsed() >= grace;
        let (subject, mut groups) = (target.clone(), asked_to_end);
        let (left, groups) = runtime
            .act(target.turn, move |this, asked| {
                let _entered = this.directories.enter_service(&subject.service, asked)?;
                let left = left(&subject.seats()?, subject.port)?;
                if let Some(left) = &left {
                    left.end(force, &mut groups)?;
                }
                Ok((left, groups))
            })
            .await?;
        asked_to_end = groups;
        let Some(left) = left else { return Ok(()) };
        gone_since = left.what.eq(PORT).then(|| gone_since.unwrap_or_else(Instant::now));
        if gone_since.is_some_and(|since| since.elapsed() >= AFTER_EXIT) {
            tracing::warn!(service = target.service.name, port = target.port, "something that is not ours answers at its port");
            return Ok(());
        }
        if began.elapsed() >= grace + AFTER_KILL {
            return Err(RuntimeError::Transient(format!("{} is still in use: {}", target.directory.display(), left.what)));
        }
        tokio::time::sleep(POLL).await;
    }
}

const PORT: &str = "its port answers";

/// What keeps a directory in use.
struct Left {
    groups: BTreeSet<i32>,
    /// Processes that have the lock open and are in no group of ours; there is nobody to ask whether they end in order.
    strays: Vec<i32>,
    what: &'static str,
}

impl Left {
    /// Asks each group once: a second SIGTERM would cut Odoo's orderly end short.
    fn end(&self, force: bool, asked: &mut BTreeSet<i32>) -> RuntimeResult<()> {
        for group in &self.groups {
            if force {
                signal(*group, Signal::KILL)?;
            } else if asked.insert(*group) {
                signal(*group, Signal::TERM)?;
            }
        }
        if force {
            self.strays.iter().try_for_each(|pid| end(*pid))?;
        }
        Ok(())
    }
}

fn left(seats: &[Seat], port: Option<u16>) -> RuntimeResult<Option<Left>> {
    let table = ProcessTable::read()?;
    let (mut groups, mut held) = (BTreeSet::new(), Vec::new());
    for seat in seats {
        groups.append(&mut members(&table, seat)?.groups);
        if !lock::is_free(&seat.lock())? {
            held.push(seat.lock());
        }
    }
    let mut strays = Vec::new();
    let what = if !groups.is_empty() {
        "processes run"
    } else if !held.is_empty() {
        for lock in held {
            strays.append(&mut table::holders(lock::id(&lock)?));
        }
        "its lock is held"
    } else if port.is_some_and(accepts) {
        PORT
    } else {
        return Ok(None);
    };
    Ok(Some(Left { groups, strays, what }))
}

/// Ends one process by force; one that is gone is fine.
fn end(pid: i32) -> RuntimeResult<()> {
    let Some(pid) = Pid::from_raw(pid) else { return Ok(()) };
    match kill_process(pid, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(RuntimeError::Permanent(format!("end process {pid:?}: {e}"))),
    }
}

/// Sends a signal to a process group; one that is gone is fine.
pub(super) fn signal(group: i32, signal: Signal) -> RuntimeResult<()> {
    let Some(group) = Pid::from_raw(group) else { return Ok(()) };
    match kill_process_group(group, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(RuntimeError::Permanent(format!("signal process group {group:?}: {e}"))),
    }
}
