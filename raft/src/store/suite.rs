//! openraft's own storage suite on every store, and what it does not ask: restarts.

use std::sync::Arc;

use openraft::StorageError as AnyStorageError;
use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::memory::MemoryLog;
use super::{Disk, DiskLog, DiskOptions, MachineStore, Skips, SnapshotStore};
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
    MachineStore::open(Arc::new(Host::<Sum>::new(7, None)), snapshots, skips(disk)).expect("a machine")
}

fn skips(disk: &Disk) -> Arc<Skips> {
    Arc::new(Skips::open(disk, GroupId::Control).expect("a place for marks"))
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

mod restarts {
    use std::io::Write;

    use bytes::Bytes;
    use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
    use openraft::{CommittedLeaderId, EntryPayload, RaftLogReader, RaftSnapshotBuilder};
    use tidings_contract::Time;

    use super::*;
    use crate::codec;
    use crate::types::{Blob, Entry, LogId, Vote};

    fn id(term: u64, index: u64) -> LogId {
        LogId::new(CommittedLeaderId::new(term, 1), index)
    }

    /// An entry that adds `number`, as another node would have proposed it.
    fn add(term: u64, index: u64, number: u64) -> Entry {
        let mut payload = Vec::new();
        payload.extend_from_slice(&99_u64.to_le_bytes());
        payload.extend_from_slice(&index.to_le_bytes());
        payload.extend_from_slice(&Time(1_000 + index).0.to_le_bytes());
        payload.extend_from_slice(&1_u32.to_le_bytes());
        payload.extend_from_slice(&codec::encode(&number).expect("a number"));
        Entry { log_id: id(term, index), payload: EntryPayload::Normal(Blob(Bytes::from(payload))) }
    }

    async fn indexes(log: &mut DiskLog) -> Vec<(u64, u64)> {
        let entries = log.try_get_log_entries(..).await.expect("readable");
        entries.iter().map(|entry| (entry.log_id.leader_id.term, entry.log_id.index)).collect()
    }

    #[tokio::test]
    async fn a_node_knows_after_a_restart_whether_it_may_have_promised_another_one_to_elect_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = disk(&dir).await;
        let mut log = DiskLog::open(&disk, GroupId::Control, 0, None).expect("a log");
        assert_eq!(log.followed(1), Ok(false), "nobody led yet");
        // The vote, and whether node 1 follows by it.
        for (vote, followed) in [
            (Vote::new(2, 2), false),
            (Vote::new_committed(2, 2), true),
            (Vote::new(3, 3), false),
            (Vote::new_committed(4, 1), false),
        ] {
            log.save_vote(&vote).await.expect("kept");
            assert_eq!(log.followed(1), Ok(followed), "{vote}");
        }
    }

    #[tokio::test]
    async fn a_log_is_the_same_after_a_restart_also_where_it_was_cut_and_purged() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk_now = disk(&dir).await;
        let mut log = DiskLog::open(&disk_now, GroupId::Control, 1 << 20, None).expect("a log");
        log.blocking_append((0..300).map(|index| add(1, index, 1))).await.expect("written");
        log.truncate(id(1, 250)).await.expect("cut");
        log.blocking_append((250..260).map(|index| add(2, index, 1))).await.expect("written");
        log.purge(id(1, 199)).await.expect("purged");
        log.save_vote(&Vote::new(2, 1)).await.expect("saved");
        log.save_committed(Some(id(2, 255))).await.expect("saved");
        let before = indexes(&mut log).await;
        let expected: Vec<_> = (200..250).map(|i| (1, i)).chain((250..260).map(|i| (2, i))).collect();
        assert_eq!(before, expected);
        drop((log, disk_now));
        for tail in [0, 1 << 20] {
            let disk = disk(&dir).await;
            let mut log = DiskLog::open(&disk, GroupId::Control, tail, None).expect("a log");
            assert_eq!(indexes(&mut log).await, expected);
            assert_eq!(log.read_vote().await.expect("readable"), Some(Vote::new(2, 1)));
            assert_eq!(log.read_committed().await.expect("readable"), Some(id(2, 255)));
            let state = log.get_log_state().await.expect("readable");
            assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(1, 199)), Some(id(2, 259))));
        }
    }

    #[tokio::test]
    async fn a_machine_restarts_from_its_snapshot_and_replays_the_rest() {
        let dir = tempfile::tempdir().expect("a directory");
        let (disk_now, host) = (disk(&dir).await, Arc::new(Host::<Sum>::new(7, None)));
        let snapshots = SnapshotStore::open(&disk_now, GroupId::Control).expect("a place");
        let mut machine = MachineStore::open(Arc::clone(&host) as _, snapshots, skips(&disk_now)).expect("a machine");
        machine.apply((1..=10).map(|index| add(1, index, index))).await.expect("applied");
        let mut builder = machine.get_snapshot_builder().await;
        machine.apply([add(1, 11, 1_000)]).await.expect("applied while the snapshot is written");
        builder.build_snapshot().await.expect("built");
        assert_eq!(host.read(|sum| sum.total), 1_055);
        drop((builder, machine, disk_now));

        let (disk, host) = (disk(&dir).await, Arc::new(Host::<Sum>::new(8, None)));
        let snapshots = SnapshotStore::open(&disk, GroupId::Control).expect("a place");
        let mut machine = MachineStore::open(Arc::clone(&host) as _, snapshots, skips(&disk)).expect("a machine");
        assert_eq!(machine.applied_state().await.expect("known").0, Some(id(1, 10)));
        assert_eq!(host.read(Clone::clone), Sum { total: 55, at: Time(1_010) });
        machine.apply([add(1, 11, 1_000)]).await.expect("replayed");
        assert_eq!(host.read(Clone::clone), Sum { total: 1_055, at: Time(1_011) });
        assert_eq!(*host.applied().borrow(), 12);
    }

    #[tokio::test]
    async fn a_damaged_snapshot_is_refused_and_old_ones_go() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = disk(&dir).await;
        let snapshots = SnapshotStore::open(&disk, GroupId::Control).expect("a place");
        let tree = disk.tree(&SnapshotStore::tree_name(GroupId::Control)).expect("its tree");
        let write = |fill: u8| {
            let mut writer = snapshots.writer().expect("room");
            writer.write_all(&vec![fill; 300_000]).expect("written");
            writer.finish().expect("complete")
        };
        for fill in 1..=3 {
            let body = write(fill);
            body.verify().expect("undamaged");
            snapshots.make_current(&Default::default(), &body).await.expect("kept");
        }
        let pieces = || tree.len();
        while pieces() > 3 {
            disk.settle().await.expect("the sweep goes on between syncs");
        }
        let (_, body) = snapshots.current().expect("readable").expect("there is one");
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut body.reader(), &mut read).expect("readable");
        assert_eq!(read, vec![3; 300_000]);
        let key = tree.last().expect("readable").expect("a piece").0;
        tree.insert(key, vec![9; 10]).expect("damaged");
        assert!(body.verify().is_err());
    }
}
