//! How addresses come onto the suppression list and off it.

use super::suppressions::SUPPRESSIONS_KEPT;
use super::{Answer, Partition, Refusal, State, Suppress, Suppression};

impl Partition {
    /// The same entry again changes nothing, so the first time and the first key stand. What came back changes no entry that
    /// stays for good, whatever its reason.
    pub(super) fn suppress(&mut self, wish: Suppress) -> Result<Answer, Refusal> {
        let Suppress { channel, address, reason, until, by, bounce } = wish;
        let key = (address, channel);
        if until.is_some_and(|until| until <= self.now) {
            return Err(Refusal::TooLate);
        }
        match self.suppressions.get(&key, self.now) {
            Some(known) if known.reason == reason && known.until == until => return Ok(Answer::Done(State::Pending)),
            Some(known) if bounce.is_some() && known.until.is_none() => return Ok(Answer::Done(State::Pending)),
            None if self.suppressions.len() >= SUPPRESSIONS_KEPT => return Err(Refusal::Full),
            _ => {}
        }
        self.suppressions.put(key, Suppression { reason, until, at: self.now, by, bounce });
        Ok(Answer::Done(State::Pending))
    }

    pub(super) fn unsuppress(&mut self, channel: String, address: String) -> Result<Answer, Refusal> {
        let key = (address, channel);
        self.suppressions.get(&key, self.now).ok_or(Refusal::NotSuppressed)?;
        self.suppressions.remove(&key);
        Ok(Answer::Done(State::Pending))
    }
}
