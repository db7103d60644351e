//! Looks whether the new database holds what the backup says, as the tenant sees it.

use super::plan::{self, Planned, opened};
use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use async_trait::async_trait;
use db::odoo::OdooError;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(in crate::sagas) struct Verify(pub(in crate::sagas) Arc<Tools>);

#[async_trait]
impl Step for Verify {
    fn name(&self) -> &'static str {
        "verify"
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(3600)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        const WRONG: &str = "What was loaded is not what was backed up. Nothing was changed.";
        let (site, plan) = (Site::of(cx, &self.0).await?, cx.output::<Planned>(plan::NAME)?);
        let (backup, _) = opened(cx, &self.0, plan.backup, site.instance.id).await?;
        let expected = backup.rows();
        let mut snapshot = site.snapshot(&self.0, &plan.incoming(&site.placement)?).await?;
        match snapshot.verify_restored(&expected).await {
            Err(error @ OdooError::Unfit { .. }) => Err(StepError::permanent("restored_data_wrong", WRONG, error)),
            other => Ok(json!({ "tables": expected.len(), "verified": other.map(|()| true)? })),
        }
    }
}
