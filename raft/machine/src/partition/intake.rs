//! How messages come in: claims of idempotency keys, and parts with their recipients.

use std::sync::Arc;

use tidings_contract::{DeliveryId, Time, planted};

use super::idempotency::PARTS_KEPT;
use super::judge::{Case, set_due};
use super::leaving::reserves;
use super::sheets::SheetKey;
use super::state::Waiting;
use super::{
    Accept, Answer, Barred, Claim, Claimed, Course, Delivery, Event, Hint, Judgement, Partition, Recipient, Record,
    Refusal, Sheet, State, Verdict, What,
};
use crate::Output;

impl Partition {
    pub(super) fn claim(&mut self, claim: Claim, out: &mut Output<Hint, Record>) -> Result<Answer, Refusal> {
        if let Some(claimed) = self.keys.look(&claim, self.now).filter(|_| !planted("claim_skipped")) {
            return Ok(Answer::Claimed(claimed));
        }
        if self.keys.len() as u64 >= self.limits.idempotency_keys {
            return Err(Refusal::Full);
        }
        out.records.push(Record::Header(Box::new(claim.header.clone())));
        self.keys.put(claim);
        Ok(Answer::Claimed(Claimed::Fresh))
    }

    /// The order matters: a repeat gets its first answer even when the partition is full or the part is late by now.
    pub(super) fn accept(&mut self, accept: Accept, out: &mut Output<Hint, Record>) -> Result<Answer, Refusal> {
        let Accept { message, partition, part, accept_by, repeatable_until, sheet, recipients, header } = accept;
        if let Some(verdicts) = self.parts.look(message, part, self.now) {
            return Ok(Answer::Accepted(verdicts));
        }
        if self.now > accept_by {
            return Err(Refusal::TooLate);
        }
        let room = self.limits.pending.saturating_sub(self.pending_count());
        if recipients.len() as u64 > room || self.parts.len() >= PARTS_KEPT {
            return Err(Refusal::Full);
        }
        let most = self.limits.pending_per_key;
        if most > 0 && self.sheets.carried_for(&sheet.key_id) + recipients.len() as u64 > most {
            return Err(Refusal::KeyFull);
        }
        if let Some(header) = header {
            out.records.push(Record::Header(header));
        }
        let verdicts = self.take_in(recipients, |index| DeliveryId::new(message, index, partition), &sheet, out);
        // An answer that is forgotten before its part is too late would let the part in twice.
        self.parts.put(message, part, &verdicts, repeatable_until.max(accept_by));
        Ok(Answer::Accepted(verdicts))
    }

    fn take_in(
        &mut self,
        recipients: Vec<Recipient>,
        id: impl Fn(u16) -> DeliveryId,
        sheet: &Arc<Sheet>,
        out: &mut Output<Hint, Record>,
    ) -> Vec<Verdict> {
        let key = self.sheets.key(&id(0), sheet);
        // Siblings share what is held already, if an earlier part of the message brought it.
        let sheet = self.sheets.get(&key).map_or_else(|| Arc::clone(sheet), Arc::clone);
        let mut carriers = 0;
        let mut verdicts = Vec::with_capacity(recipients.len());
        for recipient in recipients {
            let delivery = id(recipient.index);
            // Two parts never share a recipient; if they did, a delivery that is on its way must not be replaced.
            let state = if self.pending.contains_key(&delivery) {
                State::Pending
            } else {
                let (accepted, barred) = Delivery::accepted(delivery, recipient, self.now);
                let state = self.admit(accepted, &barred, key, &sheet, out);
                carriers += u32::from(state == State::Pending);
                state
            };
            verdicts.push(Verdict { delivery, state });
        }
        self.sheets.carry(&key, carriers);
        verdicts
    }

    /// Decides on one accepted delivery: suppressed, expired or pending.
    fn admit(
        &mut self,
        mut delivery: Delivery,
        barred: &[Barred],
        key: SheetKey,
        sheet: &Arc<Sheet>,
        out: &mut Output<Hint, Record>,
    ) -> State {
        self.tally.accepted(&sheet.template, self.now);
        set_due(&mut delivery, sheet, self.now);
        let case = Case {
            id: delivery.id,
            delivery: &delivery,
            barred,
            sheet,
            wished: false,
            thorough: false,
            leaving: false,
        };
        let judgement = self.judge(case);
        let (state, reason) = (judgement.state, judgement.reason.clone());
        if state == State::Pending {
            self.enqueue(delivery, judgement, key, sheet, out);
            return state;
        }
        judgement.events().for_each(|what| delivery.note(self.now, what));
        self.end(delivery, sheet, state, reason, out)
    }

    /// Makes a delivery pending, to leave when the judgement says. Its sheet's carriers are counted by the caller.
    pub(super) fn enqueue(
        &mut self,
        mut delivery: Delivery,
        judgement: Judgement,
        key: SheetKey,
        sheet: &Arc<Sheet>,
        out: &mut Output<Hint, Record>,
    ) {
        if delivery.due > self.now {
            let due = delivery.due;
            delivery.note(self.now, What::Scheduled { due });
        }
        self.outside.callbacks += u64::from(sheet.tells());
        (delivery.due, delivery.first_due) = (judgement.due, judgement.due);
        delivery.reserved = reserves(&delivery, sheet, self.now);
        judgement.events().for_each(|what| delivery.note(self.now, what));
        self.take_slots(&delivery, sheet);
        let delivery = Arc::new(delivery);
        out.hints.push(Hint::Due { delivery: Arc::clone(&delivery), sheet: Arc::clone(sheet) });
        self.pending.insert(delivery.id, Waiting { delivery, sheet: key });
    }
}

impl Delivery {
    /// A delivery that was accepted just now, and the lists that say no to it.
    pub(super) fn accepted(id: DeliveryId, recipient: Recipient, now: Time) -> (Self, Vec<Barred>) {
        let Recipient { index: _, to, variables, fingerprint, time_zone, zone, marks, barred, fallback, own, left_out } =
            recipient;
        let further = fallback.iter().any(Option::is_some);
        let course = further.then(|| Box::new(Course { addresses: fallback, ..Course::default() }));
        let told = std::iter::once(What::Accepted).chain(left_out.into_iter().map(What::LegBarred));
        let accepted = Self {
            id,
            to,
            variables,
            fingerprint,
            state: State::Pending,
            due: now,
            first_due: now,
            attempts: 0,
            unknown_attempts: 0,
            begun: None,
            cancel_requested: false,
            provider_id: None,
            reason: None,
            ended_at: None,
            events: told.map(|what| Event { at: now, what }).collect(),
            time_zone,
            zone,
            marks,
            course,
            own,
            reserved: false,
            doubtful: false,
            deaths: 0,
        };
        (accepted, barred)
    }
}
