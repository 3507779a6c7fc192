//! Nodes on their way out, and those that are gone for good.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use tidings_contract::Time;

/// Nodes that leave and that left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departures {
    /// Nodes that are to leave, with the time since when: nothing is placed on them, what they hold moves away.
    pub draining: BTreeMap<u64, Time>,
    /// Nodes that left, with the time. Their numbers are never used again: what such a node has on its disk is a vote
    /// and a log that nobody counts any more.
    pub removed: BTreeMap<u64, Time>,
}

/// Reads what stood at the very end of a state of disk version 2; those of version 1 end before it.
///
/// A snapshot is compared with its checksum before it is read, so an end that comes early is that of an older program.
pub(super) fn absent_is_empty<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Ok(T::deserialize(deserializer).unwrap_or_default())
}
