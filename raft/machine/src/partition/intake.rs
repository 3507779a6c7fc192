//! How messages come in: claims of idempotency keys, and parts with their recipients.

use std::sync::Arc;

use tidings_contract::{DeliveryId, Reason, Time, planted};

use super::idempotency::PARTS_KEPT;
use super::sheets::SheetKey;
use super::state::Waiting;
use super::{
    Accept, Answer, Claim, Claimed, Delivery, Event, Hint, Partition, Recipient, Record, Refusal, Sheet, State,
    Verdict, What,
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
                let state = self.admit(Delivery::accepted(delivery, recipient, self.now), key, &sheet, out);
                carriers += u32::from(state == State::Pending);
                state
            };
            verdicts.push(Verdict { delivery, state });
        }
        self.sheets.carry(&key, carriers);
        verdicts
    }

    /// Decides on one accepted delivery: expired, suppressed or pending.
    fn admit(
        &mut self,
        mut delivery: Delivery,
        key: SheetKey,
        sheet: &Arc<Sheet>,
        out: &mut Output<Hint, Record>,
    ) -> State {
        self.tally.accepted(&sheet.template, self.now);
        self.set_due(&mut delivery, sheet);
        if sheet.expires_at.is_some_and(|expires| self.now >= expires) {
            return self.end(delivery, sheet, State::Expired, None, out);
        }
        if let Some((reason, rule)) = self.suppression(&delivery, sheet) {
            delivery.note(self.now, rule);
            return self.end(delivery, sheet, State::Suppressed, Some(reason), out);
        }
        self.enqueue(delivery, key, sheet, out);
        State::Pending
    }

    /// The first attempt is due now, or when the message asks for it.
    pub(super) fn set_due(&self, delivery: &mut Delivery, sheet: &Sheet) {
        delivery.due = sheet.send_at.map_or(self.now, |send_at| send_at.max(self.now));
        delivery.first_due = delivery.due;
    }

    fn suppression(&self, delivery: &Delivery, sheet: &Sheet) -> Option<(Reason, What)> {
        let (fingerprint, window_ms) = delivery.fingerprint.zip(sheet.policy.dedup_window_ms)?;
        let twin = self.dedup.twin(fingerprint, delivery.first_due, window_ms, self.now)?;
        if planted("dedup_at_the_edge") && self.now < twin.message().time().after_ms(150) {
            return None;
        }
        let detail = format!("{twin} brings the same content within {window_ms} ms");
        let reason = Reason::new("content_dedup", detail.clone());
        Some((reason, What::Suppressed { rule: "content_dedup".to_owned(), detail }))
    }

    /// Makes a delivery pending. Its sheet's carriers are counted by the caller.
    pub(super) fn enqueue(
        &mut self,
        mut delivery: Delivery,
        key: SheetKey,
        sheet: &Arc<Sheet>,
        out: &mut Output<Hint, Record>,
    ) {
        if delivery.due > self.now {
            let due = delivery.due;
            delivery.note(self.now, What::Scheduled { due });
        }
        self.outside.callbacks += u64::from(sheet.tells());
        if let (Some(fingerprint), Some(_)) = (delivery.fingerprint, sheet.policy.dedup_window_ms) {
            self.dedup.take(fingerprint, delivery.first_due, delivery.id);
        }
        let delivery = Arc::new(delivery);
        out.hints.push(Hint::Due { delivery: Arc::clone(&delivery), sheet: Arc::clone(sheet) });
        self.pending.insert(delivery.id, Waiting { delivery, sheet: key });
    }
}

impl Delivery {
    /// A delivery that was accepted just now.
    pub(super) fn accepted(id: DeliveryId, recipient: Recipient, now: Time) -> Self {
        Self {
            id,
            to: recipient.to,
            variables: recipient.variables,
            fingerprint: recipient.fingerprint,
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
            events: vec![Event { at: now, what: What::Accepted }],
        }
    }
}
