//! Redrives: a dead letter goes out again, as a new delivery of the next generation.

use super::judge::{Case, set_due};
use super::{Answer, Delivery, Event, Hint, Partition, Record, Redrive, Refusal, State, Verdict, What};
use crate::Output;

impl Partition {
    /// Makes a new delivery of a dead letter, which is none any more.
    ///
    /// A redrive is somebody's explicit wish, so neither content dedup nor frequency caps suppress it; it takes its slots
    /// like any other and counts against those that follow. Lists, the suppression list and quiet hours hold for it, too. One
    /// that would end at once is refused, because the dead letter would be lost for nothing.
    pub(super) fn redrive(&mut self, redrive: Redrive, out: &mut Output<Hint, Record>) -> Result<Answer, Refusal> {
        let Redrive { delivery: old, by, sheet, recipient } = redrive;
        self.dead.get(&old).ok_or(Refusal::NotDead)?;
        // After 255 redrives there is no further generation.
        let id = old.next_generation().ok_or(Refusal::NotDead)?;
        if self.pending_count() >= self.limits.pending {
            return Err(Refusal::Full);
        }
        let (mut delivery, barred) = Delivery::accepted(id, recipient, self.now);
        set_due(&mut delivery, &sheet, self.now);
        let (barred, sheet) = (&barred, &sheet);
        let case = Case { id, delivery: &delivery, barred, sheet, wished: true, thorough: false, leaving: false };
        let judgement = self.judge(case);
        match judgement.state {
            State::Pending => {}
            State::Expired => return Err(Refusal::TooLate),
            _ => return Err(Refusal::Suppressed),
        }
        self.dead.remove(&old);
        let event = Event { at: self.now, what: What::RedrivenAs { delivery: id } };
        out.records.push(Record::Amend { delivery: old, event });
        delivery.note(self.now, What::RedriveOf { delivery: old, by });
        self.tally.accepted(&sheet.template, self.now);
        let key = self.sheets.key(&id, sheet);
        self.sheets.carry(&key, 1);
        self.enqueue(delivery, judgement, key, sheet, out);
        Ok(Answer::Accepted(vec![Verdict { delivery: id, state: State::Pending }]))
    }
}
