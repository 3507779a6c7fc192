//! What a partition keeps of its dealings with suppliers beside sending: tokens, receipts, recalls, what came back.

use serde::{Deserialize, Serialize};
use tidings_contract::Time;

use super::asking::Asking;
use super::bounces::Elsewhere;
use super::recalls::Recalls;
use super::receipts::Receipts;
use super::tokens::Tokens;
use super::{HeldToken, Partition};

/// Tokens, receipts and recalls.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Outside {
    pub(super) tokens: Tokens,
    pub(super) receipts: Receipts,
    pub(super) recalls: Recalls,
    /// Callbacks that are pending.
    pub(super) callbacks: u64,
    /// Addresses whose suppression list is another partition's.
    #[serde(default)]
    pub(super) elsewhere: Elsewhere,
    /// Deliveries that the supplier is asked about.
    #[serde(default)]
    pub(super) asking: Asking,
}

/// How much is held of the dealings with suppliers, for gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutsideSizes {
    /// Accounts whose tokens have their home here.
    pub tokens: usize,
    /// Deliveries of which receipts are expected.
    pub expected: usize,
    /// Receipts that nobody expects yet.
    pub parked: usize,
    /// Recalls that the provider has not answered yet.
    pub recalls: usize,
    /// Callbacks that are pending.
    pub callbacks: u64,
    /// Deliveries that the supplier is asked about.
    pub asking: usize,
}

impl Outside {
    pub(super) fn prune(&mut self, now: Time, most: usize) {
        self.tokens.prune(now, most);
        self.receipts.prune(now, most);
        self.recalls.prune(now, most);
    }

    pub(super) fn next(&self) -> Option<Time> {
        [self.tokens.next(), self.receipts.next(), self.recalls.next()].into_iter().flatten().min()
    }
}

impl Partition {
    /// The token of an account of that revision, if this is its home and holds a good one.
    pub fn token(&self, account: &str, revision: u64, now: Time) -> Option<&HeldToken> {
        self.outside.tokens.get(account, revision, now.max(self.now))
    }

    /// How much is held of the dealings with suppliers, for gauges.
    pub fn outside_sizes(&self) -> OutsideSizes {
        let Outside { tokens, receipts, recalls, callbacks, asking, .. } = &self.outside;
        OutsideSizes {
            tokens: tokens.len(),
            expected: receipts.len(),
            parked: receipts.parked(),
            recalls: recalls.len(),
            callbacks: *callbacks,
            asking: asking.len(),
        }
    }
}
