//! What one layer says about delivering: only what it sets, so that the layers below show through.

use serde::{Deserialize, Serialize};

use super::{BreakerPolicy, RetryPolicy};

/// What one layer says about delivering. What is `None` is left to the layer below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wishes {
    /// When to try again.
    pub retry: RetryWishes,
    /// When breakers open.
    pub breaker: BreakerWishes,
    /// Longest time of one call, in milliseconds. A provider's own deadline holds where it is shorter.
    pub timeout_ms: Option<u64>,
    /// After so many attempts that did not come through, an account is given up if there is anything else; 0 for never.
    pub attempts_per_account: Option<u16>,
    /// How long a message is worth sending after it was accepted or was due, in milliseconds.
    pub expires_after_ms: Option<u64>,
    /// Whether an address that the supplier calls nobody's goes on the suppression list.
    pub suppress_bounces: Option<bool>,
}

/// What one layer says about trying again; see [`RetryPolicy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryWishes {
    /// Most attempts, the first included.
    pub max_attempts: Option<u16>,
    /// Wait before the second attempt, in milliseconds; each later wait is twice the one before.
    pub first_ms: Option<u64>,
    /// Longest wait, in milliseconds.
    pub longest_ms: Option<u64>,
    /// No attempt later than so many milliseconds after the first was due.
    pub give_up_after_ms: Option<u64>,
}

/// What one layer says about breakers; see [`BreakerPolicy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerWishes {
    /// Length of the window, in milliseconds.
    pub window_ms: Option<u64>,
    /// Fewest calls in a window.
    pub min_calls: Option<u32>,
    /// Share of failures, in percent; 0 for never.
    pub failure_percent: Option<u8>,
    /// Failures in a row; 0 for never.
    pub consecutive: Option<u32>,
    /// How long it stays open the first time, in milliseconds.
    pub open_ms: Option<u64>,
    /// How long it stays open at most, in milliseconds.
    pub longest_open_ms: Option<u64>,
}

impl RetryWishes {
    /// These over what holds below.
    #[must_use]
    pub fn over(self, below: RetryPolicy) -> RetryPolicy {
        RetryPolicy {
            max_attempts: self.max_attempts.unwrap_or(below.max_attempts),
            first_ms: self.first_ms.unwrap_or(below.first_ms),
            longest_ms: self.longest_ms.unwrap_or(below.longest_ms),
            give_up_after_ms: self.give_up_after_ms.unwrap_or(below.give_up_after_ms),
        }
    }
}

impl BreakerWishes {
    /// These over what holds below.
    #[must_use]
    pub fn over(self, below: BreakerPolicy) -> BreakerPolicy {
        BreakerPolicy {
            window_ms: self.window_ms.unwrap_or(below.window_ms),
            min_calls: self.min_calls.unwrap_or(below.min_calls),
            failure_percent: self.failure_percent.unwrap_or(below.failure_percent),
            consecutive: self.consecutive.unwrap_or(below.consecutive),
            open_ms: self.open_ms.unwrap_or(below.open_ms),
            longest_open_ms: self.longest_open_ms.unwrap_or(below.longest_open_ms),
        }
    }
}
