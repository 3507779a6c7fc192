//! How a cluster is founded, grows and shrinks.

use tidings_contract::PartitionId;

use super::apply::Change;
use super::placement::{Sites, place};
use super::{Answer, ApiKey, Cluster, Control, NodeInfo, Refusal, Role};

/// Most nodes of a cluster.
const MOST_NODES: usize = 1_000;
/// Most nodes that ever left; their numbers are kept.
const MOST_REMOVED: usize = 10_000;

/// Most partitions of a cluster.
const MOST_PARTITIONS: u16 = 1_024;

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
        // Placing them takes time that grows with their square, on every replica.
        if partitions > MOST_PARTITIONS {
            return Err(Refusal::TooMany(MOST_PARTITIONS.into()));
        }
        if key.role != Role::Admin {
            return Err(Refusal::Invalid("the first key must be an admin's".to_owned()));
        }
        self.cluster = Some(Cluster { id, partitions, replication, founded_at: self.now });
        self.nodes.insert(node, NodeInfo { joined_at: self.now, ..info });
        self.key_hashes.insert(key.hash, key_id.clone());
        self.keys.insert(key_id, ApiKey { created_at: self.now, revoked_at: None, ..key });
        self.place_anew();
        Ok(Change::Made(Answer::Done))
    }

    /// A node that comes back keeps the time at which it joined first, and goes on leaving if it was.
    pub(super) fn put_node(&mut self, node: u64, info: NodeInfo) -> Result<Change, Refusal> {
        self.admit(node)?;
        self.has_addresses_of_its_own(node, &info, None)?;
        let known = self.nodes.get(&node);
        let info = NodeInfo { joined_at: known.map_or(self.now, |known| known.joined_at), ..info };
        if known == Some(&info) {
            return Ok(Change::None(Answer::Done));
        }
        let moves = known.is_none_or(|known| known.zone() != info.zone());
        self.nodes.insert(node, info);
        if moves {
            self.place_anew();
        }
        Ok(Change::Made(Answer::Done))
    }

    /// Whether a node of that number may be a member.
    fn admit(&self, node: u64) -> Result<(), Refusal> {
        if self.departures.removed.contains_key(&node) {
            return Err(Refusal::Removed(node));
        }
        if !self.nodes.contains_key(&node) && self.nodes.len() >= MOST_NODES {
            return Err(Refusal::TooMany(MOST_NODES as u64));
        }
        Ok(())
    }

    /// Two members cannot be reached at one address. One that leaves, and `instead_of`, may have had it.
    fn has_addresses_of_its_own(&self, node: u64, info: &NodeInfo, instead_of: Option<u64>) -> Result<(), Refusal> {
        for (other, has) in &self.nodes {
            if *other == node || Some(*other) == instead_of || self.departures.draining.contains_key(other) {
                continue;
            }
            let taken = |field: &str, address: &str| {
                Refusal::Field(field.to_owned(), format!("{address} is the address of node {other}, which is a member"))
            };
            if has.peer_addr == info.peer_addr {
                return Err(taken("peer_addr", &info.peer_addr));
            }
            if has.api_addr == info.api_addr {
                return Err(taken("api_addr", &info.api_addr));
            }
        }
        Ok(())
    }

    /// Begins to empty a node. Asking again changes nothing, also once it is gone.
    pub(super) fn remove_node(&mut self, node: u64) -> Result<Change, Refusal> {
        let departures = &self.departures;
        if departures.removed.contains_key(&node) || departures.draining.contains_key(&node) {
            return Ok(Change::None(Answer::Done));
        }
        if !self.nodes.contains_key(&node) {
            return Err(Refusal::NotFound);
        }
        if self.staying().count() <= 1 {
            return Err(Refusal::LastNode);
        }
        self.mark_leaving(node)?;
        self.place_anew();
        Ok(Change::Made(Answer::Done))
    }

    /// One placement for both, so that only what the old node held moves.
    pub(super) fn replace_node(&mut self, old: u64, node: u64, info: NodeInfo) -> Result<Change, Refusal> {
        if !self.nodes.contains_key(&old) {
            return Err(Refusal::NotFound);
        }
        self.admit(node)?;
        if self.nodes.contains_key(&node) {
            let draining = self.departures.draining.contains_key(&old);
            return if draining && node != old {
                self.put_node(node, info)
            } else {
                Err(Refusal::Invalid(format!("node {node} is a member already; the new one needs a number of its own")))
            };
        }
        self.has_addresses_of_its_own(node, &info, Some(old))?;
        self.mark_leaving(old)?;
        self.nodes.insert(node, NodeInfo { joined_at: self.now, ..info });
        self.place_anew();
        Ok(Change::Made(Answer::Done))
    }

    fn mark_leaving(&mut self, node: u64) -> Result<(), Refusal> {
        if self.departures.removed.len() + self.departures.draining.len() >= MOST_REMOVED {
            return Err(Refusal::TooMany(MOST_REMOVED as u64));
        }
        self.departures.draining.entry(node).or_insert(self.now);
        Ok(())
    }

    /// The end of a node's membership. Its number stays known, so that it is never taken in again.
    pub(super) fn forget_node(&mut self, node: u64) -> Result<Change, Refusal> {
        if self.departures.removed.contains_key(&node) {
            return Ok(Change::None(Answer::Done));
        }
        if !self.departures.draining.contains_key(&node) {
            return Err(Refusal::Invalid(format!("node {node} was not asked to leave")));
        }
        self.departures.draining.remove(&node);
        self.departures.removed.insert(node, self.now);
        self.nodes.remove(&node);
        self.disks.give_up(node, self.now);
        Ok(Change::Made(Answer::Done))
    }

    /// The first replica is the preferred leader.
    pub(super) fn prefer_leader(&mut self, partition: PartitionId, node: u64) -> Result<Change, Refusal> {
        let replicas = self.placement.get_mut(&partition).ok_or(Refusal::NotFound)?;
        let at = replicas.iter().position(|replica| *replica == node);
        let at = at.ok_or_else(|| Refusal::Invalid(format!("node {node} is not to hold {partition}")))?;
        if at == 0 {
            return Ok(Change::None(Answer::Done));
        }
        replicas.swap(0, at);
        Ok(Change::Made(Answer::Done))
    }

    /// Places the partitions on the nodes that stay.
    fn place_anew(&mut self) {
        let Some(cluster) = &self.cluster else { return };
        let (partitions, replication) = (cluster.partitions, cluster.replication);
        let zone = |node: u64| self.nodes.get(&node).and_then(NodeInfo::zone).map(str::to_owned);
        let sites: Sites = self.staying().map(|node| (node, zone(node))).collect();
        self.placement = place(&self.placement, &sites, partitions, replication);
    }
}
