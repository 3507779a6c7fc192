//! What is told about clocks: to operators, in the status and in figures.

use std::collections::BTreeMap;
use std::time::Duration;

use tidings_contract::{Clock, PartitionId, Time};

use super::agreement::Stand;
use super::{ClusterTime, signed};
use crate::group::AnyGroup;
use crate::ledgers::Ledgers;
use crate::types::GroupId;

/// How a node's clock and the cluster's time stand, as that node sees it.
#[derive(Clone, Debug)]
pub struct TimeReport {
    /// How this node's wall clock stands against a majority of the cluster.
    pub stand: Stand,
    /// Whether this node leads nothing because of its clock.
    pub astray: bool,
    /// How far its wall clock is ahead of the time that a majority agrees on, in milliseconds; below zero it is behind.
    pub ahead_ms: Option<i64>,
    /// How far the cluster's time, as this node has it, is ahead of the time that a majority agrees on, in milliseconds.
    pub present_ahead_ms: Option<i64>,
    /// Whether the present is known. Right after a start it is not, nor where a full stop left no majority that agrees.
    pub settled: bool,
    /// What was measured of each peer that answered lately.
    pub peers: BTreeMap<u64, PeerOffset>,
    /// The groups with a replica here whose time is ahead of the present, in milliseconds.
    pub groups_ahead: BTreeMap<GroupId, u64>,
}

/// A peer's wall clock, measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerOffset {
    /// How far it is ahead of this node's wall clock, in milliseconds; below zero it is behind.
    pub ahead_ms: i64,
    /// By how much that may be wrong, in milliseconds: half the round trip.
    pub error_ms: u64,
}

/// A group that is less than this ahead of the present is where leaders usually differ, in milliseconds.
pub(super) const USUAL_MS: u64 = 1_000;

impl ClusterTime {
    pub(super) fn report(&self) -> TimeReport {
        let (elapsed, now) = (self.elapsed_ms(), self.now());
        let state = self.state.lock();
        let own = signed(self.machine.now().0) - signed(elapsed);
        let agreed = state.last.as_ref().and_then(|last| last.agreement.agreed);
        let peer = |(id, clock): (&u64, &super::PeerClock)| {
            let wall = clock.wall(elapsed)?;
            Some((*id, PeerOffset { ahead_ms: wall.middle() - own, error_ms: wall.error() }))
        };
        TimeReport {
            stand: state.last.as_ref().map_or(Stand::Unproven, |last| last.agreement.own),
            astray: state.astray_since.is_some(),
            ahead_ms: agreed.map(|agreed| own - agreed),
            present_ahead_ms: agreed.map(|agreed| signed(now.0) - signed(elapsed) - agreed),
            settled: state.present.is_settled(),
            peers: state.peers.iter().filter_map(peer).collect(),
            groups_ahead: BTreeMap::new(),
        }
    }
}

impl Ledgers {
    /// How this node's clock and the cluster's time stand.
    pub fn time_report(&self) -> TimeReport {
        let clock = &self.inner.ground.clock;
        let now = clock.now();
        let ahead = |at: Time| Some(signed(at.0.saturating_sub(now.0)).unsigned_abs()).filter(|ms| *ms > USUAL_MS);
        let groups = self.inner.groups().into_iter();
        let groups_ahead = groups.filter_map(|group| Some((group.id(), ahead(group.time())?))).collect();
        TimeReport { groups_ahead, ..clock.report() }
    }

    /// The newest of the present and of the times of all groups with a replica here: for what must not run out early in a
    /// group whose time is ahead.
    pub fn latest_time(&self) -> Time {
        let groups = self.inner.groups().into_iter().map(|group| group.time());
        groups.max().unwrap_or_default().max(self.inner.ground.clock.now())
    }

    /// The time of control as this replica knows it.
    pub fn control_time(&self) -> Time {
        self.inner.control.time()
    }

    /// How far a partition's time is ahead of the present, if that is more than leaders usually differ.
    pub fn ahead(&self, partition: PartitionId) -> Duration {
        let now = self.inner.ground.clock.now();
        let ahead = self.inner.partition(partition).map(|group| group.time().since(now));
        ahead.filter(|ahead| ahead.as_millis() > u128::from(USUAL_MS)).unwrap_or_default()
    }
}
