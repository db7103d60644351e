//! build_template (contract 12.2): the database that provisioning clones, with its filestore and warm assets.
//!
//! Parameters: the [`TemplateKey`]. One builder at a time for each key. Nobody uses a template before `finish` says it is
//! ready, so an interrupted step starts over from nothing.

mod data_directory;
mod database;
mod finalise;
mod ground;
mod initialise;
mod old;
mod plan;
mod role;
mod warm;

use super::Tools;
use crate::engine::{Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use db::platform::PlatformTx;
use db::platform::operations::NewOperation;
use db::platform::templates;
use domain::ids::OperationId;
use domain::operation::Kind;
use domain::scope::Scope;
use domain::template::TemplateKey;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    let t = || Arc::clone(tools);
    Saga::new(Kind::BuildTemplate, 1, Built)
        .step(old::RemoveOld(t()))
        .no_undo("what it removes is out of use for good")
        .step(plan::Plan(t()))
        .undo()
        .step(role::ContentRole(t()))
        .undo()
        .step(database::Database(t()))
        .undo()
        .step(data_directory::DataDirectory(t()))
        .undo()
        .step(initialise::Initialise(t()))
        .undo()
        .step(warm::WarmAssets(t()))
        .undo()
        .step(finalise::Finalise(t()))
        .no_undo("goes with the database")
}

/// The operation that builds the template of a key.
pub fn request(id: OperationId, key: TemplateKey) -> NewOperation {
    NewOperation {
        id,
        scope: scope(key),
        instance_id: None,
        kind: Kind::BuildTemplate,
        params: json!(key),
        priority: 0,
        reason: None,
        trace_parent: None,
    }
}

/// Its scope.
pub(super) const fn scope(key: TemplateKey) -> Scope {
    Scope::Template(key)
}

/// Where a build is at work, once it is planned.
#[cfg(feature = "faults")]
pub(super) fn target(cx: &Cx, tools: &Tools) -> Option<(db::odoo::OdooServer, domain::names::Mark)> {
    let ground = ground::Ground::find(cx, tools).ok()??;
    Some((ground.server, ground.plan.mark))
}

struct Built;

#[async_trait]
impl Ends for Built {
    async fn finish(&self, cx: &Cx, tx: &mut PlatformTx) -> Result<Value, StepError> {
        let plan: plan::Planned = cx.output(plan::NAME)?;
        templates::mark_ready(tx, plan.template).await?;
        Ok(json!({ "template": plan.template }))
    }

    async fn unwound(&self, _cx: &Cx, _tx: &mut PlatformTx, _outcome: &Outcome) -> Result<(), StepError> {
        Ok(())
    }
}
