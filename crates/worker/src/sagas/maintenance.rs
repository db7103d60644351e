//! How work on an instance's data begins and where it leads back to: what the row was is noted before it shows the work.

use super::errors::{inconsistent, overtaken};
use super::site::{instance, locked, worker};
use crate::engine::{Cx, Seen, Step, StepError};
use async_trait::async_trait;
use db::platform::instances::{self, Change};
use domain::instance::{Event, Status};
use domain::operation::Place;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const NAME: &str = "look";

/// The statuses that show such work.
const SHOWN: [Status; 2] = [Status::Maintenance, Status::Updating];

#[derive(Serialize, Deserialize)]
struct Was {
    status: Status,
}

#[derive(Deserialize)]
struct Parameters {
    before: Option<Was>,
}

/// What the row was before.
pub(super) fn before(cx: &Cx) -> Result<Option<Status>, StepError> {
    Ok(cx.recorded::<Was>(NAME)?.or(cx.params::<Parameters>()?.before).map(|was| was.status))
}

/// Notes what the row is, or was when the request was accepted.
pub(super) struct Look;

#[async_trait]
impl Step for Look {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Postgres1
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let now = instance(cx).await?.axes.status;
        let accepted = cx.params::<Parameters>()?.before;
        let status = if SHOWN.contains(&now) { accepted.map(|was| was.status) } else { Some(now) };
        let status = status.ok_or_else(|| inconsistent("nobody knows what the instance was before"))?;
        Ok(json!(Was { status }))
    }
}

/// Lets the event happen that shows the work, unless the request has.
pub(super) struct Show(pub(super) Event);

#[async_trait]
impl Step for Show {
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
        if !SHOWN.contains(&instance.axes.status) {
            let change = Change { operation_id: Some(cx.operation().id), ..Change::default() };
            instances::happen(&mut tx, &instance, self.0, change, &worker(cx)).await?.map_err(overtaken)?;
        }
        tx.commit().await?;
        Ok(json!({}))
    }
}
