//! What breaks and when, from a stream of chance of its own, and how it is healed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tidings_node::sim::{crash, freeze, set_sync};
use turmoil::Sim;

use crate::disks::Episode;
use crate::early::{Early, Kind};
use crate::host::{Looks, data_dir, name};
use crate::plan::{Plan, stream};
use crate::skew::Skew;
use crate::trace;
use crate::world::World;

/// One thing that breaks.
#[derive(Clone, Debug)]
enum Fault {
    /// The process dies. With `power`, what was not synced is lost too.
    Crash { nodes: Vec<usize>, power: bool },
    /// No message passes between two nodes.
    Cut(usize, usize),
    /// No message passes from the first to the second.
    CutOneWay(usize, usize),
    /// A node reaches no other and none reaches it.
    Isolate(usize),
    /// Messages between two nodes wait.
    Hold(usize, usize),
    /// Syncs take long.
    SlowDisk(usize, u64),
    /// A node stands still: what it sends and gets waits, and so does whatever it was about to do.
    Freeze(usize),
}

/// When it breaks and when it heals, in milliseconds after the callers began.
#[derive(Clone, Debug)]
struct Planned {
    at: u64,
    until: u64,
    fault: Fault,
    begun: bool,
    healed: bool,
}

impl Planned {
    /// What breaks first.
    fn of(early: Early) -> Self {
        let fault = match early.kind {
            Kind::Frozen => Fault::Freeze(early.node),
            Kind::CutOff => Fault::Isolate(early.node),
        };
        Self { at: early.at, until: early.until, fault, begun: false, healed: false }
    }
}

/// The breaker of things.
pub(crate) struct Faults {
    planned: Vec<Planned>,
    chance: StdRng,
    down: BTreeSet<usize>,
    clocks: Vec<Arc<AtomicI64>>,
    skew: Skew,
    nodes: usize,
    episode: Option<Episode>,
}

/// How much longer a node is frozen than other things are broken, in milliseconds.
const THAWS_LATER: u64 = 1_500;
/// A node whose clock jumped gives away what it leads within so many milliseconds.
const STANDS_ASIDE: u64 = 4_000;
/// From this number on the damage of clocks that jump is noted.
const CLOCKS: usize = usize::MAX / 2;
/// How long a sync takes in health, in milliseconds.
const SYNC: u64 = 4;

impl Faults {
    pub(crate) fn new(plan: &Plan, clocks: Vec<Arc<AtomicI64>>) -> Self {
        let mut chance = stream(plan.seed, "faults");
        let mut planned = Vec::new();
        let (apart, lasts) = (plan.breaks_apart, plan.broken_for);
        let mut at = chance.random_range(200..1_500);
        let episode = Episode::of(plan);
        // A minority of the nodes is away at any time: nothing else breaks while a disk does.
        at += episode.as_ref().map_or(0, Episode::ends);
        if let Some(early) = plan.early {
            planned.push(Planned::of(early));
            at += early.until;
        }
        while plan.faults && at < plan.work_ms {
            let lasts = chance.random_range(lasts.0..lasts.1);
            let fault = draw(plan, &mut chance);
            // Long enough that another node takes over, does what was asked of it, and is done.
            let lasts = if matches!(fault, Fault::Freeze(_)) { lasts + THAWS_LATER } else { lasts };
            planned.push(Planned { at, until: at + lasts, fault, begun: false, healed: false });
            at += chance.random_range(apart.0..apart.1);
        }
        for node in 1..=plan.nodes {
            set_sync(&data_dir(node), Duration::from_millis(SYNC));
        }
        let mut skew = plan.skew.clone();
        skew.begin(&clocks);
        Self { planned, chance, down: BTreeSet::new(), clocks, skew, nodes: plan.nodes, episode }
    }

    /// How many things broke so far.
    pub(crate) fn broke(&self) -> usize {
        self.planned.iter().filter(|planned| planned.begun).count()
    }

    /// Breaks and heals what is due at `now`, in milliseconds after the callers began.
    pub(crate) fn turn(&mut self, world: &World, sim: &mut Sim<'_>, looks: &Looks, now: u64) {
        if let Some(mut episode) = self.episode.take() {
            episode.turn(self, world, sim, looks, now);
            self.episode = Some(episode);
        }
        self.turn_clocks(world, sim, now);
        for n in 0..self.planned.len() {
            if !self.planned[n].begun && self.planned[n].at <= now {
                self.planned[n].begun = true;
                let fault = self.planned[n].fault.clone();
                self.begin(n, &fault, world, sim, looks);
            }
            if self.planned[n].begun && !self.planned[n].healed && self.planned[n].until <= now {
                self.planned[n].healed = true;
                let fault = self.planned[n].fault.clone();
                self.heal(n, &fault, world, sim);
            }
        }
    }

    /// Lets clocks jump. Copies are excused for as long as a node may take to give away what it leads.
    fn turn_clocks(&mut self, world: &World, sim: &mut Sim<'_>, now: u64) {
        let at = sim.elapsed().as_millis() as u64;
        while let Some(jump) = self.skew.next(now, &self.clocks) {
            trace::note(at, &format!("{jump:?}"));
            let mut damage = world.damage.borrow_mut();
            let number = CLOCKS + damage.spans.len();
            damage.spans.insert(number, (at, at + STANDS_ASIDE));
            damage.first.get_or_insert(at);
            damage.last = damage.last.max(at + STANDS_ASIDE);
        }
    }

    /// Heals everything, but for clocks: those that are wrong stay so.
    pub(crate) fn end(&mut self, world: &World, sim: &mut Sim<'_>) {
        if let Some(mut episode) = self.episode.take() {
            episode.end(self, world, sim);
        }
        for n in 0..self.planned.len() {
            self.planned[n].begun = true;
            if !std::mem::replace(&mut self.planned[n].healed, true) {
                let fault = self.planned[n].fault.clone();
                self.heal(n, &fault, world, sim);
            }
        }
        for a in 1..=self.nodes {
            for b in a + 1..=self.nodes {
                sim.repair(name(a), name(b));
            }
        }
    }

    fn begin(&mut self, n: usize, fault: &Fault, world: &World, sim: &mut Sim<'_>, looks: &Looks) {
        let at = sim.elapsed().as_millis() as u64;
        trace::note(at, &format!("fault {fault:?}"));
        self.span(world, n, at);
        match fault {
            Fault::Crash { nodes, power } => {
                for node in nodes {
                    self.crash(*node, *power, world, sim, looks);
                }
            }
            Fault::Cut(a, b) => sim.partition(name(*a), name(*b)),
            Fault::CutOneWay(from, to) => sim.partition_oneway(name(*from), name(*to)),
            Fault::Isolate(node) => self.others(*node).for_each(|other| sim.partition(name(*node), name(other))),
            Fault::Hold(a, b) => sim.hold(name(*a), name(*b)),
            Fault::SlowDisk(node, ms) => set_sync(&data_dir(*node), Duration::from_millis(*ms)),
            Fault::Freeze(node) => {
                world.damage.borrow_mut().frozen.push((*node, at, u64::MAX));
                freeze(*node as u64, true);
                self.others(*node).for_each(|other| sim.hold(name(*node), name(other)));
            }
        }
    }

    fn heal(&mut self, n: usize, fault: &Fault, world: &World, sim: &mut Sim<'_>) {
        let at = sim.elapsed().as_millis() as u64;
        trace::note(at, &format!("heals {fault:?}"));
        if let Some(span) = world.damage.borrow_mut().spans.get_mut(&n) {
            span.1 = at;
        }
        match fault {
            Fault::Crash { nodes, .. } => {
                let mut damage = world.damage.borrow_mut();
                let span = damage.spans.get(&n).copied().unwrap_or((at, at));
                damage.stopped_ms += span.1 - span.0;
                drop(damage);
                nodes.iter().for_each(|node| self.bounce(*node, sim));
            }
            Fault::Cut(a, b) | Fault::CutOneWay(a, b) => sim.repair(name(*a), name(*b)),
            Fault::Isolate(node) => self.others(*node).for_each(|other| sim.repair(name(*node), name(other))),
            Fault::Hold(a, b) => sim.release(name(*a), name(*b)),
            Fault::SlowDisk(node, _) => set_sync(&data_dir(*node), Duration::from_millis(SYNC)),
            Fault::Freeze(node) => {
                self.others(*node).for_each(|other| sim.release(name(*node), name(other)));
                freeze(*node as u64, false);
                let mut damage = world.damage.borrow_mut();
                damage.frozen.iter_mut().filter(|(frozen, ..)| frozen == node).for_each(|span| span.2 = span.2.min(at));
            }
        }
        self.note_end(world);
    }

    fn note_end(&self, world: &World) {
        if self.planned.iter().all(|planned| planned.healed) {
            let mut damage = world.damage.borrow_mut();
            damage.last = damage.spans.values().map(|(_, healed)| *healed).max().unwrap_or_default();
        }
    }

    /// Something breaks from here on.
    pub(crate) fn span(&self, world: &World, n: usize, at: u64) {
        let mut damage = world.damage.borrow_mut();
        damage.first.get_or_insert(at);
        damage.last = u64::MAX;
        damage.spans.insert(n, (at, u64::MAX));
    }

    /// What broke under that number is whole again.
    pub(crate) fn healed(&self, world: &World, n: usize, at: u64) {
        if let Some(span) = world.damage.borrow_mut().spans.get_mut(&n) {
            span.1 = at;
        }
        self.note_end(world);
    }

    /// A process dies. With `power`, what was not synced is lost too.
    pub(crate) fn crash(&mut self, node: usize, power: bool, world: &World, sim: &mut Sim<'_>, looks: &Looks) {
        if !self.down.insert(node) {
            return;
        }
        let at = sim.elapsed().as_millis() as u64;
        world.damage.borrow_mut().deaths.push((node, at));
        looks.borrow_mut().remove(&node);
        sim.crash(name(node));
        let chance = &mut self.chance;
        crash(&data_dir(node), |unsynced| if power { chance.random_range(0..=unsynced) } else { unsynced });
    }

    /// A process starts again, if it is down.
    pub(crate) fn bounce(&mut self, node: usize, sim: &mut Sim<'_>) {
        if self.down.remove(&node) {
            sim.bounce(name(node));
        }
    }

    fn others(&self, node: usize) -> impl Iterator<Item = usize> + use<> {
        (1..=self.nodes).filter(move |other| *other != node)
    }
}

fn draw(plan: &Plan, chance: &mut StdRng) -> Fault {
    let a = chance.random_range(1..=plan.nodes);
    let b = 1 + (a - 1 + chance.random_range(1..plan.nodes)) % plan.nodes;
    match chance.random_range(0..100) {
        0..30 => Fault::Crash { nodes: vec![a], power: chance.random() },
        30..40 => Fault::Freeze(a),
        40..50 => Fault::Crash { nodes: (1..=plan.nodes).collect(), power: true },
        50..62 => Fault::Cut(a, b),
        62..70 => Fault::CutOneWay(a, b),
        70..85 => Fault::Isolate(a),
        85..92 => Fault::Hold(a, b),
        _ => Fault::SlowDisk(a, chance.random_range(50..400)),
    }
}
