//! suspend (contract 12.6): the service is down; it, the host name, the database and the files stay.
//!
//! Parameters: none; the row is paused already. Forward-only.

use super::Tools;
use super::mails;
use super::site::locked;
use super::takedown::{FORWARD_ONLY, StopService};
use crate::engine::{Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use db::platform::PlatformTx;
use db::platform::instances;
use domain::instance::{ObservedState, Status};
use domain::operation::Kind;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    Saga::forward_only(Kind::Suspend, 1, Suspended(Arc::clone(tools))).step(StopService(Arc::clone(tools))).no_undo(FORWARD_ONLY)
}

struct Suspended(Arc<Tools>);

#[async_trait]
impl Ends for Suspended {
    async fn finish(&self, cx: &Cx, tx: &mut PlatformTx) -> Result<Value, StepError> {
        let instance = locked(cx, tx).await?;
        instances::observe(tx, instance.id, ObservedState::Stopped, false).await?;
        if self.0.notify_extras && instance.axes.status == Status::Paused {
            mails::suspended(tx, cx, &self.0, &instance).await?;
        }
        Ok(json!({}))
    }

    async fn unwound(&self, _cx: &Cx, _tx: &mut PlatformTx, _outcome: &Outcome) -> Result<(), StepError> {
        Ok(())
    }
}
