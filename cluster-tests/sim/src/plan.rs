//! What a seed decides before anything runs: how many nodes, which kind of life, how long.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What a seed decides.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    pub(crate) callers: usize,
    /// Whether there are faults at all. Without them there is no excuse for a second copy.
    pub(crate) faults: bool,
    /// Whether clocks go wrong. Limits then hold by the clocks of the nodes, not by the true time.
    pub(crate) skew: bool,
    /// How long callers go on, in milliseconds.
    pub(crate) work_ms: u64,
    /// Entries between two snapshots of a group.
    pub(crate) snapshot_entries: u64,
    /// Whether something waits for the end of quiet hours. They make a life three times as long.
    pub(crate) quiet: bool,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = stream(seed, "plan");
        let nodes = if chance.random_ratio(1, 5) { chance.random_range(4..=5) } else { 3 };
        let faults = !chance.random_ratio(1, 10);
        Self {
            seed,
            nodes,
            callers: 3,
            faults,
            skew: faults && chance.random_ratio(1, 5),
            work_ms: chance.random_range(6_000..12_000),
            snapshot_entries: chance.random_range(20..120),
            quiet: chance.random_ratio(1, 8),
        }
    }
}

/// A stream of chance of its own for each purpose, so that a change of one leaves the others alone.
pub(crate) fn stream(seed: u64, purpose: &str) -> StdRng {
    StdRng::seed_from_u64(seed ^ tidings_contract::stable_hash(purpose.as_bytes()))
}
