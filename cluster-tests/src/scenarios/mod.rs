//! The proofs that need real processes, one file each. Every one starts its own cluster and cleans up after itself.

pub mod all_down;
pub mod any_node;
pub mod backup;
pub mod bombs;
pub mod callbacks;
pub mod caps;
mod dkim;
pub mod endpoints;
pub mod failover;
pub mod grow;
pub mod history;
pub mod idempotency;
pub mod isolation;
pub mod judges;
pub mod keys_cut_off;
pub mod kills;
pub mod limits;
pub mod memory;
pub mod phones;
pub mod replace;
pub mod rolling;
pub mod smtp;
pub mod strangers;
pub mod vendors;
pub mod webhook;
pub mod weights;

use crate::cluster::Cluster;
use crate::load::Plan;
use crate::receiver::Receiver;

/// How much to send.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Deliveries to be accepted at least.
    pub messages: u64,
    /// Callers at once.
    pub connections: usize,
    /// Kills, spread over the run.
    pub kills: u32,
    /// Partitions of the cluster.
    pub partitions: u16,
}

/// A load over all nodes, one recipient a request, half of the requests with a key.
fn plan(cluster: &Cluster, receiver: &Receiver, connections: usize, most: u64) -> Plan {
    Plan {
        nodes: cluster.urls(),
        template: "hook".to_owned(),
        receiver: receiver.base(),
        connections,
        batch: 1,
        first: 0,
        most,
        keyed: true,
    }
}
