//! What became of the recipients of a message, part by part, and what the whole is answered.

use tidings_contract::MessageId;
use tidings_machine::partition::{Recipient, Verdict};

use super::{Placed, Taken};
use crate::problem::{Code, Problem, Rejected};

/// What became of the recipients.
#[derive(Debug)]
pub(super) struct Tally {
    deliveries: Vec<Placed>,
    rejected: Vec<Rejected>,
    /// The gravest thing that befell a part.
    gravest: Option<Problem>,
}

impl Tally {
    /// Begins with those who were rejected before anything was proposed.
    pub(super) fn new(rejected: Vec<Rejected>) -> Self {
        Self { deliveries: Vec::new(), rejected, gravest: None }
    }

    /// Notes a part that is kept.
    ///
    /// The verdicts are those of the part when it was applied first. In a repeat the recipients may differ by those who
    /// could not be taken then, or no longer can now, so the two are matched by index.
    pub(super) fn keep(&mut self, recipients: Vec<Recipient>, verdicts: Vec<Verdict>) {
        let mut given = recipients.into_iter().peekable();
        for Verdict { delivery, state } in verdicts {
            let index = delivery.index();
            while let Some(latecomer) = given.next_if(|recipient| recipient.index < index) {
                self.refuse(latecomer);
            }
            let to = match given.next_if(|recipient| recipient.index == index) {
                Some(recipient) => recipient.to,
                None => self.pardon(index),
            };
            self.deliveries.push(Placed { id: delivery, to, state });
        }
        for latecomer in given {
            self.refuse(latecomer);
        }
    }

    /// Somebody who could be taken now, but not when the part was applied.
    fn refuse(&mut self, latecomer: Recipient) {
        let detail = "there was no such account when the message was taken first";
        self.rejected.push(Rejected::new(latecomer.index, &latecomer.to, "unknown_account", detail));
    }

    /// Somebody who was taken when the part was applied, but would not be now.
    fn pardon(&mut self, index: u16) -> String {
        let at = self.rejected.iter().position(|rejected| rejected.index == index);
        at.map(|at| self.rejected.swap_remove(at).to).unwrap_or_default()
    }

    /// Notes a part that is not kept, or of which nobody can tell.
    pub(super) fn lose(&mut self, recipients: Vec<Recipient>, problem: Problem) {
        let code = match problem.code() {
            Code::Timeout => "unknown",
            Code::Full | Code::KeyFull | Code::DiskFull | Code::TooLarge => problem.code().name(),
            _ => "no_leader",
        };
        let retryable = problem.code() != Code::TooLarge;
        self.rejected.extend(recipients.into_iter().map(|recipient| {
            let rejected = Rejected::new(recipient.index, &recipient.to, code, problem.detail());
            if retryable { rejected.retryable() } else { rejected }
        }));
        // Doubt outweighs everything: the caller must not take it for a refusal.
        let graver = self.gravest.as_ref().is_none_or(|known| known.code() != Code::Timeout && code == "unknown");
        if graver {
            self.gravest = Some(problem);
        }
    }

    /// The answer: the message if anything is kept, else the problem.
    pub(super) fn finish(mut self, message: MessageId) -> Result<Taken, Problem> {
        self.deliveries.sort_by_key(|placed| placed.id.index());
        self.rejected.sort_by_key(|rejected| rejected.index);
        metrics::counter!("tidings_recipients_accepted_total").increment(self.deliveries.len() as u64);
        metrics::counter!("tidings_recipients_rejected_total").increment(self.rejected.len() as u64);
        match self.gravest {
            Some(problem) if self.deliveries.is_empty() => Err(problem.with_rejected(self.rejected)),
            _ => Ok(Taken { message, deliveries: self.deliveries, rejected: self.rejected, replayed: false }),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_contract::{DeliveryId, PartitionId, Time};
    use tidings_machine::partition::State;

    use super::*;

    fn message() -> MessageId {
        MessageId::new(Time(1), PartitionId(0), 1)
    }

    fn recipient(index: u16) -> Recipient {
        Recipient { index, to: format!("to-{index}"), ..Recipient::default() }
    }

    fn verdict(index: u16) -> Verdict {
        Verdict { delivery: DeliveryId::new(message(), index, PartitionId(0)), state: State::Pending }
    }

    fn indexes(taken: &Taken) -> (Vec<u16>, Vec<(u16, &str)>) {
        let deliveries = taken.deliveries.iter().map(|placed| placed.id.index()).collect();
        (deliveries, taken.rejected.iter().map(|rejected| (rejected.index, rejected.code)).collect())
    }

    #[test]
    fn a_repeat_answers_for_those_who_were_taken_the_first_time() {
        let gone = Rejected::new(1, "to-1", "unknown_account", "");
        let mut tally = Tally::new(vec![gone]);
        // 0 came too late, 1 was taken then and is gone now, 4 came too late.
        tally.keep([0, 2, 3, 4].map(recipient).to_vec(), [1, 2, 3].map(verdict).to_vec());
        let taken = tally.finish(message()).expect("something is kept");
        assert_eq!(indexes(&taken), (vec![1, 2, 3], vec![(0, "unknown_account"), (4, "unknown_account")]));
        assert_eq!(taken.deliveries[0].to, "to-1");
    }

    #[test]
    fn one_lost_part_leaves_the_others_kept_and_all_lost_is_a_problem() {
        let mut tally = Tally::new(Vec::new());
        tally.keep(vec![recipient(0)], vec![verdict(0)]);
        tally.lose(vec![recipient(1)], Problem::new(Code::NoLeader, "nobody leads"));
        let taken = tally.finish(message()).expect("something is kept");
        assert_eq!(indexes(&taken), (vec![0], vec![(1, "no_leader")]));

        let mut tally = Tally::new(Vec::new());
        for (index, code) in [(0, Code::Full), (1, Code::Timeout), (2, Code::NoLeader)] {
            tally.lose(vec![recipient(index)], Problem::new(code, "lost"));
        }
        assert_eq!(tally.finish(message()).expect_err("nothing is known to be kept").code(), Code::Timeout);
    }
}
