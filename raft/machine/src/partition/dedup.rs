//! Content dedup: a recipient gets the same content once per window.
//!
//! A fingerprint covers the content and the recipient. Each delivery that asks for dedup takes a slot at the time at
//! which it wants to leave, so two reminders of the same words on two days do not suppress each other, however early
//! they were accepted. A pending delivery holds its slot whatever happens; one that was (or may have been) taken holds
//! it for a window after its end; one that was certainly not taken gives it back.

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, Time};

use super::expiring::{Expiring, NEVER};
use super::slots::Look;
use crate::repair::Repaired;

/// The fingerprint, when the delivery wants to leave, and the delivery.
type Slot = (u64, Time, DeliveryId);

/// Who got what lately, or is about to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Dedup {
    slots: Expiring<Slot, ()>,
}

impl Dedup {
    /// The delivery because of which another with this fingerprint, leaving then, would come twice in a window.
    pub(super) fn twin(&self, fingerprint: u64, look: Look, window_ms: u64) -> Option<DeliveryId> {
        let Look { leaves, now, leaving } = look;
        let start = Time(leaves.0.saturating_sub(window_ms));
        let end = look.end(window_ms);
        // What wants to leave later than a window from now cannot meet anything that wanted to leave earlier than that.
        let from = if leaves < now.after_ms(window_ms) { Time(0) } else { start };
        let lowest = DeliveryId::from_bytes(&[0; 21])?;
        let range = (fingerprint, from, lowest)..(fingerprint, end, lowest);
        self.slots
            .range(range, now)
            .rev()
            .filter(|((_, _, delivery), _)| leaving.as_ref() != Some(delivery))
            .find(|((_, at, _), until)| {
                let reach = if *until == NEVER { (*at).max(now).after_ms(window_ms) } else { *until };
                *at > start && leaves < at.after_ms(window_ms) || leaves < reach && *at <= leaves
            })
            .map(|((_, _, twin), _)| *twin)
    }

    /// A pending delivery takes its slot.
    pub(super) fn take(&mut self, fingerprint: u64, leaves: Time, delivery: DeliveryId) {
        self.slots.insert((fingerprint, leaves, delivery), (), NEVER);
    }

    /// A delivery was taken now, or may have been: its slot stays until a window from now. One that was taken before it
    /// wanted to leave is where it was taken.
    pub(super) fn keep(&mut self, fingerprint: u64, leaves: Time, delivery: DeliveryId, window_ms: u64, now: Time) {
        self.release(fingerprint, leaves, delivery);
        self.slots.insert((fingerprint, leaves.min(now), delivery), (), now.after_ms(window_ms));
    }

    /// A delivery was certainly not taken: its slot is free.
    pub(super) fn release(&mut self, fingerprint: u64, leaves: Time, delivery: DeliveryId) {
        self.slots.remove(&(fingerprint, leaves, delivery));
    }

    /// The time was set back: what was taken after it counts as taken at the repair. Slots of what is pending were moved
    /// before.
    pub(super) fn repair(&mut self, done: Repaired) {
        let taken: Vec<(Slot, Time)> = self
            .slots
            .all()
            .filter(|((_, leaves, _), _, until)| *until != NEVER && *leaves > done.to)
            .map(|(slot, (), until)| (*slot, until))
            .collect();
        for (slot, until) in taken {
            let (fingerprint, leaves, delivery) = slot;
            self.slots.remove(&slot);
            // It was taken at `leaves` or later, so this is a window at least.
            let window_ms = until.0 - leaves.0;
            self.slots.insert((fingerprint, done.to, delivery), (), done.to.after_ms(window_ms));
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

#[cfg(test)]
mod tests {
    use tidings_contract::{MessageId, PartitionId};

    use super::*;

    fn delivery(n: u64) -> DeliveryId {
        DeliveryId::new(MessageId::new(Time(1), PartitionId(0), n), 0, PartitionId(0))
    }

    fn twin(dedup: &Dedup, fingerprint: u64, leaves: u64, now: u64) -> Option<DeliveryId> {
        dedup.twin(fingerprint, Look { leaves: Time(leaves), now: Time(now), leaving: None }, 10_000)
    }

    #[test]
    fn a_window_lies_around_the_time_of_leaving_and_not_around_the_time_of_acceptance() {
        let mut dedup = Dedup::default();
        dedup.take(7, Time(100_000), delivery(1));
        for (leaves, wanted) in
            [(90_000, None), (90_001, Some(1)), (100_000, Some(1)), (109_999, Some(1)), (110_000, None)]
        {
            assert_eq!(twin(&dedup, 7, leaves, 0), wanted.map(delivery), "leaving at {leaves}");
        }
        assert_eq!(twin(&dedup, 8, 100_000, 0), None, "another fingerprint");
    }

    #[test]
    fn a_late_pending_delivery_still_holds_its_slot() {
        let mut dedup = Dedup::default();
        dedup.take(7, Time(0), delivery(1));
        assert_eq!(twin(&dedup, 7, 50_000, 50_000), Some(delivery(1)));
        assert_eq!(twin(&dedup, 7, 70_000, 50_000), None, "that one leaves a window later");
        dedup.keep(7, Time(0), delivery(1), 10_000, Time(55_000));
        assert_eq!(twin(&dedup, 7, 64_999, 56_000), Some(delivery(1)));
        assert_eq!(twin(&dedup, 7, 65_000, 65_000), None);
        dedup.release(7, Time(0), delivery(1));
        assert_eq!(dedup.len(), 0);
    }
}
