//! What the process says about itself, on stderr.

use tidings_config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;

use super::failure::Failure;

/// Starts logging as configured. Once a process.
pub(super) fn start(log: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&log.level).map_err(|error| Failure::Usage(format!("log.level: {error}")))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Failure::Failed(format!("logging does not start: {error}")))
}

/// Logs errors only: a command that asks a node says by itself what goes wrong.
pub(super) fn quiet() {
    let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::new("error")).with_writer(std::io::stderr);
    // When something logs already, that is fine.
    drop(builder.try_init());
}
