//! `BACKUP_MODE=offline` (contract 12.8): an Odoo that shall run is down while it is backed up.

use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::bring_up::NOT_READY;
use crate::sagas::exchange::Down;
use crate::sagas::site::Site;
use async_trait::async_trait;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn not_needed() -> Seen {
    Seen::Ours(json!({ "needed": false }))
}

/// Brings the service down, in that mode. The way back starts it again, if it shall run then.
pub(super) struct DownIfOffline(pub(super) Arc<Tools>);

impl DownIfOffline {
    fn down(&self) -> Down {
        Down(Arc::clone(&self.0))
    }
}

/// Whether the service was brought down for the backup, or may have been.
fn was_down(cx: &Cx, tools: &Arc<Tools>) -> Result<bool, StepError> {
    let name = DownIfOffline(Arc::clone(tools)).name();
    Ok(match cx.recorded::<Value>(name)? {
        Some(recorded) => recorded.get("needed") != Some(&json!(false)),
        None => cx.started_before(name),
    })
}

#[async_trait]
impl Step for DownIfOffline {
    fn name(&self) -> &'static str {
        self.down().name()
    }

    fn place(&self) -> Place {
        self.down().place()
    }

    fn limit(&self) -> Duration {
        self.down().limit()
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        // One that was interrupted may have brought it down, whatever the mode is now.
        let is_meant = self.0.offline_backups || cx.started_before(self.name());
        if is_meant && Site::of(cx, &self.0).await?.shall_run() { self.down().check(cx).await } else { Ok(not_needed()) }
    }

    async fn apply(&self, cx: &Cx, seen: Seen) -> Result<Value, StepError> {
        self.down().apply(cx, seen).await
    }
}

#[async_trait]
impl Undo for DownIfOffline {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        if was_down(cx, &self.0)? { self.down().undo(cx).await } else { Ok(()) }
    }
}

/// A step that brings the service up again. The backup is whole by then: an Odoo that does not become ready in time does not take it back; the
/// health check tells of it.
pub(super) struct IfItWasDown<S>(pub(super) Arc<Tools>, pub(super) S);

#[async_trait]
impl<S: Step> Step for IfItWasDown<S> {
    fn name(&self) -> &'static str {
        self.1.name()
    }

    fn place(&self) -> Place {
        self.1.place()
    }

    fn limit(&self) -> Duration {
        self.1.limit()
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        if was_down(cx, &self.0)? { self.1.check(cx).await } else { Ok(not_needed()) }
    }

    async fn apply(&self, cx: &Cx, seen: Seen) -> Result<Value, StepError> {
        match self.1.apply(cx, seen).await {
            Err(error) if error.code == NOT_READY => {
                tracing::warn!(%error.cause, "Odoo is not ready again after its backup");
                Ok(json!({ "ready": false }))
            }
            other => other,
        }
    }
}
