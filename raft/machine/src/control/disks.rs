//! Which disk each node has, as the cluster knows it.
//!
//! The number of a node is what people type. Its disk is what votes: what a majority counted on stands on disks. So the
//! disk that belongs to a number is decided here, and it changes only in two steps: the node leaves every group with its
//! old disk (it is *coming*), and only then the new one is taken in, to be filled before it votes.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use tidings_contract::Time;

use super::apply::Change;
use super::{Answer, Control, Refusal};

/// Most disks that are remembered as given up; the oldest are forgotten first.
const MOST_RETIRED: usize = 10_000;

/// The id of a disk: drawn at random when its data directory is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DiskId(pub u128);

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A disk that belongs to no node any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// Whose it was.
    pub node: u64,
    /// When it was given up.
    pub at: Time,
}

/// The disks of the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disks {
    /// The disk of each node. No other disk counts under its number.
    pub known: BTreeMap<u64, DiskId>,
    /// Nodes that came back with another disk: they leave every group first, then this disk becomes theirs.
    pub coming: BTreeMap<u64, DiskId>,
    /// Disks that were given up. None of them counts again, whoever has it.
    pub retired: BTreeMap<DiskId, Retired>,
}

impl Disks {
    /// Whether some node has, gets or had this disk.
    fn is_used(&self, disk: DiskId) -> bool {
        self.retired.contains_key(&disk) || self.known.values().chain(self.coming.values()).any(|used| *used == disk)
    }

    /// Gives up whatever disk a node has.
    pub(super) fn give_up(&mut self, node: u64, at: Time) {
        self.coming.remove(&node);
        let Some(old) = self.known.remove(&node) else { return };
        self.retired.insert(old, Retired { node, at });
        while self.retired.len() > MOST_RETIRED {
            let oldest = self.retired.iter().min_by_key(|(id, retired)| (retired.at, **id)).map(|(id, _)| *id);
            oldest.and_then(|id| self.retired.remove(&id));
        }
    }
}

impl Control {
    /// Writes down the disk of a node of which none is known yet.
    pub(super) fn put_disk(&mut self, node: u64, disk: DiskId) -> Result<Change, Refusal> {
        self.is_member(node)?;
        match self.disks.known.get(&node) {
            Some(known) if *known == disk => return Ok(Change::None(Answer::Done)),
            Some(_) => return Err(Refusal::Invalid(format!("node {node} has another disk"))),
            None if self.disks.is_used(disk) => return Err(Refusal::Invalid("that disk is another node's".to_owned())),
            None => {}
        }
        self.disks.known.insert(node, disk);
        Ok(Change::Made(Answer::Done))
    }

    /// A node came back with `disk` instead of `old`: it leaves every group before the new disk counts.
    pub(super) fn change_disk(&mut self, node: u64, old: DiskId, disk: DiskId) -> Result<Change, Refusal> {
        self.is_member(node)?;
        if self.disks.known.get(&node) != Some(&old) {
            return Err(Refusal::Stale);
        }
        if self.disks.coming.get(&node) == Some(&disk) {
            return Ok(Change::None(Answer::Done));
        }
        if self.disks.is_used(disk) {
            return Err(Refusal::Invalid("that disk belongs, or belonged, to a node".to_owned()));
        }
        self.disks.coming.insert(node, disk);
        Ok(Change::Made(Answer::Done))
    }

    /// The disk that a node had before is back: the change is called off.
    pub(super) fn keep_disk(&mut self, node: u64) -> Result<Change, Refusal> {
        match self.disks.coming.remove(&node) {
            Some(_) => Ok(Change::Made(Answer::Done)),
            None => Ok(Change::None(Answer::Done)),
        }
    }

    /// The node is in no group any more: from here on `disk` is its disk.
    pub(super) fn admit_disk(&mut self, node: u64, disk: DiskId) -> Result<Change, Refusal> {
        self.is_member(node)?;
        if self.disks.known.get(&node) == Some(&disk) {
            return Ok(Change::None(Answer::Done));
        }
        if self.disks.coming.get(&node) != Some(&disk) {
            return Err(Refusal::Stale);
        }
        self.disks.give_up(node, self.now);
        self.disks.known.insert(node, disk);
        Ok(Change::Made(Answer::Done))
    }

    /// An operator said, on the disk of a member, that `disk` counts for a node though no majority could agree to it.
    pub(super) fn force_disk(&mut self, node: u64, disk: DiskId) -> Result<Change, Refusal> {
        self.is_member(node)?;
        if self.disks.known.get(&node) == Some(&disk) {
            return Ok(Change::None(Answer::Done));
        }
        self.disks.give_up(node, self.now);
        self.disks.retired.remove(&disk);
        self.disks.known.insert(node, disk);
        Ok(Change::Made(Answer::Done))
    }

    fn is_member(&self, node: u64) -> Result<(), Refusal> {
        if self.nodes.contains_key(&node) { Ok(()) } else { Err(Refusal::NotFound) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cluster, NodeInfo};
    use super::*;

    const A: DiskId = DiskId(1);
    const B: DiskId = DiskId(2);
    const C: DiskId = DiskId(3);

    fn control() -> Control {
        let info = |node: u64| NodeInfo {
            peer_addr: format!("host-{node}:1"),
            api_addr: format!("host-{node}:2"),
            labels: BTreeMap::new(),
            joined_at: Time(0),
        };
        Control {
            cluster: Some(Cluster { id: "c".into(), partitions: 1, replication: 3, founded_at: Time(0) }),
            nodes: (1..=3).map(|node| (node, info(node))).collect(),
            ..Control::default()
        }
    }

    #[test]
    fn the_disk_of_a_node_changes_only_after_it_left_every_group() {
        let mut control = control();
        assert!(control.put_disk(1, A).is_ok() && control.put_disk(1, A).is_ok(), "twice is as once");
        assert!(control.put_disk(1, B).is_err(), "a second disk is not taken silently");
        assert!(control.put_disk(2, A).is_err(), "one disk is not two nodes'");
        assert!(control.put_disk(9, C).is_err(), "9 is no member");
        assert!(control.admit_disk(1, B).is_err(), "nobody asked for it");
        assert!(control.change_disk(1, C, B).is_err(), "from an old leader: C never was its disk");
        assert!(control.change_disk(1, A, B).is_ok());
        assert_eq!(control.disks.known[&1], A, "the old one stays its disk until it has left every group");
        assert!(control.admit_disk(1, C).is_err(), "another one came meanwhile");
        assert!(control.admit_disk(1, B).is_ok() && control.admit_disk(1, B).is_ok());
        assert_eq!((control.disks.known[&1], control.disks.coming.len()), (B, 0));
        assert!(control.change_disk(1, B, A).is_err(), "what was given up never counts again");
        assert!(control.put_disk(2, A).is_err(), "nor under another number");
    }

    #[test]
    fn a_disk_that_is_back_in_time_stays_and_a_removed_node_gives_its_disk_up() {
        let mut control = control();
        assert!(control.put_disk(1, A).is_ok() && control.change_disk(1, A, B).is_ok());
        assert!(control.keep_disk(1).is_ok() && control.admit_disk(1, B).is_err(), "it was called off");
        assert!(control.change_disk(1, A, C).is_ok());
        assert!(control.remove_node(1).is_ok() && control.forget_node(1).is_ok());
        assert!(control.disks.known.is_empty() && control.disks.coming.is_empty());
        assert!(control.disks.retired.contains_key(&A), "it is known for what it was");
    }

    #[test]
    fn a_forced_disk_replaces_whatever_is_known() {
        let mut control = control();
        assert!(control.put_disk(1, A).is_ok() && control.change_disk(1, A, B).is_ok());
        assert!(control.force_disk(1, C).is_ok() && control.force_disk(1, C).is_ok());
        assert_eq!((control.disks.known[&1], control.disks.coming.len()), (C, 0));
        assert!(control.disks.retired.contains_key(&A));
    }
}
