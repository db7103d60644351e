//! Removes the database and the role that the archive was loaded with, and the archive.

use super::read::{self, Read};
use super::scratch::Scratch;
use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::errors::transfer_failed;
use crate::sagas::site::Site;
use async_trait::async_trait;
use domain::backup::transfer::Archive;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Discard(pub(super) Arc<Tools>);

#[async_trait]
impl Step for Discard {
    fn name(&self) -> &'static str {
        "discard"
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(180)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let site = Site::of(cx, &self.0).await?;
        Scratch::of(&site, &cx.output::<Read>(read::NAME)?)?.remove(cx, &site).await?;
        self.0.transfer.clear(Archive::imported(cx.operation().id)).await.map_err(transfer_failed)?;
        Ok(json!({}))
    }
}
