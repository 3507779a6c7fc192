//! Recalls: deliveries that a provider took and that somebody wants back.
//!
//! An ended delivery lives in the archive, which a machine cannot read. So who asks brings what the archive says of it, and
//! the partition keeps the wish until its owner has asked the provider. A wish that ended is remembered for an hour, much
//! longer than what the archive said can be late, so no delivery is counted as recalled twice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, Outcome, Reason, Time};

use super::callback::Happening;
use super::expiring::Expiring;
use super::{Answer, Event, Hint, Partition, Record, Refusal, State, Subject, What};
use crate::Output;

/// Most wishes that are not answered yet.
const OPEN_KEPT: usize = 10_000;
/// Most wishes that ended and are remembered.
const DONE_KEPT: usize = 50_000;
/// How long a wish that ended is remembered, in milliseconds.
const DONE_MS: u64 = 3_600_000;
/// Most times that a provider is asked.
const ATTEMPTS: u16 = 5;
/// The wait before it is asked again, in milliseconds; each later wait is twice the one before.
const WAIT_MS: u64 = 1_000;
/// The longest wait that a provider can ask for, in milliseconds.
const LONGEST_WAIT_MS: u64 = 60_000;

/// What can be asked of a partition about recalls.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RecallCommand {
    /// Somebody wants a delivered delivery back. Answered by `Recall`.
    Want(Box<Want>),
    /// The owner reports what the provider said. Answered by `Recall` or `Refused`.
    Outcome {
        /// The delivery.
        delivery: DeliveryId,
        /// The epoch in which the owner asked.
        epoch: u64,
        /// Which time it asked, from 1.
        attempt: u16,
        /// `Delivered` means: taken back.
        outcome: Outcome,
    },
}

/// A wish to have a delivery back, with what the archive says of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Want {
    /// The delivery; it ended as delivered.
    pub delivery: DeliveryId,
    /// The API key that asks.
    pub by: String,
    /// A wish that is applied later than this is refused: what the archive said may have become too old.
    pub accept_by: Time,
    /// How it was sent.
    pub sent: SentAs,
}

/// How a delivery was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentAs {
    /// With which account.
    pub account: String,
    /// To whom.
    pub to: String,
    /// The supplier's id of it.
    pub provider_id: String,
    /// The template.
    pub template: String,
    /// When it was accepted.
    pub accepted_at: Time,
    /// What a callback needs to know, if one is wanted.
    pub subject: Option<Subject>,
}

/// How a wish stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecallStanding {
    /// The provider has not answered yet.
    Wanted,
    /// It was taken back.
    Recalled,
    /// It certainly was not.
    NotRecallable(Reason),
    /// Nobody can tell.
    Unknown(Reason),
}

/// A wish that is not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recall {
    /// The API key that asked.
    pub by: String,
    /// How it was sent.
    pub sent: SentAs,
    /// How often the provider was asked.
    pub attempts: u16,
    /// It is not to be asked before.
    pub due: Time,
}

/// The recalls of a partition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Recalls {
    open: BTreeMap<DeliveryId, Recall>,
    done: Expiring<DeliveryId, RecallStanding>,
}

impl Recalls {
    /// How many wishes are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Forgets at most `most` wishes that ended.
    pub(super) fn prune(&mut self, now: Time, most: usize) {
        self.done.prune(now, most);
    }

    /// When the next one is to be forgotten.
    pub(super) fn next(&self) -> Option<Time> {
        self.done.next()
    }
}

impl Partition {
    /// How the wish to have a delivery back stands, if there is or lately was one.
    pub fn recall_standing(&self, id: &DeliveryId) -> Option<RecallStanding> {
        let recalls = &self.outside.recalls;
        let open = recalls.open.get(id).map(|_| RecallStanding::Wanted);
        open.or_else(|| recalls.done.get(id, self.now).cloned())
    }

    /// The wishes that are not answered yet, in the order of their deliveries.
    pub fn recalls(&self) -> impl Iterator<Item = (&DeliveryId, &Recall)> {
        self.outside.recalls.open.iter()
    }

    pub(super) fn recall(&mut self, command: RecallCommand, out: &mut Output<Hint, Record>) -> Result<Answer, Refusal> {
        match command {
            RecallCommand::Want(want) => self.want_back(*want, out),
            RecallCommand::Outcome { delivery, epoch, attempt, outcome } => {
                let node = self.fence(epoch)?.node;
                self.recall_outcome(delivery, attempt, node, outcome, out)
            }
        }
    }

    fn want_back(&mut self, want: Want, out: &mut Output<Hint, Record>) -> Result<Answer, Refusal> {
        let Want { delivery: id, by, accept_by, sent } = want;
        match self.recall_standing(&id) {
            // What nobody could tell may be asked for once more.
            None | Some(RecallStanding::Unknown(_)) => {}
            Some(standing) => return Ok(Answer::Recall(standing)),
        }
        if self.now > accept_by {
            return Err(Refusal::TooLate);
        }
        if self.pending.contains_key(&id) {
            return Err(Refusal::Groundless);
        }
        if self.outside.recalls.open.len() >= OPEN_KEPT || self.outside.recalls.done.len() >= DONE_KEPT {
            return Err(Refusal::Full);
        }
        self.outside.recalls.done.remove(&id);
        self.amend(id, What::RecallRequested { by: by.clone() }, out);
        self.outside.recalls.open.insert(id, Recall { by, sent, attempts: 0, due: self.now });
        Ok(Answer::Recall(RecallStanding::Wanted))
    }

    fn recall_outcome(
        &mut self,
        id: DeliveryId,
        attempt: u16,
        node: u64,
        outcome: Outcome,
        out: &mut Output<Hint, Record>,
    ) -> Result<Answer, Refusal> {
        let now = self.now;
        let recall = self.outside.recalls.open.get_mut(&id).ok_or(Refusal::NotPending)?;
        if attempt != recall.attempts.saturating_add(1) {
            return Err(Refusal::WrongAttempt);
        }
        recall.attempts = attempt;
        let account = recall.sent.account.clone();
        let end = match &outcome {
            Outcome::Delivered { .. } => RecallStanding::Recalled,
            Outcome::Never { reason, .. } => RecallStanding::NotRecallable(reason.clone()),
            Outcome::Later { after_ms, .. } if attempt < ATTEMPTS => {
                let wish = after_ms.unwrap_or(0).min(LONGEST_WAIT_MS);
                recall.due = now.after_ms(wish.max(WAIT_MS << attempt));
                RecallStanding::Wanted
            }
            Outcome::Later { reason, .. } => RecallStanding::NotRecallable(reason.clone()),
            // A provider that is asked twice says that it is taken back already, or that it is too late.
            _ if attempt < ATTEMPTS => {
                recall.due = now.after_ms(WAIT_MS << attempt);
                RecallStanding::Wanted
            }
            other => RecallStanding::Unknown(other.reason().cloned().unwrap_or_else(|| Reason::new("unknown", ""))),
        };
        self.amend(id, What::RecallAttempted { attempt, account, node, outcome }, out);
        if end != RecallStanding::Wanted {
            self.end_recall(id, &end, out);
        }
        Ok(Answer::Recall(end))
    }

    fn end_recall(&mut self, id: DeliveryId, end: &RecallStanding, out: &mut Output<Hint, Record>) {
        let Some(recall) = self.outside.recalls.open.remove(&id) else { return };
        self.outside.recalls.done.insert(id, end.clone(), self.now.after_ms(DONE_MS));
        if *end != RecallStanding::Recalled {
            return;
        }
        let SentAs { template, accepted_at, subject, .. } = recall.sent;
        self.tally.recalled(&template, accepted_at);
        self.amend(id, What::Ended { state: State::Recalled, reason: None }, out);
        if let Some(subject) = subject {
            self.call_back(id, subject, Happening::Recalled, None, out);
        }
    }

    fn amend(&self, delivery: DeliveryId, what: What, out: &mut Output<Hint, Record>) {
        out.records.push(Record::Amend { delivery, event: Event { at: self.now, what } });
    }
}
