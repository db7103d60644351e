//! Billing's calls in every order: up to five on one subscription, repeated, while a worker is quick, slow, or in the middle of
//! something. The end is what an oracle says that knows nothing of our tables: it reads the calls and nothing else.
//!
//! The worker is played: it takes what is next, lets the events of its sagas happen, and gives way when it is asked to. A part that
//! changes daily runs each time; `INSTANCE_SOAK=1` runs all; `INSTANCE_ORDERS=<number>` runs one, whose number a failure prints.

use crate::rig::{Rig, System, by, raw, subscription};
use db::platform::acceptance::{
    Act, Acted, Provision, Reactivate, Reactivated, Suspend, Terminate, Trigger, Unsuspend, act, provision, reactivate, suspend,
    terminate, unsuspend,
};
use db::platform::instances::{self, Change, Instance};
use domain::ids::InstanceId;
use domain::instance::{Action, BillingStatus, Event, ObservedState, Status, find};
use domain::names::ReservedHosts;
use sqlx::{Connection as _, Row as _};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Provision,
    Paid,
    Owing,
    Start,
    Suspend,
    Unsuspend,
    Terminate,
    Order,
    Return,
}

const CALLS: [Call; 9] = [
    Call::Provision,
    Call::Paid,
    Call::Owing,
    Call::Start,
    Call::Suspend,
    Call::Unsuspend,
    Call::Terminate,
    Call::Order,
    Call::Return,
];
const LENGTH: u32 = 5;
/// After each call the worker has done everything, is in the middle of one thing, or has done nothing yet.
const PACES: u64 = 3;
const QUICK: u64 = 0;
const BUSY: u64 = 1;
const SLOW: u64 = 2;

/// The calls and the worker's pace that a number stands for.
fn numbered(number: u64) -> (Vec<Call>, u64) {
    let (pace, mut rest) = (number % PACES, number / PACES);
    let mut calls = Vec::new();
    for _ in 0..LENGTH {
        calls.push(CALLS[usize::try_from(rest % 9).unwrap()]);
        rest /= 9;
    }
    (calls, pace)
}

const fn all() -> u64 {
    PACES * 9_u64.pow(LENGTH)
}

/// What the calls lead to, in plain words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Oracle {
    status: &'static str,
    paid: bool,
    /// Nothing is provisioned, and nothing is on the way: a plain provision means something.
    pending: bool,
    /// Something was made that a start can run.
    data: bool,
    /// It ran, or was to run, when it was suspended.
    ran: bool,
    pace: u64,
}

impl Oracle {
    const fn new(pace: u64) -> Self {
        Self { status: "creating", paid: true, pending: true, data: false, ran: false, pace }
    }

    /// Only a quick worker has made something by the time of the next call.
    const fn runs(self) -> Self {
        Self { status: "running", pending: false, data: self.data || self.pace == QUICK, ..self }
    }

    /// What was still queued is as if it had never been ordered. What is at work is so only when it has given way.
    const fn gives_way(self) -> Self {
        Self { pending: self.pending || !self.data && self.pace == SLOW, ..self }
    }

    fn hears(self, call: Call) -> Self {
        match (call, self.status) {
            (Call::Paid, _) => Self { paid: true, ..self },
            (Call::Owing, _) => Self { paid: false, ..self },
            (Call::Provision, "terminated") => self,
            // A plain provision says that it is paid, where it says anything.
            (Call::Provision, _) if self.pending => Self { paid: true, ..self }.runs(),
            (Call::Start, "paused") if self.paid => self.runs(),
            (Call::Start, "stopped") if self.paid || self.data => self.runs(),
            (Call::Suspend, "terminated") => self,
            (Call::Suspend, "paused") => Self { paid: false, ..self },
            (Call::Suspend, before) => Self { status: "paused", paid: false, ran: before == "running", ..self }.gives_way(),
            (Call::Unsuspend, "paused") if self.ran && self.paid => self.runs(),
            (Call::Unsuspend, "paused") => Self { status: "stopped", ..self },
            (Call::Terminate, _) => Self { status: "terminated", ..self }.gives_way(),
            (Call::Order, "terminated") => Self { paid: false, ..self },
            (Call::Return, "terminated") => Self { paid: true, ..self }.runs(),
            _ => self,
        }
    }
}

/// One instance, its calls, and the worker.
struct Play<'a> {
    rig: &'a Rig,
    rows: sqlx::PgConnection,
    id: InstanceId,
}

impl Play<'_> {
    async fn call(&self, call: Call) {
        let (mut tx, id, reason) = (self.rig.tx().await, self.id, None::<String>);
        let note = |billing, trigger| Provision {
            instance_id: id,
            subscription_id: None,
            billing_status: billing,
            trigger,
            reason: None,
        };
        let update = Trigger::BillingUpdate { write_off: false };
        let back = |billing_status, skip_status_change| Reactivate {
            instance_id: id,
            subscription_id: subscription(),
            billing_status,
            skip_status_change,
            reason: None,
        };
        let reserved = ReservedHosts::default();
        let kept = match call {
            Call::Provision => {
                drop(provision(&mut tx, note(BillingStatus::Paid, Trigger::Start), &System, &by()).await.unwrap());
                true
            }
            Call::Paid => {
                drop(provision(&mut tx, note(BillingStatus::Paid, update), &System, &by()).await.unwrap());
                true
            }
            Call::Owing => {
                drop(provision(&mut tx, note(BillingStatus::PaymentRequired, update), &System, &by()).await.unwrap());
                true
            }
            Call::Start => {
                let acted = act(&mut tx, Act::new(id, Action::Start, reason), &System, &by()).await.unwrap();
                matches!(acted, Acted::Queued(..) | Acted::UnderWay(..) | Acted::Running(_))
            }
            Call::Suspend => {
                drop(suspend(&mut tx, Suspend { instance_id: id, by_operator: false, reason }, &System, &by()).await.unwrap());
                true
            }
            Call::Unsuspend => {
                drop(unsuspend(&mut tx, Unsuspend { instance_id: id, reason }, &System, &by()).await.unwrap());
                true
            }
            Call::Terminate => {
                drop(terminate(&mut tx, Terminate { instance_id: id, reason }, &System, &by()).await.unwrap());
                true
            }
            Call::Order => {
                let asked = back(BillingStatus::PaymentRequired, true);
                matches!(reactivate(&mut tx, asked, &reserved, &System, &by()).await.unwrap(), Reactivated::Waiting(_))
            }
            Call::Return => {
                let asked = back(BillingStatus::Paid, false);
                matches!(reactivate(&mut tx, asked, &reserved, &System, &by()).await.unwrap(), Reactivated::Started(..))
            }
        };
        if kept { tx.commit().await.unwrap() } else { tx.rollback().await.unwrap() }
    }

    /// The operation that is at work, else the one whose turn it is: its id, kind, whether it is at work, and by whom it is pre-empted.
    async fn next(&mut self) -> Option<(uuid::Uuid, String, bool, bool)> {
        let query = "SELECT o.id, o.kind, o.state = 'running' AS running, o.preempted_by IS NOT NULL AS asked
                       FROM instance_service.operations o JOIN instance_service.operations_ready r ON r.id = o.id
                      WHERE o.instance_id = $1 ORDER BY o.state = 'queued'";
        let row = sqlx::query(query).bind(self.id.as_uuid()).fetch_optional(&mut self.rows).await.unwrap()?;
        Some((row.get(0), row.get(1), row.get(2), row.get(3)))
    }

    async fn set(&mut self, operation: uuid::Uuid, state: &str) {
        let query = "UPDATE instance_service.operations
                        SET state = $2, lease_token = 1, started_at = coalesce(started_at, now()),
                            finished_at = CASE WHEN $2 = 'running' THEN NULL ELSE now() END WHERE id = $1";
        sqlx::query(query).bind(operation).bind(state).execute(&mut self.rows).await.unwrap();
    }

    async fn happens(&self, event: Event) -> bool {
        let mut tx = self.rig.tx().await;
        let row = instances::lock(&mut tx, self.id).await.unwrap().unwrap();
        let happened = instances::happen(&mut tx, &row, event, Change::default(), &by()).await.unwrap().is_ok();
        tx.commit().await.unwrap();
        happened
    }

    async fn row(&self) -> Instance {
        self.rig.get(self.id).await
    }

    /// Takes the next operation, as the guards of the sagas do. `false`: there is none.
    async fn begin(&mut self) -> bool {
        let Some((id, kind, false, _)) = self.next().await else { return false };
        let axes = self.row().await.axes;
        let (event, shown) = match kind.as_str() {
            "provision" => (Event::ProvisionBegins, Status::Starting),
            "start" | "reactivate" => (Event::StartAccepted, Status::Starting),
            _ => {
                self.set(id, "running").await;
                return true;
            }
        };
        let is_shown = axes.status == shown && axes.has_data();
        if is_shown || find(&axes, event).is_ok() {
            self.set(id, "running").await;
            assert!(is_shown || self.happens(event).await, "{kind} on {axes:?}");
        } else {
            self.set(id, "cancelled").await;
        }
        true
    }

    /// Ends what is at work, well or by giving way.
    async fn end(&mut self) {
        let Some((id, kind, true, asked)) = self.next().await else { return };
        let done = match kind.as_str() {
            "provision" if asked => {
                self.happens(Event::ProvisionPreempted).await;
                false
            }
            "start" | "reactivate" if asked => false,
            "provision" => self.happens(Event::ProvisionDone).await,
            "start" | "reactivate" => self.happens(Event::StartDone).await,
            _ => {
                let mut tx = self.rig.tx().await;
                instances::observe(&mut tx, self.id, ObservedState::Stopped, false).await.unwrap();
                tx.commit().await.unwrap();
                true
            }
        };
        assert!(done || asked, "{kind} ended on {:?}", self.row().await.axes);
        self.set(id, if done { "succeeded" } else { "cancelled" }).await;
    }

    async fn work(&mut self) {
        for _ in 0..40 {
            self.end().await;
            if !self.begin().await {
                return;
            }
        }
        panic!("it never ends");
    }
}

async fn play(rig: &Rig, rows: sqlx::PgConnection, number: u64) -> (sqlx::PgConnection, Option<String>) {
    let (calls, pace) = numbered(number);
    let instance = rig.created(raw(&format!("shop{number}"))).await;
    let mut play = Play { rig, rows, id: instance.id };
    let mut oracle = Oracle::new(pace);
    for call in &calls {
        // Everything arrives twice.
        for _ in 0..2 {
            play.call(*call).await;
            oracle = oracle.hears(*call);
        }
        match pace {
            QUICK => play.work().await,
            BUSY => drop(play.begin().await),
            _ => {}
        }
    }
    play.work().await;
    let axes = play.row().await.axes;
    let paid = axes.billing != BillingStatus::PaymentRequired;
    let left = "SELECT count(*) FROM instance_service.operations
                 WHERE instance_id = $1 AND state NOT IN ('succeeded', 'cancelled', 'failed')";
    let left: i64 = sqlx::query_scalar(left).bind(play.id.as_uuid()).fetch_one(&mut play.rows).await.unwrap();
    let as_said = (axes.status.as_str(), paid) == (oracle.status, oracle.paid);
    let fault = (!as_said || left != 0 || axes.contradiction().is_some()).then(|| {
        format!("INSTANCE_ORDERS={number}: {calls:?} at pace {pace} should end in {oracle:?}, and is {axes:?}, {left} left")
    });
    (play.rows, fault)
}

#[allow(clippy::disallowed_methods, reason = "a test reads its own environment")]
fn numbers() -> Vec<u64> {
    let variable = |name| std::env::var(name).ok();
    if let Some(number) = variable("INSTANCE_ORDERS").and_then(|text| text.parse().ok()) {
        return vec![number];
    }
    // A prime, so that every call is at every place.
    let (day, step) = (SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400, 449);
    let every = if variable("INSTANCE_SOAK").is_some_and(|value| value == "1") { 5 } else { step };
    (day % every..all()).step_by(usize::try_from(every).unwrap()).collect()
}

#[tokio::test]
async fn in_any_order_the_calls_lead_where_they_say() {
    let rig = Rig::start();
    let mut rows = rig.rows().await;
    let mut faults = Vec::new();
    let numbers = numbers();
    for number in &numbers {
        let (back, fault) = play(&rig, rows, *number).await;
        rows = back;
        faults.extend(fault);
    }
    rows.close().await.unwrap();
    let shown: Vec<&String> = faults.iter().take(8).collect();
    assert!(faults.is_empty(), "{} of {}: {shown:#?}", faults.len(), numbers.len());
}
