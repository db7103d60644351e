//! What the steps of a build work on: the plan, its server, and how to get there.

use super::plan::{self, Planned};
use crate::engine::{Cx, StepError};
use crate::sagas::Tools;
use crate::sagas::errors::inconsistent;
use crate::sagas::site;
use crate::sagas::waiting::unless_told_to_stop;
use db::odoo::{Fence, InstanceConnection, OdooServer};
use domain::size::{ByteSize, CpuLimit};
use domain::template::TemplateKey;
use runtime::{Limits, Owner, Service, TenantDatabase, Workload};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Enough for a full initialisation; the plan of no customer applies to it.
const MEMORY: &str = "2G";

/// The plan and its server.
pub(super) struct Ground {
    pub(super) plan: Planned,
    pub(super) key: TemplateKey,
    pub(super) server: OdooServer,
}

impl Ground {
    /// The recorded plan.
    pub(super) fn of(cx: &Cx, tools: &Tools) -> Result<Self, StepError> {
        Self::find(cx, tools)?.ok_or_else(|| inconsistent("the template was not planned"))
    }

    /// The same; `None` if it was not recorded, and so nothing of it was made.
    pub(super) fn find(cx: &Cx, tools: &Tools) -> Result<Option<Self>, StepError> {
        let Some(plan) = cx.recorded(plan::NAME)? else { return Ok(None) };
        let key: TemplateKey = cx.params()?;
        Ok(Some(Self { plan, key, server: site::server(tools, key.server)? }))
    }

    pub(super) async fn fence(&self, cx: &Cx) -> Result<Fence, StepError> {
        unless_told_to_stop(cx, self.server.fence(&self.plan.mark, cx.token())).await?.confirm(cx.confirm_token()).await
    }

    /// A connection into its database, for reading. Writing goes through the fence.
    pub(super) async fn inside(&self) -> Result<InstanceConnection, StepError> {
        Ok(self.server.instance_connection(&self.plan.database).await?)
    }

    pub(super) const fn owner(&self) -> Owner {
        Owner::Template(self.plan.template)
    }

    pub(super) fn directory(&self, tools: &Tools) -> Result<PathBuf, StepError> {
        Ok(tools.directories.path(&self.plan.directory)?)
    }

    pub(super) fn service(&self) -> Service {
        Service { name: self.plan.service.clone(), owner: self.owner() }
    }

    /// What shall run. A port belongs to nobody until something listens on it, so it is drawn when it is needed and not recorded.
    pub(super) fn workload(&self, cx: &Cx, tools: &Tools, port: Option<u16>) -> Result<Workload, StepError> {
        let address = self.server.address();
        Ok(Workload {
            service: self.service(),
            turn: site::turn(cx),
            version: self.key.version,
            image: self.plan.image.clone(),
            directory: self.directory(tools)?,
            database: TenantDatabase {
                host: address.tenant_host.clone(),
                port: address.tenant_port,
                name: self.plan.database.clone(),
                user: self.plan.content_role.clone(),
                password: self.plan.sealed.role.open(cx, tools, plan::ROLE_PASSWORD)?,
                connection_limit: tools.limits.connections,
            },
            port,
            limits: limits()?,
            base_url: port
                .map_or_else(|| format!("http://{}:8069", self.plan.service), |port| format!("http://127.0.0.1:{port}")),
            behind_proxy: false,
            demo: self.key.demo,
            environment: BTreeMap::new(),
        })
    }
}

fn limits() -> Result<Limits, StepError> {
    let cpu = CpuLimit::new(2.into()).map_err(|fault| inconsistent(format!("{fault:?}")))?;
    let memory = ByteSize::parse(MEMORY).map_err(|fault| inconsistent(format!("{fault:?}")))?;
    Ok(Limits { cpu, memory })
}
