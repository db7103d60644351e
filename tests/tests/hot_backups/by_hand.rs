//! What a backup and a filestore hold, without our code.

use crate::writer::sha1;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use stories::{Place, Stack};
use testkit::server::SUPERUSER;

const SCRATCH: &str = "by_hand";
const NAMES: &str = "SELECT DISTINCT store_fname FROM ir_attachment WHERE store_fname <> ''";

/// The SHA-1 of each file that the rows of a backup's dump name.
pub(crate) fn attachments(stack: &Stack, backup: &str) -> Result<BTreeSet<String>> {
    let server = &stack.pair.postgres2;
    server.psql("postgres", &format!("CREATE DATABASE {SCRATCH} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C'"))?;
    let attempts = stack.log_directory().join("backups/active").join(backup);
    let attempt = only_entry(&attempts)?;
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c"])
        .arg("cat database.dump.zst/* | zstd -dc | \"$BIN/pg_restore\" --no-owner --no-acl --exit-on-error -d \"$INTO\"")
        .current_dir(&attempt)
        .env("BIN", server.server().installation().bin())
        .env("INTO", SCRATCH)
        .env("PGHOST", server.server().directory())
        .env("PGPORT", server.port().to_string())
        .env("PGUSER", SUPERUSER)
        .output()
        .context("cannot run bash")?;
    ensure!(output.status.success(), "{backup}: {}", String::from_utf8_lossy(&output.stderr));
    let named = names(stack, SCRATCH)?;
    server.psql("postgres", &format!("DROP DATABASE {SCRATCH}"))?;
    Ok(named)
}

fn names(stack: &Stack, database: &str) -> Result<BTreeSet<String>> {
    let rows = stack.pair.postgres2.psql(database, NAMES)?;
    rows.lines().map(|name| Ok(name.split_once('/').with_context(|| format!("a file {name}"))?.1.to_owned())).collect()
}

/// The pool of the instance has each of these with its content; what is longer than 4 MiB in pieces.
pub(crate) fn pool_holds(stack: &Stack, instance: &str, named: &BTreeSet<String>) -> Result<()> {
    let pool = stack.log_directory().join("backups/pool").join(instance);
    for sum in named {
        let file = pool.join(&sum[..2]).join(sum);
        let content = match fs::read(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => pieces(&file)?,
            content => content.with_context(|| file.display().to_string())?,
        };
        ensure!(sha1(&content) == *sum, "{} is not what its name says", file.display());
    }
    Ok(())
}

fn pieces(file: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    for number in 0.. {
        match fs::read(format!("{}.{number}", file.display())) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && number > 0 => break,
            piece => content.extend(piece.with_context(|| format!("{} is missing", file.display()))?),
        }
    }
    Ok(content)
}

/// The live database names these, and its filestore has each with its content. What it has written since it started is there too.
pub(crate) fn filestore_holds(stack: &Stack, place: &Place, named: &BTreeSet<String>) -> Result<()> {
    let live = names(stack, &place.database)?;
    ensure!(live.is_superset(named), "rows are missing after the restore");
    let filestore = place.directory.join("data/filestore").join(&place.database);
    for sum in &live {
        let file = filestore.join(&sum[..2]).join(sum);
        let content = fs::read(&file).with_context(|| file.display().to_string())?;
        ensure!(sha1(&content) == *sum, "{} is not what its name says", file.display());
    }
    Ok(())
}

fn only_entry(directory: &Path) -> Result<PathBuf> {
    let entries: Vec<_> = fs::read_dir(directory)?.collect::<std::io::Result<_>>()?;
    ensure!(entries.len() == 1, "{} holds {entries:?}", directory.display());
    Ok(entries[0].path())
}
