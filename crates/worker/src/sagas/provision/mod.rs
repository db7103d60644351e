//! provision (contract 12.1): from a recorded order to an Odoo that answers.
//!
//! Parameters: none; everything comes from the row, and for a copy from what is noted of it (`copy`). Nothing of it has served the customer before `finish`, so an
//! interrupted step starts over from nothing, and a failure leaves nothing.

mod addons;
mod begin;
mod content;
mod copy;
mod data_directory;
mod database;
mod image;
mod personalise;
mod place;
mod role;
mod secrets;
mod service;
mod template;

use super::Tools;
use super::bring_up::Ready;
use super::errors::{inconsistent, overtaken};
use super::mails;
use super::site::{locked, worker};
use crate::engine::{Admission, Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use copy::{AwaitBackup, CopyData, Either, LoadCopy, MakeHarmless, Nothing, is_copy};
use db::platform::PlatformTx;
use db::platform::clones;
use db::platform::instances::{self, Change};
use db::platform::operations::{Fault, Operation};
use domain::instance::{Event, Phase, ProvisioningStatus};
use domain::operation::Kind;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    let t = || Arc::clone(tools);
    Saga::new(Kind::Provision, 1, Provisioned(t()))
        .step(begin::Begin(t()))
        .no_undo("the end writes the status")
        .step(image::Image(t()))
        .no_undo("it only asks")
        .step(place::ChoosePlace(t()))
        .undo()
        .step(secrets::Secrets(t()))
        .undo()
        .step(role::Role(t()))
        .undo()
        .step(Either(template::Template(t()), AwaitBackup(t())))
        .no_undo("a template serves others too")
        .step(Either(database::Database(t()), LoadCopy(t())))
        .undo()
        .step(Either(content::Content(t()), Nothing))
        .no_undo("goes with the database")
        .step(Either(personalise::Personalise(t()), Nothing))
        .no_undo("goes with the database")
        .step(Either(data_directory::DataDirectory(t()), CopyData(t())))
        .undo()
        .step(Either(addons::Addons(t()), MakeHarmless(t())))
        .undo()
        .step(service::StartService(t()))
        .undo()
        .step(Ready(t()))
        .no_undo("it only looks")
}

struct Provisioned(Arc<Tools>);

#[async_trait]
impl Ends for Provisioned {
    async fn admit(&self, operation: &Operation, tx: &mut PlatformTx) -> Result<Admission, StepError> {
        let Some(id) = operation.instance_id else { return Err(inconsistent("the operation names no instance")) };
        let wanted = instances::lock(tx, id).await?.is_some_and(|instance| {
            instance.axes.phase == Phase::Registered && instance.axes.provisioning == ProvisioningStatus::Provisioning
        });
        if !wanted {
            return Ok(Admission::Refused("The instance no longer waits to be provisioned.".to_owned()));
        }
        let is_copy = clones::source_of(tx, id).await?.is_some();
        Ok(if is_copy { Admission::Within(copy::LIMIT) } else { Admission::Go })
    }

    async fn finish(&self, cx: &Cx, tx: &mut PlatformTx) -> Result<Value, StepError> {
        let instance = locked(cx, tx).await?;
        let placement = instance.placement.as_ref().ok_or_else(|| inconsistent("the instance is not placed"))?;
        let url = self.0.addresses.external(&instance, placement);
        let url = url.ok_or_else(|| overtaken("the instance has given its host name back"))?;
        let change = Change {
            external_url: Some(url.clone()),
            internal_url: Some(self.0.addresses.internal(placement)),
            operation_id: Some(cx.operation().id),
            ..Change::default()
        };
        instances::happen(tx, &instance, Event::ProvisionDone, change, &worker(cx)).await?.map_err(overtaken)?;
        // Whoever may log in to the original may log in to its copy.
        let password =
            if is_copy(cx).await? { "(the password of the original)".into() } else { secrets::admin_password(cx, &self.0)? };
        mails::ready(tx, cx, &self.0, &instance, &url, password).await?;
        let addons: addons::Outcome = cx.output(addons::NAME)?;
        Ok(json!({ "url": url, "installed_addons": addons.installed, "unknown_addons": addons.unknown }))
    }

    async fn unwound(&self, cx: &Cx, tx: &mut PlatformTx, outcome: &Outcome) -> Result<(), StepError> {
        let instance = locked(cx, tx).await?;
        // A suspend, terminate or delete has written the status already; the row then takes this event and no other.
        let preempted = Change { operation_id: Some(cx.operation().id), ..Change::default() };
        if instances::happen(tx, &instance, Event::ProvisionPreempted, preempted, &worker(cx)).await?.is_ok() {
            return Ok(());
        }
        let message = match outcome {
            Outcome::Failed(Fault { message, .. }) => message.clone(),
            // Who pre-empted it has written the row since, and maybe somebody after that: the row is theirs.
            Outcome::Cancelled { preempted_by: Some(_), .. } => return Ok(()),
            Outcome::Cancelled { .. } => "Provisioning was cancelled.".to_owned(),
        };
        let change =
            Change { error_message: Some(Some(message.clone())), operation_id: Some(cx.operation().id), ..Change::default() };
        let written = instances::happen(tx, &instance, Event::ProvisionFailed, change, &worker(cx)).await?;
        if written.is_ok() && matches!(outcome, Outcome::Failed(_)) {
            mails::provisioning_failed(tx, cx, &self.0, &instance, &message).await?;
        }
        Ok(())
    }
}
