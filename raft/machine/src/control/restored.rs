//! Control out of a backup: the same decisions, for a new cluster of one node.

use std::collections::BTreeMap;

use tidings_contract::Time;

use super::departures::Departures;
use super::disks::Disks;
use super::placement::place;
use super::{Cluster, Control, NodeInfo};

impl Control {
    /// Makes the control of a backup that of a new cluster whose only node is `node`. Templates, accounts, keys and the
    /// audit log stay; the audit log tells of which cluster it is the restored one. Gives the number of partitions, which
    /// stays too; `None`, and nothing is changed, if there never was a cluster.
    pub fn restored(&mut self, at: Time, id: String, replication: u16, (node, info): (u64, NodeInfo)) -> Option<u16> {
        let old = self.cluster.take()?;
        self.now = self.now.max(at);
        let partitions = old.partitions;
        self.cluster = Some(Cluster { id, partitions, replication: replication.max(1), founded_at: self.now });
        self.nodes = BTreeMap::from([(node, NodeInfo { joined_at: self.now, ..info })]);
        self.departures = Departures::default();
        self.disks = Disks::default();
        self.placement = place(&BTreeMap::new(), &BTreeMap::from([(node, None)]), partitions, replication.max(1));
        self.note("cluster".to_owned(), "restore", old.id);
        Some(partitions)
    }
}
