//! `tidings cluster skip`: the last way out of an entry in a group's log that every replica dies of.

use std::path::PathBuf;

use clap::Args;
use tidings_raft::GroupId;

use super::failure::Failure;
use super::{Context, config};

/// The arguments of `tidings cluster skip`.
#[derive(Args)]
#[command(after_help = "\
Use it only when a node ends each time it comes to the same entry, and no newer version of the program takes it in: the
node's last words name group and index (\"group p3: ... entry ... index 120\"). Stop the node, run this with its configuration,
and do so on every node that ends that way; then start them. Whatever the entry was to do is not done: messages in it that
were answered 202 are gone, and so is what was to happen to others. The command says how many commands the entry holds. All
replicas pass over the same entries: one that has not come to the entry takes the mark over from its leader; one that
passed it in another way takes nothing from its leader, and says so in /readyz. Control notes the entry in the audit log
(skip_entry).
tidings cluster skip p3 120 --config node1.toml --accept-loss")]
pub(super) struct Skip {
    /// The group: control, or p and the number of a partition
    #[arg(value_name = "GROUP", value_parser = group)]
    group: GroupId,
    /// The index of the entry in the group's log
    #[arg(value_name = "INDEX")]
    index: u64,
    /// The configuration of the node; it must be stopped
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Say that you know what is lost
    #[arg(long, required = true)]
    accept_loss: bool,
}

fn group(text: &str) -> Result<GroupId, String> {
    text.parse().map_err(|()| "not a group; say control, or p and a number, as `cluster status` shows them".to_owned())
}

impl Skip {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let config = config::load(&self.config)?;
        let skipped = tidings_node::skip_entry(&config, self.group, self.index).await;
        let skipped = skipped.map_err(|error| Failure::Failed(error.to_string()))?;
        let count = match skipped.commands {
            Some(1) => "1 command".to_owned(),
            Some(count) => format!("{count} commands"),
            None => "commands that cannot be counted".to_owned(),
        };
        let at = skipped.at.map_or_else(|| "an unknown time".to_owned(), |at| at.to_string());
        context.out.line(format!(
            "node {node} passes over entry {index} of {group} (term {term}, {count}, of {at}){again} from its next start on. Do \
             the same on every node that ends because of it",
            node = config.node.id,
            index = self.index,
            group = self.group,
            term = skipped.term,
            again = if skipped.again { ", as before," } else { "" },
        ))
    }
}
