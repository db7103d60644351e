//! forget_replaced: what a restore had replaced goes when its time is over, or when a younger former state is kept.
//!
//! Parameters: none; the rows say what is due. Result: how many former states went.

mod remove;

use super::Tools;
use crate::engine::{Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use db::platform::PlatformTx;
use domain::operation::Kind;
use remove::RemoveDue;
use serde_json::Value;
use std::sync::Arc;

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    Saga::new(Kind::ForgetReplaced, 1, Forgotten)
        .step(RemoveDue(Arc::clone(tools)))
        .no_undo("what it removes is not wanted any more")
}

struct Forgotten;

#[async_trait]
impl Ends for Forgotten {
    async fn finish(&self, cx: &Cx, _tx: &mut PlatformTx) -> Result<Value, StepError> {
        cx.output(remove::NAME)
    }

    async fn unwound(&self, _cx: &Cx, _tx: &mut PlatformTx, _outcome: &Outcome) -> Result<(), StepError> {
        Ok(())
    }
}
