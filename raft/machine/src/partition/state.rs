//! The state of a partition, and the questions that can be asked of it without changing it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, Reason, Time};

use super::{Answer, Command, Delivery, Hint, Limits, Owner, Record, Sheet, State};
use crate::{Machine, Output};

/// Everything a partition holds in memory.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Partition {
    now: Time,
    owner: Option<Owner>,
    epoch: u64,
    since: u64,
    limits: Limits,
}

/// A delivery that ended in `failed` or `unknown` and can be redriven; the whole of it is in the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// `Failed` or `Unknown`.
    pub state: State,
    /// The template.
    pub template: String,
    /// The channel.
    pub channel: String,
    /// The account of the last attempt, if there was one.
    pub account: Option<String>,
    /// Why it ended.
    pub reason: Reason,
    /// When it ended.
    pub at: Time,
}

/// How many deliveries were accepted and where they ended. `accepted` is the sum of all the others and of what is pending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Deliveries accepted.
    pub accepted: u64,
    /// Deliveries in each final state.
    pub ended: BTreeMap<State, u64>,
}

impl Partition {
    /// The newest time any command carried.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The owner, the epoch of its last takeover, and the first epoch of its uninterrupted tenure.
    pub fn owner(&self) -> Option<(Owner, u64, u64)> {
        self.owner.map(|owner| (owner, self.epoch, self.since))
    }

    /// A pending delivery with its sheet.
    pub fn delivery(&self, _id: &DeliveryId) -> Option<(Arc<Delivery>, Arc<Sheet>)> {
        todo!()
    }

    /// Pending deliveries after `after` in the order of their ids, with their sheets.
    pub fn pending(&self, _after: Option<DeliveryId>) -> Box<dyn Iterator<Item = (Arc<Delivery>, Arc<Sheet>)> + '_> {
        todo!()
    }

    /// How many deliveries are pending.
    pub fn pending_count(&self) -> u64 {
        todo!()
    }

    /// The dead letters in the order of their ids.
    pub fn dead_letters(&self) -> Box<dyn Iterator<Item = (&DeliveryId, &DeadLetter)> + '_> {
        todo!()
    }

    /// Counts since the partition was born.
    pub fn totals(&self) -> &Counts {
        todo!()
    }

    /// Counts of one template on one UTC day (of acceptance).
    pub fn day_counts(&self, _template: &str, _day: u32) -> Option<&Counts> {
        todo!()
    }
}

impl Machine for Partition {
    type Command = Command;
    type Answer = Answer;
    type Hint = Hint;
    type Record = Record;

    fn apply(&mut self, _at: Time, _command: Command, _out: &mut Output<Hint, Record>) -> Answer {
        todo!()
    }
}
