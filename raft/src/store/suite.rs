//! openraft's own storage suite on every store, and what it does not ask: restarts.

use std::sync::Arc;

use openraft::StorageError as AnyStorageError;
use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::memory::MemoryLog;
use super::{Disk, DiskLog, DiskOptions, MachineStore, SnapshotStore};
use crate::host::Host;
use crate::testing::Sum;
use crate::types::{GroupId, Types};

struct OnDisk;
struct InMemory;

async fn disk(dir: &TempDir) -> Disk {
    let options = DiskOptions { dir: dir.path().to_owned(), node: 1, cache_bytes: 1 << 20, reserve_bytes: 0 };
    Disk::open(&options).await.expect("a disk")
}

fn machine(disk: &Disk) -> MachineStore {
    let snapshots = SnapshotStore::open(disk, GroupId::Control).expect("a place for snapshots");
    MachineStore::open(Arc::new(Host::<Sum>::new(7, None)), snapshots).expect("a machine")
}

impl StoreBuilder<Types, DiskLog, MachineStore, TempDir> for OnDisk {
    async fn build(&self) -> Result<(TempDir, DiskLog, MachineStore), AnyStorageError<u64>> {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = disk(&dir).await;
        // A tail of no bytes makes every read of what is written go to sled.
        Ok((dir, DiskLog::open(&disk, GroupId::Control, 0, None)?, machine(&disk)))
    }
}

impl StoreBuilder<Types, MemoryLog, MachineStore, TempDir> for InMemory {
    async fn build(&self) -> Result<(TempDir, MemoryLog, MachineStore), AnyStorageError<u64>> {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = disk(&dir).await;
        Ok((dir, MemoryLog::default(), machine(&disk)))
    }
}

#[test]
fn the_disk_log_and_the_machine_pass_openrafts_suite() {
    Suite::test_all(OnDisk).expect("every test of the suite");
}

#[test]
fn the_memory_log_and_the_machine_pass_openrafts_suite() {
    Suite::test_all(InMemory).expect("every test of the suite");
}
