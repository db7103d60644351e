//! Looks whether what is kept is there, and chooses the names under which the present data are kept afterwards.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::exchange::{Exchange, Images};
use crate::sagas::restore::number_beside;
use crate::sagas::site::Site;
use async_trait::async_trait;
use db::odoo::{DatabaseState, Recorded};
use db::platform::instances::Placement;
use db::platform::replaced::{self, Replaced};
use domain::ids::OperationId;
use domain::names::PhysicalName;
use domain::operation::Place;
use runtime::directory::Beside;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) const NAME: &str = "plan";

pub(super) struct Plan(pub(super) Arc<Tools>);

#[derive(Deserialize)]
pub(super) struct Parameters {
    pub(super) restore: Option<OperationId>,
    #[serde(default)]
    pub(super) last: bool,
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
    /// What runs before.
    #[serde(default)]
    pub(super) former_image: Option<String>,
    /// What ran on what is kept, if that was noted.
    #[serde(default)]
    image: Option<String>,
}

/// What is kept, for what is live.
pub(super) fn exchange(cx: &Cx, placement: &Placement) -> Result<Option<Exchange>, StepError> {
    let Some(plan) = cx.recorded::<Planned>(NAME)? else { return Ok(None) };
    Exchange::of(placement, plan.number, plan.live_oid, (plan.former, plan.former_oid)).map(Some)
}

/// What runs before and afterwards.
pub(super) fn images(cx: &Cx) -> Result<Option<Images>, StepError> {
    Ok(cx.recorded::<Planned>(NAME)?.map(|plan| Images { before: plan.former_image, after: plan.image }))
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
        let site = Site::of(cx, &self.0).await?;
        let (number, live_oid) = number_beside(cx, &site).await?;
        let wanted = cx.params::<Parameters>()?.restore;
        let is_wanted = |former: &Replaced| wanted.is_none_or(|restore| former.operation == restore);
        let all = replaced::of(&cx.services().db, site.instance.id).await?;
        let kept = all.into_iter().rev().find(|(former, is_due)| !is_due && is_wanted(former));
        let (former, _) = kept.ok_or_else(|| gone("nothing is kept"))?;
        self.is_there(&site, &former).await?;
        let Replaced { operation, number: kept, db_name, db_oid, image, .. } = former;
        let former_image = site.placement.image.clone();
        Ok(json!(Planned { operation, kept, number, live_oid, former: db_name, former_oid: db_oid, former_image, image }))
    }
}

impl Plan {
    /// Before anything goes down for it.
    async fn is_there(&self, site: &Site, former: &Replaced) -> Result<(), StepError> {
        let Placement { server, db_user, mark, .. } = &site.placement;
        if former.server != *server {
            return Err(gone("the instance has moved to another server since"));
        }
        let recorded = Recorded { oid: Some(former.db_oid), owner: db_user };
        match site.server.admin_connection().await?.database_state(&former.db_name, recorded, mark).await? {
            DatabaseState::Ours(facts) if facts.oid == former.db_oid => {}
            other => return Err(gone(format!("database {} is not what was kept: {other:?}", former.db_name))),
        }
        let directory = Beside::Replaced(former.number);
        if !self.0.directories.beside(&site.directory(), site.owner()).await?.contains(&directory) {
            return Err(gone(format!("{directory:?} is not there")));
        }
        Ok(())
    }
}

fn gone(cause: impl std::fmt::Display) -> StepError {
    StepError::permanent("nothing_kept", "The former data are not kept any more.", cause)
}
