//! Nodes on their way out, and those that are gone for good.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
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
