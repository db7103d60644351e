//! Works off the events that were kept: takes those that are due, finds out which subscriptions they are about, looks at each.
//!
//! Several workers may do so side by side: an event belongs to its taker for [`HOLD`], and a subscription to one look at a time.

use super::{Billing, Failure, Looked, Occasion};
use clients::KillBillError;
use db::DbError;
use db::platform::webhook_events::{self, DueEvent, End};
use domain::billing_event::{EventType, Subject};
use domain::ids::SubscriptionId;
use futures::future::join_all;
use metrics::counter;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How many events are looked at at a time.
const BATCH: i64 = 4;
/// How long an attempt may take, and how long its claim holds.
const LONGEST: Duration = Duration::from_secs(120);
const HOLD: Duration = Duration::from_secs(150);
/// How often due events are looked for.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause while postgres1 does not answer.
const PAUSE_WITHOUT_DATABASE: Duration = Duration::from_secs(5);
/// The pause while another worker looks at the same subscription.
const PAUSE_FOR_ANOTHER: Duration = Duration::from_secs(1);
/// After so many attempts, over some ten minutes, a subscription without an order is for something else than an instance.
const PATIENCE: i32 = 9;

/// The loop over kept events.
pub struct Inbox(pub Arc<Billing>);

/// What is to be looked at.
struct Looks {
    subscriptions: BTreeSet<Uuid>,
    occasion: Occasion,
}

impl Inbox {
    /// Works until `stop`; what is being looked at then is finished first.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = match self.work_off_due().await {
                Ok(taken) if taken > 0 => continue,
                Ok(_) => PAUSE,
                Err(error) => {
                    tracing::warn!(error = %error, "the events of the billing engine cannot be read");
                    PAUSE_WITHOUT_DATABASE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One attempt for each event that is due, [`BATCH`] at most. Returns how many were taken.
    ///
    /// # Errors
    /// postgres1 could not be read or written; the claims lapse and are taken again.
    pub async fn work_off_due(&self) -> Result<usize, DbError> {
        let due = webhook_events::claim_due(&self.0.db, BATCH, HOLD).await?;
        for outcome in join_all(due.iter().map(|event| self.attempt(event))).await {
            outcome?;
        }
        Ok(due.len())
    }

    async fn attempt(&self, event: &DueEvent) -> Result<(), DbError> {
        let db = &self.0.db;
        let outcome = tokio::time::timeout(LONGEST, self.work_off(event)).await;
        match outcome {
            Ok(Ok(Some(end))) => webhook_events::finish(db, event, end).await,
            Ok(Ok(None)) => webhook_events::put_off(db, event, PAUSE_FOR_ANOTHER).await,
            Ok(Err(Failure::NoOrder)) if event.attempt >= PATIENCE => webhook_events::finish(db, event, End::Ignored).await,
            Ok(Err(failure)) => self.failed(event, &failure.to_string()).await,
            Err(_) => self.failed(event, "it took too long").await,
        }
    }

    async fn failed(&self, event: &DueEvent, error: &str) -> Result<(), DbError> {
        counter!("killbill_event_failures_total").increment(1);
        let (event_id, attempt) = (event.id, event.attempt);
        if webhook_events::failed(&self.0.db, event, error).await? {
            tracing::warn!(event_id, attempt, error, "an event of the billing engine came to nothing; it is tried again");
        } else {
            tracing::error!(event_id, attempt, error, "an event of the billing engine is given up");
        }
        Ok(())
    }

    /// `None`: another worker is at it.
    async fn work_off(&self, event: &DueEvent) -> Result<Option<End>, Failure> {
        let looks = match self.looks(event).await {
            Err(Failure::KillBill(KillBillError::Absent(_))) => return Ok(Some(End::Ignored)),
            looks => looks?,
        };
        let Some(looks) = looks else { return Ok(Some(End::Ignored)) };
        let (mut known, mut busy, mut failure) = (false, false, None);
        for id in looks.subscriptions {
            match self.0.converge(SubscriptionId::from_uuid(id), looks.occasion).await {
                Ok(looked) => {
                    known = true;
                    busy |= looked == Looked::Busy;
                }
                Err(Failure::KillBill(KillBillError::Absent(_))) => {}
                // The others of the same invoice or account are looked at all the same.
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(failure) => Err(failure),
            None if busy => Ok(None),
            None => Ok(Some(if known { End::Done } else { End::Ignored })),
        }
    }

    /// Which subscriptions an event is about. `None`: nothing for us.
    async fn looks(&self, event: &DueEvent) -> Result<Option<Looks>, Failure> {
        let Some(kind) = event.kind else { return Ok(None) };
        let killbill = &self.0.killbill;
        let subscriptions = match kind.subject() {
            Subject::Subscription => BTreeSet::from([event.object]),
            Subject::Invoice => {
                killbill.invoice(event.object).await?.items.iter().filter_map(|item| item.subscription_id).collect()
            }
            Subject::Account if !self.0.overdue => return Ok(None),
            Subject::Account => {
                let bundles = killbill.account_bundles(event.object).await?;
                let all = bundles.into_iter().flat_map(|bundle| bundle.subscriptions);
                all.filter(|subscription| !subscription.state.is_over())
                    .map(|subscription| subscription.subscription_id)
                    .collect()
            }
        };
        let occasion = Occasion {
            paid: kind == EventType::InvoicePaymentSuccess,
            plan_changed: kind == EventType::SubscriptionChange,
            failed_invoice: (kind == EventType::InvoicePaymentFailed).then_some(event.object),
        };
        Ok(Some(Looks { subscriptions, occasion }))
    }
}
