//! Looks whether the update can be done here and now, before anything is made: what would run, and room for a copy.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::errors::inconsistent;
use crate::sagas::exchange::Exchange;
use crate::sagas::restore::number_beside;
use crate::sagas::site::Site;
use async_trait::async_trait;
use db::odoo::{Switch, beside};
use db::platform::instances::Instance;
use db::platform::replaced::Replaced;
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
    pub(super) fn copy(&self, site: &Site) -> Result<PhysicalName, StepError> {
        Ok(beside(&site.placement.db_name, 'n', self.number)?)
    }

    pub(super) fn replaced(&self, cx: &Cx, instance: &Instance) -> Result<Replaced, StepError> {
        let placement = instance.placement.as_ref().ok_or_else(|| inconsistent("the instance is not placed"))?;
        Ok(Replaced {
            instance: instance.id,
            operation: cx.operation().id,
            server: placement.server,
            db_name: beside(&placement.db_name, 'o', self.number)?,
            db_oid: self.live_oid,
            number: self.number,
        })
    }
}

/// The copy, for what is live.
pub(super) fn exchange(cx: &Cx, site: &Site) -> Result<Option<Exchange>, StepError> {
    let (plan, copied) = (cx.recorded::<Planned>(NAME)?, cx.recorded::<super::database::Copied>(super::database::NAME)?);
    let Some((plan, copied)) = plan.zip(copied) else { return Ok(None) };
    let live = site.placement.db_name.clone();
    let switch = Switch {
        live_oid: plan.live_oid,
        incoming: plan.copy(site)?,
        incoming_oid: copied.oid,
        outgoing: beside(&live, 'o', plan.number)?,
        live,
        owner: site.placement.db_user.clone(),
    };
    Ok(Some(Exchange { number: plan.number, switch }))
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
