//! The access tokens this process knows: read by senders without waiting. It outlives every actor and holds no truth.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use tidings_contract::{Secret, Time};

/// Most accounts that are remembered; when there are more, all are forgotten and the used ones come back.
const ACCOUNTS: usize = 4_096;

/// A token that may be used now.
#[derive(Clone, Debug)]
pub(crate) struct Good {
    pub(crate) secret: Secret,
    /// Names it among all tokens of its account.
    pub(crate) number: u64,
}

/// A token with its times.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) revision: u64,
    pub(crate) good: Good,
    pub(crate) renew_at: Time,
    pub(crate) expires_at: Time,
    /// Whether anybody used it: what nobody uses is not renewed.
    used: AtomicBool,
}

impl Known {
    pub(crate) fn new(revision: u64, good: Good, renew_at: Time, expires_at: Time) -> Self {
        Self { revision, good, renew_at, expires_at, used: AtomicBool::new(false) }
    }
}

/// The tokens this process knows.
#[derive(Debug, Default)]
pub(crate) struct TokenCache {
    known: RwLock<HashMap<Arc<str>, Known>>,
    /// The newest token of each account that its supplier called invalid: older ones are not better.
    bad: Mutex<HashMap<Arc<str>, u64>>,
    /// One at a time in this process finds out about an account's token.
    asking: Mutex<HashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>>,
}

impl TokenCache {
    /// The token of an account of that revision or of a later one, if it is known and good: calls are made with the account as
    /// it is, also for letters that were written before.
    pub(crate) fn get(&self, account: &str, revision: u64, now: Time) -> Option<Good> {
        let known = self.known.read();
        let one = known.get(account).filter(|one| one.revision >= revision && now < one.expires_at)?;
        one.used.store(true, Ordering::Relaxed);
        Some(one.good.clone())
    }

    /// Whether a good token of an account of that revision or of a later one is known.
    pub(crate) fn has(&self, account: &str, revision: u64, now: Time) -> bool {
        self.known.read().get(account).is_some_and(|one| one.revision >= revision && now < one.expires_at)
    }

    /// Keeps a token.
    pub(crate) fn put(&self, account: &Arc<str>, known: Known) {
        let mut all = self.known.write();
        if all.len() >= ACCOUNTS && !all.contains_key(account) {
            all.clear();
        }
        all.insert(Arc::clone(account), known);
    }

    /// The supplier said that this very token is no longer good.
    pub(crate) fn forget(&self, account: &Arc<str>, number: u64) {
        let mut all = self.known.write();
        if all.get(account).is_some_and(|known| known.good.number == number) {
            all.remove(account);
        }
        let mut bad = self.bad.lock();
        if bad.len() >= ACCOUNTS && !bad.contains_key(account) {
            bad.clear();
        }
        let newest = bad.entry(Arc::clone(account)).or_default();
        *newest = number.max(*newest);
    }

    /// The newest token of an account that was called invalid.
    pub(crate) fn bad(&self, account: &str) -> Option<u64> {
        self.bad.lock().get(account).copied()
    }

    /// The accounts whose tokens are used and should be renewed, with their revisions.
    pub(crate) fn due(&self, now: Time) -> Vec<(Arc<str>, u64)> {
        let known = self.known.read();
        let due = |one: &Known| one.renew_at <= now && one.used.load(Ordering::Relaxed);
        known.iter().filter(|(_, one)| due(one)).map(|(name, one)| (Arc::clone(name), one.revision)).collect()
    }

    /// What whoever finds out about an account's token holds meanwhile.
    pub(crate) fn turn(&self, account: &Arc<str>) -> Arc<tokio::sync::Mutex<()>> {
        let mut asking = self.asking.lock();
        if asking.len() >= ACCOUNTS {
            asking.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(asking.entry(Arc::clone(account)).or_default())
    }
}
