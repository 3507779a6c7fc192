//! The limiter of accounts: permits granted in small leases, so that their use is exact in any sliding window.
//!
//! A permit that was granted at *t* may be used until it lapses, a little later. So a grant counts until a whole window
//! after its lapse: whatever uses fall into one window, their grants were all counted together. What a lease did not use
//! lapses, and comes back when it stops counting. The price is the lifetime of a lease: of a long steady demand at most
//! `window / (window + lifetime + granularity)` is granted, 97 % and more.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{AccountLimit, Time, planted};

use super::expiring::Expiring;
use super::{Answer, Lease};

/// How many merged grants a window is kept in; more are more exact about when permits come back.
const GRANTS_PER_WINDOW: u64 = 500;

/// Permits that count together until a window after `until`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Grant {
    /// When the last of them lapses.
    until: Time,
    permits: u32,
}

/// What was granted of one account lately, the oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Account {
    grants: VecDeque<Grant>,
    counted: u64,
}

/// The accounts whose home is this partition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Limiter {
    accounts: Expiring<Arc<str>, Account>,
}

/// How long a permit may be used after it was granted, in milliseconds: a fiftieth of the window, 20 ms to 1 s.
fn lifetime_ms(window_ms: u64) -> u64 {
    (window_ms / 50).clamp(20, 1_000)
}

impl Limiter {
    /// Grants as many of the wanted permits as the window allows.
    ///
    /// A changed limit holds at once, and what was granted under the old one still counts. `again` is when the oldest
    /// counted grant stops counting.
    pub(super) fn lease(&mut self, lease: Lease, now: Time) -> Answer {
        let limit = AccountLimit { permits: lease.limit.permits.max(1), window_ms: lease.limit.window_ms.max(1) };
        let until = now.after_ms(lifetime_ms(limit.window_ms));
        let name: Arc<str> = lease.account.into();
        let mut account = self.accounts.remove(&*name).unwrap_or_default();
        let permits = account.grant(limit, lease.want, until, now);
        let again = (permits < lease.want).then(|| account.oldest(limit)).flatten();
        if let Some(newest) = account.grants.back() {
            let idle = newest.until.after_ms(limit.window_ms);
            self.accounts.insert(name, account, idle);
        }
        Answer::Leased { permits, until, again }
    }

    /// How many accounts have grants that count.
    pub(super) fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Forgets at most `most` accounts that have been idle for their window.
    pub(super) fn prune(&mut self, now: Time, most: usize) {
        self.accounts.prune(now, most);
    }

    /// When the next account has been idle for its window.
    pub(super) fn next(&self) -> Option<Time> {
        self.accounts.next()
    }
}

impl Account {
    fn grant(&mut self, limit: AccountLimit, want: u32, until: Time, now: Time) -> u32 {
        while let Some(oldest) = self.grants.front().filter(|grant| grant.until.after_ms(limit.window_ms) <= now) {
            self.counted -= u64::from(oldest.permits);
            self.grants.pop_front();
        }
        let counted = if planted("lease_too_large") { 0 } else { self.counted };
        let free = u64::from(limit.permits).saturating_sub(counted);
        let permits = u32::try_from(free.min(u64::from(want))).unwrap_or(want);
        if permits > 0 {
            self.counted += u64::from(permits);
            self.keep(permits, until, (limit.window_ms / GRANTS_PER_WINDOW).max(1));
        }
        permits
    }

    /// Grants of one granule are merged and count as long as the newest of them; so a window holds a bounded number.
    fn keep(&mut self, permits: u32, until: Time, granule_ms: u64) {
        if let Some(newest) = self.grants.back_mut()
            && (until.0 / granule_ms == newest.until.0 / granule_ms || until <= newest.until)
            && let Some(sum) = newest.permits.checked_add(permits)
        {
            newest.permits = sum;
            newest.until = newest.until.max(until);
            return;
        }
        let until = self.grants.back().map_or(until, |newest| newest.until.max(until));
        self.grants.push_back(Grant { until, permits });
    }

    fn oldest(&self, limit: AccountLimit) -> Option<Time> {
        self.grants.front().map(|oldest| oldest.until.after_ms(limit.window_ms))
    }
}
