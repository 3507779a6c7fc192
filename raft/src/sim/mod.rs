//! The simulated disks of all nodes of one simulation, which runs on one thread: what they hold, how slow they are, and
//! what they lose when the power goes.

pub(crate) mod database;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_contract::PartitionId;

use crate::codec;
use crate::ledgers::Ledgers;
use database::Platter;

thread_local! {
    static FROZEN: RefCell<BTreeSet<u64>> = const { RefCell::new(BTreeSet::new()) };
    static DISKS: RefCell<BTreeMap<PathBuf, Arc<Mutex<Platter>>>> = const { RefCell::new(BTreeMap::new()) };
}

/// The disk of the database at `path`, made if it is not there.
pub(crate) fn disk(path: &Path) -> Arc<Mutex<Platter>> {
    DISKS.with_borrow_mut(|disks| Arc::clone(disks.entry(path.to_owned()).or_default()))
}

/// The process that has the node's data in `data_dir` open is dead: nothing it still holds reaches the disk any more.
/// `keep` is asked how many of the writes that were never synced are on the disk all the same: the oldest ones.
pub fn crash(data_dir: &Path, keep: impl FnOnce(usize) -> usize) {
    disk(&data_dir.join("ledger")).lock().crash(keep);
}

/// Freezes a node, or lets it go on. It stands still where it asks [`awake`]: where it would notice how late it is, and on its
/// way out to a supplier. The simulation holds its messages beside that.
pub fn freeze(node: u64, frozen: bool) {
    FROZEN.with_borrow_mut(|nodes| if frozen { nodes.insert(node) } else { nodes.remove(&node) });
}

/// Waits for as long as the node is frozen.
pub async fn awake(node: u64) {
    while FROZEN.with_borrow(|nodes| nodes.contains(&node)) {
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
}

/// What was durable on a disk at some time.
pub struct Copy(Platter);

impl std::fmt::Debug for Copy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Copy")
    }
}

/// Copies what is durable on a node's disk, while it is used or not.
pub fn copy(data_dir: &Path) -> Copy {
    Copy(disk(&data_dir.join("ledger")).lock().durable())
}

/// Puts a copy in the place of what is on the disk of a node, which must be dead.
pub fn put_back(data_dir: &Path, copy: Copy) {
    disk(&data_dir.join("ledger")).lock().become_like(copy.0);
}

/// Empties the disk of a node, which must be dead.
pub fn wipe(data_dir: &Path) {
    disk(&data_dir.join("ledger")).lock().become_like(Platter::default());
}

/// How long each sync of a node's disk takes from now on.
pub fn set_sync(data_dir: &Path, takes: Duration) {
    disk(&data_dir.join("ledger")).lock().sync_takes = takes;
}

/// A replica as it stands, for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Index of the newest entry applied, plus one.
    pub applied: u64,
    /// The whole machine in its binary form.
    pub state: Vec<u8>,
}

impl Ledgers {
    /// The local replica of a partition, if there is one and it can be encoded.
    pub fn replica(&self, partition: PartitionId) -> Option<Replica> {
        let group = self.inner.partition(partition)?;
        let host = group.host();
        let applied = *host.applied().borrow();
        let state = host.read(|machine| codec::encode(machine).ok())?;
        Some(Replica { applied, state })
    }
}
