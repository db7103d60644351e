//! Makes the clone its owner's: identity, address, company, login, and the password as a hash.

use super::secrets;
use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use async_trait::async_trait;
use db::odoo::Personal;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) struct Personalise(pub(super) Arc<Tools>);

#[async_trait]
impl Step for Personalise {
    fn name(&self) -> &'static str {
        "personalise"
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    /// Done again before Odoo starts, it writes the same and a new identity.
    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let site = Site::of(cx, &self.0).await?;
        let personal = Personal {
            role: site.placement.db_user.clone(),
            admin_email: site.instance.admin_email.clone(),
            admin_password_hash: secrets::admin_hash(cx, &self.0).await?,
            company_name: site.instance.name.clone(),
            base_url: site.url(&self.0)?,
        };
        let mut fence = site.fence(cx).await?;
        fence.inside(&site.placement.db_name).await?.personalise(&personal).await?;
        fence.release().await?;
        Ok(json!({ "base_url": personal.base_url }))
    }
}
