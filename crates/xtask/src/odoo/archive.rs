//! Debian packages of other suites than the machine's, fetched by apt itself into a directory of our own.
//!
//! apt checks the whole chain: the signature of the release file by Debian's keyring, the index by the release file, the
//! package by the index. It also knows the machine's mirror, proxy and certificates. Nothing of the system's own package
//! state is touched, and no root is needed.

use super::REMEDY;
use crate::command;
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A private apt that knows some suites of one Debian archive.
#[derive(Debug)]
pub(super) struct Archive {
    directory: PathBuf,
    log: PathBuf,
}

impl Archive {
    /// Finds an archive that carries all `suites` among those that the machine's apt uses, and reads its indexes.
    pub(super) fn open(directory: &Path, suites: &[&str], log: &Path) -> Result<Self> {
        if !Path::new(KEYRING).exists() {
            bail!("Debian's keyring is missing: apt-get install debian-archive-keyring, or name an Odoo with --odoo");
        }
        for part in ["state/lists/partial", "cache/archives/partial"] {
            std::fs::create_dir_all(directory.join(part)).with_context(|| format!("cannot write {}", directory.display()))?;
        }
        let archive = Self { directory: directory.to_owned(), log: log.to_owned() };
        for mirror in mirrors()? {
            let sources: String =
                suites.iter().map(|suite| format!("deb [target=Packages signed-by={KEYRING}] {mirror} {suite} main\n")).collect();
            std::fs::write(directory.join("sources.list"), sources)?;
            if command::logged(archive.apt().arg("update"), log, REMEDY).is_ok() {
                return Ok(archive);
            }
        }
        bail!(
            "no archive in apt's configuration serves {} (is there a network? see {}); or name an Odoo with --odoo",
            suites.join(" and "),
            log.display()
        )
    }

    /// Fetches packages, written `name/suite`, and unpacks them into `root`.
    pub(super) fn unpack(&self, packages: &[String], root: &Path) -> Result<()> {
        let fetched = self.directory.join("packages");
        std::fs::create_dir_all(&fetched)?;
        command::logged(self.apt().arg("download").args(packages).current_dir(&fetched), &self.log, REMEDY)?;
        for entry in std::fs::read_dir(&fetched)? {
            let package = entry?.path();
            command::logged(
                Command::new("dpkg-deb").arg("-x").arg(&package).arg(root),
                &self.log,
                "make room on the disk, or remove .dev/odoo and start again",
            )?;
        }
        Ok(())
    }

    fn apt(&self) -> Command {
        let at = |part: &str| self.directory.join(part).display().to_string();
        let mut command = Command::new("apt-get");
        command.arg("-q");
        for option in [
            format!("Dir::State={}", at("state")),
            format!("Dir::Cache={}", at("cache")),
            format!("Dir::Log={}", at("state")),
            format!("Dir::Etc::SourceList={}", at("sources.list")),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Dir::Etc::Preferences=/dev/null".to_owned(),
            "Dir::Etc::PreferencesParts=/dev/null".to_owned(),
            "Acquire::Languages=none".to_owned(),
            // A suite that cannot be had, or whose signature is wrong, is an error and no warning.
            "APT::Update::Error-Mode=any".to_owned(),
            format!("APT::Sandbox::User={}", if rustix::process::geteuid().is_root() { "root" } else { "" }),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }
}

/// The archives of section `main` that the machine's apt is configured with.
fn mirrors() -> Result<Vec<String>> {
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--format", "$(COMPONENT) $(REPO_URI)", "Created-By: Packages"]);
    let lines = command::output(&mut apt).context("apt is missing: name an Odoo with --odoo")?;
    let mut known = BTreeSet::new();
    let mains = lines.lines().filter_map(|line| line.strip_prefix("main "));
    Ok(mains.filter(|uri| known.insert(*uri)).map(str::to_owned).collect())
}
