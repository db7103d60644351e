//! Waiting for an Odoo to answer, inside a step.

use super::Tools;
use crate::engine::{Cx, StepError};
use runtime::{Observed, Readiness, Workload};
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Looks until Odoo answers or `patience` is over; at least once. `Some` is what was missing at the last look.
pub(super) async fn until_ready(
    cx: &Cx,
    tools: &Tools,
    workload: &Workload,
    patience: Duration,
) -> Result<Option<String>, StepError> {
    let (start, mut pause) = (Instant::now(), FIRST_PAUSE);
    loop {
        let Readiness::NotYet { reason } = tools.runtime.ready(workload).await? else { return Ok(None) };
        if let Observed::Failed { reason } = tools.runtime.observe(&workload.service).await? {
            return Err(StepError::retry("odoo_ended", "Odoo ended by itself while it was starting.", reason));
        }
        if start.elapsed() + pause > patience {
            return Ok(Some(reason));
        }
        cx.pause(pause).await?;
        // Slowly at first: a boot takes two seconds, and each look costs a little of it.
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}
