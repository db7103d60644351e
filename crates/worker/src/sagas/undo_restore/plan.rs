//! Looks what is kept, and chooses the names under which the present data are kept afterwards.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::exchange::Exchange;
use crate::sagas::restore::number_beside;
use crate::sagas::site::Site;
use async_trait::async_trait;
use db::platform::instances::Placement;
use db::platform::replaced::{self, Replaced};
use domain::ids::OperationId;
use domain::names::PhysicalName;
use domain::operation::Place;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) const NAME: &str = "plan";

pub(super) struct Plan(pub(super) Arc<Tools>);

#[derive(Deserialize)]
struct Parameters {
    restore: Option<OperationId>,
}

/// What the step records.
#[derive(Serialize, Deserialize)]
pub(super) struct Planned {
    /// The operation that is taken back.
    pub(super) operation: OperationId,
    /// Of the directory that is kept.
    pub(super) kept: u32,
    /// Of what is kept afterwards.
    pub(super) number: u32,
    live_oid: u32,
    former: PhysicalName,
    former_oid: u32,
}

/// What is kept, for what is live.
pub(super) fn exchange(cx: &Cx, placement: &Placement) -> Result<Option<Exchange>, StepError> {
    let Some(plan) = cx.recorded::<Planned>(NAME)? else { return Ok(None) };
    Exchange::of(placement, plan.number, plan.live_oid, (plan.former, plan.former_oid)).map(Some)
}

#[async_trait]
impl Step for Plan {
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
        const GONE: &str = "The former data are not kept any more.";
        let site = Site::of(cx, &self.0).await?;
        let (number, live_oid) = number_beside(cx, &site).await?;
        let wanted = cx.params::<Parameters>()?.restore;
        let is_wanted = |former: &Replaced| wanted.is_none_or(|restore| former.operation == restore);
        let all = replaced::of(&cx.services().db, site.instance.id).await?;
        let kept = all.into_iter().rev().find(|(former, is_due)| !is_due && is_wanted(former));
        let (former, _) = kept.ok_or_else(|| StepError::permanent("nothing_kept", GONE, "nothing is kept"))?;
        if former.server != site.placement.server {
            return Err(StepError::permanent("nothing_kept", GONE, "the instance has moved to another server since"));
        }
        let Replaced { operation, number: kept, db_name, db_oid, .. } = former;
        Ok(json!(Planned { operation, kept, number, live_oid, former: db_name, former_oid: db_oid }))
    }
}
