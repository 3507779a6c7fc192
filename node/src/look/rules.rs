//! Questions about rules: what they would say about recipients, and who is on the suppression list.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{MessageId, PartitionId, Time};
use tidings_machine::partition::{Finding, Judgement, Recipient, Sheet, Suppression, SuppressionKey};

use super::Question;
use crate::app::Shared;

/// Most entries looked at for one page: a filter that nothing fits must not walk the whole list under its lock.
const LOOKED_AT: usize = 50_000;

/// Asks what would become of recipients.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Rehearse {
    pub partition: PartitionId,
    pub at: Time,
    pub message: MessageId,
    pub sheet: Arc<Sheet>,
    pub recipients: Vec<Recipient>,
}

impl Question for Rehearse {
    const KIND: u16 = 40;
    type Answer = Vec<Judgement>;

    fn of(&self) -> Option<PartitionId> {
        Some(self.partition)
    }

    async fn answer(self, app: Shared) -> Result<Vec<Judgement>, String> {
        let Self { partition, at, message, sheet, recipients } = self;
        let judged = app.ledger.partition(partition, |p| p.rehearse(at, message, partition, &sheet, &recipients));
        judged.ok_or_else(|| "no replica here".to_owned())
    }
}

/// Asks the home of addresses of further legs what its list and caps would say of deliveries that came there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RehearseLegs {
    pub partition: PartitionId,
    pub at: Time,
    pub sheet: Arc<Sheet>,
    /// Which leg, from 1, and the address there.
    pub comers: Vec<(u8, String)>,
}

impl Question for RehearseLegs {
    const KIND: u16 = 43;
    type Answer = Vec<Vec<Finding>>;

    fn of(&self) -> Option<PartitionId> {
        Some(self.partition)
    }

    async fn answer(self, app: Shared) -> Result<Self::Answer, String> {
        let said = app.ledger.partition(self.partition, |p| {
            self.comers.iter().map(|(leg, to)| p.rehearse_leg(self.at, &self.sheet, *leg, to)).collect()
        });
        said.ok_or_else(|| "no replica here".to_owned())
    }
}

/// Asks for entries of the suppression list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Suppressed {
    pub partition: PartitionId,
    /// Only of this channel.
    pub channel: Option<String>,
    /// Only those behind this one.
    pub after: Option<SuppressionKey>,
    pub limit: usize,
}

/// Some entries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SuppressedPage {
    /// In the order of their keys.
    pub entries: Vec<(SuppressionKey, Suppression)>,
    /// All up to here were looked at; `None` if all there are were.
    pub reached: Option<SuppressionKey>,
}

impl Question for Suppressed {
    const KIND: u16 = 41;
    type Answer = SuppressedPage;

    fn of(&self) -> Option<PartitionId> {
        Some(self.partition)
    }

    async fn answer(self, app: Shared) -> Result<SuppressedPage, String> {
        let page = app.ledger.partition(self.partition, |p| {
            let mut page = SuppressedPage { entries: Vec::new(), reached: None };
            for (n, (key, entry)) in p.suppressions(self.after.clone()).enumerate() {
                if page.entries.len() >= self.limit || n >= LOOKED_AT {
                    return page;
                }
                page.reached = Some(key.clone());
                if self.channel.as_ref().is_none_or(|channel| *channel == key.1) {
                    page.entries.push((key.clone(), entry.clone()));
                }
            }
            page.reached = None;
            page
        });
        page.ok_or_else(|| "no replica here".to_owned())
    }
}

/// Asks for the entries of one address: its own channel's and that of every channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SuppressedAddress {
    pub partition: PartitionId,
    pub address: String,
}

impl Question for SuppressedAddress {
    const KIND: u16 = 42;
    type Answer = Vec<(SuppressionKey, Suppression)>;

    fn of(&self) -> Option<PartitionId> {
        Some(self.partition)
    }

    async fn answer(self, app: Shared) -> Result<Self::Answer, String> {
        let found = app.ledger.partition(self.partition, |p| {
            let first = (self.address.clone(), String::new());
            let of = p.suppressions(Some(first)).take_while(|(key, _)| key.0 == self.address);
            of.map(|(key, entry)| (key.clone(), entry.clone())).collect()
        });
        found.ok_or_else(|| "no replica here".to_owned())
    }
}
