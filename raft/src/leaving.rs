//! Replicas that control placed elsewhere: closed, confirmed to be no members, and erased with all they hold.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidings_contract::PartitionId;
use tokio::time::Instant;

use crate::answering::{Members, members};
use crate::base::sled;
use crate::codec;
use crate::group::{AnyGroup, erase_from};
use crate::ledgers::Inner;
use crate::peers::{Kind, Lane};
use crate::placement::Wishes;
use crate::store::Disk;
use crate::types::GroupId;

/// How long a partition must be placed elsewhere before its replica here may go: a change of mind costs no snapshot then.
const LEAVE_AFTER: Duration = Duration::from_secs(5);
/// Under this and its name, the disk knows of a group that is being erased.
const MARK: &str = "erasing/";

/// The replicas that may have to go, and since when.
#[derive(Default)]
pub(crate) struct Leaving {
    since: HashMap<PartitionId, Instant>,
}

impl Leaving {
    /// Removes replicas that control placed elsewhere, once their group agrees that they are no members.
    pub(crate) async fn look(&mut self, inner: &Arc<Inner>, wishes: &Wishes) {
        let me = inner.node();
        let hosted: Vec<_> = inner.partitions.read().keys().copied().collect();
        self.since.retain(|partition, _| hosted.contains(partition));
        for partition in hosted {
            if wishes.placement.get(&partition).is_none_or(|nodes| nodes.contains(&me)) {
                self.since.remove(&partition);
                continue;
            }
            let since = *self.since.entry(partition).or_insert_with(Instant::now);
            if since.elapsed() >= LEAVE_AFTER && has_left(inner, partition, wishes).await {
                self.since.remove(&partition);
                erase(inner, partition, wishes).await;
            }
        }
    }
}

/// Who is in a group, by the word of a node.
pub(crate) async fn ask_members(inner: &Inner, id: GroupId, node: u64) -> Option<Members> {
    let body = codec::encode(&(id, ())).ok()?;
    let answer = inner.peers.call(node, None, Lane::Raft, Kind::Members, body.into(), Duration::from_secs(1)).await;
    codec::decode(&answer.ok()?).ok()
}

/// Who is in a partition, by the word of the one among its wanted replicas that leads it.
pub(crate) async fn members_by_leader(inner: &Inner, partition: PartitionId, wishes: &Wishes) -> Option<Members> {
    let id = GroupId::Partition(partition);
    let mut replicas = wishes.placement.get(&partition).cloned().unwrap_or_default();
    // Whoever leads as far as is known here goes first, so that dead ones are not waited for.
    let known = inner.leader_of(id);
    replicas.sort_by_key(|node| Some(*node) != known);
    for node in replicas {
        let said = match inner.partition(partition) {
            Some(group) if node == inner.node() => Some(members(&*group)),
            _ => ask_members(inner, id, node).await,
        };
        if let Some(said) = said.filter(|said| said.leader == Some(node)) {
            return Some(said);
        }
    }
    None
}

/// Whether the leader of a partition says that this node is not a member of it.
async fn has_left(inner: &Inner, partition: PartitionId, wishes: &Wishes) -> bool {
    let members = members_by_leader(inner, partition, wishes).await;
    members.is_some_and(|members| members.settled && !members.nodes.contains(&inner.node()))
}

/// Closes the replica first and asks once more: what a closed one never answered, no leader can count on, so a replica
/// that is made a member again in this moment starts from nothing and is known to.
async fn erase(inner: &Arc<Inner>, partition: PartitionId, wishes: &Wishes) {
    {
        let _one_at_a_time = inner.opening.lock().await;
        let Some(group) = inner.partitions.write().remove(&partition) else { return };
        group.shutdown().await;
        inner.leading.send_if_modified(|leading| leading.remove(&partition).is_some());
        if has_left(inner, partition, wishes).await {
            tracing::info!(%partition, "this node is no member any more; its replica goes");
            if let Err(error) = erase_closed(inner, group).await {
                tracing::warn!(%partition, %error, "a replica that left still uses space; tried again at the next start");
            }
            return;
        }
    }
    if let Err(error) = inner.open_partition(partition).await {
        tracing::error!(%partition, %error, "a replica that is to stay after all could not be opened again");
    }
}

async fn erase_closed(inner: &Inner, group: Arc<dyn AnyGroup>) -> std::io::Result<()> {
    let disk = inner.ground.disk.clone();
    // Whatever dies from here on: the next start finds the mark and completes it. Also waits for what is being written.
    let mark = format!("{MARK}{}", group.id());
    disk.keep(mark.clone(), Vec::new()).await?;
    crate::base::spawn_blocking(move || group.erase()).await.map_err(std::io::Error::other)??;
    disk.settle().await?;
    disk.meta().remove(mark)?;
    disk.settle().await
}

/// Completes what an earlier life of this process began to erase. Blocks.
pub(crate) fn complete_erasing(disk: &Disk) -> Result<(), sled::Error> {
    for key in disk.meta().scan_prefix(MARK).keys() {
        let key = key?;
        let name = std::str::from_utf8(&key).ok().and_then(|name| name.strip_prefix(MARK)?.parse().ok());
        if let Some(id) = name {
            tracing::info!(group = %id, "completing the erasing of a replica that left");
            erase_from(disk, id)?;
        }
        disk.meta().remove(key)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{DiskLog, DiskOptions};

    #[tokio::test]
    async fn an_erasing_that_was_cut_off_is_completed_and_takes_nothing_else_with_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let options = DiskOptions { dir: dir.path().to_owned(), node: 1, cache_bytes: 1 << 20, reserve_bytes: 0 };
        let disk = Disk::open(&options).await.expect("a new disk");
        let (leaves, stays) = (GroupId::Partition(PartitionId(1)), GroupId::Partition(PartitionId(10)));
        for id in [leaves, stays] {
            for tree in [format!("log/{id}"), format!("snap/{id}"), format!("archive/{id}/20000/records")] {
                disk.tree(&tree).expect("a tree").insert("key", "value").expect("written");
            }
            for key in DiskLog::meta_names(id) {
                disk.meta().insert(key, "value").expect("written");
            }
        }
        disk.meta().insert(format!("born/{leaves}"), "").expect("written");
        // The process died after the log was gone and before anything else was.
        disk.keep(format!("{MARK}{leaves}"), Vec::new()).await.expect("written");
        disk.drop_tree(&format!("log/{leaves}")).expect("dropped");
        drop(disk);

        let disk = Disk::open(&options).await.expect("it opens again");
        complete_erasing(&disk).expect("erased");
        complete_erasing(&disk).expect("and again");
        let left = |id: GroupId| {
            let trees = disk.trees("").into_iter().filter(|name| name.split('/').any(|part| part == id.to_string()));
            let keys =
                DiskLog::meta_names(id).into_iter().filter(|key| disk.meta().contains_key(key).expect("readable"));
            (trees.count(), keys.count())
        };
        assert_eq!((left(leaves), left(stays)), ((0, 0), (3, 3)));
        assert!(
            disk.meta().contains_key(format!("born/{leaves}")).expect("readable"),
            "it is never born a second time"
        );
        assert_eq!(disk.meta().scan_prefix(MARK).count(), 0);
    }
}
