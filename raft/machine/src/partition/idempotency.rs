//! What makes repeats harmless: claimed idempotency keys, and the answers that parts got.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{MessageId, Time};

use super::expiring::Expiring;
use super::{Claim, Claimed, Header, Verdict};

/// Most answers of parts that a partition keeps; further parts are refused as `Full` until some ran out.
pub(super) const PARTS_KEPT: usize = 4_000_000;

/// A claimed key.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Key {
    body_hash: u64,
    header: Arc<Header>,
}

/// The keys that were claimed at this partition, their home.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Keys {
    keys: Expiring<Arc<str>, Key>,
}

impl Keys {
    /// What the key was claimed for before, if it was.
    pub(super) fn look(&self, claim: &Claim, now: Time) -> Option<Claimed> {
        self.keys.get(claim.key.as_str(), now).map(|key| {
            if key.body_hash == claim.body_hash {
                Claimed::Again(Box::new(Header::clone(&key.header)))
            } else {
                Claimed::OtherBody(key.header.message)
            }
        })
    }

    /// Makes the key the claim's. It is kept up to and including the claim's `until`.
    pub(super) fn put(&mut self, claim: Claim) {
        let key = Key { body_hash: claim.body_hash, header: Arc::new(claim.header) };
        self.keys.insert(claim.key.into(), key, claim.until.after_ms(1));
    }

    /// How many keys are held.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Forgets at most `most` keys that ran out.
    pub(super) fn prune(&mut self, now: Time, most: usize) {
        self.keys.prune(now, most);
    }

    /// When the next key runs out.
    pub(super) fn next(&self) -> Option<Time> {
        self.keys.next()
    }
}

/// The answers that parts got when they were first applied.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Parts {
    parts: Expiring<(MessageId, u16), Arc<[Verdict]>>,
}

impl Parts {
    /// The answer the part got before, if it was applied.
    pub(super) fn look(&self, message: MessageId, part: u16, now: Time) -> Option<Vec<Verdict>> {
        self.parts.get(&(message, part), now).map(|verdicts| verdicts.to_vec())
    }

    /// Keeps the answer up to and including `until`.
    pub(super) fn put(&mut self, message: MessageId, part: u16, verdicts: &[Verdict], until: Time) {
        self.parts.insert((message, part), verdicts.into(), until.after_ms(1));
    }

    /// How many answers are held.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// Forgets at most `most` answers that ran out.
    pub(super) fn prune(&mut self, now: Time, most: usize) {
        self.parts.prune(now, most);
    }

    /// When the next answer runs out.
    pub(super) fn next(&self) -> Option<Time> {
        self.parts.next()
    }
}
