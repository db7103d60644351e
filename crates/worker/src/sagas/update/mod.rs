//! update (contract 12.12): everything is done to a copy beside the instance, which is down meanwhile, and looked at; then the copy takes
//! its place. Whatever fails, the instance is as it was.
//!
//! Parameters: `version`, of the same major; `modules`, which ones, all if there are none; `before`, what the row was. Result: what was
//! updated and installed, which names nobody knows, and the backup that was taken first.

mod data;
mod database;
mod plan;
mod run;
mod verify;

use super::Tools;
use super::accepted::Accepted;
use super::backup::safety_copy::{self, SafetyCopy};
use super::bring_up::{Configuration, IfItShallRun, OpenDatabase, Ready, RunService};
use super::errors::overtaken;
use super::exchange::{Down, Swap, SwitchDatabase, UseImage, replaced_by};
use super::maintenance::{Look, Show};
use super::site::{locked, worker};
use crate::engine::{Admission, Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use data::CopyData;
use database::CopyDatabase;
use db::platform::PlatformTx;
use db::platform::instances::{self, Change};
use db::platform::operations::Operation;
use db::platform::replaced;
use domain::backup::Origin;
use domain::instance::{Event, Status};
use domain::operation::Kind;
use plan::{Plan, Planned, exchange, images};
use run::{Choose, Run};
use serde_json::{Value, json};
use std::sync::Arc;
use verify::Verify;

const ACCEPTED: Accepted = Accepted { event: Event::UpdateBegins, shown: Status::Updating };

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    let t = || Arc::clone(tools);
    Saga::new(Kind::Update, 1, Updated(t()))
        .step(Look)
        .no_undo("it only looks")
        .step(Show(Event::UpdateBegins))
        .no_undo("the end writes the status")
        .step(Plan(t()))
        .no_undo("it only looks")
        .step(SafetyCopy { tools: t(), origin: Origin::BeforeUpdate, needed: true })
        .undo()
        .step(Down(t()))
        .undo()
        .step(CopyDatabase(t()))
        .undo()
        .step(CopyData(t()))
        .undo()
        .step(Choose(t()))
        .no_undo("it only looks")
        .step(Run(t()))
        .no_undo("goes with the copies")
        .step(Verify(t()))
        .no_undo("it only looks")
        .step(SwitchDatabase(t(), exchange))
        .undo()
        .step(Swap(t(), exchange))
        .undo()
        .step(UseImage(t(), images))
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

struct Updated(Arc<Tools>);

#[async_trait]
impl Ends for Updated {
    async fn admit(&self, operation: &Operation, tx: &mut PlatformTx) -> Result<Admission, StepError> {
        ACCEPTED.admit(operation, tx).await
    }

    async fn finish(&self, cx: &Cx, tx: &mut PlatformTx) -> Result<Value, StepError> {
        let (plan, done) = (cx.output::<Planned>(plan::NAME)?, cx.output::<run::Done>(run::NAME)?);
        let instance = locked(cx, tx).await?;
        let change = Change { operation_id: Some(cx.operation().id), ..Change::default() };
        let instance = instances::happen(tx, &instance, Event::UpdateDone, change, &worker(cx)).await?.map_err(overtaken)?;
        let former = replaced_by(cx, &instance, exchange, plan.former_image)?;
        replaced::keep(tx, &former, None, self.0.keep_replaced).await?;
        let safety_copy: Value = cx.output(safety_copy::NAME)?;
        Ok(json!({
            "updated": done.updated, "installed": done.installed, "unknown": done.unknown, "safety_copy": safety_copy["backup"],
        }))
    }

    async fn unwound(&self, cx: &Cx, tx: &mut PlatformTx, outcome: &Outcome) -> Result<(), StepError> {
        let message = match outcome {
            Outcome::Failed(fault) => fault.message.clone(),
            Outcome::Cancelled { .. } => "The update was cancelled.".to_owned(),
        };
        let instance = locked(cx, tx).await?;
        let change = Change { error_message: Some(Some(message)), operation_id: Some(cx.operation().id), ..Change::default() };
        // Who pre-empted it has written the row since: then it is theirs.
        if let Err(refused) = instances::happen(tx, &instance, Event::UpdateRolledBack, change, &worker(cx)).await? {
            tracing::debug!(%refused, "the row says something else by now");
        }
        Ok(())
    }
}
