//! One disk that is lost, put back to an earlier state, or copied, at the worst time: one node is away while the other two
//! accept; then the disk of one of these goes wrong, the other is away too, and the first comes back.
//!
//! What was accepted meanwhile stands on one whole disk that is down. The two that are up are a majority by their numbers, and
//! must not act as one.

use rand::Rng;
use tidings_node::sim::{Copy, copy, put_back, wipe};
use turmoil::Sim;

use crate::faults::Faults;
use crate::host::{Looks, data_dir};
use crate::plan::{Plan, stream};
use crate::trace;
use crate::world::World;

/// Under this number the damage of an episode is noted.
const SPAN: usize = usize::MAX;

/// What happens to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// It is empty.
    Wiped,
    /// It is as it was before a start of its node that the others know of.
    BeforeAStart,
    /// It is as it was in the middle of the life of its last process.
    WithinAStart,
}

/// When a stage comes, in milliseconds after the callers began.
#[derive(Clone, Copy, Debug)]
struct Times {
    copied: u64,
    away: u64,
    lost: u64,
    back: u64,
}

/// One episode.
pub(crate) struct Episode {
    loss: Loss,
    /// Away while the others accept.
    away: usize,
    /// Whose disk goes wrong.
    lost: usize,
    /// Keeps a whole disk, and comes back last.
    last: usize,
    times: Times,
    stage: usize,
    kept: Option<Copy>,
}

impl Episode {
    /// What the seed decides; most seeds have none.
    pub(crate) fn of(plan: &Plan) -> Option<Self> {
        let mut chance = stream(plan.seed, "disks");
        if !plan.disks {
            return None;
        }
        let lost = chance.random_range(1..=3_usize);
        let (away, last) =
            if chance.random() { (lost % 3 + 1, (lost + 1) % 3 + 1) } else { ((lost + 1) % 3 + 1, lost % 3 + 1) };
        let loss = match chance.random_range(0..3) {
            0 => Loss::Wiped,
            1 => Loss::BeforeAStart,
            _ => Loss::WithinAStart,
        };
        let copied = chance.random_range(500..1_500);
        // Whoever is up hears of a disk every second, and has it written down within another.
        let away_at = copied + chance.random_range(3_500..4_500);
        let lost_at = away_at + chance.random_range(1_500..3_000);
        let times = Times { copied, away: away_at, lost: lost_at, back: lost_at + chance.random_range(3_000..6_000) };
        Some(Self { loss, away, lost, last, times, stage: 0, kept: None })
    }

    /// When it is over.
    pub(crate) fn ends(&self) -> u64 {
        self.times.back
    }

    /// Does what is due at `now`.
    pub(crate) fn turn(&mut self, faults: &mut Faults, world: &World, sim: &mut Sim<'_>, looks: &Looks, now: u64) {
        let at = sim.elapsed().as_millis() as u64;
        let Times { copied, away, lost, back } = self.times;
        if self.stage == 0 && now >= copied {
            self.stage = 1;
            trace::note(
                at,
                &format!("disk episode {:?}: {} away, {} lost, {} last", self.loss, self.away, self.lost, self.last),
            );
            faults.span(world, SPAN, at);
            self.kept = (self.loss != Loss::Wiped).then(|| copy(&data_dir(self.lost)));
            if self.loss == Loss::BeforeAStart {
                faults.crash(self.lost, false, world, sim, looks);
                faults.bounce(self.lost, sim);
            }
        }
        if self.stage == 1 && now >= away {
            self.stage = 2;
            faults.crash(self.away, true, world, sim, looks);
        }
        if self.stage == 2 && now >= lost {
            self.stage = 3;
            faults.crash(self.lost, true, world, sim, looks);
            faults.crash(self.last, true, world, sim, looks);
            match self.kept.take() {
                Some(kept) => put_back(&data_dir(self.lost), kept),
                None => wipe(&data_dir(self.lost)),
            }
            faults.bounce(self.lost, sim);
            faults.bounce(self.away, sim);
        }
        if self.stage == 3 && now >= back {
            self.stage = 4;
            faults.bounce(self.last, sim);
            faults.healed(world, SPAN, at);
        }
    }

    /// Brings back whoever is away, at the end of the callers.
    pub(crate) fn end(&mut self, faults: &mut Faults, world: &World, sim: &mut Sim<'_>) {
        self.stage = 4;
        for node in [self.away, self.lost, self.last] {
            faults.bounce(node, sim);
        }
        faults.healed(world, SPAN, sim.elapsed().as_millis() as u64);
    }
}
