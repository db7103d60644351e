//! Bringing a service up: adopt what runs as asked, end what runs otherwise, start where nothing runs.

use super::record::{Record, Wanted};
use super::table::ProcessTable;
use super::{GRACE, POLL, ProcessRuntime, accepts, is_free, launch, lock, log, members, port_of, state, stop};
use crate::directory::Place;
use crate::error::{RuntimeError, RuntimeResult};
use crate::fingerprint::fingerprint;
use crate::observed::Observed;
use crate::workload::Workload;
use std::fs::File;
use std::time::{Duration, Instant};

/// How long another starter gets to be seen as running, and what a dead leader left behind to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a look at the directory says about the next move.
enum Next {
    /// It runs as asked.
    Adopt(Observed),
    /// Something else runs: a service with other settings and perhaps another port, or a left-over.
    End(u16),
    /// Somebody has the lock and nothing can be said yet.
    Wait,
    /// The lock is ours and nothing runs.
    Start(File),
}

pub(super) async fn ensure(runtime: &ProcessRuntime, workload: &Workload) -> RuntimeResult<Observed> {
    let wanted = record(workload)?;
    let began = Instant::now();
    loop {
        let (subject, target) = (workload.clone(), wanted.clone());
        match runtime.look(move |this| next(this, &subject, &target)).await? {
            Next::Adopt(observed) => return Ok(observed),
            Next::Start(lock) => {
                begin(runtime, workload, wanted, lock).await?;
                return Ok(Observed::Starting);
            }
            Next::End(port) => stop::clear(runtime, &workload.directory, Some(port), GRACE).await?,
            Next::Wait if began.elapsed() < PATIENCE => tokio::time::sleep(POLL).await,
            Next::Wait => stop::clear(runtime, &workload.directory, None, GRACE).await?,
        }
    }
}

fn record(workload: &Workload) -> RuntimeResult<Record> {
    Ok(Record {
        owner: workload.service.owner,
        operation: workload.operation,
        image: workload.image.clone(),
        directory: workload.directory.clone(),
        port: port_of(workload)?,
        wanted: Wanted::Running,
        fingerprint: fingerprint(workload)?,
    })
}

fn next(runtime: &ProcessRuntime, workload: &Workload, wanted: &Record) -> RuntimeResult<Next> {
    let known = runtime.records.load(&workload.service)?;
    require_directory(runtime, workload)?;
    let table = ProcessTable::read()?;
    let members = members(&table, &workload.directory)?;
    let port = known.as_ref().map_or(wanted.port, |record| record.port);
    if members.leftover {
        return Ok(Next::End(port));
    }
    let same = known.as_ref().is_some_and(|r| r.fingerprint == wanted.fingerprint && r.directory == wanted.directory);
    if members.service.is_some() {
        if !same {
            return Ok(Next::End(port));
        }
        // Its mark names the operation that asked last, and a stop that was cut short no longer counts.
        runtime.records.save(&workload.service.name, wanted)?;
        return state(wanted, &table).map(Next::Adopt);
    }
    match lock::try_take(&workload.directory)? {
        Some(lock) => Ok(Next::Start(lock)),
        None => Ok(Next::Wait),
    }
}

/// The directory must be there, complete and its owner's: to start on an empty one would mean an Odoo without its files.
pub(super) fn require_directory(runtime: &ProcessRuntime, workload: &Workload) -> RuntimeResult<()> {
    let directory = &workload.directory;
    match runtime.directories.check_now(directory, workload.service.owner)? {
        Place::Ours(_) => Ok(()),
        Place::Absent => Err(RuntimeError::Permanent(format!("data directory {} is missing", directory.display()))),
        Place::Foreign => Err(RuntimeError::Foreign(format!("{} does not carry our mark", directory.display()))),
    }
}

/// Starts the process while the lock is held. The record says "shall run" before there is a process, so that a crash in
/// between reads as a service that failed, never as one that was stopped.
async fn begin(runtime: &ProcessRuntime, workload: &Workload, wanted: Record, lock: File) -> RuntimeResult<()> {
    let subject = workload.clone();
    runtime
        .look(move |this| {
            this.directories.write_conf_now(&subject, &*this.entropy)?;
            this.records.save(&subject.service.name, &wanted)?;
            log::rotate(&log::service_log(&subject.directory))?;
            match accepts(wanted.port) || !is_free(wanted.port) {
                true => Err(RuntimeError::Transient(format!("port {} is taken by another process", wanted.port))),
                false => Ok(()),
            }
        })
        .await?;
    let log = log::service_log(&workload.directory);
    let mut child = launch::launch(workload, &[], lock, &log, runtime.directories.account())?;
    let service = workload.service.name.clone();
    // The child outlives this task and this process; the task only collects its exit status, so that no zombie stays.
    tokio::spawn(async move {
        match child.wait().await {
            Ok(status) => tracing::info!(%service, %status, "odoo process ended"),
            Err(error) => tracing::warn!(%service, %error, "odoo process could not be waited for"),
        }
    });
    Ok(())
}
