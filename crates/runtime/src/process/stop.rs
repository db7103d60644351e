//! Bringing processes down, verified: stopped means that processes, lock and port are gone, not that a signal was sent.

use super::record::Wanted;
use super::table::ProcessTable;
use super::{POLL, ProcessRuntime, accepts, lock, members};
use crate::error::{RuntimeError, RuntimeResult};
use crate::workload::Service;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the kernel gets to end a killed process.
const AFTER_KILL: Duration = Duration::from_secs(30);

/// Stops a service. The record says "stopped" first: whoever dies in the middle leaves a service that shall be down.
pub(super) async fn stop(runtime: &ProcessRuntime, service: &Service, grace: Duration) -> RuntimeResult<()> {
    let service = service.clone();
    let known = runtime
        .look(move |this| {
            let Some(mut record) = this.records.load(&service)? else { return Ok(None) };
            if record.wanted != Wanted::Stopped {
                record.wanted = Wanted::Stopped;
                this.records.save(&service.name, &record)?;
            }
            Ok(Some(record))
        })
        .await?;
    match known {
        Some(record) => clear(runtime, &record.directory, Some(record.port), grace).await,
        None => Ok(()),
    }
}

/// Ends every process of a directory and waits until they, the lock and the port are gone.
pub(super) async fn clear(runtime: &ProcessRuntime, directory: &Path, port: Option<u16>, grace: Duration) -> RuntimeResult<()> {
    let began = Instant::now();
    let mut asked = BTreeSet::new();
    loop {
        let place = directory.to_owned();
        let left = runtime.look(move |_| left(&place, port)).await?;
        let Some(left) = left else { return Ok(()) };
        if began.elapsed() >= grace + AFTER_KILL {
            return Err(RuntimeError::Transient(format!("{} is still in use: {}", directory.display(), left.what)));
        }
        let force = began.elapsed() >= grace;
        for group in left.groups {
            // A second SIGTERM would cut Odoo's orderly end short.
            if force {
                signal(group, Signal::KILL)?;
            } else if asked.insert(group) {
                signal(group, Signal::TERM)?;
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What keeps a directory in use.
struct Left {
    groups: BTreeSet<i32>,
    what: &'static str,
}

fn left(directory: &Path, port: Option<u16>) -> RuntimeResult<Option<Left>> {
    let groups = members(&ProcessTable::read()?, directory)?.groups;
    let what = if !groups.is_empty() {
        "processes run"
    } else if !lock::is_free(directory)? {
        "its lock is held"
    } else if port.is_some_and(accepts) {
        "its port answers"
    } else {
        return Ok(None);
    };
    Ok(Some(Left { groups, what }))
}

/// Sends a signal to a process group; one that is gone is fine.
pub(super) fn signal(group: i32, signal: Signal) -> RuntimeResult<()> {
    let Some(group) = Pid::from_raw(group) else { return Ok(()) };
    match kill_process_group(group, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(RuntimeError::Permanent(format!("signal process group {group:?}: {e}"))),
    }
}
