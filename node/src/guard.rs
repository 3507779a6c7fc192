//! Whether this node may take more in, and when it is worth coming back: free disk, memory, and how fast pending deliveries
//! drain. Looked at once a second; a request only reads figures.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::RwLock;
use tidings_contract::PartitionId;
use tokio::time::Instant;

use crate::app::App;
use crate::control_groups;
use crate::problem::{Code, Problem};

/// How often the figures are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Over so many looks a drain is measured.
const LOOKS: usize = 15;
/// Shortest and longest advice, in milliseconds.
const ADVICE_MS: (u64, u64) = (1_000, 60_000);
/// Advice where nothing was measured: a partition that has no replica here, or a node that has just started.
const UNMEASURED_MS: u64 = 5_000;
/// Advice for a full disk: somebody has to make room.
pub(crate) const DISK_MS: u64 = 30_000;
/// Advice for full memory: what is pending has to drain.
const MEMORY_MS: u64 = 5_000;

/// How many deliveries of a partition had ended, at the newest looks.
type Drain = VecDeque<(Instant, u64)>;

/// The figures.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Free bytes beside the database; `u64::MAX` while nobody knows.
    disk_free: AtomicU64,
    /// Resident bytes of this process; 0 while nobody knows.
    resident: AtomicU64,
    /// See [`share_of_memory`].
    memory_bytes: AtomicU64,
    drains: RwLock<BTreeMap<PartitionId, Drain>>,
}

impl Guard {
    pub(crate) fn new() -> Self {
        Self {
            disk_free: AtomicU64::new(u64::MAX),
            resident: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(share_of_memory()),
            drains: RwLock::default(),
        }
    }

    /// Whether a message may be taken.
    ///
    /// # Errors
    /// The problem to answer if not; nothing was kept.
    pub(crate) fn admit(&self, app: &App) -> Result<(), Problem> {
        let limits = app.limits();
        let (free, least) = (self.disk_free.load(Ordering::Relaxed), limits.disk_free_bytes);
        if free < least {
            let words = format!("{free} bytes are free on this node's disk; it takes messages from {least} on");
            return Err(Problem::new(Code::DiskFull, words).come_back_in(DISK_MS));
        }
        let most = match limits.memory_bytes {
            0 => self.memory_bytes.load(Ordering::Relaxed),
            given => given,
        };
        let resident = self.resident.load(Ordering::Relaxed);
        if resident > most {
            let words = format!("this node holds {resident} bytes of memory; it takes messages up to {most}");
            return Err(Problem::new(Code::MemoryFull, words).come_back_in(MEMORY_MS));
        }
        Ok(())
    }

    /// Deliveries of a partition that ended in a second, lately, in thousandths; nothing if it was not looked at often enough.
    pub(crate) fn drain_per_1000_s(&self, partition: PartitionId) -> Option<u64> {
        let drains = self.drains.read();
        let drain = drains.get(&partition)?;
        let ((first, before), (last, after)) = (drain.front()?, drain.back()?);
        rate(after.saturating_sub(*before), *last - *first)
    }

    /// When there may be room for `missing` more deliveries of a partition, in milliseconds from now, if a share of what ends
    /// there (of `whole`) makes room for them.
    pub(crate) fn room_in(&self, partition: PartitionId, missing: u64, (share, whole): (u64, u64)) -> u64 {
        let drain = self.drain_per_1000_s(partition);
        drain.map_or(UNMEASURED_MS, |drain| {
            advice(missing, u128::from(drain) * u128::from(share) / u128::from(whole.max(1)))
        })
    }

    /// The figures for `/metrics`.
    pub(crate) fn gauge(&self, node: &str) {
        let free = self.disk_free.load(Ordering::Relaxed);
        if free < u64::MAX {
            metrics::gauge!("tidings_disk_free_bytes", "node" => node.to_owned()).set(free as f64);
        }
        let resident = self.resident.load(Ordering::Relaxed);
        metrics::gauge!("tidings_resident_bytes", "node" => node.to_owned()).set(resident as f64);
        let partitions: Vec<PartitionId> = self.drains.read().keys().copied().collect();
        for partition in partitions {
            let drain = self.drain_per_1000_s(partition).unwrap_or(0) as f64 / 1_000.0;
            let labels = [("node", node.to_owned()), ("group", partition.to_string())];
            metrics::gauge!("tidings_drain_per_second", &labels).set(drain);
        }
    }

    fn look(&self, app: &App) {
        if let Some(resident) = resident_bytes() {
            self.resident.store(resident, Ordering::Relaxed);
        }
        if let Some(disk) = app.ledger.disk_use().filter(|_| cfg!(not(feature = "sim"))) {
            self.disk_free.store(disk.free_bytes, Ordering::Relaxed);
        }
        // A group's limit may change while the process runs.
        if cfg!(not(feature = "sim")) {
            self.memory_bytes.store(share_of_memory(), Ordering::Relaxed);
        }
        let now = Instant::now();
        for partition in app.partitions() {
            let ended = app.ledger.partition(partition, |p| p.totals().ended.values().sum());
            let mut drains = self.drains.write();
            let Some(ended) = ended else {
                drains.remove(&partition);
                continue;
            };
            let drain = drains.entry(partition).or_default();
            drain.push_back((now, ended));
            while drain.len() > LOOKS {
                drain.pop_front();
            }
        }
    }
}

/// So many in that time, in thousandths a second.
fn rate(count: u64, span: Duration) -> Option<u64> {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    (millis >= 500).then(|| count.saturating_mul(1_000_000) / millis)
}

/// How long `missing` take at so many in a thousand seconds, in milliseconds and within reason.
fn advice(missing: u64, per_1000_s: u128) -> u64 {
    let millis = (u128::from(missing) * 1_000_000).checked_div(per_1000_s);
    let millis = millis.map_or(ADVICE_MS.1, |millis| u64::try_from(millis).unwrap_or(u64::MAX));
    millis.clamp(ADVICE_MS.0, ADVICE_MS.1)
}

/// Looks at the figures until the node is gone.
pub(crate) async fn watch(app: Weak<App>) {
    let mut every = tokio::time::interval(LOOK);
    loop {
        every.tick().await;
        let Some(app) = app.upgrade() else { return };
        app.guard.look(&app);
    }
}

/// Counts a message that was turned away for want of room.
pub(crate) fn count(problem: &Problem) {
    if matches!(problem.code(), Code::Full | Code::KeyFull | Code::DiskFull | Code::MemoryFull) {
        metrics::counter!("tidings_intake_refused_total", "code" => problem.code().name()).increment(1);
    }
}

/// A guard that nobody feeds yet.
pub(crate) fn fresh() -> Arc<Guard> {
    Arc::new(Guard::new())
}

/// The resident bytes of this process (`/proc/self/status`, proc(5): `VmRSS` in kB). Not in the simulation, where many
/// nodes are one process.
#[cfg(not(feature = "sim"))]
fn resident_bytes() -> Option<u64> {
    field("/proc/self/status", "VmRSS:")
}

#[cfg(feature = "sim")]
fn resident_bytes() -> Option<u64> {
    None
}

/// What this process may have: the machine's memory, or the limit of its control groups where that is less.
fn available_bytes() -> Option<u64> {
    let machine = field("/proc/meminfo", "MemTotal:");
    let groups = control_groups::memory_limit(Path::new("/"));
    machine.into_iter().chain(groups).min()
}

/// What `intake.memory_bytes = 0` stands for: three quarters of what this process may have.
fn share_of_memory() -> u64 {
    available_bytes().map_or(u64::MAX, |bytes| bytes / 4 * 3)
}

/// A field in kB of a file of `/proc`, in bytes.
fn field(path: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb.saturating_mul(1_024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_is_how_long_the_drain_takes_within_a_second_and_a_minute() {
        for (missing, per_second, wanted) in [
            (1, 1_000, 1_000),
            (999, 1_000, 1_000),
            (5_000, 1_000, 5_000),
            (5_001, 1_000, 5_001),
            (60_001, 1_000, 60_000),
            (1, 0, 60_000),
            (u64::MAX, 1, 60_000),
        ] {
            assert_eq!(advice(missing, per_second * 1_000), wanted, "{missing} at {per_second} a second");
        }
    }

    #[test]
    fn a_rate_needs_half_a_second() {
        assert_eq!(rate(10, Duration::from_millis(499)), None);
        assert_eq!(rate(10, Duration::from_millis(500)), Some(20_000));
        assert_eq!(rate(0, Duration::from_secs(9)), Some(0));
    }

    #[cfg(not(feature = "sim"))]
    #[test]
    fn a_process_knows_what_it_holds_and_what_it_may() {
        let (held, may) = (resident_bytes().expect("proc is there"), available_bytes().expect("proc is there"));
        assert!(held > 1 << 20 && held < may, "{held} of {may}");
    }
}
