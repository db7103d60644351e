//! Sees the effects of steps while they are made on an Odoo server, so that a fault point can strike in their middle
//! (engine 16). Only in builds with fault points.

use super::Tools;
use super::build_template;
use super::site;
use crate::engine::Cx;
use crate::engine::faults::EffectSeen;
use db::odoo::OdooServer;
use domain::names::Mark;
use domain::operation::Kind;
use std::sync::Arc;

/// Whether the fence of the operation's mark is in the middle of a statement.
pub fn effect_seen(tools: &Arc<Tools>) -> EffectSeen {
    let tools = Arc::clone(tools);
    Arc::new(move |cx| {
        let tools = Arc::clone(&tools);
        Box::pin(async move { look(&cx, &tools).await.unwrap_or(false) })
    })
}

/// `None` if it cannot be said: then it is not seen.
async fn look(cx: &Cx, tools: &Tools) -> Option<bool> {
    let (server, mark) = target(cx, tools).await?;
    server.admin_connection().await.ok()?.is_fence_at_work(&mark).await.ok()
}

async fn target(cx: &Cx, tools: &Tools) -> Option<(OdooServer, Mark)> {
    if cx.operation().kind == Kind::BuildTemplate {
        return build_template::target(cx, tools);
    }
    let site = site::Site::find(cx, tools).await.ok()??;
    Some((site.server, site.placement.mark))
}
