//! What must be there before anything starts: packages, Odoo, its user, our binaries.

use super::Options;
use crate::packages::{self, POSTGRESQL, Package, VENV};
use crate::progress::Progress;
use crate::{checkout, command, odoo};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::installation::Account;

/// The system user that Odoo runs as when we are root.
pub(crate) const ODOO_USER: &str = "odoo";

/// Installs the Debian packages that are missing: what a deployment needs, and `more`.
pub(crate) fn ensure_packages(options: &Options, more: &[Package], log: &Path, progress: &Progress) -> Result<()> {
    let mut wanted = more.to_vec();
    if options.postgres_bin.is_none() {
        wanted.push(POSTGRESQL);
    }
    if options.odoo.is_none() {
        wanted.push(VENV);
    }
    let mut task = progress.task("packages");
    packages::ensure(&wanted, log, &mut task)?;
    ensure_user(log)?;
    task.done("what is needed of Debian is there");
    Ok(())
}

/// Odoo must not run as root.
fn ensure_user(log: &Path) -> Result<()> {
    if !rustix::process::geteuid().is_root() || Account::named(ODOO_USER)?.is_some() {
        return Ok(());
    }
    let mut useradd = Command::new("useradd");
    useradd.args(["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]);
    command::logged(useradd.arg(ODOO_USER), log, "make a user odoo by hand")
}

/// Installs Odoo, unless one is named; answers the pattern of its launcher.
pub(crate) fn ensure_odoo(options: &Options, log: &Path, progress: &Progress) -> Result<String> {
    let mut task = progress.task("Odoo");
    if let Some(pattern) = &options.odoo {
        let launcher = launcher(pattern);
        let said = command::output(Command::new(&launcher).arg("--version"));
        let said = said.with_context(|| format!("--odoo names no Odoo {}", odoo::VERSION))?;
        if !said.contains(&format!("Odoo Server {}", odoo::VERSION)) {
            bail!("{} is not Odoo {} but: {}", launcher.display(), odoo::VERSION, said.trim());
        }
        task.done(&launcher.display().to_string());
        return Ok(pattern.clone());
    }
    let all = checkout::dev()?.join("odoo");
    let odoo = odoo::Odoo::at(&all.join(odoo::VERSION));
    odoo.ensure(log, &mut task)?;
    task.done(&odoo.launcher().display().to_string());
    Ok(odoo::Odoo::at(&all.join(odoo::VERSION_WORD)).launcher().display().to_string())
}

/// The launcher of our version.
pub(crate) fn launcher(pattern: &str) -> PathBuf {
    PathBuf::from(pattern.replace(odoo::VERSION_WORD, odoo::VERSION))
}

/// Runs cargo with its words in `log`; shows the last one where there is a terminal.
pub(crate) fn build(arguments: &[&str], log: &Path, progress: &Progress) -> Result<()> {
    let mut task = progress.task("build");
    task.say(&format!("cargo {}", arguments.join(" ")));
    let mut cargo = Command::new("cargo")
        .args(arguments)
        .current_dir(checkout::root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let mut out = File::create(log)?;
    let mut last = Vec::new();
    for line in cargo.stderr.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        let line = line?;
        writeln!(out, "{line}")?;
        task.hint(line.trim());
        last.push(line);
    }
    if !cargo.wait()?.success() {
        let complaint = command::complaint(&last.join("\n")).to_owned();
        bail!("the build failed ({complaint}): mend what it names, or check the network (all of it is in {})", log.display());
    }
    task.done("all binaries are built");
    Ok(())
}

/// Does two things at once; both are carried to their end.
pub(crate) fn at_once<A: Send, B>(a: impl FnOnce() -> Result<A> + Send, b: impl FnOnce() -> Result<B>) -> Result<(A, B)> {
    std::thread::scope(|scope| {
        let a = scope.spawn(a);
        let b = b();
        let a = a.join().unwrap_or_else(|_panic| bail!("a part of the preparation panicked"));
        Ok((a?, b?))
    })
}
