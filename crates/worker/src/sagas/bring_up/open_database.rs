//! Lets the tenant in: its database, as it was recorded, takes connections, and its role may log in.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use async_trait::async_trait;
use db::odoo::OdooError;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;

pub(in crate::sagas) struct OpenDatabase(pub(in crate::sagas) Arc<Tools>);

#[async_trait]
impl Step for OpenDatabase {
    fn name(&self) -> &'static str {
        "open_database"
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        const GONE: &str = "The database of this instance is missing; our staff looks at it.";
        let site = Site::of(cx, &self.0).await?;
        let mut fence = site.fence(cx).await?;
        match fence.open_database(&site.placement.db_name, site.recorded()).await {
            Err(error @ OdooError::Missing { .. }) => return Err(StepError::permanent("database_missing", GONE, error)),
            other => other?,
        }
        fence.release().await?;
        Ok(json!({}))
    }
}
