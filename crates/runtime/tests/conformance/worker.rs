//! A worker in a process of its own, so that it can be killed: this test binary, run once more.

use crate::stage::{SystemEntropy, new_turn};
use domain::names::EnvName;
use domain::size::{ByteSize, CpuLimit};
use domain::version::OdooVersion;
use runtime::account::Account;
use runtime::directory::DataDirectories;
use runtime::process::{ProcessRuntime, ProcessSettings};
use runtime::{Files, Image, InstanceRuntime, Limits, OneOff, Service, Task, TenantDatabase, Workload};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const ORDER: &str = "CONFORMANCE_WORKER";

/// A process driver as a worker makes it.
pub fn driver(root: &Path, installations: &str) -> ProcessRuntime {
    let directories = DataDirectories::new(root, Account::named("nobody").unwrap()).unwrap();
    let settings = ProcessSettings { installations: installations.into(), ports: 20_000..=20_999 };
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    ProcessRuntime::new(settings, directories, client, Arc::new(SystemEntropy)).unwrap()
}

#[derive(Serialize, Deserialize)]
struct Order {
    root: PathBuf,
    service: Service,
    image: Image,
    version: u16,
    directory: PathBuf,
    database: String,
    database_port: u16,
    port: Option<u16>,
    password: String,
    environment: BTreeMap<String, String>,
    one_off: bool,
    staged: bool,
}

impl Order {
    fn workload(self) -> Workload {
        Workload {
            service: self.service,
            turn: new_turn(),
            version: OdooVersion::new(self.version),
            image: self.image,
            directory: self.directory,
            database: TenantDatabase {
                host: "127.0.0.1".into(),
                port: self.database_port,
                name: self.database.clone().try_into().unwrap(),
                user: self.database.try_into().unwrap(),
                password: SecretString::from(self.password),
                connection_limit: 32,
            },
            port: self.port,
            limits: Limits { cpu: CpuLimit::new(1.into()).unwrap(), memory: ByteSize::parse("1G").unwrap() },
            base_url: "http://shop.example.org".into(),
            behind_proxy: false,
            demo: false,
            environment: self.environment.into_iter().map(|(name, value)| (EnvName::parse(&name).unwrap(), value)).collect(),
        }
    }
}

/// What the killed worker was doing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// `ensure`, which had come back.
    Ensure,
    /// A one-off run, which was under way.
    OneOff,
    /// A one-off run on what was staged as number 1, which was under way.
    Staged,
}

/// Runs a worker that gets so far, and kills it.
pub fn run_and_kill(root: &Path, workload: &Workload, doing: Doing) {
    let order = Order {
        root: root.to_owned(),
        service: workload.service.clone(),
        image: workload.image.clone(),
        version: workload.version.major(),
        directory: workload.directory.clone(),
        database: workload.database.name.as_str().to_owned(),
        database_port: workload.database.port,
        port: workload.port,
        password: workload.database.password.expose_secret().to_owned(),
        environment: workload.environment.iter().map(|(name, value)| (name.as_str().to_owned(), value.clone())).collect(),
        one_off: doing != Doing::Ensure,
        staged: doing == Doing::Staged,
    };
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "worker::body", "--ignored", "--nocapture"])
        .env(ORDER, serde_json::to_string(&order).unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(worker.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("so far")), "the worker did not get so far");
    worker.kill().unwrap();
    worker.wait().unwrap();
}

#[tokio::test]
#[ignore = "not a test: the worker that other tests start and kill"]
#[allow(clippy::disallowed_methods, reason = "the order comes from the test that started this process")]
async fn body() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let order: Order = serde_json::from_str(&order).unwrap();
    let (root, one_off, staged) = (order.root.clone(), order.one_off, order.staged);
    let workload = order.workload();
    let (part, files) = match staged {
        true => ("incoming-1", Files::Staged { number: 1, filestore: workload.database.name.clone() }),
        false => ("data", Files::Live),
    };
    let runtime = driver(&root, "unused");
    if one_off {
        let begun = workload.directory.join(part).join("starts");
        let run = OneOff { workload, task: Task::Initialise, limit: Duration::from_secs(600), files };
        let seen = crate::stage::until("the run has begun", async || begun.exists());
        tokio::join!(async { runtime.run_once(&run).await.unwrap() }, async {
            seen.await;
            println!("so far");
        });
    } else {
        runtime.ensure(&workload).await.unwrap();
        println!("so far");
        std::future::pending::<()>().await;
    }
}
