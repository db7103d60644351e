//! The pages of `docs/flows`: what their diagrams say, line by line, and the bodies that they name.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A page.
#[derive(Debug)]
pub struct Flow {
    /// The lines of its diagram, in order, with their numbers in the file.
    pub lines: Vec<(usize, Line)>,
    /// Bodies, by name; still with placeholders.
    pub bodies: BTreeMap<String, String>,
}

/// One line of a diagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Somebody calls the API.
    Call {
        /// HTTP method.
        method: String,
        /// Path, with placeholders.
        path: String,
        /// Name of the body.
        body: Option<String>,
    },
    /// What it answers to the call before.
    Answer {
        /// HTTP status.
        status: u16,
        /// Fields of the body.
        fields: Vec<(String, String)>,
    },
    /// Fields of the instance as any client reads it.
    Shown(Vec<(String, String)>),
    /// The worker carries out the next operation of this kind.
    Work(String),
    /// A mail with this template reaches the customer.
    Mail(String),
    /// The customer does something with Odoo.
    Use(String),
}

impl Flow {
    /// Reads a page.
    ///
    /// # Errors
    /// When it has lines that cannot be understood.
    pub fn read(page: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(page).with_context(|| page.display().to_string())?;
        let mut flow = Self { lines: Vec::new(), bodies: BTreeMap::new() };
        let (mut fence, mut name) = (None, None);
        for (number, line) in text.lines().enumerate() {
            match (fence, line.trim()) {
                (None, "```mermaid") => fence = Some("mermaid"),
                (None, "```json") => fence = Some("json"),
                (Some(_), "```") => fence = None,
                (None, text) => name = bold(text).map(str::to_owned).or(name),
                (Some("mermaid"), "sequenceDiagram") => {}
                (Some("mermaid"), text) => {
                    let read = parse(text).with_context(|| format!("{}:{}: {text}", page.display(), number + 1))?;
                    flow.lines.push((number + 1, read));
                }
                (Some(_), text) => {
                    let name = name.clone().with_context(|| format!("a body without a name in line {}", number + 1))?;
                    flow.bodies.entry(name).or_default().push_str(text);
                }
            }
        }
        Ok(flow)
    }
}

/// The word in bold that a line begins with.
fn bold(text: &str) -> Option<&str> {
    text.strip_prefix("**")?.split_once("**").map(|(word, _)| word)
}

fn parse(text: &str) -> Result<Line> {
    if let Some(shown) = text.strip_prefix("Note over api:") {
        return Ok(Line::Shown(fields(shown)?));
    }
    let (arrow, what) = text.split_once(": ").context("no message")?;
    Ok(match arrow {
        "billing->>api" | "customer->>api" => call(what)?,
        "api-->>billing" | "api-->>customer" => {
            let (status, rest) = what.split_once(' ').unwrap_or((what, ""));
            Line::Answer { status: status.parse()?, fields: fields(rest)? }
        }
        "worker->>odoo" => Line::Work(what.to_owned()),
        "worker->>mail" => Line::Mail(what.to_owned()),
        "customer->>odoo" => Line::Use(what.to_owned()),
        _ => bail!("nobody knows this arrow"),
    })
}

fn call(what: &str) -> Result<Line> {
    let mut words = what.split(' ');
    let (method, path) = (words.next().context("no method")?.to_owned(), words.next().context("no path")?.to_owned());
    let body = match words.next() {
        Some(name) => Some(
            name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).context("a body is named in brackets")?.to_owned(),
        ),
        None => None,
    };
    Ok(Line::Call { method, path, body })
}

/// `name value, name value`. A value may have blanks, and no `, `.
fn fields(text: &str) -> Result<Vec<(String, String)>> {
    let field = |part: &str| {
        let (name, value) = part.trim().split_once(' ').with_context(|| format!("no value in {part:?}"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    text.split(", ").filter(|part| !part.trim().is_empty()).map(field).collect()
}

/// Whether a value is as a page says: its text, `null`, or `given` for anything else.
pub fn is_as(value: &Value, expected: &str) -> bool {
    match (value, expected) {
        (Value::Null, expected) => expected == "null",
        (_, "given") => true,
        (Value::String(text), expected) => text == expected,
        (other, expected) => serde_json::from_str::<Value>(expected).is_ok_and(|expected| expected == *other),
    }
}
