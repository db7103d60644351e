//! A real Odoo as its customer meets it: the login page, the files that the page names, a login through JSON-RPC.

use crate::call;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

/// Odoo at an address.
#[derive(Clone, Debug)]
pub struct Odoo {
    url: String,
    database: String,
}

impl Odoo {
    /// Odoo at `url`, which serves `database`.
    pub fn at(url: &str, database: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), database: database.to_owned() }
    }

    /// The login page.
    ///
    /// # Errors
    /// When it is not served with status 200.
    pub fn login_page(&self) -> Result<String> {
        let page = self.fetch("/web/login")?;
        Ok(String::from_utf8_lossy(&page).into_owned())
    }

    /// A file, which must be there and not empty.
    ///
    /// # Errors
    /// When it is not served with status 200.
    pub fn fetch(&self, path: &str) -> Result<Vec<u8>> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        let url = format!("{}{path}", self.url);
        let mut response = agent.get(&url).call().with_context(|| url.clone())?;
        let body = response.body_mut().with_config().limit(64 * 1024 * 1024).read_to_vec()?;
        ensure!(response.status().as_u16() == 200, "{url} answers {}", response.status());
        ensure!(!body.is_empty(), "{url} is empty");
        Ok(body)
    }

    /// Logs in through Odoo's own JSON-RPC; answers the user's id, or `None` when the login is refused.
    ///
    /// # Errors
    /// When Odoo answers otherwise.
    pub fn authenticate(&self, login: &str, password: &str) -> Result<Option<i64>> {
        let result = self.rpc("common", "authenticate", &json!([self.database, login, password, {}]))?;
        ensure!(result.is_i64() || result == json!(false), "authenticate answers {result}");
        Ok(result.as_i64())
    }

    /// Calls a method of a model as a user.
    ///
    /// # Errors
    /// With what Odoo says.
    pub fn execute(&self, user: i64, password: &str, model: &str, method: &str, arguments: &Value) -> Result<Value> {
        self.rpc("object", "execute_kw", &json!([self.database, user, password, model, method, arguments]))
    }

    fn rpc(&self, service: &str, method: &str, arguments: &Value) -> Result<Value> {
        let request = json!({
            "jsonrpc": "2.0", "method": "call", "id": 1, "params": { "service": service, "method": method, "args": arguments },
        });
        let answer = call("POST", &format!("{}/jsonrpc", self.url), Some(&request))?.expect(200)?.body;
        ensure!(answer.get("error").is_none(), "Odoo answers {}", answer["error"]["data"]["message"]);
        Ok(answer["result"].clone())
    }
}

/// The addresses of the assets that a page names.
pub fn assets(page: &str) -> Vec<String> {
    let named = |word: &str| {
        let parts: Vec<_> = page.split(&format!("{word}=\"")).skip(1).map(str::to_owned).collect();
        parts.into_iter().filter_map(|part| part.split_once('"').map(|(path, _)| path.to_owned()))
    };
    named("href").chain(named("src")).filter(|path| path.starts_with("/web/assets/")).collect()
}
