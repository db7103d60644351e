//! The variables of a mail at the moment it is sent (contract 18): those of the row, the sealed ones, and those that are
//! looked up last so that they are current.

use clients::Customer;
use db::platform::outbox::DueMail;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use url::Url;

/// Templates that show a way to reach us.
const WITH_SUPPORT: &[&str] = &["instance_provisioning_failed", "backup_failed", "restore_failed"];
/// Templates that show where to pay.
const WITH_PAYMENT: &[&str] = &["instance_suspended"];

/// All variables of the mail; `None` if the row holds something else than an object.
pub(super) fn complete(
    due: &DueMail,
    secrets: &BTreeMap<String, SecretString>,
    customer: &Customer,
    frontend: &Url,
) -> Option<Map<String, Value>> {
    let mut variables = due.variables.as_object()?.clone();
    for (name, secret) in secrets {
        variables.insert(name.clone(), secret.expose_secret().into());
    }
    variables.insert("first_name".to_owned(), customer.greeting().into());
    let frontend = frontend.as_str().trim_end_matches('/');
    if WITH_SUPPORT.contains(&due.template.as_str()) {
        variables.insert("support_url".to_owned(), format!("{frontend}/support").into());
    }
    if WITH_PAYMENT.contains(&due.template.as_str()) {
        variables.insert("payment_url".to_owned(), format!("{frontend}/billing").into());
    }
    Some(variables)
}
