//! The one place that reads the process environment, and the optional settings file beneath it.

use crate::settings::variables::CONFIG_FILE;
use config::{Config, FileFormat, Source};
use std::collections::BTreeMap;

/// Names and values that settings are loaded from; tests build their own.
pub type Environment = BTreeMap<String, String>;

/// The environment of this process. A value that is not UTF-8 is kept in a replaced form, so that it is refused where it is read.
pub fn snapshot() -> Environment {
    std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())).collect()
}

/// The host name of this machine or container, for worker names and heartbeats.
pub fn host_name() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = kernel.trim();
    if name.is_empty() { "unknown-host".to_owned() } else { name.to_owned() }
}

/// Lays the environment over the TOML file that `CONFIG_FILE` names, if it names one. The file holds the same names.
///
/// # Errors
/// A sentence about the file: unreadable, not TOML, or holding something else than plain values.
pub fn with_file(environment: &Environment) -> Result<Environment, String> {
    let Some(path) = environment.get(CONFIG_FILE.name).filter(|path| !path.is_empty()) else {
        return Ok(environment.clone());
    };
    let text = std::fs::read_to_string(path).map_err(|e| format!("CONFIG_FILE {path} cannot be read: {e}"))?;
    // The parser's message would quote the offending line, which may hold a secret; only the fact is told.
    let file = Config::builder()
        .add_source(config::File::from_str(&text, FileFormat::Toml))
        .build()
        .and_then(|parsed| parsed.collect())
        .map_err(|_| format!("CONFIG_FILE {path} is not valid TOML"))?;
    let mut merged = Environment::new();
    for (name, value) in file {
        let text = value.into_string().map_err(|_| format!("CONFIG_FILE {path}: {name} must be a plain value"))?;
        merged.insert(name, text);
    }
    merged.extend(environment.iter().map(|(name, value)| (name.clone(), value.clone())));
    Ok(merged)
}
