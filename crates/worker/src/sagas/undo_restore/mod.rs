//! undo_restore (contract 16.4): what the last restore or update replaced serves again, and what it had brought is kept in its turn.
//!
//! Parameters: `restore`, the operation that is taken back; `last`, whether it was chosen as the last one; `before`, what the row was. Result: the
//! operation that is taken back.

mod plan;
mod recall;

use super::Tools;
use super::accepted::Accepted;
use super::bring_up::{Configuration, IfItShallRun, OpenDatabase, Ready, RunService};
use super::errors::{inconsistent, overtaken};
use super::exchange::{Down, Swap, SwitchDatabase, UseImage, replaced_by};
use super::maintenance::{Look, Show, before};
use super::site::{locked, worker};
use crate::engine::{Admission, Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use db::platform::PlatformTx;
use db::platform::instances::{self, Change};
use db::platform::operations::Operation;
use db::platform::replaced;
use domain::instance::{Event, Status};
use domain::operation::Kind;
use plan::{Parameters, Plan, Planned, exchange, images};
use recall::Recall;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

const ACCEPTED: Accepted = Accepted { event: Event::RestoreBegins, shown: Status::Maintenance };

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    let t = || Arc::clone(tools);
    Saga::new(Kind::UndoRestore, 1, TakenBack(t()))
        .step(Look)
        .no_undo("it only looks")
        .step(Show(Event::RestoreBegins))
        .no_undo("the end writes the status")
        .step(Plan(t()))
        .no_undo("it only looks")
        .step(Recall(t()))
        .undo()
        .step(Down(t()))
        .undo()
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

struct TakenBack(Arc<Tools>);

#[async_trait]
impl Ends for TakenBack {
    async fn admit(&self, operation: &Operation, tx: &mut PlatformTx) -> Result<Admission, StepError> {
        const NOT_THE_LAST: &str =
            "The data of this instance were exchanged again since; ask once more if that is to be taken back.";
        let Some(id) = operation.instance_id else { return Err(inconsistent("the operation names no instance")) };
        let Parameters { restore, last } = Parameters::deserialize(&operation.params).map_err(inconsistent)?;
        // One that is not kept any more is found to be so by the first look.
        if last && replaced::last_kept(tx, id, None).await?.is_some_and(|kept| restore != Some(kept)) {
            return Ok(Admission::Refused(NOT_THE_LAST.to_owned()));
        }
        ACCEPTED.admit(operation, tx).await
    }

    async fn finish(&self, cx: &Cx, tx: &mut PlatformTx) -> Result<Value, StepError> {
        let plan: Planned = cx.output(plan::NAME)?;
        let instance = locked(cx, tx).await?;
        let change = Change { operation_id: Some(cx.operation().id), ..Change::default() };
        let instance = instances::happen(tx, &instance, Event::RestoreDone, change, &worker(cx)).await?.map_err(overtaken)?;
        let former = replaced_by(cx, &instance, exchange, plan.former_image)?;
        replaced::keep(tx, &former, Some(plan.kept), self.0.keep_replaced).await?;
        Ok(json!({ "taken_back": plan.operation }))
    }

    async fn unwound(&self, cx: &Cx, tx: &mut PlatformTx, outcome: &Outcome) -> Result<(), StepError> {
        let message = match outcome {
            Outcome::Failed(fault) => fault.message.clone(),
            Outcome::Cancelled { .. } => "Taking the restore back was cancelled.".to_owned(),
        };
        let instance = locked(cx, tx).await?;
        // It had not begun.
        let Some(before) = before(cx)? else { return Ok(()) };
        let change = Change { error_message: Some(Some(message)), operation_id: Some(cx.operation().id), ..Change::default() };
        let event = Event::RestoreFailed { before };
        // Who pre-empted it has written the row since: then it is theirs.
        if let Err(refused) = instances::happen(tx, &instance, event, change, &worker(cx)).await? {
            tracing::debug!(%refused, "the row says something else by now");
        }
        Ok(())
    }
}
