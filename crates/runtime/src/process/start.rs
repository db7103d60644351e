//! Bringing a service up: adopt what runs as asked, end what runs otherwise, start where nothing runs.
//!
//! Each look decides and acts in one section of the caller's turn, so that a worker that was overtaken starts nothing.

use super::launch::{Streams, Words};
use super::record::{Record, Wanted};
use super::seat::Seat;
use super::stop::Target;
use super::table::ProcessTable;
use super::{GRACE, POLL, ProcessRuntime, accepts, is_free, launch, lock, log, members, port_of, state, stop};
use crate::directory::Place;
use crate::error::{RuntimeError, RuntimeResult};
use crate::fingerprint::fingerprint;
use crate::observed::Observed;
use crate::turn::{Asked, Entered};
use crate::workload::Workload;
use std::fs::File;
use std::time::{Duration, Instant};

/// How long another starter gets to be seen as running, and what a dead leader left behind to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a look at the directory led to.
enum Next {
    /// It runs as asked, or was started just now.
    Done(Observed),
    /// Something else runs: a service with other settings and perhaps another port, or a left-over.
    End(Option<u16>),
    /// Somebody has the lock and nothing can be said yet.
    Wait,
}

pub(super) async fn ensure(runtime: &ProcessRuntime, workload: &Workload) -> RuntimeResult<Observed> {
    let wanted = record(workload)?;
    let began = Instant::now();
    loop {
        let (subject, target) = (workload.clone(), wanted.clone());
        let port = match runtime.act(workload.turn, move |this, asked| look(this, asked, &subject, &target)).await? {
            Next::Done(observed) => return Ok(observed),
            Next::Wait if began.elapsed() < PATIENCE => {
                tokio::time::sleep(POLL).await;
                continue;
            }
            Next::Wait => None,
            Next::End(port) => port,
        };
        stop::clear(runtime, &Target::of(workload, port), GRACE).await?;
    }
}

fn record(workload: &Workload) -> RuntimeResult<Record> {
    Ok(Record {
        owner: workload.service.owner,
        operation: workload.turn.operation,
        image: workload.image.clone(),
        directory: workload.directory.clone(),
        port: Some(port_of(workload)?),
        wanted: Wanted::Running,
        fingerprint: fingerprint(workload)?,
    })
}

fn look(runtime: &ProcessRuntime, asked: &Asked, workload: &Workload, wanted: &Record) -> RuntimeResult<Next> {
    let entered = enter(runtime, asked, workload)?;
    let known = runtime.records.load(&workload.service)?;
    require_directory(runtime, workload)?;
    let table = ProcessTable::read()?;
    let members = members(&table, &Seat::live(&workload.directory))?;
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
        return state(wanted, &table).map(Next::Done);
    }
    match lock::try_take(&lock::path(&workload.directory))? {
        Some(lock) => begin(runtime, &entered, workload, wanted, lock).map(|()| Next::Done(Observed::Starting)),
        None => Ok(Next::Wait),
    }
}

/// The rights to act on a workload's service and directory.
pub(super) struct Both {
    _service: Entered,
    pub(super) directory: Entered,
}

/// Enters service and directory, always in this order.
pub(super) fn enter(runtime: &ProcessRuntime, asked: &Asked, workload: &Workload) -> RuntimeResult<Both> {
    let directories = &runtime.directories;
    let service = directories.enter_service(&workload.service, asked)?;
    Ok(Both { _service: service, directory: directories.enter(&workload.directory, workload.service.owner, asked)? })
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
fn begin(runtime: &ProcessRuntime, entered: &Both, workload: &Workload, wanted: &Record, lock: File) -> RuntimeResult<()> {
    runtime.directories.write_conf_now(&entered.directory, workload, &*runtime.entropy)?;
    runtime.records.save(&workload.service.name, wanted)?;
    let log = log::service_log(&workload.directory);
    log::rotate(&log);
    if let Some(port) = wanted.port.filter(|port| accepts(*port) || !is_free(*port)) {
        return Err(RuntimeError::Transient(format!("port {port} is taken by another process")));
    }
    let seat = Seat::live(&workload.directory);
    let streams = Streams { lock, log: log::open(&log)?, output: None };
    let mut child = launch::launch(workload, &seat, &Words::default(), streams, runtime.directories.account())?;
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
