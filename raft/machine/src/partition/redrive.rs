//! Redrives: a dead letter goes out again, as a new delivery of the next generation.

use super::{Answer, Delivery, Event, Hint, Partition, Record, Redrive, Refusal, State, Verdict, What};
use crate::Output;

impl Partition {
    /// Makes a new delivery of a dead letter, which is none any more.
    ///
    /// A redrive is somebody's explicit wish, so content dedup does not suppress it; it takes its slot like any other and
    /// suppresses those that follow. A sheet that has expired is refused, because the dead letter would be lost for nothing.
    pub(super) fn redrive(&mut self, redrive: Redrive, out: &mut Output<Hint, Record>) -> Result<Answer, Refusal> {
        let Redrive { delivery: old, by, sheet, recipient } = redrive;
        self.dead.get(&old).ok_or(Refusal::NotDead)?;
        // After 255 redrives there is no further generation.
        let id = old.next_generation().ok_or(Refusal::NotDead)?;
        if self.pending_count() >= self.limits.pending {
            return Err(Refusal::Full);
        }
        if sheet.expires_at.is_some_and(|expires| self.now >= expires) {
            return Err(Refusal::TooLate);
        }
        self.dead.remove(&old);
        let event = Event { at: self.now, what: What::RedrivenAs { delivery: id } };
        out.records.push(Record::Amend { delivery: old, event });
        let mut delivery = Delivery::accepted(id, recipient, self.now);
        delivery.note(self.now, What::RedriveOf { delivery: old, by });
        self.set_due(&mut delivery, &sheet);
        self.tally.accepted(&sheet.template, self.now);
        let key = self.sheets.key(&id, &sheet);
        self.sheets.carry(&key, 1);
        self.enqueue(delivery, key, &sheet, out);
        Ok(Answer::Accepted(vec![Verdict { delivery: id, state: State::Pending }]))
    }
}
