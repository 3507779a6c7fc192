//! `tidings cluster force-disk`: the last resort of a cluster that lost so many disks that no majority can agree to anything.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::{Context, config};

/// The arguments of `tidings cluster force-disk`.
#[derive(Args)]
#[command(after_help = "\
Use it only when the disks that are missing are gone for good: a cluster that has a majority of its disks takes in an
emptied or older disk by itself. Stop the node whose disk is whole, run this with its configuration, start it again, then
start the node that lost its disk with an empty data directory. From then on the disk with which that node comes counts as
if it had all that the lost one had. Messages that were accepted by the lost disk and by a node that is down at that time may
be gone, their idempotency keys, caps and cancellations too. The command says of when the newest command on the whole disk
is: use the disk with the newest one. A node that was down and comes back afterwards has to come
back with an empty data directory. Control notes the change in the audit log (force_disk).
tidings cluster force-disk 2 --config node1.toml --accept-loss")]
pub(super) struct ForceDisk {
    /// The number of the node that lost its disk
    #[arg(value_name = "ID")]
    node: u64,
    /// The configuration of a node whose disk is whole; that node must be stopped
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Say that you know what may be gone
    #[arg(long, required = true)]
    accept_loss: bool,
}

impl ForceDisk {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let config = config::load(&self.config)?;
        let forced = tidings_node::force_disk(&config, self.node).await;
        let newest = forced.map_err(|error| Failure::Failed(error.to_string()))?;
        let newest = newest.map_or_else(|| "unknown".to_owned(), |newest| newest.to_string());
        context.out.line(format!(
            "node {me} will take whatever disk node {lost} comes with next. The newest command on the disk of node {me} is of \
             {newest}: what was accepted after that is not on it, and may be gone. Start node {me} first, then node {lost} \
             with an empty data directory",
            me = config.node.id,
            lost = self.node
        ))
    }
}
