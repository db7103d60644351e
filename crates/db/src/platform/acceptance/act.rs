//! start, stop, restart, unpause, backup and restore (contract 4.4, 7): judged by the row and by what is accepted already.
//!
//! The row changes at once when nothing else is under way; else the operation lets its event happen when its turn comes.

use super::{Before, new_id, operation};
use crate::error::DbResult;
use crate::platform::PlatformTx;
use crate::platform::audit::{self, AuditContext, Entry};
use crate::platform::backups;
use crate::platform::instances::{Change, Instance, Refused, happen, lock};
use crate::platform::operations::{Enqueued, Operation, enqueue, preempt, unfinished};
use crate::platform::replaced;
use domain::backup::Origin;
use domain::ids::{BackupId, InstanceId, OperationId};
use domain::instance::{Action, Answer, Event, NotAllowed, Status, Suspension, Why, find, may_start};
use domain::names::AddonName;
use domain::operation::{Kind, State};
use domain::sources::Entropy;
use domain::version::OdooVersion;
use serde_json::{Value, json};
use std::cmp::Ordering;

/// One call.
#[derive(Clone, Debug)]
pub struct Act {
    /// Which instance.
    pub instance_id: InstanceId,
    /// What is asked; those that suspend, lift a suspension or terminate have use cases of their own.
    pub action: Action,
    /// Why.
    pub reason: Option<String>,
    /// What a backup shall be called.
    pub label: Option<String>,
    /// The backup that a restore is from.
    pub backup: Option<BackupId>,
    /// Whether what was restored shall run, whatever was asked before.
    pub start: Option<bool>,
    /// What an update brings it to.
    pub update: Option<Update>,
}

/// An update, as it is asked for.
#[derive(Clone, Debug)]
pub struct Update {
    /// Odoo's version afterwards.
    pub version: OdooVersion,
    /// Which modules; all if none is named.
    pub modules: Vec<AddonName>,
}

impl Act {
    /// One that needs nothing more.
    pub const fn new(instance_id: InstanceId, action: Action, reason: Option<String>) -> Self {
        Self { instance_id, action, reason, label: None, backup: None, start: None, update: None }
    }
}

/// What became of a call.
#[derive(Clone, Debug)]
#[must_use]
pub enum Acted {
    /// No such instance. 404.
    NotFound,
    /// A new operation.
    Queued(Instance, OperationId),
    /// One that is accepted already does it; none where only the row says so.
    UnderWay(Instance, Option<OperationId>),
    /// It runs.
    Running(Instance),
    /// Not in this status. 400.
    NotAllowed(NotAllowed),
    /// A payment is outstanding; in words. 402.
    Unpaid(String),
    /// A row of the earlier service that has not been taken over yet. 409.
    NotAdopted,
    /// Too much is waiting already. 409.
    QueueFull,
    /// The instance has no such backup, or it is not whole; or nothing is kept to which it could go back. 404.
    NoSuchBackup,
    /// Not to that version; in words. 400.
    OtherVersion(String),
}

/// Carries out one call.
///
/// # Errors
/// Database errors only. After anything but an acceptance the caller rolls back.
pub async fn act(tx: &mut PlatformTx, request: Act, entropy: &dyn Entropy, by: &AuditContext) -> DbResult<Acted> {
    let Some(instance) = lock(tx, request.instance_id).await? else { return Ok(Acted::NotFound) };
    let accepted = accepted(tx, instance.id).await?;
    let kinds: Vec<Kind> = accepted.iter().map(|operation| operation.kind).collect();
    let answer = request.action.answer(&instance.axes, &kinds);
    match answer {
        // Said again, it is what was accepted last.
        Answer::Refused if kinds.last().is_some_and(|last| repeats(*last, request.action)) => {
            return Ok(Acted::UnderWay(instance, accepted.last().map(|operation| operation.id)));
        }
        Answer::Refused => return Ok(Acted::NotAllowed(request.action.refusal(&instance.axes))),
        Answer::Nothing => return Ok(under_way(instance, &accepted, request.action)),
        Answer::Accepted | Answer::GivesUp | Answer::Queued | Answer::IfPaid => {}
    }
    let Some(order) = Order::of(request.action, &instance) else {
        return Ok(Acted::NotAllowed(request.action.refusal(&instance.axes)));
    };
    if !instance.adopted {
        return Ok(Acted::NotAdopted);
    }
    if let (true, Some(closed)) = (order.brings_up || request.start == Some(true), closed(&instance)) {
        return Ok(closed);
    }
    if let Some(backup) = request.backup
        && backups::restorable(tx, backup, instance.id).await?.is_none()
    {
        return Ok(Acted::NoSuchBackup);
    }
    if let Some(update) = &request.update
        && let Err(why) = may_become(instance.version()?, update.version)
    {
        return Ok(Acted::OtherVersion(why));
    }
    if answer == Answer::GivesUp {
        let _preempted = preempt(tx, instance.id, order.kind).await?;
    }
    let at_once = accepted.is_empty() || answer == Answer::GivesUp || order.kind == Kind::Provision;
    let order = order.with(&request);
    order.accept(tx, instance, at_once, request.reason, entropy, by).await
}

/// Backs up an instance whose time has come and at which nothing is at work: the worker's own request. It is in nobody's way until it begins,
/// and whatever is asked before that goes first.
///
/// # Errors
/// Database errors only.
pub async fn back_up(
    tx: &mut PlatformTx,
    id: InstanceId,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Option<OperationId>> {
    let Some(instance) = lock(tx, id).await?.filter(|row| row.adopted && row.operation_id.is_none()) else { return Ok(None) };
    if Action::Backup.answer(&instance.axes, &[]) != Answer::Accepted {
        return Ok(None);
    }
    if unfinished(tx, id).await?.iter().any(|operation| operation.kind == Kind::Backup) {
        return Ok(None);
    }
    let mut new = operation(new_id(entropy), id, Kind::Backup, None);
    (new.params, new.priority) = (json!({ "origin": Origin::Scheduled }), LAST);
    match enqueue(tx, new, by).await? {
        Enqueued::Accepted(operation) => {
            note(tx, &instance, Kind::Backup, operation, by).await?;
            Ok(Some(operation))
        }
        Enqueued::Joined(_) | Enqueued::QueueFull => Ok(None),
    }
}

/// Behind everything that is asked for.
const LAST: i16 = -1;

/// Switches back to what a restore or update replaced, the last one unless another is named, while it is kept: allowed wherever a restore
/// is. Which one is decided here: what happens to the instance until its turn comes was not meant.
///
/// # Errors
/// Database errors only.
pub async fn undo_restore(
    tx: &mut PlatformTx,
    id: InstanceId,
    restore: Option<OperationId>,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Acted> {
    let Some(instance) = lock(tx, id).await? else { return Ok(Acted::NotFound) };
    let accepted = accepted(tx, instance.id).await?;
    let kinds: Vec<Kind> = accepted.iter().map(|operation| operation.kind).collect();
    match Action::Restore.answer(&instance.axes, &kinds) {
        Answer::Accepted | Answer::Queued => {}
        _ => return Ok(Acted::NotAllowed(Action::Restore.refusal(&instance.axes))),
    }
    if !instance.adopted {
        return Ok(Acted::NotAdopted);
    }
    let Some(kept) = replaced::last_kept(tx, instance.id, restore).await? else { return Ok(Acted::NoSuchBackup) };
    let params = json!({ "restore": kept, "last": restore.is_none() });
    let order = Order { kind: Kind::UndoRestore, event: Event::RestoreBegins, brings_up: false, params };
    order.accept(tx, instance, accepted.is_empty(), None, entropy, by).await
}

/// Starts an instance whose suspension, for a debt or not, was lifted just now.
///
/// # Errors
/// Database errors only.
pub(super) async fn resume(
    tx: &mut PlatformTx,
    instance: Instance,
    was_debt: bool,
    reason: Option<String>,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Option<(Instance, OperationId)>> {
    let alone = accepted(tx, instance.id).await?.is_empty();
    let Some(order) = Order::of(Action::Start, &instance) else { return Ok(None) };
    let params = if was_debt { json!({ "resumes": true }) } else { json!({}) };
    let order = Order { params, ..order };
    let at_once = alone || order.kind == Kind::Provision;
    Ok(match order.accept(tx, instance, at_once, reason, entropy, by).await? {
        Acted::Queued(instance, id) => Some((instance, id)),
        _ => None,
    })
}

/// What is accepted and will go on by itself, in its order, without what goes on beside the instance.
async fn accepted(tx: &mut PlatformTx, id: InstanceId) -> DbResult<Vec<Operation>> {
    let mut operations = unfinished(tx, id).await?;
    operations.retain(|operation| operation.state != State::NeedsAttention && !operation.is_aside());
    Ok(operations)
}

fn under_way(instance: Instance, accepted: &[Operation], action: Action) -> Acted {
    let does_it = |operation: &&Operation| brings_about(operation.kind, action);
    match accepted.iter().rev().find(does_it) {
        Some(operation) => Acted::UnderWay(instance, Some(operation.id)),
        None if instance.axes.status == Status::Running => Acted::Running(instance),
        None => Acted::UnderWay(instance, accepted.first().map(|operation| operation.id)),
    }
}

const fn brings_about(kind: Kind, action: Action) -> bool {
    match action {
        Action::Stop => matches!(kind, Kind::Stop),
        Action::Restart => matches!(kind, Kind::Restart),
        _ => matches!(kind, Kind::Start | Kind::Unpause | Kind::Restart | Kind::Reactivate | Kind::Provision),
    }
}

/// Whether an operation of this kind is what the action is accepted as.
const fn repeats(kind: Kind, action: Action) -> bool {
    matches!(
        (kind, action),
        (Kind::Stop, Action::Stop)
            | (Kind::Restart, Action::Restart)
            | (Kind::Start | Kind::Unpause, Action::Start | Action::Unpause)
    )
}

/// Whether an instance may be updated from one version to another: modules are updated within a major version, and updating all of them
/// is no migration between majors.
fn may_become(from: OdooVersion, to: OdooVersion) -> Result<(), String> {
    match to.cmp(&from) {
        Ordering::Equal => Ok(()),
        Ordering::Less => Err(format!("The instance runs Odoo {from}; it cannot go back to Odoo {to}")),
        Ordering::Greater => Err(format!("A migration from Odoo {from} to Odoo {to} is not set up here")),
    }
}

/// Why nothing may be brought up, if something stands against it.
fn closed(instance: &Instance) -> Option<Acted> {
    let axes = &instance.axes;
    if axes.suspension == Suspension::Operator {
        // The table has the words.
        return find(axes, Event::StartAccepted).err().map(Acted::NotAllowed);
    }
    may_start(axes).err().map(|closed| Acted::Unpaid(closed.to_string()))
}

/// What an accepted action becomes.
struct Order {
    kind: Kind,
    event: Event,
    brings_up: bool,
    /// What the operation is told.
    params: Value,
}

impl Order {
    /// What has no data is provisioned, not started. `None` for actions with use cases of their own.
    fn of(action: Action, instance: &Instance) -> Option<Self> {
        let (kind, event) = match action {
            Action::Start | Action::Unpause | Action::Restart if instance.axes.is_unprovisioned() => {
                (Kind::Provision, Event::ProvisionAccepted)
            }
            Action::Start => (Kind::Start, Event::StartAccepted),
            Action::Unpause => (Kind::Unpause, Event::StartAccepted),
            Action::Restart => (Kind::Restart, Event::RestartAccepted),
            Action::Stop => (Kind::Stop, Event::StopAccepted),
            Action::Backup => (Kind::Backup, Event::BackupBegins),
            Action::Restore => (Kind::Restore, Event::RestoreBegins),
            Action::Update => (Kind::Update, Event::UpdateBegins),
            Action::Suspend | Action::Unsuspend | Action::Terminate => return None,
        };
        // What is copied or put back changes nothing in whether it shall run.
        let brings_up = !matches!(kind, Kind::Stop | Kind::Backup | Kind::Restore | Kind::Update);
        // It ends a suspension for a debt; the customer may be told.
        let resumes = brings_up && instance.axes.suspension == Suspension::Debt;
        let params = if resumes { json!({ "resumes": true }) } else { json!({}) };
        Some(Self { kind, event, brings_up, params })
    }

    fn with(mut self, request: &Act) -> Self {
        if let Some(label) = &request.label {
            self.params["label"] = json!(label);
        }
        if let Some(backup) = request.backup {
            self.params["backup"] = json!(backup);
        }
        if let Some(start) = request.start {
            self.params["start"] = json!(start);
        }
        if let Some(Update { version, modules }) = &request.update {
            self.params["version"] = json!(version);
            self.params["modules"] = json!(modules);
        }
        self
    }

    async fn accept(
        &self,
        tx: &mut PlatformTx,
        mut instance: Instance,
        at_once: bool,
        reason: Option<String>,
        entropy: &dyn Entropy,
        by: &AuditContext,
    ) -> DbResult<Acted> {
        let id = new_id(entropy);
        let mut new = operation(id, instance.id, self.kind, reason.clone());
        new.params = self.params.clone();
        if at_once {
            Before::of(&instance.axes).keep_in(&mut new.params);
            let change = Change { operation_id: Some(id), reason, ..Change::default() };
            instance = match happen(tx, &instance, self.event, change, by).await? {
                Ok(instance) => instance,
                Err(Refused::NotAllowed(refused)) if refused.why == Why::PaymentOutstanding => {
                    return Ok(Acted::Unpaid(refused.to_string()));
                }
                Err(Refused::NotAllowed(refused)) => return Ok(Acted::NotAllowed(refused)),
                Err(Refused::Busy(operation)) => return Ok(Acted::UnderWay(instance, Some(operation))),
            };
        }
        match enqueue(tx, new, by).await? {
            Enqueued::Accepted(id) => {
                if !at_once {
                    note(tx, &instance, self.kind, id, by).await?;
                }
                Ok(Acted::Queued(instance.with_operation(Some(id)), id))
            }
            Enqueued::Joined(id) => Ok(Acted::UnderWay(instance, Some(id))),
            Enqueued::QueueFull => Ok(Acted::QueueFull),
        }
    }
}

/// What only waits changes no row yet; that it was accepted is told all the same.
async fn note(tx: &mut PlatformTx, instance: &Instance, kind: Kind, id: OperationId, by: &AuditContext) -> DbResult<()> {
    let entry = Entry {
        action: kind.as_str(),
        instance_id: Some(instance.id),
        operation_id: Some(id),
        from: Some(instance.axes.status),
        to: Some(instance.axes.status),
        details: json!({ "queued": true }),
    };
    audit::record(tx, by, &entry).await
}
