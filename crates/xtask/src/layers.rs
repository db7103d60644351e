//! `cargo dev layers`: who may depend on whom, read from `cargo metadata` and `cargo tree`, and how long a file may be.
//!
//! A manifest that permits a wrong arrow will get one; so the manifests are what is checked.

use crate::{checkout, command};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Our crates, and which of ours each may use.
const OURS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("db", &["domain"]),
    ("runtime", &["domain"]),
    ("backup", &["domain"]),
    ("clients", &["domain"]),
    ("bootstrap", &["domain"]),
    ("api", &["domain", "db", "clients", "bootstrap"]),
    ("worker", &["domain", "db", "runtime", "backup", "clients", "bootstrap"]),
    ("admin", &["domain", "db", "runtime", "backup", "clients", "bootstrap", "worker"]),
    ("testkit", &["domain", "db", "runtime", "backup", "clients", "bootstrap", "api", "worker", "admin"]),
    ("xtask", &["domain", "testkit"]),
    ("stories", &["domain", "db", "runtime", "backup", "clients", "bootstrap", "api", "worker", "admin", "testkit"]),
];

/// What only some of our crates may use. A name that ends in `*` means every crate that begins so.
const RESERVED: &[(&str, &[&str])] = &[
    // The benchmarks have a bare server to compare with.
    ("sqlx*", &["db", "testkit", "stories"]),
    ("apalis-postgres", &["db"]),
    ("apalis*", &["db", "worker"]),
    ("axum*", &["api", "worker", "stories"]),
    ("utoipa*", &["api"]),
    ("bollard*", &["runtime"]),
    ("kube*", &["runtime"]),
    ("k8s-openapi", &["runtime"]),
    ("config", &["bootstrap"]),
];

/// What the pure crate must not see.
const IMPURE: &[&str] = &["tokio", "sqlx", "axum", "reqwest", "rand", "rustix", "tracing"];

/// What nothing in the whole tree may be: a second TLS provider panics at the first handshake.
const BANNED: &[&str] = &["ring", "openssl", "openssl-sys", "native-tls"];

/// What may be in the tree in one version only: their types meet in signatures.
const SINGLE: &[&str] = &["sqlx", "tokio", "axum", "rustls", "apalis-core"];

const LONGEST_FILE: usize = 600;

/// Checks everything; prints each fault on a line of its own.
pub(crate) fn run() -> Result<()> {
    let metadata = cargo(&["metadata", "--format-version", "1"])?;
    let mut faults = dependency_faults(&serde_json::from_str(&metadata).context("cargo metadata did not answer JSON")?);
    faults.extend(tree_faults(&cargo(&["tree", "--workspace", "--target", "all", "--prefix", "none"])?));
    let mut files = Vec::new();
    for part in ["crates", "tests"] {
        rust_files(&checkout::root().join(part), &mut files)?;
    }
    for file in &files {
        let lines = std::fs::read_to_string(file)?.lines().count();
        if lines > LONGEST_FILE {
            let shown = file.strip_prefix(checkout::root()).unwrap_or(file);
            faults.push(format!("{} has {lines} lines, the limit is {LONGEST_FILE}: split it", shown.display()));
        }
    }
    for fault in &faults {
        eprintln!("layers: {fault}");
    }
    if !faults.is_empty() {
        bail!("{} fault(s) in the layers", faults.len());
    }
    println!("layers: {} crates and {} files are in order", OURS.len(), files.len());
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<String> {
    command::output(Command::new("cargo").args(arguments).args(["--all-features", "--locked"]).current_dir(checkout::root()))
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Wrong arrows from the members' manifests, optional and platform dependencies included.
fn dependency_faults(metadata: &Value) -> Vec<String> {
    let members: BTreeSet<&str> = list(metadata, "workspace_members").filter_map(Value::as_str).collect();
    let ours: BTreeMap<&str, &[&str]> = OURS.iter().copied().collect();
    let mut faults = Vec::new();
    for package in list(metadata, "packages").filter(|package| members.contains(text(package, "id"))) {
        let name = text(package, "name");
        if !ours.contains_key(name) {
            faults.push(format!("crate {name} is in no layer: add it to the table in crates/xtask/src/layers.rs"));
        }
        for dependency in list(package, "dependencies") {
            let for_tests = text(dependency, "kind") == "dev";
            faults.extend(arrow_fault(&ours, name, text(dependency, "name"), for_tests));
        }
    }
    faults
}

fn arrow_fault(ours: &BTreeMap<&str, &[&str]>, from: &str, to: &str, for_tests: bool) -> Option<String> {
    if let (Some(allowed), true) = (ours.get(from), ours.contains_key(to)) {
        // Everybody's tests may use the test kit; nothing that ships may.
        let legal = allowed.contains(&to) || to == from || (for_tests && to == "testkit");
        return (!legal).then(|| format!("{from} must not depend on {to} (crates/{from}/Cargo.toml)"));
    }
    if from == "domain" && IMPURE.contains(&to) {
        return Some(format!("domain is pure and must not depend on {to} (crates/domain/Cargo.toml)"));
    }
    let (_, allowed) = RESERVED.iter().find(|(pattern, _)| matches(pattern, to))?;
    (!allowed.contains(&from)).then(|| format!("only {} may depend on {to}, not {from}", allowed.join(" and ")))
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(begin) => name == begin || name.strip_prefix(begin).is_some_and(|rest| rest.starts_with('-')),
        None => name == pattern,
    }
}

/// Banned and doubled crates anywhere below us. `tree` has a line "name version ..." for each crate that is really built
/// (`cargo metadata` also lists some that a weak feature only mentions).
fn tree_faults(tree: &str) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in tree.lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            versions.entry(name).or_default().insert(version);
        }
    }
    let banned = BANNED.iter().filter(|name| versions.contains_key(*name));
    let mut faults: Vec<String> = banned.map(|name| format!("{name} is in the tree: see `cargo tree -i {name}`")).collect();
    for name in SINGLE {
        if let Some(found) = versions.get(name).filter(|found| found.len() > 1) {
            let found: Vec<&str> = found.iter().copied().collect();
            faults.push(format!("{name} is in the tree twice ({}): see `cargo tree -i {name}`", found.join(", ")));
        }
    }
    faults
}

fn rust_files(directory: &Path, files: &mut Vec<std::path::PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            rust_files(&entry.path(), files)?;
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            files.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn member(name: &str, dependencies: &[(&str, &str)]) -> Value {
        let dependencies: Vec<_> = dependencies.iter().map(|(name, kind)| json!({ "name": name, "kind": kind })).collect();
        json!({ "id": name, "name": name, "version": "0.1.0", "dependencies": dependencies })
    }

    fn faults_of(name: &str, dependencies: &[(&str, &str)]) -> Vec<String> {
        dependency_faults(&json!({ "workspace_members": [name], "packages": [member(name, dependencies)] }))
    }

    #[test]
    fn wrong_arrows_are_found() {
        assert_eq!(faults_of("api", &[("db", "normal"), ("testkit", "dev"), ("axum", "normal")]), [""; 0]);
        assert_eq!(faults_of("api", &[("runtime", "normal")]), ["api must not depend on runtime (crates/api/Cargo.toml)"]);
        assert_eq!(faults_of("api", &[("testkit", "normal")]).len(), 1);
        assert_eq!(faults_of("worker", &[("api", "dev")]).len(), 1);
        assert_eq!(
            faults_of("worker", &[("sqlx", "normal")]),
            ["only db and testkit and stories may depend on sqlx, not worker"]
        );
        assert_eq!(faults_of("worker", &[("apalis-postgres", "normal")]).len(), 1);
        assert_eq!(faults_of("worker", &[("apalis-core", "normal")]).len(), 0);
        assert_eq!(faults_of("domain", &[("tokio", "normal")]).len(), 1);
        assert_eq!(faults_of("helpers", &[]).len(), 1);
    }

    #[test]
    fn banned_and_doubled_crates_are_found() {
        assert_eq!(tree_faults("sqlx v0.9.0\ntokio v1.54.1\nsqlx v0.9.0 (*)\nring-like v1.0.0\n"), [""; 0]);
        assert_eq!(tree_faults("sqlx v0.9.0\nsqlx v0.8.6\n").len(), 1);
        assert_eq!(tree_faults("ring v0.17.14\n"), ["ring is in the tree: see `cargo tree -i ring`"]);
    }
}
