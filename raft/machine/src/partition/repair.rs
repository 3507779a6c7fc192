//! The time of a partition is set back from the future.
//!
//! Whatever was stamped later than the time it is set to counts as made at the repair: stricter than it was, never laxer.
//! Due times stay, but for what counted from the wrong time itself: a delivery that was due at once is due at once, and a
//! retry waits as long as it had to. Keys and answers of parts are kept as long as was promised then, which is longer.

use std::sync::Arc;

use tidings_contract::{DeliveryId, Time};

use super::{Answer, Delivery, Partition, Refusal, Sheet, State, What};
use crate::repair::{Repair, Repaired};

impl Partition {
    /// Sets the time back. Refused as `Outdated` when it comes late, or again.
    pub(super) fn repair_time(&mut self, repair: Repair) -> Result<Answer, Refusal> {
        let done = repair.applied(self.now).ok_or(Refusal::Outdated)?;
        let pending: Vec<DeliveryId> = self.pending.keys().copied().collect();
        // Who may have attempted what is told by times, which will not be comparable any more.
        pending.iter().for_each(|id| self.doubt(id));
        self.taken_at = Time(0);
        pending.iter().for_each(|id| self.repair_delivery(*id, done));
        self.slots.repair(done);
        self.dedup.repair(done);
        self.limiter.repair(done);
        self.outside.tokens.repair(done);
        // What is known of hosts that failed was learned at times that mean nothing now; it is learned again.
        self.endpoints = Default::default();
        self.repaired = Some(Repaired::and(self.repaired, done));
        self.now = done.to;
        Ok(Answer::Done(State::Pending))
    }

    /// The last repair of its time.
    pub fn repaired(&self) -> Option<Repaired> {
        self.repaired
    }

    fn repair_delivery(&mut self, id: DeliveryId, done: Repaired) {
        let Some((mut delivery, sheet)) = self.delivery(&id) else { return };
        let first = first_due(&delivery, &sheet, done);
        let due = due(&delivery, &sheet, done);
        if first == delivery.first_due && due == delivery.due {
            return;
        }
        let changed = Arc::make_mut(&mut delivery);
        changed.due = due;
        if first != changed.first_due {
            self.move_slots(changed, &sheet, first);
        }
        if let Some(waiting) = self.pending.get_mut(&id) {
            waiting.delivery = delivery;
        }
    }
}

/// When it was due first. What was due as soon as it was accepted counts from the repair if that was after it.
fn first_due(delivery: &Delivery, sheet: &Sheet, done: Repaired) -> Time {
    if is_at_once(delivery) { delivery.first_due.min(at_once(sheet, done)) } else { delivery.first_due }
}

/// Whether it was due as soon as it was accepted.
fn is_at_once(delivery: &Delivery) -> bool {
    delivery.first_due <= delivery.accepted_at()
}

/// What *at once* is after the repair. A time of sending that lay in the past of the wrong time may lie in the future again.
fn at_once(sheet: &Sheet, done: Repaired) -> Time {
    sheet.send_at.map_or(done.to, |at| at.max(done.to))
}

/// When it is due next. What somebody set (a time of sending, the end of quiet hours) stays.
fn due(delivery: &Delivery, sheet: &Sheet, done: Repaired) -> Time {
    let waits = delivery.events.iter().rev().find_map(|event| match &event.what {
        What::Retry { due } => Some((*due, true)),
        What::Deferred { until, .. } => Some((*until, false)),
        _ => None,
    });
    match waits {
        Some((due, true)) if due == delivery.due && event_is_ahead(delivery, done) => {
            let ahead_ms = done.from.0 - done.to.0;
            Time(delivery.due.0.saturating_sub(ahead_ms)).max(done.to).min(delivery.due)
        }
        Some(_) => delivery.due,
        None if is_at_once(delivery) => delivery.due.min(at_once(sheet, done)),
        None => delivery.due,
    }
}

/// Whether its last retry was decided at a time that is after the repair.
fn event_is_ahead(delivery: &Delivery, done: Repaired) -> bool {
    let last = delivery.events.iter().rev().find(|event| matches!(event.what, What::Retry { .. }));
    last.is_some_and(|event| event.at > done.to)
}
