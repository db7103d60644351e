//! Waiting for the runtime inside a step: for an Odoo to answer, and for work that takes minutes.

use super::Tools;
use crate::engine::{Cx, StepError};
use db::odoo::OdooServer;
use runtime::{Observed, Readiness, Workload};
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Waits for work of the runtime or for a lock on a server, unless the step is told to stop meanwhile: a one-off run ends when
/// nobody waits for it, and so does a lock's connection.
pub(super) async fn unless_told_to_stop<T, E>(cx: &Cx, work: impl Future<Output = Result<T, E>>) -> Result<T, StepError>
where
    StepError: From<E>,
{
    tokio::select! {
        biased;
        () = cx.cancelled().cancelled() => Err(cx.interruption()),
        done = work => Ok(done?),
    }
}

/// Longest time in which work that copies data may have nothing to show for (contract 11.5).
const STALLED: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_secs(5);

/// Waits for work for as long as it goes on: given up when what `done` says has not grown for ten minutes.
pub(super) async fn steadily<T>(
    done: impl Fn() -> u64,
    work: impl Future<Output = Result<T, StepError>>,
) -> Result<T, StepError> {
    let stalled = async {
        let (mut before, mut since) = (done(), Instant::now());
        while since.elapsed() < STALLED {
            tokio::time::sleep(LOOK).await;
            let now = done();
            if now != before {
                (before, since) = (now, Instant::now());
            }
        }
    };
    tokio::select! {
        done = work => done,
        () = stalled => {
            let cause = format!("nothing has moved for {} s", STALLED.as_secs());
            Err(StepError::retry("stalled", "The copy of your data does not go on; it is tried again.", cause))
        }
    }
}

/// Looks until Odoo answers or `patience` is over; at least once. `Some` is what was missing at the last look, while its database
/// server was there: without it no Odoo comes up, and that is the server's failure.
pub(super) async fn until_ready(
    cx: &Cx,
    tools: &Tools,
    server: &OdooServer,
    workload: &Workload,
    patience: Duration,
) -> Result<Option<String>, StepError> {
    let (start, mut pause) = (Instant::now(), FIRST_PAUSE);
    loop {
        let seen = unless_told_to_stop(cx, tools.runtime.ready(workload)).await?;
        let Readiness::NotYet { reason } = seen else { return Ok(None) };
        if let Observed::Failed { reason } = tools.runtime.observe(&workload.service).await? {
            server.admin_connection().await?;
            // It may have been away for a moment. The next try waits for what is started now.
            tools.runtime.ensure(workload).await?;
            return Err(StepError::retry("odoo_ended", "Odoo ended by itself while it was starting.", reason));
        }
        if start.elapsed() + pause > patience {
            server.admin_connection().await?;
            return Ok(Some(reason));
        }
        cx.pause(pause).await?;
        // Slowly at first: a boot takes two seconds, and each look costs a little of it.
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}
