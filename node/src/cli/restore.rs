//! `tidings restore`: a new cluster made of a backup.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::backup::{measured, show};
use super::failure::Failure;
use super::{Context, config};

/// The arguments of `tidings restore`.
#[derive(Args)]
#[command(after_help = "\
Works on this machine's disk, without a running node. The node of the configuration becomes the first of a NEW cluster;
start it with `tidings node --config FILE` and let others join as usual. The configuration needs the secret of the cluster
that the backup was taken from. End the old cluster first: two clusters would both send what was pending.")]
pub(super) struct Restore {
    /// The backup
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The configuration of the new cluster's first node; its data directory must be empty
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Restore {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let config = config::load(&self.config)?;
        let bar = measured("restored");
        let progress = bar.clone();
        let restoring = tidings_node::restore(&config, &self.from, move |done, whole| show(&progress, done, whole));
        let restored = restoring.await;
        bar.finish_and_clear();
        let restored = restored.map_err(|error| Failure::Failed(error.to_string()))?;
        let (node, data) = (config.node.id, config.node.data_dir.display().to_string());
        let taken_at = restored.taken_at.to_string();
        if context.out.json {
            let shown = json!({"cluster": restored.cluster, "from": restored.from, "taken_at": taken_at, "node": node,
                "data_dir": data, "partitions": restored.partitions, "accepted": restored.accepted,
                "pending": restored.pending});
            return context.out.line(shown.to_string());
        }
        let (cluster, from, pending) = (&restored.cluster, &restored.from, restored.pending);
        context.out.line(format!(
            "cluster {cluster} stands in {data}, as {from} was at {taken_at}: {} partitions, {} deliveries, {pending} of them \
             pending\nStart its first node: tidings node --config {}\nThe API keys are those of {from}.",
            restored.partitions,
            restored.accepted,
            self.config.display()
        ))
    }
}
