//! Schemathesis from PyPI in a virtual environment of its own: it asks what the description of the API permits, and what it does not.

use crate::checkout;
use crate::command;
use crate::odoo::{Marker, PYTHON};
use crate::progress::Progress;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

const REQUIREMENTS: &str = include_str!("requirements.txt");
const REMEDY: &str = "check the network and pip's settings";

/// The program; installs it if it is not there.
pub(crate) fn ensure(log: &Path, progress: &Progress) -> Result<PathBuf> {
    let directory = checkout::dev()?.join("schemathesis");
    let program = directory.join("venv/bin/schemathesis");
    let mut task = progress.task("schemathesis");
    let python = Path::new(PYTHON).canonicalize().context("python is missing: apt-get install python3-venv")?;
    let complete = Marker::new(&directory, "venv", &(REQUIREMENTS, &python));
    if !complete.is_set() {
        task.say("installing");
        std::fs::create_dir_all(&directory).with_context(|| format!("cannot write {}", directory.display()))?;
        let (venv, requirements) = (directory.join("venv"), directory.join("requirements.txt"));
        std::fs::write(&requirements, REQUIREMENTS)?;
        command::logged(Command::new(&python).args(["-m", "venv", "--clear"]).arg(&venv), log, "apt-get install python3-venv")?;
        let mut pip = Command::new(venv.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"]).arg(&requirements);
        command::logged(&mut pip, log, REMEDY)?;
        complete.set()?;
    }
    task.done("schemathesis is there");
    Ok(program)
}
