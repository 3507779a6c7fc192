//! What an idle node costs.

use std::time::Duration;

use crate::Proof;
use crate::cluster::{Cluster, Shape};
use crate::failure::ensure;
use crate::report::{Report, mib};

/// Most memory an idle node may occupy, in bytes.
const MOST: u64 = 60 * 1_024 * 1_024;
/// How long a node is left alone before it is looked at: snapshots and caches settle.
const REST: Duration = Duration::from_secs(10);

/// Runs one node and three with eight partitions, idle.
///
/// # Errors
/// When one occupies more than 60 MiB.
pub async fn run() -> Proof<Report> {
    let mut report = Report::new("memory of an idle node (VmRSS), 8 partitions");
    for nodes in [1, 3] {
        let cluster = Cluster::start(&Shape::full(nodes, 8)).await?;
        tokio::time::sleep(REST).await;
        for node in &cluster.nodes {
            let rss = node.rss()?;
            report.line(format!("node {} of {nodes}", node.id), mib(rss));
            ensure(rss <= MOST, || format!("node {} of {nodes} occupies {}", node.id, mib(rss)))?;
        }
    }
    Ok(report)
}
