//! How many deliveries were accepted and where they stand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidings_contract::PartitionId;
use tidings_machine::partition::{Counts, State};

use super::Question;
use crate::app::Shared;

/// Asks for the counts of a partition since it was born.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Totals(pub PartitionId);

/// Asks for the counts of one template on one UTC day of acceptance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Day {
    pub partition: PartitionId,
    pub template: String,
    pub day: u32,
}

/// Counts with what is pending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tallied {
    pub accepted: u64,
    pub pending: u64,
    pub ended: BTreeMap<State, u64>,
}

impl From<&Counts> for Tallied {
    fn from(counts: &Counts) -> Self {
        let ended: u64 = counts.ended.values().sum();
        Self { accepted: counts.accepted, pending: counts.accepted.saturating_sub(ended), ended: counts.ended.clone() }
    }
}

impl Tallied {
    /// Adds another partition's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.pending += other.pending;
        for (state, count) in &other.ended {
            *self.ended.entry(*state).or_default() += count;
        }
    }
}

impl Question for Totals {
    const KIND: u16 = 8;
    type Answer = Tallied;

    fn of(&self) -> Option<PartitionId> {
        Some(self.0)
    }

    async fn answer(self, app: Shared) -> Result<Tallied, String> {
        app.ledger.partition(self.0, |p| Tallied::from(p.totals())).ok_or_else(|| "no replica here".to_owned())
    }
}

impl Question for Day {
    const KIND: u16 = 9;
    type Answer = Tallied;

    fn of(&self) -> Option<PartitionId> {
        Some(self.partition)
    }

    async fn answer(self, app: Shared) -> Result<Tallied, String> {
        let look =
            |p: &tidings_machine::partition::Partition| p.day_counts(&self.template, self.day).map(Tallied::from);
        Ok(app.ledger.partition(self.partition, look).ok_or("no replica here")?.unwrap_or_default())
    }
}
