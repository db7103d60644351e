//! Looks whether the update can be done here and now, before anything is made, and what would run. Room on a database server cannot be asked for:
//! a full disk is met while the copy is made (`database`), and everything goes back.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::exchange::{Exchange, Images};
use crate::sagas::restore::number_beside;
use crate::sagas::site::Site;
use async_trait::async_trait;
use db::odoo::beside;
use db::platform::instances::Placement;
use domain::names::PhysicalName;
use domain::operation::Place;
use domain::version::OdooVersion;
use runtime::Image;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) const NAME: &str = "plan";

pub(super) struct Plan(pub(super) Arc<Tools>);

#[derive(Deserialize)]
pub(super) struct Parameters {
    version: OdooVersion,
    #[serde(default)]
    pub(super) modules: Vec<String>,
}

/// What the step records.
#[derive(Serialize, Deserialize)]
pub(super) struct Planned {
    /// Of everything that stands beside the live data.
    pub(super) number: u32,
    /// The database before.
    pub(super) live_oid: u32,
    /// What runs before.
    pub(super) former_image: Option<String>,
    /// What runs afterwards.
    pub(super) image: Image,
}

impl Planned {
    /// The name of the copy until it is the live one.
    pub(super) fn copy(&self, placement: &Placement) -> Result<PhysicalName, StepError> {
        Ok(beside(&placement.db_name, 'n', self.number)?)
    }
}

/// The copy, for what is live.
pub(super) fn exchange(cx: &Cx, placement: &Placement) -> Result<Option<Exchange>, StepError> {
    let (plan, copied) = (cx.recorded::<Planned>(NAME)?, cx.recorded::<super::database::Copied>(super::database::NAME)?);
    let Some((plan, copied)) = plan.zip(copied) else { return Ok(None) };
    Exchange::of(placement, plan.number, plan.live_oid, (plan.copy(placement)?, copied.oid)).map(Some)
}

/// What runs before and afterwards.
pub(super) fn images(cx: &Cx) -> Result<Option<Images>, StepError> {
    let images = |plan: Planned| Images { before: plan.former_image, after: Some(plan.image.as_str().to_owned()) };
    Ok(cx.recorded::<Planned>(NAME)?.map(images))
}

#[async_trait]
impl Step for Plan {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Runtime
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let Parameters { version, .. } = cx.params()?;
        let site = Site::of(cx, &self.0).await?;
        let here = site.instance.version()?;
        if version != here {
            let public = format!("The instance runs Odoo {here} by now, and the update was to Odoo {version}.");
            return Err(StepError::permanent("other_odoo_version", public.clone(), public));
        }
        let image = self.0.runtime.resolve_image(version).await?;
        let (number, live_oid) = number_beside(cx, &site).await?;
        Ok(json!(Planned { number, live_oid, former_image: site.placement.image.clone(), image }))
    }
}
