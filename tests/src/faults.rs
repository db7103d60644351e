//! The control file that arms fault points in the workers of a stack (the format is `worker::engine::faults`').

use crate::{Binary, Stack, environment};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What happens at an armed point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// SIGKILL to the process.
    Kill,
    /// A panic.
    Panic,
    /// The step fails so.
    Error(Kind),
    /// Nothing goes on until [`Faults::resume`].
    Pause,
}

/// How an armed step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is tried again.
    Retry,
    /// It is undone.
    Permanent,
}

/// One line of the control file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Armed {
    /// Name of the point.
    pub point: String,
    /// What happens there.
    pub action: Action,
    /// How often.
    pub times: u32,
}

impl Armed {
    /// This action at this point, once.
    pub fn once(point: impl Into<String>, action: Action) -> Self {
        Self { point: point.into(), action, times: 1 }
    }
}

/// The control file of a stack.
#[derive(Clone, Debug)]
pub struct Faults {
    file: PathBuf,
}

impl Faults {
    /// The control file at `file`.
    pub fn at(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.file.as_os_str().to_owned();
        name.push(".");
        name.push(suffix);
        PathBuf::from(name)
    }

    /// Arms these points and no others.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn arm(&self, armed: &[Armed]) -> Result<()> {
        let lines: Result<Vec<String>, _> = armed.iter().map(serde_json::to_string).collect();
        self.write(&lines?)
    }

    /// Arms these points, and makes these mistakes (`db::mutation`).
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn mutate(&self, armed: &[Armed], mutations: &[&str]) -> Result<()> {
        let mut lines = armed.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        lines.extend(mutations.iter().map(|mutation| serde_json::json!({ "mutate": mutation }).to_string()));
        self.write(&lines)
    }

    /// Whether somebody stands still with its fence in hand.
    pub fn stalled(&self) -> bool {
        self.beside("stall.fired").exists()
    }

    /// Disarms everything.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn disarm(&self) -> Result<()> {
        self.write(&[])
    }

    /// Put in place by a rename, so that nobody reads half of it. Old marks go before new lines come.
    fn write(&self, lines: &[String]) -> Result<()> {
        let new = self.beside("new");
        std::fs::write(&new, "")?;
        std::fs::rename(&new, &self.file)?;
        for mark in self.marks()? {
            std::fs::remove_file(mark)?;
        }
        std::fs::write(&new, lines.join("\n"))?;
        std::fs::rename(&new, &self.file).context("cannot arm fault points")
    }

    fn marks(&self) -> Result<Vec<PathBuf>> {
        let name = self.file.file_name().and_then(|name| name.to_str()).context("a control file has a name")?;
        let mut marks = Vec::new();
        for entry in std::fs::read_dir(self.file.parent().context("a control file is somewhere")?)? {
            let path = entry?.path();
            let other = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if other.starts_with(&format!("{name}.")) && (other.ends_with(".fired") || other.ends_with(".resume")) {
                marks.push(path);
            }
        }
        Ok(marks)
    }

    /// When the first turn of the armed line `line` (from 0) was taken; `None` while it was not.
    ///
    /// # Errors
    /// When the file system does not answer.
    pub fn fired(&self, line: usize) -> Result<Option<SystemTime>> {
        match std::fs::metadata(self.beside(&format!("{line}.0.fired"))) {
            Ok(mark) => Ok(Some(mark.modified()?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("cannot see whether a fault point was reached"),
        }
    }

    /// Whether the first turn of the line found an effect in its middle; `None` when no effect was to be caught there.
    ///
    /// # Errors
    /// When it was not taken.
    pub fn caught(&self, line: usize) -> Result<Option<bool>> {
        let mark = self.beside(&format!("{line}.0.fired"));
        let note = std::fs::read_to_string(&mark).with_context(|| mark.display().to_string())?;
        Ok((!note.is_empty()).then(|| note == "under way"))
    }

    /// How many turns were taken, of all lines.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn turns_taken(&self) -> Result<usize> {
        Ok(self.marks()?.iter().filter(|mark| mark.extension().is_some_and(|extension| extension == "fired")).count())
    }

    /// Lets a pause go on.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn resume(&self) -> Result<()> {
        std::fs::write(self.beside("resume"), "").context("cannot resume")
    }
}

/// Every fault point, as the worker itself lists them. It needs settings that make sense, but no server.
///
/// # Errors
/// When the worker cannot say.
pub fn points() -> Result<Vec<String>> {
    let somewhere = tempfile::tempdir()?;
    let text = Binary::answer("instance-worker", &["faults", "list"], &environment::without_servers(somewhere.path())?)?;
    let points: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    ensure!(!points.is_empty(), "the worker lists no fault point");
    Ok(points)
}

impl Stack {
    /// The fault points of this stack's workers.
    pub fn faults(&self) -> Faults {
        Faults::at(&self.faults_file())
    }
}
