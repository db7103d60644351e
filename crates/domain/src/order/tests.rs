//! Orders: the sequence of checks, the defaults, and that no field whatever makes anything but an answer.

use super::*;
use crate::problem::{FieldError, Refusal};
use proptest::prelude::*;

const ID: &str = "0190a6f2-7c4b-7aaa-8bbb-0123456789ab";

fn rules() -> OrderRules {
    OrderRules {
        supported_versions: [16, 17, 18, 19].map(OdooVersion::new).to_vec(),
        default_version: OdooVersion::new(17),
        reserved_hosts: ReservedHosts::default(),
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// The least that a client must send.
fn least() -> RawOrder {
    RawOrder {
        name: text("Shop"),
        admin_email: text("a@b.example"),
        database_name: text("Shop"),
        customer_id: text(ID),
        subscription_id: text(ID),
        ..RawOrder::default()
    }
}

fn admitted(raw: RawOrder) -> Result<NewInstance, Refusal> {
    parse(raw, &rules()).and_then(Order::admit)
}

/// The fields that a 422 names.
fn fields(refusal: Refusal) -> Vec<String> {
    match refusal {
        Refusal::Schema(errors) => errors.into_iter().map(|error: FieldError| error.field).collect(),
        Refusal::Rule(text) => panic!("400 instead of 422: {text}"),
    }
}

fn rule(refusal: Refusal) -> String {
    match refusal {
        Refusal::Rule(text) => text,
        Refusal::Schema(errors) => panic!("422 instead of 400: {errors:?}"),
    }
}

#[test]
fn the_least_order_gets_the_defaults_of_the_contract() {
    let new = admitted(least()).unwrap();
    assert_eq!((new.odoo_version.major(), new.instance_type), (17, InstanceType::Development));
    assert_eq!(
        (new.cpu_limit.to_string(), new.memory_limit.to_string(), new.storage_limit.to_string()),
        ("1".into(), "1G".into(), "10G".into())
    );
    assert_eq!((new.billing_status, new.db_type, new.demo_data), (BillingStatus::PaymentRequired, DbType::Shared, false));
    assert_eq!((new.database_name.as_str(), new.subdomain, new.description), ("shop", None, None));
    assert!(new.custom_addons.is_empty() && new.environment_vars.is_empty() && new.metadata.is_empty());
}

#[test]
fn versions_are_read_as_clients_write_them() {
    let version = |raw: RawVersion| admitted(RawOrder { odoo_version: Some(raw), ..least() }).map(|new| new.odoo_version.major());
    for text in ["17", "17.0", "v17", "V17.0"] {
        assert_eq!(version(RawVersion::Text(text.to_owned())), Ok(17), "{text}");
    }
    assert_eq!(version(RawVersion::Number(17.0)), Ok(17));
    for number in [15.0, 17.5, -17.0, 0.0, 1e300, f64::NAN, f64::INFINITY] {
        assert_eq!(fields(version(RawVersion::Number(number)).unwrap_err()), ["odoo_version"], "{number}");
    }
    for text in ["", "17.1", "seventeen", "17\0", "１７"] {
        assert_eq!(fields(version(RawVersion::Text(text.to_owned())).unwrap_err()), ["odoo_version"], "{text}");
    }
}

#[test]
fn all_faults_of_form_are_told_at_once() {
    let raw = RawOrder {
        admin_email: text("nobody"),
        cpu_limit: Some(9.0),
        memory_limit: text("2T"),
        subscription_id: text("x"),
        ..RawOrder::default()
    };
    let mut named = fields(parse(raw, &rules()).unwrap_err());
    named.sort_unstable();
    assert_eq!(named, ["admin_email", "cpu_limit", "customer_id", "database_name", "memory_limit", "name", "subscription_id"]);
}

#[test]
fn the_summary_is_one_plain_sentence() {
    let refusal = parse(RawOrder { cpu_limit: Some(9.0), name: None, ..least() }, &rules()).unwrap_err();
    assert_eq!(refusal.to_string(), "name is required; cpu_limit must be at most 8");
}

#[test]
fn form_comes_first_then_the_subscription_then_the_house_rules() {
    let bad = RawOrder {
        memory_limit: text("0g"),
        storage_limit: text("0M"),
        database_name: text("postgres"),
        subdomain: text("www"),
        custom_addons: Some(vec!["_a".to_owned()]),
        environment_vars: Some([("PATH".to_owned(), String::new())].into()),
        ..least()
    };
    let malformed = RawOrder { name: text(" "), subscription_id: None, ..bad.clone() };
    assert_eq!(fields(parse(malformed, &rules()).unwrap_err()), ["name"]);
    let homeless = RawOrder { subscription_id: None, ..bad.clone() };
    assert_eq!(rule(parse(homeless, &rules()).unwrap_err()), "Instance creation must include a valid subscription_id");

    let order = parse(bad.clone(), &rules()).expect("house rules wait for the look for a replay");
    assert_eq!(order.subscription_id.to_string(), ID);
    assert_eq!(rule(order.admit().unwrap_err()), "Memory value must be positive: 0G");
    let bad = RawOrder { memory_limit: None, ..bad };
    assert_eq!(rule(admitted(bad.clone()).unwrap_err()), "Storage value must be positive: 0M");
    let bad = RawOrder { storage_limit: None, ..bad };
    assert_eq!(rule(admitted(bad.clone()).unwrap_err()), "Database name 'postgres' is reserved");
    let bad = RawOrder { database_name: text("shop"), ..bad };
    assert_eq!(rule(admitted(bad.clone()).unwrap_err()), "Subdomain 'www' is reserved");
    let bad = RawOrder { subdomain: None, ..bad };
    assert_eq!(rule(admitted(bad.clone()).unwrap_err()), "Add-on names must start with a letter or a digit");
    let bad = RawOrder { custom_addons: None, ..bad };
    assert_eq!(rule(admitted(bad.clone()).unwrap_err()), "Environment variable 'PATH' is reserved");
    assert!(admitted(RawOrder { environment_vars: None, ..bad }).is_ok());
}

#[test]
fn a_malformed_variable_is_a_fault_of_form_beside_a_reserved_one() {
    let both = [("PATH".to_owned(), String::new()), ("path".to_owned(), String::new())].into();
    assert_eq!(fields(admitted(RawOrder { environment_vars: Some(both), ..least() }).unwrap_err()), ["environment_vars"]);
}

#[test]
fn an_addon_is_named_once() {
    let twice = Some(vec!["crm".to_owned(), "sale".to_owned(), "crm".to_owned()]);
    assert_eq!(rule(admitted(RawOrder { custom_addons: twice, ..least() }).unwrap_err()), "Add-on 'crm' is listed twice");
}

#[test]
fn words_outside_an_enumeration_are_faults_of_form() {
    let raw = RawOrder { instance_type: text("Production"), billing_status: text("free"), db_type: text(""), ..least() };
    assert_eq!(fields(admitted(raw).unwrap_err()), ["instance_type", "billing_status", "db_type"]);
    let old = RawOrder { billing_status: text("pending_payment"), ..least() };
    assert_eq!(admitted(old).unwrap().billing_status, BillingStatus::PaymentRequired);
}

#[test]
fn the_admin_password_is_checked_and_gone() {
    let with = |password: &str| admitted(RawOrder { admin_password: Some(password.to_owned().into()), ..least() });
    for weak in ["", "Short1", "nodigits-Here", "no-upper-1", "NO-LOWER-1"] {
        assert_eq!(fields(with(weak).unwrap_err()), ["admin_password"], "{weak}");
    }
    let new = with("Secret-word-1").unwrap();
    assert!(!format!("{new:?}").contains("Secret-word-1"));
    let raw = RawOrder { admin_password: Some("Secret-word-1".to_owned().into()), ..least() };
    assert!(!format!("{raw:?}").contains("Secret-word-1"));
}

#[test]
fn what_postgresql_cannot_store_is_refused() {
    let nested = serde_json::json!({ "a": [{ "b\u{0}": 1 }] }).as_object().cloned();
    for (field, raw) in [
        ("name", RawOrder { name: text("a\0"), ..least() }),
        ("description", RawOrder { description: text("\0"), ..least() }),
        ("description", RawOrder { description: Some("ä".repeat(501)), ..least() }),
        ("environment_vars", RawOrder { environment_vars: Some([("A".to_owned(), "\0".to_owned())].into()), ..least() }),
        ("metadata", RawOrder { metadata: nested, ..least() }),
    ] {
        assert_eq!(fields(admitted(raw).unwrap_err()), [field]);
    }
    assert!(admitted(RawOrder { description: Some("ä".repeat(500)), ..least() }).is_ok());
}

fn any_text() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop_oneof![".{0,210}", "[0-9]{0,12}[mMgG]", "[a-z0-9_-]{1,60}", Just("\0".to_owned()), Just(ID.to_owned())])
}

prop_compose! {
    fn any_order()(
        [name, instance_type, description, memory_limit, storage_limit, admin_email] in prop::array::uniform6(any_text()),
        [database_name, subdomain, customer_id, subscription_id, billing_status, db_type] in prop::array::uniform6(any_text()),
        odoo_version in prop::option::of(prop_oneof![any::<f64>().prop_map(RawVersion::Number), ".{0,6}".prop_map(RawVersion::Text)]),
        cpu_limit in prop::option::of(any::<f64>()),
        demo_data in prop::option::of(any::<bool>()),
        custom_addons in prop::option::of(prop::collection::vec(".{0,12}", 0..4)),
        environment_vars in prop::option::of(prop::collection::btree_map("[A-Zx_]{0,6}", ".{0,12}", 0..3)),
    ) -> RawOrder {
        RawOrder {
            name, odoo_version, instance_type, description, cpu_limit, memory_limit, storage_limit, admin_email,
            admin_password: None, database_name, subdomain, demo_data, custom_addons, disabled_modules: None, environment_vars,
            metadata: None, customer_id, subscription_id, billing_status, db_type,
        }
    }
}

proptest! {
    #[test]
    fn any_order_gets_an_answer(raw in any_order()) {
        match parse(raw, &rules()) {
            Ok(order) => prop_assert!(!matches!(order.admit(), Err(Refusal::Schema(_)))),
            Err(Refusal::Schema(errors)) => {
                let mut named: Vec<String> = errors.iter().map(|error| error.field.clone()).collect();
                named.sort_unstable();
                named.dedup();
                prop_assert_eq!(named.len(), errors.len(), "one entry per field");
                prop_assert!(!errors.is_empty() && errors.iter().all(|error| !error.msg.is_empty()));
            }
            Err(Refusal::Rule(text)) => prop_assert_eq!(text, "Instance creation must include a valid subscription_id"),
        }
    }
}
