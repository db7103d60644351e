//! What follows the billing engine, if its webhook is on.

use super::Parts;
use bootstrap::{OsEntropy, http};
use clients::{KillBill, KillBillAccess, killbill};
use domain::names::ReservedHosts;
use domain::order::OrderRules;
use std::sync::Arc;
use worker::billing::{Billing, Inbox};
use worker::reconcile::Round;
use worker::reconcile::billing::BillingSync;

/// The loop over its events, and the sweep for what they never told.
pub(super) fn parts(parts: &Parts) -> anyhow::Result<Option<(Inbox, Arc<dyn Round>)>> {
    let Some(settings) = &parts.settings.killbill else { return Ok(None) };
    let access = KillBillAccess {
        username: settings.username.clone(),
        password: settings.password.clone(),
        api_key: settings.api_key.clone(),
        api_secret: settings.api_secret.clone(),
    };
    let versions = &parts.settings.versions;
    let billing = Arc::new(Billing {
        db: parts.db.clone(),
        killbill: KillBill::new(http::client(killbill::TIMEOUT)?, settings.url.clone(), access),
        rules: OrderRules {
            supported_versions: versions.supported.clone(),
            default_version: versions.default,
            reserved_hosts: ReservedHosts::with(parts.settings.reserved_hostnames.clone()),
        },
        entropy: Arc::new(OsEntropy),
        overdue: settings.overdue,
    });
    let sync = BillingSync { billing: billing.clone(), period: settings.sync_every };
    Ok(Some((Inbox(billing), Arc::new(sync))))
}
