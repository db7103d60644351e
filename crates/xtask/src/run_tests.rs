//! `cargo dev test`, `soak` and `bench`: brings what the tests need, runs them, and answers with their outcome.
//!
//! Each test starts its own servers and stops them; nothing is left running.

use crate::progress::Progress;
use crate::stack::{self, Options};
use crate::{checkout, leftovers, packages, runner, schemathesis};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every step uses the same features: another set would build most of the tree again.
const WORKSPACE: [&str; 2] = ["--workspace", "--all-features"];
/// Cases of each property test in a full run; otherwise each says itself how many.
const CASES: &str = "5000";

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// What every change passes.
    Bounded,
    /// Everything in full.
    Full,
}

/// Runs the tests whose names contain one of `filters`, or all.
pub(crate) fn test(options: &Options, filters: &[String], length: Length) -> Result<()> {
    let logs = logs()?;
    let progress = Progress::new();
    let mut run = runner::ensure(&logs.join("test-runner.log"), &progress)?;
    let build = ["build", WORKSPACE[0], WORKSPACE[1], "--bins", "--tests"];
    let build_log = logs.join("test-build.log");
    let ((), launcher) = stack::at_once(|| stack::build(&build, &build_log, &progress), || odoo(options, &progress))?;
    let described = schemathesis::ensure(&logs.join("schemathesis-install.log"), &progress)?;
    // Examples in the documentation, among them those that must not compile. The runner below cannot run them.
    let mut documented = Command::new("cargo");
    documented.args(["test", "--quiet", "--doc"]).args(WORKSPACE);
    let examples = !filters.is_empty() || succeeded(given(&mut documented, options, &launcher))?;
    // Ignored are tests that need what only this command brings.
    run.arg("run").env("INSTANCE_TEST_SCHEMATHESIS", described);
    given(&mut run, options, &launcher).args(WORKSPACE).args(["--run-ignored", "all"]).args(filters);
    if length == Length::Full {
        run.args(["--profile", "soak"]).env("INSTANCE_SOAK", "1").env("PROPTEST_CASES", CASES);
    }
    let tests = leftovers::attend(&mut run)?;
    leftovers::none()?;
    match (tests, examples) {
        (true, true) => Ok(()),
        (false, _) => bail!("tests failed"),
        (true, false) => bail!("examples in the documentation failed"),
    }
}

/// Installs what the tests need beside the programs.
pub(crate) fn install(options: &Options) -> Result<()> {
    let progress = Progress::new();
    odoo(options, &progress)?;
    schemathesis::ensure(&logs()?.join("schemathesis-install.log"), &progress).map(drop)
}

/// Runs a benchmark, optimised.
pub(crate) fn bench(options: &Options, which: &str, full: bool) -> Result<()> {
    let log = logs()?.join("bench-build.log");
    let progress = Progress::new();
    let build = ["build", "--release", WORKSPACE[0], WORKSPACE[1], "--bins"];
    let ((), launcher) = stack::at_once(|| stack::build(&build, &log, &progress), || odoo(options, &progress))?;
    // Not `cargo run`: of one package alone it would build with other features, and so nearly everything again.
    let mut run = Command::new(checkout::optimised("bench"));
    run.arg(which).args(full.then_some("full"));
    if succeeded(given(&mut run, options, &launcher))? { Ok(()) } else { bail!("the benchmark missed its goals or failed") }
}

fn logs() -> Result<PathBuf> {
    let logs = checkout::dev()?.join("logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    Ok(logs)
}

fn odoo(options: &Options, progress: &Progress) -> Result<PathBuf> {
    let logs = logs()?;
    stack::ensure_packages(options, &[packages::REDIS, packages::VENV, packages::ZSTD], &logs.join("packages.log"), progress)?;
    Ok(stack::launcher(&stack::ensure_odoo(options, &logs.join("odoo-install.log"), progress)?))
}

/// With the Odoo and the PostgreSQL that the tests are to use.
fn given<'a>(command: &'a mut Command, options: &Options, launcher: &Path) -> &'a mut Command {
    command.current_dir(checkout::root()).env("INSTANCE_TEST_ODOO", launcher);
    match &options.postgres_bin {
        Some(bin) => command.env(testkit::installation::BIN_VARIABLE, bin),
        None => command,
    }
}

fn succeeded(command: &mut Command) -> Result<bool> {
    Ok(command.status().context("cannot run cargo")?.success())
}
