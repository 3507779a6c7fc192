//! The time of the cluster as this node knows it: measured against its peers, never taken from one wall clock.

mod agreement;
mod group;
mod measure;
mod offset;
mod present;
mod repair;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_contract::{Clock, Time, planted};

pub use agreement::Stand;
pub(crate) use group::GroupClock;
pub(crate) use measure::{company, measure, settle, stand_aside};
pub(crate) use offset::Reading;
pub use repair::RepairedGroup;
pub use report::{PeerOffset, TimeReport};

use agreement::{Agreement, agree, agrees, median};
use offset::{Offset, PeerClock, signed};
use present::Present;

/// A clock counts as astray after so many looks in a row, and as right again after as many that say otherwise.
const LOOKS: u32 = 3;

/// The time of the cluster as this node knows it. As a [`Clock`] it gives the present, which follows no jump.
pub(crate) struct ClusterTime {
    /// This machine's clocks.
    machine: Arc<dyn Clock>,
    /// Most milliseconds that clocks which agree may be apart.
    bound_ms: u64,
    state: Mutex<State>,
}

struct State {
    present: Present,
    peers: BTreeMap<u64, PeerClock>,
    /// How the wall clocks stood at the last look.
    last: Option<Look>,
    /// Whether this node's clock is held to be astray, and since when in elapsed milliseconds.
    astray_since: Option<u64>,
    /// Looks in a row that say otherwise than `astray_since`.
    otherwise: u32,
    /// Whether it was said that the present is far from agreed time.
    off_told: bool,
}

/// What one look at all clocks gave.
#[derive(Clone, Debug)]
struct Look {
    agreement: Agreement,
    own: Offset,
    walls: BTreeMap<u64, Offset>,
    members: usize,
}

/// Who the clocks are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    /// This node belongs to no cluster yet.
    None,
    /// It belongs to one, and does not know yet who else does.
    Unknown,
    /// The other nodes of its cluster that are to stay.
    Others(BTreeSet<u64>),
}

/// What a node finds around itself when it asks whether its present is right.
struct Around<'a> {
    /// Its own wall clock.
    own: i64,
    /// The wall clock that a majority agrees on.
    agreed: Option<i64>,
    /// What others take for the present.
    running: &'a [Offset],
    members: usize,
    bound_ms: u64,
}

impl ClusterTime {
    /// Begins with this machine's wall clock, which nobody has agreed to yet.
    pub(crate) fn new(machine: Arc<dyn Clock>, bound: Duration) -> Self {
        let present = Present::unsettled(millis(machine.elapsed()), machine.now().0);
        let state =
            State { present, peers: BTreeMap::new(), last: None, astray_since: None, otherwise: 0, off_told: false };
        Self { machine, bound_ms: millis(bound), state: Mutex::new(state) }
    }

    /// The newest time that a group on this disk has seen. Until more is known, time goes on from there: what was promised
    /// for later is not done earlier because this machine's clock is wrong.
    pub(crate) fn begin(&self, newest: Time) {
        let mut state = self.state.lock();
        if newest > Time(0) && !state.present.is_settled() {
            state.present = Present::unsettled(self.elapsed_ms(), newest.0);
        }
    }

    /// What a peer that asks is told. `received` is when its question came, by this machine's wall clock.
    pub(crate) fn reading(&self, received: Time) -> Reading {
        let settled = self.state.lock().present.is_settled();
        Reading { received: received.0, sent: self.machine.now().0, present: self.now().0, settled }
    }

    /// This machine's wall clock, right or wrong.
    pub(crate) fn wall(&self) -> Time {
        self.machine.now()
    }

    /// Takes a peer's answer; see [`PeerClock::hear`].
    pub(crate) fn hear(&self, peer: u64, asked: u64, came: u64, reading: Reading) {
        self.state.lock().peers.entry(peer).or_default().hear(asked, came, reading);
    }

    /// Compares all clocks, and sets or draws the present.
    pub(crate) fn look(&self, company: &Company) {
        let elapsed = self.elapsed_ms();
        let own = Offset::exact(signed(self.machine.now().0) - signed(elapsed));
        let mut state = self.state.lock();
        let others = match company {
            Company::Others(_) if planted("newest_time_rules") => {
                let newest = state.newest(elapsed, own.middle()).saturating_add(signed(elapsed));
                state.present.settle(elapsed, u64::try_from(newest).unwrap_or(0));
                return;
            }
            Company::Others(others) => others,
            Company::Unknown => return,
            Company::None => {
                state.present = Present::unsettled(elapsed, self.machine.now().0);
                return;
            }
        };
        state.peers.retain(|peer, _| others.contains(peer));
        let walls: BTreeMap<u64, Offset> =
            state.peers.iter().filter_map(|(peer, clock)| Some((*peer, clock.wall(elapsed)?))).collect();
        let running: Vec<Offset> = state.peers.values().filter_map(|clock| clock.present(elapsed)).collect();
        let members = others.len() + 1;
        let known: Vec<Offset> = walls.values().copied().collect();
        let agreement = agree(own, &known, members, self.bound_ms);
        state.judge(agreement.own, elapsed);
        let around =
            Around { own: own.middle(), agreed: agreement.agreed, running: &running, members, bound_ms: self.bound_ms };
        let start = state.start(elapsed, &around);
        if let Some(start) = start {
            let time = u64::try_from(start.saturating_add(signed(elapsed))).unwrap_or(0);
            let from = state.present.read(elapsed);
            if from.abs_diff(time) > self.bound_ms {
                tracing::info!(from = %Time(from), to = %Time(time), "the present is set as the nodes agree on it");
            }
            state.present.settle(elapsed, time);
        }
        let agreed = agreement.agreed.map(|agreed| u64::try_from(agreed.saturating_add(signed(elapsed))).unwrap_or(0));
        state.present.draw_towards(elapsed, agreed);
        state.tell(elapsed, agreed, self.bound_ms);
        state.last = Some(Look { agreement, own, walls, members });
    }

    /// Whether a majority agrees on a time that is far from this machine's clock. Then this node leads nothing.
    pub(crate) fn is_astray(&self) -> bool {
        self.state.lock().astray_since.is_some()
    }

    /// For how long it has been astray.
    pub(crate) fn astray_for(&self) -> Option<Duration> {
        let since = self.state.lock().astray_since?;
        Some(Duration::from_millis(self.elapsed_ms().saturating_sub(since)))
    }

    /// Whether a peer's clock is known to be far from that of a majority, so that nothing should be handed to it.
    pub(crate) fn is_peer_astray(&self, peer: u64) -> bool {
        let state = self.state.lock();
        let Some(last) = &state.last else { return false };
        let all: Vec<Offset> = std::iter::once(last.own).chain(last.walls.values().copied()).collect();
        let out = |clock: &Offset| !agrees(*clock, &all, last.members, self.bound_ms);
        last.agreement.agreed.is_some() && last.walls.get(&peer).is_some_and(out)
    }

    /// Whether this node knows the present.
    pub(crate) fn is_settled(&self) -> bool {
        self.state.lock().present.is_settled()
    }

    /// The wall time that a majority agrees on, if there is one.
    pub(crate) fn agreed(&self) -> Option<Time> {
        let agreed = self.state.lock().last.as_ref()?.agreement.agreed?;
        u64::try_from(agreed.saturating_add(signed(self.elapsed_ms()))).ok().map(Time)
    }

    /// Sets the present to the agreed wall time: an operator repairs the cluster's time. Gives what it was set to.
    pub(crate) fn repair(&self) -> Option<Time> {
        let agreed = self.agreed()?;
        self.state.lock().present.settle(self.elapsed_ms(), agreed.0);
        Some(agreed)
    }

    /// This machine's elapsed milliseconds.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        millis(self.machine.elapsed())
    }
}

impl State {
    /// A clock is astray, or right again, once several looks in a row say so.
    fn judge(&mut self, own: Stand, elapsed: u64) {
        let says_astray = own == Stand::Astray;
        if says_astray == self.astray_since.is_some() || own == Stand::Unproven {
            self.otherwise = 0;
            return;
        }
        self.otherwise += 1;
        if self.otherwise >= LOOKS {
            self.otherwise = 0;
            self.astray_since = says_astray.then_some(elapsed);
        }
    }

    /// The newest wall clock that was heard of, as an offset of elapsed time. Nothing asks for it but a planted bug.
    fn newest(&self, elapsed: u64, own: i64) -> i64 {
        let heard = self.peers.values().filter_map(|peer| peer.wall(elapsed)).map(Offset::middle);
        heard.max().map_or(own, |newest| newest.max(own))
    }

    /// Says once when the present is far from agreed time, and once when it is there again.
    fn tell(&mut self, elapsed: u64, agreed: Option<u64>, bound_ms: u64) {
        let Some(agreed) = agreed else { return };
        let present = self.present.read(elapsed);
        let off = present.abs_diff(agreed) > bound_ms;
        if off == std::mem::replace(&mut self.off_told, off) {
            return;
        }
        let ahead_ms = signed(present) - signed(agreed);
        if off {
            tracing::warn!(
                ahead_ms,
                "the cluster's time is far from what the machines' clocks agree on: they were set, and it follows by 1 % at \
                 most; `tidings cluster repair-time` sets it"
            );
        } else {
            tracing::info!(ahead_ms, "the cluster's time is what the machines' clocks agree on");
        }
    }

    /// Where the present has to begin anew, as an offset of elapsed time.
    ///
    /// A node that does not know the present takes over what its peers have running; where nobody has, after a full stop,
    /// a majority of wall clocks gives the start. One that knows it and stands alone against a majority of its peers was
    /// asleep while this machine's elapsed time stood still, as in a virtual machine that was paused.
    fn start(&self, elapsed: u64, around: &Around<'_>) -> Option<i64> {
        let Around { own, agreed, running, members, bound_ms } = *around;
        let mut guesses: Vec<i64> = running.iter().map(|offset| offset.guess(own)).collect();
        if !self.present.is_settled() {
            return median(&mut guesses).or(agreed);
        }
        let mine = Offset::exact(signed(self.present.read(elapsed)) - signed(elapsed));
        let among = agree(mine, running, members, bound_ms);
        if among.own == Stand::Astray {
            return among.agreed;
        }
        let wall = Offset::exact(agreed.filter(|_| among.own == Stand::Unproven)?);
        let off = mine.gap(wall) > bound_ms;
        let right = running.iter().find(|peer| peer.gap(wall) <= bound_ms);
        right.filter(|_| off).map(|peer| peer.guess(wall.middle()))
    }
}

impl Clock for ClusterTime {
    fn now(&self) -> Time {
        Time(self.state.lock().present.read(self.elapsed_ms()))
    }

    fn elapsed(&self) -> Duration {
        self.machine.elapsed()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
