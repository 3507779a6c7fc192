//! One delivery, wherever it lives: pending in the machine or ended in the archive. And the header of a message.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, MessageId, PartitionId};
use tidings_machine::partition::{Delivery, Header, Sheet};

use super::Question;
use crate::app::Shared;

/// Asks for one delivery with all its events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Find(pub DeliveryId);

/// A delivery with its sheet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    pub delivery: Arc<Delivery>,
    pub sheet: Arc<Sheet>,
}

impl Question for Find {
    const KIND: u16 = 1;
    type Answer = Option<Found>;

    fn of(&self) -> Option<PartitionId> {
        Some(self.0.partition())
    }

    fn stands(&self, answer: &Self::Answer) -> bool {
        answer.is_some()
    }

    async fn answer(self, app: Shared) -> Result<Option<Found>, String> {
        let partition = self.0.partition();
        let pending = app.ledger.partition(partition, |p| p.delivery(&self.0)).ok_or("no replica here")?;
        if let Some((delivery, sheet)) = pending {
            return Ok(Some(Found { delivery, sheet }));
        }
        let archive = app.ledger.archive(partition).ok_or("no archive here")?;
        let ended = archive.get(self.0).await.map_err(|e| e.to_string())?;
        Ok(ended.map(|ended| Found { delivery: Arc::new(ended.delivery), sheet: ended.sheet }))
    }
}

/// Asks for the header of a message at its home.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HeaderOf(pub MessageId);

impl Question for HeaderOf {
    const KIND: u16 = 2;
    type Answer = Option<Header>;

    fn of(&self) -> Option<PartitionId> {
        Some(self.0.home())
    }

    fn stands(&self, answer: &Self::Answer) -> bool {
        answer.is_some()
    }

    async fn answer(self, app: Shared) -> Result<Option<Header>, String> {
        let archive = app.ledger.archive(self.0.home()).ok_or("no archive here")?;
        archive.header(self.0).await.map_err(|e| e.to_string())
    }
}
