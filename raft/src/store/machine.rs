//! openraft's side of a machine: applies entries, builds and installs snapshots, remembers the membership.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, ErrorSubject, ErrorVerb, RaftSnapshotBuilder, Snapshot, StorageIOError};

use super::skips::Skips;
use super::snapshot::{SnapshotBody, SnapshotStore};
use crate::base::spawn_blocking;
use crate::failing::words;
use crate::host::{Frozen, Hosted};
use crate::types::{Applied, Entry, LogId, Membership, SnapshotMeta, StorageError, Types};

/// One group's machine as openraft drives it.
pub(crate) struct MachineStore {
    host: Arc<dyn Hosted>,
    snapshots: SnapshotStore,
    skips: Arc<Skips>,
    applied: Option<LogId>,
    membership: Membership,
}

impl MachineStore {
    /// Brings the machine to the current snapshot, if there is one. Blocks: not for an async worker.
    pub(crate) fn open(
        host: Arc<dyn Hosted>,
        snapshots: SnapshotStore,
        skips: Arc<Skips>,
    ) -> Result<Self, StorageError> {
        let mut store = Self { host, snapshots, skips, applied: None, membership: Membership::default() };
        if let Some((meta, body)) = store.snapshots.current().map_err(reading)? {
            restore(&*store.host, &meta, &body).map_err(reading)?;
            store.adopt(&meta);
        }
        Ok(store)
    }

    fn adopt(&mut self, meta: &SnapshotMeta) {
        self.applied = meta.last_log_id;
        if let Some(last) = meta.last_log_id {
            self.skips.holds(last.index);
        }
        self.membership = meta.last_membership.clone();
    }
}

fn restore(host: &dyn Hosted, meta: &SnapshotMeta, body: &SnapshotBody) -> io::Result<()> {
    body.verify()?;
    let index = meta.last_log_id.map_or(0, |id| id.index);
    host.restore(index, &mut io::BufReader::new(body.reader())).map_err(io::Error::other)
}

impl RaftStateMachine<Types> for MachineStore {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Applied>, StorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let mut results = Vec::with_capacity(1);
        for entry in entries {
            match &entry.payload {
                EntryPayload::Blank => self.host.pass(entry.log_id.index),
                EntryPayload::Normal(_) if self.skips.begins(&entry.log_id) => {
                    tracing::warn!(entry = %entry.log_id, "an entry of the log is passed over, because an operator said so");
                    self.host.pass(entry.log_id.index);
                }
                EntryPayload::Normal(blob) => {
                    // A panic would end openraft's task for this machine alone, and nobody would notice before the next
                    // entry. An error ends the group at once, and with it the process.
                    let applied = catch_unwind(AssertUnwindSafe(|| self.host.apply(entry.log_id.index, &blob.0)));
                    let applied = applied.map_err(|panic| AnyError::error(format!("it panicked: {}", words(&*panic))));
                    let applied = applied.and_then(|applied| applied.map_err(|e| AnyError::new(&e)));
                    let advised =
                        |why| AnyError::error(format!("{why} (what is left then: tidings cluster skip --help)"));
                    applied.map_err(|why| StorageIOError::apply(entry.log_id, advised(why)))?;
                }
                EntryPayload::Membership(membership) => {
                    self.membership = Membership::new(Some(entry.log_id), membership.clone());
                    self.host.pass(entry.log_id.index);
                }
            }
            self.applied = Some(entry.log_id);
            results.push(Applied);
        }
        Ok(results)
    }

    /// Copies the machine here, where nothing is applied meanwhile, on a thread that may block.
    async fn get_snapshot_builder(&mut self) -> Builder {
        let host = Arc::clone(&self.host);
        let frozen = spawn_blocking(move || host.freeze()).await.map_err(|e| e.to_string());
        let id = self.applied.map_or_else(|| "0".to_owned(), |id| format!("{}-{}", id.leader_id.term, id.index));
        let meta =
            SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone(), snapshot_id: id };
        Builder { frozen: Some(frozen), meta, snapshots: self.snapshots.clone() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotBody>, StorageError> {
        Ok(Box::new(SnapshotBody::empty()))
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, body: Box<SnapshotBody>) -> Result<(), StorageError> {
        self.snapshots.make_current(meta, &body).await.map_err(writing)?;
        let (host, kept) = (Arc::clone(&self.host), meta.clone());
        let restored = spawn_blocking(move || restore(&*host, &kept, &body)).await;
        restored.map_err(writing)?.map_err(writing)?;
        self.adopt(meta);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        let current = self.snapshots.current().map_err(reading)?;
        Ok(current.map(|(meta, body)| Snapshot { meta, snapshot: Box::new(body) }))
    }
}

/// A frozen copy of a machine on its way to the disk.
pub(crate) struct Builder {
    frozen: Option<Result<io::Result<Box<dyn Frozen>>, String>>,
    meta: SnapshotMeta,
    snapshots: SnapshotStore,
}

impl RaftSnapshotBuilder<Types> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        let frozen = self.frozen.take().ok_or_else(|| writing(io::Error::other("built twice")))?;
        let frozen = frozen.map_err(|e| writing(io::Error::other(e)))?.map_err(writing)?;
        let snapshots = self.snapshots.clone();
        let write = move || -> io::Result<SnapshotBody> {
            let mut writer = snapshots.writer()?;
            frozen.write_to(&mut writer).map_err(io::Error::other)?;
            writer.flush()?;
            writer.finish()
        };
        let body = spawn_blocking(write).await.map_err(writing)?.map_err(writing)?;
        // openraft purges the log once this returns, so it returns when the snapshot is on the disk.
        self.snapshots.make_current(&self.meta, &body).await.map_err(writing)?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot: Box::new(body) })
    }
}

fn reading(error: impl std::error::Error + 'static) -> StorageError {
    StorageIOError::new(ErrorSubject::StateMachine, ErrorVerb::Read, AnyError::new(&error)).into()
}

fn writing(error: impl std::error::Error + 'static) -> StorageError {
    StorageIOError::new(ErrorSubject::StateMachine, ErrorVerb::Write, AnyError::new(&error)).into()
}
