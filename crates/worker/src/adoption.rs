//! Taking over what the earlier service left (contract 20.1): its backups.
//!
//! Run by hand (`instance-admin backups adopt`), beside workers at work, and again as often as one likes. It reads the old files and never changes
//! them; what it enters into the catalogue is matched by the ids in their metadata, never by a name.

use anyhow::{Context as _, bail};
use backup::BackupError;
use backup::legacy::{Flaw, LegacyStore, Metadata};
use db::platform::PlatformDb;
use db::platform::audit::{AuditContext, Door};
use db::platform::instances::{self, Instance};
use db::platform::legacy_backups::{self, Found};
use db::platform::settings;
use domain::backup::legacy::Legacy;
use domain::ids::{BackupId, InstanceId};
use domain::sources::{Entropy, random_uuid};
use runtime::directory::{name_root, root_id};
use std::fmt;
use std::sync::Arc;

/// Looks for backups of the earlier service and enters them into the catalogue.
pub struct LegacyBackups {
    /// postgres1.
    pub db: PlatformDb,
    /// The directory that they lie in.
    pub store: LegacyStore,
    /// For new ids.
    pub entropy: Arc<dyn Entropy>,
    /// Who asks, for the audit trail.
    pub actor: String,
}

/// What became of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the catalogue and can be restored.
    Entered(InstanceId),
    /// It is in the catalogue as one that failed.
    Failed(InstanceId, String),
    /// It was there already, as it is.
    Known(InstanceId),
    /// It is in the catalogue, and its files are no longer what was entered.
    Changed(InstanceId, String),
    /// Nobody can tell whose it is.
    Unmatched(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entered(instance) => write!(f, "entered, instance {instance}"),
            Self::Failed(instance, why) => write!(f, "entered as failed, instance {instance}: {why}"),
            Self::Known(instance) => write!(f, "known, instance {instance}"),
            Self::Changed(instance, why) => write!(f, "changed since it was entered, instance {instance}: {why}"),
            Self::Unmatched(why) => write!(f, "not entered: {why}"),
        }
    }
}

impl LegacyBackups {
    /// Looks at all of them, and unless it is a `dry_run` enters what is new, and what was no whole backup and is one now. Each with its old name.
    ///
    /// # Errors
    /// The directory is not the one of this deployment, or cannot be read; the database.
    pub async fn adopt(&self, dry_run: bool) -> anyhow::Result<Vec<(String, Outcome)>> {
        let names = self.store.list().await?;
        let root = self.root(dry_run || names.is_empty()).await?;
        let mut outcomes = Vec::new();
        for (name, has_metadata) in names {
            let outcome = if has_metadata {
                self.one(&name, &root, dry_run).await.with_context(|| name.clone())?
            } else {
                Outcome::Unmatched("its metadata are missing, so that nobody knows whose it is".to_owned())
            };
            outcomes.push((name, outcome));
        }
        Ok(outcomes)
    }

    /// The id of the directory. A file system that is not mounted holds nothing, and must not get an id.
    async fn root(&self, dry_run: bool) -> anyhow::Result<String> {
        let (path, known) = (self.store.root(), settings::backups_root(&self.db).await?);
        let known = known.filter(|known| known.kind == settings::LOCAL).map(|known| known.id);
        match (root_id(path)?, known) {
            (Some(here), Some(known)) if here != known => {
                bail!("{} is not where the backups of this deployment are", path.display())
            }
            (None, Some(_)) => bail!("{} has no id (file .root): mount its file system", path.display()),
            (Some(here), _) => Ok(here),
            (None, None) if dry_run => Ok(String::new()),
            (None, None) => Ok(name_root(path, &random_uuid(&*self.entropy).to_string())?),
        }
    }

    async fn one(&self, name: &str, root: &str, dry_run: bool) -> anyhow::Result<Outcome> {
        let entered = legacy_backups::entered(&self.db, name).await?;
        if let Some(entered) = &entered
            && entered.legacy.content.is_some()
        {
            return match self.store.open(&entered.legacy).await {
                Ok(_) => Ok(Outcome::Known(entered.instance)),
                Err(e @ BackupError::Damaged { .. }) => Ok(Outcome::Changed(entered.instance, e.to_string())),
                Err(e) => Err(e.into()),
            };
        }
        let metadata = match self.store.metadata(name).await? {
            Ok(metadata) => metadata,
            Err(why) => return Ok(Outcome::Unmatched(why)),
        };
        let instance = match self.owner(&metadata).await? {
            Ok(instance) => instance,
            Err(why) => return Ok(Outcome::Unmatched(why)),
        };
        let looked = self.store.look(name, metadata.database.clone()).await?;
        let (content, flaw) = match looked.and_then(|content| version(&metadata).map(|_| content)) {
            Ok(content) => (Some(content), None),
            Err(flaw) => (None, Some(flaw)),
        };
        if let (Some(entered), Some(flaw)) = (&entered, &flaw) {
            tracing::debug!(name, why = flaw.why, "it is no whole backup still");
            return Ok(Outcome::Known(entered.instance));
        }
        let found = Found {
            id: BackupId::from_uuid(random_uuid(&*self.entropy)),
            instance: instance.id,
            customer: instance.customer_id,
            odoo_version: metadata.odoo_version.map(|version| version.to_string()).unwrap_or_default(),
            taken_at: metadata.taken_at,
            legacy: Legacy { name: name.to_owned(), root: root.to_owned(), content },
            error: flaw.as_ref().map(|flaw| flaw.public.to_owned()),
        };
        if !dry_run {
            let by = AuditContext { door: Door::Internal, actor: self.actor.clone(), request_id: None };
            let mut tx = self.db.begin().await?;
            if legacy_backups::enter(&mut tx, &found, &by).await?.is_none() {
                return Ok(Outcome::Known(instance.id));
            }
            tx.commit().await?;
        }
        Ok(match flaw {
            None => Outcome::Entered(instance.id),
            Some(flaw) => Outcome::Failed(instance.id, flaw.why),
        })
    }

    /// The instance that the metadata name, or why it cannot be that.
    async fn owner(&self, metadata: &Metadata) -> anyhow::Result<Result<Instance, String>> {
        let Some(instance) = instances::get(&self.db, metadata.instance).await? else {
            return Ok(Err(format!("there is no instance {}", metadata.instance)));
        };
        match metadata.customer {
            Some(customer) if customer != instance.customer_id => Ok(Err(format!(
                "instance {} belongs to customer {}, and the backup says {customer}",
                instance.id, instance.customer_id
            ))),
            _ => Ok(Ok(instance)),
        }
    }
}

/// Without it nobody could tell whether an instance runs what the backup was made with.
fn version(metadata: &Metadata) -> Result<(), Flaw> {
    const UNKNOWN: &str = "This backup of the earlier service cannot be used: it does not say which Odoo it was made with.";
    match metadata.odoo_version {
        Some(_) => Ok(()),
        None => Err(Flaw { public: UNKNOWN, why: "its metadata name no version of Odoo".to_owned() }),
    }
}
