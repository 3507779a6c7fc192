//! The limiter of subjects (accounts, templates, keys, recipients): permits granted in small leases, so that their use is
//! exact in any sliding window, several windows at once.
//!
//! A permit that was granted at *t* may be used until it lapses, a little later. So a grant counts until a whole window
//! and a margin after its lapse: whatever uses fall into one window, their grants were all counted together. The margin is
//! for what lies between a use and its arrival: see [`margin_ms`]. What a lease did not use lapses, and comes back when it
//! stops counting, or at once when the user gives it back before. What was used counts from when the user said so, if
//! that is before the lapse. Of a long steady demand at most `window / (window + life + margin + granularity)` is granted,
//! 96 % and more; without `life` where users say early what they used, 98 %.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{AccountLimit, Time, planted};

use super::expiring::{Expiring, NEVER};
use super::{Answer, Borrow, GiveBack, Lease, Settle};
use crate::repair::Repaired;

/// How many merged grants a window is kept in; more are more exact about when permits come back.
const GRANTS_PER_WINDOW: u64 = 500;
/// So many grants for each window before neighbours are looked for that can be merged.
const MERGE_FROM: usize = 600;

/// Longest life of a permit, in milliseconds.
const LONGEST_LIFE_MS: u64 = 1_000;

/// Permits that count together until a window after `until`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Grant {
    /// When the last of them lapses.
    until: Time,
    permits: u32,
}

/// What was granted of one subject lately, the oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Account {
    grants: VecDeque<Grant>,
    /// The permits of all of them.
    counted: u64,
}

/// The subjects whose home is this partition. An account stands under its bare name, any other subject under its whole one;
/// names have no slash, so they cannot clash.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Limiter {
    accounts: Expiring<Arc<str>, Account>,
}

/// A window as grants are counted in it: its permits, its length with the margin.
#[derive(Clone, Copy, Debug)]
struct Span {
    permits: u32,
    window_ms: u64,
    counts_ms: u64,
}

/// How long a permit may be used after it was granted, in milliseconds: a fiftieth of the shortest window, 20 ms to 1 s.
pub fn life_ms(windows: &[AccountLimit]) -> u64 {
    let shortest = windows.iter().map(|window| window.window_ms).min().unwrap_or(u64::MAX);
    (shortest / 50).clamp(20, LONGEST_LIFE_MS)
}

/// How much later than a use its call may arrive at the provider without spoiling the window, in milliseconds: a fiftieth
/// of the window, 20 ms to 1 s. The way of the lease to its user may take up half of it.
pub fn margin_ms(window_ms: u64) -> u64 {
    (window_ms / 50).clamp(20, 1_000)
}

fn without_account(subject: &str) -> &str {
    subject.strip_prefix("account/").unwrap_or(subject)
}

impl Limiter {
    /// Grants as many of the wanted permits as the window allows, as programs did that knew one window and no margin.
    ///
    /// A changed limit holds at once, and what was granted under the old one still counts. `again` is when the oldest
    /// counted grant stops counting.
    pub(super) fn lease(&mut self, lease: Lease, now: Time) -> Answer {
        let limit = AccountLimit { permits: lease.limit.permits.max(1), window_ms: lease.limit.window_ms.max(1) };
        let span = Span { permits: limit.permits, window_ms: limit.window_ms, counts_ms: limit.window_ms };
        let until = now.after_ms(life_ms(&[limit]));
        self.grant(&lease.account, &[span], lease.want, until, now)
    }

    /// Grants as many of the wanted permits as all windows allow.
    ///
    /// Changed windows hold at once, and what was granted under the old ones still counts. `again` is when the last of the
    /// windows that have none left has one again.
    pub(super) fn borrow(&mut self, borrow: Borrow, now: Time) -> Answer {
        let (windows, spans) = spans(borrow.windows);
        let until = now.after_ms(life_ms(&windows));
        self.grant(without_account(&borrow.subject), &spans, borrow.want, until, now)
    }

    /// Has permits count as used now that were used by now: whoever settles has used them all, in calls that began before.
    /// Too late is when they have lapsed: nothing would be won.
    pub(super) fn settle(&mut self, used: Settle, now: Time) -> Answer {
        let (_, spans) = spans(used.windows);
        let name = without_account(&used.subject);
        let idle = self.accounts.until(name).unwrap_or(now);
        let Some(mut account) = self.accounts.remove(name) else {
            return Answer::Leased { permits: 0, until: now, again: None };
        };
        if now < used.until {
            let permits = account.take_back(used.until, used.permits);
            account.put(permits, now, granule_ms(&spans));
        }
        let again = account.again(&spans, now);
        self.accounts.insert(name.into(), account, idle);
        Answer::Leased { permits: 0, until: now, again }
    }

    fn grant(&mut self, name: &str, spans: &[Span], want: u32, until: Time, now: Time) -> Answer {
        let longest_ms = spans.iter().map(|span| span.counts_ms).max().unwrap_or(0);
        let mut account = self.accounts.remove(name).unwrap_or_default();
        account.forget(longest_ms, now);
        let permits = account.free(spans, want, now);
        if permits > 0 {
            account.counted += u64::from(permits);
            account.keep(permits, until, granule_ms(spans));
            account.merge(spans, now);
        }
        let again = (permits < want).then(|| account.again(spans, now)).flatten();
        if let Some(newest) = account.grants.back() {
            let idle = newest.until.after_ms(longest_ms);
            self.accounts.insert(name.into(), account, idle);
        }
        Answer::Leased { permits, until, again }
    }

    /// Takes back permits that were not used. Too late is when they have lapsed: they may not be counted any more then.
    pub(super) fn give_back(&mut self, unused: &GiveBack, now: Time) {
        let name = without_account(&unused.subject);
        if unused.until <= now {
            return;
        }
        let Some(until) = self.accounts.until(name) else { return };
        let Some(mut account) = self.accounts.remove(name) else { return };
        account.take_back(unused.until, unused.permits);
        if !account.grants.is_empty() {
            self.accounts.insert(name.into(), account, until);
        }
    }

    /// The time was set back: permits that lapse after the longest life from then count as granted at the repair.
    pub(super) fn repair(&mut self, done: Repaired) {
        let lapses = done.to.after_ms(LONGEST_LIFE_MS);
        let ahead: Vec<Arc<str>> = self.accounts.all().map(|(name, _, _)| Arc::clone(name)).collect();
        for name in ahead {
            let idle = self.accounts.until(&name).unwrap_or(NEVER);
            let Some(mut account) = self.accounts.remove(&name) else { continue };
            let newest = account.grants.back().map_or(lapses, |newest| newest.until);
            for grant in &mut account.grants {
                grant.until = grant.until.min(lapses);
            }
            let longest_ms = idle.0.saturating_sub(newest.0);
            self.accounts.insert(name, account, newest.min(lapses).after_ms(longest_ms));
        }
    }

    /// How many subjects have grants that count.
    pub(super) fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Forgets at most `most` subjects that have been idle for their windows.
    pub(super) fn prune(&mut self, now: Time, most: usize) {
        self.accounts.prune(now, most);
    }

    /// When the next subject has been idle for its windows.
    pub(super) fn next(&self) -> Option<Time> {
        self.accounts.next()
    }
}

/// The windows that are looked at, and how grants are counted in each.
fn spans(mut windows: Vec<AccountLimit>) -> (Vec<AccountLimit>, Vec<Span>) {
    windows.truncate(if planted("one_window_only") { 1 } else { AccountLimit::MOST_WINDOWS });
    let span = |window: &AccountLimit| {
        let window_ms = window.window_ms.max(1);
        let counts_ms = window_ms.saturating_add(margin_ms(window_ms));
        Span { permits: window.permits.max(1), window_ms, counts_ms }
    };
    let spans = windows.iter().map(span).collect();
    (windows, spans)
}

/// How far apart grants must be to be kept apart.
fn granule_ms(spans: &[Span]) -> u64 {
    let shortest = spans.iter().map(|span| span.window_ms).min().unwrap_or(1);
    (shortest / GRANTS_PER_WINDOW).max(1)
}

impl Account {
    fn forget(&mut self, longest_ms: u64, now: Time) {
        while let Some(oldest) = self.grants.front().filter(|grant| grant.until.after_ms(longest_ms) <= now) {
            self.counted -= u64::from(oldest.permits);
            self.grants.pop_front();
        }
    }

    /// The grants that count in a window, the newest first.
    fn within(&self, span: Span, now: Time) -> impl Iterator<Item = &Grant> {
        self.grants.iter().rev().take_while(move |grant| grant.until.after_ms(span.counts_ms) > now)
    }

    fn left(&self, span: Span, now: Time) -> u64 {
        if planted("lease_too_large") {
            return span.permits.into();
        }
        let counted: u64 = self.within(span, now).map(|grant| u64::from(grant.permits)).sum();
        u64::from(span.permits).saturating_sub(counted)
    }

    /// How many of the wanted permits every window has left.
    fn free(&self, spans: &[Span], want: u32, now: Time) -> u32 {
        let wanted = u64::from(want);
        // Few subjects are near their limits; the others need no counting.
        let most = spans.iter().map(|span| u64::from(span.permits)).min().unwrap_or(u64::MAX);
        if self.counted.saturating_add(wanted) <= most {
            return want;
        }
        let free = spans.iter().map(|span| self.left(*span, now)).min().unwrap_or(wanted);
        u32::try_from(free.min(wanted)).unwrap_or(want)
    }

    /// When every window that has none left has one again.
    fn again(&self, spans: &[Span], now: Time) -> Option<Time> {
        let empty = spans.iter().filter(|span| self.left(**span, now) == 0);
        empty
            .filter_map(|span| self.within(*span, now).last().map(|oldest| oldest.until.after_ms(span.counts_ms)))
            .max()
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

    /// What only longer windows still count is merged as coarsely as those allow.
    fn merge(&mut self, spans: &[Span], now: Time) {
        if self.grants.len() <= MERGE_FROM * spans.len() {
            return;
        }
        let granule = |grant: &Grant| {
            let counted = spans.iter().filter(|span| grant.until.after_ms(span.counts_ms) > now);
            let shortest = counted.map(|span| span.window_ms).min();
            shortest.map_or(1, |window_ms| (window_ms / GRANTS_PER_WINDOW).max(1))
        };
        let mut merged: VecDeque<Grant> = VecDeque::with_capacity(self.grants.len());
        for grant in self.grants.drain(..) {
            let granule_ms = granule(&grant);
            if let Some(last) = merged.back_mut()
                && last.until.0 / granule_ms == grant.until.0 / granule_ms
                && let Some(sum) = last.permits.checked_add(grant.permits)
            {
                *last = Grant { until: grant.until, permits: sum };
            } else {
                merged.push_back(grant);
            }
        }
        self.grants = merged;
    }

    /// Puts permits back that count until a window after `until`, which may be before other grants lapse. They join the next
    /// grant if that is of the same granule, and count a little longer then.
    fn put(&mut self, permits: u32, until: Time, granule_ms: u64) {
        if permits == 0 {
            return;
        }
        self.counted += u64::from(permits);
        let at = self.grants.partition_point(|grant| grant.until < until);
        if let Some(next) = self.grants.get_mut(at)
            && until.0 / granule_ms == next.until.0 / granule_ms
            && let Some(sum) = next.permits.checked_add(permits)
        {
            next.permits = sum;
            return;
        }
        self.grants.insert(at, Grant { until, permits });
    }

    /// The permits stand in the first grant that lapses no earlier than they do, or in later ones. Gives how many were there.
    fn take_back(&mut self, until: Time, permits: u32) -> u32 {
        let mut rest = permits;
        for grant in self.grants.iter_mut().filter(|grant| grant.until >= until) {
            let taken = grant.permits.min(rest);
            grant.permits -= taken;
            rest -= taken;
            self.counted -= u64::from(taken);
            if rest == 0 {
                break;
            }
        }
        self.grants.retain(|grant| grant.permits > 0);
        permits - rest
    }
}
