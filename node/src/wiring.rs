//! From the configuration's words to those of the parts.

use std::time::Duration;

use tidings_config::Config;
use tidings_machine::partition::Limits as PartitionLimits;
use tidings_raft::{BatchLimits, LogLimits, MAX_ENTRY_BYTES, Options, Timing};

use crate::app::Limits;
use crate::delivering::of_config;

const DAY_MS: u64 = 86_400_000;

/// What the groups are opened with.
pub(crate) fn raft(config: &Config) -> Options {
    let raft = &config.raft;
    let node = &config.node;
    let mut options = Options::new(node.id, &node.data_dir, node.peer_listen, config.cluster.secret.clone());
    options.cache_bytes = config.disk.cache_bytes;
    options.retention_days = config.disk.retention_days;
    options.timing = Timing {
        heartbeat_ms: raft.heartbeat_ms,
        election_min_ms: raft.election_min_ms,
        election_max_ms: raft.election_max_ms,
        ..options.timing
    };
    options.batch = BatchLimits {
        commands: raft.batch_commands,
        bytes: raft.batch_bytes.min(MAX_ENTRY_BYTES),
        queue: raft.queue,
        linger: Duration::from_millis(raft.linger_ms),
        ..options.batch
    };
    options.log = LogLimits { snapshot_after: raft.snapshot_entries, ..options.log };
    // A simulated life is short: few entries stay behind a snapshot, so that followers that were away need one.
    #[cfg(feature = "sim")]
    (options.log.keep = raft.snapshot_entries / 2);
    options.max_clock_offset = Duration::from_millis(raft.max_clock_offset_ms);
    options.propose_within = Duration::from_millis(config.intake.deadline_ms);
    options
}

/// What the actors are started with.
pub(crate) fn actors(config: &Config) -> tidings_actors::Settings {
    tidings_actors::Settings {
        pool_size: config.dispatch.pool_size,
        in_motion: config.dispatch.max_outstanding,
        pull_every: Duration::from_millis(config.receipts.pull_every_ms),
        receipts_for: Duration::from_secs(config.receipts.expected_hours.saturating_mul(3_600)),
        ..tidings_actors::Settings::default()
    }
}

/// How much a partition may hold.
pub(crate) fn partition(config: &Config) -> PartitionLimits {
    PartitionLimits {
        pending: config.intake.pending_per_partition,
        idempotency_keys: config.intake.idempotency_keys_per_partition,
        dead_letters: config.intake.dead_letters_per_partition,
        pending_per_key: config.intake.pending_per_key,
    }
}

/// The limits of requests.
pub(crate) fn requests(config: &Config) -> Limits {
    let intake = &config.intake;
    Limits {
        max_body_bytes: intake.max_body_bytes,
        max_material_bytes: intake.max_material_bytes,
        max_recipients: intake.max_recipients,
        body_within: Duration::from_millis(config.http.body_ms),
        deadline: Duration::from_millis(intake.deadline_ms),
        idempotency_ms: intake.idempotency_hours.saturating_mul(3_600_000),
        max_delay_ms: intake.max_delay_days.saturating_mul(DAY_MS),
        election: Duration::from_millis(config.raft.election_max_ms * 2),
        delivery: of_config(config),
        quiet_within: Duration::from_millis(config.node.stop_deadline_ms / 3),
        disk_free_bytes: intake.disk_free_bytes,
        memory_bytes: intake.memory_bytes,
        stale_after: Duration::from_millis(config.access.stale_after_ms),
        failed_sign_ins_per_minute: config.access.failed_sign_ins_per_minute,
        open_metrics: config.access.open_metrics,
        open_docs: config.access.open_docs,
    }
}
