//! What every replica of a partition keeps on disk beside the state.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, MessageId, PartitionId, Time};

use super::{Chunk, Delivery, Event, Sheet};

/// A delivery in its final state, with what it shares with its siblings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The delivery.
    pub delivery: Delivery,
    /// Its sheet.
    pub sheet: Arc<Sheet>,
}

/// What a message was, kept by its home partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The message.
    pub message: MessageId,
    /// The template's name.
    pub template: String,
    /// The version the message is pinned to; a repeat under the same idempotency key uses it too.
    pub version: u32,
    /// The caller's own id of the business case.
    pub biz_id: Option<String>,
    /// When the edge accepted it.
    pub accepted_at: Time,
    /// Recipients in the request, the rejected ones included.
    pub recipients: u16,
    /// How many of them each partition owns.
    pub partitions: Vec<(PartitionId, u16)>,
}

/// What every replica writes to its archive. Writing one twice changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Record {
    /// A delivery ended.
    Ended(Box<Ended>),
    /// A message with a header of its own was accepted.
    Header(Box<Header>),
    /// Something happened to a delivery that had already ended. Written once: the event is appended unless it is there.
    Amend {
        /// The delivery, in the archive.
        delivery: DeliveryId,
        /// What happened.
        event: Event,
    },
    /// A piece of a material.
    Chunk(Box<Chunk>),
    /// The pieces of this material are forgotten.
    Dropped(String),
}
