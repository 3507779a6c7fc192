//! What a node can be told about its groups, with the defaults and their reasons.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidings_contract::Secret;

use crate::error::OpenError;

/// Most bytes of one log entry, and so of one proposal.
///
/// sled moves pages above a quarter of a segment into files of their own that it does not sync. A page holds up to 17
/// values, so with segments of 16 MiB values must stay below 240 KiB.
pub const MAX_ENTRY_BYTES: usize = 224 * 1024;

/// Everything a node must know to open its groups.
#[derive(Clone, Debug)]
pub struct Options {
    /// This node's number; fixed for the life of its data.
    pub node: u64,
    /// Where its data lives.
    pub data_dir: PathBuf,
    /// Where peers reach it. Port 0 takes a free one.
    pub peer_listen: SocketAddr,
    /// Where peers reach it from outside: `host:port`. `None` is the address it listens on, unless that is any address.
    /// Told to every peer it meets, so that nodes find each other again when addresses changed while there was no
    /// majority to write them down.
    pub advertise: Option<String>,
    /// What every node of the cluster knows and nobody else.
    pub secret: Secret,
    /// How much memory sled may use for its page cache, in bytes.
    pub cache_bytes: u64,
    /// Writes are refused when the disk has less free, in bytes; sled cannot go on after a failed write.
    pub disk_reserve_bytes: u64,
    /// The clocks of Raft.
    pub timing: Timing,
    /// How commands are gathered into entries.
    pub batch: BatchLimits,
    /// How the log is kept short.
    pub log: LogLimits,
    /// How many days ended deliveries are kept.
    pub retention_days: u32,
    /// How long a proposal may take before it is answered `Refused` or `Unknown`.
    pub propose_within: Duration,
    /// How far two machines' clocks may be apart, beside what cannot be measured, and still agree.
    pub max_clock_offset: Duration,
}

impl Options {
    /// The defaults for a node with this number, directory, address and secret.
    pub fn new(node: u64, data_dir: impl Into<PathBuf>, peer_listen: SocketAddr, secret: Secret) -> Self {
        Self {
            node,
            data_dir: data_dir.into(),
            peer_listen,
            advertise: None,
            secret,
            cache_bytes: 256 << 20,
            disk_reserve_bytes: 256 << 20,
            timing: Timing::default(),
            batch: BatchLimits::default(),
            log: LogLimits::default(),
            retention_days: 30,
            propose_within: Duration::from_secs(10),
            max_clock_offset: Duration::from_millis(500),
        }
    }

    pub(crate) fn raft_config(&self) -> Result<Arc<openraft::Config>, OpenError> {
        let timing = &self.timing;
        let config = openraft::Config {
            cluster_name: "tidings".to_owned(),
            heartbeat_interval: timing.heartbeat_ms,
            election_timeout_min: timing.election_min_ms,
            election_timeout_max: timing.election_max_ms,
            install_snapshot_timeout: timing.install_ms,
            max_payload_entries: 64,
            replication_lag_threshold: self.log.snapshot_after + self.log.keep,
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(self.log.snapshot_after),
            max_in_snapshot_log_to_keep: self.log.keep,
            purge_batch_size: 256,
            ..openraft::Config::default()
        };
        config.validate().map(Arc::new).map_err(|e| OpenError::Option(e.to_string()))
    }
}

/// The clocks of Raft, in milliseconds.
///
/// A follower votes for somebody else only `election_max_ms` after it heard of its leader, and stands itself a further
/// `election_min_ms..election_max_ms` later; openraft looks every 1.5 heartbeats. So a dead leader is replaced within
/// `2 × election_max_ms + 1.5 × heartbeat_ms` and one round trip: 2.3 seconds by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader is heard; also the time limit of one append, so not less than a slow disk's worst sync.
    pub heartbeat_ms: u64,
    /// Shortest wait before standing for election.
    pub election_min_ms: u64,
    /// Longest wait before standing for election, and the lease of a leader.
    pub election_max_ms: u64,
    /// Time limit for installing the last piece of a snapshot.
    pub install_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { heartbeat_ms: 200, election_min_ms: 600, election_max_ms: 1_000, install_ms: 60_000 }
    }
}

impl Timing {
    /// Short waits, for tests on one machine.
    pub fn brisk() -> Self {
        Self { heartbeat_ms: 60, election_min_ms: 200, election_max_ms: 350, install_ms: 20_000 }
    }
}

/// How commands are gathered into entries: while an earlier one is in flight, and, in a crowd, a little longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most commands of one entry.
    pub commands: usize,
    /// Most bytes of one entry; at most [`MAX_ENTRY_BYTES`].
    pub bytes: usize,
    /// Most proposals that may wait in one group.
    pub queue: usize,
    /// Most entries of one group under way at once. One gathers the most and costs the least.
    pub in_flight: usize,
    /// Longest time an entry waits for company, and only in a crowd: when the entry before had several proposals.
    pub linger: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { commands: 512, bytes: MAX_ENTRY_BYTES, queue: 8_192, in_flight: 1, linger: Duration::from_millis(4) }
    }
}

/// How the log is kept short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Entries after which a snapshot is taken.
    pub snapshot_after: u64,
    /// Entries kept behind a snapshot, for followers that were away shortly.
    pub keep: u64,
    /// Bytes of the newest entries kept decoded in memory, per group.
    pub tail_bytes: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { snapshot_after: 5_000, keep: 1_000, tail_bytes: 4 << 20 }
    }
}
