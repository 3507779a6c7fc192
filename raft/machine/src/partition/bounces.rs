//! Addresses that turn out to be nobody's: they go on the suppression list, once, where the list of that address lives.
//!
//! A delivery lives where its first address is at home. The address of a further leg is at home elsewhere: the wish is kept
//! here until the owner has handed it on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidings_contract::{Blame, DeliveryId, Outcome};

use super::{Bounce, Delivery, Partition, Sheet, Suppress, SuppressionKey, SuppressionReason, What};

/// Most wishes that wait to be handed on; beyond it none is kept, and the address is found out about once more.
const ELSEWHERE_KEPT: usize = 10_000;

/// Wishes whose list is another partition's.
pub(super) type Elsewhere = BTreeMap<SuppressionKey, Suppress>;

/// What is remembered of a delivery of which receipts are expected, so that one of them can bar its address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Barrable {
    channel: String,
    address: String,
    key_id: String,
    /// Whether the list of the address is this partition's.
    here: bool,
}

impl Barrable {
    /// What to remember of a delivery as it is sent with `account`, if such addresses are to be suppressed.
    pub(super) fn of(delivery: &Delivery, sheet: &Sheet, account: &str) -> Option<Self> {
        let leg = sheet.leg(delivery.leg());
        leg.way.filter(|way| way.call(account).suppress_bounces).map(|_| Self {
            channel: leg.channel.to_owned(),
            address: delivery.address().to_owned(),
            key_id: sheet.key_id.clone(),
            here: delivery.leg() == 0,
        })
    }

    /// The same for what an attempt came back with.
    pub(super) fn shown_by(delivery: &Delivery, sheet: &Sheet, account: &str, outcome: &Outcome) -> Option<Self> {
        let gone = matches!(outcome, Outcome::Never { blame: Blame::Gone, .. });
        gone.then(|| Self::of(delivery, sheet, account)).flatten()
    }
}

impl Partition {
    /// Wishes to suppress addresses that are at home in other partitions.
    pub fn bounces_elsewhere(&self) -> impl Iterator<Item = &Suppress> {
        self.outside.elsewhere.values()
    }

    /// A wish was handed on to where its address is at home.
    pub(super) fn handed_on(&mut self, address: String, channel: String) {
        self.outside.elsewhere.remove(&(address, channel));
    }

    /// Puts an address on the list because `delivery` showed that it is nobody's. Gives what to note about it; nothing, if it
    /// stands there already.
    pub(super) fn bar(&mut self, barrable: Barrable, delivery: DeliveryId, code: &str) -> Option<What> {
        let Barrable { channel, address, key_id: by, here } = barrable;
        let key: SuppressionKey = (address.clone(), channel.clone());
        let bounce = Some(Box::new(Bounce { delivery, code: code.to_owned() }));
        let wish = Suppress { channel, address, reason: SuppressionReason::Bounced, until: None, by, bounce };
        let known = self.suppressions.get(&key, self.now).is_some_and(|known| known.until.is_none());
        if known || self.outside.elsewhere.contains_key(&key) {
            return None;
        }
        let full = if here {
            self.suppress(wish).is_err()
        } else if self.outside.elsewhere.len() < ELSEWHERE_KEPT {
            self.outside.elsewhere.insert(key.clone(), wish);
            false
        } else {
            true
        };
        let problem = full.then(|| "the suppression list is full".to_owned());
        let (address, channel) = key;
        Some(What::AddressSuppressed { channel, address, problem })
    }
}
