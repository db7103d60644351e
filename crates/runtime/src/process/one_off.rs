//! One bounded run of Odoo: initialisation of a database, installation or update of modules, the script that makes it harmless.
//!
//! The run takes a lock like a service, so there is never a second Odoo on the same files: the directory's own, or that of what
//! is staged beside it, so that the service may go on meanwhile. It ends with its caller: when the future is dropped or the
//! limit is over, its process group is killed. A caller that was killed itself leaves the run behind; its successor ends it
//! first.

use super::launch::{Streams, Words};
use super::record::{Record, Wanted};
use super::seat::Seat;
use super::start::{enter, require_directory};
use super::stop::Target;
use super::{POLL, ProcessRuntime, launch, lock, log, members, stop};
use crate::error::{RuntimeError, RuntimeResult, blocking};
use crate::observed::OneOffEnd;
use crate::process::table::ProcessTable;
use crate::turn::Asked;
use crate::workload::{OneOff, Task, Workload};
use rustix::process::Signal;
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::process::Child;

const TAIL: usize = 200;
/// What the record of a run has in place of a fingerprint.
const NO_SERVICE: &str = "";
/// How long another starter gets before the directory counts as in use.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(runtime: &ProcessRuntime, one_off: &OneOff) -> RuntimeResult<OneOffEnd> {
    let workload = &one_off.workload;
    let words = words(&one_off.task)?;
    let mut run = begin(runtime, one_off, words).await?;
    let ended = tokio::time::timeout(one_off.limit, run.child.wait()).await;
    if matches!(ended, Ok(Ok(_))) {
        // Its number is free for anybody from here on.
        run.group.0 = None;
    }
    let is_known = run.is_known;
    drop(run);
    // Before anybody goes on, nothing of the run may be left, whichever way it ended.
    stop::clear(runtime, &Target::at(workload, Seat::of(one_off)), Duration::ZERO).await?;
    tidy(runtime, one_off).await?;
    if !is_known {
        forget(runtime, workload).await?;
    }
    match ended {
        Ok(Ok(status)) => told(one_off, status.code()).await,
        Ok(Err(e)) => Err(RuntimeError::io("wait for a one-off run", &e)),
        Err(_) => Err(RuntimeError::Transient(format!("the one-off run did not end within {} s", one_off.limit.as_secs()))),
    }
}

/// What a run that has ended leaves to read.
async fn told(one_off: &OneOff, exit: Option<i32>) -> RuntimeResult<OneOffEnd> {
    let directory = one_off.workload.directory.clone();
    let prints = one_off.task == Task::Neutralise;
    blocking(move || {
        let output = if prints { log::whole(&log::one_off_output(&directory))? } else { String::new() };
        Ok(OneOffEnd { exit, log: log::tail(&log::one_off_log(&directory), TAIL)?, output })
    })
    .await
}

/// Takes away what only the run needed: the password in a configuration of its own, the second name of a filestore.
async fn tidy(runtime: &ProcessRuntime, one_off: &OneOff) -> RuntimeResult<()> {
    let one_off = one_off.clone();
    runtime
        .act(one_off.workload.turn, move |this, asked| {
            let entered = enter(this, asked, &one_off.workload)?;
            this.directories.unalias(&entered.directory, &one_off)
        })
        .await
}

/// A run under way. Dropped, it ends: the group first, while its leader is not yet collected and the number is its own.
struct Run {
    group: Group,
    child: Child,
    /// Whether the service was known before.
    is_known: bool,
}

/// Ends the group it names when dropped, so that a run never outlives the wish for it.
struct Group(Option<i32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.map(|group| stop::signal(group, Signal::KILL)) {
            tracing::error!(%error, "a one-off run could not be ended");
        }
    }
}

/// Starts the run. Left-overs of an earlier one are ended first; a service that is up is not ours to end.
async fn begin(runtime: &ProcessRuntime, one_off: &OneOff, words: Words) -> RuntimeResult<Run> {
    let (began, workload) = (Instant::now(), &one_off.workload);
    loop {
        let (subject, words) = (one_off.clone(), words.clone());
        if let Some(run) = runtime.act(workload.turn, move |this, asked| look(this, asked, &subject, &words)).await? {
            return Ok(run);
        }
        if began.elapsed() >= PATIENCE {
            return Err(RuntimeError::Transient(format!("{} is in use", workload.directory.display())));
        }
        stop::clear(runtime, &Target::at(workload, Seat::of(one_off)), Duration::ZERO).await?;
        tokio::time::sleep(POLL).await;
    }
}

/// Starts the run if nothing works on the directory. The record comes first, so that whoever stops or removes the service finds
/// the run of a worker that was killed.
fn look(runtime: &ProcessRuntime, asked: &Asked, one_off: &OneOff, words: &Words) -> RuntimeResult<Option<Run>> {
    let (workload, seat) = (&one_off.workload, Seat::of(one_off));
    let entered = enter(runtime, asked, workload)?;
    require_directory(runtime, workload)?;
    let known = runtime.records.load(&workload.service)?;
    let members = members(&ProcessTable::read()?, &seat)?;
    if seat.is_live() && members.service.is_some() && known.as_ref().is_some_and(|record| record.wanted == Wanted::Running) {
        return Err(RuntimeError::Transient(format!("service {} is up", workload.service.name)));
    }
    if !members.is_empty() {
        return Ok(None);
    }
    runtime.directories.alias(&entered.directory, one_off)?;
    let Some(lock) = lock::try_take(&seat.lock())? else { return Ok(None) };
    if known.is_none() {
        runtime.records.save(&workload.service.name, &record(workload))?;
    }
    runtime.directories.write_conf_at(&entered.directory, workload, &seat.conf(), &seat.part(), &*runtime.entropy)?;
    let streams = streams(&workload.directory, lock, &one_off.task)?;
    let child = launch::launch(workload, &seat, words, streams, runtime.directories.account())?;
    let group = Group(child.id().and_then(|id| i32::try_from(id).ok()));
    Ok(Some(Run { group, child, is_known: known.is_some() }))
}

/// New files, so that nothing of an earlier run is read for this one's.
fn streams(directory: &Path, lock: File, task: &Task) -> RuntimeResult<Streams> {
    let emptied = |path: &Path| {
        let file = log::open(path)?;
        file.set_len(0).map_err(|e| RuntimeError::io("empty the log of a one-off run", &e))?;
        Ok(file)
    };
    let output = if *task == Task::Neutralise { Some(emptied(&log::one_off_output(directory))?) } else { None };
    Ok(Streams { lock, log: emptied(&log::one_off_log(directory))?, output })
}

fn record(workload: &Workload) -> Record {
    Record {
        owner: workload.service.owner,
        operation: workload.turn.operation,
        image: workload.image.clone(),
        directory: workload.directory.clone(),
        port: workload.port,
        wanted: Wanted::Stopped,
        // What runs is no service; a service that is asked for later is started in any case.
        fingerprint: NO_SERVICE.to_owned(),
    }
}

/// Takes back the record that the run made: it is no service. A service that came up beside a run on staged files has made it
/// its own.
async fn forget(runtime: &ProcessRuntime, workload: &Workload) -> RuntimeResult<()> {
    let service = workload.service.clone();
    runtime
        .act(workload.turn, move |this, asked| {
            let _entered = this.directories.enter_service(&service, asked)?;
            match this.records.load(&service)? {
                Some(record) if record.fingerprint == NO_SERVICE => this.records.delete(&service.name),
                _ => Ok(()),
            }
        })
        .await
}

/// Module names come from names that were checked, and still may not look like options or lists.
fn words(task: &Task) -> RuntimeResult<Words> {
    let (option, modules) = match task {
        Task::Initialise => ("-i", "base".to_owned()),
        Task::Install(modules) => ("-i", listed(modules)?),
        Task::Update(modules) => ("-u", listed(modules)?),
        Task::Neutralise => return Ok(Words { command: Some("neutralize"), arguments: vec!["--stdout".into()] }),
    };
    // The database stands in the configuration only: naming one here could make Odoo create it.
    let arguments = [option, &modules, "--stop-after-init", "--max-cron-threads=0"].into_iter().map(OsString::from).collect();
    Ok(Words { command: None, arguments })
}

fn listed(modules: &[String]) -> RuntimeResult<String> {
    let known = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match modules.iter().find(|name| !known(name)) {
        Some(odd) => Err(RuntimeError::Permanent(format!("{odd:?} is no module name"))),
        None => Ok(modules.join(",")),
    }
}
