//! The test runner, cargo-nextest: the machine's own, or one that is installed for this checkout alone.

use crate::progress::Progress;
use crate::{checkout, command};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

const VERSION: &str = "0.9.143";

/// A command that runs `nextest`; installs it first if it is missing.
pub(crate) fn ensure(log: &Path, progress: &Progress) -> Result<Command> {
    let mut own = Command::new("cargo");
    own.arg("nextest");
    if command::output(Command::new("cargo").args(["nextest", "--version"])).is_ok() {
        return Ok(own);
    }
    let tools = checkout::dev()?.join("tools");
    let program = tools.join("bin/cargo-nextest");
    let mut task = progress.task("test runner");
    let installed = command::output(Command::new(&program).args(["nextest", "--version"]));
    if !installed.is_ok_and(|said| said.contains(VERSION)) {
        task.say(&format!("installing cargo-nextest {VERSION}"));
        let mut install = Command::new("cargo");
        install.args(["install", "--locked", "--force", "--root"]).arg(&tools).arg(format!("cargo-nextest@{VERSION}"));
        command::logged(&mut install, log, "check the network, or install cargo-nextest yourself")?;
    }
    task.done(&program.display().to_string());
    let mut installed = Command::new(program);
    installed.arg("nextest");
    Ok(installed)
}
