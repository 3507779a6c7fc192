//! One delivery: a message on its way to one recipient.

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, Reason, Time, planted};

use super::{Course, Event, Own, What};

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// On its way: waiting for its time, for an attempt or for the next one.
    Pending,
    /// A provider took it.
    Delivered,
    /// It was certainly not taken, and will not be tried again. A dead letter.
    Failed,
    /// It may have been taken; nobody can tell, and it will not be tried again. A dead letter of its own kind.
    Unknown,
    /// A rule decided against sending.
    Suppressed,
    /// Somebody cancelled it before it was taken.
    Cancelled,
    /// It was taken and then taken back.
    Recalled,
    /// Its time ran out before it was taken.
    Expired,
}

impl State {
    /// Every state, in the order of the API's documentation.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Delivered,
        Self::Failed,
        Self::Unknown,
        Self::Suppressed,
        Self::Cancelled,
        Self::Recalled,
        Self::Expired,
    ];

    /// Whether nothing further can happen to it by itself.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending)
    }

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Suppressed => "suppressed",
            Self::Cancelled => "cancelled",
            Self::Recalled => "recalled",
            Self::Expired => "expired",
        }
    }
}

/// One delivery. While it is pending it lives in the machine; once it has ended, in the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its id; carries the message, the recipient's index, the partition and the generation.
    pub id: DeliveryId,
    /// The recipient, normalised.
    pub to: String,
    /// The variables given for this recipient: a JSON object as text. They win over the sheet's.
    pub variables: Option<String>,
    /// What content dedup compares, where the template asks for it.
    pub fingerprint: Option<u64>,
    /// Where it stands.
    pub state: State,
    /// The next attempt is not before.
    pub due: Time,
    /// When it was due first: retries give up counting from here.
    pub first_due: Time,
    /// Attempts that came back.
    pub attempts: u16,
    /// Attempts of which nobody can tell whether they were taken.
    pub unknown_attempts: u16,
    /// The attempt that was claimed and has not come back (`on_unknown = "stop"`).
    pub begun: Option<u16>,
    /// Somebody asked to cancel it; its owner closes it as soon as no attempt is in flight.
    pub cancel_requested: bool,
    /// The provider's id of it, once it was taken.
    pub provider_id: Option<String>,
    /// Why it ended, where there is a why.
    pub reason: Option<Reason>,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// Everything that happened to it, in order.
    pub events: Vec<Event>,
    /// The recipient's IANA time zone, where the caller gave one.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// Which of the sheet's zones that is.
    #[serde(default)]
    pub zone: Option<u8>,
    /// What each of the sheet's caps counts it under.
    #[serde(default)]
    pub marks: Vec<Option<u64>>,
    /// How far it has come, if it left its first account or may.
    #[serde(default)]
    pub course: Option<Box<Course>>,
    /// How it is made where the recipient is the account, and that says so itself.
    #[serde(default)]
    pub own: Vec<Own>,
    /// It waits for its time with slots of caps taken for then; what has left by then is looked at before its first attempt
    /// ([`Command::Leave`](super::Command::Leave)).
    #[serde(default)]
    pub reserved: bool,
    /// An owner before the present one may have attempted it without a record (`OwnerChanged` in its events).
    #[serde(default)]
    pub doubtful: bool,
    /// How often the process died that filled its content.
    #[serde(default)]
    pub deaths: u8,
}

impl Delivery {
    /// Most events that are kept.
    pub const EVENTS_KEPT: usize = 64;
    /// How many of them are the first ones; the others are the newest, with one `Omitted` between.
    pub const FIRST_EVENTS_KEPT: usize = 8;

    /// Appends an event. Beyond [`Self::EVENTS_KEPT`] the oldest after the first few make room and are counted.
    pub fn note(&mut self, at: Time, what: What) {
        if matches!(what, What::Attempted { attempt: 2, .. }) && planted("attempt_not_told") {
            return;
        }
        if self.events.len() >= Self::EVENTS_KEPT {
            self.omit_one();
        }
        self.events.push(Event { at, what });
    }

    fn omit_one(&mut self) {
        let gap = Self::FIRST_EVENTS_KEPT;
        if let What::Omitted { count } = self.events[gap].what {
            let newest = self.events.remove(gap + 1);
            self.events[gap] = Event { at: newest.at, what: What::Omitted { count: count.saturating_add(1) } };
        } else {
            let newest = self.events.remove(gap + 1);
            self.events[gap] = Event { at: newest.at, what: What::Omitted { count: 2 } };
        }
    }

    /// When the partition accepted it.
    pub fn accepted_at(&self) -> Time {
        self.events.first().map_or_else(|| self.id.message().time(), |first| first.at)
    }

    /// The account of the last attempt that was made or claimed, if there was one.
    pub fn last_account(&self) -> Option<&str> {
        self.events.iter().rev().find_map(|event| match &event.what {
            What::Attempted { account, .. } | What::Begun { account, .. } => Some(account.as_str()),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use tidings_contract::{MessageId, PartitionId};

    use super::*;

    fn fresh() -> Delivery {
        Delivery {
            id: DeliveryId::new(MessageId::new(Time(1), PartitionId(0), 1), 0, PartitionId(0)),
            to: "+8613800138000".to_owned(),
            variables: None,
            fingerprint: None,
            state: State::Pending,
            due: Time(1),
            first_due: Time(1),
            attempts: 0,
            unknown_attempts: 0,
            begun: None,
            cancel_requested: false,
            provider_id: None,
            reason: None,
            ended_at: None,
            events: Vec::new(),
            time_zone: None,
            zone: None,
            marks: Vec::new(),
            course: None,
            own: Vec::new(),
            reserved: false,
            doubtful: false,
            deaths: 0,
        }
    }

    #[test]
    fn the_first_and_the_newest_events_are_kept_and_the_gap_is_counted() {
        let mut delivery = fresh();
        (0..200).for_each(|n| delivery.note(Time(n), What::Retry { due: Time(n) }));
        assert_eq!(delivery.events.len(), Delivery::EVENTS_KEPT);
        let times: Vec<u64> = delivery.events.iter().map(|event| event.at.0).collect();
        assert_eq!(times[..8], [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(delivery.events[8].what, What::Omitted { count: 137 });
        assert_eq!((times[8], times[9], times[63]), (144, 145, 199));
        assert_eq!(delivery.accepted_at(), Time(0));
    }
}
