//! The driver that the settings choose, with the data directories it works on.

use anyhow::Context as _;
use bootstrap::settings::{Driver, RuntimeSettings};
use bootstrap::{OsEntropy, http};
use runtime::InstanceRuntime;
use runtime::account::Account;
use runtime::directory::DataDirectories;
use runtime::process::{ProcessRuntime, ProcessSettings};
use std::sync::Arc;
use std::time::Duration;

/// Longest request of the driver to an Odoo on this machine (contract 11.5).
const REQUEST: Duration = Duration::from_secs(10);

/// What runs Odoo, and where its files are.
pub(super) struct Runtime {
    pub(super) driver: Arc<dyn InstanceRuntime>,
    pub(super) directories: DataDirectories,
}

impl Runtime {
    pub(super) fn build(settings: &RuntimeSettings) -> anyhow::Result<Self> {
        let account = Account::named(&settings.process.odoo_user).context("PROCESS_ODOO_USER")?;
        let directories = DataDirectories::new(&settings.instances_path, account).context("CEPHFS_INSTANCES_PATH")?;
        let driver: Arc<dyn InstanceRuntime> = match settings.driver {
            Driver::Process => Arc::new(process(settings, &directories)?),
            #[cfg(feature = "faults")]
            Driver::Fake => fake(settings)?,
            other => anyhow::bail!("the driver {other:?} is not built in"),
        };
        Ok(Self { driver, directories })
    }
}

fn process(settings: &RuntimeSettings, directories: &DataDirectories) -> anyhow::Result<ProcessRuntime> {
    let process = ProcessSettings { installations: settings.process.odoo_command.clone(), ports: settings.process.ports.clone() };
    Ok(ProcessRuntime::new(process, directories.clone(), http::client(REQUEST)?, Arc::new(OsEntropy))?)
}

#[cfg(feature = "faults")]
fn fake(settings: &RuntimeSettings) -> anyhow::Result<Arc<dyn InstanceRuntime>> {
    let socket = settings.fake_socket.as_ref().context("FAKE_RUNTIME_SOCKET is not set")?;
    Ok(Arc::new(runtime::fake::FakeRuntime::new(socket)))
}
