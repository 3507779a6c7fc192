//! The last resort of a cluster that lost a majority of its disks.

use tidings_config::Config;
use tidings_contract::Time;
use tidings_raft::OpenError;

use crate::wiring;

/// Lets the node of `config`, which must not run, take whatever disk `node` comes with next. Gives the
/// time of the newest command on its disk, if there is one: what was accepted after that is not on it.
///
/// # Errors
/// See [`OpenError`].
pub async fn force_disk(config: &Config, node: u64) -> Result<Option<Time>, OpenError> {
    tidings_raft::force_disk(&wiring::raft(config), node).await
}
