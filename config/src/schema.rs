//! The sections and their keys. What each means and why its default is what it is stands in `default.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};
use tidings_contract::Secret;

/// The configuration of one node. `Default` is `default.toml`.
///
/// Printing or serializing it shows the secret as `***`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This process and its addresses.
    pub node: Node,
    /// What all nodes of a cluster share.
    pub cluster: Cluster,
    /// Consensus.
    pub raft: Raft,
    /// The database.
    pub disk: Disk,
    /// Connections to the API, and the bodies that come in on them.
    pub http: Http,
    /// What may come in.
    pub intake: Intake,
    /// Who may ask, and how often in vain.
    pub access: Access,
    /// How work goes out.
    pub dispatch: Dispatch,
    /// When templates that say nothing try again.
    pub retry: Retry,
    /// When breakers of accounts open that say nothing themselves.
    pub breaker: Breaker,
    /// How deliveries are made of which nobody else says anything.
    pub delivery: Delivery,
    /// What suppliers report later.
    pub receipts: Receipts,
    /// What the process says about itself.
    pub log: Log,
}

/// This process and its addresses.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The number of this node; at least 1.
    pub id: u64,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where the HTTP API listens.
    pub api_listen: SocketAddr,
    /// Where other nodes connect.
    pub peer_listen: SocketAddr,
    /// `host:port` at which others reach the API; empty for what it listens on. See [`Node::advertised_api`].
    pub api_addr: String,
    /// `host:port` at which other nodes reach this one; empty for what it listens on. See [`Node::advertised_peer`].
    pub peer_addr: String,
    /// How long stopping may take, in milliseconds.
    pub stop_deadline_ms: u64,
    /// What placement should know about the node.
    pub labels: BTreeMap<String, String>,
}

impl Node {
    /// The API address to tell others; `bound` is what the listener really got (its port may have been 0).
    pub fn advertised_api(&self, bound: SocketAddr) -> String {
        if self.api_addr.is_empty() { bound.to_string() } else { self.api_addr.clone() }
    }

    /// The peer address to tell others; `bound` is what the listener really got (its port may have been 0).
    pub fn advertised_peer(&self, bound: SocketAddr) -> String {
        if self.peer_addr.is_empty() { bound.to_string() } else { self.peer_addr.clone() }
    }
}

/// What all nodes of a cluster share.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The secret of the cluster; at least 16 bytes. After loading it is here, wherever it came from.
    #[serde(serialize_with = "masked")]
    pub secret: Secret,
    /// The file the secret was read from; empty if it was not.
    pub secret_file: PathBuf,
    /// Partitions of a new cluster.
    pub partitions: u16,
    /// Replicas of each partition.
    pub replication: u16,
}

/// Consensus.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raft {
    /// How often a leader shows that it lives, in milliseconds.
    pub heartbeat_ms: u64,
    /// Shortest silence that starts an election, in milliseconds; at least three heartbeats.
    pub election_min_ms: u64,
    /// Longest silence that starts an election, in milliseconds.
    pub election_max_ms: u64,
    /// Log entries between two snapshots of a group.
    pub snapshot_entries: u64,
    /// Most commands in one log entry.
    pub batch_commands: usize,
    /// Most bytes in one log entry.
    pub batch_bytes: usize,
    /// Most commands waiting for one group.
    pub queue: usize,
    /// Longest wait of a log entry for company, in milliseconds, and only in a crowd.
    pub linger_ms: u64,
    /// How far a machine's clock may be from those of a majority, in milliseconds, before its node leads nothing.
    pub max_clock_offset_ms: u64,
}

/// The database.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Memory for its cache, in bytes.
    pub cache_bytes: u64,
    /// How long ended deliveries are kept, in days.
    pub retention_days: u32,
}

/// Connections to the API, and the bodies that come in on them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Most connections at once.
    pub connections: usize,
    /// Most connections of one address at once; 0 for no limit of its own.
    pub connections_per_address: usize,
    /// How long the head of a request may take, from the connection or from its first byte on, in milliseconds.
    pub head_ms: u64,
    /// How long a connection may lie idle between two requests, in milliseconds.
    pub idle_ms: u64,
    /// How long a body may take to arrive, in milliseconds.
    pub body_ms: u64,
    /// How long an answer may make no progress, in milliseconds.
    pub write_ms: u64,
    /// Most bytes of the bodies of requests with a key, all together.
    pub bodies_bytes: usize,
    /// Most bytes of the bodies of requests without a key, all together.
    pub stranger_bodies_bytes: usize,
    /// Most bytes of large answers that wait to be read, all together.
    pub answers_bytes: usize,
}

/// What may come in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intake {
    /// Largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Largest material, in bytes.
    pub max_material_bytes: usize,
    /// Most recipients of one message.
    pub max_recipients: usize,
    /// How long a request may wait for its answer, in milliseconds.
    pub deadline_ms: u64,
    /// How long an idempotency key is remembered, in hours.
    pub idempotency_hours: u64,
    /// How far ahead a message may be scheduled, in days.
    pub max_delay_days: u64,
    /// Most pending deliveries of one partition.
    pub pending_per_partition: u64,
    /// Most idempotency keys of one partition.
    pub idempotency_keys_per_partition: u64,
    /// Most dead letters of one partition that can be redriven.
    pub dead_letters_per_partition: u64,
    /// Most pending deliveries of one API key in one partition; 0 for no bound of its own.
    pub pending_per_key: u64,
    /// Free bytes on the disk below which nothing comes in.
    pub disk_free_bytes: u64,
    /// Resident bytes of the process above which nothing comes in; 0 for three quarters of the memory there is.
    pub memory_bytes: u64,
}

/// Who may ask, and how often in vain.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// How long keys are believed after the leader of control confirmed this node's copy of them, in milliseconds.
    pub stale_after_ms: u64,
    /// Failed sign-ins from one address in a minute; further ones are answered without being looked at.
    pub failed_sign_ins_per_minute: u32,
    /// Whether `/metrics` is answered without a key.
    pub open_metrics: bool,
    /// Whether `/docs` and `/openapi.json` are answered without a key.
    pub open_docs: bool,
}

/// How work goes out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dispatch {
    /// Most calls at once in the pool of one channel and message type.
    pub pool_size: usize,
    /// Most deliveries of one partition that are out with the pools.
    pub max_outstanding: usize,
}

/// When templates that say nothing try again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Most attempts, the first included; at least 1.
    pub max_attempts: u16,
    /// Wait before the second attempt, in milliseconds.
    pub first_ms: u64,
    /// Longest wait, in milliseconds.
    pub longest_ms: u64,
    /// No attempt later than so many milliseconds after the delivery was first due.
    pub give_up_after_ms: u64,
}

/// When breakers of accounts open that say nothing themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// Length of the window in which a partition counts, in milliseconds.
    pub window_ms: u64,
    /// Fewer calls than so many in a window say nothing about their share of failures.
    pub min_calls: u32,
    /// It opens when so many of a hundred calls failed; 0 for never.
    pub failure_percent: u8,
    /// It opens when so many calls in a row failed; 0 for never.
    pub consecutive: u32,
    /// How long it stays open the first time, in milliseconds.
    pub open_ms: u64,
    /// How long it stays open at most, in milliseconds.
    pub longest_open_ms: u64,
}

/// How deliveries are made of which nobody else says anything.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Longest time of one call to a provider, in milliseconds; 0 for the provider's own deadline.
    pub timeout_ms: u64,
    /// After so many attempts that did not come through an account is given up if there is another; 0 for never.
    pub attempts_per_account: u16,
    /// How long a message is worth sending after it was accepted or was due, in milliseconds; 0 for ever.
    pub expires_after_ms: u64,
}

/// What suppliers report later.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipts {
    /// How often suppliers that have to be asked are asked, in milliseconds.
    pub pull_every_ms: u64,
    /// How long receipts of a delivery are expected after it was taken, in hours.
    pub expected_hours: u64,
}

/// What the process says about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Filter directives: `info`, or `info,tidings_raft=debug`.
    pub level: String,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

impl fmt::Display for Config {
    /// The configuration as TOML, with the secret masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&toml::to_string(self).map_err(|_| fmt::Error)?)
    }
}

fn masked<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    if secret.expose().is_empty() { serializer.serialize_str("") } else { serializer.collect_str(secret) }
}
