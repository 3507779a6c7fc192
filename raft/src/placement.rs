//! The keeper of this node: opens the groups control places here, tends those led here, forgets those that left.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::join_all;
use tidings_contract::PartitionId;
use tokio::time::{Instant, timeout};

use crate::answering::Members;
use crate::codec;
use crate::founding::peer_of;
use crate::group::AnyGroup;
use crate::ledgers::Inner;
use crate::peers::{Kind, Lane};
use crate::types::GroupId;

/// How often the keeper looks when nothing wakes it.
const LOOK: Duration = Duration::from_millis(500);
/// How long one step may take.
const STEP: Duration = Duration::from_secs(5);
/// How long a partition must be placed elsewhere before its replica here may go.
const LEAVE_AFTER: Duration = Duration::from_secs(30);

/// Runs until the node closes.
pub(crate) async fn keep(inner: Weak<Inner>) {
    let mut keeper = Keeper::default();
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

#[derive(Default)]
struct Keeper {
    unplaced: HashMap<PartitionId, Instant>,
    day: u32,
}

/// What control says about groups and nodes.
struct Wishes {
    cluster: Option<(String, u16)>,
    placement: BTreeMap<PartitionId, Vec<u64>>,
    nodes: BTreeMap<u64, crate::types::Peer>,
}

impl Keeper {
    async fn look(&mut self, inner: &Arc<Inner>) {
        let wishes = inner.control.host().read(|control| Wishes {
            cluster: control.cluster.as_ref().map(|cluster| (cluster.id.clone(), cluster.partitions)),
            placement: control.placement.clone(),
            nodes: control.nodes.iter().map(|(id, info)| (*id, peer_of(info))).collect(),
        });
        let Some((cluster, partitions)) = &wishes.cluster else { return };
        stand_if_able(inner);
        inner.peers.set_book(wishes.nodes.iter().map(|(id, peer)| (*id, peer.peer_addr.clone())).collect());
        if let Err(error) = inner.adopt_cluster(cluster).await {
            tracing::error!(%error, "the disk does not keep the cluster's id");
            return;
        }
        open_placed(inner, &wishes, *partitions).await;
        tend(inner, &wishes).await;
        self.leave(inner, &wishes).await;
        self.forget_old_days(inner).await;
    }

    /// Removes replicas that control placed elsewhere, once their group agrees that they are no members.
    async fn leave(&mut self, inner: &Arc<Inner>, wishes: &Wishes) {
        let me = inner.node();
        let hosted: Vec<_> = inner.partitions.read().keys().copied().collect();
        self.unplaced.retain(|partition, _| hosted.contains(partition));
        for partition in hosted {
            if wishes.placement.get(&partition).is_none_or(|nodes| nodes.contains(&me)) {
                self.unplaced.remove(&partition);
                continue;
            }
            let since = *self.unplaced.entry(partition).or_insert_with(Instant::now);
            if since.elapsed() >= LEAVE_AFTER && has_left(inner, partition, wishes).await {
                self.unplaced.remove(&partition);
                erase(inner, partition).await;
            }
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

/// A node whose disk takes nothing new refuses appends and so no longer hears its leaders; it must not disturb them by
/// standing for election.
fn stand_if_able(inner: &Inner) {
    let able = inner.ground.disk.health().refuses().is_none();
    for group in inner.groups() {
        group.raft().runtime_config().elect(able);
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

/// Moves every group that is led here one step towards what control wants, and hands over at most one.
async fn tend(inner: &Arc<Inner>, wishes: &Wishes) {
    let led: Vec<_> = inner.groups().into_iter().filter(|group| crate::group::leads(group.raft()).is_some()).collect();
    let steps = led.iter().map(|group| async {
        let wanted = match group.id() {
            GroupId::Control => crate::reconcile::control_voters(group.raft(), wishes.nodes.keys().copied()),
            GroupId::Partition(partition) => wishes.placement.get(&partition).cloned().unwrap_or_default(),
        };
        let step = crate::reconcile::step(&**group, inner.node(), &wanted, &wishes.nodes);
        match timeout(STEP, step).await {
            Ok(Ok(next)) => next,
            Ok(Err(error)) => {
                tracing::debug!(group = %group.id(), %error, "membership could not be moved; tried again");
                None
            }
            Err(_) => None,
        }
    });
    let leaders: Vec<_> = join_all(steps).await;
    let handed = led.iter().zip(leaders).find_map(|(group, next)| next.map(|next| (group, next)));
    let Some((group, next)) = handed else { return };
    *group.transfer_tried().lock() = Some(Instant::now());
    // A node that is down has everything too, if nothing was written since.
    if ask_members(inner, group.id(), next).await.is_some()
        && let Err(why) = inner.transfer(group, next).await
    {
        tracing::info!(group = %group.id(), next, why, "leadership stays");
    }
}

async fn ask_members(inner: &Inner, id: GroupId, node: u64) -> Option<Members> {
    let body = codec::encode(&(id, ())).ok()?;
    let answer = inner.peers.call(node, None, Lane::Raft, Kind::Members, body.into(), Duration::from_secs(1)).await;
    codec::decode(&answer.ok()?).ok()
}

/// Whether the leader of a partition says that this node is not a member of it.
async fn has_left(inner: &Inner, partition: PartitionId, wishes: &Wishes) -> bool {
    let id = GroupId::Partition(partition);
    for node in wishes.placement.get(&partition).into_iter().flatten() {
        if let Some(members) = ask_members(inner, id, *node).await
            && members.leader == Some(*node)
        {
            return members.settled && !members.nodes.contains(&inner.node());
        }
    }
    false
}

async fn erase(inner: &Arc<Inner>, partition: PartitionId) {
    let _one_at_a_time = inner.opening.lock().await;
    let Some(group) = inner.partitions.write().remove(&partition) else { return };
    tracing::info!(%partition, "this node is no member any more; its replica goes");
    group.shutdown().await;
    inner.leading.send_if_modified(|leading| leading.remove(&partition).is_some());
    match crate::base::spawn_blocking(move || group.erase()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%partition, %error, "a replica that left still uses space"),
        Err(error) => tracing::warn!(%partition, %error, "a replica that left still uses space"),
    }
}
