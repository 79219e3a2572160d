//! Logs to standard error: plain lines for the journal, with the time and colours elsewhere.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging at `info`; `RUST_LOG` overrules the file's `log.level`.
pub fn start() {
    let (filter, handle) =
        reload::Layer::new(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(colour).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    // The journal stamps each line itself.
    let started = if std::env::var_os("JOURNAL_STREAM").is_some() {
        registry.with(lines.without_time()).try_init()
    } else {
        registry.with(lines).try_init()
    };
    if started.is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// Follows `log.level`.
pub fn set_level(level: &str) {
    if std::env::var_os("RUST_LOG").is_some() {
        return;
    }
    if let Some(handle) = FILTER.get() {
        let _ = handle.reload(EnvFilter::new(level));
    }
}
