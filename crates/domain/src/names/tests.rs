//! Names: what is accepted obeys the rule as the contract words it, and no input whatever panics.

use super::*;
use crate::problem::Fault;
use crate::sources::Entropy;
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// Distinct bytes from a seed: enough to tell draws apart.
struct Counting(AtomicU64);

impl Counting {
    fn from(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let value = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).to_le_bytes();
        bytes.iter_mut().zip(value.iter().cycle()).for_each(|(byte, value)| *byte = *value);
    }
}

/// Anything, and what is nearly right: the rules' own letters, their neighbours, and hostile texts.
fn any_text() -> impl Strategy<Value = String> {
    let hostile = prop::sample::select(vec![
        "",
        " ",
        "\0",
        "a\0b",
        "../../etc/passwd",
        "'; DROP TABLE instances; --",
        "\"",
        "$(reboot)",
        "xn--",
        "xn--a",
        "-",
        "_",
        "@",
        "a@b",
        "é",
        "ｆｕｌｌ",
        "\u{202e}abc",
        "\u{feff}",
        "PGHOST",
        "postgres",
        "WWW",
        "0",
    ]);
    prop_oneof![
        ".{0,210}",
        "[a-zA-Z0-9_-]{0,60}",
        "[A-Z0-9_]{0,12}",
        "[a-z@. ]{0,20}",
        hostile.prop_map(str::to_owned),
        prop::collection::vec(any::<char>(), 0..210).prop_map(|chars| chars.into_iter().collect()),
        "[a-z]{200}",
    ]
}

/// An accepted host label obeys every clause of contract 13.2.
fn is_host_label(label: &str) -> bool {
    (3..=50).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
        && !label.starts_with("xn--")
}

/// A label that passed obeys every clause of contract 13.3.
fn is_database_label(label: &str) -> bool {
    (1..=50).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
        && !label.starts_with(['_', '-'])
        && !label.ends_with('-')
}

proptest! {
    #[test]
    fn no_text_panics_and_what_passes_obeys_the_rule(text in any_text()) {
        let reserved = ReservedHosts::with(["mine".to_owned()]);
        if let Ok(name) = InstanceName::parse(&text) {
            prop_assert!((1..=100).contains(&text.chars().count()) && !text.trim().is_empty() && !text.contains('\0'));
            prop_assert_eq!(name.as_str(), &text);
        }
        if let Ok(email) = AdminEmail::parse(&text) {
            let parts: Vec<&str> = email.as_str().split('@').collect();
            prop_assert!(parts.len() == 2 && parts.iter().all(|part| !part.is_empty()) && text.chars().count() <= 255);
            prop_assert!(!text.chars().any(|c| c.is_whitespace() || c.is_control()));
        }
        if let Ok(label) = DatabaseLabel::parse(&text) {
            prop_assert!(is_database_label(label.as_str()), "{label}");
        }
        if let Ok(label) = HostLabel::parse(&text, &reserved) {
            prop_assert!(is_host_label(label.as_str()) && !reserved.contains(label.as_str()), "{label}");
        }
        if AddonName::parse(&text).is_ok() {
            prop_assert!((1..=100).contains(&text.len()) && !text.starts_with(['_', '-']));
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
        }
        if EnvName::parse(&text).is_ok() {
            prop_assert!(text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'));
            prop_assert!(!text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()));
            prop_assert!(!text.starts_with("PG") && !text.starts_with("DB_") && text != "PATH", "{text}");
        }
        if let Ok(name) = PhysicalName::new(text.as_str()) {
            prop_assert!((1..=63).contains(&name.as_str().len()) && !name.as_str().contains('\0'));
        }
        prop_assert_eq!(Mark::parse(&text).is_ok(), text.len() == 16 && text.chars().all(|c| "0123456789abcdef".contains(c)));
    }

    #[test]
    fn every_database_label_gives_a_host_label(text in "[a-zA-Z0-9][a-zA-Z0-9_-]{0,49}|xn--[a-z_-]{0,40}[a-z]", seed: u64) {
        let reserved = ReservedHosts::default();
        let entropy = Counting::from(seed);
        prop_assume!(DatabaseLabel::parse(&text).is_ok());
        let label = DatabaseLabel::parse(&text).unwrap();
        let host = HostLabel::from_database_label(&label, &reserved, &entropy);
        prop_assert!(is_host_label(host.as_str()) && !reserved.contains(host.as_str()), "{label} gave {host}");
        let other = host.varied(&entropy);
        prop_assert!(is_host_label(other.as_str()) && other != host, "{host} gave {other}");
        prop_assert_ne!(host.varied(&entropy), other);
    }
}

fn form(fault: Fault) -> String {
    match fault {
        Fault::Form { msg, .. } => msg,
        Fault::Rule(text) => panic!("a house rule instead of a form: {text}"),
    }
}

fn rule(fault: Fault) -> String {
    match fault {
        Fault::Rule(text) => text,
        Fault::Form { msg, .. } => panic!("a form instead of a house rule: {msg}"),
    }
}

#[test]
fn host_labels_name_the_first_rule_that_fails() {
    let reserved = ReservedHosts::with([" Mine ".to_owned(), String::new()]);
    let sentence = |text: &str| HostLabel::parse(text, &reserved).unwrap_err().sentence("Subdomain");
    assert_eq!(sentence("ab"), "Subdomain must have at least 3 characters");
    assert_eq!(sentence("-"), "Subdomain must have at least 3 characters");
    assert_eq!(sentence(&"a".repeat(51)), "Subdomain must have at most 50 characters");
    assert_eq!(sentence("a_b"), "Subdomain must consist of the letters a to z, digits and '-'");
    assert_eq!(sentence("éée"), "Subdomain must consist of the letters a to z, digits and '-'");
    assert_eq!(sentence("-abc"), "Subdomain must not start or end with '-'");
    assert_eq!(sentence("XN--abc"), "Subdomain must not start with 'xn--'");
    assert_eq!(rule(HostLabel::parse("WWW", &reserved).unwrap_err()), "Subdomain 'www' is reserved");
    assert_eq!(sentence("mine"), "Subdomain 'mine' is reserved");
    assert_eq!(HostLabel::parse("My-Shop", &reserved).unwrap().as_str(), "my-shop");
}

#[test]
fn host_labels_are_adjusted_rather_than_refused() {
    let made = |text: &str| {
        let label = DatabaseLabel::parse(text).unwrap();
        HostLabel::from_database_label(&label, &ReservedHosts::default(), &Counting::from(1)).as_str().to_owned()
    };
    assert_eq!(made("My_Shop"), "my-shop");
    assert_eq!(made("shop_"), "shop");
    assert_eq!(made("xn--shop"), "xn-shop");
    assert_eq!(made("xn--_--shop"), "xn-shop");
    assert!(made("ab").starts_with("ab-") && made("ab").len() == 9);
    assert!(made("www").starts_with("www-"));
    assert_eq!(made(&"a".repeat(50)), "a".repeat(50));
}

#[test]
fn every_reserved_host_of_the_contract_is_reserved() {
    let listed = "www, api, app, auth, billing, mail, admin, user, users, instance, instances, notification, notifications, \
        account, accounts, login, portal, dashboard, support, help, docs, status, blog, static, assets, cdn, smtp, imap, pop, \
        pop3, webmail, mx, ns, ns1, ns2, dns, ftp, sftp, ssh, vpn, git, registry, traefik, killbill, kaui, grafana, prometheus, \
        redis, rabbitmq, postgres, postgres1, postgres2, db, database, ws, websocket, autoconfig, autodiscover, mta-sts, \
        postmaster, hostmaster, webmaster, abuse, root, system, master, public, internal, localhost, test, temp";
    let reserved = ReservedHosts::default();
    assert!(listed.split(", ").all(|label| reserved.contains(label)));
    assert!(!reserved.contains("shop"));
}

#[test]
fn database_labels_tell_form_from_reserved() {
    let refused = |text: &str| DatabaseLabel::parse(text).unwrap_err();
    assert_eq!(form(refused("")), "must not be empty");
    assert_eq!(form(refused(&"a".repeat(51))), "must have at most 50 characters");
    assert_eq!(form(refused("a b")), "must consist of the letters a to z, digits, '_' and '-'");
    assert_eq!(form(refused("_a")), "must start with a letter or a digit");
    assert_eq!(form(refused("a-")), "must not end with '-'");
    for reserved in "postgres template0 template1 admin root master system test temp public information_schema".split(' ') {
        assert_eq!(rule(refused(&reserved.to_uppercase())), format!("Database name '{reserved}' is reserved"));
    }
    assert_eq!(DatabaseLabel::parse("Shop_").unwrap().as_str(), "shop_");
}

#[test]
fn environment_names_of_the_service_are_refused() {
    for taken in [
        "HOST",
        "PORT",
        "USER",
        "PASSWORD",
        "PASSWORD_FILE",
        "DB_NAME",
        "PGHOST",
        "PG",
        "POSTGRES_DB",
        "ODOO_DATABASE_HOST",
        "ODOO_EMAIL",
        "ODOO_PASSWORD",
        "ODOO_PASSWORD_FILE",
        "ODOO_SKIP_BOOTSTRAP",
        "ODOO_RC",
        "ODOO_DATA_DIR",
        "BITNAMI_DEBUG",
        "PATH",
        "HOME",
        "LD_PRELOAD",
        "PYTHONPATH",
        "TRAEFIK_ENABLE",
        "ODOO_HTTP_INTERFACE",
        "ODOO_DBFILTER",
        "ODOO_LIST_DB",
        "ODOO_ADMIN_PASSWD",
        "ODOO_ADDONS_PATH",
        "ODOO_PIDFILE",
        "ODOO_LOGFILE",
        "OPENERP_SERVER",
        "LISTEN_FDS",
        "OPENSSL_CONF",
        "GCONV_PATH",
        "NODE_OPTIONS",
        "NODE_PATH",
        "BASH_ENV",
        "ENV",
        "SSLKEYLOGFILE",
        "GLIBC_TUNABLES",
        "PYTHONSTARTUP",
        "LD_AUDIT",
    ] {
        assert_eq!(rule(EnvName::parse(taken).unwrap_err()), format!("Environment variable '{taken}' is reserved"));
    }
    for free in ["TMPDIR", "NODE_ENV", "MALLOC_ARENA_MAX", "HOSTNAME_OF_SHOP", "_X", "THEME_OF_ODOO", "USERS", "ENVIRONMENT", "D"]
    {
        assert_eq!(EnvName::parse(free).unwrap().as_str(), free);
    }
    for malformed in ["", "path", "1A", "A-B", "A=B", "Ä", "A\0"] {
        form(EnvName::parse(malformed).unwrap_err());
    }
}

#[test]
fn addon_names_are_a_house_rule() {
    for refused in ["", "_a", "-a", "a b", "a/b", "ä", &"a".repeat(101)] {
        rule(AddonName::parse(refused).unwrap_err());
    }
    assert!(AddonName::parse("sale_Management-2").is_ok());
}

#[test]
fn names_of_one_instance_share_sixteen_digits_and_nothing_else() {
    let entropy = Counting::from(7);
    let (one, other) = (InstanceNames::draw(&entropy), InstanceNames::draw(&entropy));
    let hex = one.database.as_str().strip_prefix("odoo_").unwrap();
    assert!(Mark::parse(hex).is_ok());
    assert_eq!((one.role.as_str(), &one.directory), (one.database.as_str(), &format!("odoo_{hex}")));
    assert_eq!(one.service, format!("odoo-{hex}"));
    assert_ne!(one.database, other.database);
    assert_ne!(Mark::generate(&entropy), Mark::generate(&entropy));
}

#[test]
fn physical_names_fit_whatever_the_prefix() {
    let entropy = Counting::from(3);
    for prefix in ["odoo", "", "Ünï\0\"; --", &"x".repeat(500)] {
        let name = PhysicalName::generate(prefix, &entropy);
        assert_eq!(PhysicalName::new(name.as_str()), Ok(name));
    }
    assert!(PhysicalName::new("x".repeat(63)).is_ok());
    assert_eq!(PhysicalName::new("ä".repeat(32)), Err(NotAPhysicalName), "bytes count, not characters");
    assert!(serde_json::from_str::<PhysicalName>("\"\"").is_err(), "a record is checked when it is read");
    assert!(serde_json::from_str::<Mark>("\"ABCDEF0123456789\"").is_err());
}
