//! The time of control is set back from the future, and the audit log says so.

use tidings_contract::Time;

use super::apply::Change;
use super::{Answer, Control};
use crate::repair::{Repair, Repaired};

impl Control {
    /// Sets the time back where it is in the future. The repair is noted in any case: somebody asked for it.
    ///
    /// Breakers that opened after it are open for no longer than they would be if they had opened at the repair.
    pub(super) fn repair_time(&mut self, repair: Repair, latest: Time) -> Change {
        let done = repair.applied(self.now);
        let (from, to) = (latest.max(self.now), done.map_or(repair.to, |done| done.to));
        if to < from {
            self.repaired = Some(Repaired::and(self.repaired, Repaired { from, to }));
        }
        if done.is_some() {
            for breaker in self.breakers.accounts.values_mut() {
                breaker.until = breaker.until.map(|until| until.min(to.after_ms(breaker.longest_open_ms)));
                breaker.probe = breaker.probe.filter(|probe| probe.until <= self.now);
                breaker.since = breaker.since.min(to);
            }
            self.now = to;
        }
        Change::Made(Answer::Done)
    }

    /// The time that the id of a message carries that is accepted at `now`: it never goes back, also when time did.
    pub fn id_time(&self, now: Time) -> Time {
        Repaired::id_time(self.repaired, now)
    }
}
