//! The text of `odoo.conf`. Pure: a workload in, text out. Why each key is set is said beside it.

use crate::directory::DATA;
use crate::error::{RuntimeError, RuntimeResult};
use crate::workload::Workload;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use domain::sources::Entropy;
use secrecy::ExposeSecret;
use std::fmt::Write;

const MIB: u64 = 1024 * 1024;
/// Below this much virtual memory Odoo's own interpreter and libraries do not fit comfortably.
const VIRTUAL_BASE: u64 = 2048 * MIB;
const MASTER_KEY: &str = "admin_passwd = ";

/// The configuration without the master password's line: equal workloads give equal text.
pub(crate) fn body(workload: &Workload) -> RuntimeResult<String> {
    body_on(workload, DATA)
}

/// The same for an Odoo that works on another part of the directory than `data`.
pub(crate) fn body_on(workload: &Workload, data: &str) -> RuntimeResult<String> {
    let database = &workload.database;
    let name = database.name.as_str();
    let directory = workload
        .directory
        .to_str()
        .ok_or_else(|| RuntimeError::Permanent(format!("{} cannot stand in odoo.conf", workload.directory.display())))?;
    let mut text = String::from("[options]\n");
    let mut set = |key: &str, value: &str| -> RuntimeResult<()> {
        // The format has no quoting: a line break would begin another option, and spaces at the ends would be lost.
        if value.contains(char::is_control) || value.trim() != value {
            return Err(RuntimeError::Permanent(format!("the value of {key} cannot stand in odoo.conf")));
        }
        writeln!(text, "{key} = {value}").map_err(|e| RuntimeError::Permanent(e.to_string()))
    };
    set("db_host", &database.host)?;
    set("db_port", &database.port.to_string())?;
    set("db_user", database.user.as_str())?;
    set("db_password", database.password.expose_secret())?;
    set("db_name", name)?;
    // Every process also holds a connection to the maintenance database for its bus and cron.
    set("db_maxconn", &database.connection_limit.saturating_sub(4).clamp(2, 24).to_string())?;
    set("dbfilter", &only(name))?;
    set("list_db", "False")?;
    set("data_dir", &format!("{directory}/{data}"))?;
    // Odoo up to 19 listens on all interfaces unless told otherwise.
    set("http_interface", "127.0.0.1")?;
    if let Some(port) = workload.port {
        set("http_port", &port.to_string())?;
    }
    set("proxy_mode", if workload.behind_proxy { "True" } else { "False" })?;
    // Threads in one process: least memory, and /websocket on http_port.
    set("workers", "0")?;
    set("max_cron_threads", "1")?;
    let hard = VIRTUAL_BASE + 2 * workload.limits.memory.bytes();
    set("limit_memory_soft", &(hard - hard / 5).to_string())?;
    set("limit_memory_hard", &hard.to_string())?;
    // The defaults of 60 and 120 s end long imports and the installation of modules in the browser.
    set("limit_time_cpu", "600")?;
    set("limit_time_real", "1200")?;
    demo(workload, &mut set)?;
    Ok(text)
}

/// 19 turned the option round and reads any word but a true one as a wish for demonstration data; earlier ones want `all`.
fn demo(workload: &Workload, set: &mut impl FnMut(&str, &str) -> RuntimeResult<()>) -> RuntimeResult<()> {
    match (workload.version.major() >= 19, workload.demo) {
        (true, wanted) => set("with_demo", if wanted { "True" } else { "False" }),
        (false, false) => set("without_demo", "all"),
        (false, true) => Ok(()),
    }
}

/// The filter that lets exactly this database through. `%` is masked because Odoo replaces `%h` and `%d` in a filter.
fn only(database: &str) -> String {
    format!("^{}$", regex::escape(database).replace('%', "[%]"))
}

/// The master password's line of an earlier file, so that a rewrite does not change it.
pub(crate) fn master_line(text: &str) -> Option<&str> {
    text.lines().find(|line| line.starts_with(MASTER_KEY))
}

/// A new master password's line. Nobody is to know that password, so none is drawn: the verifier itself is random, and to find
/// a password for it one would have to invert PBKDF2.
pub(crate) fn new_master_line(entropy: &dyn Entropy) -> String {
    let (mut salt, mut key) = ([0_u8; 16], [0_u8; 64]);
    entropy.fill(&mut salt);
    entropy.fill(&mut key);
    let encode = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes).replace('+', ".");
    format!("{MASTER_KEY}$pbkdf2-sha512$600000${}${}", encode(&salt), encode(&key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Image, Limits, Owner, Service, TenantDatabase, Turn};
    use domain::ids::{InstanceId, OperationId};
    use domain::names::PhysicalName;
    use domain::size::CpuLimit;
    use domain::version::OdooVersion;
    use secrecy::SecretString;

    struct Fixed;
    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0xfb);
        }
    }

    fn workload() -> Workload {
        let id = uuid::Uuid::nil();
        let name = |text: &str| PhysicalName::new(text).unwrap();
        let database = TenantDatabase {
            host: "10.0.0.2".into(),
            port: 5433,
            name: name("odoo_1f2e"),
            user: name("odoo_1f2e"),
            password: SecretString::from("s3cret"),
            connection_limit: 32,
        };
        Workload {
            service: Service { name: "odoo-1f2e".into(), owner: Owner::Instance(InstanceId::from_uuid(id)) },
            turn: Turn { operation: OperationId::from_uuid(id), token: 1 },
            version: OdooVersion::new(19),
            image: Image::new("/opt/odoo-19/bin/odoo"),
            directory: "/srv/odoo_1f2e".into(),
            database,
            port: Some(8100),
            limits: Limits { cpu: CpuLimit::new(1.into()).unwrap(), memory: "1G".parse().unwrap() },
            base_url: "http://shop.example.org".into(),
            behind_proxy: true,
            demo: false,
            environment: Default::default(),
        }
    }

    fn value(workload: &Workload, key: &str) -> Option<String> {
        let text = body(workload).unwrap();
        let found: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(&format!("{key} = "))).collect();
        assert!(found.len() < 2, "{key} stands there twice");
        found.first().map(|&value| value.to_owned())
    }

    #[test]
    fn says_everything_that_must_not_be_left_to_defaults() {
        let workload = workload();
        let expected = [
            ("db_host", "10.0.0.2"),
            ("db_port", "5433"),
            ("db_user", "odoo_1f2e"),
            ("db_password", "s3cret"),
            ("db_name", "odoo_1f2e"),
            ("db_maxconn", "24"),
            ("dbfilter", "^odoo_1f2e$"),
            ("list_db", "False"),
            ("data_dir", "/srv/odoo_1f2e/data"),
            ("http_interface", "127.0.0.1"),
            ("http_port", "8100"),
            ("proxy_mode", "True"),
            ("workers", "0"),
            ("max_cron_threads", "1"),
            ("limit_memory_hard", "4294967296"),
            ("with_demo", "False"),
        ];
        for (key, wanted) in expected {
            assert_eq!(value(&workload, key).as_deref(), Some(wanted), "{key}");
        }
    }

    #[test]
    fn demonstration_data_follow_the_order_in_each_versions_words() {
        let with = |version, demo| Workload { version: OdooVersion::new(version), demo, ..workload() };
        assert_eq!(value(&with(19, true), "with_demo").as_deref(), Some("True"));
        assert_eq!(value(&with(17, false), "without_demo").as_deref(), Some("all"));
        assert_eq!(value(&with(17, true), "without_demo"), None);
        assert_eq!(value(&with(17, true), "with_demo"), None);
    }

    #[test]
    fn a_filter_lets_one_database_through_whatever_its_name() {
        assert_eq!(only("a.b"), r"^a\.b$");
        assert_eq!(only("100%d"), "^100[%]d$", "Odoo would replace %d by the host's name");
    }

    #[test]
    fn a_value_cannot_begin_another_option() {
        let mut workload = workload();
        for password in ["a\nlist_db = True", " a", "a ", "a\r"] {
            workload.database.password = SecretString::from(password);
            let error = body(&workload).unwrap_err();
            assert!(!error.to_string().contains(password), "{error}");
        }
    }

    #[test]
    fn the_master_password_is_a_verifier_that_odoo_can_read_and_is_kept() {
        let line = new_master_line(&Fixed);
        let (_, hash) = line.split_once(" = ").unwrap();
        let parts: Vec<_> = hash.split('$').collect();
        assert_eq!((parts[1], parts[2], parts[3].len(), parts[4].len()), ("pbkdf2-sha512", "600000", 22, 86));
        assert!(!line.contains('+') && !line.contains("=="), "{line}");
        assert_eq!(master_line(&format!("[options]\n{line}\n")), Some(line.as_str()));
        assert_eq!(master_line("[options]\ndb_password = admin_passwd = x\n"), None);
    }
}
