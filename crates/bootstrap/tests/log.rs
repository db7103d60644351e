//! What a log line looks like, and that secrets do not reach it by any way in.
#![allow(clippy::unwrap_used, reason = "tests")]

use bootstrap::settings::{LogFormat, LogSettings};
use bootstrap::telemetry;
use serde_json::Value;
use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing::Level;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut held = self.0.lock().map_err(|_| std::io::ErrorKind::Other)?;
        held.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What `work` writes to the log.
fn log(format: LogFormat, level: Level, work: impl FnOnce()) -> String {
    let sink = Sink::default();
    let target = sink.clone();
    let subscriber = telemetry::subscriber(&LogSettings { level, format }, move || target.clone());
    tracing::subscriber::with_default(subscriber, work);
    String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
}

fn one_of_each() {
    let span = tracing::info_span!("op.provision", operation_id = "o-1", instance_id = "i-1", admin_password = "pw-in-span");
    let _in_operation = span.enter();
    let step = tracing::info_span!("step.clone", step = "clone", operation_id = "o-2");
    let _in_step = step.enter();
    tracing::info!(token = "tok-field", attempt = 3, ok = true, address = "jane@example.org", "cloned for {}", "joe@example.org");
    tracing::warn!(error = %"postgres://u:pw-url@h/db refused", cause = ?Some("secret=pw-debug"), "failed\nforged line");
}

#[test]
fn a_line_is_one_flat_object_with_the_fields_of_its_spans() {
    let text = log(LogFormat::Json, Level::INFO, one_of_each);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = &lines[0];
    assert_eq!(first["level"], "INFO");
    assert_eq!(first["message"], "cloned for ***");
    assert_eq!((&first["instance_id"], &first["step"]), (&Value::from("i-1"), &Value::from("clone")));
    assert_eq!(first["operation_id"], "o-2", "the inner span speaks for itself");
    assert_eq!(first["spans"], "op.provision:step.clone");
    assert_eq!((&first["attempt"], &first["ok"]), (&Value::from(3), &Value::from(true)));
    assert!(first["time"].as_str().unwrap().ends_with("+00:00"), "{}", first["time"]);
}

#[test]
fn secrets_and_addresses_are_masked_in_both_forms() {
    for format in [LogFormat::Json, LogFormat::Text] {
        let text = log(format, Level::INFO, one_of_each);
        assert!(text.contains("op.provision") && text.contains("i-1"), "{text}");
        assert_eq!(text.lines().count(), 2, "a line break in a message must not make a line: {text}");
        for secret in ["pw-in-span", "tok-field", "jane@", "joe@", "pw-url", "pw-debug"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn the_level_holds_and_statements_are_never_logged() {
    let work = || {
        tracing::debug!("ours");
        tracing::debug!(target: "sqlx::query", "SELECT 1");
        tracing::debug!(target: "hyper_util::client", "noise");
    };
    assert_eq!(log(LogFormat::Text, Level::INFO, work), "");
    let debug = log(LogFormat::Text, Level::DEBUG, work);
    assert!(debug.contains("ours") && !debug.contains("SELECT") && !debug.contains("noise"), "{debug}");
}
