//! Makes the disk of a new cluster's first node from a backup file.
//!
//! Everything is checked before anything is written, and what a program of an older disk version wrote is brought to the
//! form of today on the way. A disk on which a restore did not finish says so and is never
//! opened as a node's.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::CommittedLeaderId;
use openraft::storage::RaftLogStorage;
use tidings_contract::{PartitionId, Secret, Time};
use tidings_machine::Machine;
use tidings_machine::control::{Control, NodeInfo};
use tidings_machine::partition::{Partition, Record};
use tokio::runtime::Handle;

use super::check::{Records, Summary, inspect};
use super::format::{Begin, End, Frame, Head, damaged};
use crate::error::OpenError;
use crate::founding::{FOUNDER, born_mark, peer_of};
use crate::host::{Host, Hosted};
use crate::older;
use crate::options::Options;
use crate::peers::Piece;
use crate::secret_check;
use crate::store::{ArchiveStore, Disk, DiskLog, DiskOptions, RecordSink, SnapshotStore, check_version};
use crate::types::{GroupId, LogId, Membership, SnapshotMeta, Vote};

/// Pieces of an archive between two syncs, so that what is not on the disk yet stays bounded.
const UNSYNCED: u32 = 64;

/// What the new cluster is to be.
#[derive(Clone, Debug)]
pub struct Restore {
    /// Its id; a new one.
    pub cluster: String,
    /// Most replicas of a group.
    pub replication: u16,
    /// Its first node.
    pub info: NodeInfo,
    /// When, by the clock of whoever restores.
    pub at: Time,
}

/// What was restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The new cluster.
    pub cluster: String,
    /// The cluster the backup was taken from.
    pub from: String,
    /// When it was taken.
    pub taken_at: Time,
    /// How many partitions there are.
    pub partitions: u16,
    /// Deliveries ever accepted.
    pub accepted: u64,
    /// Of them, those that go on.
    pub pending: u64,
}

/// Why nothing, or not everything, was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file cannot be read.
    #[error("cannot read {path}: {why}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        why: io::Error,
    },
    /// The file is something else.
    #[error("{path} is not a backup of Tidings")]
    NotABackup {
        /// Which.
        path: String,
    },
    /// The file was written by a program that this one does not know.
    #[error(
        "the backup has version {found}; this program reads {known}. Use the program that wrote it, or a newer one"
    )]
    Version {
        /// What the file says.
        found: u32,
        /// What this program reads.
        known: u32,
    },
    /// The file is not what was written.
    #[error("the backup is damaged at byte {at}: {why}; nothing was restored from it")]
    Damaged {
        /// Where the first record begins that is wrong.
        at: u64,
        /// How.
        why: String,
    },
    /// The secrets in it were sealed with another cluster secret.
    #[error("the backup was taken from a cluster with another secret; nothing was restored from it")]
    OtherSecret,
    /// There is something in the data directory.
    #[error("the data directory {path} is not empty; a restore makes a new one")]
    NotEmpty {
        /// Which.
        path: String,
    },
    /// The new database cannot be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It broke off while it was written. Empty the directory and restore again.
    #[error("the restore broke off at {group}: {why}; empty the data directory and restore again")]
    Broken {
        /// The group that was being written.
        group: String,
        /// Why.
        why: String,
    },
}

/// Founds a new cluster of the node of `options` with everything that is in the file at `from`. `progress` is told how
/// many of how many bytes are done; the file is read twice.
///
/// # Errors
/// See [`RestoreError`]. But for `Broken` nothing was written.
pub async fn restore(
    options: Options,
    from: PathBuf,
    wish: Restore,
    progress: impl FnMut(u64, u64) + Send + 'static,
) -> Result<Restored, RestoreError> {
    let runtime = Handle::current();
    let blocking = tokio::task::spawn_blocking(move || restore_blocking(&runtime, &options, &from, &wish, progress));
    blocking.await.map_err(|e| RestoreError::Broken { group: "the node".into(), why: e.to_string() })?
}

fn restore_blocking(
    runtime: &Handle,
    options: &Options,
    from: &Path,
    wish: &Restore,
    mut progress: impl FnMut(u64, u64),
) -> Result<Restored, RestoreError> {
    let summary = inspect(from, &mut |done, whole| progress(done, 2 * whole))?;
    if !summary.head.is_of(&options.secret) {
        return Err(RestoreError::OtherSecret);
    }
    check_version(summary.head.disk)?;
    refuse_what_is_there(&options.data_dir)?;
    let disk = runtime.block_on(Disk::open(&DiskOptions::of(options)))?;
    let failed = |why: io::Error| broken("the node", &why);
    runtime.block_on(disk.begin_restore()).map_err(failed)?;
    let (node, head) = (options.node, &summary.head);
    let restoring = Restoring { runtime, disk: &disk, node, secret: &options.secret, wish, head };
    let restored = restoring.all(from, &summary, &mut progress)?;
    restoring.found().map_err(failed)?;
    runtime.block_on(disk.end_restore()).map_err(failed)?;
    progress(2 * summary.bytes, 2 * summary.bytes);
    Ok(restored)
}

fn broken(group: &str, why: &io::Error) -> RestoreError {
    RestoreError::Broken { group: group.to_owned(), why: why.to_string() }
}

fn refuse_what_is_there(dir: &Path) -> Result<(), RestoreError> {
    let path = || dir.display().to_string();
    match std::fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(RestoreError::NotEmpty { path: path() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(OpenError::Io { path: path(), source }.into()),
    }
}

struct Restoring<'a> {
    runtime: &'a Handle,
    disk: &'a Disk,
    node: u64,
    secret: &'a Secret,
    wish: &'a Restore,
    head: &'a Head,
}

impl Restoring<'_> {
    fn all(
        &self,
        from: &Path,
        summary: &Summary,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Restored, RestoreError> {
        let mut restored = Restored {
            cluster: self.wish.cluster.clone(),
            from: self.head.cluster.clone(),
            taken_at: self.head.taken_at,
            partitions: self.head.partitions,
            ..Restored::default()
        };
        for (done, (group, at)) in (0_u64..).zip(&summary.sections) {
            // Sections differ in size; what counts is that something moves.
            progress(summary.bytes + summary.bytes * done / summary.sections.len() as u64, 2 * summary.bytes);
            let kept = match group {
                GroupId::Control => self.control((from, *at)),
                GroupId::Partition(_) => self.partition((from, *at), *group, &mut restored),
            };
            kept.map_err(|why| broken(&group.to_string(), &why))?;
        }
        Ok(restored)
    }

    fn control(&self, from: (&Path, u64)) -> io::Result<()> {
        let host = Host::<Control>::new(rand::random(), None);
        let end = self.read(from, &host, None)?;
        let restored = host.edit(|control| {
            let (cluster, replication) = (self.wish.cluster.clone(), self.wish.replication);
            control.restored(self.wish.at, cluster, replication, (self.node, self.wish.info.clone()))
        });
        if restored != Some(self.head.partitions) {
            return Err(damaged("control does not know the partitions of its cluster"));
        }
        self.keep(GroupId::Control, &host, end)
    }

    fn partition(&self, from: (&Path, u64), id: GroupId, restored: &mut Restored) -> io::Result<()> {
        let archive = Arc::new(ArchiveStore::open(self.disk, id).map_err(io::Error::from)?);
        let sink = Arc::clone(&archive) as Arc<dyn RecordSink<Record>>;
        let host = Host::<Partition>::new(rand::random(), Some(sink));
        let end = self.read(from, &host, Some(&archive))?;
        host.edit(Partition::restored);
        host.read(|partition| {
            restored.accepted += partition.totals().accepted;
            restored.pending += partition.pending_count();
        });
        self.keep(id, &host, end)
    }

    /// Brings a machine and its archive to where the section ends.
    fn read<M: Machine>(&self, from: (&Path, u64), host: &Host<M>, archive: Option<&ArchiveStore>) -> io::Result<End> {
        let mut records = Records::of(from.0, from.1)?;
        let Frame::Begin(begin) = records.next()? else { return Err(damaged("no section begins here")) };
        if begin.machine {
            let index = begin.next.checked_sub(1).ok_or_else(|| damaged("a snapshot of nothing"))?;
            let mut pieces = MachinePieces { records: &mut records, piece: Vec::new(), at: 0 };
            host.adopt(index, older::machine(self.head.disk, &mut pieces).map_err(io::Error::other)?);
        }
        if let Some(archive) = archive {
            archive.begin_taking()?;
        }
        let mut unsynced = 0;
        let end = loop {
            match (records.next()?, archive) {
                (Frame::Entry(_), _) => {}
                (Frame::Piece(Piece::Archive(piece)), Some(archive)) => {
                    archive.take(piece.brought_up(self.head.disk)?)?;
                    unsynced += 1;
                    if unsynced % UNSYNCED == 0 {
                        self.runtime.block_on(self.disk.settle())?;
                    }
                }
                (Frame::Piece(Piece::ArchiveEnd(watermark)), Some(archive)) => archive.end_taking(watermark)?,
                (Frame::End(end), _) => break end,
                _ => return Err(damaged("a record stands where it does not belong")),
            }
        };
        // The entries were written as they came; they follow upon the whole of the snapshot and of the archive.
        self.apply_entries(from, begin, host)?;
        Ok(end)
    }

    fn apply_entries<M: Machine>(&self, from: (&Path, u64), begin: Begin, host: &Host<M>) -> io::Result<()> {
        let mut records = Records::of(from.0, from.1)?;
        let mut next = begin.next;
        loop {
            match records.next()? {
                Frame::Entry(entry) if entry.index >= next => {
                    let payload = older::payload::<M>(self.head.disk, &entry.payload).map_err(io::Error::other)?;
                    host.apply(entry.index, &payload).map_err(io::Error::other)?;
                    next = entry.index + 1;
                }
                Frame::Entry(entry) => return Err(damaged(format!("entry {} comes twice", entry.index))),
                Frame::End(_) => return Ok(()),
                _ => {}
            }
        }
    }

    /// Keeps a machine as the snapshot of a group with one member, in a term of its own: whoever owned it before does not.
    fn keep(&self, id: GroupId, host: &dyn Hosted, end: End) -> io::Result<()> {
        let snapshots = SnapshotStore::open(self.disk, id).map_err(io::Error::from)?;
        let mut writer = snapshots.writer().map_err(io::Error::from)?;
        host.freeze()?.write_to(&mut writer).map_err(io::Error::other)?;
        writer.flush()?;
        let body = writer.finish()?;
        // The terms go on where those of the old cluster were, so that no epoch comes twice.
        let term = end.term + 1;
        let last = LogId::new(CommittedLeaderId::new(term, self.node), end.index);
        let members = BTreeMap::from([(self.node, peer_of(&self.wish.info))]);
        let membership = openraft::Membership::new(vec![BTreeSet::from([self.node])], members);
        let meta = SnapshotMeta {
            last_log_id: Some(last),
            last_membership: Membership::new(Some(last), membership),
            snapshot_id: format!("restored-{term}-{}", end.index),
        };
        self.runtime.block_on(snapshots.make_current(&meta, &body))?;
        let log = DiskLog::open(self.disk, id, 0, None).map_err(io::Error::other);
        self.runtime.block_on(log?.save_vote(&Vote::new(term, self.node))).map_err(io::Error::other)
    }

    /// Makes the node the founder of the new cluster, whose partitions are all born.
    fn found(&self) -> io::Result<()> {
        let cluster = self.wish.cluster.clone().into_bytes();
        for partition in (0..self.head.partitions).map(PartitionId) {
            self.disk.meta().insert(born_mark(partition), Vec::new()).map_err(io::Error::from)?;
        }
        let check = secret_check::make(self.secret);
        self.runtime.block_on(self.disk.keep(secret_check::KEY.to_owned(), check))?;
        self.runtime.block_on(self.disk.keep(FOUNDER.to_owned(), cluster.clone()))?;
        self.runtime.block_on(self.disk.keep("cluster".to_owned(), cluster))
    }
}

/// The bytes of the machine, which stand in pieces among the entries.
struct MachinePieces<'a> {
    records: &'a mut Records,
    piece: Vec<u8>,
    at: usize,
}

impl io::Read for MachinePieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.records.next()? {
                Frame::Piece(Piece::Machine(piece)) => (self.piece, self.at) = (piece, 0),
                Frame::Entry(_) => {}
                _ => return Err(damaged("the machine ends in the middle")),
            }
        }
        let rest = &self.piece[self.at..];
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}
