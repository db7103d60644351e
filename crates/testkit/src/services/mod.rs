//! Stand-ins for the two services that ours calls: the user service and the notification service (which catches mails).
//!
//! Owns: users and mails as JSON files in a directory, so that they outlive a restart and people can read them; scripted
//! faults. Leaves to others: sending anything anywhere.
//!
//! | call | does |
//! |---|---|
//! | `POST /users` `{email, first_name?, last_name?}` | makes a user, answers it with its new id |
//! | `GET /users/internal/{id}` | the user, or 404 |
//! | `POST /api/v1/emails/send-template` | stores the mail; an unknown template is 404, a malformed call 422 |
//! | `GET /mails` | all mails, oldest first |
//! | `POST /faults` [`Fault`] | the next calls under a path fail as told |

mod http;
pub mod killbill;

use crate::random;
use anyhow::{Context, Result};
use http::{Listening, Reply, Request};
use serde_json::{Value, json};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

const TEMPLATES: [&str; 12] = [
    "instance_provisioning_started",
    "instance_ready",
    "instance_provisioning_failed",
    "instance_started",
    "instance_stopped",
    "backup_completed",
    "backup_failed",
    "restore_completed",
    "restore_failed",
    "instance_suspended",
    "instance_resumed",
    "instance_deleted",
];

/// How calls go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An answer with this status.
    Status(u16),
    /// No answer at all.
    Hang,
    /// The connection is closed.
    Close,
}

#[derive(Debug)]
struct Script {
    path: String,
    fault: Fault,
    times: u32,
}

/// Both stand-ins on one port, inside this process; they end when it is dropped.
#[derive(Debug)]
pub struct Services {
    listening: Listening,
    state: Arc<State>,
}

impl Services {
    /// Starts them on a free loopback port.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn start(directory: &Path) -> Result<Self> {
        Self::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), directory)
    }

    /// Starts them at an address.
    ///
    /// # Errors
    /// When the address is taken or the directory cannot be used.
    pub fn listen(address: SocketAddr, directory: &Path) -> Result<Self> {
        let state = Arc::new(State::open(directory)?);
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let answering = Arc::clone(&state);
        let listening = Listening::start(listener, Arc::new(move |request| answering.answer(request)))?;
        Ok(Self { listening, state })
    }

    /// For `USER_SERVICE_URL` and `NOTIFICATION_SERVICE_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.listening.address())
    }

    /// Makes a user and answers its id.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn create_user(&self, email: &str, first_name: &str) -> Result<String> {
        let user = self.state.create_user(&json!({ "email": email, "first_name": first_name }))?;
        user["id"].as_str().map(str::to_owned).context("a user has an id")
    }

    /// All mails so far, oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn mails(&self) -> Result<Vec<Value>> {
        self.state.mails()
    }

    /// Lets the next `times` calls whose path begins with `path` fail.
    pub fn fail(&self, path: &str, fault: Fault, times: u32) {
        self.state.script(Script { path: path.to_owned(), fault, times });
    }

    /// Serves until the process is ended.
    ///
    /// # Errors
    /// When the listener dies.
    pub fn wait(self) -> Result<()> {
        self.listening.join()
    }
}

#[derive(Debug)]
struct State {
    directory: PathBuf,
    // Also held while a mail is numbered.
    scripts: Mutex<Vec<Script>>,
}

impl State {
    fn open(directory: &Path) -> Result<Self> {
        for name in ["users", "mails"] {
            // Mails carry passwords: nobody else may read them.
            let place = directory.join(name);
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&place)
                .with_context(|| format!("cannot create {}", place.display()))?;
        }
        Ok(Self { directory: directory.to_owned(), scripts: Mutex::default() })
    }

    fn script(&self, script: Script) {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner).push(script);
    }

    fn fault(&self, path: &str) -> Option<Fault> {
        let mut scripts = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        let script = scripts.iter_mut().find(|script| script.times > 0 && path.starts_with(&script.path))?;
        script.times -= 1;
        Some(script.fault.clone())
    }

    fn answer(&self, request: &Request) -> Reply {
        match self.fault(&request.path) {
            Some(Fault::Status(status)) => return Reply::Json(status, json!({ "detail": "scripted fault" })),
            Some(Fault::Hang) => return Reply::Hang,
            Some(Fault::Close) => return Reply::Close,
            None => {}
        }
        match self.route(request) {
            Ok((status, body)) => Reply::Json(status, body),
            Err(error) => Reply::Json(500, json!({ "detail": format!("{error:#}") })),
        }
    }

    fn route(&self, request: &Request) -> Result<(u16, Value)> {
        let body = || serde_json::from_slice::<Value>(&request.body).unwrap_or(Value::Null);
        match (request.method.as_str(), request.path.trim_end_matches('/')) {
            ("POST", "/users") => Ok((201, self.create_user(&body())?)),
            ("POST", "/api/v1/emails/send-template") => self.store_mail(&body(), request.header("idempotency-key")),
            ("POST", "/faults") => Ok(self.script_from(&body())),
            ("GET", "/mails") => Ok((200, json!({ "mails": self.mails()? }))),
            ("GET", "/health") => Ok((200, json!({ "status": "healthy" }))),
            ("GET", path) => match path.strip_prefix("/users/internal/") {
                Some(id) => self.user(id),
                None => Ok((404, json!({ "detail": "Not Found" }))),
            },
            _ => Ok((404, json!({ "detail": "Not Found" }))),
        }
    }

    fn create_user(&self, wanted: &Value) -> Result<Value> {
        let text = |name: &str| wanted[name].as_str().unwrap_or_default().to_owned();
        let user = json!({
            "id": random::uuid()?,
            "email": text("email"),
            "first_name": text("first_name"),
            "last_name": text("last_name"),
            "status": "active",
        });
        let id = user["id"].as_str().context("just made")?;
        put(&self.directory.join("users").join(format!("{id}.json")), &user)?;
        Ok(user)
    }

    fn user(&self, id: &str) -> Result<(u16, Value)> {
        let is_id = id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let file = self.directory.join("users").join(format!("{id}.json"));
        if !is_id || !file.exists() {
            return Ok((404, json!({ "detail": "User not found" })));
        }
        Ok((200, get(&file)?))
    }

    fn store_mail(&self, mail: &Value, key: Option<&str>) -> Result<(u16, Value)> {
        let addressed = mail["to_emails"].as_array().is_some_and(|to| !to.is_empty() && to.iter().all(Value::is_string));
        let (Some(template), true, true) = (mail["template_name"].as_str(), addressed, mail["template_variables"].is_object())
        else {
            return Ok((422, json!({ "detail": "to_emails, template_name and template_variables are required" })));
        };
        if !TEMPLATES.contains(&template) {
            return Ok((404, json!({ "detail": "Template not found" })));
        }
        let mut mail = mail.clone();
        mail["received_at"] = json!(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64);
        mail["idempotency_key"] = json!(key);
        let _numbering = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.mail_files()?.len() + 1;
        put(&self.directory.join("mails").join(format!("{number:06}.json")), &mail)?;
        Ok((200, json!({ "success": true, "message_id": number.to_string() })))
    }

    fn mails(&self) -> Result<Vec<Value>> {
        self.mail_files()?.iter().map(|file| get(file)).collect()
    }

    fn mail_files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(self.directory.join("mails")).context("cannot list mails")? {
            files.push(entry?.path());
        }
        files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        files.sort();
        Ok(files)
    }

    fn script_from(&self, wanted: &Value) -> (u16, Value) {
        let times = wanted["times"].as_u64().and_then(|times| u32::try_from(times).ok()).unwrap_or(1);
        let fault = match (wanted["fault"].as_str(), wanted["status"].as_u64().and_then(|status| u16::try_from(status).ok())) {
            (Some("hang"), _) => Fault::Hang,
            (Some("close"), _) => Fault::Close,
            (None, Some(status)) => Fault::Status(status),
            _ => return (422, json!({ "detail": "give status, or fault: hang or close" })),
        };
        let path = wanted["path"].as_str().unwrap_or("/").to_owned();
        self.script(Script { path, fault, times });
        (200, json!({}))
    }
}

/// Writes beside and renames, so that a reader never sees half a file.
fn put(file: &Path, value: &Value) -> Result<()> {
    let beside = file.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut out = options.create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
    out.write_all(serde_json::to_string_pretty(value)?.as_bytes())?;
    std::fs::rename(&beside, file).with_context(|| format!("cannot write {}", file.display()))
}

fn get(file: &Path) -> Result<Value> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", file.display()))
}
