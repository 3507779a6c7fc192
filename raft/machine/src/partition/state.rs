//! The state of a partition, and the questions that can be asked of it without changing it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, Reason, Time};

use super::breakers::Breakers;
use super::counts::Tally;
use super::dead_letters::DeadLetters;
use super::dedup::Dedup;
use super::endpoints::Endpoints;
use super::idempotency::{Keys, Parts};
use super::limiter::Limiter;
use super::outside::Outside;
use super::sheets::{SheetKey, Sheets};
use super::slots::Slots;
use super::suppressions::Suppressions;
use super::{Answer, Command, Delivery, Hint, Limits, Owner, Record, Sheet, State, Suppression, SuppressionKey};
use crate::repair::Repaired;
use crate::{Machine, Output};

/// Everything a partition holds in memory.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Partition {
    pub(super) now: Time,
    pub(super) owner: Option<Owner>,
    pub(super) epoch: u64,
    pub(super) since: u64,
    pub(super) limits: Limits,
    pub(super) pending: BTreeMap<DeliveryId, Waiting>,
    pub(super) sheets: Sheets,
    pub(super) parts: Parts,
    pub(super) keys: Keys,
    pub(super) dedup: Dedup,
    pub(super) limiter: Limiter,
    pub(super) dead: DeadLetters,
    pub(super) tally: Tally,
    #[serde(default)]
    pub(super) slots: Slots,
    #[serde(default)]
    pub(super) suppressions: Suppressions,
    #[serde(default)]
    pub(super) breakers: Breakers,
    #[serde(default)]
    pub(super) outside: Outside,
    /// When the present owner took over, if it found anything pending.
    #[serde(default)]
    pub(super) taken_at: Time,
    /// Hosts and URLs of recipients that failed lately.
    #[serde(default)]
    pub(super) endpoints: Endpoints,
    /// The last repair of its time. States of programs before it end here.
    #[serde(default, deserialize_with = "crate::absent::absent_is_empty")]
    pub(super) repaired: Option<Repaired>,
}

/// A pending delivery and which sheet it carries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) delivery: Arc<Delivery>,
    pub(super) sheet: SheetKey,
}

/// How much a partition holds, for gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Pending deliveries.
    pub pending: usize,
    /// Sheets that pending deliveries carry.
    pub sheets: usize,
    /// Answers of parts kept for repeats.
    pub parts: usize,
    /// Idempotency keys.
    pub idempotency_keys: usize,
    /// Slots of content dedup.
    pub dedup_slots: usize,
    /// Accounts with granted permits that still count.
    pub limited_accounts: usize,
    /// Dead letters that can be redriven.
    pub dead_letters: usize,
    /// Slots of caps.
    pub cap_slots: usize,
    /// Entries of the suppression list.
    pub suppressions: usize,
    /// Accounts whose calls are counted for their breakers.
    pub counted_accounts: usize,
    /// Hosts and URLs of recipients that failed lately.
    pub watched_endpoints: usize,
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

    /// The limits in force: those of the last takeover.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// A pending delivery with its sheet.
    pub fn delivery(&self, id: &DeliveryId) -> Option<(Arc<Delivery>, Arc<Sheet>)> {
        self.pending.get(id).and_then(|waiting| self.with_sheet(waiting))
    }

    /// Pending deliveries after `after` in the order of their ids, with their sheets.
    pub fn pending(&self, after: Option<DeliveryId>) -> Box<dyn Iterator<Item = (Arc<Delivery>, Arc<Sheet>)> + '_> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.pending.range((start, Bound::Unbounded));
        Box::new(rest.filter_map(|(_, waiting)| self.with_sheet(waiting)))
    }

    /// How many deliveries are pending.
    pub fn pending_count(&self) -> u64 {
        self.pending.len() as u64
    }

    /// How many deliveries of an API key are pending.
    pub fn pending_of_key(&self, key_id: &str) -> u64 {
        self.sheets.carried_for(key_id)
    }

    /// The dead letters in the order of their ids.
    pub fn dead_letters(&self) -> Box<dyn Iterator<Item = (&DeliveryId, &DeadLetter)> + '_> {
        Box::new(self.dead.iter())
    }

    /// One dead letter.
    pub fn dead_letter(&self, id: &DeliveryId) -> Option<&DeadLetter> {
        self.dead.get(id)
    }

    /// Counts since the partition was born.
    pub fn totals(&self) -> &Counts {
        self.tally.totals()
    }

    /// Counts of one template on one UTC day (of acceptance).
    pub fn day_counts(&self, template: &str, day: u32) -> Option<&Counts> {
        self.tally.day(template, day)
    }

    /// Counts of every template on every UTC day (of acceptance) that is still kept, the oldest day first.
    pub fn all_day_counts(&self) -> impl Iterator<Item = (u32, &str, &Counts)> {
        self.tally
            .days()
            .flat_map(|(day, of)| of.iter().map(move |(template, counts)| (day, template.as_str(), counts)))
    }

    /// One entry of the suppression list, unless it ran out.
    pub fn suppression(&self, key: &SuppressionKey) -> Option<&Suppression> {
        self.suppressions.get(key, self.now)
    }

    /// Entries of the suppression list after `after`, in the order of addresses and channels.
    pub fn suppressions(
        &self,
        after: Option<SuppressionKey>,
    ) -> Box<dyn Iterator<Item = (&SuppressionKey, &Suppression)> + '_> {
        Box::new(self.suppressions.after(after, self.now))
    }

    /// How much is held, for gauges.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            pending: self.pending.len(),
            sheets: self.sheets.len(),
            parts: self.parts.len(),
            idempotency_keys: self.keys.len(),
            dedup_slots: self.dedup.len(),
            limited_accounts: self.limiter.len(),
            dead_letters: self.dead.len(),
            cap_slots: self.slots.len(),
            suppressions: self.suppressions.len(),
            counted_accounts: self.breakers.len(),
            watched_endpoints: self.endpoints.len(),
        }
    }

    /// When the next thing runs out that a `Tick` would forget; commands forget a few each on their own.
    pub fn next_expiry(&self) -> Option<Time> {
        let all = [self.parts.next(), self.keys.next(), self.dedup.next(), self.limiter.next(), self.tally.next()];
        let rules = [
            self.slots.next(),
            self.suppressions.next(),
            self.breakers.next(),
            self.outside.next(),
            self.endpoints.next(),
        ];
        all.into_iter().chain(rules).flatten().min()
    }

    fn with_sheet(&self, waiting: &Waiting) -> Option<(Arc<Delivery>, Arc<Sheet>)> {
        let sheet = self.sheets.get(&waiting.sheet)?;
        Some((Arc::clone(&waiting.delivery), Arc::clone(sheet)))
    }
}

impl Machine for Partition {
    type Command = Command;
    type Answer = Answer;
    type Hint = Hint;
    type Record = Record;

    fn now(&self) -> Time {
        self.now
    }

    fn sets_time_back(command: &Command) -> bool {
        matches!(command, Command::RepairTime(_))
    }

    fn apply(&mut self, at: Time, command: Command, out: &mut Output<Hint, Record>) -> Answer {
        self.now = self.now.max(at);
        self.dispatch(command, out)
    }
}
