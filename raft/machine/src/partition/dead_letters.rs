//! The dead letters that can be redriven: bounded, the oldest falls out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidings_contract::{DeliveryId, Time};

use super::DeadLetter;

/// Most dead letters that fall out at once when the bound was lowered; the rest follow with the next ones.
const MOST_AT_ONCE: usize = 8;

/// The dead letters of a partition.
#[derive(Clone, Debug, Default)]
pub(super) struct DeadLetters {
    letters: BTreeMap<DeliveryId, DeadLetter>,
    /// By when they ended. Not kept on disk: it follows from the letters.
    by_age: BTreeSet<(Time, DeliveryId)>,
}

impl DeadLetters {
    pub(super) fn get(&self, id: &DeliveryId) -> Option<&DeadLetter> {
        self.letters.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&DeliveryId, &DeadLetter)> {
        self.letters.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Keeps `letter`; beyond `most` the oldest fall out.
    pub(super) fn put(&mut self, id: DeliveryId, letter: DeadLetter, most: u64) {
        self.by_age.insert((letter.at, id));
        self.letters.insert(id, letter);
        for _ in 0..MOST_AT_ONCE {
            if self.letters.len() as u64 <= most {
                return;
            }
            if let Some((_, oldest)) = self.by_age.pop_first() {
                self.letters.remove(&oldest);
            }
        }
    }

    /// Takes a dead letter out.
    pub(super) fn remove(&mut self, id: &DeliveryId) -> Option<DeadLetter> {
        let letter = self.letters.remove(id)?;
        self.by_age.remove(&(letter.at, *id));
        Some(letter)
    }
}

impl Serialize for DeadLetters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.letters.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DeadLetters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let letters = BTreeMap::<DeliveryId, DeadLetter>::deserialize(deserializer)?;
        let by_age = letters.iter().map(|(id, letter)| (letter.at, *id)).collect();
        Ok(Self { letters, by_age })
    }
}
