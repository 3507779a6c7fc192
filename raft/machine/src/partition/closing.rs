//! How deliveries end: asked to cancel, closed by the owner, and what every end leaves behind.

use std::sync::Arc;

use tidings_contract::{DeliveryId, Outcome, Reason};

use super::judge::{Hushed, hushed};
use super::leaving::reserves;
use super::state::Waiting;
use super::suppressions::SUPPRESSION_LIST;
use super::{Answer, Closing, DeadLetter, Delivery, Ended, Hint, Partition, Record, Refusal, Sheet, State, What, legs};
use crate::Output;

impl Partition {
    /// Marks a pending delivery. Only its owner can close it, because only the owner knows whether an attempt is in flight.
    pub(super) fn request_cancel(
        &mut self,
        id: DeliveryId,
        by: String,
        out: &mut Output<Hint, Record>,
    ) -> Result<Answer, Refusal> {
        let waiting = self.pending.get_mut(&id).ok_or(Refusal::NotPending)?;
        if !waiting.delivery.cancel_requested {
            let delivery = Arc::make_mut(&mut waiting.delivery);
            delivery.cancel_requested = true;
            delivery.note(self.now, What::CancelRequested { by });
        }
        out.hints.push(Hint::CancelRequested(id));
        Ok(Answer::Done(State::Pending))
    }

    /// The owner closes a delivery. An attempt that was claimed and did not come back may have been taken.
    pub(super) fn close(
        &mut self,
        id: DeliveryId,
        epoch: u64,
        closing: Closing,
        out: &mut Output<Hint, Record>,
    ) -> Result<Answer, Refusal> {
        self.fence(epoch)?;
        let waiting = self.pending.get(&id).ok_or(Refusal::NotPending)?;
        if !self.is_grounded(waiting, &closing) {
            return Err(Refusal::Groundless);
        }
        self.doubt(&id);
        let waiting = self.pending.get_mut(&id).ok_or(Refusal::NotPending)?;
        if let Some(attempt) = waiting.delivery.begun {
            let delivery = Arc::make_mut(&mut waiting.delivery);
            delivery.attempts = attempt;
            delivery.unknown_attempts = delivery.unknown_attempts.saturating_add(1);
        }
        let (state, reason) = match closing {
            Closing::Cancelled => (State::Cancelled, None),
            Closing::Expired => (State::Expired, None),
            Closing::Lost => (State::Unknown, None),
            Closing::Impossible(reason) => (State::Failed, Some(reason)),
            Closing::Suppressed { rule, detail } => {
                let kind = rule.split('/').next().unwrap_or_default();
                let reason = Reason::new(kind, detail.clone());
                let delivery = &mut self.pending.get_mut(&id).ok_or(Refusal::NotPending)?.delivery;
                Arc::make_mut(delivery).note(self.now, What::Suppressed { rule, detail });
                (State::Suppressed, Some(reason))
            }
        };
        self.finish(id, state, reason, out)
    }

    /// Whether the state bears a closing out.
    fn is_grounded(&self, waiting: &Waiting, closing: &Closing) -> bool {
        let (delivery, sheet) = (&waiting.delivery, self.sheets.get(&waiting.sheet));
        match closing {
            Closing::Cancelled => delivery.cancel_requested,
            Closing::Expired => sheet.is_some_and(|sheet| sheet.has_expired(self.now)),
            Closing::Lost => delivery.begun.is_some(),
            Closing::Suppressed { rule, .. } if rule == SUPPRESSION_LIST => {
                let held = delivery.begun.is_some() || delivery.due > self.now;
                !held && sheet.is_some_and(|sheet| self.closed_by_list(delivery, sheet, self.now).is_some())
            }
            Closing::Impossible(_) | Closing::Suppressed { .. } => true,
        }
    }

    /// The owner was about to make an attempt in quiet hours. One that was never attempted wants to leave at their end, so
    /// its slots and its patience count from there.
    pub(super) fn defer(
        &mut self,
        id: DeliveryId,
        epoch: u64,
        out: &mut Output<Hint, Record>,
    ) -> Result<Answer, Refusal> {
        let (delivery, sheet) = self.about_to_leave(id, epoch)?;
        let Hushed { rule, detail, until } = hushed(&delivery, &sheet, self.now).ok_or(Refusal::Groundless)?;
        self.doubt(&id);
        let (mut delivery, _) = self.delivery(&id).ok_or(Refusal::NotPending)?;
        let changed = Arc::make_mut(&mut delivery);
        let next = match until {
            Some(until) => {
                changed.note(self.now, What::Deferred { rule, until, detail });
                changed.wait_until(until);
                if changed.attempts == 0 && !changed.doubtful {
                    self.move_slots(changed, &sheet, until);
                    changed.reserved = reserves(changed, &sheet, self.now);
                }
                None
            }
            None => Some(legs::bar(changed, &sheet, (rule, detail), self.now)),
        };
        if let Some(waiting) = self.pending.get_mut(&id) {
            waiting.delivery = Arc::clone(&delivery);
        }
        if let Some(next) = next {
            drop(delivery);
            return self.go_on(id, String::new(), next, out);
        }
        out.hints.push(Hint::Due { delivery, sheet });
        Ok(Answer::Done(State::Pending))
    }

    /// A delivery that its owner is about to attempt, with its sheet.
    pub(super) fn about_to_leave(&self, id: DeliveryId, epoch: u64) -> Result<(Arc<Delivery>, Arc<Sheet>), Refusal> {
        self.fence(epoch)?;
        let (delivery, sheet) = self.delivery(&id).ok_or(Refusal::NotPending)?;
        let leaves = delivery.begun.is_none() && delivery.due <= self.now;
        if leaves { Ok((delivery, sheet)) } else { Err(Refusal::Groundless) }
    }

    /// Ends a delivery that is in no map any more: its last events, its slots, the counts, the dead letters, the record.
    ///
    /// What was not taken, as far as its last attempt goes, is `Unknown` if an earlier attempt may have been taken.
    pub(super) fn end(
        &mut self,
        mut delivery: Delivery,
        sheet: &Arc<Sheet>,
        state: State,
        reason: Option<Reason>,
        out: &mut Output<Hint, Record>,
    ) -> State {
        let doubtful = delivery.unknown_attempts > 0 && !matches!(state, State::Delivered | State::Unknown);
        let state = if doubtful { State::Unknown } else { state };
        let reason = match state {
            State::Unknown => Some(reason.filter(|_| !doubtful).unwrap_or_else(|| why_unknown(&delivery))),
            State::Failed => Some(reason.unwrap_or_else(|| Reason::new("gave_up", "no further attempt is allowed"))),
            _ => reason.or_else(|| delivery.told_doubt(state)),
        };
        delivery.state = state;
        delivery.begun = None;
        delivery.ended_at = Some(self.now);
        delivery.reason.clone_from(&reason);
        delivery.note(self.now, What::Ended { state, reason: reason.clone() });
        self.tally.ended(&sheet.template, delivery.accepted_at(), state);
        self.settle_slots(&delivery, sheet);
        if delivery.leg() > 0 {
            let taken = delivery.may_have_arrived();
            legs::leave(&mut self.slots, &mut delivery, sheet, taken, self.now, out);
        }
        if let (State::Failed | State::Unknown, Some(reason)) = (state, reason) {
            self.bury(&delivery, sheet, reason);
        }
        self.tell_of_end(&delivery, sheet, out);
        out.hints.push(Hint::Ended { delivery: delivery.id, state });
        out.records.push(Record::Ended(Box::new(Ended { delivery, sheet: sheet.ended() })));
        state
    }

    fn bury(&mut self, delivery: &Delivery, sheet: &Sheet, reason: Reason) {
        let letter = DeadLetter {
            state: delivery.state,
            template: sheet.template.clone(),
            channel: sheet.channel.clone(),
            account: delivery.last_account().map(str::to_owned),
            reason,
            at: self.now,
        };
        self.dead.put(delivery.id, letter, self.limits.dead_letters);
    }
}

/// The reason of the newest attempt that may have been taken.
fn why_unknown(delivery: &Delivery) -> Reason {
    let newest = delivery.events.iter().rev().find_map(|event| match &event.what {
        What::Attempted { outcome: Outcome::Unknown { reason }, .. } => Some(reason.clone()),
        What::Begun { attempt, .. } if delivery.begun == Some(*attempt) => {
            Some(Reason::new("attempt_lost", format!("attempt {attempt} was claimed and its end was lost")))
        }
        _ => None,
    });
    newest.unwrap_or_else(|| Reason::new("unknown", "an attempt may have been taken"))
}
