//! Logs and metrics of a process.

use crate::masking::{self, MASK};
use crate::settings::{LogFormat, LogSettings};
use chrono::SecondsFormat;
use domain::sources::Clock;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use serde_json::{Map, Value};
use std::fmt;
use std::panic::PanicHookInfo;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Why logs or metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// There is a subscriber or recorder already.
    #[error("telemetry is set up already")]
    Twice,
    /// The metrics recorder could not be built.
    #[error("metrics: {0}")]
    Metrics(#[from] BuildError),
}

/// Sends the log of this process to standard output, masked, in the form and from the level that the settings say.
///
/// # Errors
/// [`TelemetryError::Twice`] when called a second time.
pub fn init(settings: &LogSettings) -> Result<(), TelemetryError> {
    subscriber(settings, std::io::stdout).try_init().map_err(|_| TelemetryError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A panic is a line of the log like any other, masked. Its payload may be anything, so only text is told.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let words = panic.payload_as_str().unwrap_or("no text");
    tracing::error!(place, words, "panic");
}

/// Makes this process collect metrics; the handle renders them as Prometheus text.
///
/// # Errors
/// A recorder is installed already.
pub fn install_metrics() -> Result<PrometheusHandle, TelemetryError> {
    Ok(PrometheusBuilder::new().install_recorder()?)
}

/// The subscriber of [`init`], writing to any place.
pub fn subscriber<W>(settings: &LogSettings, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter(settings)).with_writer(writer).with_ansi(false);
    match settings.format {
        LogFormat::Json => Box::new(builder.fmt_fields(JsonFields::new()).event_format(JsonLine).finish()),
        LogFormat::Text => Box::new(builder.event_format(MaskedText(Format::default())).finish()),
    }
}

/// Our own crates at the level asked for; the chatty ones below them never beneath info, and never a statement of sqlx,
/// whose log would show what the row types hide.
fn filter(settings: &LogSettings) -> EnvFilter {
    let quiet = ["h2", "hyper", "hyper_util", "reqwest", "rustls", "tower", "apalis", "apalis_core", "apalis_postgres"];
    let mut directives = vec![settings.level.to_string()];
    let calm = settings.level.min(tracing::Level::INFO);
    directives.extend(quiet.iter().map(|target| format!("{target}={calm}")));
    directives.push(format!("sqlx={}", settings.level.min(tracing::Level::WARN)));
    EnvFilter::new(directives.join(","))
}

/// Lines for people, masked as a whole.
struct MaskedText(Format);

impl<S, N> FormatEvent<S, N> for MaskedText
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        // A line break inside a message must not make a second line that looks like one of ours.
        let line = masking::mask(line.trim_end()).replace(['\n', '\r'], "\\n");
        writeln!(writer, "{line}")
    }
}

/// One flat JSON object a line: time, level, target, message, the fields of the event, and those of the spans around it,
/// so that request id, operation id, instance id and step are at hand on every line.
struct JsonLine;

impl<S> FormatEvent<S, JsonFields> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(&self, context: &FmtContext<'_, S, JsonFields>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Map::new();
        let now = crate::SystemClock.now().to_rfc3339_opts(SecondsFormat::Micros, false);
        line.insert("time".into(), now.into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("target".into(), event.metadata().target().into());
        let mut names = Vec::new();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            names.push(span.name().to_owned());
            let extensions = span.extensions();
            let Some(fields) = extensions.get::<FormattedFields<JsonFields>>() else { continue };
            if let Ok(Value::Object(fields)) = serde_json::from_str(fields.fields.as_str()) {
                // An inner span speaks for itself where both name the same field.
                line.extend(fields.into_iter().map(|(name, value)| masked(name, value)));
            }
        }
        if !names.is_empty() {
            line.insert("spans".into(), names.join(":").into());
        }
        event.record(&mut JsonVisitor(&mut line));
        let text = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{text}")
    }
}

struct JsonVisitor<'l>(&'l mut Map<String, Value>);

impl JsonVisitor<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        let (name, value) = masked(field.name().to_owned(), value);
        self.0.insert(name, value);
    }
}

impl Visit for JsonVisitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

fn masked(name: String, value: Value) -> (String, Value) {
    let value = match value {
        Value::String(_) if masking::is_secret_name(&name) => MASK.into(),
        Value::String(text) => masking::mask(&text).into(),
        other => other,
    };
    (name, value)
}
