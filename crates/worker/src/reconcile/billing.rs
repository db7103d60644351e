//! Subscriptions against the billing engine: repairs what its events never told (contract 19.3). Runs while the direct webhook is on.

use super::{BATCH, Round};
use crate::billing::{Billing, Failure, Looked, Occasion};
use clients::KillBillError;
use db::platform::{instances, webhook_events};
use domain::ids::SubscriptionId;
use futures::future::join_all;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How many subscriptions are looked at at a time.
const AT_ONCE: usize = 4;
/// How many bundles are asked for at a time.
const PAGE: usize = 100;

/// The sweep.
pub struct BillingSync {
    /// What looks at a subscription.
    pub billing: Arc<Billing>,
    /// How often.
    pub period: Duration,
}

/// What a sweep found.
#[derive(Debug, Default, Serialize)]
struct Found {
    /// Subscriptions looked at.
    looked: u64,
    /// Instances of which something was asked.
    moved: u64,
    /// Subscriptions that the engine does not know. Their instances are left alone: absent is not cancelled.
    unknown: u64,
    /// Another worker was at them.
    busy: u64,
    /// Could not be looked at, or refused.
    errors: u64,
}

#[async_trait::async_trait]
impl Round for BillingSync {
    fn name(&self) -> &'static str {
        "billing_sync"
    }

    fn period(&self) -> Duration {
        self.period
    }

    async fn round(&self) -> anyhow::Result<Value> {
        let (mut found, mut seen) = (Found::default(), HashSet::new());
        let mut after = None;
        loop {
            let page = webhook_events::subscriptions(&self.billing.db, after, BATCH).await?;
            self.look_at(&page, &mut found).await?;
            after = page.last().copied();
            seen.extend(page.iter().copied());
            if page.len() < BATCH as usize {
                break;
            }
        }
        self.look_for_new(&seen, &mut found).await?;
        let mut report = serde_json::to_value(&found)?;
        report["events"] = webhook_events::figures(&self.billing.db).await?;
        Ok(report)
    }
}

impl BillingSync {
    /// Subscriptions whose beginning was never told.
    async fn look_for_new(&self, seen: &HashSet<SubscriptionId>, found: &mut Found) -> anyhow::Result<()> {
        for page in 0.. {
            let bundles = self.billing.killbill.bundles(page * PAGE, PAGE).await?;
            let last = bundles.len() < PAGE;
            let mut new = Vec::new();
            for subscription in bundles.into_iter().flat_map(|bundle| bundle.subscriptions) {
                let id = SubscriptionId::from_uuid(subscription.subscription_id);
                let open = !subscription.state.is_over() && !seen.contains(&id);
                if open && instances::by_subscription(&self.billing.db, id).await?.is_none() {
                    new.push(id);
                }
            }
            self.look_at(&new, found).await?;
            if last {
                break;
            }
        }
        Ok(())
    }

    async fn look_at(&self, subscriptions: &[SubscriptionId], found: &mut Found) -> anyhow::Result<()> {
        for some in subscriptions.chunks(AT_ONCE) {
            let looks = some.iter().map(|id| self.billing.converge(*id, Occasion::default()));
            for (id, looked) in some.iter().zip(join_all(looks).await) {
                found.looked += 1;
                match looked {
                    Ok(Looked::InPlace) => {}
                    Ok(Looked::Moved) => found.moved += 1,
                    Ok(Looked::Busy) => found.busy += 1,
                    // Another product of the same tenant.
                    Err(Failure::NoOrder) => {}
                    Err(Failure::KillBill(KillBillError::Absent(_))) => found.unknown += 1,
                    Err(Failure::KillBill(error @ (KillBillError::Unreachable(_) | KillBillError::Refused(_)))) => {
                        return Err(error.into());
                    }
                    Err(error) => {
                        tracing::warn!(subscription_id = %id, error = %error, "an instance cannot follow its subscription");
                        found.errors += 1;
                    }
                }
            }
        }
        Ok(())
    }
}
