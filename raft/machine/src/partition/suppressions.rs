//! The suppression list: addresses that nothing is sent to any more, per channel or on every channel.

use std::ops::Bound;

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, Time, planted};

use super::expiring::{Expiring, NEVER};
use super::{Closing, Delivery, Partition, Sheet};

/// Most entries a partition holds.
pub(super) const SUPPRESSIONS_KEPT: usize = 500_000;
/// What events call the list.
pub(super) const SUPPRESSION_LIST: &str = "suppression_list";
/// The name that stands for every channel.
pub const EVERY_CHANNEL: &str = "*";

/// Why nothing is sent to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuppressionReason {
    /// The recipient does not want any.
    Unsubscribed,
    /// It does not exist, or takes nothing.
    Bounced,
    /// Somebody decided so.
    Manual,
}

impl SuppressionReason {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsubscribed => "unsubscribed",
            Self::Bounced => "bounced",
            Self::Manual => "manual",
        }
    }
}

/// An entry of the suppression list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// Why.
    pub reason: SuppressionReason,
    /// Until just before when; `None` for ever.
    pub until: Option<Time>,
    /// When it was made or changed last.
    pub at: Time,
    /// The API key that asked, or whose message came back.
    pub by: String,
    /// What came back, where nobody asked.
    #[serde(default)]
    pub bounce: Option<Box<Bounce>>,
}

/// A delivery that showed that its address is nobody's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounce {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The code of the supplier's reason.
    pub code: String,
}

impl Suppression {
    /// What it is, for the trace.
    pub(super) fn told(&self) -> String {
        let until = self.until.map(|until| format!(" until {until}")).unwrap_or_default();
        let bounce = self.bounce.as_ref().map(|bounce| format!(", shown by {} ({})", bounce.delivery, bounce.code));
        format!("{} since {}{until}{}", self.reason.name(), self.at, bounce.unwrap_or_default())
    }
}

impl Partition {
    /// How to close a delivery whose address came on the list after it was let in; `None` where it may be attempted at `at`.
    /// Only on its first leg: the address of a further one is at home elsewhere as a rule, and is asked for there. Callbacks
    /// are no messages, so the list is not for them.
    pub fn closed_by_list(&self, delivery: &Delivery, sheet: &Sheet, at: Time) -> Option<Closing> {
        if delivery.leg() > 0 || sheet.tells() {
            return None;
        }
        let entry = self.suppressions.find(&delivery.to, &sheet.channel, at.max(self.now))?;
        Some(Closing::Suppressed { rule: SUPPRESSION_LIST.to_owned(), detail: entry.told() })
    }
}

/// The address, normalised, and the channel, in that order: all of an address stand together.
pub type SuppressionKey = (String, String);

/// The list.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Suppressions {
    entries: Expiring<SuppressionKey, Suppression>,
}

impl Suppressions {
    /// The entry that holds for an address on a channel: its own one before the one of every channel.
    pub(super) fn find(&self, address: &str, channel: &str, now: Time) -> Option<&Suppression> {
        if self.entries.len() == 0 || planted("suppression_ignored") {
            return None;
        }
        let key = |channel: &str| (address.to_owned(), channel.to_owned());
        self.entries.get(&key(channel), now).or_else(|| self.entries.get(&key(EVERY_CHANNEL), now))
    }

    /// One entry.
    pub(super) fn get(&self, key: &SuppressionKey, now: Time) -> Option<&Suppression> {
        self.entries.get(key, now)
    }

    /// Entries after `after`, in the order of their keys.
    pub(super) fn after(
        &self,
        after: Option<SuppressionKey>,
        now: Time,
    ) -> impl Iterator<Item = (&SuppressionKey, &Suppression)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.entries((start, Bound::Unbounded), now).map(|(key, entry, _)| (key, entry))
    }

    pub(super) fn put(&mut self, key: SuppressionKey, entry: Suppression) {
        let until = entry.until.unwrap_or(NEVER);
        self.entries.insert(key, entry, until);
    }

    pub(super) fn remove(&mut self, key: &SuppressionKey) -> Option<Suppression> {
        self.entries.remove(key)
    }

    /// Forgets at most `most` entries that ran out.
    pub(super) fn prune(&mut self, now: Time, most: usize) {
        self.entries.prune(now, most);
    }

    /// When the next entry runs out.
    pub(super) fn next(&self) -> Option<Time> {
        self.entries.next()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
