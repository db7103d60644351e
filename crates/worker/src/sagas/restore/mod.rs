//! restore (contract 12.11): everything is prepared and checked beside the live instance; then database and files are exchanged by renames.
//!
//! Parameters: `backup`, which one; `start`, whether it shall run afterwards; `before`, what the row was. Result: the backup. What was live before is kept for RESTORE_KEEP_OLD_HOURS.

mod data;
mod database;
mod decide;
mod opened;
mod plan;
mod room;
mod verify;

pub(super) use database::{Database, Loaded, NAME as DATABASE};
pub(super) use opened::Opened;
pub(super) use plan::{NAME as PLAN, Planned, fits, number_beside, opened};
pub(super) use room::{there_must_be_room, tools_for};
pub(super) use verify::Verify;

use super::Tools;
use super::accepted::Accepted;
use super::backup::safety_copy::{self, SafetyCopy};
use super::bring_up::{Configuration, IfItShallRun, OpenDatabase, Ready, RunService};
use super::errors::overtaken;
use super::exchange::{Down, Exchange, Swap, SwitchDatabase, replaced_by};
use super::mails;
use super::maintenance::{Look, Show, before};
use super::site::{locked, worker};
use crate::engine::{Admission, Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use data::Data;
use db::platform::PlatformTx;
use db::platform::backups;
use db::platform::instances::{self, Change, Placement};
use db::platform::operations::Operation;
use db::platform::replaced;
use decide::Decide;
use domain::backup::Origin;
use domain::instance::{Event, Status};
use domain::operation::Kind;
use plan::Plan;
use serde_json::{Value, json};
use std::sync::Arc;

const ACCEPTED: Accepted = Accepted { event: Event::RestoreBegins, shown: Status::Maintenance };

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    let t = || Arc::clone(tools);
    Saga::new(Kind::Restore, 1, Restored(t()))
        .step(Look)
        .no_undo("it only looks")
        .step(Show(Event::RestoreBegins))
        .no_undo("the end writes the status")
        .step(Plan(t()))
        .no_undo("it only looks")
        .step(SafetyCopy { tools: t(), origin: Origin::BeforeRestore, needed: false })
        .undo()
        .step(Database(t()))
        .undo()
        .step(Verify(t()))
        .no_undo("it only looks")
        .step(Data(t()))
        .undo()
        .step(Down(t()))
        .undo()
        .step(SwitchDatabase(t(), exchange))
        .undo()
        .step(Swap(t(), exchange))
        .undo()
        .step(Decide(t()))
        .undo()
        .step(OpenDatabase(t()))
        .no_undo("the way back opens what serves then")
        .step(Configuration(t()))
        .no_undo("the next start writes it again")
        .step(IfItShallRun(t(), RunService(t())))
        .undo()
        .step(IfItShallRun(t(), Ready(t())))
        .no_undo("it only looks")
}

/// What was loaded, for what is live.
fn exchange(cx: &Cx, placement: &Placement) -> Result<Option<Exchange>, StepError> {
    let (plan, loaded) = (cx.recorded::<Planned>(plan::NAME)?, cx.recorded::<Loaded>(database::NAME)?);
    let Some((plan, loaded)) = plan.zip(loaded) else { return Ok(None) };
    Exchange::of(placement, plan.number, plan.live_oid, (plan.incoming(placement)?, loaded.oid)).map(Some)
}

struct Restored(Arc<Tools>);

#[async_trait]
impl Ends for Restored {
    async fn admit(&self, operation: &Operation, tx: &mut PlatformTx) -> Result<Admission, StepError> {
        ACCEPTED.admit(operation, tx).await
    }

    async fn finish(&self, cx: &Cx, tx: &mut PlatformTx) -> Result<Value, StepError> {
        let plan: Planned = cx.output(plan::NAME)?;
        let instance = locked(cx, tx).await?;
        let change = Change { operation_id: Some(cx.operation().id), ..Change::default() };
        let instance = instances::happen(tx, &instance, Event::RestoreDone, change, &worker(cx)).await?.map_err(overtaken)?;
        // What runs stays the same.
        let image = instance.placement.as_ref().and_then(|placement| placement.image.clone());
        replaced::keep(tx, &replaced_by(cx, &instance, exchange, image)?, None, self.0.keep_replaced).await?;
        let url = instance.external_url.as_deref().unwrap_or_default();
        mails::restore_completed(tx, cx, &self.0, &instance, &plan.name, url).await?;
        let safety_copy: Value = cx.output(safety_copy::NAME)?;
        Ok(json!({ "backup_id": plan.backup, "safety_copy": safety_copy["backup"] }))
    }

    async fn unwound(&self, cx: &Cx, tx: &mut PlatformTx, outcome: &Outcome) -> Result<(), StepError> {
        let message = match outcome {
            Outcome::Failed(fault) => fault.message.clone(),
            Outcome::Cancelled { .. } => "The restore was cancelled.".to_owned(),
        };
        backups::fail(tx, cx.operation().id, &message).await?;
        let instance = locked(cx, tx).await?;
        // It had not begun.
        let Some(before) = before(cx)? else { return Ok(()) };
        let error_message = Some(Some(message.clone()));
        let change = Change { error_message, operation_id: Some(cx.operation().id), ..Change::default() };
        // Who pre-empted it has written the row since: then it is theirs.
        let instance = match instances::happen(tx, &instance, Event::RestoreFailed { before }, change, &worker(cx)).await? {
            Ok(instance) => instance,
            Err(refused) => {
                tracing::debug!(%refused, "the row says something else by now");
                return Ok(());
            }
        };
        if let Outcome::Failed(_) = outcome {
            let name = cx.recorded::<Planned>(plan::NAME)?.map_or_else(String::new, |plan| plan.name);
            mails::restore_failed(tx, cx, &self.0, &instance, &name, &message).await?;
        }
        Ok(())
    }
}
