//! The generic tests of engine 9, rule 10, on every saga: each step twice; a failure at each step, then a clean slate; every undo
//! twice; an undo that is itself cut off. A saga that only goes forward has no undo: it is cut off at each step instead, and
//! leaves as much as if it was not. Each step is disturbed at one of its moments, another one each day; with `INSTANCE_SOAK=1`
//! at all of them.

use crate::rig::Rig;
use async_trait::async_trait;
use bootstrap::OsEntropy;
use db::platform::operations::NewOperation;
use domain::ids::{InstanceId, OperationId};
use domain::instance::{Action, BillingStatus};
use domain::operation::Kind;
use domain::scope::Scope;
use domain::sources::random_uuid;
use runtime::Observed;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};
use testkit::catalog::Snapshot;
use worker::engine::faults::{Faults, Moment};
use worker::engine::proving::{self, World};
use worker::engine::{Engine, Saga};

/// What postgres1 holds of things that are there, and what was told of them.
const ROWS: &str = "
    SELECT 'instance ' || id || ' ' || status FROM public.instances WHERE status IN ('running', 'terminated')
    UNION ALL
    SELECT 'place of ' || id FROM public.instances
     WHERE num_nonnulls(db_name, db_user, mark, data_dir, service_name, db_secret, db_oid, external_url) > 0
    UNION ALL SELECT 'template ' || id FROM instance_service.templates
    UNION ALL SELECT 'ready template ' || id FROM instance_service.templates WHERE state = 'ready'
    UNION ALL SELECT 'placed here: ' || instances FROM instance_service.odoo_servers
    UNION ALL SELECT 'told of ' || operation_id FROM instance_service.outbox WHERE template = 'instance_ready'
    UNION ALL
    SELECT 'unsealed ' || operation_id || ' ' || step FROM instance_service.operation_steps s
      JOIN instance_service.operations o ON o.id = s.operation_id
     WHERE o.finished_at IS NOT NULL AND s.output::text LIKE '%password%'";

/// Whom tenants can reach: a closed database and a role without login are as many lines of a catalogue as open ones.
const OPEN: &str = "
    SELECT 'open ' || datname FROM pg_database WHERE datallowconn
    UNION ALL SELECT 'login ' || rolname FROM pg_roles WHERE rolcanlogin";

/// One rig, on which operations of one kind are run again and again.
struct Subject {
    rig: Rig,
    kind: Kind,
    /// The instance that every operation is about, where one is enough for all of them.
    instance: Option<InstanceId>,
    /// What is brought.
    archive: Vec<u8>,
}

impl Subject {
    async fn of(kind: Kind) -> Self {
        let rig = Rig::start().await;
        if kind != Kind::BuildTemplate {
            rig.prepare_template().await;
        }
        let mut subject = Self { rig, kind, instance: None, archive: Vec::new() };
        let on_one = [
            Kind::FetchLogs,
            Kind::Backup,
            Kind::Restore,
            Kind::UndoRestore,
            Kind::VerifyBackup,
            Kind::Update,
            Kind::Export,
            Kind::Import,
        ];
        if on_one.contains(&kind) {
            subject.instance = Some(subject.running().await);
        }
        // What is there the first time only: contents that backups share, data that were replaced.
        let with_backups = on_one.contains(&kind) && kind != Kind::FetchLogs;
        if let (true, Some(id)) = (with_backups, subject.instance) {
            subject.rig.attach(id, b"a letter").await;
            subject.rig.act(id, Action::Backup).await;
            subject.rig.drain().await;
        }
        if let (Kind::Restore | Kind::UndoRestore, Some(id)) = (kind, subject.instance) {
            subject.rig.restore(id, subject.rig.backup_of(id).await).await;
            subject.rig.drain().await;
        }
        if let (Kind::Import, Some(id)) = (kind, subject.instance) {
            subject.rig.export(id, subject.rig.backup_of(id).await).await;
            subject.rig.drain().await;
            let made = subject.rig.handed_over().remove(0);
            subject.archive = std::fs::read(subject.rig.transfer().join(made)).unwrap();
        }
        // The first brings files, the second copies them first.
        for _ in 0..2 {
            if let (Kind::Update, Some(id)) = (kind, subject.instance) {
                subject.rig.age_backups();
                subject.rig.update(id, &[]).await;
                subject.rig.drain().await;
            }
        }
        subject
    }

    /// Provisioning as a copy of another instance.
    async fn copies() -> Self {
        let mut subject = Self::of(Kind::Provision).await;
        let id = subject.running().await;
        subject.rig.attach(id, b"a letter").await;
        subject.rig.act(id, Action::Backup).await;
        subject.rig.drain().await;
        subject.instance = Some(id);
        subject
    }

    fn saga(&self) -> Saga {
        worker::sagas::all(&self.rig.tools).into_iter().find(|saga| saga.kind() == self.kind).unwrap()
    }

    async fn running(&self) -> InstanceId {
        let id = self.rig.order(|_| {}).await;
        self.rig.drain().await;
        assert_eq!(self.rig.status(id).await, "running");
        id
    }

    /// An instance with data that is down in the way that the kind leads back from.
    async fn brought_back(&self) {
        let id = self.running().await;
        match self.kind {
            Kind::Reactivate => self.rig.terminate(id).await,
            Kind::Unpause => self.rig.suspend(id).await,
            _ => self.rig.act(id, Action::Stop).await,
        }
        self.rig.drain().await;
        match self.kind {
            Kind::Reactivate => self.rig.reactivate(id).await,
            Kind::Unpause => {
                self.rig.note_billing(id, BillingStatus::Paid).await;
                self.rig.act(id, Action::Unpause).await;
            }
            _ => self.rig.act(id, Action::Start).await,
        }
    }

    fn logs(&self) -> NewOperation {
        let id = OperationId::from_uuid(random_uuid(&OsEntropy));
        NewOperation {
            id,
            scope: Scope::Own(id),
            instance_id: self.instance,
            kind: Kind::FetchLogs,
            params: json!({ "lines": 10 }),
            priority: 0,
            reason: None,
            trace_parent: None,
        }
    }
}

#[async_trait]
impl World for Subject {
    async fn accept(&self) -> OperationId {
        match self.kind {
            Kind::BuildTemplate => return self.rig.build_template().await,
            Kind::FetchLogs => return self.rig.enqueue(self.logs()).await,
            Kind::Backup => self.rig.act(self.instance.unwrap(), Action::Backup).await,
            Kind::Restore => {
                let id = self.instance.unwrap();
                let backup = self.rig.oldest_backup_of(id).await;
                self.rig.age_backups();
                self.rig.restore(id, backup).await;
            }
            Kind::Update => {
                self.rig.age_backups();
                self.rig.update(self.instance.unwrap(), &[]).await;
            }
            Kind::UndoRestore => self.rig.undo_restore(self.instance.unwrap()).await,
            Kind::VerifyBackup => {
                let id = self.instance.unwrap();
                return self.rig.verify(id, self.rig.backup_of(id).await, true).await;
            }
            Kind::Export => {
                let id = self.instance.unwrap();
                self.rig.expire_exports();
                return self.rig.export(id, self.rig.backup_of(id).await).await;
            }
            Kind::Import => return self.rig.import(self.instance.unwrap(), &self.archive).await,
            Kind::PruneBackups => {
                let id = self.running().await;
                self.rig.attach(id, b"of the first only").await;
                for _ in 0..2 {
                    self.rig.act(id, Action::Backup).await;
                    self.rig.drain().await;
                    self.rig.inside(id, "DELETE FROM ir_attachment").await;
                }
                let first = self.rig.oldest_backup_of(id).await;
                let _deleted = self.rig.delete_backup(first).await;
            }
            Kind::Provision if self.instance.is_some() => {
                let id = self.instance.unwrap();
                self.rig.copy(id, Some(self.rig.backup_of(id).await)).await;
            }
            Kind::Delete => self.rig.delete(self.running().await).await,
            Kind::Terminate => self.rig.terminate(self.running().await).await,
            Kind::Start | Kind::Unpause | Kind::Reactivate => self.brought_back().await,
            Kind::Stop => self.rig.act(self.running().await, Action::Stop).await,
            Kind::Restart => self.rig.act(self.running().await, Action::Restart).await,
            Kind::Suspend => self.rig.suspend(self.running().await).await,
            Kind::ApplyResources => self.rig.resize(self.running().await, "3G").await,
            _ => drop(self.rig.order(|raw| raw.custom_addons = Some(vec!["crm".to_owned()])).await),
        }
        self.rig.last_operation().await.id
    }

    fn engine(&self, faults: Faults) -> Engine {
        self.rig.engine_with(faults)
    }

    #[allow(clippy::disallowed_methods, reason = "a test reads its own environment")]
    fn moments(&self, step: usize) -> &'static [Moment] {
        if std::env::var("INSTANCE_SOAK").is_ok_and(|value| value == "1") {
            return Moment::ALL;
        }
        let days = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
        let moment = (usize::try_from(days).unwrap() + step) % Moment::ALL.len();
        &Moment::ALL[moment..=moment]
    }

    async fn slate(&self) -> BTreeSet<String> {
        let mut slate: BTreeSet<String> = Snapshot::default().difference(&self.rig.snapshot()).added.into_iter().collect();
        slate.extend(self.rig.pair.postgres2.psql("postgres", OPEN).unwrap().lines().map(str::to_owned));
        slate.extend(self.rig.sql(ROWS).lines().map(str::to_owned));
        slate.extend(self.rig.stored().into_iter().map(|object| format!("stored {object}")));
        slate.extend(self.rig.handed_over().into_iter().map(|file| format!("handed over {file}")));
        let services = self.rig.tools.runtime.list().await.unwrap();
        slate.extend(services.into_iter().map(|service| match service.observed {
            Observed::Running { .. } => format!("service {} runs", service.name),
            other => format!("service {} {other:?}", service.name),
        }));
        slate
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn provision_each_step_twice() {
    let subject = Subject::of(Kind::Provision).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn provision_fails_at_each_step() {
    let subject = Subject::of(Kind::Provision).await;
    proving::fail_at_each_step(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn provision_every_undo_twice() {
    let subject = Subject::of(Kind::Provision).await;
    proving::every_undo_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn provision_undo_cut_off() {
    let subject = Subject::of(Kind::Provision).await;
    proving::undo_cut_off(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn build_template_each_step_twice() {
    let subject = Subject::of(Kind::BuildTemplate).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn build_template_fails_at_each_step() {
    let subject = Subject::of(Kind::BuildTemplate).await;
    proving::fail_at_each_step(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn build_template_every_undo_twice() {
    let subject = Subject::of(Kind::BuildTemplate).await;
    proving::every_undo_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn build_template_undo_cut_off() {
    let subject = Subject::of(Kind::BuildTemplate).await;
    proving::undo_cut_off(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn start_each_step_twice() {
    let subject = Subject::of(Kind::Start).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn unpause_each_step_twice() {
    let subject = Subject::of(Kind::Unpause).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn reactivate_each_step_twice() {
    let subject = Subject::of(Kind::Reactivate).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_each_step_twice() {
    let subject = Subject::of(Kind::Stop).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_each_step_twice() {
    let subject = Subject::of(Kind::Restart).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_resources_each_step_twice() {
    let subject = Subject::of(Kind::ApplyResources).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_each_step_twice() {
    let subject = Subject::of(Kind::Backup).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_fails_at_each_step() {
    let subject = Subject::of(Kind::Backup).await;
    proving::fail_at_each_step(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_undo_twice_and_cut_off() {
    let subject = Subject::of(Kind::Backup).await;
    proving::every_undo_twice(&subject, &subject.saga()).await.unwrap();
    proving::undo_cut_off(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn export_each_step_twice() {
    let subject = Subject::of(Kind::Export).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn export_fails_at_each_step() {
    let subject = Subject::of(Kind::Export).await;
    proving::fail_at_each_step(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn export_undo_twice_and_cut_off() {
    let subject = Subject::of(Kind::Export).await;
    proving::every_undo_twice(&subject, &subject.saga()).await.unwrap();
    proving::undo_cut_off(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn import_each_step_twice() {
    let subject = Subject::of(Kind::Import).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn import_fails_at_each_step() {
    let subject = Subject::of(Kind::Import).await;
    proving::fail_at_each_step(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn import_undo_twice_and_cut_off() {
    let subject = Subject::of(Kind::Import).await;
    proving::every_undo_twice(&subject, &subject.saga()).await.unwrap();
    proving::undo_cut_off(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_each_step_twice() {
    let subject = Subject::of(Kind::Restore).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_fails_at_each_step() {
    let subject = Subject::of(Kind::Restore).await;
    proving::fail_at_each_step(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_every_undo_twice() {
    let subject = Subject::of(Kind::Restore).await;
    proving::every_undo_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_undo_cut_off() {
    let subject = Subject::of(Kind::Restore).await;
    proving::undo_cut_off(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn update_each_step_twice() {
    let subject = Subject::of(Kind::Update).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn update_fails_at_each_step() {
    let subject = Subject::of(Kind::Update).await;
    proving::fail_at_each_step(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn update_undo_twice_and_cut_off() {
    let subject = Subject::of(Kind::Update).await;
    proving::every_undo_twice(&subject, &subject.saga()).await.unwrap();
    proving::undo_cut_off(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_restore_each_step_twice() {
    let subject = Subject::of(Kind::UndoRestore).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_restore_fails_at_each_step() {
    let subject = Subject::of(Kind::UndoRestore).await;
    proving::fail_at_each_step(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_restore_undo_twice_and_cut_off() {
    let subject = Subject::of(Kind::UndoRestore).await;
    proving::every_undo_twice(&subject, &subject.saga()).await.unwrap();
    proving::undo_cut_off(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_backup_each_step_twice_and_fails_at_each() {
    let subject = Subject::of(Kind::VerifyBackup).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
    proving::fail_at_each_step(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_backups_each_step_twice() {
    let subject = Subject::of(Kind::PruneBackups).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_each_step_twice() {
    let subject = Subject::copies().await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_fails_at_each_step() {
    let subject = Subject::copies().await;
    proving::fail_at_each_step(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_every_undo_twice() {
    let subject = Subject::copies().await;
    proving::every_undo_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn suspend_each_step_twice() {
    let subject = Subject::of(Kind::Suspend).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn suspend_fails_at_each_step() {
    let subject = Subject::of(Kind::Suspend).await;
    proving::fail_at_each_step(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_each_step_twice() {
    let subject = Subject::of(Kind::Delete).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_fails_at_each_step() {
    let subject = Subject::of(Kind::Delete).await;
    proving::fail_at_each_step(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn terminate_each_step_twice() {
    let subject = Subject::of(Kind::Terminate).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn terminate_fails_at_each_step() {
    let subject = Subject::of(Kind::Terminate).await;
    proving::fail_at_each_step(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_logs_each_step_twice() {
    let subject = Subject::of(Kind::FetchLogs).await;
    proving::each_step_twice(&subject, &subject.saga()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_logs_fails_at_each_step() {
    let subject = Subject::of(Kind::FetchLogs).await;
    proving::fail_at_each_step(&subject, &subject.saga()).await.unwrap();
}
