//! Attempts: claimed before they are made, and what they came back with.

use std::sync::Arc;

use tidings_contract::{Charge, DeliveryId, Outcome, Reason, Time, planted};

use super::bounces::Barrable;
use super::breakers::{Crossed, is_failure};
use super::failover::{Next, after, alerts};
use super::judge::{Hushed, hushed};
use super::state::Waiting;
use super::{
    Answer, BreakerPolicy, Delivery, Hint, Masked, Partition, Record, Refusal, Sheet, State, Via, Waited, Way, What,
    WordRule, legs, tokens,
};
use crate::Output;

impl Partition {
    /// A claimed attempt cannot be claimed again, not even by the same owner: one that does not know whether its claim
    /// was kept must find out, because it may already have made the attempt.
    pub(super) fn begin(
        &mut self,
        id: DeliveryId,
        attempt: u16,
        epoch: u64,
        account: String,
        via: Option<Box<Via>>,
    ) -> Result<Answer, Refusal> {
        self.fence(epoch)?;
        let waiting = self.pending.get_mut(&id).ok_or(Refusal::NotPending)?;
        let sheet = self.sheets.get(&waiting.sheet).ok_or(Refusal::NotPending)?;
        if attempt != waiting.delivery.attempts.saturating_add(1) || waiting.delivery.begun.is_some() {
            return Err(Refusal::WrongAttempt);
        }
        let delivery = Arc::make_mut(&mut waiting.delivery);
        delivery.begun = Some(attempt);
        chosen(delivery, sheet, self.now, attempt, &account, via.as_deref());
        delivery.note(self.now, What::Begun { attempt, account });
        Ok(Answer::Done(State::Pending))
    }

    /// A claimed attempt was certainly not made. It counts for nothing, and its number is free again. Another owner since then
    /// has closed it as lost, or will: it cannot know.
    pub(super) fn withdraw(&mut self, id: DeliveryId, attempt: u16, epoch: u64) -> Result<Answer, Refusal> {
        self.fence(epoch)?;
        let waiting = self.pending.get_mut(&id).ok_or(Refusal::NotPending)?;
        if waiting.delivery.begun != Some(attempt) {
            return Err(Refusal::WrongAttempt);
        }
        let delivery = Arc::make_mut(&mut waiting.delivery);
        delivery.begun = None;
        delivery.note(self.now, What::Withdrawn { attempt });
        Ok(Answer::Done(State::Pending))
    }

    /// Tells the trace that an attempt waits for a limit. Nothing else changes: when it is worth looking again is the owner's
    /// to know, because a limit may be raised meanwhile.
    pub(super) fn wait(&mut self, id: DeliveryId, attempt: u16, epoch: u64, limit: Waited) -> Result<Answer, Refusal> {
        self.fence(epoch)?;
        let waiting = self.pending.get_mut(&id).ok_or(Refusal::NotPending)?;
        if attempt != waiting.delivery.attempts.saturating_add(1) || waiting.delivery.begun.is_some() {
            return Err(Refusal::WrongAttempt);
        }
        waited(Arc::make_mut(&mut waiting.delivery), self.now, attempt, limit);
        Ok(Answer::Done(State::Pending))
    }

    /// Takes the result of `(delivery, attempt, epoch)`.
    pub(super) fn outcome(
        &mut self,
        (id, attempt, epoch): (DeliveryId, u16, u64),
        (account, via, masked): (String, Option<Box<Via>>, Vec<Masked>),
        (began, charge): (Time, Option<Box<Charge>>),
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
        self.doubt(&id);
        let waiting = self.pending.get(&id).ok_or(Refusal::NotPending)?;
        let way = sheet.leg(waiting.delivery.leg()).way;
        let call = waiting.delivery.call(&sheet, &account);
        if let Some((way, call)) = way.zip(call) {
            self.tell(way, &account, (call.breaker, via.as_deref()), &outcome, out);
        }
        if let Some(endpoint) = via.as_ref().and_then(|via| via.endpoint) {
            let policy = call.map(|call| call.breaker).unwrap_or_default();
            self.endpoints.count(endpoint, policy, &outcome, (began, self.now));
        }
        let waiting = self.pending.get_mut(&id).ok_or(Refusal::NotPending)?;
        let delivery = Arc::make_mut(&mut waiting.delivery);
        delivery.attempts = attempt;
        if delivery.begun.take().is_none() {
            chosen(delivery, &sheet, self.now, attempt, &account, via.as_deref());
        }
        let alive = !sheet.has_expired(self.now);
        let next = match after(delivery, &sheet, &account, self.now, &outcome) {
            // The token is fetched anew: no reason to wait, and so none to call it too late.
            Next::Retry(_) | Next::End(State::Expired, _) if alive && tokens::is_first_invalid(delivery, &outcome) => {
                Next::Retry(self.now)
            }
            next => next,
        };
        for Masked { rule, places } in masked.into_iter().take(WordRule::MOST) {
            delivery.note(self.now, What::Masked { attempt, rule, places });
        }
        let barrable = Barrable::shown_by(delivery, &sheet, &account, &outcome);
        let code = outcome.reason().map(|reason| reason.code.clone()).unwrap_or_default();
        delivery.note(self.now, What::Attempted { attempt, account: account.clone(), node, began, outcome, charge });
        if let Some(what) = barrable.and_then(|barrable| self.bar(barrable, id, &code))
            && let Some(waiting) = self.pending.get_mut(&id)
        {
            Arc::make_mut(&mut waiting.delivery).note(self.now, what);
        }
        self.go_on(id, account, next, out)
    }

    /// Counts the call for the account's breaker, and hints at what others should know of it.
    fn tell(
        &mut self,
        way: &Way,
        account: &str,
        (policy, via): (BreakerPolicy, Option<&Via>),
        outcome: &Outcome,
        out: &mut Output<Hint, Record>,
    ) {
        // What the recipient's own server does is no fault of the account's.
        let elsewhere = via.is_some_and(|via| via.endpoint.is_some());
        let failed = is_failure(outcome) && !elsewhere;
        let (epoch, probe) = via.map_or((0, false), |via| (via.breaker, via.probe));
        let name = || account.to_owned();
        if probe {
            out.hints.push(Hint::Probed { account: name(), epoch, good: !failed, policy });
        } else if !elsewhere
            && let Some(Crossed { calls, failures }) = self.breakers.count(account, epoch, failed, policy, self.now)
        {
            out.hints.push(Hint::Failing { account: name(), epoch, calls, failures, policy });
        }
        if let Some(code) = alerts(way, outcome) {
            let route = way.route.as_ref().map(ToString::to_string).unwrap_or_default();
            out.hints.push(Hint::Alert { account: name(), code: code.to_owned(), route });
        }
    }

    /// Moves a pending delivery on.
    pub(super) fn go_on(
        &mut self,
        id: DeliveryId,
        account: String,
        next: Next,
        out: &mut Output<Hint, Record>,
    ) -> Result<Answer, Refusal> {
        self.doubt(&id);
        let waiting = self.pending.get_mut(&id).ok_or(Refusal::NotPending)?;
        let sheet = Arc::clone(self.sheets.get(&waiting.sheet).ok_or(Refusal::NotPending)?);
        let delivery = Arc::make_mut(&mut waiting.delivery);
        match next {
            Next::End(state, reason) => return self.finish(id, state, reason, out),
            Next::Retry(due) => {
                delivery.due = due;
                delivery.note(self.now, What::Retry { due });
            }
            Next::Switch(why) => {
                delivery.due = self.now;
                delivery.give_up(&sheet, &account);
                delivery.note(self.now, What::Switched { from: account, why });
            }
            Next::Fall(leg, why) => {
                let taken = delivery.doubtful || delivery.unknown_attempts > 0;
                legs::leave(&mut self.slots, delivery, &sheet, taken, self.now, out);
                delivery.fall(&sheet, leg, why, self.now);
            }
        }
        // A further attempt does not fall into quiet hours: it waits for their end, or there is none on this leg.
        if let Some(Hushed { rule, detail, until }) = hushed(delivery, &sheet, delivery.due) {
            let Some(until) = until else {
                let next = legs::bar(delivery, &sheet, (rule, detail), self.now);
                // Legs end, so this does.
                return self.go_on(id, String::new(), next, out);
            };
            delivery.note(self.now, What::Deferred { rule, until, detail });
            delivery.wait_until(until);
        }
        out.hints.push(Hint::Due { delivery: Arc::clone(&waiting.delivery), sheet });
        Ok(Answer::Done(State::Pending))
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
        self.outside.callbacks = self.outside.callbacks.saturating_sub(u64::from(sheet.tells()));
        Ok(Answer::Done(self.end(Arc::unwrap_or_clone(delivery), &sheet, state, reason, out)))
    }
}

/// Notes what limit an attempt waited for, unless that was told before.
fn waited(delivery: &mut Delivery, now: Time, attempt: u16, waited: Waited) {
    let told = |what: &What| matches!(what, What::Waited { attempt: other, .. } if *other == attempt);
    if !delivery.events.iter().rev().any(|event| told(&event.what)) {
        delivery.note(now, What::Waited { attempt, waited });
    }
}

/// Notes why the account of an attempt was chosen, where there was something to choose, and what the attempt waited for.
fn chosen(delivery: &mut Delivery, sheet: &Sheet, now: Time, attempt: u16, account: &str, via: Option<&Via>) {
    if let Some(limit) = via.and_then(|via| via.waited.clone()) {
        waited(delivery, now, attempt, limit);
    }
    let Some(via) = via.filter(|via| !via.why.is_empty()) else { return };
    let route = sheet.leg(delivery.leg()).way.and_then(|way| way.route.clone());
    delivery.note(now, What::Chosen { attempt, account: account.to_owned(), route, why: via.why.clone() });
}
