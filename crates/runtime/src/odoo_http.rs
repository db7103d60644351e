//! Looking at a running Odoo over HTTP: readiness, and the warming of assets in a template.

use crate::error::{RuntimeError, RuntimeResult};
use crate::observed::Readiness;
use crate::workload::Workload;
use regex::Regex;
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use std::sync::LazyLock;
use std::time::Duration;

/// One look must not take longer than this for each request (contract 11.5).
const LOOK: Duration = Duration::from_secs(10);
/// Building the assets of the web client takes several seconds of processor time.
const BUILD: Duration = Duration::from_secs(180);

static ASSET: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"(?:href|src)="(/web/assets/[^"]+)""#).ok());

/// The asset addresses that a page names.
fn assets(page: &str) -> Vec<String> {
    let Some(pattern) = ASSET.as_ref() else { return Vec::new() };
    pattern.captures_iter(page).filter_map(|found| found.get(1)).map(|path| path.as_str().replace("&amp;", "&")).collect()
}

/// Ready = the login page answers 200 and one of the assets it names answers 200. The page alone proves nothing about files: a
/// clone without its filestore still shows it.
pub(crate) async fn ready(client: &Client, base: &str) -> Readiness {
    match look(client, base).await {
        Ok(()) => Readiness::Ready,
        Err(reason) => Readiness::NotYet { reason },
    }
}

async fn look(client: &Client, base: &str) -> Result<(), String> {
    let answer = client.get(format!("{base}/web/login")).timeout(LOOK).send().await.map_err(|e| silent("login page", &e))?;
    // A redirect that was followed leads to the database selector or an error page, not to a login.
    if answer.status() != StatusCode::OK || answer.url().path() != "/web/login" {
        return Err(format!("the login page answers {} at {}", answer.status().as_u16(), answer.url().path()));
    }
    let page = answer.text().await.map_err(|e| silent("login page", &e))?;
    let asset = assets(&page).into_iter().next().ok_or("the login page names no asset")?;
    let answer = client.get(format!("{base}{asset}")).timeout(LOOK).send().await.map_err(|e| silent("asset", &e))?;
    match answer.status() {
        StatusCode::OK => Ok(()),
        other => Err(format!("an asset of the login page answers {}", other.as_u16())),
    }
}

fn silent(what: &str, error: &reqwest::Error) -> String {
    let why = if error.is_timeout() { "did not answer in time" } else { "does not answer" };
    format!("the {what} {why}")
}

/// Logs in and fetches every asset of login page and web client; returns how many.
pub(crate) async fn warm(
    client: &Client,
    base: &str,
    workload: &Workload,
    login: &str,
    password: &SecretString,
) -> RuntimeResult<usize> {
    let login_page = fetch_page(client, base, "/web/login", None).await?;
    let session = log_in(client, base, workload.database.name.as_str(), login, password).await?;
    let web_client = if workload.version.major() >= 18 { "/odoo" } else { "/web" };
    Ok(login_page + fetch_page(client, base, web_client, Some(&session)).await?)
}

async fn fetch_page(client: &Client, base: &str, path: &str, session: Option<&str>) -> RuntimeResult<usize> {
    let page = fetch(client.get(format!("{base}{path}")), path, session).await?;
    let page = page.text().await.map_err(|e| RuntimeError::Transient(silent(path, &e)))?;
    let paths = assets(&page);
    if paths.is_empty() {
        return Err(RuntimeError::Transient(format!("{path} names no asset")));
    }
    for asset in &paths {
        let body = fetch(client.get(format!("{base}{asset}")), asset, session).await?;
        body.bytes().await.map_err(|e| RuntimeError::Transient(silent(asset, &e)))?;
    }
    Ok(paths.len())
}

async fn fetch(request: RequestBuilder, what: &str, session: Option<&str>) -> RuntimeResult<Response> {
    let request = match session {
        Some(session) => request.header(COOKIE, format!("session_id={session}")),
        None => request,
    };
    let answer = request.timeout(BUILD).send().await.map_err(|e| RuntimeError::Transient(silent(what, &e)))?;
    match answer.status() {
        StatusCode::OK => Ok(answer),
        other => Err(RuntimeError::Transient(format!("{what} answers {}", other.as_u16()))),
    }
}

/// Returns the session's id. The cookie is carried by hand, so that the caller's client needs no cookie store, which would mix
/// the sessions of different instances on one host.
async fn log_in(client: &Client, base: &str, database: &str, login: &str, password: &SecretString) -> RuntimeResult<String> {
    let params = serde_json::json!({ "db": database, "login": login, "password": password.expose_secret() });
    let body = serde_json::json!({ "jsonrpc": "2.0", "method": "call", "params": params });
    let answer = fetch(client.post(format!("{base}/web/session/authenticate")).json(&body), "the login", None).await?;
    let cookies: Vec<_> = answer.headers().get_all(SET_COOKIE).iter().filter_map(|c| c.to_str().ok()).collect();
    let session = cookies.iter().find_map(|c| c.strip_prefix("session_id=")?.split(';').next().map(str::to_owned));
    let reply: serde_json::Value = answer.json().await.map_err(|e| RuntimeError::Transient(silent("login", &e)))?;
    match (session, reply["result"]["uid"].as_i64()) {
        (Some(session), Some(_)) => Ok(session),
        _ => Err(RuntimeError::Permanent("Odoo refused the login that warms the assets".into())),
    }
}
