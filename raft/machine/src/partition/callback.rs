//! Callbacks: who wants to be told what becomes of their deliveries, and the deliveries that tell it.
//!
//! A callback is a delivery of its own, made in the same step as what it tells of, in the same partition: it is retried,
//! dead-lettered and counted like any other, and never causes callbacks itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, Lane, MessageId, MessageType, Reason, ReceiptMark, Time, stable_hash};

use super::judge::Judgement;
use super::{Delivery, Hint, OnUnknown, Partition, Policy, Recipient, Record, RetryPolicy, Rules, Sheet, State, What};
use crate::Output;
use crate::control::Sealed;
use crate::repair::Repaired;

/// The template that callbacks name. No operator can write one of that name.
pub const CALLBACK_TEMPLATE: &str = "tidings/callback";
/// The channel, and so the pool, of callbacks: a slow receiver of them holds up nobody else.
pub const CALLBACK_CHANNEL: &str = "callback";
/// Callbacks are tried for a day, at last once an hour.
const RETRY: RetryPolicy =
    RetryPolicy { max_attempts: 32, first_ms: 5_000, longest_ms: 3_600_000, give_up_after_ms: 86_400_000 };

/// Where callbacks go, and about what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackSpec {
    /// Where to.
    pub url: String,
    /// What they are signed with, sealed.
    pub sealed: Sealed,
    /// About what: one bit for each [`Happening`].
    pub events: u16,
    /// Whether hosts outside the public internet may be called.
    pub allow_private: bool,
}

/// What a sheet says about callbacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callback {
    /// Where they go.
    pub spec: CallbackSpec,
    /// Set where the sheet is a callback's own: what it tells.
    pub about: Option<About>,
}

/// What happened, and to which delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The delivery.
    pub delivery: DeliveryId,
    /// What happened.
    pub happening: Happening,
    /// When.
    pub at: Time,
    /// The recipient.
    pub to: String,
    /// The template.
    pub template: String,
    /// The channel.
    pub channel: String,
    /// The caller's own id of the business case.
    pub biz_id: Option<String>,
    /// The supplier's id of it, once it was taken.
    pub provider_id: Option<String>,
    /// Why, where there is a why.
    pub reason: Option<Reason>,
}

/// What callbacks can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// A provider took it.
    Delivered,
    /// It was not taken and will not be tried again.
    Failed,
    /// It may have been taken.
    Unknown,
    /// A rule decided against sending.
    Suppressed,
    /// Somebody cancelled it.
    Cancelled,
    /// It was taken back.
    Recalled,
    /// Its time ran out.
    Expired,
    /// A receipt says that it arrived.
    Received,
    /// A receipt says that it came back.
    Bounced,
    /// A receipt says that it was opened.
    Read,
    /// A receipt says that a link in it was followed.
    Clicked,
}

impl Happening {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Delivered,
        Self::Failed,
        Self::Unknown,
        Self::Suppressed,
        Self::Cancelled,
        Self::Recalled,
        Self::Expired,
        Self::Received,
        Self::Bounced,
        Self::Read,
        Self::Clicked,
    ];

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Suppressed => "suppressed",
            Self::Cancelled => "cancelled",
            Self::Recalled => "recalled",
            Self::Expired => "expired",
            Self::Received => "received",
            Self::Bounced => "bounced",
            Self::Read => "read",
            Self::Clicked => "clicked",
        }
    }

    /// Its bit in [`CallbackSpec::events`].
    pub const fn bit(self) -> u16 {
        1 << self as u16
    }

    fn of_state(state: State) -> Option<Self> {
        Some(match state {
            State::Pending => return None,
            State::Delivered => Self::Delivered,
            State::Failed => Self::Failed,
            State::Unknown => Self::Unknown,
            State::Suppressed => Self::Suppressed,
            State::Cancelled => Self::Cancelled,
            State::Recalled => Self::Recalled,
            State::Expired => Self::Expired,
        })
    }

    pub(super) const fn of_mark(mark: ReceiptMark) -> Self {
        match mark {
            ReceiptMark::Received => Self::Received,
            ReceiptMark::Bounced => Self::Bounced,
            ReceiptMark::Read => Self::Read,
            ReceiptMark::Clicked => Self::Clicked,
        }
    }
}

/// What is remembered of a delivery beyond its end, so that callbacks can still tell of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Where callbacks go.
    pub spec: CallbackSpec,
    /// The recipient.
    pub to: String,
    /// The template.
    pub template: String,
    /// The channel.
    pub channel: String,
    /// The caller's own id of the business case.
    pub biz_id: Option<String>,
    /// The supplier's id of it.
    pub provider_id: Option<String>,
}

impl Subject {
    /// What to remember of a delivery, if anybody wants to be told of it later on: of one of `happenings`.
    pub fn of(delivery: &Delivery, sheet: &Sheet, happenings: &[Happening]) -> Option<Self> {
        let callback = sheet.callback.as_deref().filter(|callback| callback.about.is_none())?;
        happenings.iter().any(|one| callback.spec.events & one.bit() != 0).then(|| Self {
            spec: callback.spec.clone(),
            to: delivery.to.clone(),
            template: sheet.template.clone(),
            channel: sheet.channel.clone(),
            biz_id: sheet.biz_id.clone(),
            provider_id: delivery.provider_id.clone(),
        })
    }
}

impl Sheet {
    /// Whether it is a callback's own.
    pub fn tells(&self) -> bool {
        self.callback.as_ref().is_some_and(|callback| callback.about.is_some())
    }
}

impl Partition {
    /// Makes the callback that tells of an end, if one is wanted.
    pub(super) fn tell_of_end(&mut self, delivery: &Delivery, sheet: &Sheet, out: &mut Output<Hint, Record>) {
        let Some(happening) = Happening::of_state(delivery.state) else { return };
        if let Some(subject) = Subject::of(delivery, sheet, &[happening]) {
            self.call_back(delivery.id, subject, happening, delivery.reason.clone(), out);
        }
    }

    /// Makes the callback that tells that `happening` happened to `of`, if it is wanted.
    ///
    /// It is pending whether or not the partition is full, because an end makes room for it. But callbacks fill at most half of
    /// what may be pending: beyond it each is a dead letter at once, so that a caller who hears nothing for long does not
    /// keep everybody's messages out.
    pub(super) fn call_back(
        &mut self,
        of: DeliveryId,
        subject: Subject,
        happening: Happening,
        reason: Option<Reason>,
        out: &mut Output<Hint, Record>,
    ) {
        let Subject { spec, to, template, channel, biz_id, provider_id } = subject;
        if spec.events & happening.bit() == 0 {
            return;
        }
        let chance = stable_hash(&[of.bytes(), &[happening as u8]].concat());
        let id = DeliveryId::new(
            MessageId::new(Repaired::id_time(self.repaired, self.now), of.partition(), chance),
            0,
            of.partition(),
        );
        if self.pending.contains_key(&id) {
            return;
        }
        let url = spec.url.clone();
        let about = About { delivery: of, happening, at: self.now, to, template, channel, biz_id, provider_id, reason };
        let sheet = Arc::new(own_sheet(Callback { spec, about: Some(about) }));
        let recipient = Recipient { to: url, ..Recipient::default() };
        let (mut delivery, _) = Delivery::accepted(id, recipient, self.now);
        delivery.note(self.now, What::CallbackFor { delivery: of, happening });
        self.tally.accepted(&sheet.template, self.now);
        if self.outside.callbacks >= self.limits.pending / 2 {
            let reason = Reason::new("callbacks_full", "too many callbacks wait already");
            self.end(delivery, &sheet, State::Failed, Some(reason), out);
            return;
        }
        let key = self.sheets.key(&id, &sheet);
        self.sheets.carry(&key, 1);
        // No rule holds for what callers asked to be told.
        let judgement = Judgement::new(self.now);
        self.enqueue(delivery, judgement, key, &sheet, out);
    }
}

fn own_sheet(callback: Callback) -> Sheet {
    Sheet {
        template: CALLBACK_TEMPLATE.to_owned(),
        version: 0,
        channel: CALLBACK_CHANNEL.to_owned(),
        account: None,
        message_type: MessageType::Notice,
        lane: Lane::Low,
        variables: "{}".to_owned(),
        biz_id: None,
        send_at: None,
        expires_at: None,
        key_id: String::new(),
        policy: Policy { retry: RETRY, on_unknown: OnUnknown::Retry, dedup_window_ms: None },
        tags: Vec::new(),
        rules: Rules::default(),
        way: None,
        legs: Vec::new(),
        failover_on_unknown: false,
        callback: Some(Box::new(callback)),
    }
}
