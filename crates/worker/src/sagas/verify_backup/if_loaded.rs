//! A step that is not needed when only sums are compared.

use super::Parameters;
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use async_trait::async_trait;
use domain::operation::Place;
use serde_json::{Value, json};
use std::time::Duration;

pub(super) struct IfLoaded<S>(pub(super) S);

#[async_trait]
impl<S: Step> Step for IfLoaded<S> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn place(&self) -> Place {
        self.0.place()
    }

    fn weight(&self) -> u32 {
        self.0.weight()
    }

    fn limit(&self) -> Duration {
        self.0.limit()
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        if cx.params::<Parameters>()?.restore { self.0.check(cx).await } else { Ok(Seen::Ours(json!({ "needed": false }))) }
    }

    async fn apply(&self, cx: &Cx, seen: Seen) -> Result<Value, StepError> {
        self.0.apply(cx, seen).await
    }
}

#[async_trait]
impl<S: Undo> Undo for IfLoaded<S> {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        if cx.params::<Parameters>()?.restore { self.0.undo(cx).await } else { Ok(()) }
    }
}
