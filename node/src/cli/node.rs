//! `tidings node`: a node of a cluster.

use std::path::{Path, PathBuf};

use clap::Args;
use tidings_node::Running;

use super::failure::Failure;
use super::logging::Level;
use super::signals::Signals;
use super::{Context, config, logging, serving};

/// The arguments of `tidings node`.
#[derive(Args)]
#[command(after_help = "\
Every key can also be set by TIDINGS_<SECTION>_<KEY>; `tidings config default` prints them all.
Stops at ctrl-c or SIGTERM: it hands over what it leads and ends what it has begun. A second one ends it at once.
Reads its file again at SIGHUP and takes over the keys that `tidings config default` marks with \"Live.\"; check the file
with `tidings config check` first.")]
pub(super) struct Node {
    /// The node's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Node {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let config = config::load(&self.config)?;
        let level = logging::start(&config.log)?;
        // Before anything is open: a signal that comes meanwhile is neither lost nor the end of it.
        let mut signals = Signals::new()?.and_reread()?;
        let id = config.node.id;
        let running = tokio::select! {
            running = serving::serve(config) => running?,
            () = signals.end() => return Ok(()),
        };
        context.out.line(format!("node {id}: API http://{}, peers {}", running.api_addr, running.peer_addr))?;
        let reread = move |running: &mut Running| reread(&self.config, running, &level);
        serving::until_told(running, signals, Some(Box::new(reread))).await
    }
}

/// Reads the file again and takes over what may change. Of a file with a mistake nothing is taken over.
fn reread(file: &Path, running: &mut Running, level: &Level) {
    let read = config::load_again(file).and_then(|next| Ok((logging::filter(&next.log.level)?, next)));
    let changed = read.and_then(|(filter, next)| {
        let changes = running.reconfigure(&next).map_err(|mistakes| mistakes.to_string())?;
        level.set(filter)?;
        Ok(changes)
    });
    match changed {
        Err(why) => tracing::error!(why, "the configuration has mistakes; nothing of it is taken over"),
        Ok(changes) => {
            for change in &changes {
                match change.live {
                    true => tracing::info!(key = change.key, "taken over: {change}"),
                    false => tracing::warn!(key = change.key, "needs a restart: {change}"),
                }
            }
            tracing::info!(changes = changes.len(), "the configuration was read again");
        }
    }
}
