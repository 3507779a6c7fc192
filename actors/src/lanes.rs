//! Whose turn it is: lanes by rank, and within a lane the flows one after the other.
//!
//! A **flow** is what one API key sends with one template. Flows of a lane take turns, one delivery each, so a campaign of a
//! million does not hold up another of ten. A higher lane goes first; a lower one that waits gets one turn after
//! [`PASSED`] turns of others, so that it is slow, but never stands still.

use std::collections::{BTreeMap, VecDeque};

use tidings_contract::{Lane, stable_hash};

/// The lanes, first served first.
pub(crate) const LANES: [Lane; 3] = [Lane::High, Lane::Normal, Lane::Low];
/// After so many turns of other lanes a lane that waits has one.
pub(crate) const PASSED: u32 = 16;

/// A template and the API key that sends with it, by a number. Two that share one by chance share their turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flow(u32);

impl Flow {
    /// The flow of a template and a key.
    pub(crate) fn of(template: &str, key_id: &str) -> Self {
        let hash = stable_hash(template.as_bytes()) ^ stable_hash(key_id.as_bytes()).rotate_left(32);
        Self(u32::try_from(hash >> 32).unwrap_or_default() ^ u32::try_from(hash & 0xffff_ffff).unwrap_or_default())
    }
}

/// Whose turn it is among the lanes.
#[derive(Debug, Default)]
pub(crate) struct Share {
    passed: [u32; LANES.len()],
}

impl Share {
    /// The lane whose turn it is among those that wait.
    pub(crate) fn next(&mut self, waits: [bool; LANES.len()]) -> Option<usize> {
        let first = waits.iter().position(|waits| *waits)?;
        // The lowest first: it was passed over by all others.
        let owed = (first..waits.len()).rev().find(|lane| waits[*lane] && self.passed[*lane] >= PASSED);
        let lane = owed.unwrap_or(first);
        for (other, passed) in self.passed.iter_mut().enumerate() {
            *passed = if other != lane && waits[other] { *passed + 1 } else { 0 };
        }
        Some(lane)
    }
}

/// The flows of one lane, each with what waits in it.
#[derive(Debug)]
pub(crate) struct Flows<W> {
    waiting: BTreeMap<Flow, W>,
    /// Every flow that is known, once, the next one first.
    turns: VecDeque<Flow>,
}

impl<W> Default for Flows<W> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), turns: VecDeque::new() }
    }
}

impl<W: Default> Flows<W> {
    /// What waits in a flow; it gets its turn from here on.
    pub(crate) fn of(&mut self, flow: Flow) -> &mut W {
        let turns = &mut self.turns;
        self.waiting.entry(flow).or_insert_with(|| {
            turns.push_back(flow);
            W::default()
        })
    }

    /// What waits in a flow, if it is known.
    pub(crate) fn known(&mut self, flow: Flow) -> Option<&mut W> {
        self.waiting.get_mut(&flow)
    }

    /// Everything that waits, by flow.
    pub(crate) fn all(&self) -> impl Iterator<Item = &W> {
        self.waiting.values()
    }

    /// The same, to be changed.
    pub(crate) fn all_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut W> {
        self.waiting.values_mut()
    }

    /// Takes from the flow whose turn it is; one that has nothing is forgotten.
    pub(crate) fn take<T>(&mut self, mut from: impl FnMut(&mut W) -> Option<T>) -> Option<(Flow, T)> {
        while let Some(flow) = self.turns.pop_front() {
            if let Some(taken) = self.waiting.get_mut(&flow).and_then(&mut from) {
                self.turns.push_back(flow);
                return Some((flow, taken));
            }
            self.waiting.remove(&flow);
        }
        None
    }
}

/// Things that wait by lane and flow, first come first served within a flow.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    /// What goes before everything else.
    first: VecDeque<T>,
    lanes: [Flows<VecDeque<T>>; LANES.len()],
    lens: [usize; LANES.len()],
    share: Share,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { first: VecDeque::new(), lanes: Default::default(), lens: [0; LANES.len()], share: Share::default() }
    }
}

impl<T> Lanes<T> {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.lens.iter().sum::<usize>()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds one to its flow.
    pub(crate) fn push(&mut self, lane: Lane, flow: Flow, one: T) {
        self.lens[lane as usize] += 1;
        self.lanes[lane as usize].of(flow).push_back(one);
    }

    /// Adds one that goes before all that wait.
    pub(crate) fn push_first(&mut self, one: T) {
        self.first.push_front(one);
    }

    /// Takes the one whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<T> {
        if let Some(one) = self.first.pop_front() {
            return Some(one);
        }
        let lane = self.share.next(self.lens.map(|len| len > 0))?;
        let (_, one) = self.lanes[lane].take(VecDeque::pop_front)?;
        self.lens[lane] -= 1;
        Some(one)
    }

    /// Takes the next one of that flow, out of turn, if it fits.
    pub(crate) fn pop_of(&mut self, lane: Lane, flow: Flow, fits: impl FnOnce(&mut T) -> bool) -> Option<T> {
        let one = self.lanes[lane as usize].known(flow)?.pop_front_if(fits)?;
        self.lens[lane as usize] -= 1;
        Some(one)
    }

    /// Takes the last one of the lowest lane: of the flow in which most wait.
    pub(crate) fn pop_last(&mut self) -> Option<T> {
        let lane = self.lens.iter().rposition(|len| *len > 0)?;
        let longest = self.lanes[lane].all_mut().max_by_key(|waiting| waiting.len())?;
        let one = longest.pop_back()?;
        self.lens[lane] -= 1;
        Some(one)
    }

    /// Keeps only those that `keep`s.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.first.retain(&mut keep);
        for (lane, len) in self.lanes.iter_mut().zip(&mut self.lens) {
            lane.all_mut().for_each(|waiting| waiting.retain(&mut keep));
            *len = lane.all().map(VecDeque::len).sum();
        }
    }

    /// Takes everything out but what `stays` of that which goes before everything else.
    pub(crate) fn drain(&mut self, stays: impl Fn(&T) -> bool) -> Vec<T> {
        self.lens = [0; LANES.len()];
        let (first, mut out) = std::mem::take(&mut self.first).into_iter().partition::<VecDeque<_>, _>(stays);
        self.first = first;
        let lanes = std::mem::take(&mut self.lanes);
        out.extend(lanes.into_iter().flat_map(|lane| lane.waiting.into_values().flatten()));
        out.into()
    }

    /// Some of those that wait, the ones that go before everything else first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.lanes.iter().flat_map(|lane| lane.all().flatten()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Flow = Flow(1);
    const B: Flow = Flow(2);

    #[test]
    fn flows_of_a_lane_take_turns_however_much_one_has() {
        let mut lanes = Lanes::default();
        (0..1_000).for_each(|n| lanes.push(Lane::Low, A, (A, n)));
        (0..3).for_each(|n| lanes.push(Lane::Low, B, (B, n)));
        let first: Vec<_> = std::iter::from_fn(|| lanes.pop()).take(8).collect();
        assert_eq!(first, [(A, 0), (B, 0), (A, 1), (B, 1), (A, 2), (B, 2), (A, 3), (A, 4)]);
        assert_eq!(lanes.len(), 995);
        lanes.push(Lane::Low, B, (B, 3));
        let next: Vec<_> = std::iter::from_fn(|| lanes.pop()).take(3).collect();
        assert!(next.contains(&(B, 3)), "who comes back waits one round: {next:?}");
    }

    #[test]
    fn a_lower_lane_has_its_turn_after_every_sixteen_of_others() {
        let mut lanes = Lanes::default();
        for lane in LANES {
            (0..400).for_each(|_| lanes.push(lane, A, lane));
        }
        let taken: Vec<_> = std::iter::from_fn(|| lanes.pop()).take(180).collect();
        let of = |lane| taken.iter().filter(|taken| **taken == lane).count();
        assert_eq!((of(Lane::High), of(Lane::Normal), of(Lane::Low)), (160, 10, 10));
        assert!(taken[..16].iter().all(|lane| *lane == Lane::High));
    }

    #[test]
    fn alone_a_low_lane_owes_nothing_to_a_high_one_that_comes_later() {
        let mut lanes = Lanes::default();
        (0..100).for_each(|n| lanes.push(Lane::Low, A, n));
        (0..50).for_each(|n| assert_eq!(lanes.pop(), Some(n)));
        lanes.push(Lane::High, A, 1_000);
        assert_eq!(lanes.pop(), Some(1_000));
    }

    #[test]
    fn what_goes_first_goes_first_and_the_last_is_of_the_longest_flow() {
        let mut lanes = Lanes::default();
        lanes.push(Lane::High, A, 1);
        lanes.push(Lane::Low, A, 2);
        (3..6).for_each(|n| lanes.push(Lane::Low, B, n));
        lanes.push_first(9);
        assert_eq!(lanes.pop_last(), Some(5));
        assert_eq!(lanes.pop(), Some(9));
        assert_eq!(lanes.pop_of(Lane::Low, B, |n| *n == 3), Some(3));
        assert_eq!(lanes.pop_of(Lane::Low, B, |n| *n == 3), None);
        lanes.retain(|n| *n != 4);
        lanes.push_first(7);
        lanes.push_first(8);
        assert_eq!((lanes.len(), lanes.drain(|n| *n == 7).len(), lanes.len()), (4, 3, 1));
    }
}
