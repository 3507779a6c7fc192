//! Wrong clocks: which nodes' wall clocks are wrong in a life, by how much, and when they jump. A majority of them always agrees.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rand::Rng;
use rand::rngs::StdRng;

use crate::plan::stream;

/// Clocks that are not wrong are at most so far from the true time, in milliseconds: any two are closer than nodes may be.
const NEARLY: i64 = 200;

/// The wall clock of a node jumps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jump {
    pub(crate) node: usize,
    /// When, in milliseconds after the callers began; `None` for a clock that is wrong from the start of its machine.
    pub(crate) at: Option<u64>,
    /// By how much it is ahead from then on, in milliseconds.
    pub(crate) ahead: i64,
}

/// The wrong clocks of a life.
#[derive(Clone, Debug, Default)]
pub(crate) struct Skew {
    /// In the order of their times.
    pub(crate) jumps: Vec<Jump>,
    done: usize,
}

impl Skew {
    /// What the seed decides for a cluster of so many nodes, in a life of so many milliseconds.
    pub(crate) fn of(seed: u64, nodes: usize, work_ms: u64) -> Self {
        let mut chance = stream(seed, "clocks");
        let mut jumps = Vec::new();
        if chance.random() {
            let mut near = |node| Jump { node, at: None, ahead: chance.random_range(-NEARLY..=NEARLY) };
            jumps.extend((1..=nodes).map(&mut near));
        }
        let first = chance.random_range(1..=nodes);
        // Two of five are a minority still; two of four are not.
        let second = (nodes == 5 && chance.random()).then(|| first % nodes + 1);
        for node in std::iter::once(first).chain(second) {
            // Whoever founds the cluster gives it its time, so its clock is right then.
            if node != 1 && chance.random() {
                jumps.push(Jump { node, at: None, ahead: wrong(&mut chance) });
            }
            for _ in 0..chance.random_range(1..=3) {
                let at = Some(chance.random_range(0..work_ms));
                // Now and then somebody sets it right.
                let ahead = if chance.random_ratio(1, 4) { 0 } else { wrong(&mut chance) };
                jumps.push(Jump { node, at, ahead });
            }
        }
        jumps.sort_by_key(|jump| jump.at);
        Self { jumps, done: 0 }
    }

    /// Whether all clocks are right from beginning to end.
    pub(crate) fn is_none(&self) -> bool {
        self.jumps.is_empty()
    }

    /// Whether a node's clock is wrong before the callers begin.
    pub(crate) fn is_wrong_at_first(&self, node: u64) -> bool {
        self.jumps.iter().any(|jump| jump.node as u64 == node && jump.at.is_none() && jump.ahead.abs() > NEARLY)
    }

    /// Sets the clocks as they are when the machines start.
    pub(crate) fn begin(&mut self, clocks: &[Arc<AtomicI64>]) {
        while let Some(jump) = self.jumps.get(self.done).filter(|jump| jump.at.is_none()) {
            clocks[jump.node - 1].store(jump.ahead, Ordering::Relaxed);
            self.done += 1;
        }
    }

    /// Lets the next clock jump that is to by `now`, in milliseconds after the callers began.
    pub(crate) fn next(&mut self, now: u64, clocks: &[Arc<AtomicI64>]) -> Option<Jump> {
        let jump = *self.jumps.get(self.done).filter(|jump| jump.at.is_some_and(|at| at <= now))?;
        clocks[jump.node - 1].store(jump.ahead, Ordering::Relaxed);
        self.done += 1;
        Some(jump)
    }
}

/// Seconds, minutes, hours or days, ahead or behind.
fn wrong(chance: &mut StdRng) -> i64 {
    let unit = [1_000, 60_000, 3_600_000, 86_400_000][chance.random_range(0..4)];
    let ahead = chance.random_range(unit..60 * unit);
    if chance.random() { ahead } else { -ahead }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_of_the_clocks_is_never_further_apart_than_nodes_may_be() {
        for (seed, nodes) in (0..2_000).map(|seed| (seed, 3 + (seed % 3) as usize)) {
            let skew = Skew::of(seed, nodes, 10_000);
            let wrong: std::collections::BTreeSet<usize> =
                skew.jumps.iter().filter(|jump| jump.ahead.abs() > NEARLY).map(|jump| jump.node).collect();
            assert!(!skew.is_none() && wrong.len() < nodes - nodes / 2, "{seed}: {skew:?}");
            assert!(!skew.is_wrong_at_first(1), "{seed}: {skew:?}");
        }
    }
}
