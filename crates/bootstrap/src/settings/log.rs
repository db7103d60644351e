//! What the process tells.

use super::reader::Reader;
use super::variables as v;
use tracing::Level;

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The log.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// Least level that is written.
    pub level: Level,
    /// Form of a line.
    pub format: LogFormat,
}

impl LogSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let level = reader.parsed(&v::LOG_LEVEL, "one of trace, debug, info, warn, error", level);
        let format = reader.parsed(&v::LOG_FORMAT, "json or text", |text| match text {
            "json" => Some(LogFormat::Json),
            "text" => Some(LogFormat::Text),
            _ => None,
        });
        let debug = reader.switch(&v::DEBUG);
        let level = level.map(|level| if debug == Some(true) { level.max(Level::DEBUG) } else { level });
        Some(Self { level: level?, format: format? })
    }
}

fn level(text: &str) -> Option<Level> {
    match text.to_ascii_lowercase().as_str() {
        "trace" | "notset" => Some(Level::TRACE),
        "debug" => Some(Level::DEBUG),
        "info" => Some(Level::INFO),
        "warn" | "warning" => Some(Level::WARN),
        "error" | "critical" | "fatal" => Some(Level::ERROR),
        _ => None,
    }
}
