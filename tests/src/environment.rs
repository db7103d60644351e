//! The environments that processes of a stack are started with: theirs alone, nothing of the test's own.

use crate::{Fake, Runtime};
use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use std::path::Path;
use testkit::services::Services;
use testkit::{Pair, random};

pub(crate) fn variable(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

pub(crate) fn common(
    pair: &Pair,
    services: &Services,
    directory: &Path,
    more: &[(String, String)],
) -> Result<Vec<(String, String)>> {
    let platform = pair.platform();
    let backups = directory.join("backups");
    std::fs::create_dir_all(&backups)?;
    let mut all = vec![
        variable("PLATFORM_POSTGRES_HOST", &platform.host),
        variable("PLATFORM_POSTGRES_PORT", platform.port.to_string()),
        variable("PLATFORM_POSTGRES_DB", &platform.database),
        variable("PLATFORM_POSTGRES_USER", &platform.user),
        variable("PLATFORM_POSTGRES_PASSWORD", platform.password.expose_secret()),
        variable("USER_SERVICE_URL", services.url()),
        variable("NOTIFICATION_SERVICE_URL", services.url()),
        variable("DEFAULT_ODOO_VERSION", "19"),
        variable("LOG_LEVEL", "info"),
        variable("DELETE_BRAKE_PER_HOUR", "0"),
        variable("CEPHFS_BACKUPS_PATH", backups.display().to_string()),
    ];
    all.extend(more.iter().cloned());
    Ok(all)
}

pub(crate) fn of_worker(pair: &Pair, directory: &Path, runtime: &Runtime) -> Result<Vec<(String, String)>> {
    let admin = pair.odoo_admin();
    let mut all = vec![
        variable("ODOO_POSTGRES_HOST", &admin.host),
        variable("ODOO_POSTGRES_PORT", admin.port.to_string()),
        variable("ODOO_POSTGRES_ADMIN_USER", &admin.user),
        variable("ODOO_POSTGRES_ADMIN_PASSWORD", admin.password.expose_secret()),
        variable("INSTANCE_SECRETS_KEY", STANDARD.encode(random::key()?)),
        variable("STORAGE_QUOTA", "none"),
        variable("CEPHFS_INSTANCES_PATH", directory.join("instances").display().to_string()),
        variable("FAULTS_FILE", directory.join("faults").display().to_string()),
    ];
    match runtime {
        Runtime::Fake => {
            all.push(variable("RUNTIME", "fake"));
            all.push(variable("FAKE_RUNTIME_SOCKET", Fake::socket(directory).display().to_string()));
        }
        Runtime::Process { launcher, user } => {
            let versions = directory.join("odoo-19/bin");
            std::fs::create_dir_all(&versions)?;
            std::os::unix::fs::symlink(launcher, versions.join("odoo"))?;
            all.push(variable("RUNTIME", "process"));
            all.push(variable("PROCESS_ODOO_COMMAND", directory.join("odoo-{version}/bin/odoo").display().to_string()));
            all.push(variable("PROCESS_ODOO_USER", user));
            all.push(variable("PROCESS_ALLOW_OWN_ACCOUNT", "true"));
        }
    }
    Ok(all)
}

/// For commands of the worker that read its settings and open no connection.
pub(crate) fn without_servers(directory: &Path) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for (server, port) in [("PLATFORM_POSTGRES", "1"), ("ODOO_POSTGRES", "2")] {
        all.push(variable(&format!("{server}_HOST"), "127.0.0.1"));
        all.push(variable(&format!("{server}_PORT"), port));
    }
    all.push(variable("PLATFORM_POSTGRES_PASSWORD", "none"));
    all.push(variable("ODOO_POSTGRES_ADMIN_USER", "nobody"));
    all.push(variable("ODOO_POSTGRES_ADMIN_PASSWORD", "none"));
    all.push(variable("USER_SERVICE_URL", "http://127.0.0.1:9"));
    all.push(variable("NOTIFICATION_SERVICE_URL", "http://127.0.0.1:9"));
    all.push(variable("INSTANCE_SECRETS_KEY", STANDARD.encode(random::key()?)));
    all.push(variable("STORAGE_QUOTA", "none"));
    all.push(variable("CEPHFS_INSTANCES_PATH", directory.display().to_string()));
    all.push(variable("RUNTIME", "fake"));
    all.push(variable("FAKE_RUNTIME_SOCKET", directory.join("none.sock").display().to_string()));
    Ok(all)
}
