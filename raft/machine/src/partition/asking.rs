//! Deliveries whose supplier is asked what became of them, because it tells only those who name them. When the next question
//! is due stands here, so that it is asked whoever leads.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, ReceiptMark, Time};

use super::Partition;

/// Most deliveries that are asked about; beyond it the ones that are due first fall out.
const KEPT: usize = 100_000;
/// The wait before the first question, in milliseconds; each later wait is twice the one before. The deliveries of one
/// request are due together on purpose: the supplier is asked about them together.
const FIRST_MS: u64 = 30_000;
/// The longest wait between two questions, in milliseconds.
const LONGEST_MS: u64 = 3_600_000;

/// A delivery that the supplier is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The account it was sent with.
    pub account: String,
    /// The supplier's id of it.
    pub provider_id: String,
    /// The recipient.
    pub to: String,
    /// How often the supplier was asked.
    pub tries: u16,
    /// It is not to be asked before.
    pub due: Time,
    /// From then on the supplier does not know any more.
    pub until: Time,
}

type Asks = BTreeMap<DeliveryId, Ask>;

/// The deliveries of a partition that suppliers are asked about.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Asks", into = "Asks")]
pub(super) struct Asking {
    asks: Asks,
    /// By when they are due. Not kept on disk: it follows from the others.
    due: BTreeSet<(Time, DeliveryId)>,
}

impl From<Asks> for Asking {
    fn from(asks: Asks) -> Self {
        let due = asks.iter().map(|(id, ask)| (ask.due, *id)).collect();
        Self { asks, due }
    }
}

impl From<Asking> for Asks {
    fn from(asking: Asking) -> Self {
        asking.asks
    }
}

impl Asking {
    pub(super) fn len(&self) -> usize {
        self.asks.len()
    }

    /// Has a delivery asked about from `now` on. One that is asked about already stays as it is.
    pub(super) fn begin(&mut self, id: DeliveryId, now: Time, ask: Ask) {
        if self.asks.contains_key(&id) || ask.until <= now {
            return;
        }
        self.put(id, Ask { tries: 0, due: next(now, 0, ask.until), ..ask });
        if self.asks.len() > KEPT
            && let Some((_, first)) = self.due.first().copied()
        {
            self.end(&first);
        }
    }

    /// The supplier was asked for the time after `tries`. It is asked again unless that makes no sense. An answer that comes
    /// twice changes nothing.
    pub(super) fn asked(&mut self, id: &DeliveryId, tries: u16, more: bool, now: Time) {
        if self.asks.get(id).is_none_or(|ask| ask.tries != tries) {
            return;
        }
        let Some(ask) = self.end(id) else { return };
        if more && now < ask.until {
            let tries = tries.saturating_add(1);
            self.put(*id, Ask { tries, due: next(now, tries, ask.until), ..ask });
        }
    }

    /// A receipt came: what cannot become anything else any more is not asked about.
    pub(super) fn told(&mut self, id: &DeliveryId, mark: ReceiptMark) {
        if mark != ReceiptMark::Received {
            self.end(id);
        }
    }

    fn put(&mut self, id: DeliveryId, ask: Ask) {
        self.due.insert((ask.due, id));
        self.asks.insert(id, ask);
    }

    fn end(&mut self, id: &DeliveryId) -> Option<Ask> {
        let ask = self.asks.remove(id)?;
        self.due.remove(&(ask.due, *id));
        Some(ask)
    }
}

/// When the question after `tries` is due; the last one when the supplier is about to forget.
fn next(now: Time, tries: u16, until: Time) -> Time {
    let wait = FIRST_MS.checked_shl(u32::from(tries.min(16))).unwrap_or(LONGEST_MS).min(LONGEST_MS);
    now.after_ms(wait).min(until)
}

impl Partition {
    /// At most `most` deliveries whose supplier is to be asked at `now` what became of them, those first that are due longest.
    pub fn asks(&self, now: Time, most: usize) -> impl Iterator<Item = (&DeliveryId, &Ask)> {
        let asking = &self.outside.asking;
        let due = asking.due.range(..=(now, DeliveryId::GREATEST)).take(most);
        due.filter_map(|(_, id)| asking.asks.get_key_value(id))
    }
}
