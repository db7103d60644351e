//! The text of `odoo.conf`. Pure: a workload in, text out. Why each key is set is said beside it.

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
    let database = &workload.database;
    let name = database.name.as_str();
    let directory = workload.directory.to_string_lossy();
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
    set("data_dir", &format!("{directory}/data"))?;
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
