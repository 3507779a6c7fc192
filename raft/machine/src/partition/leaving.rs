//! Caps once more, when something that waited for its time is about to leave.
//!
//! At intake a delivery that leaves later takes its slots for then, and what is sent meanwhile counts them. But a delivery
//! that was let in for an earlier time may still be pending by then, or have been taken late, and at intake nobody could
//! know. So whatever took its slots for a later time asks again before its first attempt. A cap is thus exact in every
//! sliding window of the instants at which the deliveries can have been taken: each of them was looked at when it began
//! to leave, against all that had left by then.

use std::sync::Arc;

use tidings_contract::{DeliveryId, Time};

use super::judge::Case;
use super::{Answer, Delivery, Hint, Partition, Record, Refusal, Sheet, State};
use crate::Output;

impl Partition {
    /// The owner asks for a delivery whose time has come. What is in the way is told as at intake.
    pub(super) fn leave(
        &mut self,
        id: DeliveryId,
        epoch: u64,
        out: &mut Output<Hint, Record>,
    ) -> Result<Answer, Refusal> {
        let (mut delivery, sheet) = self.about_to_leave(id, epoch)?;
        if !delivery.reserved {
            // Asked twice: it was let go before.
            return Ok(Answer::Done(State::Pending));
        }
        let (barred, sheet) = (&[], &sheet);
        let case = Case { id, delivery: &delivery, barred, sheet, wished: false, thorough: false, leaving: true };
        let judgement = self.judge_leaving(case);
        let (state, reason) = (judgement.state, judgement.reason.clone());
        let changed = Arc::make_mut(&mut delivery);
        changed.reserved = false;
        judgement.events().for_each(|what| changed.note(self.now, what));
        if let Some(waiting) = self.pending.get_mut(&id) {
            waiting.delivery = delivery;
        }
        if state == State::Pending { Ok(Answer::Done(state)) } else { self.finish(id, state, reason, out) }
    }
}

/// Whether a delivery takes its slots for a later time. What somebody asked for (a redrive) is not held up by caps.
pub(super) fn reserves(delivery: &Delivery, sheet: &Sheet, now: Time) -> bool {
    let own = delivery.fingerprint.is_some() && sheet.policy.dedup_window_ms.is_some();
    let capped = sheet.rules.caps.iter().zip(&delivery.marks).any(|(_, mark)| mark.is_some());
    let wished = delivery.id.generation() > 0;
    delivery.due > now && (own || capped) && !wished
}
