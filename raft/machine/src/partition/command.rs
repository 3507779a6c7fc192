//! What can be asked of a partition.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{AccountLimit, Charge, DeliveryId, MessageId, Outcome, PartitionId, Time};

use super::{
    Barred, Bounce, Header, LegBarred, LegCommand, Masked, Own, RecallCommand, ReceiptCommand, Sheet,
    SuppressionReason, TokenCommand, Via, Waited,
};

use crate::repair::Repair;

/// What can be asked of a partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Command {
    /// A node that leads the partition makes itself its owner. Answered by `Owned`.
    TakeOver {
        /// The node.
        owner: Owner,
        /// The term in which it leads.
        epoch: u64,
        /// Its limits; they hold from here on.
        limits: Limits,
    },
    /// Claims an idempotency key at the key's home. Answered by `Claimed`.
    Claim(Box<Claim>),
    /// One part of a message. Answered by `Accepted` or `Refused`.
    Accept(Box<Accept>),
    /// The owner claims an attempt before making it (`on_unknown = "stop"`). Answered by `Done` or `Refused`.
    Begin {
        /// The delivery.
        delivery: DeliveryId,
        /// Which attempt: one more than have come back.
        attempt: u16,
        /// The epoch in which the owner took the delivery up.
        epoch: u64,
        /// With which account.
        account: String,
        /// How the account was chosen.
        #[serde(default)]
        via: Option<Box<Via>>,
    },
    /// The owner reports what an attempt came back with. Answered by `Done` (with the new state) or `Refused`.
    Outcome {
        /// The delivery.
        delivery: DeliveryId,
        /// Which attempt: one more than have come back.
        attempt: u16,
        /// The epoch in which the owner took the delivery up.
        epoch: u64,
        /// With which account.
        account: String,
        /// When the attempt began, by the owner's clock.
        began: Time,
        /// What it came back with.
        outcome: Outcome,
        /// Where words were masked in what was sent.
        #[serde(default)]
        masked: Vec<Masked>,
        /// How the account was chosen.
        #[serde(default)]
        via: Option<Box<Via>>,
        /// What the supplier charged, if it said so.
        #[serde(default)]
        charge: Option<Box<Charge>>,
    },
    /// Somebody asks to cancel a delivery. Answered by `Done` (pending: the owner will close it) or `Refused`.
    RequestCancel {
        /// The delivery.
        delivery: DeliveryId,
        /// The API key that asks.
        by: String,
    },
    /// The owner closes a delivery that has no attempt in flight. Answered by `Done` or `Refused`.
    Close {
        /// The delivery.
        delivery: DeliveryId,
        /// The epoch in which the owner looked.
        epoch: u64,
        /// Why.
        closing: Closing,
    },
    /// Makes a new delivery of a dead letter. Answered by `Accepted` or `Refused`.
    Redrive(Box<Redrive>),
    /// Asks for permits of an account at the account's home. Answered by `Leased`.
    Lease(Lease),
    /// Only time passes: windows, keys and answers that ran out are forgotten. Answered by `Done`.
    Tick,
    /// Puts an address on the suppression list; the same again changes nothing. Answered by `Done` or `Refused`.
    Suppress(Box<Suppress>),
    /// Takes an address off the suppression list. Answered by `Done` or `Refused`.
    Unsuppress {
        /// The channel, or `*`.
        channel: String,
        /// The address, normalised.
        address: String,
    },
    /// The owner is about to make an attempt and sees that quiet hours have begun meanwhile: the delivery waits for their
    /// end, or is dropped. Answered by `Done` or `Refused`.
    Defer {
        /// The delivery.
        delivery: DeliveryId,
        /// The epoch in which the owner looked.
        epoch: u64,
    },
    /// Asks for permits of a subject at the subject's home. Answered by `Leased`.
    Borrow(Borrow),
    /// Gives permits back that were not used and never will be. Never asked twice: a second one would give back what
    /// somebody uses. Answered by `Done`.
    GiveBack(GiveBack),
    /// The owner found the breakers of all accounts of a delivery's leg open: it goes on by the next leg, if there is one.
    /// Answered by `Done` or `Refused`.
    FallBack {
        /// The delivery.
        delivery: DeliveryId,
        /// The epoch in which the owner looked.
        epoch: u64,
        /// Which breakers stand in the way.
        why: String,
    },
    /// About the access token of an account, at the account's home. Answered by `Token` or `Refused`.
    Token(TokenCommand),
    /// About receipts of suppliers. Answered by `Receipt`.
    Receipt(ReceiptCommand),
    /// About a delivery that somebody wants back. Answered by `Recall` or `Refused`.
    Recall(RecallCommand),
    /// A piece of a material's bytes, to be kept at its home. Keeping it again changes nothing. Answered by `Done`.
    KeepChunk(Box<Chunk>),
    /// The bytes of a material are not needed any more. Answered by `Done`.
    DropMaterial {
        /// The material.
        material: String,
    },
    /// Permits of a lease were used before they lapsed, all of them by now. Never asked twice: a second one would settle
    /// what somebody else still uses. Answered by `Leased` without permits, with the time at which there are some again.
    Settle(Settle),
    /// The owner is about to make the first attempt of a delivery that has slots of caps for this time: they are looked at
    /// again, because something late may have come between. Answered by `Done` or `Refused`.
    Leave {
        /// The delivery.
        delivery: DeliveryId,
        /// The epoch in which the owner looked.
        epoch: u64,
    },
    /// The owner found no room in a limit for the next attempt, and tells the trace. Answered by `Done` or `Refused`.
    Wait {
        /// The delivery.
        delivery: DeliveryId,
        /// Which attempt: one more than have come back.
        attempt: u16,
        /// The epoch in which the owner took the delivery up.
        epoch: u64,
        /// For which limit, and until when.
        waited: Waited,
    },
    /// About a further leg of a delivery. Answered by `Leg`, `Done` or `Refused`.
    Leg(LegCommand),
    /// The owner claimed an attempt and certainly did not make it, because it was not allowed to any more when the call was to
    /// begin: the claim is taken back. Answered by `Done` or `Refused`.
    Withdraw {
        /// The delivery.
        delivery: DeliveryId,
        /// Which attempt: the one that is claimed.
        attempt: u16,
        /// The epoch in which the owner took the delivery up.
        epoch: u64,
    },
    /// The process that filled the content of a delivery died of it. Answered by `Done` or `Refused`.
    Died {
        /// The delivery.
        delivery: DeliveryId,
        /// The epoch in which the owner took the delivery up.
        epoch: u64,
        /// How.
        how: String,
    },
    /// Sets a time that is far in the future back. Answered by `Done` or `Refused`.
    RepairTime(Repair),
}

/// An address that nothing is to be sent to any more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Suppress {
    /// The channel, or `*` for every channel.
    pub channel: String,
    /// The address, normalised.
    pub address: String,
    /// Why.
    pub reason: SuppressionReason,
    /// Until just before when; `None` for ever.
    pub until: Option<Time>,
    /// The API key that asks, or whose message came back.
    pub by: String,
    /// What came back, where nobody asked.
    #[serde(default)]
    pub bounce: Option<Box<Bounce>>,
}

/// Who owns a partition's deliveries: one process of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The node.
    pub node: u64,
    /// A number drawn when the process started, so that a restarted node is another owner.
    pub boot: u64,
}

/// How much a partition may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Most pending deliveries; a part that would pass it is refused whole.
    pub pending: u64,
    /// Most idempotency keys kept.
    pub idempotency_keys: u64,
    /// Most dead letters that can be redriven; older ones stay in the archive only.
    pub dead_letters: u64,
    /// Most pending deliveries of one API key; 0 for as many as there is room for.
    #[serde(default)]
    pub pending_per_key: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pending: 200_000, idempotency_keys: 1_000_000, dead_letters: 100_000, pending_per_key: 0 }
    }
}

/// A claim of an idempotency key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// The key, within the API key that used it: `<key id>/<idempotency key>`.
    pub key: String,
    /// A hash of the whole request body.
    pub body_hash: u64,
    /// What the message would be, with its id.
    pub header: Header,
    /// Until when the key is kept.
    pub until: Time,
}

/// One part of a message: recipients of one partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Accept {
    /// The message.
    pub message: MessageId,
    /// This partition; it stands in the ids of the deliveries.
    pub partition: PartitionId,
    /// Which of the message's parts for this partition, from 0.
    pub part: u16,
    /// A part that is applied later than this is refused: nobody waits for it any more.
    pub accept_by: Time,
    /// Until when the same part is answered the same again instead of being kept twice; not before `accept_by`.
    pub repeatable_until: Time,
    /// What its deliveries share.
    pub sheet: Arc<Sheet>,
    /// Who it is for; never empty.
    pub recipients: Vec<Recipient>,
    /// The message's header, if this partition is its home and no claim carries it.
    pub header: Option<Box<Header>>,
}

/// One recipient of a part.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Recipient {
    /// The index in the request.
    pub index: u16,
    /// The address, normalised.
    pub to: String,
    /// The recipient's own variables: a JSON object as text.
    pub variables: Option<String>,
    /// What content dedup compares, where the template asks for it.
    pub fingerprint: Option<u64>,
    /// Its IANA time zone, where the caller gave one. The machine only keeps it.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// Which of the sheet's zones that is.
    #[serde(default)]
    pub zone: Option<u8>,
    /// What each of the sheet's caps counts it under; `None` where there is nothing to compare.
    #[serde(default)]
    pub marks: Vec<Option<u64>>,
    /// The lists that say no to it.
    #[serde(default)]
    pub barred: Vec<Barred>,
    /// The addresses for the further legs, normalised, in the order of the sheet's legs; a leg without one is left out.
    #[serde(default)]
    pub fallback: Vec<Option<String>>,
    /// How it is sent to on legs on which it is an account that says so itself.
    #[serde(default)]
    pub own: Vec<Own>,
    /// The further legs that a list says no to; they stand in `fallback` without an address.
    #[serde(default)]
    pub left_out: Vec<LegBarred>,
}

/// Why the owner closes a delivery that has no attempt in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Closing {
    /// Somebody asked to cancel it.
    Cancelled,
    /// Its time has run out.
    Expired,
    /// An attempt was claimed and its end was lost (`on_unknown = "stop"`).
    Lost,
    /// It cannot be sent: the account is gone, the template cannot be rendered.
    Impossible(tidings_contract::Reason),
    /// A rule decided against sending that is asked when an attempt is about to be made: one that needs the content, or the
    /// suppression list, which may hold the address by now.
    Suppressed {
        /// The rule: `words/<policy>@<version>` or `suppression_list`.
        rule: String,
        /// What the rule saw.
        detail: String,
    },
}

/// A redrive of one dead letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Redrive {
    /// The dead letter.
    pub delivery: DeliveryId,
    /// The API key that asks.
    pub by: String,
    /// What the new delivery carries: the old sheet, or an edited one.
    pub sheet: Arc<Sheet>,
    /// The recipient, or an edited one of the same partition; its index is the dead letter's.
    pub recipient: Recipient,
}

/// A request for permits of an account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// The account.
    pub account: String,
    /// Its limit.
    pub limit: AccountLimit,
    /// How many permits are wanted.
    pub want: u32,
    /// The node that will use them.
    pub node: u64,
}

/// A request for permits of a subject that has limits: all of its windows must allow them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Borrow {
    /// What is limited: `account/<name>`, `template/<name>`, `key/<id>`, `recipient/<channel>/<address>`; with `#<rule>`
    /// behind it where a rule counts for itself.
    pub subject: String,
    /// Its windows, at most [`AccountLimit::MOST_WINDOWS`]; further ones are not looked at.
    pub windows: Vec<AccountLimit>,
    /// How many permits are wanted.
    pub want: u32,
    /// The node that will use them.
    pub node: u64,
}

/// Permits that come back unused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GiveBack {
    /// The subject, as it was borrowed from.
    pub subject: String,
    /// When they would have lapsed, as the lease said.
    pub until: Time,
    /// How many.
    pub permits: u32,
}

/// Permits that were used: from now on they count as used now, no longer as used when they would have lapsed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settle {
    /// The subject, as it was borrowed from.
    pub subject: String,
    /// Its windows, as in [`Borrow`].
    pub windows: Vec<AccountLimit>,
    /// When they would have lapsed, as the lease said.
    pub until: Time,
    /// How many.
    pub permits: u32,
}

/// A piece of a material's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The material's id: the SHA-256 of all its bytes in hex.
    pub material: String,
    /// Which piece, from 0.
    pub index: u32,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}
