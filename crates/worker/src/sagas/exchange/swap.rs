//! Exchanges the data directories.

use super::{Find, exchanged};
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::errors::unless_foreign;
use crate::sagas::site::{Site, turn};
use async_trait::async_trait;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;

pub(in crate::sagas) struct Swap(pub(in crate::sagas) Arc<Tools>, pub(in crate::sagas) Find);

#[async_trait]
impl Step for Swap {
    fn name(&self) -> &'static str {
        "swap_data"
    }

    fn place(&self) -> Place {
        Place::Storage
    }

    fn interruptible(&self) -> bool {
        false
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let site = Site::of(cx, &self.0).await?;
        let exchange = exchanged(cx, &site.placement, self.1)?;
        self.0.directories.swap(&site.directory(), site.owner(), turn(cx), exchange.number).await?;
        Ok(json!({}))
    }
}

#[async_trait]
impl Undo for Swap {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(()) };
        let Some(exchange) = (self.1)(cx, &site.placement)? else { return Ok(()) };
        unless_foreign(self.0.directories.swap_back(&site.directory(), site.owner(), turn(cx), exchange.number).await)
    }
}
