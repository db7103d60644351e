//! Whether what was restored shall run, where the request says so (contract 12.11); else it is as it was asked before.

use super::plan::{self, Planned};
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::errors::overtaken;
use crate::sagas::site::{Site, locked, worker};
use async_trait::async_trait;
use db::platform::instances::{self, Change};
use domain::instance::{Event, may_start};
use domain::operation::Place;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) struct Decide(pub(super) Arc<Tools>);

#[derive(Deserialize)]
struct Parameters {
    start: Option<bool>,
}

#[async_trait]
impl Step for Decide {
    fn name(&self) -> &'static str {
        "decide_run"
    }

    fn place(&self) -> Place {
        Place::Postgres1
    }

    /// Decided again, it is the same.
    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let site = Site::of(cx, &self.0).await?;
        let now = site.shall_run();
        let runs = match cx.params::<Parameters>()?.start {
            // Not any more: a payment is outstanding since.
            Some(true) if may_start(&site.instance.axes).is_err() => now,
            wanted => wanted.unwrap_or(now),
        };
        if runs != now {
            shall_run(cx, runs).await?;
        }
        Ok(json!({ "runs": runs }))
    }
}

#[async_trait]
impl Undo for Decide {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let before = cx.recorded::<Planned>(plan::NAME)?.and_then(|plan| plan.run_before);
        let (Some(before), Some(site)) = (before, Site::find(cx, &self.0).await?) else { return Ok(()) };
        if site.shall_run() == before {
            return Ok(());
        }
        match shall_run(cx, before).await {
            // Who pre-empted the restore has decided since.
            Err(error) if error.code == "overtaken" => Ok(()),
            other => other,
        }
    }
}

async fn shall_run(cx: &Cx, run: bool) -> Result<(), StepError> {
    let event = if run { Event::RestoreRuns } else { Event::RestoreStays };
    let mut tx = cx.fenced_tx().await?;
    let instance = locked(cx, &mut tx).await?;
    let change = Change { operation_id: Some(cx.operation().id), ..Change::default() };
    instances::happen(&mut tx, &instance, event, change, &worker(cx)).await?.map_err(overtaken)?;
    Ok(tx.commit().await?)
}
