//! Files that are made from the code and committed: regenerated here, compared in CI.

use crate::progress::Progress;
use crate::{checkout, command, packages};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{Cluster, Options};

const QUERIES: &str = "crates/db/.sqlx";
const OPENAPI: &str = "docs/openapi.json";
const DIAGRAM: &str = "docs/state-machine.md";

/// The description of the HTTP interface.
pub(crate) fn openapi() -> Result<()> {
    // As the tests build it, tests included: they ask more of some crates, and without them most of the tree would be built twice.
    command::output(cargo().args(["build", "--quiet", "--workspace", "--all-features", "--bins", "--tests"]))?;
    let text = command::output(Command::new(checkout::binary("instance-api")).arg("openapi"))?;
    write(OPENAPI, &text)
}

/// The state machine as a picture, and what may be asked when.
pub(crate) fn diagram() -> Result<()> {
    let text = format!(
        "# State machine of an instance\n\nMade by `cargo dev diagram` from `domain::instance::TRANSITIONS`; edit the table instead.\n\n\
         ```mermaid\n{}\n```\n\n\
         ## What may be asked of it\n\nFrom `domain::instance::ACTIONS`. A accepted, Q accepted and waits its turn, N no work needed or joins \
         what is under way, $ accepted if nothing is owed (else 402), – refused (400), A¹ asks what is under way to give up and is next. \
         While several operations wait, the status counts in which they will leave the instance.\n\n{}",
        domain::instance::diagram().trim_end(),
        domain::instance::actions_table()
    );
    write(DIAGRAM, &text)
}

/// What sqlx's macros know of our queries, from a throw-away server with the schema of the migrations.
pub(crate) fn prepare() -> Result<()> {
    std::fs::create_dir_all(checkout::dev()?.join("logs"))?;
    let log = checkout::dev()?.join("logs/packages.log");
    packages::ensure(&[packages::POSTGRESQL], &log, &mut Progress::new().task("packages"))?;
    let cluster = Cluster::start(&Options::default())?;
    testkit::pair::bootstrap_platform(cluster.server())?;
    let database = testkit::pair::PLATFORM_DATABASE;
    // The migrator makes this schema for its history, before the first migration.
    cluster.psql(database, "CREATE SCHEMA IF NOT EXISTS instance_service")?;
    // Plain SQL, not `instance-admin migrate`: that program only compiles when the queries are known already.
    for file in sql_files(&checkout::root().join("migrations"))?.into_iter().chain(sql_files(&queue_migrations()?)?) {
        let text = std::fs::read_to_string(&file)?;
        let role = format!("SET instance_service.runtime_role = '{}';\n", testkit::pair::SERVICE);
        cluster.psql(database, &(role + &text)).with_context(|| format!("{} failed", file.display()))?;
    }
    // First without a database: the queue library's own macros would ask ours, which they do not know. A query of ours that is
    // new fails here, and is made known below.
    if let Err(error) = command::output(check().arg("--keep-going").env("SQLX_OFFLINE", "true")) {
        println!("as far as it goes without the new queries: {}", error.to_string().lines().next().unwrap_or_default());
    }
    let fresh = checkout::dev()?.join("sqlx");
    testkit::seed::remove(&fresh)?;
    std::fs::create_dir_all(&fresh)?;
    // The macros only speak when the crate is compiled.
    let source = std::fs::File::open(checkout::root().join("crates/db/src/lib.rs"))?;
    source.set_modified(std::time::SystemTime::now())?;
    let url =
        format!("postgres://postgres@localhost:{}/instance?host={}", cluster.port(), cluster.server().directory().display());
    command::output(check().env("SQLX_OFFLINE", "false").env("PLATFORM_DATABASE_URL", url).env("SQLX_OFFLINE_DIR", &fresh))?;
    replace(&fresh, &checkout::root().join(QUERIES))?;
    println!("{QUERIES}: {} queries", std::fs::read_dir(checkout::root().join(QUERIES))?.count());
    Ok(())
}

/// Makes all of them and fails if one of them was out of date. It is up to date then, and only has to be committed.
pub(crate) fn fresh() -> Result<()> {
    let before = contents()?;
    prepare()?;
    openapi()?;
    diagram()?;
    let after = contents()?;
    let stale: Vec<String> = before
        .keys()
        .chain(after.keys())
        .filter(|file| before.get(*file) != after.get(*file))
        .map(|file| file.display().to_string())
        .collect();
    if !stale.is_empty() {
        bail!("out of date, now made anew, to be committed: {}", stale.join(", "));
    }
    println!("generated files are up to date");
    Ok(())
}

fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(checkout::root());
    cargo
}

fn check() -> Command {
    let mut check = cargo();
    check.args(["check", "--quiet", "--workspace", "--all-features", "--lib"]);
    check
}

fn write(name: &str, text: &str) -> Result<()> {
    let file = checkout::root().join(name);
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(&file, text).with_context(|| format!("cannot write {name}"))?;
    println!("{name}: {} lines", text.lines().count());
    Ok(())
}

fn contents() -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let root = checkout::root();
    let mut files = vec![root.join(OPENAPI), root.join(DIAGRAM)];
    for entry in std::fs::read_dir(root.join(QUERIES)).into_iter().flatten() {
        files.push(entry?.path());
    }
    let mut contents = BTreeMap::new();
    for file in files.into_iter().filter(|file| file.exists()) {
        contents.insert(file.strip_prefix(root)?.to_owned(), std::fs::read(&file)?);
    }
    Ok(contents)
}

fn sql_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        files.push(entry?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    Ok(files)
}

/// The queue's own migrations are part of its source.
fn queue_migrations() -> Result<PathBuf> {
    let metadata: Value =
        serde_json::from_str(&command::output(cargo().args(["metadata", "--format-version", "1", "--locked"]))?)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let queue =
        packages.iter().find(|package| package["name"] == "apalis-postgres").context("apalis-postgres is no dependency")?;
    let manifest = queue["manifest_path"].as_str().context("a package has a manifest")?;
    Ok(Path::new(manifest).with_file_name("migrations"))
}

/// Puts one directory's files in the place of another's.
fn replace(new: &Path, old: &Path) -> Result<()> {
    testkit::seed::remove(old)?;
    std::fs::create_dir_all(old)?;
    for entry in std::fs::read_dir(new)? {
        let entry = entry?;
        std::fs::copy(entry.path(), old.join(entry.file_name()))?;
    }
    testkit::seed::remove(new)
}
