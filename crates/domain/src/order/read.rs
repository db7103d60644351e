//! Reads an order field by field (contract 4.2).

use super::faults::Faults;
use super::{NewInstance, Order, OrderRules, RawOrder, field};
use crate::ids::{CustomerId, SubscriptionId};
use crate::instance::{BillingStatus, DbType, InstanceType};
use crate::names::{AdminEmail, DatabaseLabel, HostLabel, InstanceName};
use crate::problem::Refusal;
use crate::size::CpuLimit;

const NO_SUBSCRIPTION: &str = "Instance creation must include a valid subscription_id";

/// Checks an order in the sequence of contract 4.2: form of all fields (every fault is collected), subscription
/// present, then the house rules, kept for [`Order::admit`].
pub fn parse(raw: RawOrder, rules: &OrderRules) -> Result<Order, Refusal> {
    let mut faults = Faults::default();
    let customer = faults.required("customer_id", raw.customer_id.as_deref(), field::id);
    let subscription = faults.optional("subscription_id", raw.subscription_id.as_deref(), field::id).flatten();
    let new = read(raw, rules, customer, subscription, &mut faults);
    if faults.any_of_form() {
        return Err(faults.into_refusal());
    }
    let (Some(customer_id), Some(subscription_id)) = (customer, subscription) else {
        return Err(Refusal::Rule(NO_SUBSCRIPTION.to_owned()));
    };
    let admitted = new.map(Box::new).ok_or_else(|| faults.into_refusal());
    Ok(Order { customer_id, subscription_id, admitted })
}

/// Reads every field before any is asked for, so that no fault is missed; the ones with house rules in the contract's
/// sequence: resources, labels, add-ons, environment.
fn read(
    raw: RawOrder,
    rules: &OrderRules,
    customer: Option<CustomerId>,
    subscription: Option<SubscriptionId>,
    faults: &mut Faults,
) -> Option<NewInstance> {
    let name = faults.required("name", raw.name.as_deref(), InstanceName::parse);
    let version = faults.optional("odoo_version", raw.odoo_version.as_ref(), |version| field::version(version, rules));
    let instance_type = faults.optional("instance_type", raw.instance_type.as_deref(), field::word);
    let description = faults.optional("description", raw.description, field::description);
    let cpu = faults.take("cpu_limit", CpuLimit::from_f64(raw.cpu_limit.unwrap_or(1.0)));
    let memory = faults.take("memory_limit", field::size("Memory", raw.memory_limit.as_deref().unwrap_or("1G")));
    let storage = faults.take("storage_limit", field::size("Storage", raw.storage_limit.as_deref().unwrap_or("10G")));
    let email = faults.required("admin_email", raw.admin_email.as_deref(), AdminEmail::parse);
    faults.optional("admin_password", raw.admin_password.as_ref(), field::password);
    let label = faults.required("database_name", raw.database_name.as_deref(), DatabaseLabel::parse);
    let host = faults.optional("subdomain", raw.subdomain.as_deref(), |text| HostLabel::parse(text, &rules.reserved_hosts));
    let addons = faults.take("custom_addons", field::addons(&raw.custom_addons.unwrap_or_default()));
    let modules = faults.take("disabled_modules", field::addons(&raw.disabled_modules.unwrap_or_default()));
    let environment = faults.take("environment_vars", field::environment(raw.environment_vars.unwrap_or_default()));
    let metadata = faults.take("metadata", field::metadata(raw.metadata.unwrap_or_default()));
    let billing = faults.optional("billing_status", raw.billing_status.as_deref(), field::billing);
    let db_type = faults.optional("db_type", raw.db_type.as_deref(), field::word);
    Some(NewInstance {
        customer_id: customer?,
        subscription_id: subscription?,
        name: name?,
        odoo_version: version?.unwrap_or(rules.default_version),
        instance_type: instance_type?.unwrap_or(InstanceType::Development),
        description: description?,
        cpu_limit: cpu?,
        memory_limit: memory?,
        storage_limit: storage?,
        admin_email: email?,
        database_name: label?,
        subdomain: host?,
        demo_data: raw.demo_data.unwrap_or(false),
        custom_addons: addons?,
        disabled_modules: modules?,
        environment_vars: environment?,
        metadata: metadata?,
        billing_status: billing?.unwrap_or(BillingStatus::PaymentRequired),
        db_type: db_type?.unwrap_or(DbType::Shared),
    })
}
