//! Restoring: a new cluster, founded by this node, with everything that is in a backup.

use std::path::Path;

use tidings_config::Config;
use tidings_contract::Clock;
use tidings_machine::control::NodeInfo;
use tidings_raft::{OpenError, Restore, RestoreError, Restored};

use crate::clock::SystemClock;
use crate::founding::draw_cluster_id;
use crate::private;
use crate::wiring;

/// Makes the data directory of `config` that of the first node of a new cluster with everything in the backup at `from`.
/// The node is not started. `progress` is told how many of how many bytes are done.
///
/// The secret and the replication come from `config`, the number of partitions from the backup.
///
/// # Errors
/// See [`RestoreError`]. But for `Broken` nothing was written.
pub async fn restore(
    config: &Config,
    from: &Path,
    progress: impl FnMut(u64, u64) + Send + 'static,
) -> Result<Restored, RestoreError> {
    let node = &config.node;
    // Where there is no directory, none is made before the backup was found to be good.
    if node.data_dir.exists() {
        private::keep(&node.data_dir).map_err(|exposed| OpenError::Option(exposed.to_string()))?;
    }
    let at = SystemClock.now();
    let info = NodeInfo {
        peer_addr: node.advertised_peer(node.peer_listen),
        api_addr: node.advertised_api(node.api_listen),
        labels: node.labels.clone(),
        joined_at: at,
    };
    let wish = Restore { cluster: draw_cluster_id(), replication: config.cluster.replication, info, at };
    tidings_raft::restore(wiring::raft(config), from.to_owned(), wish, progress).await
}
