//! A step that is not needed for an instance that is meant to be down.

use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use async_trait::async_trait;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(in crate::sagas) struct IfItShallRun<S>(pub(in crate::sagas) Arc<Tools>, pub(in crate::sagas) S);

#[async_trait]
impl<S: Step> Step for IfItShallRun<S> {
    fn name(&self) -> &'static str {
        self.1.name()
    }

    fn place(&self) -> Place {
        self.1.place()
    }

    fn weight(&self) -> u32 {
        self.1.weight()
    }

    fn limit(&self) -> Duration {
        self.1.limit()
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        if Site::of(cx, &self.0).await?.shall_run() { self.1.check(cx).await } else { Ok(Seen::Ours(json!({ "needed": false }))) }
    }

    async fn apply(&self, cx: &Cx, seen: Seen) -> Result<Value, StepError> {
        self.1.apply(cx, seen).await
    }
}

#[async_trait]
impl<S: Undo> Undo for IfItShallRun<S> {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        self.1.undo(cx).await
    }
}
