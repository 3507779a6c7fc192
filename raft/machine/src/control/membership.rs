//! How a cluster is founded and grows.

use super::apply::Change;
use super::placement::place;
use super::{Answer, ApiKey, Cluster, Control, NodeInfo, Refusal, Role};

/// Most nodes of a cluster.
const MOST_NODES: usize = 1_000;

impl Control {
    /// Founds the cluster with `(id, partitions, replication)`, its first node and its first key.
    pub(super) fn found(
        &mut self,
        (id, partitions, replication): (String, u16, u16),
        (node, info): (u64, NodeInfo),
        (key_id, key): (String, ApiKey),
    ) -> Result<Change, Refusal> {
        if let Some(cluster) = &self.cluster {
            return Err(Refusal::Founded(cluster.id.clone()));
        }
        if partitions == 0 || replication == 0 {
            return Err(Refusal::Invalid("a cluster has at least one partition and one replica of each".to_owned()));
        }
        if key.role != Role::Admin {
            return Err(Refusal::Invalid("the first key must be an admin's".to_owned()));
        }
        self.cluster = Some(Cluster { id, partitions, replication, founded_at: self.now });
        self.nodes.insert(node, NodeInfo { joined_at: self.now, ..info });
        self.key_hashes.insert(key.hash, key_id.clone());
        self.keys.insert(key_id, ApiKey { created_at: self.now, revoked_at: None, ..key });
        self.replace();
        Ok(Change::Made(Answer::Done))
    }

    /// A node that comes back keeps the time at which it joined first.
    pub(super) fn put_node(&mut self, node: u64, info: NodeInfo) -> Result<Change, Refusal> {
        let known = self.nodes.get(&node);
        if known.is_none() && self.nodes.len() >= MOST_NODES {
            return Err(Refusal::TooMany(MOST_NODES as u64));
        }
        let is_new = known.is_none();
        let info = NodeInfo { joined_at: known.map_or(self.now, |known| known.joined_at), ..info };
        if known == Some(&info) {
            return Ok(Change::None(Answer::Done));
        }
        self.nodes.insert(node, info);
        if is_new {
            self.replace();
        }
        Ok(Change::Made(Answer::Done))
    }

    /// Places the partitions on the nodes there are now.
    fn replace(&mut self) {
        let Some(cluster) = &self.cluster else { return };
        let nodes: Vec<u64> = self.nodes.keys().copied().collect();
        self.placement = place(&self.placement, &nodes, cluster.partitions, cluster.replication);
    }
}
