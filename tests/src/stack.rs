//! One deployment for one story: two servers, a runtime, the API, workers, and the neighbours that they call.

use crate::billing::{Answer, Order, bring, call, fetch};
use crate::environment::{self, variable};
use crate::{Binary, Fake, until};
use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use testkit::guard::Guard;
use testkit::port::Port;
use testkit::services::Services;
use testkit::{Cluster, Options, Pair, Snapshot, random};

/// Longest time until a process is ready, on a machine that may be busy with other tests.
const READY: Duration = Duration::from_secs(90);

/// What runs Odoo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// The scripted stand-in, a process of its own.
    Fake,
    /// Real Odoo, with this launcher pattern.
    Process {
        /// The launcher of Odoo 19.
        launcher: String,
        /// `PROCESS_ODOO_USER`.
        user: String,
    },
}

/// Real Odoo as `cargo dev test` and `cargo dev bench` provide it, if they do.
///
/// # Errors
/// When it is named but not there.
#[expect(clippy::disallowed_methods, reason = "the test run is told where Odoo is by its environment")]
pub fn real_odoo() -> Result<Option<Runtime>> {
    let Some(launcher) = std::env::var_os("INSTANCE_TEST_ODOO") else { return Ok(None) };
    let launcher = launcher.into_string().ok().context("INSTANCE_TEST_ODOO is no text")?;
    anyhow::ensure!(Path::new(&launcher).exists(), "INSTANCE_TEST_ODOO names {launcher}, which does not exist");
    Ok(Some(Runtime::Process { launcher, user: "odoo".into() }))
}

/// How a stack is built.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// What runs Odoo.
    pub runtime: Runtime,
    /// How many workers are started at once.
    pub workers: usize,
    /// Real durability on both servers.
    pub durable: bool,
    /// More variables for workers and API.
    pub environment: Vec<(String, String)>,
    /// More settings of both servers.
    pub settings: Vec<(String, String)>,
}

impl Default for StackOptions {
    fn default() -> Self {
        Self { runtime: Runtime::Fake, workers: 1, durable: false, environment: Vec::new(), settings: Vec::new() }
    }
}

/// A worker process.
#[derive(Debug)]
pub struct Worker {
    /// The process.
    pub process: Binary,
    health: Port,
}

impl Worker {
    /// Whether it says that it takes work.
    pub fn is_ready(&self) -> bool {
        let url = format!("http://127.0.0.1:{}/readyz", self.health.number());
        call("GET", &url, None).is_ok_and(|answer| answer.status == 200)
    }
}

/// A request that was answered with an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The operation's kind.
    pub kind: &'static str,
    /// The operation.
    pub operation: String,
    /// The instance it is about.
    pub instance: String,
}

/// A whole deployment. Everything ends when it is dropped.
pub struct Stack {
    /// The workers, in the order of their start; dead ones stay until removed.
    pub workers: Vec<Worker>,
    /// The API.
    pub api: Binary,
    /// The fake runtime, if that is what runs Odoo.
    pub fake: Option<Fake>,
    /// User service and mail catcher.
    pub services: Services,
    /// Both servers.
    pub pair: Pair,
    /// What the Odoo server held before anything of ours came to it.
    pub empty: Snapshot,
    acknowledged: Mutex<Vec<Acknowledged>>,
    runtime: Runtime,
    common: Vec<(String, String)>,
    own: Vec<(String, String)>,
    started_workers: usize,
    api_port: Port,
    guard: Guard,
    // Last: removed when all processes are gone.
    directory: TempDir,
}

impl Drop for Stack {
    /// Odoo outlives its worker by design, and so a story that ends early: the guard ends all that works in our directory.
    fn drop(&mut self) {
        self.workers.clear();
        if let Err(error) = self.guard.clean() {
            eprintln!("processes of {} may be left: {error}", self.directory.path().display());
        }
    }
}

impl Stack {
    /// Starts everything and waits until API and workers are ready.
    ///
    /// # Errors
    /// When a part cannot be started; its log is named.
    pub fn start(options: &StackOptions) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("story-").tempdir()?;
        let guard = Guard::over(directory.path())?;
        open_to_others(directory.path())?;
        std::fs::create_dir_all(directory.path().join("instances"))?;
        let pair = Pair::start(&Options { fsync: options.durable, settings: options.settings.clone() })?;
        let empty = Snapshot::of_server(&pair.postgres2)?;
        let services = Services::start(&directory.path().join("services"))?;
        let api_port = Port::reserve()?;
        let common = environment::common(&pair, &services, directory.path(), &options.environment)?;
        let fake = match options.runtime {
            Runtime::Fake => Some(Fake::start(directory.path())?),
            Runtime::Process { .. } => None,
        };
        let api = start_api(directory.path(), &common, &api_port)?;
        let own = environment::of_worker(&pair, directory.path(), &options.runtime)?;
        let runtime = options.runtime.clone();
        let mut stack = Self {
            workers: Vec::new(),
            api,
            fake,
            services,
            pair,
            empty,
            acknowledged: Mutex::default(),
            runtime,
            common,
            own,
            started_workers: 0,
            api_port,
            guard,
            directory,
        };
        for _ in 0..options.workers {
            stack.start_worker()?;
        }
        stack.await_api()?;
        Ok(stack)
    }

    /// Starts one more worker and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_worker(&mut self) -> Result<()> {
        self.start_worker_unwaited()?;
        let index = self.workers.len() - 1;
        until(READY, &format!("a ready worker, see {}", self.log_directory().display()), || {
            if let Some(status) = self.workers[index].process.ended()? {
                bail!("the worker ended with {status}:\n{}", self.workers[index].process.output()?);
            }
            Ok(self.workers[index].is_ready().then_some(()))
        })
    }

    /// Starts one more worker without waiting for anything.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_worker_unwaited(&mut self) -> Result<()> {
        self.started_workers += 1;
        let health = Port::reserve()?;
        let mut environment = self.common.clone();
        environment.extend(self.own.clone());
        environment.push(variable("WORKER_HEALTH_ADDR", format!("127.0.0.1:{}", health.number())));
        let log = self.directory.path().join(format!("worker-{}.log", self.started_workers));
        let process = Binary::start("instance-worker", &[], &environment, &log)?;
        self.workers.push(Worker { process, health });
        Ok(())
    }

    /// Takes workers that have ended off the list; answers how many of them were killed.
    ///
    /// # Errors
    /// When a process cannot be asked.
    pub fn bury_workers(&mut self) -> Result<usize> {
        let (mut killed, mut index) = (0, 0);
        while index < self.workers.len() {
            if self.workers[index].process.ended()?.is_none() {
                index += 1;
                continue;
            }
            killed += usize::from(self.workers[index].process.was_killed()?);
            self.workers.remove(index);
        }
        Ok(killed)
    }

    /// The worker that holds the lease of an operation: its name is in its own log.
    ///
    /// # Errors
    /// When none of ours does.
    pub fn holder_of(&self, operation: &str) -> Result<usize> {
        let owner = self.platform_sql(&format!(
            "SELECT l.owner FROM instance_service.leases l JOIN instance_service.operations o ON o.scope = l.resource
              WHERE o.id = '{operation}'"
        ))?;
        for (index, worker) in self.workers.iter().enumerate() {
            if !owner.is_empty() && worker.process.output()?.contains(&owner) {
                return Ok(index);
            }
        }
        bail!("no worker of this stack holds operation {operation}, {owner:?} does")
    }

    /// Starts the API again, for example after it was killed.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart_api(&mut self) -> Result<()> {
        self.api = start_api(self.directory.path(), &self.common, &self.api_port)?;
        self.await_api()
    }

    fn await_api(&self) -> Result<()> {
        until(READY, "a ready API", || Ok(self.get("/readyz").ok().filter(|answer| answer.status == 200).map(drop)))
    }

    /// Where all logs of this stack are.
    pub fn log_directory(&self) -> &Path {
        self.directory.path()
    }

    /// What every process of ours has logged so far.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn logs(&self) -> Result<String> {
        let mut all = String::new();
        for entry in std::fs::read_dir(self.directory.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                all.push_str(&String::from_utf8_lossy(&std::fs::read(path)?));
            }
        }
        Ok(all)
    }

    /// The root of the instances' data directories.
    pub fn instances_path(&self) -> PathBuf {
        self.directory.path().join("instances")
    }

    /// The file that arms fault points.
    pub fn faults_file(&self) -> PathBuf {
        self.directory.path().join("faults")
    }

    /// The socket of the fake runtime.
    pub fn fake_socket(&self) -> PathBuf {
        Fake::socket(self.directory.path())
    }

    /// What runs Odoo here.
    pub const fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The base address of the internal door.
    pub fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.api_port.number())
    }

    /// `GET` on the internal door.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn get(&self, path: &str) -> Result<Answer> {
        call("GET", &format!("{}{path}", self.api_url()), None)
    }

    /// `POST` on the internal door.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        call("POST", &format!("{}{path}", self.api_url()), Some(body))
    }

    /// `DELETE` on the internal door.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn delete(&self, path: &str) -> Result<Answer> {
        call("DELETE", &format!("{}{path}", self.api_url()), None)
    }

    /// An order of a new customer, known to the user service, with a new subscription.
    ///
    /// # Errors
    /// When the user cannot be made.
    pub fn order(&self, label: &str) -> Result<Order> {
        let customer = self.services.create_user(&format!("{}@customer.example", label.replace('_', "-")), "Shopkeeper")?;
        Ok(Order::new(&customer, &uuid()?, label))
    }

    /// Creates and provisions in one call; answers the ids of instance and operation.
    ///
    /// # Errors
    /// When the order is refused.
    pub fn provision(&self, order: &Order) -> Result<(String, String)> {
        let answer = self.post("/api/v1/instances/?provision=true", order.body())?.expect(201)?;
        let (instance, operation) = (answer.text("id")?, answer.text("operation_id")?);
        self.acknowledge("provision", &operation, &instance);
        Ok((instance, operation))
    }

    /// Deletes an instance; answers the operation.
    ///
    /// # Errors
    /// When it is refused.
    pub fn remove(&self, instance: &str) -> Result<String> {
        let operation = self.delete(&format!("/api/v1/instances/{instance}"))?.expect(200)?.text("job_id")?;
        self.acknowledge("delete", &operation, instance);
        Ok(operation)
    }

    /// Terminates an instance; answers the operation.
    ///
    /// # Errors
    /// When it is refused.
    pub fn terminate(&self, instance: &str) -> Result<String> {
        let answer = self.post(&format!("/api/v1/instances/{instance}/actions"), &json!({ "action": "terminate" }))?;
        let operation = answer.expect(200)?.text("job_id")?;
        self.acknowledge("terminate", &operation, instance);
        Ok(operation)
    }

    /// Asks something of an instance; answers the operation.
    ///
    /// # Errors
    /// When it is refused, or needs no operation.
    pub fn act(&self, instance: &str, action: &str) -> Result<String> {
        let answer = self.post(&format!("/api/v1/instances/{instance}/actions"), &json!({ "action": action }))?;
        answer.expect(200)?.text("job_id")
    }

    /// The whole backups of an instance, newest first.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn backups(&self, instance: &str) -> Result<Vec<String>> {
        let list = self.get(&format!("/api/v1/instances/{instance}/backups"))?.expect(200)?.body;
        let all = list["backups"].as_array().context("no list of backups")?.iter();
        let whole = all.filter(|backup| backup["status"] == "completed");
        Ok(whole.filter_map(|backup| Some(backup["backup_id"].as_str()?.to_owned())).collect())
    }

    /// Has an archive of a backup made and fetches it.
    ///
    /// # Errors
    /// When it is refused, or not made within `limit`.
    pub fn export(&self, backup: &str, limit: Duration) -> Result<Vec<u8>> {
        let path = format!("/api/v1/backups/{backup}/export");
        let queued = self.get(&path)?;
        if queued.status == 202 {
            self.await_success(&queued.text("operation_id")?, limit)?;
        }
        fetch(&format!("{}{path}", self.api_url()))
    }

    /// Brings an archive; answers the operation.
    ///
    /// # Errors
    /// When it is refused.
    pub fn import(&self, instance: &str, archive: &[u8]) -> Result<String> {
        let url = format!("{}/api/v1/instances/{instance}/import", self.api_url());
        bring(&url, archive)?.expect(200)?.text("job_id")
    }

    /// Where API and workers hand each other archives.
    pub fn transfer_path(&self) -> PathBuf {
        self.directory.path().join("backups/transfer")
    }

    /// Asks for a restore; answers the operation.
    ///
    /// # Errors
    /// When it is refused.
    pub fn restore(&self, instance: &str, backup: &str) -> Result<String> {
        let body = json!({ "action": "restore", "parameters": { "backup_id": backup } });
        self.post(&format!("/api/v1/instances/{instance}/actions"), &body)?.expect(200)?.text("job_id")
    }

    /// What billing says of an instance, and nothing else.
    ///
    /// # Errors
    /// When it is refused.
    pub fn note_billing(&self, instance: &str, status: &str) -> Result<()> {
        let body = json!({ "billing_status": status, "provisioning_trigger": "invoice_payment_success_billing_update" });
        self.post(&format!("/api/v1/instances/{instance}/provision"), &body)?.expect(200).map(drop)
    }

    /// Brings a terminated instance back under a new subscription; answers the operation.
    ///
    /// # Errors
    /// When it is refused.
    pub fn reactivate(&self, instance: &str) -> Result<String> {
        let body = json!({ "subscription_id": uuid()? });
        let answer = self.post(&format!("/api/v1/instances/{instance}/restart-with-subscription"), &body)?;
        answer.expect(200)?.text("job_id")
    }

    /// Orders other limits and has them applied; answers the operation.
    ///
    /// # Errors
    /// When it is refused.
    pub fn resize(&self, instance: &str, memory: &str) -> Result<String> {
        let path = format!("/api/v1/instances/{instance}");
        call("PUT", &format!("{}{path}", self.api_url()), Some(&json!({ "memory_limit": memory })))?.expect(200)?;
        self.post(&format!("{path}/apply-resources"), &json!({}))?.expect(200)?.text("job_id")
    }

    /// Notes that a request was answered with this operation: it may neither be lost nor carried out twice.
    pub fn acknowledge(&self, kind: &'static str, operation: &str, instance: &str) {
        let noted = Acknowledged { kind, operation: operation.to_owned(), instance: instance.to_owned() };
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(noted);
    }

    /// Everything that was acknowledged so far.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until an operation has ended, whatever way; answers it.
    ///
    /// # Errors
    /// When it has not ended within `limit`.
    pub fn await_operation(&self, operation: &str, limit: Duration) -> Result<Value> {
        let path = format!("/api/v1/operations/{operation}");
        let mut last = Value::Null;
        until(limit, &format!("the end of operation {operation}"), || {
            last = self.get(&path)?.expect(200)?.body;
            let state = last["state"].as_str().unwrap_or_default();
            Ok(matches!(state, "succeeded" | "failed" | "cancelled").then(|| last.clone()))
        })
        .with_context(|| format!("last seen: {last:#}\nlogs in {}", self.log_directory().display()))
    }

    /// The same, and it succeeded.
    ///
    /// # Errors
    /// When it has not.
    pub fn await_success(&self, operation: &str, limit: Duration) -> Result<Value> {
        let ended = self.await_operation(operation, limit)?;
        if ended["state"] != "succeeded" {
            bail!("operation {operation} ended so: {ended:#}\n{}", self.logs()?);
        }
        Ok(ended)
    }

    /// An instance as clients see it.
    ///
    /// # Errors
    /// When it is not there.
    pub fn instance(&self, id: &str) -> Result<Value> {
        Ok(self.get(&format!("/api/v1/instances/{id}"))?.expect(200)?.body)
    }

    /// Rows of postgres1 as the test superuser sees them; columns are separated by `|`.
    ///
    /// # Errors
    /// With the server's message.
    pub fn platform_sql(&self, sql: &str) -> Result<String> {
        self.pair.postgres1.psql("instance", sql)
    }

    /// Rows of a query on postgres1, by column names.
    ///
    /// # Errors
    /// With the server's message, or when the rows have another form.
    pub fn platform_rows<T: DeserializeOwned>(&self, query: &str) -> Result<Vec<T>> {
        rows(&self.pair.postgres1, "instance", query)
    }

    /// Rows of a query on postgres2, in its maintenance database.
    ///
    /// # Errors
    /// With the server's message, or when the rows have another form.
    pub fn odoo_rows<T: DeserializeOwned>(&self, query: &str) -> Result<Vec<T>> {
        rows(&self.pair.postgres2, "postgres", query)
    }
}

fn rows<T: DeserializeOwned>(server: &Cluster, database: &str, query: &str) -> Result<Vec<T>> {
    let text = server.psql(database, &format!("SELECT coalesce(json_agg(q), '[]') FROM ({query}) q"))?;
    serde_json::from_str(&text).with_context(|| format!("rows of {query}"))
}

/// A random UUID.
///
/// # Errors
/// When the system has no random bytes.
pub fn uuid() -> Result<String> {
    let (high, low) = (random::number()?, random::number()?);
    Ok(format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    ))
}

/// Odoo's own user has to reach its data directory below ours.
fn open_to_others(directory: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o711))?)
}

fn start_api(directory: &Path, common: &[(String, String)], port: &Port) -> Result<Binary> {
    let mut environment = common.to_vec();
    environment.push(variable("LISTEN_ADDR", format!("127.0.0.1:{}", port.number())));
    Binary::start("instance-api", &[], &environment, &directory.join("api.log"))
}
