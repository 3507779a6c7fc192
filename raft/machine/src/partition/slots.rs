//! Slots of caps: who got how many of something lately, or is about to.
//!
//! A delivery takes a slot of each of its caps at the time at which it wants to leave. While it is pending it may leave at
//! any time from then on, so its slot reaches from there to the present; once it was taken (or may have been) it reaches to
//! its end and stays as long as the longest window looks back; one that was certainly not taken gives it back.
//!
//! A slot taken for a later time is a reservation: it keeps others from that time, but something that is late may come
//! between. So what waited is looked at again when it is about to leave (`leaving.rs`), and no window, wherever it lies,
//! ever holds more than the cap allows.

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, Time, stable_hash};

use super::expiring::{Expiring, NEVER};
use crate::repair::Repaired;

/// The key, when the delivery wants to leave, and the delivery.
type Slot = (u64, Time, DeliveryId);

/// The slots of all caps, by key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Slots {
    /// With the time at which the delivery ended, once it has.
    slots: Expiring<Slot, Time>,
}

/// When a slot counts: from its first to its last millisecond, both included.
type Reach = (u64, u64);

/// From where slots are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// When the delivery wants to leave.
    pub leaves: Time,
    /// The present.
    pub now: Time,
    /// The delivery itself, if it took its slot before and is about to leave. What wants to leave later does not count
    /// then: it is looked at in its turn.
    pub leaving: Option<DeliveryId>,
}

impl Look {
    /// Before when others want to leave that count.
    pub(super) fn end(&self, window_ms: u64) -> Time {
        if self.leaving.is_some() { self.now.after_ms(1) } else { self.leaves.after_ms(window_ms) }
    }
}

impl Slots {
    /// Adds the reaches of the slots of `key` that share a window with something that leaves then.
    pub(super) fn near(&self, key: u64, look: Look, window_ms: u64, near: &mut Vec<Reach>) {
        let Look { leaves, now, leaving } = look;
        let Some(lowest) = DeliveryId::from_bytes(&[0; 21]) else { return };
        // What leaves later than a window from now cannot meet anything but what wants to leave later than now.
        let soon = leaves < now.after_ms(window_ms);
        let from = if soon { Time(0) } else { Time(leaves.0.saturating_sub(window_ms)) };
        let range = (key, from, lowest)..(key, look.end(window_ms), lowest);
        for ((_, at, delivery), ended, until) in self.slots.entries(range, now) {
            if leaving.as_ref() == Some(delivery) {
                continue;
            }
            let last = if until == NEVER { (*at).max(now) } else { (*at).max(*ended) };
            if last.after_ms(window_ms) > leaves {
                near.push((at.0, last.0));
            }
        }
    }

    /// A pending delivery takes its slot.
    pub(super) fn take(&mut self, key: u64, leaves: Time, delivery: DeliveryId) {
        self.slots.insert((key, leaves, delivery), Time(0), NEVER);
    }

    /// A delivery was taken, or may have been: its slot counts as long as the longest window looks back. One that was taken
    /// before it wanted to leave is where it was taken.
    pub(super) fn keep(&mut self, key: u64, leaves: Time, delivery: DeliveryId, longest_ms: u64, now: Time) {
        self.release(key, leaves, delivery);
        self.slots.insert((key, leaves.min(now), delivery), now, now.after_ms(longest_ms));
    }

    /// A delivery may be taken at any time up to `last`: its slot reaches to there, unless it is told otherwise before.
    pub(super) fn hold(&mut self, key: u64, leaves: Time, delivery: DeliveryId, last: Time, longest_ms: u64) {
        self.slots.insert((key, leaves, delivery), last, last.after_ms(longest_ms));
    }

    /// A delivery was certainly not taken: its slot is free.
    pub(super) fn release(&mut self, key: u64, leaves: Time, delivery: DeliveryId) {
        self.slots.remove(&(key, leaves, delivery));
    }

    /// The time was set back: what ended after it counts as ended at the repair, and what wanted to leave after it and has
    /// ended as left then. Slots of what is pending were moved before.
    pub(super) fn repair(&mut self, done: Repaired) {
        let all: Vec<(Slot, Time, Time)> = self
            .slots
            .all()
            .filter(|(_, _, until)| *until != NEVER)
            .map(|(slot, ended, until)| (*slot, *ended, until))
            .collect();
        for (slot, ended, until) in all {
            let (key, leaves, delivery) = slot;
            // What another home holds for as long as it may be taken ends in the future.
            let last = if ended > done.from { ended } else { ended.min(done.to) };
            if (leaves.min(done.to), last) == (leaves, ended) {
                continue;
            }
            self.slots.remove(&slot);
            let longest_ms = until.0.saturating_sub(ended.0);
            self.slots.insert((key, leaves.min(done.to), delivery), last, last.after_ms(longest_ms));
        }
    }

    /// Forgets at most `most` slots that ran out.
    pub(super) fn prune(&mut self, now: Time, most: usize) {
        self.slots.prune(now, most);
    }

    /// When the next slot runs out.
    pub(super) fn next(&self) -> Option<Time> {
        self.slots.next()
    }

    /// How many slots are held.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

/// What a cap counts something under: the number of one rule (`<kind>/<policy>`), one recipient and what is compared. The
/// version is left out: a changed rule counts what the old one counted.
pub fn mark(rule: &str, to: &str, parts: &[String]) -> u64 {
    let mut bytes = Vec::with_capacity(64);
    for text in [rule, to].into_iter().chain(parts.iter().map(String::as_str)) {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    stable_hash(&bytes)
}

/// The most that any one window which holds `leaves` holds already.
pub(super) fn fullest(near: &[Reach], leaves: Time, window_ms: u64) -> u32 {
    // A window [x, x + w) holds `leaves` if x lies in (leaves - w, leaves], and a reach if x lies in (first - w, last].
    // All are moved up by w, so that nothing is below zero.
    let window = u128::from(window_ms);
    let mut edges: Vec<(u128, bool)> = Vec::with_capacity(near.len() * 2);
    for (first, last) in near {
        let from = u128::from(leaves.0.max(*first)) + 1;
        let past = u128::from(leaves.0.min(*last)) + window + 1;
        if from < past {
            edges.extend([(from, true), (past, false)]);
        }
    }
    edges.sort_unstable();
    let (mut now, mut most) = (0_u32, 0_u32);
    for (_, begins) in edges {
        now = if begins { now.saturating_add(1) } else { now.saturating_sub(1) };
        most = most.max(now);
    }
    most
}

#[cfg(test)]
mod tests {
    use tidings_contract::{MessageId, PartitionId};

    use super::*;

    const W: u64 = 10_000;

    fn delivery(n: u64) -> DeliveryId {
        DeliveryId::new(MessageId::new(Time(1), PartitionId(0), n), 0, PartitionId(0))
    }

    fn count(slots: &Slots, leaves: u64, now: u64) -> u32 {
        let mut near = Vec::new();
        slots.near(7, Look { leaves: Time(leaves), now: Time(now), leaving: None }, W, &mut near);
        fullest(&near, Time(leaves), W)
    }

    #[test]
    fn a_window_is_counted_on_both_sides_of_every_boundary() {
        let mut slots = Slots::default();
        for (n, at) in [100_000, 104_000, 109_999].into_iter().enumerate() {
            slots.take(7, Time(at), delivery(n as u64));
        }
        slots.take(8, Time(104_000), delivery(9));
        for (leaves, most) in [
            (90_000, 0),
            (90_001, 1),
            (94_000, 1),
            (94_001, 2),
            (99_999, 2),
            (100_000, 3),
            (109_999, 3),
            (110_000, 2),
            (113_999, 2),
            (114_000, 1),
            (119_998, 1),
            (119_999, 0),
        ] {
            assert_eq!(count(&slots, leaves, 0), most, "leaving at {leaves}");
        }
    }

    #[test]
    fn a_late_pending_delivery_reaches_to_the_present_and_a_taken_one_to_its_end() {
        let mut slots = Slots::default();
        slots.take(7, Time(1_000), delivery(1));
        assert_eq!(
            (count(&slots, 50_000, 50_000), count(&slots, 59_999, 50_000), count(&slots, 60_000, 50_000)),
            (1, 1, 0)
        );
        slots.keep(7, Time(1_000), delivery(1), 60_000, Time(52_000));
        assert_eq!((count(&slots, 61_999, 55_000), count(&slots, 62_000, 62_000)), (1, 0));
        assert_eq!(slots.next(), Some(Time(112_000)), "a longer window may still look back");
        slots.take(7, Time(70_000), delivery(2));
        slots.release(7, Time(70_000), delivery(2));
        assert_eq!((count(&slots, 70_000, 70_000), slots.len()), (0, 1));
    }
}
