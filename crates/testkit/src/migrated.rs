//! A postgres1 with our schema, made by the very code that `instance-admin migrate` runs.

use crate::pair::{OWNER, PLATFORM_DATABASE, SERVICE, bootstrap_platform, set_passwords};
use crate::random;
use crate::server::Server;
use anyhow::{Context, Result, anyhow};
use domain::endpoint::{Endpoint, SslMode};
use secrecy::SecretString;
use std::path::Path;

/// What the schema depends on: our migrations, and, by its version in the lock file, the queue's.
pub(crate) fn ingredients() -> Result<String> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(checkout.join("migrations")).context("cannot list the migrations")? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    files.push(checkout.join("Cargo.lock"));
    let mut all = String::new();
    for file in files {
        all.push_str(&std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(all)
}

/// Bootstraps and migrates a running, empty server.
///
/// # Errors
/// With what the server or the migration says.
pub(crate) fn fill(server: &Server) -> Result<()> {
    bootstrap_platform(server)?;
    migrate(server)
}

/// Brings the schema of a bootstrapped server up to date.
///
/// # Errors
/// With what the server or the migration says.
fn migrate(server: &Server) -> Result<()> {
    let password = SecretString::from(random::password()?);
    set_passwords(server, &[(OWNER, &password)])?;
    let owner = Endpoint {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        database: PLATFORM_DATABASE.to_owned(),
        user: OWNER.to_owned(),
        password,
        ssl_mode: SslMode::Disable,
    };
    // A thread of its own: the caller may be inside a runtime, where one must not block.
    let migration = std::thread::spawn(move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(db::migrate::run(&owner, SERVICE))?)
    });
    migration.join().map_err(|_panic| anyhow!("the migration panicked"))?
}
