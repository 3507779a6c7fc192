//! Attempts: claimed before they are made, and what they came back with.

use std::sync::Arc;

use tidings_contract::{DeliveryId, Outcome, Reason, Time, planted};

use super::judge::hushed;
use super::state::Waiting;
use super::{
    Answer, Delivery, Hint, Masked, OnUnknown, Partition, Record, Refusal, Sheet, State, What, WordRule, retry,
};
use crate::Output;

/// What becomes of a delivery after an attempt.
enum Next {
    /// Another attempt at that time.
    Retry(Time),
    /// The end.
    End(State, Option<Reason>),
}

impl Partition {
    /// A claimed attempt cannot be claimed again, not even by the same owner: one that does not know whether its claim
    /// was kept must find out, because it may already have made the attempt.
    pub(super) fn begin(
        &mut self,
        id: DeliveryId,
        attempt: u16,
        epoch: u64,
        account: String,
    ) -> Result<Answer, Refusal> {
        self.fence(epoch)?;
        let waiting = self.pending.get_mut(&id).ok_or(Refusal::NotPending)?;
        if attempt != waiting.delivery.attempts.saturating_add(1) || waiting.delivery.begun.is_some() {
            return Err(Refusal::WrongAttempt);
        }
        let delivery = Arc::make_mut(&mut waiting.delivery);
        delivery.begun = Some(attempt);
        delivery.note(self.now, What::Begun { attempt, account });
        Ok(Answer::Done(State::Pending))
    }

    /// Takes the result of `(delivery, attempt, epoch)`.
    pub(super) fn outcome(
        &mut self,
        (id, attempt, epoch): (DeliveryId, u16, u64),
        (account, masked): (String, Vec<Masked>),
        began: Time,
        outcome: Outcome,
        out: &mut Output<Hint, Record>,
    ) -> Result<Answer, Refusal> {
        let node = self.fence(epoch)?.node;
        let waiting = self.pending.get_mut(&id).ok_or(Refusal::NotPending)?;
        let claimed = waiting.delivery.begun.is_none_or(|begun| begun == attempt);
        let next = attempt == waiting.delivery.attempts.saturating_add(1);
        if !(next && claimed || planted("stale_attempt")) {
            return Err(Refusal::WrongAttempt);
        }
        let sheet = Arc::clone(self.sheets.get(&waiting.sheet).ok_or(Refusal::NotPending)?);
        let delivery = Arc::make_mut(&mut waiting.delivery);
        delivery.attempts = attempt;
        delivery.begun = None;
        let next = after(delivery, &sheet, self.now, &outcome);
        for Masked { rule, places } in masked.into_iter().take(WordRule::MOST) {
            delivery.note(self.now, What::Masked { attempt, rule, places });
        }
        delivery.note(self.now, What::Attempted { attempt, account, node, began, outcome });
        match hush(next, delivery, &sheet, self.now) {
            Next::Retry(due) => {
                delivery.due = due;
                out.hints.push(Hint::Due { delivery: Arc::clone(&waiting.delivery), sheet });
                Ok(Answer::Done(State::Pending))
            }
            Next::End(state, reason) => self.finish(id, state, reason, out),
        }
    }

    /// Ends a pending delivery.
    pub(super) fn finish(
        &mut self,
        id: DeliveryId,
        state: State,
        reason: Option<Reason>,
        out: &mut Output<Hint, Record>,
    ) -> Result<Answer, Refusal> {
        let Waiting { delivery, sheet: key } = self.pending.remove(&id).ok_or(Refusal::NotPending)?;
        let sheet = Arc::clone(self.sheets.get(&key).ok_or(Refusal::NotPending)?);
        self.sheets.drop_one(&key);
        Ok(Answer::Done(self.end(Arc::unwrap_or_clone(delivery), &sheet, state, reason, out)))
    }
}

/// A further attempt does not fall into quiet hours: it waits for their end, or there is none.
fn hush(next: Next, delivery: &mut Delivery, sheet: &Arc<Sheet>, now: Time) -> Next {
    let Next::Retry(due) = next else { return next };
    delivery.note(now, What::Retry { due });
    let Some((what, moved)) = hushed(delivery, sheet, due) else { return Next::Retry(due) };
    let reason = match &what {
        What::Suppressed { detail, .. } => Some(Reason::new("quiet_hours", detail.clone())),
        _ => None,
    };
    delivery.note(now, what);
    moved.map_or(Next::End(State::Suppressed, reason), Next::Retry)
}

/// Counts the attempt and decides. Whoever asked to cancel gets it, unless the provider took the delivery.
fn after(delivery: &mut Delivery, sheet: &Sheet, now: Time, outcome: &Outcome) -> Next {
    let (reason, wish) = match outcome {
        Outcome::Delivered { provider_id } => {
            delivery.provider_id.clone_from(provider_id);
            return Next::End(State::Delivered, None);
        }
        Outcome::Later { reason, after_ms } => (reason, *after_ms),
        Outcome::Never { reason, .. } if !delivery.cancel_requested => {
            return Next::End(State::Failed, Some(reason.clone()));
        }
        Outcome::Never { reason, .. } => (reason, None),
        other => {
            delivery.unknown_attempts = delivery.unknown_attempts.saturating_add(1);
            let reason = other.reason();
            if sheet.policy.on_unknown == OnUnknown::Stop {
                return Next::End(State::Unknown, reason.cloned());
            }
            return wait_or_end(delivery, sheet, now, reason, None);
        }
    };
    wait_or_end(delivery, sheet, now, Some(reason), wish)
}

fn wait_or_end(delivery: &Delivery, sheet: &Sheet, now: Time, reason: Option<&Reason>, wish: Option<u64>) -> Next {
    if delivery.cancel_requested {
        return Next::End(State::Cancelled, None);
    }
    if sheet.expires_at.is_some_and(|expires| now >= expires) {
        return Next::End(State::Expired, None);
    }
    match retry::next_due(delivery, sheet, now, wish) {
        Some(due) => Next::Retry(due),
        None => Next::End(State::Failed, reason.cloned()),
    }
}
