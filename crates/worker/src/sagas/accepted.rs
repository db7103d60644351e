//! What an accepted request makes of the row. One that was alone did it when it was accepted; one that waited its turn does it when it
//! begins, if it still may.

use super::errors::{inconsistent, overtaken};
use super::site::{locked, worker};
use crate::engine::{Admission, Cx, Seen, Step, StepError};
use async_trait::async_trait;
use db::platform::PlatformTx;
use db::platform::instances::{self, Change};
use db::platform::operations::Operation;
use domain::instance::{Axes, Event, Status, find};
use domain::operation::Place;
use serde_json::{Value, json};

/// An event, and the status by which the row shows it.
#[derive(Clone, Copy)]
pub(super) struct Accepted {
    pub(super) event: Event,
    pub(super) shown: Status,
}

impl Accepted {
    fn is_shown(self, axes: &Axes) -> bool {
        axes.status == self.shown && axes.has_data()
    }

    /// Whether the operation may still begin.
    pub(super) async fn admit(self, operation: &Operation, tx: &mut PlatformTx) -> Result<Admission, StepError> {
        let Some(id) = operation.instance_id else { return Err(inconsistent("the operation names no instance")) };
        let Some(instance) = instances::lock(tx, id).await? else { return Err(inconsistent("there is no such instance")) };
        if self.is_shown(&instance.axes) {
            return Ok(Admission::Go);
        }
        Ok(match find(&instance.axes, self.event) {
            Ok(_) => Admission::Go,
            Err(refused) => Admission::Refused(refused.to_string()),
        })
    }
}

/// Lets the event happen.
pub(super) struct Begin(pub(super) Accepted);

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
        if !self.0.is_shown(&instance.axes) {
            let change = Change { operation_id: Some(cx.operation().id), ..Change::default() };
            instances::happen(&mut tx, &instance, self.0.event, change, &worker(cx)).await?.map_err(overtaken)?;
        }
        tx.commit().await?;
        Ok(json!({}))
    }
}
