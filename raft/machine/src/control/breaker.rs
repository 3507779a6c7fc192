//! The breakers of accounts, shared by the cluster: closed, open, half-open with one probe at a time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidings_contract::Time;

/// A breaker that was open once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// Grows whenever it opens or closes: what was seen in an older epoch changes nothing.
    pub epoch: u64,
    /// Until when nothing is sent; `None` while it is closed. From then on it is half-open.
    pub until: Option<Time>,
    /// The probe of the half-open breaker, while one is under way.
    pub probe: Option<Probe>,
    /// How often it opened without having been closed for long.
    pub trips: u32,
    /// When it opened or closed last.
    pub since: Time,
    /// Why it opened last.
    pub why: String,
    /// How long it stays open at most, as it was when it opened last, in milliseconds.
    pub longest_open_ms: u64,
}

/// The one probe of a half-open breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The node that makes it.
    pub node: u64,
    /// When another one is granted, if nothing was heard of it.
    pub until: Time,
}

/// How a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything is sent.
    Closed,
    /// Nothing is sent until then.
    Open(Time),
    /// One probe at a time is sent.
    HalfOpen(Option<Probe>),
}

impl Breaker {
    /// How it stands at `now`. A probe that took too long is none any more.
    pub fn standing(&self, now: Time) -> Standing {
        match self.until {
            None => Standing::Closed,
            Some(until) if now < until => Standing::Open(until),
            Some(_) => Standing::HalfOpen(self.probe.filter(|probe| now < probe.until)),
        }
    }
}

/// The breakers that were open once, by account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breakers {
    /// By account.
    pub accounts: BTreeMap<String, Breaker>,
}

impl Breakers {
    /// The epoch of an account's breaker; 0 if it never opened.
    pub fn epoch(&self, account: &str) -> u64 {
        self.accounts.get(account).map_or(0, |breaker| breaker.epoch)
    }

    /// Closes the breaker of an account that was changed, as if it had never opened. Its epoch goes on.
    pub(super) fn forgive(&mut self, account: &str, now: Time) {
        if let Some(breaker) = self.accounts.get_mut(account).filter(|breaker| breaker.until.is_some()) {
            *breaker = Breaker { epoch: breaker.epoch + 1, since: now, ..Breaker::default() };
        }
    }
}
