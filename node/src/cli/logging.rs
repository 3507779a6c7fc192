//! What the process says about itself, on stderr.

use tidings_config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::util::SubscriberInitExt;

use super::failure::Failure;
use super::log_bound::LogBound;

/// Changes what is logged while the process runs.
pub(super) struct Level(Box<dyn Fn(EnvFilter) -> Result<(), String> + Send>);

impl Level {
    /// Logs from here on what `level` says.
    ///
    /// # Errors
    /// When logging has ended.
    pub(super) fn set(&self, level: EnvFilter) -> Result<(), String> {
        (self.0)(level)
    }
}

/// Reads filter directives.
pub(super) fn filter(level: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(level).map_err(|error| format!("log.level = {level}: {error}"))
}

/// Starts logging as configured. Once a process.
pub(super) fn start(log: &Log) -> Result<Level, Failure> {
    let filter = filter(&log.level).map_err(Failure::Usage)?;
    let bound = LogBound::default();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let (level, started) = match log.format {
        LogFormat::Text => {
            let builder = builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
            let builder = builder.with_filter_reloading();
            (changing(builder.reload_handle()), builder.finish().with(bound.clone()).try_init())
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            (changing(builder.reload_handle()), builder.finish().with(bound.clone()).try_init())
        }
    };
    started.map_err(|error| Failure::Failed(format!("logging does not start: {error}")))?;
    bound.report();
    Ok(level)
}

fn changing<S: 'static>(handle: Handle<EnvFilter, S>) -> Level {
    Level(Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())))
}

/// Logs errors only: a command that asks a node says by itself what goes wrong.
pub(super) fn quiet() {
    let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::new("error")).with_writer(std::io::stderr);
    // When something logs already, that is fine.
    drop(builder.try_init());
}
