//! The fake runtime of a stack: its process, and the control that scripts faults and reads counts.

use crate::{Binary, until};
use anyhow::{Context, Result};
use runtime::fake::{Counts, FakeControl, FakeRuntime, Fault};
use runtime::{InstanceRuntime, Listed};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A running fake runtime.
pub struct Fake {
    /// Its process.
    pub process: Binary,
    control: FakeControl,
    driver: FakeRuntime,
    waiting: tokio::runtime::Runtime,
}

impl Fake {
    /// Where it listens, for a stack in `directory`.
    pub fn socket(directory: &Path) -> PathBuf {
        directory.join("fake-runtime.sock")
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(directory: &Path) -> Result<Self> {
        let socket = Self::socket(directory);
        let root = directory.join("instances");
        let (text, root) = (socket.display().to_string(), root.display().to_string());
        let arguments = ["--socket", &text, "--root", &root];
        let process = Binary::start("instance-fake-runtime", &arguments, &[], &directory.join("fake-runtime.log"))?;
        until(Duration::from_secs(10), "the socket of the fake runtime", || Ok(socket.exists().then_some(())))?;
        let waiting = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { process, control: FakeControl::new(&socket), driver: FakeRuntime::new(&socket), waiting })
    }

    /// Scripts a fault.
    ///
    /// # Errors
    /// When the fake runtime does not answer.
    pub fn fault(&self, fault: Fault) -> Result<()> {
        self.waiting.block_on(self.control.add_fault(fault)).context("cannot script a fault")
    }

    /// Scripted faults that nothing has met yet.
    ///
    /// # Errors
    /// When the fake runtime does not answer.
    pub fn faults_left(&self) -> Result<usize> {
        Ok(self.waiting.block_on(self.control.faults_left()).context("cannot read the faults")?.len())
    }

    /// Drops all scripted faults.
    ///
    /// # Errors
    /// When the fake runtime does not answer.
    pub fn clear_faults(&self) -> Result<()> {
        self.waiting.block_on(self.control.clear_faults()).context("cannot clear the faults")
    }

    /// Ends what runs as this service, as if by itself.
    ///
    /// # Errors
    /// When the fake runtime does not answer.
    pub fn crash(&self, service: &str) -> Result<()> {
        self.waiting.block_on(self.control.crash(service)).context("cannot end the service")
    }

    /// What happened to a service so far.
    ///
    /// # Errors
    /// When the fake runtime does not answer.
    pub fn counts(&self, service: &str) -> Result<Counts> {
        self.waiting.block_on(self.control.counts(service)).context("cannot read the counts")
    }

    /// All services.
    ///
    /// # Errors
    /// When the fake runtime does not answer.
    pub fn services(&self) -> Result<Vec<Listed>> {
        self.waiting.block_on(self.driver.list()).context("cannot list the services")
    }
}
