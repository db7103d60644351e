//! apply_resources (contract 12.10): the limits that the row says reach a running service. The status stays.
//!
//! Parameters: none. An instance that does not run gets them at its next start.

mod limits;

use super::Tools;
use super::bring_up::Ready;
use super::errors::inconsistent;
use super::site::locked;
use crate::engine::{Admission, Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use db::platform::PlatformTx;
use db::platform::instances::{self, Limits};
use db::platform::operations::Operation;
use domain::instance::Status;
use domain::operation::Kind;
use serde_json::{Value, json};
use std::sync::Arc;

const NOT_NOW: &str = "The instance does not run; the new limits are applied at its next start.";

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    let t = || Arc::clone(tools);
    Saga::new(Kind::ApplyResources, 1, Applied).step(limits::NewLimits(t())).undo().step(Ready(t())).no_undo("it only looks")
}

struct Applied;

#[async_trait]
impl Ends for Applied {
    async fn admit(&self, operation: &Operation, tx: &mut PlatformTx) -> Result<Admission, StepError> {
        let Some(id) = operation.instance_id else { return Err(inconsistent("the operation names no instance")) };
        let runs = instances::lock(tx, id).await?.is_some_and(|instance| instance.axes.status == Status::Running);
        Ok(if runs { Admission::Go } else { Admission::Refused(NOT_NOW.to_owned()) })
    }

    async fn finish(&self, cx: &Cx, tx: &mut PlatformTx) -> Result<Value, StepError> {
        let instance = locked(cx, tx).await?;
        let applied: Limits = cx.output(limits::NAME)?;
        instances::resources_applied(tx, &instance, &applied).await?;
        Ok(json!(applied))
    }

    /// The old limits are back, the new ones wait, and the row never said otherwise.
    async fn unwound(&self, _cx: &Cx, _tx: &mut PlatformTx, _outcome: &Outcome) -> Result<(), StepError> {
        Ok(())
    }
}
