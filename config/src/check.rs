//! What makes a configuration right: ranges, and values that must fit together.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use crate::{Config, Mistake};

/// Fewest bytes of a cluster's secret: what 16 random bytes give.
const SECRET_BYTES: usize = 16;
/// One kibibyte.
const KIB: u64 = 1_024;
/// One mebibyte.
const MIB: u64 = 1_024 * KIB;

/// Collects mistakes.
#[derive(Default)]
struct Checks(Vec<Mistake>);

impl Checks {
    fn wrong(&mut self, key: &str, value: impl Display, right: impl Into<String>) {
        self.0.push(Mistake::new(key, value, right));
    }

    fn that(&mut self, right: bool, key: &str, value: impl Display, words: impl FnOnce() -> String) {
        if !right {
            self.wrong(key, value, words());
        }
    }

    fn within<T: PartialOrd + Display>(&mut self, key: &str, value: T, range: RangeInclusive<T>) {
        if !range.contains(&value) {
            self.wrong(key, &value, format!("must be between {} and {}", range.start(), range.end()));
        }
    }
}

impl Config {
    /// Every mistake in the values.
    pub(crate) fn check(&self) -> Vec<Mistake> {
        let mut checks = Checks::default();
        self.check_node(&mut checks);
        self.check_cluster(&mut checks);
        self.check_raft(&mut checks);
        self.check_http(&mut checks);
        self.check_flow(&mut checks);
        self.check_log(&mut checks);
        checks.0
    }

    fn check_node(&self, checks: &mut Checks) {
        let node = &self.node;
        checks.within("node.id", node.id, 1..=u64::from(u32::MAX));
        checks.that(!node.data_dir.as_os_str().is_empty(), "node.data_dir", "\"\"", || {
            "must name a directory".to_owned()
        });
        checks.that(
            node.api_listen.port() == 0 || node.api_listen != node.peer_listen,
            "node.peer_listen",
            node.peer_listen,
            || "is where the API listens already; give it another port".to_owned(),
        );
        checks.within("node.stop_deadline_ms", node.stop_deadline_ms, 100..=600_000);
        check_address(checks, "node.api_addr", &node.api_addr, node.api_listen);
        check_address(checks, "node.peer_addr", &node.peer_addr, node.peer_listen);
        for (name, value) in &node.labels {
            let plain = |text: &str| !text.is_empty() && text.len() <= 64 && text.chars().all(|c| !c.is_control());
            checks.that(plain(name) && plain(value), "node.labels", format!("{name}={value}"), || {
                "names and values must have 1 to 64 printable bytes".to_owned()
            });
        }
    }

    fn check_cluster(&self, checks: &mut Checks) {
        let cluster = &self.cluster;
        match cluster.secret.expose().len() {
            0 => checks.wrong(
                "cluster.secret",
                "",
                "is missing: give cluster.secret or cluster.secret_file, the same on every node (`openssl rand -hex 32`)",
            ),
            1..SECRET_BYTES => {
                checks.wrong("cluster.secret", "***", format!("is too short: it must have at least {SECRET_BYTES} bytes"));
            }
            _ => {}
        }
        checks.within("cluster.partitions", cluster.partitions, 1..=1_024);
        checks.within("cluster.replication", cluster.replication, 1..=9);
    }

    fn check_raft(&self, checks: &mut Checks) {
        let raft = &self.raft;
        checks.within("raft.heartbeat_ms", raft.heartbeat_ms, 10..=10_000);
        checks.within("raft.election_min_ms", raft.election_min_ms, 30..=60_000);
        checks.that(
            raft.heartbeat_ms.saturating_mul(3) <= raft.election_min_ms,
            "raft.heartbeat_ms",
            raft.heartbeat_ms,
            || {
                format!(
                    "three heartbeats must fit into raft.election_min_ms ({}): at most {}",
                    raft.election_min_ms,
                    raft.election_min_ms / 3
                )
            },
        );
        checks.that(raft.election_min_ms < raft.election_max_ms, "raft.election_max_ms", raft.election_max_ms, || {
            format!("must be above raft.election_min_ms ({}), best twice as much", raft.election_min_ms)
        });
        checks.within("raft.election_max_ms", raft.election_max_ms, 30..=120_000);
        checks.within("raft.snapshot_entries", raft.snapshot_entries, 100..=1_000_000);
        checks.within("raft.batch_commands", raft.batch_commands, 1..=65_536);
        checks.within("raft.batch_bytes", raft.batch_bytes as u64, 4 * KIB..=4 * MIB);
        checks.that(raft.queue >= raft.batch_commands, "raft.queue", raft.queue, || {
            format!("must hold at least one batch: raft.batch_commands is {}", raft.batch_commands)
        });
        checks.within("raft.queue", raft.queue, 1..=1_000_000);
        checks.within("raft.linger_ms", raft.linger_ms, 0..=100);
        checks.within("raft.max_clock_offset_ms", raft.max_clock_offset_ms, 50..=60_000);
    }

    fn check_access(&self, checks: &mut Checks) {
        let (access, election) = (&self.access, self.raft.election_max_ms);
        checks.within("access.stale_after_ms", access.stale_after_ms, 1_000..=3_600_000);
        checks.that(
            access.stale_after_ms >= election.saturating_mul(2),
            "access.stale_after_ms",
            access.stale_after_ms,
            || {
                format!(
                    "must be at least twice raft.election_max_ms ({election}), or every election makes keys useless"
                )
            },
        );
        checks.within("access.failed_sign_ins_per_minute", access.failed_sign_ins_per_minute, 6..=1_000_000);
    }

    fn check_http(&self, checks: &mut Checks) {
        let http = &self.http;
        checks.within("http.connections", http.connections, 16..=1_000_000);
        checks.within("http.connections_per_address", http.connections_per_address, 0..=1_000_000);
        checks.within("http.head_ms", http.head_ms, 100..=600_000);
        checks.within("http.idle_ms", http.idle_ms, 100..=3_600_000);
        checks.within("http.body_ms", http.body_ms, 100..=3_600_000);
        checks.within("http.write_ms", http.write_ms, 100..=3_600_000);
        let largest = self.intake.max_body_bytes.max(self.intake.max_material_bytes);
        checks.that(http.bodies_bytes >= largest, "http.bodies_bytes", http.bodies_bytes, || {
            format!("must hold the largest body and the largest material ({largest} bytes), or none ever comes in")
        });
        checks.within("http.bodies_bytes", http.bodies_bytes as u64, MIB..=1_024 * 1_024 * MIB);
        checks.within("http.stranger_bodies_bytes", http.stranger_bodies_bytes as u64, MIB..=1_024 * 1_024 * MIB);
        checks.within("http.answers_bytes", http.answers_bytes as u64, MIB..=1_024 * 1_024 * MIB);
    }

    fn check_flow(&self, checks: &mut Checks) {
        let (disk, intake, retry) = (&self.disk, &self.intake, &self.retry);
        checks.within("disk.cache_bytes", disk.cache_bytes, 4 * MIB..=64 * KIB * MIB);
        checks.within("disk.retention_days", disk.retention_days, 1..=3_650);
        checks.within("intake.max_body_bytes", intake.max_body_bytes as u64, KIB..=64 * MIB);
        checks.within("intake.max_material_bytes", intake.max_material_bytes as u64, KIB..=100 * MIB);
        checks.within("intake.max_recipients", intake.max_recipients, 1..=10_000);
        checks.within("intake.deadline_ms", intake.deadline_ms, 100..=60_000);
        checks.within("intake.idempotency_hours", intake.idempotency_hours, 1..=720);
        checks.within("intake.max_delay_days", intake.max_delay_days, 1..=365);
        checks.within("intake.pending_per_partition", intake.pending_per_partition, 1..=10_000_000);
        checks.within("intake.idempotency_keys_per_partition", intake.idempotency_keys_per_partition, 1..=100_000_000);
        checks.within("intake.dead_letters_per_partition", intake.dead_letters_per_partition, 1..=10_000_000);
        checks.within("intake.pending_per_key", intake.pending_per_key, 0..=10_000_000);
        checks.within("intake.disk_free_bytes", intake.disk_free_bytes, 0..=1 << 50);
        checks.that(
            intake.memory_bytes == 0 || intake.memory_bytes >= 64 * MIB,
            "intake.memory_bytes",
            intake.memory_bytes,
            || "must be 0 (three quarters of the memory there is) or at least 67108864".to_owned(),
        );
        self.check_access(checks);
        checks.within("dispatch.pool_size", self.dispatch.pool_size, 1..=4_096);
        checks.within("dispatch.max_outstanding", self.dispatch.max_outstanding, 1..=1_000_000);
        checks.within("retry.max_attempts", retry.max_attempts, 1..=100);
        checks.within("retry.first_ms", retry.first_ms, 1..=86_400_000);
        checks.that(retry.first_ms <= retry.longest_ms, "retry.longest_ms", retry.longest_ms, || {
            format!("must not be below retry.first_ms ({})", retry.first_ms)
        });
        checks.within("retry.give_up_after_ms", retry.give_up_after_ms, 1..=30 * 86_400_000);
        let breaker = &self.breaker;
        checks.within("breaker.window_ms", breaker.window_ms, 1_000..=3_600_000);
        checks.within("breaker.min_calls", breaker.min_calls, 1..=1_000_000);
        checks.within("breaker.failure_percent", breaker.failure_percent, 0..=100);
        checks.within("breaker.consecutive", breaker.consecutive, 0..=1_000_000);
        checks.within("breaker.open_ms", breaker.open_ms, 100..=3_600_000);
        checks.within("breaker.longest_open_ms", breaker.longest_open_ms, breaker.open_ms..=86_400_000);
        let delivery = &self.delivery;
        if delivery.timeout_ms > 0 {
            checks.within("delivery.timeout_ms", delivery.timeout_ms, 100..=120_000);
        }
        checks.within("delivery.attempts_per_account", delivery.attempts_per_account, 0..=100);
        if delivery.expires_after_ms > 0 {
            checks.within("delivery.expires_after_ms", delivery.expires_after_ms, 1_000..=30 * 86_400_000);
        }
        checks.within("receipts.pull_every_ms", self.receipts.pull_every_ms, 1_000..=3_600_000);
        checks.within("receipts.expected_hours", self.receipts.expected_hours, 1..=720);
    }

    fn check_log(&self, checks: &mut Checks) {
        let level = &self.log.level;
        let known = |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word.trim());
        let right = level.split(',').all(|part| known(part.rsplit('=').next().unwrap_or_default()));
        checks.that(right, "log.level", level, || {
            "must be off, error, warn, info, debug or trace, or for example \"info,tidings_raft=debug\"".to_owned()
        });
    }
}

/// An address to tell others: `host:port`, and one that others can reach.
fn check_address(checks: &mut Checks, key: &str, addr: &str, listen: SocketAddr) {
    if addr.is_empty() {
        checks.that(!listen.ip().is_unspecified(), key, "\"\"", || {
            format!("must be given because {listen} is no address that others can reach: host:port")
        });
        return;
    }
    let right = addr.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(['/', ' ', '@']) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    checks.that(right, key, addr, || "must be host:port, for example node1.example.com:7400".to_owned());
}
