//! Writes that the work begins: status starting, and a mail that says so.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::errors::overtaken;
use crate::sagas::mails;
use crate::sagas::site::{locked, worker};
use async_trait::async_trait;
use db::platform::instances::{self, Change};
use domain::instance::Event;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) struct Begin(pub(super) Arc<Tools>);

#[async_trait]
impl Step for Begin {
    fn name(&self) -> &'static str {
        "begin"
    }

    fn place(&self) -> Place {
        Place::Postgres1
    }

    /// Written again, it changes nothing.
    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let mut tx = cx.fenced_tx().await?;
        let instance = locked(cx, &mut tx).await?;
        let change = Change { operation_id: Some(cx.operation().id), ..Change::default() };
        let begun = instances::happen(&mut tx, &instance, Event::ProvisionBegins, change, &worker(cx)).await?;
        let instance = begun.map_err(overtaken)?;
        mails::provisioning_started(&mut tx, cx, &self.0, &instance).await?;
        tx.commit().await?;
        Ok(json!({}))
    }
}
