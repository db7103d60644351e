//! A visitor who asks for the login page ten times a second.

use anyhow::{Context, Result, anyhow, ensure};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Probe {
    stop: Sender<()>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Probe {
    pub(crate) fn start(url: &str) -> Result<Self> {
        let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().into();
        let page = format!("{}/web/login", url.trim_end_matches('/'));
        agent.get(&page).call().context("nobody answers before anything was done")?;
        let (stop, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let (mut asked, mut failed) = (0, Vec::new());
            while told.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                asked += 1;
                // Everything but success is an error of the agent's.
                if let Err(error) = agent.get(&page).call() {
                    failed.push(format!("request {asked}: {error}"));
                }
            }
            (asked, failed)
        });
        Ok(Self { stop, thread })
    }

    /// Ends it; answers how often it has asked. Each time it was answered.
    pub(crate) fn stop(self) -> Result<usize> {
        drop(self.stop);
        let (asked, failed) = self.thread.join().map_err(|_| anyhow!("the probe has panicked"))?;
        ensure!(failed.is_empty(), "{} of {asked} requests failed: {failed:#?}", failed.len());
        Ok(asked)
    }
}
