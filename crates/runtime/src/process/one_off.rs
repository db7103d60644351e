//! One bounded run of Odoo: initialisation of a database, installation of modules.
//!
//! The run takes the directory's lock like a service, so there is never a second Odoo beside it. It ends with its caller: when
//! the future is dropped or the limit is over, its process group is killed. A caller that was killed itself leaves the run behind;
//! its successor ends it first.

use super::record::{Record, Wanted};
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
use std::time::{Duration, Instant};
use tokio::process::Child;

const TAIL: usize = 200;
/// How long another starter gets before the directory counts as in use.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(runtime: &ProcessRuntime, one_off: &OneOff) -> RuntimeResult<OneOffEnd> {
    let workload = &one_off.workload;
    let arguments = arguments(&one_off.task)?;
    let mut run = begin(runtime, workload, arguments).await?;
    let ended = tokio::time::timeout(one_off.limit, run.child.wait()).await;
    if matches!(ended, Ok(Ok(_))) {
        // Its number is free for anybody from here on.
        run.group.0 = None;
    }
    let is_known = run.is_known;
    drop(run);
    // Before anybody goes on, nothing of the run may be left, whichever way it ended.
    stop::clear(runtime, &Target::of(workload, None), Duration::ZERO).await?;
    if !is_known {
        forget(runtime, workload).await?;
    }
    let output = log::one_off_log(&workload.directory);
    let log = blocking(move || log::tail(&output, TAIL)).await?;
    match ended {
        Ok(Ok(status)) => Ok(OneOffEnd { exit: status.code(), log }),
        Ok(Err(e)) => Err(RuntimeError::io("wait for a one-off run", &e)),
        Err(_) => Err(RuntimeError::Transient(format!("the one-off run did not end within {} s", one_off.limit.as_secs()))),
    }
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
async fn begin(runtime: &ProcessRuntime, workload: &Workload, arguments: Vec<OsString>) -> RuntimeResult<Run> {
    let began = Instant::now();
    loop {
        let (subject, words) = (workload.clone(), arguments.clone());
        if let Some(run) = runtime.act(workload.turn, move |this, asked| look(this, asked, &subject, &words)).await? {
            return Ok(run);
        }
        if began.elapsed() >= PATIENCE {
            return Err(RuntimeError::Transient(format!("{} is in use", workload.directory.display())));
        }
        stop::clear(runtime, &Target::of(workload, None), Duration::ZERO).await?;
        tokio::time::sleep(POLL).await;
    }
}

/// Starts the run if nothing works on the directory. The record comes first, so that whoever stops or removes the service finds
/// the run of a worker that was killed.
fn look(runtime: &ProcessRuntime, asked: &Asked, workload: &Workload, arguments: &[OsString]) -> RuntimeResult<Option<Run>> {
    let entered = enter(runtime, asked, workload)?;
    require_directory(runtime, workload)?;
    let known = runtime.records.load(&workload.service)?;
    let members = members(&ProcessTable::read()?, &workload.directory)?;
    if members.service.is_some() && known.as_ref().is_some_and(|record| record.wanted == Wanted::Running) {
        return Err(RuntimeError::Transient(format!("service {} is up", workload.service.name)));
    }
    if !members.is_empty() {
        return Ok(None);
    }
    let Some(lock) = lock::try_take(&workload.directory)? else { return Ok(None) };
    if known.is_none() {
        runtime.records.save(&workload.service.name, &record(workload))?;
    }
    runtime.directories.write_conf_now(&entered.directory, workload, &*runtime.entropy)?;
    let output = log::one_off_log(&workload.directory);
    log::open(&output)?.set_len(0).map_err(|e| RuntimeError::io("empty the log of a one-off run", &e))?;
    let child = launch::launch(workload, arguments, lock, &output, runtime.directories.account())?;
    let group = Group(child.id().and_then(|id| i32::try_from(id).ok()));
    Ok(Some(Run { group, child, is_known: known.is_some() }))
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
        fingerprint: String::new(),
    }
}

/// Takes back the record that the run made: it is no service.
async fn forget(runtime: &ProcessRuntime, workload: &Workload) -> RuntimeResult<()> {
    let service = workload.service.clone();
    runtime
        .act(workload.turn, move |this, asked| {
            let _entered = this.directories.enter_service(&service, asked)?;
            this.records.delete(&service.name)
        })
        .await
}

/// Arguments after `-c <conf>`. Module names come from names that were checked, and still may not look like options or lists.
fn arguments(task: &Task) -> RuntimeResult<Vec<OsString>> {
    let modules = match task {
        Task::Initialise => "base".to_owned(),
        Task::Install(modules) => {
            let known = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            match modules.iter().find(|name| !known(name)) {
                Some(odd) => return Err(RuntimeError::Permanent(format!("{odd:?} is no module name"))),
                None => modules.join(","),
            }
        }
    };
    // The database stands in the configuration only: naming one here could make Odoo create it.
    Ok(["-i", &modules, "--stop-after-init", "--max-cron-threads=0"].into_iter().map(OsString::from).collect())
}
