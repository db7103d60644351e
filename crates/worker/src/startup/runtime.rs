//! The driver that the settings choose, with the data directories it works on.

use anyhow::Context as _;
use bootstrap::settings::{Driver, RuntimeSettings};
use bootstrap::{OsEntropy, http};
use db::platform::settings::{self, INSTANCES_ROOT};
use db::platform::{PlatformDb, instances};
use domain::sources::random_uuid;
use runtime::InstanceRuntime;
use runtime::account::Account;
use runtime::directory::{DataDirectories, name_root, root_id};
use runtime::process::{ProcessRuntime, ProcessSettings};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Longest request of the driver to an Odoo on this machine (contract 11.5).
const REQUEST: Duration = Duration::from_secs(10);

/// What runs Odoo, and where its files are.
pub(super) struct Runtime {
    pub(super) driver: Arc<dyn InstanceRuntime>,
    pub(super) directories: DataDirectories,
}

/// Makes sure that the root is the one in which this deployment's directories are. In a file system that is not mounted, or in
/// another machine's, every directory would read as absent: a delete would be done without having removed anything.
pub(super) async fn same_root(path: &Path, db: &PlatformDb) -> anyhow::Result<()> {
    let root = std::fs::canonicalize(path).with_context(|| format!("CEPHFS_INSTANCES_PATH: {}", path.display()))?;
    let known = match settings::get(db, INSTANCES_ROOT).await? {
        Some(known) => known,
        // Of a deployment that knows no id yet, instances tell whether their directories are here.
        None if !holds_some(&root, db).await? => {
            let text =
                format!("CEPHFS_INSTANCES_PATH: {} holds no directory of any instance: mount its file system", root.display());
            return Err(super::Refusal(text).into());
        }
        // The directory gets its id before the deployment remembers it.
        None => settings::keep_first(db, INSTANCES_ROOT, &name_root(&root, &random_uuid(&OsEntropy).to_string())?).await?,
    };
    let what = match root_id(&root)? {
        Some(here) if here == known => return Ok(()),
        None => "has no id (file .root): mount its file system",
        Some(_) => "is another one",
    };
    let text = format!("CEPHFS_INSTANCES_PATH: {} is not where the instances' directories are: it {what}", root.display());
    Err(super::Refusal(text).into())
}

/// Whether one of the first instances that have data finds its directory below the root; without any, whatever is there will do.
async fn holds_some(root: &Path, db: &PlatformDb) -> anyhow::Result<bool> {
    let some = instances::watched(db, None, 20).await?;
    let mut directories = some.iter().filter_map(|row| Path::new(&row.placement.as_ref()?.data_dir).file_name()).peekable();
    Ok(directories.peek().is_none() || directories.any(|name| root.join(name).is_dir()))
}

impl Runtime {
    pub(super) fn build(settings: &RuntimeSettings) -> anyhow::Result<Self> {
        let account = Account::named(&settings.process.odoo_user).context("PROCESS_ODOO_USER")?;
        let directories = DataDirectories::new(&settings.instances_path, account).context("CEPHFS_INSTANCES_PATH")?;
        let driver: Arc<dyn InstanceRuntime> = match settings.driver {
            Driver::Process => {
                guard(account, settings.process.allow_own_account)?;
                Arc::new(process(settings, &directories)?)
            }
            #[cfg(feature = "faults")]
            Driver::Fake => fake(settings)?,
            other => anyhow::bail!("the driver {other:?} is not built in"),
        };
        Ok(Self { driver, directories })
    }
}

/// Tenants run code in their Odoo. As our own account it would read our environment, passwords and sealing key included.
fn guard(account: Account, allowed: bool) -> anyhow::Result<()> {
    match account {
        Account::Own | Account::Other { uid: 0, .. } if !allowed => Err(super::Refusal(
            "RUNTIME=process runs Odoo as PROCESS_ODOO_USER, for which the worker has to be root and that user must not be; \
             PROCESS_ALLOW_OWN_ACCOUNT=true permits the worker's own account, for development only"
                .to_owned(),
        )
        .into()),
        Account::Own | Account::Other { uid: 0, .. } => {
            tracing::warn!("Odoo runs as the worker's own account and can read its secrets: for development only");
            Ok(())
        }
        Account::Other { .. } => {
            tracing::warn!("all instances run as one account and can read each other's files: for people one trusts only");
            Ok(())
        }
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
