//! Looks whether the copy is an Odoo still.

use super::plan::{self, Planned};
use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use async_trait::async_trait;
use db::odoo::OdooError;
use domain::operation::Place;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) struct Verify(pub(super) Arc<Tools>);

#[async_trait]
impl Step for Verify {
    fn name(&self) -> &'static str {
        "verify"
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        const WRONG: &str = "After the update something was missing. The instance is as it was before.";
        let (site, plan) = (Site::of(cx, &self.0).await?, cx.output::<Planned>(plan::NAME)?);
        let mut snapshot = site.snapshot(&self.0, &plan.copy(&site.placement)?).await?;
        match snapshot.verify_restored(&BTreeMap::new()).await {
            Err(error @ OdooError::Unfit { .. }) => Err(StepError::permanent("updated_data_wrong", WRONG, error)),
            other => Ok(json!({ "verified": other.map(|()| true)? })),
        }
    }
}
