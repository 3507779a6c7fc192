//! Sheets, each held once for all the pending deliveries that carry it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, MessageId};

use super::Sheet;

/// Which sheet a delivery carries: its message, its generation, and a number that tells apart the sheets of those,
/// because two dead letters of one message can be redriven with different edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct SheetKey {
    message: MessageId,
    generation: u8,
    variant: u16,
}

/// A sheet and how many pending deliveries carry it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Held {
    sheet: Arc<Sheet>,
    carriers: u32,
}

/// The sheets of the pending deliveries.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "OnDisk")]
pub(super) struct Sheets {
    held: BTreeMap<SheetKey, Held>,
    /// Carriers by API key. Not kept on disk: it follows from the sheets.
    #[serde(skip)]
    by_key: BTreeMap<String, u64>,
}

/// The sheets as they are kept.
#[derive(Deserialize)]
struct OnDisk {
    held: BTreeMap<SheetKey, Held>,
}

impl From<OnDisk> for Sheets {
    fn from(OnDisk { held }: OnDisk) -> Self {
        let mut by_key: BTreeMap<String, u64> = BTreeMap::new();
        for Held { sheet, carriers } in held.values().filter(|held| held.carriers > 0) {
            *by_key.entry(sheet.key_id.clone()).or_default() += u64::from(*carriers);
        }
        Self { held, by_key }
    }
}

impl Sheets {
    /// The key of `sheet` for the deliveries of that message and generation, made if it is a new one.
    ///
    /// A new key is held by nobody: [`Self::carry`] it, or [`Self::settle`] afterwards.
    pub(super) fn key(&mut self, id: &DeliveryId, sheet: &Arc<Sheet>) -> SheetKey {
        let mut key = SheetKey { message: id.message(), generation: id.generation(), variant: 0 };
        loop {
            match self.held.get(&key) {
                None => {
                    self.held.insert(key, Held { sheet: Arc::clone(sheet), carriers: 0 });
                    return key;
                }
                Some(held) if Arc::ptr_eq(&held.sheet, sheet) || held.sheet == *sheet => return key,
                // A generation has at most as many sheets as a message has recipients, which fit a u16.
                Some(_) => key.variant = key.variant.saturating_add(1),
            }
        }
    }

    /// The sheet of that key.
    pub(super) fn get(&self, key: &SheetKey) -> Option<&Arc<Sheet>> {
        self.held.get(key).map(|held| &held.sheet)
    }

    /// `count` more deliveries carry the sheet.
    pub(super) fn carry(&mut self, key: &SheetKey, count: u32) {
        if let Some(held) = self.held.get_mut(key).filter(|_| count > 0) {
            held.carriers = held.carriers.saturating_add(count);
            *self.by_key.entry(held.sheet.key_id.clone()).or_default() += u64::from(count);
        }
        self.settle(key);
    }

    /// One delivery less carries the sheet; the last one takes it away.
    pub(super) fn drop_one(&mut self, key: &SheetKey) {
        if let Some(held) = self.held.get_mut(key).filter(|held| held.carriers > 0) {
            held.carriers -= 1;
            if let Some(carried) = self.by_key.get_mut(&held.sheet.key_id) {
                *carried = carried.saturating_sub(1);
                if *carried == 0 {
                    self.by_key.remove(&held.sheet.key_id);
                }
            }
        }
        self.settle(key);
    }

    /// How many pending deliveries an API key has.
    pub(super) fn carried_for(&self, key_id: &str) -> u64 {
        self.by_key.get(key_id).copied().unwrap_or(0)
    }

    /// How many sheets are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    fn settle(&mut self, key: &SheetKey) {
        if self.held.get(key).is_some_and(|held| held.carriers == 0) {
            self.held.remove(key);
        }
    }
}
