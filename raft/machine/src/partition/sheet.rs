//! What all deliveries of one message share, stored once.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{Lane, MessageType, Time};

use super::{Callback, Leg, Rules, Way};

/// What all deliveries of one message (of one generation) share. Fixed when the message is accepted: a later change of
/// the template or of a default does not reach messages that were already accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sheet {
    /// The template's name.
    pub template: String,
    /// Its version.
    pub version: u32,
    /// The channel of that version.
    pub channel: String,
    /// The account to send with. `None` where the recipient is the account (robots).
    pub account: Option<String>,
    /// What the message is for.
    pub message_type: MessageType,
    /// The lane it waits in.
    pub lane: Lane,
    /// The variables given for all recipients: a JSON object as text.
    pub variables: String,
    /// The caller's own id of the business case.
    pub biz_id: Option<String>,
    /// Not before.
    pub send_at: Option<Time>,
    /// Not after.
    pub expires_at: Option<Time>,
    /// The API key that submitted it.
    pub key_id: String,
    /// How to deliver it.
    pub policy: Policy,
    /// The caller's tags, by which policies select.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The rules it was accepted under.
    #[serde(default)]
    pub rules: Rules,
    /// The accounts of the first leg; `None` in sheets of older programs.
    #[serde(default)]
    pub way: Option<Arc<Way>>,
    /// The further legs, in the order in which they are taken.
    #[serde(default)]
    pub legs: Vec<Arc<Leg>>,
    /// Whether another account or leg may be tried after an attempt that may have been taken.
    #[serde(default)]
    pub failover_on_unknown: bool,
    /// Who is told what becomes of its deliveries, or, for a callback, what it tells.
    #[serde(default)]
    pub callback: Option<Box<Callback>>,
}

impl Sheet {
    /// Whether it is worth nothing any more.
    #[must_use]
    pub fn has_expired(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|expires| expires <= now)
    }

    /// `at`, or when it expires if that is sooner: nothing waits for longer.
    #[must_use]
    pub fn within_life(&self, at: Time) -> Time {
        self.expires_at.map_or(at, |expires| at.min(expires))
    }

    /// The sheet as the archive keeps it: when which zone was quiet matters no more, and may be long.
    pub(super) fn ended(self: &Arc<Self>) -> Arc<Self> {
        let hours = || self.rules.legs.iter().filter_map(|leg| leg.hours.as_ref());
        if self.rules.zones.is_empty() && hours().all(|hours| hours.zones.is_empty()) {
            return Arc::clone(self);
        }
        let mut ended = Self::clone(self);
        ended.rules.zones.clear();
        ended.rules.legs.iter_mut().filter_map(|leg| leg.hours.as_mut()).for_each(|hours| hours.zones.clear());
        Arc::new(ended)
    }
}

/// How a delivery is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// When to try again.
    pub retry: RetryPolicy,
    /// What to do when nobody can tell whether an attempt was taken.
    pub on_unknown: OnUnknown,
    /// A recipient gets the same content once per so many milliseconds; `None` is as often as it is sent.
    pub dedup_window_ms: Option<u64>,
}

/// What to do when nobody can tell whether an attempt was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// Try again: at least once.
    #[default]
    Retry,
    /// Never try again: at most once. Each attempt is claimed in the log before it is made.
    Stop,
}

/// When to try again: exponential with jitter, capped in count and in total time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Most attempts, the first included; at least 1.
    pub max_attempts: u16,
    /// Wait before the second attempt, in milliseconds; each later wait is twice the one before.
    pub first_ms: u64,
    /// Longest wait, in milliseconds.
    pub longest_ms: u64,
    /// No attempt later than so many milliseconds after the delivery was due first.
    pub give_up_after_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 12, first_ms: 1_000, longest_ms: 600_000, give_up_after_ms: 6 * 3_600_000 }
    }
}
