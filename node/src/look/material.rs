//! One piece of a material, from whoever has a replica of its home.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tidings_contract::PartitionId;

use super::Question;
use crate::app::Shared;

/// Asks for one piece of a material.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ChunkOf {
    pub home: PartitionId,
    pub material: String,
    pub index: u32,
}

impl Question for ChunkOf {
    const KIND: u16 = 60;
    /// The bytes in base64.
    type Answer = String;

    fn of(&self) -> Option<PartitionId> {
        Some(self.home)
    }

    /// A replica without the piece gives no answer.
    fn stands(&self, _answer: &Self::Answer) -> bool {
        true
    }

    async fn answer(self, app: Shared) -> Result<String, String> {
        let archive = app.ledger.archive(self.home).ok_or("no archive here")?;
        let bytes = archive.chunk(self.material, self.index).await.map_err(|e| e.to_string())?;
        bytes.map(|bytes| STANDARD.encode(bytes)).ok_or_else(|| "this replica does not have the piece".to_owned())
    }
}
