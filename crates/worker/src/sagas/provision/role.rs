//! Makes the tenant's login role, or sets its password again.

use super::secrets;
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use async_trait::async_trait;
use db::odoo::{RoleState, ScramVerifier};
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;

const NAME: &str = "role";

pub(super) struct Role(pub(super) Arc<Tools>);

#[async_trait]
impl Step for Role {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        // The name was drawn for this operation. Whether a stranger has it is seen again under the fence, where it counts.
        if !cx.started_before(NAME) {
            return Ok(Seen::Absent);
        }
        let site = Site::of(cx, &self.0).await?;
        let role = &site.placement.db_user;
        Ok(match site.server.admin_connection().await?.role(role, &site.placement.mark).await? {
            RoleState::Absent => Seen::Absent,
            RoleState::Ours(_) => Seen::Partial,
            RoleState::Foreign => Seen::Foreign(format!("role {role} is not ours")),
        })
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let site = Site::of(cx, &self.0).await?;
        let verifier = ScramVerifier::derive(&site.password(&self.0)?, secrets::role_salt(cx)?);
        let mut fence = site.fence(cx).await?;
        fence.ensure_role(&site.placement.db_user, &verifier, &self.0.limits).await?;
        fence.release().await?;
        Ok(json!({ "role": site.placement.db_user }))
    }
}

#[async_trait]
impl Undo for Role {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(()) };
        let (role, mark) = (&site.placement.db_user, &site.placement.mark);
        let mut fence = site.fence(cx).await?;
        // A stranger's role under our name was not made by this operation.
        if fence.catalogue().role(role, mark).await? != RoleState::Foreign {
            fence.drop_role(role).await?;
        }
        Ok(fence.release().await?)
    }
}
