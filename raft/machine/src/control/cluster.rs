//! The cluster and its nodes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidings_contract::Time;

/// What is fixed when a cluster is born.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its id, drawn by the node that founded it; peers of another cluster are refused.
    pub id: String,
    /// How many partitions it has, for ever.
    pub partitions: u16,
    /// Most replicas of a group.
    pub replication: u16,
    /// When it was founded.
    pub founded_at: Time,
}

/// The label by which replicas are spread: two of one partition share a value of it only where there are too few values.
pub const ZONE: &str = "zone";

/// A node as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Where its peers reach it: `host:port`.
    pub peer_addr: String,
    /// Where callers reach it: `host:port`.
    pub api_addr: String,
    /// Labels for placement.
    pub labels: BTreeMap<String, String>,
    /// When it joined.
    pub joined_at: Time,
}

impl NodeInfo {
    /// Where it stands, for spreading replicas; a node that does not say shares its zone with nobody.
    pub fn zone(&self) -> Option<&str> {
        self.labels.get(ZONE).map(String::as_str)
    }
}
