//! Access tokens of accounts, kept at the account's home: one for the cluster, fetched by one node at a time.
//!
//! Whoever wants a token claims it. The home hands out the token it holds, or a lease to fetch one, or says who else is at
//! it. A lease has a number that is never used again; only the newest lease of the account's present revision may put a
//! token, so a late result of an older one changes nothing. The token is sealed: it is opaque here and on every disk.
//!
//! The ids that suppliers gave for files are kept the same way, each under a name made of the account, a slash and the file:
//! its home is the partition of that name.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{Outcome, Reason, Time, Token, Uploaded};

use super::expiring::Expiring;
use super::{Answer, Delivery, Owner, Refusal, What};
use crate::control::Sealed;
use crate::repair::Repaired;

/// How long a node may take to fetch, in milliseconds, before another may.
const LEASE_MS: u64 = 15_000;
/// A token that the supplier calls invalid before this age, in milliseconds, counts as a fetch that failed: otherwise an
/// account whose tokens never work would be fetched for without end.
const YOUNG_MS: u64 = 30_000;
/// The first and the longest wait after a fetch that failed, in milliseconds.
const WAITS_MS: (u64, u64) = (1_000, 60_000);
/// How long an account that nobody asks for is remembered, in milliseconds.
const IDLE_MS: u64 = 86_400_000;

/// What can be asked of an account's home about its token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TokenCommand {
    /// Somebody wants a token. Answered by any [`TokenAnswer`] but `Dropped`.
    Claim {
        /// The account.
        account: String,
        /// The account's revision; a token of an older one is forgotten.
        revision: u64,
        /// The process that would fetch.
        by: Owner,
    },
    /// The holder of a lease has fetched. Answered by `Held`, or refused as `Outdated`.
    Put {
        /// The account.
        account: String,
        /// The revision it was fetched with.
        revision: u64,
        /// The lease.
        lease: u64,
        /// The token, sealed.
        sealed: Sealed,
        /// How long it is good for from now, in milliseconds.
        good_ms: u64,
    },
    /// The holder of a lease could not fetch. Answered by `Failing`, or refused as `Outdated`.
    Failed {
        /// The account.
        account: String,
        /// The revision it was tried with.
        revision: u64,
        /// The lease.
        lease: u64,
        /// Why.
        reason: Reason,
    },
    /// The supplier said that this very token is no longer good. Answered by `Dropped`, or refused as `Outdated`.
    Drop {
        /// The account.
        account: String,
        /// The revision it was used with.
        revision: u64,
        /// The token's number.
        number: u64,
    },
}

/// What an account's home answers about its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TokenAnswer {
    /// This is the token.
    Held(HeldToken),
    /// Fetch one, and put it under this lease.
    Fetch {
        /// The number of the lease.
        lease: u64,
        /// Until when nobody else may fetch.
        until: Time,
    },
    /// Another process fetches.
    Wait {
        /// Until when it may.
        until: Time,
    },
    /// The last fetch failed; nobody fetches for a while.
    Failing {
        /// Why it failed.
        reason: Reason,
        /// When it is worth claiming again.
        again: Time,
    },
    /// The token is forgotten.
    Dropped,
}

/// A token as its home keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldToken {
    /// Names this token among all of its account.
    pub number: u64,
    /// The token, sealed.
    pub sealed: Sealed,
    /// From when on another should be fetched.
    pub renew_at: Time,
    /// From when on it is no longer good.
    pub expires_at: Time,
}

/// A lease that was given out.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Lease {
    number: u64,
    by: Owner,
    until: Time,
}

/// A fetch that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Failure {
    reason: Reason,
    again: Time,
    strikes: u32,
}

/// One account's token.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Keeper {
    revision: u64,
    newest: u64,
    token: Option<HeldToken>,
    put_at: Time,
    lease: Option<Lease>,
    failure: Option<Failure>,
}

/// The tokens of the accounts whose home is this partition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tokens {
    accounts: Expiring<Arc<str>, Keeper>,
}

impl Tokens {
    /// The token of an account of that revision, if it is good.
    pub(super) fn get(&self, account: &str, revision: u64, now: Time) -> Option<&HeldToken> {
        let keeper = self.accounts.get(account, now).filter(|keeper| keeper.revision == revision)?;
        keeper.good(now)
    }

    /// Answers a command. What is refused changes nothing.
    pub(super) fn apply(&mut self, command: TokenCommand, now: Time) -> Result<Answer, Refusal> {
        let (name, keeper, answer) = match command {
            TokenCommand::Claim { account, revision, by } => {
                let known = self.accounts.get(account.as_str(), now);
                if known.is_some_and(|keeper| keeper.revision > revision) {
                    return Err(Refusal::Outdated);
                }
                let name: Arc<str> = account.into();
                let keeper = self.accounts.remove(&*name).filter(|keeper| keeper.revision == revision);
                let mut keeper = keeper.unwrap_or(Keeper { revision, ..Keeper::default() });
                let answer = keeper.claim(by, now);
                (name, keeper, answer)
            }
            TokenCommand::Put { account, revision, lease, sealed, good_ms } => {
                let (name, mut keeper) = self.leased(account, revision, lease, now)?;
                let answer = keeper.put(lease, sealed, good_ms, now);
                (name, keeper, answer)
            }
            TokenCommand::Failed { account, revision, lease, reason } => {
                let (name, mut keeper) = self.leased(account, revision, lease, now)?;
                keeper.lease = None;
                let answer = keeper.fail(reason, now);
                (name, keeper, answer)
            }
            TokenCommand::Drop { account, revision, number } => {
                let is_it = |keeper: &&Keeper| {
                    keeper.revision == revision && keeper.token.as_ref().is_some_and(|token| token.number == number)
                };
                self.accounts.get(account.as_str(), now).filter(is_it).ok_or(Refusal::Outdated)?;
                let name: Arc<str> = account.into();
                let mut keeper = self.accounts.remove(&*name).ok_or(Refusal::Outdated)?;
                keeper.drop_token(now);
                (name, keeper, TokenAnswer::Dropped)
            }
        };
        self.keep(name, keeper, now);
        Ok(Answer::Token(answer))
    }

    /// The time was set back: leases and failures end as if they had begun at the repair, and tokens that were put after it
    /// are no longer good than they really are.
    pub(super) fn repair(&mut self, done: Repaired) {
        let names: Vec<Arc<str>> = self.accounts.all().map(|(name, _, _)| Arc::clone(name)).collect();
        for name in names {
            let Some(mut keeper) = self.accounts.remove(&*name) else { continue };
            keeper.repair(done);
            self.keep(name, keeper, done.to);
        }
    }

    /// How many accounts are remembered.
    pub(super) fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Forgets at most `most` accounts that nobody asked for lately.
    pub(super) fn prune(&mut self, now: Time, most: usize) {
        self.accounts.prune(now, most);
    }

    /// When the next account is to be forgotten.
    pub(super) fn next(&self) -> Option<Time> {
        self.accounts.next()
    }

    fn leased(&mut self, account: String, revision: u64, lease: u64, now: Time) -> Result<(Arc<str>, Keeper), Refusal> {
        let holds =
            |keeper: &&Keeper| keeper.revision == revision && keeper.lease.is_some_and(|newest| newest.number == lease);
        self.accounts.get(account.as_str(), now).filter(holds).ok_or(Refusal::Outdated)?;
        let name: Arc<str> = account.into();
        let keeper = self.accounts.remove(&*name).ok_or(Refusal::Outdated)?;
        Ok((name, keeper))
    }

    fn keep(&mut self, name: Arc<str>, keeper: Keeper, now: Time) {
        let expires = keeper.token.as_ref().map_or(now, |token| token.expires_at.max(now));
        self.accounts.insert(name, keeper, expires.after_ms(IDLE_MS));
    }
}

impl Keeper {
    fn repair(&mut self, done: Repaired) {
        let ahead_ms = done.from.0 - done.to.0;
        if let Some(lease) = &mut self.lease {
            lease.until = lease.until.min(done.to.after_ms(LEASE_MS));
        }
        if let Some(failure) = &mut self.failure {
            failure.again = failure.again.min(done.to.after_ms(WAITS_MS.1));
        }
        if let Some(token) = self.token.as_mut().filter(|_| self.put_at > done.to) {
            token.renew_at = Time(token.renew_at.0.saturating_sub(ahead_ms));
            token.expires_at = Time(token.expires_at.0.saturating_sub(ahead_ms));
        }
        self.put_at = self.put_at.min(done.to);
    }

    fn good(&self, now: Time) -> Option<&HeldToken> {
        self.token.as_ref().filter(|token| now < token.expires_at)
    }

    /// A token that is due for renewal is still handed out while somebody renews it, or while that fails.
    fn claim(&mut self, by: Owner, now: Time) -> TokenAnswer {
        let held = self.good(now).cloned();
        if let Some(token) = held.as_ref().filter(|token| now < token.renew_at) {
            return TokenAnswer::Held(token.clone());
        }
        if let Some(lease) = self.lease.as_mut().filter(|lease| now < lease.until) {
            if lease.by != by {
                return held.map_or(TokenAnswer::Wait { until: lease.until }, TokenAnswer::Held);
            }
            // The same lease again: a claim that came twice, or late, must not take it from a fetch that is under way.
            lease.until = now.after_ms(LEASE_MS);
            return TokenAnswer::Fetch { lease: lease.number, until: lease.until };
        }
        if let Some(failure) = self.failure.as_ref().filter(|failure| now < failure.again) {
            let failing = TokenAnswer::Failing { reason: failure.reason.clone(), again: failure.again };
            return held.map_or(failing, TokenAnswer::Held);
        }
        // Above every time before, so that no number comes twice even when the account was forgotten in between.
        self.newest = self.newest.saturating_add(1).max(now.0);
        let lease = Lease { number: self.newest, by, until: now.after_ms(LEASE_MS) };
        self.lease = Some(lease);
        TokenAnswer::Fetch { lease: lease.number, until: lease.until }
    }

    /// Renewal begins when four fifths of its life are over.
    fn put(&mut self, number: u64, sealed: Sealed, good_ms: u64, now: Time) -> TokenAnswer {
        let (renew_at, expires_at) = (now.after_ms(good_ms - good_ms / 5), now.after_ms(good_ms));
        let token = HeldToken { number, sealed, renew_at, expires_at };
        self.lease = None;
        self.put_at = now;
        self.token = Some(token.clone());
        // Strikes of young tokens stay until a token has lived for a while; those of fetches end with a fetch.
        if let Some(failure) = &mut self.failure {
            failure.again = now;
        }
        TokenAnswer::Held(token)
    }

    fn fail(&mut self, reason: Reason, now: Time) -> TokenAnswer {
        let strikes = self.failure.as_ref().map_or(0, |failure| failure.strikes).saturating_add(1);
        let wait = (WAITS_MS.0 << strikes.saturating_sub(1).min(16)).min(WAITS_MS.1);
        let again = now.after_ms(wait);
        self.failure = Some(Failure { reason: reason.clone(), again, strikes });
        TokenAnswer::Failing { reason, again }
    }

    fn drop_token(&mut self, now: Time) {
        self.token = None;
        if now < self.put_at.after_ms(YOUNG_MS) {
            self.fail(Reason::new("token_not_taken", "the supplier does not take a token it gave a moment ago"), now);
        } else {
            self.failure = None;
        }
    }
}

/// Whether another attempt is worth making at once: the token or the id of a file was no longer good, and the attempt before
/// did not end so.
pub(super) fn is_first_invalid(delivery: &Delivery, outcome: &Outcome) -> bool {
    let codes = [Token::INVALID, Uploaded::GONE];
    let invalid =
        |outcome: &Outcome| matches!(outcome, Outcome::Later { reason, .. } if codes.contains(&&*reason.code));
    let before = delivery.events.iter().rev().find_map(|event| match &event.what {
        What::Attempted { outcome, .. } => Some(invalid(outcome)),
        _ => None,
    });
    invalid(outcome) && before != Some(true)
}
