//! What the groups of this node are like right now.

use std::collections::BTreeMap;

use openraft::ServerState;

use crate::group::AnyGroup;
use crate::ledgers::Ledgers;
use crate::types::GroupId;

/// What this node is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It receives the log and does not vote.
    Learner,
    /// It receives the log and votes.
    Follower,
    /// It stands for election.
    Candidate,
    /// It leads.
    Leader,
    /// It has stopped; see [`GroupStatus::failure`].
    Stopped,
}

/// One member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Whether it votes.
    pub voter: bool,
    /// How many entries it is behind; only the leader knows.
    pub lag: Option<u64>,
}

/// One group as this node sees it.
#[derive(Clone, Debug)]
pub struct GroupStatus {
    /// Which.
    pub group: GroupId,
    /// What this node is in it.
    pub role: Role,
    /// The newest term it knows.
    pub term: u64,
    /// Who leads, if it knows.
    pub leader: Option<u64>,
    /// Its members.
    pub replicas: BTreeMap<u64, Replica>,
    /// Index of the newest entry in the log here.
    pub last_index: Option<u64>,
    /// Index of the newest entry applied here.
    pub applied_index: Option<u64>,
    /// Index of the newest entry in the snapshot here.
    pub snapshot_index: Option<u64>,
    /// Entries in the log here.
    pub log_length: u64,
    /// Milliseconds since the newest message was sent that a majority has taken; only the leader knows.
    pub since_majority_ms: Option<u64>,
    /// Proposals that wait here.
    pub waiting: usize,
    /// Why it stopped, if it did, or takes nothing from its leader.
    pub failure: Option<String>,
}

/// How much of the disk this node uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskUse {
    /// Bytes of the database in the data directory.
    pub used_bytes: u64,
    /// Bytes that are free on its disk.
    pub free_bytes: u64,
}

impl Ledgers {
    /// How much of the disk this node uses; `None` if the disk does not say.
    pub fn disk_use(&self) -> Option<DiskUse> {
        self.inner.ground.disk.usage().map(|(used_bytes, free_bytes)| DiskUse { used_bytes, free_bytes })
    }

    /// Every group of this node, control first.
    pub fn status(&self) -> Vec<GroupStatus> {
        self.inner.groups().iter().map(|group| status_of(&**group)).collect()
    }

    /// Why the disk takes no writes: it is full, or it failed and the process has to start again. `None` in health.
    pub fn disk_trouble(&self) -> Option<String> {
        self.inner.ground.disk.health().refuses()
    }

    /// The first error of the database. Once there is one, the process has to start again.
    pub fn disk_failure(&self) -> Option<String> {
        self.inner.ground.disk.health().failure()
    }

    /// How many times the disk was synced since the start.
    pub fn disk_syncs(&self) -> u64 {
        self.inner.ground.disk.health().syncs()
    }
}

fn status_of(group: &dyn AnyGroup) -> GroupStatus {
    let since_majority = group.lease().since_majority();
    let metrics = group.raft().metrics();
    let metrics = metrics.borrow();
    let membership = metrics.membership_config.membership();
    let voters: Vec<u64> = membership.voter_ids().collect();
    let failure = group.death();
    let last = metrics.last_log_index;
    let replica = |node: u64| {
        let reached = metrics.replication.as_ref().and_then(|all| all.get(&node));
        let lag = reached.map(|id| last.map_or(0, |n| n + 1).saturating_sub(id.map_or(0, |id| id.index + 1)));
        (node, Replica { voter: voters.contains(&node), lag })
    };
    let purged = metrics.purged.map_or(0, |id| id.index + 1);
    GroupStatus {
        group: group.id(),
        role: match metrics.state {
            _ if failure.is_some() => Role::Stopped,
            ServerState::Learner => Role::Learner,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Leader => Role::Leader,
            ServerState::Shutdown => Role::Stopped,
        },
        term: metrics.current_term,
        // Whom a dead replica followed says nothing about now.
        leader: metrics.current_leader.filter(|_| failure.is_none()),
        replicas: membership.nodes().map(|(node, _)| replica(*node)).collect(),
        last_index: last,
        applied_index: metrics.last_applied.map(|id| id.index),
        snapshot_index: metrics.snapshot.map(|id| id.index),
        log_length: last.map_or(0, |last| (last + 1).saturating_sub(purged)),
        since_majority_ms: since_majority.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        waiting: group.waiting(),
        failure: failure.or_else(|| group.skips().differs()),
    }
}
