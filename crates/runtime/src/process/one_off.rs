//! One bounded run of Odoo: initialisation of a database, installation of modules.
//!
//! The run takes the directory's lock like a service, so there is never a second Odoo beside it. It ends with its caller: when
//! the future is dropped or the limit is over, its process group is killed. A caller that was killed itself leaves the run behind;
//! its successor ends it first.

use super::record::Wanted;
use super::start::require_directory;
use super::{POLL, ProcessRuntime, launch, lock, log, stop};
use crate::error::{RuntimeError, RuntimeResult, blocking};
use crate::observed::OneOffEnd;
use crate::process::table::ProcessTable;
use crate::workload::{OneOff, Task, Workload};
use rustix::process::Signal;
use std::ffi::OsString;
use std::fs::File;
use std::time::{Duration, Instant};

const TAIL: usize = 200;
/// How long another starter gets before the directory counts as in use.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(runtime: &ProcessRuntime, one_off: &OneOff) -> RuntimeResult<OneOffEnd> {
    let workload = &one_off.workload;
    let arguments = arguments(&one_off.task)?;
    let lock = take_over(runtime, workload).await?;
    let subject = workload.clone();
    let output = log::one_off_log(&workload.directory);
    let fresh = output.clone();
    runtime
        .look(move |this| {
            this.directories.write_conf_now(&subject, &*this.entropy)?;
            log::open(&fresh)?.set_len(0).map_err(|e| RuntimeError::io("empty the log of a one-off run", &e))
        })
        .await?;
    let mut child = launch::launch(workload, &arguments, lock, &output, runtime.directories.account())?;
    let guard = Group(child.id().and_then(|id| i32::try_from(id).ok()));
    let ended = tokio::time::timeout(one_off.limit, child.wait()).await;
    // Before anybody goes on, nothing of the run may be left, whichever way it ended.
    drop(guard);
    stop::clear(runtime, &workload.directory, None, Duration::ZERO).await?;
    let log = blocking(move || log::tail(&output, TAIL)).await?;
    match ended {
        Ok(Ok(status)) => Ok(OneOffEnd { exit: status.code(), log }),
        Ok(Err(e)) => Err(RuntimeError::io("wait for a one-off run", &e)),
        Err(_) => Err(RuntimeError::Transient(format!("the one-off run did not end within {} s", one_off.limit.as_secs()))),
    }
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

/// Takes the directory's lock. Left-overs of an earlier run are ended; a service that is up is not ours to end.
async fn take_over(runtime: &ProcessRuntime, workload: &Workload) -> RuntimeResult<File> {
    let began = Instant::now();
    loop {
        let subject = workload.clone();
        let taken = runtime
            .look(move |this| {
                require_directory(this, &subject)?;
                let known = this.records.load(&subject.service)?;
                let members = super::members(&ProcessTable::read()?, &subject.directory)?;
                if members.service.is_some() && known.is_some_and(|record| record.wanted == Wanted::Running) {
                    return Err(RuntimeError::Transient(format!("service {} is up", subject.service.name)));
                }
                match members.is_empty() {
                    true => lock::try_take(&subject.directory),
                    false => Ok(None),
                }
            })
            .await?;
        match taken {
            Some(lock) => return Ok(lock),
            None if began.elapsed() < PATIENCE => stop::clear(runtime, &workload.directory, None, Duration::ZERO).await?,
            None => return Err(RuntimeError::Transient(format!("{} is in use", workload.directory.display()))),
        }
        tokio::time::sleep(POLL).await;
    }
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
