//! Where an instance is, and how a step gets there. Everything comes from the instance's row; nothing is computed again.

use super::Tools;
use super::errors::{inconsistent, overtaken};
use super::waiting::unless_told_to_stop;
use crate::engine::{Cx, StepError};
use db::odoo::{Fence, InstanceConnection, OdooServer, Recorded, Snapshot};
use db::platform::PlatformTx;
use db::platform::audit::{AuditContext, Door};
use db::platform::instances::{self, Instance, Placement, secret_place};
use domain::ids::{InstanceId, ServerId};
use domain::instance::DesiredState;
use domain::names::{EnvName, PhysicalName};
use domain::size::CpuLimit;
use runtime::{Image, Limits, Owner, Service, TenantDatabase, Turn, Workload};
use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;

/// How long Odoo gets to end in order (contract 11.5).
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// An instance with its place and its server.
pub(super) struct Site {
    pub(super) instance: Instance,
    pub(super) placement: Placement,
    pub(super) server: OdooServer,
}

/// The instance that the operation is about.
pub(super) fn instance_id(cx: &Cx) -> Result<InstanceId, StepError> {
    cx.operation().instance_id.ok_or_else(|| inconsistent("the operation names no instance"))
}

/// Its row.
pub(super) async fn instance(cx: &Cx) -> Result<Instance, StepError> {
    let id = instance_id(cx)?;
    instances::get(&cx.services().db, id).await?.ok_or_else(|| inconsistent(format!("there is no instance {id}")))
}

/// Its row, locked.
pub(super) async fn locked(cx: &Cx, tx: &mut PlatformTx) -> Result<Instance, StepError> {
    let id = instance_id(cx)?;
    instances::lock(tx, id).await?.ok_or_else(|| inconsistent(format!("there is no instance {id}")))
}

/// Who writes, for the audit trail.
pub(super) fn worker(cx: &Cx) -> AuditContext {
    AuditContext { door: Door::Worker, actor: "worker".to_owned(), request_id: cx.operation().request_id.clone() }
}

/// Who asks, for everything at the runtime and in data directories.
pub(super) const fn turn(cx: &Cx) -> Turn {
    Turn { operation: cx.operation().id, token: cx.token() }
}

/// A registered server; one that this worker does not know yet is as good as unreachable.
pub(super) fn server(tools: &Tools, id: ServerId) -> Result<OdooServer, StepError> {
    const PUBLIC: &str = "The database server is not available at the moment; the operation goes on by itself.";
    tools
        .servers
        .get(id)
        .ok_or_else(|| StepError::unreachable("odoo_server_unknown", PUBLIC, format!("server {id} is not known here")))
}

impl Site {
    /// The place of the instance; `None` before it was placed, and when nothing is left of it.
    pub(super) async fn find(cx: &Cx, tools: &Tools) -> Result<Option<Self>, StepError> {
        let instance = instance(cx).await?;
        let Some(placement) = instance.placement.clone() else { return Ok(None) };
        let server = server(tools, placement.server)?;
        Ok(Some(Self { instance, placement, server }))
    }

    /// The place of an instance that must have one.
    pub(super) async fn of(cx: &Cx, tools: &Tools) -> Result<Self, StepError> {
        Self::find(cx, tools).await?.ok_or_else(|| inconsistent("the instance is not placed"))
    }

    /// The confirmed lock of this instance on its server.
    pub(super) async fn fence(&self, cx: &Cx) -> Result<Fence, StepError> {
        unless_told_to_stop(cx, self.server.fence(&self.placement.mark, cx.token())).await?.confirm(cx.confirm_token()).await
    }

    /// A connection into its database, for reading. Writing goes through the fence.
    pub(super) async fn inside(&self) -> Result<InstanceConnection, StepError> {
        Ok(self.server.instance_connection(&self.placement.db_name).await?)
    }

    /// What the row recorded of its database.
    pub(super) const fn recorded(&self) -> Recorded<'_> {
        Recorded { oid: self.instance.db_oid, owner: &self.placement.db_user }
    }

    /// Whether it is meant to be up.
    pub(super) fn shall_run(&self) -> bool {
        self.instance.axes.desired == DesiredState::Running
    }

    pub(super) const fn owner(&self) -> Owner {
        Owner::Instance(self.instance.id)
    }

    pub(super) fn service(&self) -> Service {
        Service { name: self.placement.service_name.clone(), owner: self.owner() }
    }

    pub(super) fn directory(&self) -> PathBuf {
        PathBuf::from(&self.placement.data_dir)
    }

    /// Where customers reach it.
    pub(super) fn url(&self, tools: &Tools) -> Result<String, StepError> {
        let url = tools.addresses.external(&self.instance, &self.placement);
        url.ok_or_else(|| overtaken("the instance has given its host name back"))
    }

    /// The password of its role.
    pub(super) fn password(&self, tools: &Tools) -> Result<SecretString, StepError> {
        let sealed = self.instance.db_secret.as_ref().ok_or_else(|| inconsistent("the instance has no database password"))?;
        tools.keyring.open_text(&secret_place(self.instance.id), sealed.as_bytes()).map_err(inconsistent)
    }

    /// One moment of a database that belongs to its tenant.
    pub(super) async fn snapshot(&self, tools: &Tools, database: &PhysicalName) -> Result<Snapshot, StepError> {
        Ok(self.server.snapshot(database, &self.placement.db_user, &self.password(tools)?).await?)
    }

    /// What shall run.
    pub(super) fn workload(&self, cx: &Cx, tools: &Tools) -> Result<Workload, StepError> {
        let image = self.placement.image.clone().ok_or_else(|| inconsistent("the instance has no image"))?;
        let cpu = CpuLimit::new(self.instance.cpu_limit).map_err(|fault| inconsistent(format!("cpu_limit: {fault:?}")))?;
        Ok(Workload {
            service: self.service(),
            turn: turn(cx),
            version: self.instance.version()?,
            image: Image::new(image),
            directory: self.directory(),
            database: TenantDatabase {
                host: self.placement.db_host.clone(),
                port: self.placement.db_port,
                name: self.placement.db_name.clone(),
                user: self.placement.db_user.clone(),
                password: self.password(tools)?,
                connection_limit: tools.limits.connections,
            },
            port: self.placement.external_port,
            limits: Limits { cpu, memory: self.instance.memory_limit },
            base_url: self.url(tools)?,
            behind_proxy: self.placement.external_port.is_none(),
            demo: self.instance.demo_data,
            environment: self.environment(),
        })
    }

    /// Variables of the earlier service's rows may break today's rules: those are left out.
    fn environment(&self) -> std::collections::BTreeMap<EnvName, String> {
        let known = |(name, value): (&String, &String)| match EnvName::parse(name) {
            Ok(name) => Some((name, value.clone())),
            Err(_) => {
                tracing::warn!(instance = %self.instance.id, name, "a variable of the customer is not passed on");
                None
            }
        };
        self.instance.environment_vars.iter().filter_map(known).collect()
    }
}
