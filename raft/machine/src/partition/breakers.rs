//! How the calls of accounts went lately, as this partition saw it: when too many failed, the breaker should open.
//!
//! The breaker itself is control's, so that the whole cluster shares it. What is counted here belongs to one epoch of it: a
//! breaker that opened or closed meanwhile begins anew, and calls that began before count no more.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{Blame, Outcome, Time};

use super::BreakerPolicy;
use super::expiring::Expiring;

/// Pieces of a window: a window is exact to one of them.
const PIECES: u64 = 20;

/// What was counted of one account.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Window {
    epoch: u64,
    /// Failures since the last call that did not fail.
    in_a_row: u32,
    pieces: VecDeque<Piece>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Piece {
    /// Its number: the time divided by the length of a piece.
    number: u64,
    calls: u32,
    failures: u32,
}

/// What was counted, of all accounts called lately.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Breakers {
    accounts: Expiring<Arc<str>, Window>,
}

/// How calls went when too many had failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crossed {
    pub(super) calls: u32,
    pub(super) failures: u32,
}

/// Whether an outcome speaks against its account. What is wrong with a recipient or a content does not.
pub(super) fn is_failure(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Delivered { .. } => false,
        Outcome::Never { blame, .. } => *blame == Blame::Account,
        _ => true,
    }
}

impl Breakers {
    /// Counts a call that was chosen in `epoch` of its account's breaker. Gives how calls went, if it failed and that was
    /// one too many.
    pub(super) fn count(
        &mut self,
        account: &str,
        epoch: u64,
        failed: bool,
        policy: BreakerPolicy,
        now: Time,
    ) -> Option<Crossed> {
        let held = self.accounts.get(account, now).is_some();
        let mut window = self.accounts.remove(account).filter(|_| held).unwrap_or_default();
        if epoch > window.epoch {
            window = Window { epoch, ..Window::default() };
        }
        let crossed = if epoch == window.epoch { window.count(failed, policy, now) } else { None };
        self.accounts.insert(Arc::from(account), window, now.after_ms(policy.window_ms.max(1)));
        crossed
    }

    /// How many accounts are counted.
    pub(super) fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Forgets at most `most` accounts that were not called for a window.
    pub(super) fn prune(&mut self, now: Time, most: usize) {
        self.accounts.prune(now, most);
    }

    /// When the next account was not called for a window.
    pub(super) fn next(&self) -> Option<Time> {
        self.accounts.next()
    }
}

impl Window {
    /// Whether no failure is counted.
    pub(super) fn has_no_failures(&self) -> bool {
        self.in_a_row == 0 && self.pieces.iter().all(|piece| piece.failures == 0)
    }

    /// Counts a call. Gives how calls went, if it failed and that was one too many.
    pub(super) fn count(&mut self, failed: bool, policy: BreakerPolicy, now: Time) -> Option<Crossed> {
        let length = (policy.window_ms / PIECES).max(1);
        let number = now.0 / length;
        // A window of another length before would have other numbers; those of the future are none of ours.
        self.pieces.retain(|piece| piece.number <= number && piece.number + PIECES > number);
        match self.pieces.back_mut().filter(|piece| piece.number == number) {
            Some(piece) => {
                piece.calls = piece.calls.saturating_add(1);
                piece.failures = piece.failures.saturating_add(u32::from(failed));
            }
            None => self.pieces.push_back(Piece { number, calls: 1, failures: u32::from(failed) }),
        }
        self.in_a_row = if failed { self.in_a_row.saturating_add(1) } else { 0 };
        let sum = |of: fn(&Piece) -> u32| self.pieces.iter().map(of).fold(0, u32::saturating_add);
        let (calls, failures) = (sum(|piece| piece.calls), sum(|piece| piece.failures));
        let share = u64::from(failures) * 100 >= u64::from(policy.failure_percent) * u64::from(calls);
        let by_share = policy.failure_percent > 0 && calls >= policy.min_calls.max(1) && share;
        let by_row = policy.consecutive > 0 && self.in_a_row >= policy.consecutive;
        (failed && (by_share || by_row)).then_some(Crossed { calls, failures })
    }
}
