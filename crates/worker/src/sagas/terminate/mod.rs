//! terminate (contract 12.7): takes an instance out of service and keeps database, role, files and backups.
//!
//! Parameters: none; the row is terminated already. Forward-only.

use super::Tools;
use super::site::instance_id;
use super::takedown::{CloseDatabase, FORWARD_ONLY, RemoveService};
use crate::engine::{Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use db::platform::PlatformTx;
use db::platform::instances;
use domain::instance::ObservedState;
use domain::operation::Kind;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    Saga::forward_only(Kind::Terminate, 1, Terminated)
        .step(RemoveService(Arc::clone(tools)))
        .no_undo(FORWARD_ONLY)
        .step(CloseDatabase(Arc::clone(tools)))
        .no_undo(FORWARD_ONLY)
}

struct Terminated;

#[async_trait]
impl Ends for Terminated {
    async fn finish(&self, cx: &Cx, tx: &mut PlatformTx) -> Result<Value, StepError> {
        instances::observe(tx, instance_id(cx)?, ObservedState::Absent, false).await?;
        Ok(json!({}))
    }

    async fn unwound(&self, _cx: &Cx, _tx: &mut PlatformTx, _outcome: &Outcome) -> Result<(), StepError> {
        Ok(())
    }
}
