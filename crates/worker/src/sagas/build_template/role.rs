//! Makes the content role, one for each build: it owns what is inside the template and in the end no database.

use super::ground::Ground;
use super::plan;
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use async_trait::async_trait;
use db::odoo::{RoleState, ScramVerifier};
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) struct ContentRole(pub(super) Arc<Tools>);

#[async_trait]
impl Step for ContentRole {
    fn name(&self) -> &'static str {
        "content_role"
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        let ground = Ground::of(cx, &self.0)?;
        let role = &ground.plan.content_role;
        Ok(match ground.server.admin_connection().await?.role(role, &ground.plan.mark).await? {
            RoleState::Absent => Seen::Absent,
            RoleState::Ours(_) => Seen::Partial,
            RoleState::Foreign => Seen::Foreign(format!("role {role} is not ours")),
        })
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let ground = Ground::of(cx, &self.0)?;
        let password = ground.plan.sealed.role.open(cx, &self.0, plan::ROLE_PASSWORD)?;
        let verifier = ScramVerifier::derive(&password, ground.plan.role_salt);
        let mut fence = ground.fence(cx).await?;
        fence.ensure_role(&ground.plan.content_role, &verifier, &self.0.limits).await?;
        fence.release().await?;
        Ok(json!({ "role": ground.plan.content_role }))
    }
}

#[async_trait]
impl Undo for ContentRole {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(ground) = Ground::find(cx, &self.0)? else { return Ok(()) };
        let mut fence = ground.fence(cx).await?;
        fence.drop_unused_role(&ground.plan.content_role).await?;
        Ok(fence.release().await?)
    }
}
