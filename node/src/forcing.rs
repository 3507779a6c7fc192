//! Last resorts, on the data directory of a node that does not run: a cluster that lost a majority of its disks, and an entry
//! that every replica dies of.

use tidings_config::Config;
use tidings_contract::Time;
use tidings_raft::{GroupId, OpenError, Skipped};

use crate::wiring;

/// Lets the node of `config`, which must not run, take whatever disk `node` comes with next. Gives the
/// time of the newest command on its disk, if there is one: what was accepted after that is not on it.
///
/// # Errors
/// See [`OpenError`].
pub async fn force_disk(config: &Config, node: u64) -> Result<Option<Time>, OpenError> {
    tidings_raft::force_disk(&wiring::raft(config), node).await
}

/// Has the replica of `group` on the node of `config`, which must not run, pass over an entry of its log.
///
/// # Errors
/// See [`OpenError`].
pub async fn skip_entry(config: &Config, group: GroupId, index: u64) -> Result<Skipped, OpenError> {
    tidings_raft::skip_entry(&wiring::raft(config), group, index).await
}
