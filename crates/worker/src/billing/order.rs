//! Custom fields of a subscription as an order, and as limits (contract 19.3). All are text; empty ones are absent. Pure.

use domain::ids::{CustomerId, InstanceId, SubscriptionId};
use domain::instance::BillingStatus;
use domain::order::{self, Amendment, Order, OrderRules, RawOrder, RawVersion};
use domain::problem::Refusal;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Custom fields by name.
pub type Fields = BTreeMap<String, String>;

/// Fields without which there is no order, or not yet.
const REQUIRED: &[&str] = &["instance_name", "instance_admin_email", "instance_database_name"];
const LIMITS: &[&str] = &["instance_cpu_limit", "instance_memory_limit", "instance_storage_limit"];

/// Whether they order an instance.
pub fn is_complete(fields: &Fields) -> bool {
    REQUIRED.iter().all(|name| fields.contains_key(*name))
}

/// Which instance comes back under this subscription, if that is what was ordered.
pub fn comes_back(fields: &Fields) -> Option<InstanceId> {
    let wanted = fields.get("reactivation").is_some_and(|text| is_yes(text));
    fields.get("target_instance_id").filter(|_| wanted)?.parse().ok()
}

/// The order of a new instance.
///
/// # Errors
/// A field breaks a rule.
pub fn read(
    fields: &Fields,
    customer: CustomerId,
    subscription: SubscriptionId,
    billing: BillingStatus,
    rules: &OrderRules,
) -> Result<Order, Refusal> {
    let text = |name: &str| fields.get(name).cloned();
    let addons = |list: &String| list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let raw = RawOrder {
        name: text("instance_name"),
        description: text("instance_description"),
        admin_email: text("instance_admin_email"),
        database_name: text("instance_database_name"),
        subdomain: text("instance_subdomain"),
        odoo_version: text("instance_odoo_version").map(RawVersion::Text),
        instance_type: text("instance_type"),
        demo_data: fields.get("instance_demo_data").map(|text| is_yes(text)),
        custom_addons: fields.get("instance_custom_addons").map(addons),
        customer_id: Some(customer.to_string()),
        subscription_id: Some(subscription.to_string()),
        billing_status: Some(billing.as_str().to_owned()),
        ..raw_limits(fields)
    };
    order::parse(raw, rules)
}

/// The limits that they name, as they name them; `None` if there are none.
pub fn limits(fields: &Fields) -> Option<Value> {
    let named: BTreeMap<&str, &String> = LIMITS.iter().filter_map(|name| Some((*name, fields.get(*name)?))).collect();
    (!named.is_empty()).then(|| json!(named))
}

/// The change that brings an instance to these limits.
///
/// # Errors
/// A limit breaks a rule.
pub fn amendment(fields: &Fields) -> Result<Amendment, Refusal> {
    order::parse_amendment(raw_limits(fields))
}

fn raw_limits(fields: &Fields) -> RawOrder {
    RawOrder {
        // What is no number is refused like one that is out of bounds.
        cpu_limit: fields.get("instance_cpu_limit").map(|text| text.parse().unwrap_or(f64::NAN)),
        memory_limit: fields.get("instance_memory_limit").cloned(),
        storage_limit: fields.get("instance_storage_limit").cloned(),
        ..RawOrder::default()
    }
}

fn is_yes(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::names::ReservedHosts;
    use domain::version::OdooVersion;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn ordered(more: &[(&str, &str)]) -> Result<Order, Refusal> {
        let least =
            [("instance_name", "Shop"), ("instance_admin_email", "owner@shop.example"), ("instance_database_name", "shop")];
        let mut all = fields(&least);
        assert!(is_complete(&all));
        all.extend(fields(more));
        let rules = OrderRules {
            supported_versions: vec![OdooVersion::new(17), OdooVersion::new(19)],
            default_version: OdooVersion::new(19),
            reserved_hosts: ReservedHosts::default(),
        };
        let id = uuid::Uuid::from_u128(7);
        read(&all, CustomerId::from_uuid(id), SubscriptionId::from_uuid(id), BillingStatus::Trial, &rules)
    }

    #[test]
    fn an_order_is_read_from_text() {
        let more = [
            ("instance_odoo_version", "17.0"),
            ("instance_cpu_limit", "1.5"),
            ("instance_memory_limit", "2G"),
            ("instance_storage_limit", "20G"),
            ("instance_demo_data", "True"),
            ("instance_custom_addons", "sale, stock,"),
            ("instance_type", "production"),
            ("instance_subdomain", "corner-shop"),
        ];
        let new = ordered(&more).unwrap().admit().unwrap();
        assert_eq!((new.odoo_version.to_string(), new.cpu_limit.as_decimal().to_string()), ("17".to_owned(), "1.5".to_owned()));
        assert_eq!((new.memory_limit.to_string(), new.storage_limit.to_string()), ("2G".to_owned(), "20G".to_owned()));
        assert_eq!((new.demo_data, new.billing_status, new.custom_addons.len()), (true, BillingStatus::Trial, 2));
        assert_eq!(new.subdomain.unwrap().as_str(), "corner-shop");
        assert_eq!(ordered(&[]).unwrap().admit().unwrap().odoo_version, OdooVersion::new(19));
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        for wrong in [("instance_cpu_limit", "many"), ("instance_memory_limit", "2 G"), ("instance_odoo_version", "15")] {
            assert!(ordered(&[wrong]).is_err(), "{wrong:?}");
        }
        assert!(amendment(&fields(&[("instance_cpu_limit", "NaN")])).is_err());
    }

    #[test]
    fn limits_are_told_from_none() {
        assert_eq!(limits(&fields(&[("instance_name", "Shop")])), None);
        let one = limits(&fields(&[("instance_memory_limit", "2G"), ("other", "x")])).unwrap();
        assert_eq!(one, json!({"instance_memory_limit": "2G"}));
    }

    #[test]
    fn coming_back_takes_both_fields() {
        let id = "00000000-0000-0000-0000-000000000007";
        assert!(comes_back(&fields(&[("reactivation", "true"), ("target_instance_id", id)])).is_some());
        for other in [
            &[("target_instance_id", id)][..],
            &[("reactivation", "true")],
            &[("reactivation", "false"), ("target_instance_id", id)],
            &[("reactivation", "true"), ("target_instance_id", "7")],
        ] {
            assert_eq!(comes_back(&fields(other)), None, "{other:?}");
        }
    }
}
