//! Finding the template that a provisioning clones, and ordering its build when there is none (contract 12.1, step 5).

use super::Tools;
use super::build_template;
use super::site::{Site, worker};
use crate::engine::{Cx, StepError};
use db::platform::operations::{self, Operation};
use db::platform::templates::{self, Template};
use db::platform::{instances, journal};
use domain::ids::OperationId;
use domain::operation::State;
use domain::sources::random_uuid;
use domain::template::TemplateKey;
use domain::version::OdooVersion;
use std::time::Duration;

/// Longest wait for a template that is being built, its server being there (contract 11.5).
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What is wrong with the template that was found.
pub(super) enum Unfit {
    /// It is not on the server as it was left.
    Broken(String),
    /// It was made with another image.
    Outdated,
}

/// The template that fits the instance, after a look at the server. If there is none its build is ordered, and the step
/// comes back later.
pub(super) async fn usable(cx: &Cx, tools: &Tools, site: &Site) -> Result<Template, StepError> {
    let key = key(site)?;
    let Some(template) = templates::ready(&cx.services().db, &key).await? else {
        return Err(order(cx, &key, None).await?);
    };
    let image = tools.runtime.resolve_image(key.version).await?;
    let unfit =
        if template.image == image.as_str() { fault(site, &template).await?.map(Unfit::Broken) } else { Some(Unfit::Outdated) };
    if let Some(unfit) = unfit {
        return Err(replace(cx, &template, unfit).await?);
    }
    if site.placement.image.as_deref() != Some(image.as_str()) {
        // Placed before the image moved, and nothing was started with the old one.
        let mut tx = cx.fenced_tx().await?;
        instances::set_image(&mut tx, site.instance.id, image.as_str()).await?;
        tx.commit().await?;
    }
    Ok(template)
}

/// Takes a template out of use and orders another one. The answer is how the step ends meanwhile.
pub(super) async fn replace(cx: &Cx, template: &Template, unfit: Unfit) -> Result<StepError, StepError> {
    if let Unfit::Broken(why) = &unfit {
        tracing::warn!(template = %template.id, why, "a template cannot be cloned and is built anew");
    }
    order(cx, &template.key, Some((template, unfit))).await
}

fn key(site: &Site) -> Result<TemplateKey, StepError> {
    Ok(TemplateKey { server: site.placement.server, version: site.instance.version()?, demo: site.instance.demo_data })
}

async fn fault(site: &Site, template: &Template) -> Result<Option<String>, StepError> {
    let Some(oid) = template.db_oid else { return Ok(Some("its OID was never recorded".to_owned())) };
    Ok(site.server.admin_connection().await?.template_fault(&template.db_name, &template.mark, oid).await?)
}

async fn order(cx: &Cx, key: &TemplateKey, unfit: Option<(&Template, Unfit)>) -> Result<StepError, StepError> {
    // Before the transaction: nobody who holds a connection asks for another.
    let waited = waited(cx).await?;
    let mut tx = cx.fenced_tx().await?;
    match unfit {
        Some((template, Unfit::Broken(_))) => templates::mark_broken(&mut tx, template.id).await?,
        Some((template, Unfit::Outdated)) => templates::retire(&mut tx, template.id).await?,
        None => {}
    }
    let last = operations::last_of(&mut tx, &build_template::scope(*key)).await?;
    let step_ends = match judge(cx, last) {
        Build::UnderWay if waited > PATIENCE => hopeless(key.version, format!("not built in {} s", waited.as_secs())),
        Build::UnderWay => waiting(),
        Build::Held => held(),
        Build::Hopeless(cause) => hopeless(key.version, cause),
        Build::Needed => {
            let id = OperationId::from_uuid(random_uuid(&*cx.services().entropy));
            // A full queue means that builds for this key are waiting already.
            let _queued = operations::enqueue(&mut tx, build_template::request(id, *key), &worker(cx)).await?;
            waiting()
        }
    };
    tx.commit().await?;
    Ok(step_ends)
}

enum Build {
    Needed,
    UnderWay,
    /// It waits for its server.
    Held,
    Hopeless(String),
}

/// A build that failed before our operation was accepted says nothing about a new one; one that failed since does.
fn judge(cx: &Cx, last: Option<Operation>) -> Build {
    let Some(last) = last else { return Build::Needed };
    match last.state {
        // While it runs it has found its server again.
        State::Waiting if last.unreachable_since.is_some() => Build::Held,
        State::Queued | State::Running | State::Waiting => Build::UnderWay,
        State::NeedsAttention => Build::Hopeless(format!("operation {} needs attention", last.id)),
        State::Failed if last.created_at > cx.operation().created_at => Build::Hopeless(format!("operation {} failed", last.id)),
        State::Failed | State::Cancelled | State::Succeeded => Build::Needed,
    }
}

/// How long the step under way has been at it, without the time it lost to a server.
async fn waited(cx: &Cx) -> Result<Duration, StepError> {
    let step = cx.operation().current_step.as_deref().unwrap_or_default();
    Ok(journal::age(&cx.services().db, cx.operation().id, step).await?.unwrap_or_default())
}

fn held() -> StepError {
    StepError::unreachable("odoo_server_unreachable", "Odoo is being prepared on the server.", "the build waits for its server")
}

fn waiting() -> StepError {
    StepError::snooze(LOOK_AGAIN, "template_not_ready", "Odoo is being prepared on the server.", "waiting for the template")
}

fn hopeless(version: OdooVersion, cause: String) -> StepError {
    StepError::permanent("template_failed", format!("Odoo {version} could not be prepared on the server."), cause)
}
