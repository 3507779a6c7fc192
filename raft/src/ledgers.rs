//! Everything of one node: its disk, its peers, its groups, and the door to all groups of the cluster.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use parking_lot::{Mutex, RwLock};
use tidings_contract::{Clock, PartitionId};
use tidings_machine::control::Control;
use tidings_machine::partition::{Hint, Partition, Record};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::backup::Departures;
use crate::base::net::TcpListener;
use crate::codec;
use crate::error::{AskError, OpenError};
use crate::failing::Deaths;
use crate::group::{AnyGroup, Ground, Group};
use crate::lease::Tenure;
use crate::options::Options;
use crate::peers::{Arrivals, CallError, Cipher, DiskBook, Identity, Kind, Lane, Network, Peers, serve};
use crate::secret_check::{self, Checked};
use crate::store::{Archive, ArchiveStore, Disk, DiskOptions, RecordSink};
use crate::time::ClusterTime;
use crate::transfer::HandOvers;
use crate::types::GroupId;

/// Answers a question of another node's program: who asks, which kind of question, its payload.
pub type AskHandler = Arc<dyn Fn(u64, u16, Bytes) -> BoxFuture<'static, Result<Bytes, String>> + Send + Sync>;

/// Everything of one node. Cheap to clone.
#[derive(Clone)]
pub struct Ledgers {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for Ledgers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledgers").field("node", &self.node()).finish_non_exhaustive()
    }
}

pub(crate) type Partitions = RwLock<BTreeMap<PartitionId, Arc<Group<Partition>>>>;

pub(crate) struct Inner {
    pub(crate) ground: Ground,
    pub(crate) peers: Peers,
    pub(crate) control: Arc<Group<Control>>,
    pub(crate) partitions: Arc<Partitions>,
    /// Leaders of groups, as others told.
    pub(crate) routes: Mutex<HashMap<GroupId, u64>>,
    pub(crate) leading: watch::Sender<BTreeMap<PartitionId, u64>>,
    pub(crate) arrivals: Arrivals,
    pub(crate) departures: Departures,
    /// Held while this node writes a backup.
    pub(crate) backing_up: Arc<Semaphore>,
    pub(crate) asked: RwLock<Option<AskHandler>>,
    pub(crate) opening: tokio::sync::Mutex<()>,
    /// Partitions are started by one at a time: whoever founds, or the keeper.
    pub(crate) bearing: tokio::sync::Mutex<()>,
    pub(crate) hand_overs: HandOvers,
    /// How long a proposal may take, in milliseconds.
    patience_ms: AtomicU64,
    /// Whether every peer that can be reached has heard of the start of this process.
    pub(crate) introduced: AtomicBool,
    /// Wakes the keeper before its time.
    pub(crate) look: Notify,
    peer_addr: SocketAddr,
    tasks: Mutex<JoinSet<()>>,
    /// Whether one of them panicked.
    pub(crate) deaths: Deaths,
}

impl Ledgers {
    /// Opens the disk, starts every group it knows, and listens for peers. A new disk waits to be founded or to join.
    ///
    /// # Errors
    /// See [`OpenError`]: the directory, the database, its version or owner, the address, or an option.
    pub async fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let config = options.raft_config()?;
        if options.secret.expose().is_empty() {
            return Err(OpenError::Option("the cluster's secret is empty".into()));
        }
        let disk = Disk::open(&DiskOptions::of(&options)).await?;
        if secret_check::check(disk.meta(), &options.secret)? == Checked::Other {
            return Err(OpenError::OtherSecret);
        }
        let listen = |source| OpenError::Listen { addr: options.peer_listen.to_string(), source };
        let listener = TcpListener::bind(options.peer_listen).await.map_err(listen)?;
        let peer_addr = listener.local_addr().map_err(listen)?;
        let listens = (!peer_addr.ip().is_unspecified()).then(|| peer_addr.to_string());
        let address = options.advertise.clone().or(listens);
        let (cluster, disks) = (disk.small("cluster"), DiskBook::open(options.node, disk.clone())?);
        let me = Arc::new(Identity::new(options.node, &options.secret, cluster, address, disks));
        let heard = Arc::downgrade(&me);
        disk.flusher().with_every_sync(Box::new(move || heard.upgrade().map_or(Ok(()), |me| me.disks.write())));
        let peers = Peers::new(me, Cipher::new().map_err(OpenError::Option)?);
        let partitions: Arc<Partitions> = Arc::default();
        let network = Network { peers: peers.clone(), archives: archives_of(Arc::downgrade(&partitions)) };
        let patience_ms = millis(options.propose_within);
        let clock = Arc::new(ClusterTime::new(clock, options.max_clock_offset));
        let options = Arc::new(options);
        let ground = Ground { options, config, disk, network, clock, boot: rand::random(), born: Instant::now() };
        let erasing = ground.disk.clone();
        let erased = crate::base::spawn_blocking(move || crate::leaving::complete_erasing(&erasing)).await;
        erased.map_err(|e| OpenError::Damaged { what: "database".into(), why: e.to_string() })??;
        let control = Arc::new(Group::<Control>::open(&ground, GroupId::Control, None).await?);
        let inner = Arc::new(Inner {
            ground,
            peers,
            control,
            partitions,
            routes: Mutex::default(),
            leading: watch::Sender::new(BTreeMap::new()),
            arrivals: Arrivals::default(),
            departures: Departures::default(),
            backing_up: Arc::new(Semaphore::new(1)),
            asked: RwLock::default(),
            opening: tokio::sync::Mutex::default(),
            bearing: tokio::sync::Mutex::default(),
            hand_overs: HandOvers::default(),
            patience_ms: AtomicU64::new(patience_ms),
            introduced: AtomicBool::new(false),
            look: Notify::new(),
            peer_addr,
            tasks: Mutex::new(JoinSet::new()),
            deaths: Deaths::default(),
        });
        for partition in inner.known_on_disk() {
            inner.open_partition(partition).await?;
        }
        let newest = inner.groups().iter().map(|group| group.applied_time()).max();
        let newest = newest.unwrap_or_default();
        if inner.ground.disk.small("cluster").is_some() {
            // All disks of a cluster may be put back together, and then nobody can know it but the people who read this.
            tracing::info!(%newest, "the time of the newest command on this disk");
        }
        inner.ground.clock.begin(newest);
        // A node that is alone with its clock knows the present at once.
        inner.ground.clock.look(&crate::time::company(&inner));
        inner.spawn("the clocks", crate::time::measure(Arc::downgrade(&inner)));
        inner.spawn("standing aside", crate::time::stand_aside(Arc::downgrade(&inner)));
        inner.spawn("the peer port", serve(listener, inner.peers.clone(), Arc::new(Arc::downgrade(&inner))));
        inner.spawn("the keeper", crate::placement::keep(Arc::downgrade(&inner)));
        inner.spawn("noting entries that are passed over", crate::skipping::report(Arc::downgrade(&inner)));
        inner.spawn("telling of disks", crate::admitting::tell_around(Arc::downgrade(&inner)));
        crate::time::settle(&inner).await;
        Ok(Self { inner })
    }

    /// Where peers reach this node.
    pub fn peer_addr(&self) -> SocketAddr {
        self.inner.peer_addr
    }

    /// This node's number.
    pub fn node(&self) -> u64 {
        self.inner.ground.options.node
    }

    /// Drawn when this process opened its ledgers; tells it from its former lives.
    pub fn boot(&self) -> u64 {
        self.inner.ground.boot
    }

    /// The present as the nodes agree on it: never the word of one wall clock.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.inner.ground.clock) as Arc<dyn Clock>
    }

    /// The id of the cluster this node belongs to, once it does.
    pub fn cluster(&self) -> Option<String> {
        self.inner.peers.me().cluster.read().clone()
    }

    /// Whether the disk keeps a check value of the cluster's secret, which then fits. A directory of an older program has none.
    pub fn secret_is_known(&self) -> bool {
        self.inner.ground.disk.meta().contains_key(secret_check::KEY).unwrap_or(false)
    }

    /// Keeps a check value of the secret this node was opened with: from here on it opens with no other.
    ///
    /// # Errors
    /// When the disk does not keep it.
    pub async fn keep_secret_check(&self) -> std::io::Result<()> {
        self.inner.keep_secret_check().await
    }

    /// Why this node is no member of its cluster any more, if it was removed. For ever: only an empty directory and a new
    /// number make a member of it.
    pub fn dismissed(&self) -> Option<String> {
        self.inner.peers.me().roll.told()
    }

    /// The newest error of every peer that this node cannot reach now, by its number; a peer that was reached since is left
    /// out.
    pub fn peer_trouble(&self) -> BTreeMap<u64, String> {
        self.inner.peers.trouble()
    }

    /// Shows `look` the local replica of control. `look` must be quick: it holds up the replica.
    pub fn read_control<T>(&self, look: impl FnOnce(&Control) -> T) -> T {
        self.inner.control.host().read(look)
    }

    /// Shows `look` the local replica of a partition, if there is one that lives. `look` must be quick: it holds up the replica.
    pub fn read<T>(&self, partition: PartitionId, look: impl FnOnce(&Partition) -> T) -> Option<T> {
        let group = self.inner.partition(partition).filter(|group| group.lives())?;
        Some(group.host().read(look))
    }

    /// The partitions this node has a replica of.
    pub fn hosted(&self) -> Vec<PartitionId> {
        self.inner.partitions.read().keys().copied().collect()
    }

    /// The partitions this node leads and can serve, with the term in which it does.
    pub fn leading(&self) -> watch::Receiver<BTreeMap<PartitionId, u64>> {
        self.inner.leading.subscribe()
    }

    /// The lease under which this node leads a partition in that term, if it does. It may be over at this moment, and come back.
    pub fn lease(&self, partition: PartitionId, term: u64) -> Option<Arc<Tenure>> {
        self.inner.partition(partition)?.lease().tenure(term)
    }

    /// Grows with every applied entry of control.
    pub fn control_version(&self) -> watch::Receiver<u64> {
        self.inner.control.host().applied()
    }

    /// Hints of a local replica from now on; one listener per partition, the newest wins. Closed at once if there is no
    /// replica here, and when it goes away.
    pub fn hints(&self, partition: PartitionId) -> mpsc::UnboundedReceiver<Vec<Hint>> {
        match self.inner.partition(partition) {
            Some(group) => group.host().listen(),
            None => mpsc::unbounded_channel().1,
        }
    }

    /// The archive of a local replica, if there is one that lives.
    pub fn archive(&self, partition: PartitionId) -> Option<Archive> {
        let group = self.inner.partition(partition).filter(|group| group.lives())?;
        let (store, host) = (group.archive()?.clone(), Arc::clone(group.host()));
        Some(Archive::new(store, Arc::new(move || host.between_batches())))
    }

    /// Asks the program of another node, or of this one.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(&self, node: u64, kind: u16, payload: Bytes, timeout: Duration) -> Result<Bytes, AskError> {
        if node == self.node() {
            let answering = self.inner.answer_ask(node, kind, payload);
            let answered = tokio::time::timeout(timeout, answering).await;
            return answered.map_err(|_| AskError::NoAnswer("the time ran out".into()))?.map_err(AskError::Failed);
        }
        let body = codec::encode(&(kind, payload)).map_err(|e| AskError::NotSent(e.to_string()))?;
        let answer = self.inner.peers.call(node, None, Lane::Bulk, Kind::Ask, body.into(), timeout).await;
        answer.map_err(|error| match error {
            CallError::NotSent(why) => AskError::NotSent(why),
            CallError::NoAnswer(why) => AskError::NoAnswer(why),
            CallError::Failed(why) => AskError::Failed(why),
        })
    }

    /// Changes how long proposals may take from here on; see [`Options::propose_within`].
    pub fn set_propose_within(&self, within: Duration) {
        self.inner.patience_ms.store(millis(within), Ordering::Relaxed);
    }

    /// Installs what answers [`Ledgers::ask`]; the newest wins.
    pub fn on_ask(&self, handler: AskHandler) {
        *self.inner.asked.write() = Some(handler);
    }

    /// Stops everything and lets go of the disk. What is under way is answered `Unknown`.
    pub async fn shutdown(self) {
        let inner = &self.inner;
        let mut tasks = std::mem::take(&mut *inner.tasks.lock());
        tasks.shutdown().await;
        inner.departures.close();
        let partitions: Vec<_> = std::mem::take(&mut *inner.partitions.write()).into_values().collect();
        join_all(partitions.iter().map(|group| group.shutdown())).await;
        inner.control.shutdown().await;
        inner.peers.close();
        if let Err(error) = inner.ground.disk.settle().await {
            tracing::warn!(%error, "the disk did not settle at the end");
        }
    }
}

impl Inner {
    /// Runs `task` until this node ends. If it panics, the process has to end ([`Ledgers::failure`]).
    pub(crate) fn spawn(&self, what: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(self.deaths.clone().watch(what, task));
    }

    pub(crate) fn node(&self) -> u64 {
        self.ground.options.node
    }

    /// How long a proposal may take.
    pub(crate) fn propose_within(&self) -> Duration {
        Duration::from_millis(self.patience_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn partition(&self, partition: PartitionId) -> Option<Arc<Group<Partition>>> {
        self.partitions.read().get(&partition).cloned()
    }

    /// A group of this node, whatever its machine.
    pub(crate) fn group(&self, id: GroupId) -> Option<Arc<dyn AnyGroup>> {
        match id {
            GroupId::Control => Some(Arc::clone(&self.control) as Arc<dyn AnyGroup>),
            GroupId::Partition(partition) => self.partition(partition).map(|group| group as Arc<dyn AnyGroup>),
        }
    }

    /// All groups of this node.
    pub(crate) fn groups(&self) -> Vec<Arc<dyn AnyGroup>> {
        let mut groups: Vec<Arc<dyn AnyGroup>> = vec![Arc::clone(&self.control) as Arc<dyn AnyGroup>];
        groups.extend(self.partitions.read().values().map(|group| Arc::clone(group) as Arc<dyn AnyGroup>));
        groups
    }

    fn known_on_disk(&self) -> Vec<PartitionId> {
        let names = self.ground.disk.trees("log/");
        let ids = names.iter().filter_map(|name| name.strip_prefix("log/")?.parse().ok());
        ids.filter_map(|id| if let GroupId::Partition(partition) = id { Some(partition) } else { None }).collect()
    }

    /// Opens a partition's group, unless it is open.
    pub(crate) async fn open_partition(
        self: &Arc<Self>,
        partition: PartitionId,
    ) -> Result<Arc<Group<Partition>>, OpenError> {
        let _one_at_a_time = self.opening.lock().await;
        if let Some(open) = self.partition(partition) {
            return Ok(open);
        }
        let id = GroupId::Partition(partition);
        let archive = Arc::new(ArchiveStore::open(&self.ground.disk, id)?);
        let sink = Arc::clone(&archive) as Arc<dyn RecordSink<Record>>;
        let group = Arc::new(Group::<Partition>::open(&self.ground, id, Some((archive, sink))).await?);
        self.partitions.write().insert(partition, Arc::clone(&group));
        if group.is_promised() {
            self.spawn("the end of a promise", look_after_promise(Arc::downgrade(self)));
        }
        let watching = crate::leading::watch(Arc::downgrade(self), Arc::downgrade(&group), partition);
        self.spawn("the watch over a partition", watching);
        Ok(group)
    }

    pub(crate) async fn answer_ask(&self, from: u64, kind: u16, payload: Bytes) -> Result<Bytes, String> {
        let handler = self.asked.read().clone();
        match handler {
            Some(handler) => handler(from, kind, payload).await,
            None => Err("nobody answers questions on this node yet".into()),
        }
    }
}

/// Has the keeper look when the promises are over that were given before this node was started.
async fn look_after_promise(inner: Weak<Inner>) {
    let Some(lease) = inner.upgrade().map(|inner| inner.ground.options.timing.election_max_ms) else { return };
    tokio::time::sleep(Duration::from_millis(lease + 1)).await;
    if let Some(inner) = inner.upgrade() {
        inner.look.notify_one();
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn archives_of(partitions: Weak<Partitions>) -> Arc<dyn Fn(GroupId) -> Option<Arc<ArchiveStore>> + Send + Sync> {
    Arc::new(move |id| match id {
        GroupId::Control => None,
        GroupId::Partition(partition) => partitions.upgrade()?.read().get(&partition)?.archive().cloned(),
    })
}
