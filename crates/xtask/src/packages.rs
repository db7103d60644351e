//! Debian packages that the machine lacks.

use crate::command;
use crate::progress::Task;
use anyhow::{Result, bail};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// A package and how to see that it is there already, installed by whatever means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package {
    name: &'static str,
    present: fn() -> bool,
}

const REMEDY: &str = "check the network and apt's sources, or name what is there: \
                      PostgreSQL with --postgres-bin or INSTANCE_POSTGRES_BIN, Odoo with --odoo or INSTANCE_ODOO";

/// The servers and clients of PostgreSQL, the distribution's own version.
pub(crate) const POSTGRESQL: Package =
    Package { name: "postgresql", present: || testkit::installation::Installation::find(None).is_ok() };

/// Login sessions of the public door, for the tests.
pub(crate) const REDIS: Package = Package { name: "redis-server", present: || Path::new(testkit::redis::PROGRAM).exists() };

/// What the tests look into a backup with that is not our code.
pub(crate) const ZSTD: Package = Package { name: "zstd", present: || Path::new("/usr/bin/zstd").exists() };

/// What makes virtual environments.
pub(crate) const VENV: Package = Package {
    name: "python3-venv",
    present: || {
        let check = Command::new("/usr/bin/python3").args(["-c", "import ensurepip, venv"]).output();
        check.is_ok_and(|output| output.status.success())
    },
};

/// Installs what is missing of `wanted`.
pub(crate) fn ensure(wanted: &[Package], log: &Path, task: &mut Task) -> Result<()> {
    let missing: Vec<&str> = wanted.iter().filter(|package| !(package.present)()).map(|package| package.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !rustix::process::geteuid().is_root() {
        bail!("missing: {names}. Run as root once, or: sudo apt-get install {names}");
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("missing: {names}, and there is no apt-get here: install PostgreSQL and Python with venv by hand");
    }
    task.say(&format!("installing {names}"));
    let install = |packages: &[&str]| {
        let mut apt = apt();
        apt.args(["install", "-y", "--no-install-recommends"]).args(packages);
        command::logged(&mut apt, log, REMEDY)
    };
    command::logged(apt().arg("update"), log, REMEDY)?;
    if missing.contains(&POSTGRESQL.name) {
        install(&["postgresql-common"])?;
    }
    let service = NoServiceOfDebian::begin()?;
    let installed = without_cluster(|| install(&missing));
    service.end()?;
    installed
}

fn without_cluster(install: impl FnOnce() -> Result<()>) -> Result<()> {
    let cluster = NoClusterOfDebian::begin()?;
    let installed = install();
    cluster.end()?;
    installed
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-q", "-o", "DPkg::Lock::Timeout=300"]).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Debian starts a service when it is installed, unless a program of this name says no (policy-rc.d(8), exit status 101); we
/// want its programs only. One that is there already decides.
struct NoServiceOfDebian {
    made: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";
const OURS: &str = "#!/bin/sh\n# Made by `cargo dev` for the time of an installation.\nexit 101\n";

impl NoServiceOfDebian {
    fn begin() -> Result<Self> {
        // One that we left when we were killed is ours.
        if std::fs::read_to_string(POLICY).is_ok_and(|text| text != OURS) {
            return Ok(Self { made: false });
        }
        std::fs::write(POLICY, OURS)?;
        std::fs::set_permissions(POLICY, std::fs::Permissions::from_mode(0o755))?;
        Ok(Self { made: true })
    }

    fn end(self) -> Result<()> {
        if self.made {
            std::fs::remove_file(POLICY)?;
        }
        Ok(())
    }
}

/// Debian's package makes and starts a server of its own when it is installed; we want its programs only. The setting
/// that prevents it is the machine's, so it is put back afterwards.
struct NoClusterOfDebian {
    before: Option<String>,
}

const CREATION: &str = "/etc/postgresql-common/createcluster.conf";

impl NoClusterOfDebian {
    fn begin() -> Result<Self> {
        let Ok(text) = std::fs::read_to_string(CREATION) else { return Ok(Self { before: None }) };
        std::fs::write(CREATION, format!("{text}\ncreate_main_cluster = false\n"))?;
        Ok(Self { before: Some(text) })
    }

    fn end(self) -> Result<()> {
        match self.before {
            Some(text) => Ok(std::fs::write(CREATION, text)?),
            None => Ok(()),
        }
    }
}
