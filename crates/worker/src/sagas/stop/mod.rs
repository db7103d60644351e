//! stop (contract 12.4): the service is down, verified; everything else stays.
//!
//! Parameters: `before`, what the row was, for a cancel before it begins; or `again`, when it was seen up although it should be down.

use super::Tools;
use super::accepted::{Accepted, Begin};
use super::errors::overtaken;
use super::mails;
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

const ACCEPTED: Accepted = Accepted { event: Event::StopAccepted, shown: Status::Stopping };

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    Saga::new(Kind::Stop, 1, Stopped(Arc::clone(tools)))
        .step(Begin(ACCEPTED))
        .no_undo("the end writes the status")
        .step(StopService(Arc::clone(tools)))
        .no_undo("what is down by request stays down")
}

struct Stopped(Arc<Tools>);

#[async_trait]
impl Ends for Stopped {
    async fn admit(&self, operation: &Operation, tx: &mut PlatformTx) -> Result<Admission, StepError> {
        ACCEPTED.admit(operation, tx).await
    }

    async fn finish(&self, cx: &Cx, tx: &mut PlatformTx) -> Result<Value, StepError> {
        let instance = locked(cx, tx).await?;
        let change = Change { operation_id: Some(cx.operation().id), ..Change::default() };
        let instance = instances::happen(tx, &instance, Event::StopDone, change, &worker(cx)).await?.map_err(overtaken)?;
        // Nobody asked for it who does not know.
        if cx.operation().params.get("again").is_none() {
            mails::stopped(tx, cx, &self.0, &instance).await?;
        }
        Ok(json!({}))
    }

    async fn unwound(&self, cx: &Cx, tx: &mut PlatformTx, outcome: &Outcome) -> Result<(), StepError> {
        end_badly(cx, tx, outcome, Event::StopFailed, "The stop was cancelled.").await
    }
}
