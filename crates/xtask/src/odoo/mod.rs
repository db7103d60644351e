//! Real Odoo without an image: Debian's package of its source, unpacked beside a virtual environment with its dependencies.
//!
//! Owns: one directory, which it can make again from nothing. Nothing is installed system-wide; the directory cannot be
//! moved, since a virtual environment knows its place. Why each step is as it is:
//! - Debian's source links to fonts and scripts of other packages, in the versions that the stable suite has.
//! - The package holds a second copy of all addons without their data; Odoo would read that one.
//! - Odoo re-executes its launcher for some of its processes, so this must be a script and not `python -m odoo`.

mod archive;

use crate::command;
use crate::progress::Task;
use anyhow::{Context, Result, bail};
use archive::Archive;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version that is installed.
pub(crate) const VERSION: &str = "19";

/// Where several versions stand side by side, their launchers differ in this word.
pub(crate) const VERSION_WORD: &str = "{version}";

const REQUIREMENTS: &str = include_str!("requirements.txt");
const ODOO: &str = "odoo-19/sid";
const LINKED: [&str; 8] = [
    "fonts-font-awesome/trixie",
    "fonts-inconsolata/trixie",
    "fonts-montserrat/trixie",
    "fonts-ocr-b/trixie",
    "fonts-roboto-unhinted/trixie",
    "libjs-jquery/trixie",
    "libjs-jquery-form/trixie",
    "libjs-underscore/trixie",
];
// Not another python first on the path: one in somebody's home cannot be executed by the user that Odoo runs as.
pub(crate) const PYTHON: &str = "/usr/bin/python3";
/// What to do where a file cannot be fetched.
const REMEDY: &str = "check the network, or name an Odoo that is there with --odoo or INSTANCE_ODOO";
const SOURCE: &str = "root/usr/lib/python3/dist-packages";

/// An installation in one directory.
#[derive(Debug)]
pub(crate) struct Odoo {
    directory: PathBuf,
}

impl Odoo {
    pub(crate) fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The program to run.
    pub(crate) fn launcher(&self) -> PathBuf {
        self.directory.join("bin/odoo")
    }

    /// Makes what is missing. With everything in place it only looks.
    pub(crate) fn ensure(&self, log: &Path, task: &mut Task) -> Result<()> {
        let python = Path::new(PYTHON).canonicalize().context("python is missing: apt-get install python3-venv")?;
        let complete = Marker::new(&self.directory, "odoo", &(REQUIREMENTS, ODOO, LINKED, &python));
        if complete.is_set() {
            return Ok(());
        }
        std::fs::create_dir_all(self.directory.join("bin"))
            .with_context(|| format!("cannot write {}", self.directory.display()))?;
        std::fs::set_permissions(&self.directory, std::fs::Permissions::from_mode(0o755))?;
        let unpacked = Marker::new(&self.directory, "root", &(ODOO, LINKED));
        if !unpacked.is_set() {
            self.unpack(log, task)?;
            unpacked.set()?;
        }
        let environment = Marker::new(&self.directory, "venv", &(REQUIREMENTS, &python));
        if !environment.is_set() {
            self.make_environment(&python, log, task)?;
            environment.set()?;
        }
        self.compile(log, task)?;
        self.write_launcher()?;
        self.check()?;
        complete.set()
    }

    fn unpack(&self, log: &Path, task: &mut Task) -> Result<()> {
        let staging = self.directory.join("root.new");
        let fetched = self.directory.join("fetched");
        testkit::seed::remove(&staging)?;
        testkit::seed::remove(&fetched)?;
        std::fs::create_dir_all(&staging)?;
        task.say("reading Debian's package lists");
        let archive = Archive::open(&fetched, &["sid", "trixie"], log)?;
        task.say("fetching Odoo 19 and the fonts and scripts it uses");
        let packages: Vec<String> = std::iter::once(ODOO).chain(LINKED).map(str::to_owned).collect();
        archive.unpack(&packages, &staging)?;
        testkit::seed::remove(&staging.join("usr/lib/python3/dist-packages/addons"))?;
        let mut dangling = Vec::new();
        dangling_links(&staging.join("usr/lib/python3/dist-packages/odoo"), &mut dangling)?;
        if let Some(link) = dangling.first() {
            bail!(
                "{} links of Odoo lead nowhere, for example {}: has a font package moved its files?",
                dangling.len(),
                link.display()
            );
        }
        testkit::seed::remove(&fetched)?;
        let root = self.directory.join("root");
        testkit::seed::remove(&root)?;
        std::fs::rename(&staging, root).context("cannot put Odoo in place")
    }

    fn make_environment(&self, python: &Path, log: &Path, task: &mut Task) -> Result<()> {
        task.say("installing Odoo's Python dependencies");
        let venv = self.directory.join("venv");
        let requirements = self.directory.join("requirements.txt");
        std::fs::write(&requirements, REQUIREMENTS)?;
        command::logged(Command::new(python).args(["-m", "venv", "--clear"]).arg(&venv), log, "apt-get install python3-venv")?;
        let pip = |arguments: &[&str]| {
            let mut pip = Command::new(venv.join("bin/pip"));
            pip.args(["install", "--quiet", "--disable-pip-version-check", "--prefer-binary"]).args(arguments);
            command::logged(&mut pip, log, REMEDY)
        };
        // Two old dependencies come as source and are built without isolation of their own.
        pip(&["setuptools<81", "wheel"])?;
        pip(&["--no-build-isolation", "-r", &requirements.to_string_lossy()])?;
        let mut ask = Command::new(venv.join("bin/python"));
        let packages = command::output(ask.args(["-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]))?;
        std::fs::write(Path::new(packages.trim()).join("odoo.pth"), format!("{}\n", self.directory.join(SOURCE).display()))?;
        Ok(())
    }

    /// Odoo's own user may not write byte code here, and would compile at each start.
    fn compile(&self, log: &Path, task: &mut Task) -> Result<()> {
        task.say("compiling Odoo");
        let mut compile = Command::new(self.directory.join("venv/bin/python"));
        // Templates for code generators end in .py without being Python: their errors are in the log and mean nothing.
        compile.args(["-m", "compileall", "-q", "-j", "0", "-x", "/template/"]).arg(self.directory.join(SOURCE).join("odoo"));
        if let Err(error) = command::logged(&mut compile, log, "it starts more slowly") {
            task.say(&format!("some files were not compiled: {}", error.to_string().lines().next().unwrap_or_default()));
        }
        Ok(())
    }

    fn write_launcher(&self) -> Result<()> {
        let (python, odoo) = (self.directory.join("venv/bin/python"), self.directory.join("root/usr/bin/odoo"));
        let new = self.directory.join("bin/odoo.new");
        std::fs::write(&new, format!("#!/bin/sh\nexec '{}' '{}' \"$@\"\n", python.display(), odoo.display()))?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755))?;
        std::fs::rename(&new, self.launcher()).context("cannot write Odoo's launcher")
    }

    fn check(&self) -> Result<()> {
        let said = command::output(Command::new(self.launcher()).arg("--version"))?;
        if !said.trim().starts_with("Odoo Server 19") {
            bail!("{} --version says: {}", self.launcher().display(), said.trim());
        }
        Ok(())
    }
}

/// A file that says that a part is complete, and made by this very recipe.
pub(crate) struct Marker {
    file: PathBuf,
    recipe: String,
}

impl Marker {
    pub(crate) fn new(directory: &Path, part: &str, recipe: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        recipe.hash(&mut hasher);
        Self { file: directory.join(format!(".{part}-complete")), recipe: format!("{:016x}", hasher.finish()) }
    }

    pub(crate) fn is_set(&self) -> bool {
        std::fs::read_to_string(&self.file).is_ok_and(|recipe| recipe == self.recipe)
    }

    pub(crate) fn set(&self) -> Result<()> {
        std::fs::write(&self.file, &self.recipe).with_context(|| format!("cannot write {}", self.file.display()))
    }
}

fn dangling_links(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            dangling_links(&entry.path(), found)?;
        } else if kind.is_symlink() && !entry.path().exists() {
            found.push(entry.path());
        }
    }
    Ok(())
}
