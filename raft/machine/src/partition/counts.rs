//! How many deliveries were accepted and where they ended: in total, and per template and day of acceptance.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use tidings_contract::{Time, planted};

use super::{Counts, State};

/// Days for which the counts per template are kept, today included. Longer than a message can wait (30 days).
const DAYS_KEPT: u32 = 40;

/// All counts of a partition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    #[serde(deserialize_with = "totals")]
    totals: Counts,
    days: BTreeMap<u32, BTreeMap<String, Counts>>,
}

fn totals<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Counts, D::Error> {
    let mut totals = Counts::deserialize(deserializer)?;
    totals.accepted += u64::from(planted("counted_twice"));
    Ok(totals)
}

impl Tally {
    pub(super) fn totals(&self) -> &Counts {
        &self.totals
    }

    pub(super) fn day(&self, template: &str, day: u32) -> Option<&Counts> {
        self.days.get(&day)?.get(template)
    }

    /// The days that have counts of that template, the oldest first.
    pub(super) fn days(&self) -> impl Iterator<Item = (u32, &BTreeMap<String, Counts>)> {
        self.days.iter().map(|(day, templates)| (*day, templates))
    }

    /// A delivery was accepted.
    pub(super) fn accepted(&mut self, template: &str, at: Time) {
        self.totals.accepted += 1;
        let day = self.days.entry(at.day()).or_default();
        match day.get_mut(template) {
            Some(counts) => counts.accepted += 1,
            None => drop(day.insert(template.to_owned(), Counts { accepted: 1, ended: BTreeMap::new() })),
        }
    }

    /// One that was accepted at `accepted_at` ended. A day that is no longer kept stays forgotten.
    pub(super) fn ended(&mut self, template: &str, accepted_at: Time, state: State) {
        *self.totals.ended.entry(state).or_default() += 1;
        if let Some(counts) = self.days.get_mut(&accepted_at.day()).and_then(|day| day.get_mut(template)) {
            *counts.ended.entry(state).or_default() += 1;
        }
    }

    /// One that had been delivered was taken back. A day that is no longer kept stays forgotten.
    pub(super) fn recalled(&mut self, template: &str, accepted_at: Time) {
        self.totals.take_back();
        if let Some(counts) = self.days.get_mut(&accepted_at.day()).and_then(|day| day.get_mut(template)) {
            counts.take_back();
        }
    }

    /// Forgets at most one day that is no longer kept.
    pub(super) fn prune(&mut self, now: Time) {
        if self.next().is_some_and(|at| at <= now) {
            self.days.pop_first();
        }
    }

    /// When the next day is to be forgotten.
    pub(super) fn next(&self) -> Option<Time> {
        let (day, _) = self.days.first_key_value()?;
        Some(Time((u64::from(*day) + u64::from(DAYS_KEPT)) * 86_400_000))
    }
}

impl Counts {
    /// Moves one from delivered to recalled, if there is one.
    fn take_back(&mut self) {
        if let Some(delivered) = self.ended.get_mut(&State::Delivered).filter(|delivered| **delivered > 0) {
            *delivered -= 1;
            *self.ended.entry(State::Recalled).or_default() += 1;
        }
    }
}
