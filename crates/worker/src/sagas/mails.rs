//! Mails that report the outcome of a saga (contract 18): rows in the transaction of the fact.

use super::Tools;
use crate::engine::{Cx, StepError};
use db::platform::PlatformTx;
use db::platform::instances::Instance;
use db::platform::outbox::{self, NewMail};
use domain::{size, times};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Longest reason that a mail gives.
const REASON_CHARS: usize = 200;

/// `instance_provisioning_started`.
pub(super) async fn provisioning_started(
    tx: &mut PlatformTx,
    cx: &Cx,
    tools: &Tools,
    instance: &Instance,
) -> Result<(), StepError> {
    let variables = json!({ "instance_name": instance.name, "estimated_time": "10-15 minutes" });
    let mail = mail(cx, instance, "instance_provisioning_started", &["instance", "provisioning", "started"], variables);
    send(tx, cx, tools, mail).await
}

/// `instance_ready`: the only thing that ever carries the administrator's password, sealed until it is delivered.
pub(super) async fn ready(
    tx: &mut PlatformTx,
    cx: &Cx,
    tools: &Tools,
    instance: &Instance,
    url: &str,
    password: SecretString,
) -> Result<(), StepError> {
    let variables = json!({ "instance_name": instance.name, "instance_url": url, "admin_email": instance.admin_email });
    let mut mail = mail(cx, instance, "instance_ready", &["instance", "provisioning", "ready"], variables);
    mail.secrets.insert("admin_password".to_owned(), password);
    send(tx, cx, tools, mail).await
}

/// `instance_provisioning_failed`.
pub(super) async fn provisioning_failed(
    tx: &mut PlatformTx,
    cx: &Cx,
    tools: &Tools,
    instance: &Instance,
    reason: &str,
) -> Result<(), StepError> {
    let reason: String = reason.chars().take(REASON_CHARS).collect();
    let variables = json!({ "instance_name": instance.name, "error_reason": reason });
    let tags = &["instance", "provisioning", "failed", "support"];
    send(tx, cx, tools, mail(cx, instance, "instance_provisioning_failed", tags, variables)).await
}

/// `instance_started`.
pub(super) async fn started(
    tx: &mut PlatformTx,
    cx: &Cx,
    tools: &Tools,
    instance: &Instance,
    url: &str,
) -> Result<(), StepError> {
    let variables = json!({ "instance_name": instance.name, "instance_url": url });
    send(tx, cx, tools, mail(cx, instance, "instance_started", &["instance", "lifecycle", "started"], variables)).await
}

/// `instance_stopped`.
pub(super) async fn stopped(tx: &mut PlatformTx, cx: &Cx, tools: &Tools, instance: &Instance) -> Result<(), StepError> {
    let variables = json!({ "instance_name": instance.name, "reason": "Instance stopped by user request" });
    send(tx, cx, tools, mail(cx, instance, "instance_stopped", &["instance", "lifecycle", "stopped"], variables)).await
}

/// `instance_suspended`.
pub(super) async fn suspended(tx: &mut PlatformTx, cx: &Cx, tools: &Tools, instance: &Instance) -> Result<(), StepError> {
    let reason = instance.suspension_reason.as_deref().unwrap_or("A payment is outstanding");
    let variables = json!({ "instance_name": instance.name, "reason": reason });
    send(tx, cx, tools, mail(cx, instance, "instance_suspended", &["instance", "lifecycle", "suspended"], variables)).await
}

/// `instance_resumed`.
pub(super) async fn resumed(
    tx: &mut PlatformTx,
    cx: &Cx,
    tools: &Tools,
    instance: &Instance,
    url: &str,
) -> Result<(), StepError> {
    let variables = json!({ "instance_name": instance.name, "reason": "The payment has arrived", "instance_url": url });
    send(tx, cx, tools, mail(cx, instance, "instance_resumed", &["instance", "lifecycle", "resumed"], variables)).await
}

/// `instance_deleted`. Nothing else keeps what it says, so that all of it is sealed until it is delivered.
pub(super) async fn deleted(
    tx: &mut PlatformTx,
    cx: &Cx,
    tools: &Tools,
    instance: &Instance,
    kept_days: Option<u32>,
) -> Result<(), StepError> {
    let mut mail = mail(cx, instance, "instance_deleted", &["instance", "lifecycle", "deleted"], Value::Null);
    mail.secrets.insert("instance_name".to_owned(), instance.name.clone().into());
    let backup = match kept_days {
        Some(days) => format!("A last backup is kept for {days} days."),
        None => "No backup is kept.".to_owned(),
    };
    mail.secrets.insert("backup_info".to_owned(), backup.into());
    send(tx, cx, tools, mail).await
}

/// `backup_completed`; `bytes` are those of database and files.
pub(super) async fn backup_completed(
    tx: &mut PlatformTx,
    cx: &Cx,
    tools: &Tools,
    instance: &Instance,
    name: &str,
    bytes: u64,
) -> Result<(), StepError> {
    let date = times::for_people(cx.operation().created_at);
    let size = size::for_people(bytes);
    let variables = json!({ "instance_name": instance.name, "backup_name": name, "backup_size": size, "backup_date": date });
    send(tx, cx, tools, mail(cx, instance, "backup_completed", &["instance", "backup", "completed"], variables)).await
}

/// `backup_failed`.
pub(super) async fn backup_failed(
    tx: &mut PlatformTx,
    cx: &Cx,
    tools: &Tools,
    instance: &Instance,
    reason: &str,
) -> Result<(), StepError> {
    let reason: String = reason.chars().take(REASON_CHARS).collect();
    let variables = json!({ "instance_name": instance.name, "error_message": reason });
    send(tx, cx, tools, mail(cx, instance, "backup_failed", &["instance", "backup", "failed", "support"], variables)).await
}

/// `restore_completed`.
pub(super) async fn restore_completed(
    tx: &mut PlatformTx,
    cx: &Cx,
    tools: &Tools,
    instance: &Instance,
    name: &str,
    url: &str,
) -> Result<(), StepError> {
    let date = times::for_people(cx.operation().created_at);
    let variables = json!({ "instance_name": instance.name, "backup_name": name, "restore_date": date, "instance_url": url });
    send(tx, cx, tools, mail(cx, instance, "restore_completed", &["instance", "restore", "completed"], variables)).await
}

/// `restore_failed`.
pub(super) async fn restore_failed(
    tx: &mut PlatformTx,
    cx: &Cx,
    tools: &Tools,
    instance: &Instance,
    name: &str,
    reason: &str,
) -> Result<(), StepError> {
    let reason: String = reason.chars().take(REASON_CHARS).collect();
    let variables = json!({ "instance_name": instance.name, "backup_name": name, "error_message": reason });
    send(tx, cx, tools, mail(cx, instance, "restore_failed", &["instance", "restore", "failed", "support"], variables)).await
}

fn mail(cx: &Cx, instance: &Instance, template: &'static str, tags: &'static [&'static str], variables: Value) -> NewMail {
    NewMail {
        operation_id: cx.operation().id,
        instance_id: Some(instance.id),
        customer_id: instance.customer_id,
        template,
        variables: variables.as_object().cloned().unwrap_or_else(Map::new),
        secrets: BTreeMap::new(),
        tags,
    }
}

async fn send(tx: &mut PlatformTx, cx: &Cx, tools: &Tools, mail: NewMail) -> Result<(), StepError> {
    Ok(outbox::enqueue(tx, &mail, &tools.keyring, &*cx.services().entropy).await?)
}
