//! The keeper of this node: opens the groups control places here, tends those led here, forgets those that left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::join_all;
use tidings_contract::{Clock, PartitionId};
use tidings_machine::control::DiskId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::admitting::admit;
use crate::departing::{AskAround, forget_emptied};
use crate::founding::peer_of;
use crate::group::AnyGroup;
use crate::leaving::{Leaving, ask_members};
use crate::ledgers::Inner;
use crate::rescuing::{GIVEN_AWAY_WITHIN, Rescues, Sight};
use crate::types::GroupId;

/// How often the keeper looks when nothing wakes it.
const LOOK: Duration = Duration::from_millis(500);
/// How long one step may take.
const STEP: Duration = Duration::from_secs(5);
/// Most groups that one node hands over at once. In each, proposals wait for about one lease; the other groups go on.
const HAND_OVERS: usize = 4;
/// How long after its start a node stands for nothing that does not know the present yet.
const PRESENT_WITHIN: Duration = Duration::from_secs(5);
/// Under this name the disk knows that the node was removed.
const DISMISSED: &str = "dismissed";

/// Runs until the node closes.
pub(crate) async fn keep(inner: Weak<Inner>) {
    let mut keeper = Keeper::new();
    if let Some(inner) = inner.upgrade()
        && let Some(why) = inner.ground.disk.small(DISMISSED)
    {
        inner.peers.me().roll.tell(&why);
    }
    let Some(mut control) = inner.upgrade().map(|inner| inner.control.host().applied()) else { return };
    loop {
        let Some(now) = inner.upgrade() else { return };
        keeper.look(&now).await;
        let wake = async {
            tokio::select! {
                () = now.look.notified() => {}
                _ = control.changed() => {}
            }
        };
        let _ = timeout(LOOK, wake).await;
        control.borrow_and_update();
    }
}

struct Keeper {
    leaving: Leaving,
    around: AskAround,
    hand_overs: Arc<Semaphore>,
    /// The disk knows that this node was removed.
    dismissal_kept: bool,
    day: u32,
    /// The groups here whose lead was silenced, because the disk takes nothing or the clock is astray.
    silenced: BTreeSet<GroupId>,
    /// The groups that are led here though the clock is astray.
    rescues: Rescues,
}

/// What control says about groups and nodes.
pub(crate) struct Wishes {
    cluster: Option<(String, u16)>,
    pub(crate) placement: BTreeMap<PartitionId, Vec<u64>>,
    pub(crate) nodes: BTreeMap<u64, crate::types::Peer>,
    pub(crate) draining: BTreeSet<u64>,
    removed: BTreeSet<u64>,
    /// The disk of each node.
    pub(crate) disks: BTreeMap<u64, DiskId>,
    /// Nodes that came back with another disk, which have to be in no group before it counts.
    pub(crate) coming: BTreeMap<u64, DiskId>,
}

impl Wishes {
    fn of(inner: &Inner) -> Self {
        inner.control.host().read(|control| Self {
            cluster: control.cluster.as_ref().map(|cluster| (cluster.id.clone(), cluster.partitions)),
            placement: control.placement.clone(),
            nodes: control.nodes.iter().map(|(id, info)| (*id, peer_of(info))).collect(),
            draining: control.departures.draining.keys().copied().collect(),
            removed: control.departures.removed.keys().copied().collect(),
            disks: control.disks.known.clone(),
            coming: control.disks.coming.clone(),
        })
    }

    /// The nodes that should be members of a group, without those whose disk is being changed.
    fn members(&self, nodes: impl IntoIterator<Item = u64>) -> Vec<u64> {
        nodes.into_iter().filter(|node| !self.coming.contains_key(node)).collect()
    }
}

impl Keeper {
    fn new() -> Self {
        Self {
            leaving: Leaving::default(),
            around: AskAround::default(),
            hand_overs: Arc::new(Semaphore::new(HAND_OVERS)),
            dismissal_kept: false,
            day: 0,
            silenced: BTreeSet::new(),
            rescues: Rescues::default(),
        }
    }

    async fn look(&mut self, inner: &Arc<Inner>) {
        let wishes = Wishes::of(inner);
        let disks = &inner.peers.me().disks;
        inner.control.host().read(|control| disks.set_word(&wishes.disks, control.disks.retired.keys().copied()));
        let roll = &inner.peers.me().roll;
        if wishes.removed.contains(&inner.node()) {
            roll.tell(&format!("node {} was removed from the cluster", inner.node()));
        }
        if let Some(why) = roll.told() {
            self.stand_down(inner, &why).await;
            return;
        }
        let Some((cluster, partitions)) = &wishes.cluster else { return };
        self.silence_if_unable(inner);
        roll.set_gone(wishes.removed.clone());
        inner.peers.set_book(wishes.nodes.iter().map(|(id, peer)| (*id, peer.peer_addr.clone())).collect());
        if let Err(error) = inner.adopt_cluster(cluster).await {
            tracing::error!(%error, "the disk does not keep the cluster's id");
            return;
        }
        open_placed(inner, &wishes, *partitions).await;
        self.tend(inner, &wishes).await;
        forget_emptied(inner, &wishes).await;
        admit(inner, &wishes).await;
        self.leaving.look(inner, &wishes).await;
        self.around.look(inner, &wishes).await;
        self.forget_old_days(inner).await;
    }

    /// A node whose disk takes nothing new refuses appends and so no longer hears its leaders; it must not disturb them by
    /// standing for election. What it leads itself it could only refuse: it falls silent, so that others are elected. Who
    /// hands a group over does not stand for it meanwhile. The same holds while this machine's clock is astray, and in a group
    /// of which this replica takes nothing.
    fn silence_if_unable(&mut self, inner: &Inner) {
        let clock = &inner.ground.clock;
        let unable = inner.ground.disk.health().refuses().is_some()
            || inner.peers.me().disks.unaccepted().is_some()
            || !inner.introduced.load(Ordering::Acquire);
        // What it leads would be late by as long as it was down. Where no majority of clocks agrees it knows no better for good.
        let lost = !clock.is_settled() && inner.ground.born.elapsed() < PRESENT_WITHIN;
        // A node that is astray gives away what it leads; what nobody has taken by then, others are elected for.
        let astray = clock.astray_for();
        let kept_too_long = astray.is_some_and(|astray| astray >= GIVEN_AWAY_WITHIN);
        if astray.is_none() {
            self.rescues.end();
        }
        for group in inner.groups() {
            let rescued = astray.is_some() && self.rescues.allows(group.id(), sight(inner, &*group), Instant::now());
            let silent = unable || kept_too_long && !rescued;
            let config = group.raft().runtime_config();
            if !group.handing_over() {
                let able = !silent && !lost && (astray.is_none() || rescued) && !group.is_promised();
                config.elect(able && group.skips().differs().is_none());
            }
            let changed = if silent { self.silenced.insert(group.id()) } else { self.silenced.remove(&group.id()) };
            if changed {
                config.heartbeat(!silent);
            }
        }
    }

    /// A node that was removed stands for nothing any more, also after a restart.
    async fn stand_down(&mut self, inner: &Inner, why: &str) {
        for group in inner.groups() {
            group.raft().runtime_config().elect(false);
        }
        if !self.dismissal_kept {
            let kept = inner.ground.disk.keep(DISMISSED.into(), why.as_bytes().to_vec()).await;
            self.dismissal_kept = kept.is_ok();
        }
    }

    async fn forget_old_days(&mut self, inner: &Arc<Inner>) {
        let today = inner.ground.clock.now().day();
        if today == self.day {
            return;
        }
        self.day = today;
        let first = today.saturating_sub(inner.ground.options.retention_days);
        let archives: Vec<_> = inner.partitions.read().values().filter_map(|group| group.archive().cloned()).collect();
        let forgotten =
            crate::base::spawn_blocking(move || archives.iter().try_for_each(|archive| archive.drop_before(first)));
        if let Ok(Err(error)) = forgotten.await {
            tracing::warn!(%error, "days past their retention could not be forgotten; tried again tomorrow");
        }
    }
}

/// How a group stands, as this node sees it.
fn sight(inner: &Inner, group: &dyn AnyGroup) -> Sight {
    let (me, disks, clock) = (inner.node(), &inner.peers.me().disks, &inner.ground.clock);
    let metrics = group.raft().metrics();
    let metrics = metrics.borrow();
    let by_us = metrics.current_leader == Some(me);
    let mut others = metrics.membership_config.membership().voter_ids().filter(|node| *node != me);
    Sight {
        led: by_us || metrics.current_leader.is_some_and(|leader| !disks.is_quiet(leader)),
        by_us,
        heir: others.any(|node| !clock.is_peer_astray(node) && !disks.is_quiet(node)),
    }
}

async fn open_placed(inner: &Arc<Inner>, wishes: &Wishes, partitions: u16) {
    let me = inner.node();
    for (partition, nodes) in &wishes.placement {
        if nodes.contains(&me)
            && inner.partition(*partition).is_none()
            && let Err(error) = inner.open_partition(*partition).await
        {
            tracing::error!(%partition, %error, "a replica could not be opened");
        }
    }
    if inner.is_founder()
        && let Some(peer) = wishes.nodes.get(&me)
        && let Err(error) = inner.bear_partitions(partitions, peer).await
    {
        tracing::error!(%error, "a partition could not be started");
    }
}

impl Keeper {
    /// Moves every group that is led here one step towards what control wants; begins hand-overs, a bounded number at once.
    async fn tend(&self, inner: &Arc<Inner>, wishes: &Wishes) {
        let led = |group: &Arc<dyn AnyGroup>| crate::group::leads(group.raft()).is_some() && !group.handing_over();
        let led: Vec<_> = inner.groups().into_iter().filter(led).collect();
        let steps = led.iter().map(|group| step_of(inner, group, wishes));
        let next: Vec<Vec<u64>> = join_all(steps).await;
        for (group, candidates) in led.iter().zip(next).filter(|(_, candidates)| !candidates.is_empty()) {
            let Ok(permit) = Arc::clone(&self.hand_overs).try_acquire_owned() else { return };
            *group.transfer_tried().lock() = Some(Instant::now());
            inner.spawn("a hand-over", hand_over(Arc::downgrade(inner), Arc::clone(group), candidates, permit));
        }
    }
}

/// One step of a group that is led here; gives who should lead it instead, the best first.
async fn step_of(inner: &Arc<Inner>, group: &Arc<dyn AnyGroup>, wishes: &Wishes) -> Vec<u64> {
    let wanted = match group.id() {
        GroupId::Control => {
            let staying = wishes.nodes.keys().copied().filter(|node| !wishes.draining.contains(node));
            crate::reconcile::control_voters(group.raft(), wishes.members(staying).into_iter())
        }
        GroupId::Partition(partition) => wishes.members(wishes.placement.get(&partition).cloned().unwrap_or_default()),
    };
    let mut nodes = wishes.nodes.clone();
    nodes.retain(|node, _| !wishes.coming.contains_key(node));
    let step = crate::reconcile::step(&**group, inner.node(), &wanted, &nodes);
    match timeout(STEP, step).await {
        Ok(Ok(next)) => next,
        Ok(Err(error)) => {
            tracing::debug!(group = %group.id(), %error, "membership could not be moved; tried again");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

/// Hands a group to the first of `candidates` that answers.
async fn hand_over(inner: Weak<Inner>, group: Arc<dyn AnyGroup>, candidates: Vec<u64>, _permit: OwnedSemaphorePermit) {
    let Some(inner) = inner.upgrade() else { return };
    for next in candidates.into_iter().filter(|next| !inner.ground.clock.is_peer_astray(*next)) {
        // A node that is down has everything too, if nothing was written since.
        if ask_members(&inner, group.id(), next).await.is_none() {
            continue;
        }
        if let Err(why) = inner.transfer(&group, next).await {
            tracing::info!(group = %group.id(), next, why, "leadership stays");
        }
        inner.look.notify_one();
        return;
    }
}
