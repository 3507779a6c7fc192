//! What a seed decides before anything runs: how many nodes, which kind of life, how long.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::early::{Early, Kind};
use crate::skew::Skew;

/// The longest that a message takes on the simulated network, in milliseconds.
pub(crate) const LATENCY_MS: u64 = 20;
/// What the clocks of nodes may be apart, in milliseconds: `raft.max_clock_offset_ms`.
pub(crate) const MAX_OFFSET_MS: u64 = 500;

/// What a seed decides.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    pub(crate) callers: usize,
    /// Whether there are faults at all. Without them there is no excuse for a second copy.
    pub(crate) faults: bool,
    /// Which clocks are wrong, and when.
    pub(crate) skew: Skew,
    /// How long callers go on, in milliseconds.
    pub(crate) work_ms: u64,
    /// Entries between two snapshots of a group.
    pub(crate) snapshot_entries: u64,
    /// Whether something waits for the end of quiet hours. They make a life three times as long.
    pub(crate) quiet: bool,
    /// Whether a disk is lost, put back or copied while another node is away.
    pub(crate) disks: bool,
    /// What breaks first, at a time that callers know.
    pub(crate) early: Option<Early>,
    /// Whether it is the day under one limit, and not the usual mixture of everything.
    pub(crate) day: bool,
    /// How long one thing that breaks is after the other, at least and below, in milliseconds.
    pub(crate) breaks_apart: (u64, u64),
    /// How long it is broken, in milliseconds.
    pub(crate) broken_for: (u64, u64),
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = stream(seed, "plan");
        let nodes = if chance.random_ratio(1, 5) { chance.random_range(4..=5) } else { 3 };
        let faults = !chance.random_ratio(1, 10);
        let skew = faults && chance.random_ratio(1, 5);
        let work_ms = chance.random_range(6_000..12_000);
        // A stream of its own, so that the other seeds live as they did.
        let disks = faults && !skew && nodes == 3 && stream(seed, "disk losses").random_ratio(1, 6);
        let early = Early::of(seed, nodes).filter(|_| faults && !skew && !disks);
        Self {
            seed,
            nodes,
            callers: 3,
            early,
            faults,
            skew: if skew { Skew::of(seed, nodes, work_ms) } else { Skew::default() },
            work_ms: work_ms.max(if disks { 14_000 } else { early.map_or(0, |early| early.until + 2_000) }),
            disks,
            snapshot_entries: chance.random_range(20..120),
            quiet: chance.random_ratio(1, 8),
            day: false,
            breaks_apart: (300, 3_000),
            broken_for: (200, 3_500),
        }
    }

    /// A day of three nodes under one limit: something breaks about every half hour. All clocks are right.
    pub(crate) fn of_a_day(seed: u64) -> Self {
        Self {
            nodes: 3,
            callers: 1,
            faults: true,
            skew: Skew::default(),
            work_ms: 86_400_000,
            snapshot_entries: 2_000,
            quiet: false,
            day: true,
            disks: false,
            early: None,
            breaks_apart: (600_000, 3_600_000),
            broken_for: (2_000, 60_000),
            ..Self::new(seed)
        }
    }

    /// How far the cluster's time may be from the true one, in milliseconds: what nodes hold each other to
    /// (`raft.max_clock_offset_ms`), and what they cannot measure on a network that takes up to [`LATENCY_MS`]. Where all
    /// clocks are right it is not off at all.
    pub(crate) fn off_by(&self) -> u64 {
        if self.skew.is_none() { 0 } else { MAX_OFFSET_MS + LATENCY_MS }
    }

    /// Whether a node is frozen with calls at their first byte.
    pub(crate) fn freezes_calls(&self) -> bool {
        self.early.is_some_and(|early| early.kind == Kind::Frozen)
    }

    /// What is left of a window of the cluster when it is laid upon the true time.
    pub(crate) fn window(&self, ms: u64) -> u64 {
        ms.saturating_sub(self.off_by())
    }

    /// One step of simulated time. A day is walked in large steps; a message takes at least one of them.
    pub(crate) fn tick(&self) -> Duration {
        Duration::from_millis(if self.day { 50 } else { 4 })
    }

    /// A simulation that is not done by then never will be.
    pub(crate) fn most(&self) -> Duration {
        Duration::from_secs(if self.day { 100_000 } else { 400 })
    }

    /// How often replicas are compared while everything runs, in milliseconds.
    pub(crate) fn compare_every(&self) -> u64 {
        if self.day { 600_000 } else { 1_000 }
    }

    /// Longest wait for something that must come true, in simulated time.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(if self.day { 7_200 } else { 200 })
    }
}

/// A stream of chance of its own for each purpose, so that a change of one leaves the others alone.
pub(crate) fn stream(seed: u64, purpose: &str) -> StdRng {
    StdRng::seed_from_u64(seed ^ tidings_contract::stable_hash(purpose.as_bytes()))
}
