//! start, unpause, reactivate (contract 12.3): one saga under three names. Brings an instance with data up; one without is provisioned.
//!
//! Parameters: `before`, what the row was, for a cancel before it begins; `resumes`, whether it ends a suspension for a debt.

use super::Tools;
use super::accepted::{Accepted, Begin};
use super::bring_up::{Configuration, OpenDatabase, Ready, RunService, SERVICE};
use super::errors::{inconsistent, overtaken};
use super::mails;
use super::site::{locked, worker};
use crate::engine::{Admission, Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use db::platform::PlatformTx;
use db::platform::instances::{self, Change};
use db::platform::operations::Operation;
use domain::instance::{Event, Status};
use domain::operation::Kind;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

const ACCEPTED: Accepted = Accepted { event: Event::StartAccepted, shown: Status::Starting };

pub(super) fn saga(kind: Kind, tools: &Arc<Tools>) -> Saga {
    let t = || Arc::clone(tools);
    Saga::new(kind, 1, Started(t()))
        .step(Begin(ACCEPTED))
        .no_undo("the end writes the status")
        .step(OpenDatabase(t()))
        .no_undo("the database of a live instance is open")
        .step(Configuration(t()))
        .no_undo("the next start writes it again")
        .step(RunService(t()))
        .undo()
        .step(Ready(t()))
        .no_undo("it only looks")
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    resumes: bool,
}

struct Started(Arc<Tools>);

#[async_trait]
impl Ends for Started {
    async fn admit(&self, operation: &Operation, tx: &mut PlatformTx) -> Result<Admission, StepError> {
        ACCEPTED.admit(operation, tx).await
    }

    async fn finish(&self, cx: &Cx, tx: &mut PlatformTx) -> Result<Value, StepError> {
        let instance = locked(cx, tx).await?;
        let placement = instance.placement.as_ref().ok_or_else(|| inconsistent("the instance is not placed"))?;
        let url = self.0.addresses.external(&instance, placement);
        let url = url.ok_or_else(|| overtaken("the instance has given its host name back"))?;
        // One that is there stays: customers have it in their bookmarks.
        let external_url = instance.external_url.is_none().then(|| url.clone());
        let change = Change { external_url, operation_id: Some(cx.operation().id), ..Change::default() };
        let instance = instances::happen(tx, &instance, Event::StartDone, change, &worker(cx)).await?.map_err(overtaken)?;
        instances::resources_applied(tx, &instance, &cx.output(SERVICE)?).await?;
        let url = instance.external_url.as_deref().unwrap_or(&url);
        mails::started(tx, cx, &self.0, &instance, url).await?;
        if self.0.notify_extras && cx.params::<Parameters>()?.resumes {
            mails::resumed(tx, cx, &self.0, &instance, url).await?;
        }
        Ok(json!({}))
    }

    async fn unwound(&self, cx: &Cx, tx: &mut PlatformTx, outcome: &Outcome) -> Result<(), StepError> {
        end_badly(cx, tx, outcome, Event::StartFailed, "The start was cancelled.").await
    }
}

/// Writes why it did not come to its end. Who pre-empted it has written the row since: then it is theirs.
pub(super) async fn end_badly(
    cx: &Cx,
    tx: &mut PlatformTx,
    outcome: &Outcome,
    event: Event,
    cancelled: &str,
) -> Result<(), StepError> {
    let message = match outcome {
        Outcome::Failed(fault) => fault.message.clone(),
        Outcome::Cancelled { preempted_by: Some(_), .. } => return Ok(()),
        Outcome::Cancelled { .. } => cancelled.to_owned(),
    };
    let instance = locked(cx, tx).await?;
    let change = Change { error_message: Some(Some(message)), operation_id: Some(cx.operation().id), ..Change::default() };
    if let Err(refused) = instances::happen(tx, &instance, event, change, &worker(cx)).await? {
        tracing::debug!(%refused, "the row says something else by now");
    }
    Ok(())
}
