//! What a partition answers, and what it hints at.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, MessageId, Time};

use super::{
    BreakerPolicy, Delivery, Header, LegWord, Passage, RecallStanding, ReceiptAnswer, Sheet, State, TokenAnswer,
};

/// What a partition answers to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Answer {
    /// The node owns the partition in this epoch.
    Owned,
    /// What became of a claim.
    Claimed(Claimed),
    /// The part is kept: one verdict per recipient, in the order of the part.
    Accepted(Vec<Verdict>),
    /// Done; the delivery now stands in this state (`Pending` for commands without a delivery).
    Done(State),
    /// How many permits were granted.
    Leased {
        /// The permits, to be used before `until`; what is not used lapses.
        permits: u32,
        /// When they lapse, by the proposer's clock.
        until: Time,
        /// When it is worth asking again, if fewer were granted than wanted.
        again: Option<Time>,
    },
    /// Nothing was changed.
    Refused(Refusal),
    /// About the access token of an account.
    Token(TokenAnswer),
    /// About receipts.
    Receipt(ReceiptAnswer),
    /// How the wish to have a delivery back stands.
    Recall(RecallStanding),
    /// What the home of a further leg's address says.
    Leg(LegWord),
}

/// What became of a claim of an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Claimed {
    /// The key is this message's.
    Fresh,
    /// The key was claimed before with the same body: this is the message. Repeat its parts; what is missing is completed.
    Again(Box<Header>),
    /// The key was claimed before with another body.
    OtherBody(MessageId),
}

/// What became of one recipient of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Where it stood when the part was first applied.
    pub state: State,
}

/// Why a command changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// The partition holds as much as it may. Come back later.
    Full,
    /// The part came after its `accept_by`.
    TooLate,
    /// The command's epoch is not of the present owner's tenure.
    NotOwner,
    /// The attempt is not the next one.
    WrongAttempt,
    /// The delivery is not pending: it has ended, or never was here.
    NotPending,
    /// No such dead letter: it was redriven already, fell out of the dead letters, or never was one.
    NotDead,
    /// The closing does not hold: nobody asked to cancel, the time has not run out, nothing was claimed.
    Groundless,
    /// There is no such entry on the suppression list.
    NotSuppressed,
    /// A rule says no to this redrive; the dead letter stays.
    Suppressed,
    /// The API key has as many pending deliveries here as it may. Come back later.
    KeyFull,
    /// The command names an older lease, token or revision of an account than the present one.
    Outdated,
}

/// What the leader's actors might want to do now. Losing one costs delay, never a message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Hint {
    /// A delivery is pending and wants an attempt at its `due` time (maybe at once).
    Due {
        /// The delivery as it stands.
        delivery: Arc<Delivery>,
        /// Its sheet.
        sheet: Arc<Sheet>,
    },
    /// Somebody asked to cancel a pending delivery.
    CancelRequested(DeliveryId),
    /// A delivery reached a final state.
    Ended {
        /// The delivery.
        delivery: DeliveryId,
        /// The state.
        state: State,
    },
    /// Too many calls of an account failed: its breaker should open.
    Failing {
        /// The account.
        account: String,
        /// The epoch of its breaker in which the calls were chosen.
        epoch: u64,
        /// Calls in the window.
        calls: u32,
        /// How many of them failed.
        failures: u32,
        /// How long to open it.
        policy: BreakerPolicy,
    },
    /// The probe of a half-open breaker came back.
    Probed {
        /// The account.
        account: String,
        /// The epoch of its breaker in which the probe was granted.
        epoch: u64,
        /// Whether the account can be used again.
        good: bool,
        /// How long to open it again, if it cannot.
        policy: BreakerPolicy,
    },
    /// A rule of a route asks to tell somebody about an error code.
    Alert {
        /// The account.
        account: String,
        /// The code.
        code: String,
        /// The route.
        route: String,
    },
    /// A delivery left a further leg: the home of its address should know.
    LegLeft {
        /// The delivery on that leg.
        passage: Box<Passage>,
        /// Whether it was taken there, or may have been.
        taken: bool,
    },
}
