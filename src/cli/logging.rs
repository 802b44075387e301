//! The log of a serving node: text for people or one JSON object a line, on
//! standard error, filtered as the config says.

use anyhow::{Context, anyhow};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Starts the process's log. Happens once.
///
/// # Errors
/// A filter that cannot be read, named with its key.
pub fn start(log: &Log) -> anyhow::Result<()> {
    let filter = log.level.parse::<Targets>();
    let filter =
        filter.with_context(|| format!("log.level: {:?} is no level and no filter", log.level))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let filtered = tracing_subscriber::registry().with(filter);
    let started = match log.format {
        LogFormat::Text => filtered.with(lines).try_init(),
        LogFormat::Json => filtered.with(lines.json().flatten_event(true)).try_init(),
    };
    started.map_err(|e| anyhow!("the log: {e}"))
}
