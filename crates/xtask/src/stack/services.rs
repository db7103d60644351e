//! The services of the stack and the environment each is started with: nothing but what it needs.

use super::databases::Side;
use super::http::Client;
use super::interrupt::Interrupt;
use super::processes::Running;
use super::secrets::Secret;
use super::{ODOO_USER, Stack, shown};
use crate::progress::Task;
use crate::{checkout, command, odoo};
use anyhow::{Result, bail};
use std::process::Command;
use std::time::Duration;
use testkit::pair;

/// The stand-ins, the API and the worker.
pub(super) const COUNT: usize = 3;
const READY_WITHIN: Duration = Duration::from_secs(60);

impl Stack {
    pub(super) fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.options.api_port)
    }

    pub(super) fn worker_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.options.worker_port)
    }

    pub(super) fn services_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.options.services_port)
    }

    pub(super) fn mails(&self) -> std::path::PathBuf {
        self.at("services").join("mails")
    }

    fn command(&self, binary: &str) -> Result<Command> {
        let mut command = Command::new(checkout::binary(binary));
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C.UTF-8").env("HOME", &self.dev);
        command.env("PLATFORM_POSTGRES_HOST", "127.0.0.1").env("PLATFORM_POSTGRES_SSLMODE", "disable");
        command.env("PLATFORM_POSTGRES_PORT", self.port(Side::Postgres1).to_string());
        Ok(command)
    }

    fn with_service_role(&self, command: &mut Command) -> Result<()> {
        command
            .env("PLATFORM_POSTGRES_USER", pair::SERVICE)
            .env("PLATFORM_POSTGRES_PASSWORD_FILE", self.secret_file(Secret::PlatformService)?)
            .env("USER_SERVICE_URL", self.services_url())
            .env("DEFAULT_ODOO_VERSION", odoo::VERSION);
        Ok(())
    }

    fn api(&self) -> Result<Command> {
        let mut api = self.command("instance-api")?;
        self.with_service_role(&mut api)?;
        api.env("LISTEN_ADDR", format!("127.0.0.1:{}", self.options.api_port)).env("AUTH_MODE", "off");
        // No page but its own: nobody is checked here, and any page in a browser on this machine can reach the port.
        api.env("CORS_ALLOWED_ORIGINS", self.api_url());
        // Archives go between it and the worker there.
        api.env("CEPHFS_BACKUPS_PATH", self.backups());
        Ok(api)
    }

    fn worker(&self, odoos: &str) -> Result<Command> {
        let mut worker = self.command("instance-worker")?;
        self.with_service_role(&mut worker)?;
        worker
            .env("ODOO_POSTGRES_HOST", "127.0.0.1")
            .env("ODOO_POSTGRES_PORT", self.port(Side::Postgres2).to_string())
            .env("ODOO_POSTGRES_SSLMODE", "disable")
            .env("ODOO_POSTGRES_ADMIN_USER", pair::ODOO_ADMIN)
            .env("ODOO_POSTGRES_ADMIN_PASSWORD_FILE", self.secret_file(Secret::OdooAdmin)?)
            .env("INSTANCE_SECRETS_KEY_FILE", self.secret_file(Secret::SecretsKey)?)
            .env("NOTIFICATION_SERVICE_URL", self.services_url())
            .env("WORKER_HEALTH_ADDR", format!("127.0.0.1:{}", self.options.worker_port))
            .env("RUNTIME", "process")
            .env("PROCESS_ODOO_COMMAND", odoos)
            .env("PROCESS_ODOO_USER", ODOO_USER)
            .env("PROCESS_ALLOW_OWN_ACCOUNT", "true")
            .env("CEPHFS_INSTANCES_PATH", self.instances())
            .env("CEPHFS_BACKUPS_PATH", self.backups())
            .env("STORAGE_QUOTA", "none");
        Ok(worker)
    }

    /// Brings the schema of postgres1 up to date.
    pub(super) fn migrate(&self) -> Result<()> {
        let mut migrate = self.command("instance-admin")?;
        migrate
            .arg("migrate")
            .env("PLATFORM_POSTGRES_USER", pair::SERVICE)
            .env("PLATFORM_MIGRATION_USER", pair::OWNER)
            .env("PLATFORM_MIGRATION_PASSWORD_FILE", self.secret_file(Secret::PlatformOwner)?);
        command::logged(&mut migrate, &self.log("migrate")?, "cargo dev reset begins anew, without the data")
    }

    /// Starts the stand-ins, the API and the worker, and waits until each is ready.
    pub(super) fn start_services(&self, odoos: &str, interrupt: &Interrupt, task: &mut Task) -> Result<()> {
        std::fs::create_dir_all(self.instances())?;
        std::fs::create_dir_all(self.backups())?;
        let address = format!("127.0.0.1:{}", self.options.services_port);
        let mut stand_ins = self.command("dev-services")?;
        stand_ins.args([address, shown(&self.at("services"))]);
        let started: [_; COUNT] = [
            ("dev-services", stand_ins, format!("{}/health", self.services_url())),
            ("instance-api", self.api()?, format!("{}/readyz", self.api_url())),
            ("instance-worker", self.worker(odoos)?, format!("{}/readyz", self.worker_url())),
        ];
        let mut waiting = Vec::new();
        for (name, mut command, page) in started {
            waiting.push((self.processes().start(name, &mut command, &self.log(name)?)?, page));
        }
        for (process, page) in waiting {
            task.say(&format!("waiting for {}", process.name));
            self.until_ready(&process, &page, interrupt)?;
        }
        Ok(())
    }

    fn until_ready(&self, process: &Running, page: &str, interrupt: &Interrupt) -> Result<()> {
        let client = Client::new();
        let log = self.log(&process.name)?;
        interrupt.wait(&format!("{} ready at {page} (see {})", process.name, log.display()), READY_WITHIN, || {
            if !process.is_alive() {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("{} ended: {} (all of it is in {})", process.name, text.lines().last().unwrap_or_default(), log.display());
            }
            Ok((client.status(page) == Some(200)).then_some(()))
        })
    }
}
