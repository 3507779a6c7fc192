//! One group of this node: openraft, its stores, its machine and its batcher under one handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidings_contract::{Clock, Time};
use tidings_machine::Machine;
use tokio::time::Instant;

use crate::base::sled;
use crate::codec;
use crate::error::{OpenError, ProposeError};
use crate::failing::last_words;
use crate::host::Host;
use crate::lease::Lease;
use crate::options::Options;
use crate::peers::Network;
use crate::propose::{Commands, Proposer};
use crate::store::unreadable;
use crate::store::{AppendWatch, ArchiveStore, Disk, DiskLog, MachineStore, RecordSink, Skips, SnapshotStore};
use crate::time::{ClusterTime, GroupClock};
use crate::types::{GroupId, LogId, Raft};

/// What every group of a node is opened with.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) options: Arc<Options>,
    pub(crate) config: Arc<openraft::Config>,
    pub(crate) disk: Disk,
    pub(crate) network: Network,
    pub(crate) clock: Arc<ClusterTime>,
    pub(crate) boot: u64,
    /// When the node opened its groups.
    pub(crate) born: Instant,
}

/// One group.
pub(crate) struct Group<M: Machine> {
    id: GroupId,
    raft: Raft,
    host: Arc<Host<M>>,
    proposer: Proposer<M>,
    log: DiskLog,
    snapshots: SnapshotStore,
    skips: Arc<Skips>,
    archive: Option<Arc<ArchiveStore>>,
    disk: Disk,
    transfer: Mutex<Option<Instant>>,
    /// Closed by its other end when the core ends, however it does.
    core: tokio::sync::watch::Receiver<openraft::RaftMetrics<u64, crate::types::Peer>>,
    /// The group was told to end.
    closing: AtomicBool,
    lease: Arc<Lease>,
    /// Until when this node may be under a promise that it gave before it was started: to vote for nobody.
    promised: Option<Instant>,
    clock: Arc<ClusterTime>,
    stamps: Arc<Mutex<GroupClock>>,
}

/// Where a machine's records go: the archive, and the same as the machine's sink.
pub(crate) type Keeping<M> = (Arc<ArchiveStore>, Arc<dyn RecordSink<<M as Machine>::Record>>);

/// A group whose machine does not matter.
pub(crate) trait AnyGroup: Send + Sync {
    fn id(&self) -> GroupId;
    fn raft(&self) -> &Raft;
    fn snapshots(&self) -> &SnapshotStore;
    /// Which entries this replica passes over.
    fn skips(&self) -> &Arc<Skips>;
    fn archive(&self) -> Option<&Arc<ArchiveStore>>;
    fn log(&self) -> &DiskLog;
    /// One more than the index of the newest applied entry.
    fn applied(&self) -> tokio::sync::watch::Receiver<u64>;
    /// The group's time as this replica knows it.
    fn time(&self) -> Time;
    /// The newest time that the machine here has seen.
    fn applied_time(&self) -> Time;
    /// Proposals that wait.
    fn waiting(&self) -> usize;
    /// Keeps proposals in the queue, or lets them go on.
    fn hold(&self, hold: bool);
    /// Whether proposals are kept in the queue because another node is about to lead.
    fn handing_over(&self) -> bool;
    /// Returns when no proposal is under way.
    fn idle(&self) -> BoxFuture<'_, ()>;
    /// Proposes what another node encoded; the answers come encoded too.
    fn propose_encoded(
        &self,
        count: u32,
        commands: bytes::Bytes,
        until: Instant,
    ) -> BoxFuture<'_, Result<Vec<u8>, ProposeError>>;
    /// When a handing over of leadership was last tried.
    fn transfer_tried(&self) -> &Mutex<Option<Instant>>;
    /// Why the group is dead, if it is and was not told to end: only a new process can go on with it.
    fn death(&self) -> Option<String>;
    /// The lease of its leader, where that is this node.
    fn lease(&self) -> &Arc<Lease>;
    /// Whether this node may have promised, before it was started, to elect nobody yet.
    fn is_promised(&self) -> bool;
    /// Stops the group; what is under way is answered `Unknown`.
    fn shutdown(&self) -> BoxFuture<'_, ()>;
    /// Removes everything the group has on this disk. Only after [`AnyGroup::shutdown`]. Blocks.
    fn erase(&self) -> Result<(), sled::Error>;
}

impl<M: Machine> Group<M> {
    /// Opens the group from what the disk has of it; an unknown one starts empty and waits to be led or initialised.
    pub(crate) async fn open(ground: &Ground, id: GroupId, archive: Option<Keeping<M>>) -> Result<Self, OpenError> {
        let failed = |why: String| OpenError::Group { group: id.to_string(), why };
        let (archive, sink) = archive.unzip();
        let host = Arc::new(Host::<M>::new(ground.boot, sink));
        let (disk, machine, tail) = (ground.disk.clone(), Arc::clone(&host), ground.options.log.tail_bytes);
        let node = ground.options.node;
        let opened = crate::base::spawn_blocking(move || {
            let log = DiskLog::open(&disk, id, tail, Some(Arc::clone(&machine) as Arc<dyn AppendWatch>));
            let log = log.map_err(|e| e.to_string())?;
            let followed = log.followed(node)?;
            log.resign(node)?;
            let snapshots = SnapshotStore::open(&disk, id).map_err(|e| e.to_string())?;
            let skips = Arc::new(Skips::open(&disk, id)?);
            let machine = MachineStore::open(machine, snapshots.clone(), Arc::clone(&skips));
            Ok::<_, String>((log, snapshots, skips, machine.map_err(|e| e.to_string())?, followed))
        });
        let (log, snapshots, skips, machine, followed) =
            opened.await.map_err(|e| unreadable(&id.to_string(), &e))?.map_err(failed)?;
        let lease = Lease::new(node, ground.options.timing.election_max_ms);
        let network = ground.network.of(id, Arc::clone(&lease), Arc::clone(&skips));
        let promise = Duration::from_millis(ground.options.timing.election_max_ms);
        let promised = (followed && matches!(id, GroupId::Partition(_))).then(|| Instant::now() + promise);
        let mut config = Arc::clone(&ground.config);
        // Its own vote counts too; the keeper lets it stand again.
        Arc::make_mut(&mut config).enable_elect &= promised.is_none();
        let raft = Raft::new(node, config, network, log.clone(), machine);
        let raft = raft.await.map_err(|e| failed(e.to_string()))?;
        lease.reads(raft.metrics());
        let stamps: Arc<Mutex<GroupClock>> = Arc::default();
        let proposer = Proposer::start(
            raft.clone(),
            Arc::clone(&host),
            (Arc::clone(&ground.clock), Arc::clone(&stamps)),
            ground.options.batch,
            ground.born,
        );
        let (disk, core) = (ground.disk.clone(), raft.metrics());
        let (transfer, closing) = (Mutex::default(), AtomicBool::new(false));
        let clock = Arc::clone(&ground.clock);
        Ok(Self {
            id,
            raft,
            host,
            proposer,
            log,
            snapshots,
            skips,
            archive,
            disk,
            transfer,
            core,
            closing,
            lease,
            promised,
            clock,
            stamps,
        })
    }

    pub(crate) fn host(&self) -> &Arc<Host<M>> {
        &self.host
    }

    /// Whether the group still does its work; one that was told to end does not.
    pub(crate) fn lives(&self) -> bool {
        self.core.has_changed().is_ok()
    }

    /// Proposes on this node.
    pub(crate) async fn propose(
        &self,
        commands: &mut Commands<M>,
        until: Instant,
    ) -> Result<Vec<M::Answer>, ProposeError> {
        if let Some(why) = self.disk.health().refuses() {
            return Err(ProposeError::DiskFull(why));
        }
        self.proposer.propose(commands, until).await
    }
}

impl<M: Machine> AnyGroup for Group<M> {
    fn id(&self) -> GroupId {
        self.id
    }

    fn raft(&self) -> &Raft {
        &self.raft
    }

    fn snapshots(&self) -> &SnapshotStore {
        &self.snapshots
    }

    fn skips(&self) -> &Arc<Skips> {
        &self.skips
    }

    fn archive(&self) -> Option<&Arc<ArchiveStore>> {
        self.archive.as_ref()
    }

    fn log(&self) -> &DiskLog {
        &self.log
    }

    fn applied(&self) -> tokio::sync::watch::Receiver<u64> {
        self.host.applied()
    }

    fn time(&self) -> Time {
        let (elapsed, present) = (self.clock.elapsed_ms(), self.clock.now());
        let applied = self.applied_time();
        let mut stamps = self.stamps.lock();
        if !self.raft.server_metrics().borrow().state.is_leader() {
            stamps.forget();
        }
        stamps.read(elapsed, applied, present)
    }

    fn applied_time(&self) -> Time {
        self.host.time()
    }

    fn waiting(&self) -> usize {
        self.proposer.waiting()
    }

    fn hold(&self, hold: bool) {
        self.proposer.hold(hold);
    }

    fn handing_over(&self) -> bool {
        self.proposer.held()
    }

    fn idle(&self) -> BoxFuture<'_, ()> {
        self.proposer.idle().boxed()
    }

    fn propose_encoded(
        &self,
        count: u32,
        commands: bytes::Bytes,
        until: Instant,
    ) -> BoxFuture<'_, Result<Vec<u8>, ProposeError>> {
        async move {
            let mut commands = Commands::<M>::from_encoded(count, commands)
                .map_err(|e| ProposeError::Refused(format!("unreadable commands: {e}")))?;
            let answers = self.propose(&mut commands, until).await?;
            // The commands are kept by now, whatever becomes of their answers.
            codec::encode(&answers).map_err(|e| ProposeError::Unknown(e.to_string()))
        }
        .boxed()
    }

    fn transfer_tried(&self) -> &Mutex<Option<Instant>> {
        &self.transfer
    }

    fn death(&self) -> Option<String> {
        if self.closing.load(Ordering::Acquire) {
            return None;
        }
        if !self.lives() {
            return Some(last_words(self.core.borrow().running_state.clone()));
        }
        self.proposer.is_dead().then(|| "its batcher panicked".to_owned())
    }

    fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    fn is_promised(&self) -> bool {
        self.promised.is_some_and(|until| Instant::now() < until)
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.closing.store(true, Ordering::Release);
        async move {
            if let Err(error) = self.raft.shutdown().await {
                tracing::warn!(group = %self.id, %error, "the group did not stop cleanly");
            }
        }
        .boxed()
    }

    fn erase(&self) -> Result<(), sled::Error> {
        self.log.forget();
        erase_from(&self.disk, self.id)
    }
}

/// Removes everything a group has on a disk; what is not there is no error. Blocks.
pub(crate) fn erase_from(disk: &Disk, id: GroupId) -> Result<(), sled::Error> {
    for name in [DiskLog::tree_name(id), SnapshotStore::tree_name(id)] {
        disk.drop_tree(&name)?;
    }
    for name in disk.trees(&ArchiveStore::tree_prefix(id)) {
        disk.drop_tree(&name)?;
    }
    let meta = disk.meta();
    for key in DiskLog::meta_names(id) {
        meta.remove(key)?;
    }
    meta.remove(Skips::meta_name(id))?;
    meta.remove(SnapshotStore::meta_name(id))?;
    meta.remove(ArchiveStore::meta_name(id))?;
    Ok(())
}

/// Whether this node leads the group and has applied an entry of its own term, and that term.
pub(crate) fn leads(raft: &Raft) -> Option<u64> {
    let metrics = raft.server_metrics();
    // A core that is dead leads nothing, whatever it said last.
    metrics.has_changed().ok()?;
    let server = metrics.borrow();
    if !server.state.is_leader() || !server.vote.is_committed() {
        return None;
    }
    let leader = server.vote.leader_id;
    let applied: Option<LogId> = raft.data_metrics().borrow().last_applied;
    applied.filter(|id| id.leader_id == leader).map(|_| leader.term)
}
