//! One delivery: a message on its way to one recipient.

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, Reason, Time};

use super::Event;

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
}
