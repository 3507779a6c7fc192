//! `tidings node`: a node of a cluster.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use super::{Context, config, logging, serving};

/// The arguments of `tidings node`.
#[derive(Args)]
#[command(after_help = "\
Every key can also be set by TIDINGS_<SECTION>_<KEY>; `tidings config default` prints them all.
Stops at ctrl-c or SIGTERM.")]
pub(super) struct Node {
    /// The node's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Node {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let config = config::load(&self.config)?;
        logging::start(&config.log)?;
        let id = config.node.id;
        let stop_within = Duration::from_millis(config.node.stop_deadline_ms);
        let running = serving::serve(config).await?;
        context.out.line(format!("node {id}: API http://{}, peers {}", running.api_addr, running.peer_addr))?;
        serving::until_told(running, stop_within).await
    }
}
