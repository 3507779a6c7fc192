//! How breakers open, are probed and close. Each step names the epoch it was decided in, so that a repeat changes nothing.

use tidings_contract::Time;

use super::apply::Change;
use super::breaker::Standing;
use super::{Answer, Breaker, Control, Probe, Refusal};
use crate::partition::BreakerPolicy;

/// Longest text about why a breaker opened, in bytes.
const WHY_BYTES: usize = 300;
/// Longest time that a probe may take, in milliseconds.
const LONGEST_PROBE_MS: u64 = 120_000;

impl Control {
    /// Opens a breaker: twice as long as the last time, unless it was closed for longer than it stays open at most.
    pub(super) fn trip_account(
        &mut self,
        account: String,
        epoch: u64,
        policy: BreakerPolicy,
        why: String,
    ) -> Result<Change, Refusal> {
        if !self.accounts.contains_key(&account) {
            return Err(Refusal::NotFound);
        }
        let now = self.now;
        if self.breakers.epoch(&account) != epoch {
            return Err(Refusal::Stale);
        }
        let breaker = self.breakers.accounts.entry(account).or_default();
        if matches!(breaker.standing(now), Standing::Open(_)) {
            return Err(Refusal::Stale);
        }
        let rested = breaker.until.is_none() && now > breaker.since.after_ms(breaker.longest_open_ms);
        let trips = if rested { 0 } else { breaker.trips };
        let open_ms = policy.open_ms.max(1).saturating_mul(1 << trips.min(32)).min(policy.longest_open_ms.max(1));
        *breaker = Breaker {
            epoch: epoch + 1,
            until: Some(now.after_ms(open_ms)),
            probe: None,
            trips: trips.saturating_add(1),
            since: now,
            why: cut(why),
            longest_open_ms: policy.longest_open_ms,
        };
        Ok(Change::None(Answer::Done))
    }

    pub(super) fn probe_account(
        &mut self,
        account: &str,
        epoch: u64,
        node: u64,
        lapse_ms: u64,
    ) -> Result<Change, Refusal> {
        let now = self.now;
        let breaker = self.breakers.accounts.get_mut(account).ok_or(Refusal::NotFound)?;
        if breaker.epoch != epoch || breaker.standing(now) != Standing::HalfOpen(None) {
            return Err(Refusal::Stale);
        }
        let until: Time = now.after_ms(lapse_ms.clamp(1, LONGEST_PROBE_MS));
        breaker.probe = Some(Probe { node, until });
        Ok(Change::None(Answer::Done))
    }

    pub(super) fn close_account(&mut self, account: &str, epoch: u64) -> Result<Change, Refusal> {
        let now = self.now;
        let breaker = self.breakers.accounts.get_mut(account).ok_or(Refusal::NotFound)?;
        if breaker.epoch != epoch || breaker.until.is_none() {
            return Err(Refusal::Stale);
        }
        breaker.epoch += 1;
        (breaker.until, breaker.probe, breaker.since) = (None, None, now);
        Ok(Change::None(Answer::Done))
    }
}

fn cut(mut why: String) -> String {
    let end = (0..=WHY_BYTES.min(why.len())).rev().find(|at| why.is_char_boundary(*at)).unwrap_or(0);
    why.truncate(end);
    why
}
