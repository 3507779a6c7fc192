//! `tidings config`: checks a file, prints the defaults.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use tidings_config::{Config as Settings, DEFAULT_TOML};

use super::Context;
use super::failure::Failure;

/// The commands of `tidings config`.
#[derive(Subcommand)]
pub(super) enum Config {
    /// Check a file together with the environment, as a node would at its start
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print every key with its default and what it means
    Default,
}

impl Config {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Default => context.out.line(DEFAULT_TOML.trim_end()),
            Self::Check { file } => {
                let config = Settings::load(Some(&file), environment()).map_err(|e| Failure::Failed(e.to_string()))?;
                if context.out.json {
                    let shown = serde_json::to_string(&config).map_err(|e| Failure::Failed(e.to_string()))?;
                    return context.out.line(shown);
                }
                let node = &config.node;
                let (id, api, peers) = (node.id, node.api_listen, node.peer_listen);
                let (file, data) = (file.display(), node.data_dir.display());
                context.out.line(format!("{file} is right: node {id}, API {api}, peers {peers}, data in {data}"))
            }
        }
    }
}

/// Loads a node's configuration for a command.
pub(super) fn load(file: &Path) -> Result<Settings, Failure> {
    Settings::load(Some(file), environment()).map_err(|mistakes| Failure::Usage(mistakes.to_string()))
}

/// Loads a node's configuration once more, while the node runs.
pub(super) fn load_again(file: &Path) -> Result<Settings, String> {
    Settings::load(Some(file), environment()).map_err(|mistakes| mistakes.to_string())
}

/// The environment of this process. What is not UTF-8 cannot be one of ours.
pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
