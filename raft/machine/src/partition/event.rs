//! What happened to a delivery, in order: the trace.

use serde::{Deserialize, Serialize};
use tidings_contract::{Charge, DeliveryId, Outcome, Reason, ReceiptMark, Time};

use super::{Happening, LegBarred, RouteRef, State, Waited};

/// One thing that happened to a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, by the clock of the proposer.
    pub at: Time,
    /// What.
    pub what: What,
}

/// The kinds of things that happen to a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// The partition kept it.
    Accepted,
    /// It waits for its time.
    Scheduled {
        /// The first attempt is not before.
        due: Time,
    },
    /// A rule decided against sending.
    Suppressed {
        /// The rule: `<kind>/<policy>@<version>`, `suppression_list` or `content_dedup`.
        rule: String,
        /// What the rule saw.
        detail: String,
    },
    /// An attempt was claimed before it was made (`on_unknown = "stop"`).
    Begun {
        /// Which attempt, from 1.
        attempt: u16,
        /// With which account.
        account: String,
    },
    /// An attempt came back.
    Attempted {
        /// Which attempt, from 1.
        attempt: u16,
        /// With which account.
        account: String,
        /// By which node.
        node: u64,
        /// When it began, by that node's clock.
        began: Time,
        /// What it came back with.
        outcome: Outcome,
        /// What the supplier charged, if it said so.
        #[serde(default)]
        charge: Option<Box<Charge>>,
    },
    /// It will be tried again.
    Retry {
        /// Not before.
        due: Time,
    },
    /// Somebody asked to cancel it.
    CancelRequested {
        /// The API key that asked.
        by: String,
    },
    /// It was made by redriving a dead letter.
    RedriveOf {
        /// That dead letter.
        delivery: DeliveryId,
        /// The API key that asked.
        by: String,
    },
    /// This dead letter was redriven.
    RedrivenAs {
        /// The new delivery.
        delivery: DeliveryId,
    },
    /// It reached its final state.
    Ended {
        /// That state.
        state: State,
        /// Why, where there is a why.
        reason: Option<Reason>,
    },
    /// Events were left out here, because the delivery had too many.
    Omitted {
        /// How many.
        count: u32,
    },
    /// A rule makes it wait.
    Deferred {
        /// The rule: `quiet_hours/<policy>@<version>`.
        rule: String,
        /// It leaves then.
        until: Time,
        /// What the rule saw.
        detail: String,
    },
    /// Words were masked in what the attempt sent.
    Masked {
        /// Which attempt, from 1.
        attempt: u16,
        /// The rule: `words/<policy>@<version>`.
        rule: String,
        /// In how many places.
        places: u32,
    },
    /// An account was chosen for an attempt, where there was something to choose.
    Chosen {
        /// Which attempt, from 1.
        attempt: u16,
        /// The account.
        account: String,
        /// The route it is of.
        route: Option<RouteRef>,
        /// Why this one.
        why: String,
    },
    /// An account was given up; the next attempt is made with another one.
    Switched {
        /// The account.
        from: String,
        /// Why.
        why: String,
    },
    /// A leg was given up; the delivery goes on by the fallback channel.
    FellBack {
        /// The template of the next leg.
        template: String,
        /// Its version.
        version: u32,
        /// Its channel.
        channel: String,
        /// The address there.
        to: String,
        /// Why.
        why: String,
    },
    /// The supplier reported something about it.
    Marked {
        /// What.
        mark: ReceiptMark,
        /// The supplier's words.
        reason: Option<Reason>,
        /// When it happened, by the supplier's clock.
        told_at: Option<Time>,
        /// What the supplier charged, if it said so.
        #[serde(default)]
        charge: Option<Box<Charge>>,
    },
    /// Somebody asked to have it back.
    RecallRequested {
        /// The API key that asked.
        by: String,
    },
    /// The provider was asked to take it back.
    RecallAttempted {
        /// Which time, from 1.
        attempt: u16,
        /// With which account.
        account: String,
        /// By which node.
        node: u64,
        /// What the provider said; `Delivered` means: taken back.
        outcome: Outcome,
    },
    /// It is a callback that tells of another delivery.
    CallbackFor {
        /// That delivery.
        delivery: DeliveryId,
        /// What happened to it.
        happening: Happening,
    },
    /// A limit had no room for an attempt. Told once for an attempt, of the first time.
    Waited {
        /// Which attempt, from 1.
        attempt: u16,
        /// For which limit, and until when.
        waited: Waited,
    },
    /// A rule says no to a further leg: it is left out.
    LegBarred(LegBarred),
    /// Its address turned out to be nobody's and goes on the suppression list.
    AddressSuppressed {
        /// The channel.
        channel: String,
        /// The address.
        address: String,
        /// Why it does not, if it cannot.
        problem: Option<String>,
    },
    /// It was due when another node took its partition over: an attempt before that may have been made without a record.
    OwnerChanged {
        /// When the present owner took over.
        since: Time,
    },
    /// A claimed attempt was certainly not made: its node was not allowed to any more when the call was to begin.
    Withdrawn {
        /// Which attempt, from 1.
        attempt: u16,
    },
    /// The process that filled its content died of it.
    RenderingDied {
        /// For which time.
        deaths: u8,
        /// How.
        how: String,
    },
}
