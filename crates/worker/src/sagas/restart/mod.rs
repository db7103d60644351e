//! restart (contract 12.5): down, verified, and up again with what the row says now.
//!
//! Parameters: `before`, what the row was, for a cancel before it begins.

use super::Tools;
use super::accepted::{Accepted, Begin};
use super::bring_up::{Configuration, OpenDatabase, Ready, RunService, SERVICE};
use super::errors::overtaken;
use super::site::{locked, worker};
use super::start::end_badly;
use super::takedown::StopService;
use crate::engine::{Admission, Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use db::platform::PlatformTx;
use db::platform::instances::{self, Change};
use db::platform::operations::Operation;
use domain::instance::{Event, Status};
use domain::operation::Kind;
use serde_json::{Value, json};
use std::sync::Arc;

const ACCEPTED: Accepted = Accepted { event: Event::RestartAccepted, shown: Status::Restarting };

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    let t = || Arc::clone(tools);
    Saga::new(Kind::Restart, 1, Restarted)
        .step(Begin(ACCEPTED))
        .no_undo("the end writes the status")
        .step(OpenDatabase(t()))
        .no_undo("the database of a live instance is open")
        .step(Configuration(t()))
        .no_undo("the next start writes it again")
        .step(StopService(t()))
        .no_undo("it was up or was to be: the way on is the way back")
        .step(RunService(t()))
        .no_undo("it shall run, even if it does not answer yet")
        .step(Ready(t()))
        .no_undo("it only looks")
}

struct Restarted;

#[async_trait]
impl Ends for Restarted {
    async fn admit(&self, operation: &Operation, tx: &mut PlatformTx) -> Result<Admission, StepError> {
        ACCEPTED.admit(operation, tx).await
    }

    async fn finish(&self, cx: &Cx, tx: &mut PlatformTx) -> Result<Value, StepError> {
        let instance = locked(cx, tx).await?;
        let change = Change { operation_id: Some(cx.operation().id), ..Change::default() };
        instances::happen(tx, &instance, Event::RestartDone, change, &worker(cx)).await?.map_err(overtaken)?;
        instances::resources_applied(tx, &instance, &cx.output(SERVICE)?).await?;
        Ok(json!({}))
    }

    async fn unwound(&self, cx: &Cx, tx: &mut PlatformTx, outcome: &Outcome) -> Result<(), StepError> {
        end_badly(cx, tx, outcome, Event::RestartFailed, "The restart was cancelled.").await
    }
}
