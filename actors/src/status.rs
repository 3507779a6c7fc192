//! What can be seen of every actor from outside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use ractor::ActorCell;

/// One actor, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorStatus {
    /// Its name: `supervisor`, `template`, `dedup`, `rate_limiter`, `tokens`, `recalls`, `receipts`, `sender/<channel>/<message type>`, `dispatcher/p0`,
    /// `recorder/p0`, `timers/p0`.
    pub name: String,
    /// How often it was restarted in this process.
    pub restarts: u64,
    /// What waits in it.
    pub queue: usize,
    /// What it has under way in the world: provider calls, proposals.
    pub in_flight: usize,
}

/// The figures of one actor; they outlive its restarts.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    pub(crate) restarts: AtomicU64,
    pub(crate) queue: AtomicUsize,
    pub(crate) in_flight: AtomicUsize,
}

impl Gauge {
    pub(crate) fn set(&self, queue: usize, in_flight: usize) {
        self.queue.store(queue, Ordering::Relaxed);
        self.in_flight.store(in_flight, Ordering::Relaxed);
    }
}

/// Every actor that runs, by name.
#[derive(Debug, Default)]
pub(crate) struct Register(Mutex<BTreeMap<String, Line>>);

#[derive(Debug, Default)]
struct Line {
    gauge: Arc<Gauge>,
    cell: Option<ActorCell>,
}

impl Register {
    /// The figures of the actor of that name.
    pub(crate) fn gauge(&self, name: &str) -> Arc<Gauge> {
        Arc::clone(&self.0.lock().entry(name.to_owned()).or_default().gauge)
    }

    /// The actor runs.
    pub(crate) fn runs(&self, name: &str, cell: ActorCell) {
        self.0.lock().entry(name.to_owned()).or_default().cell = Some(cell);
    }

    /// The actor was stopped on purpose.
    pub(crate) fn stopped(&self, name: &str) {
        self.0.lock().remove(name);
    }

    /// Kills the actor, wherever it is in its work.
    pub(crate) fn kill(&self, name: &str) -> bool {
        let cell = self.0.lock().get(name).and_then(|line| line.cell.clone());
        cell.is_some_and(|cell| {
            cell.kill();
            true
        })
    }

    /// All actors, by name.
    pub(crate) fn observe(&self) -> Vec<ActorStatus> {
        let lines = self.0.lock();
        let status = |(name, line): (&String, &Line)| ActorStatus {
            name: name.clone(),
            restarts: line.gauge.restarts.load(Ordering::Relaxed),
            queue: line.gauge.queue.load(Ordering::Relaxed),
            in_flight: line.gauge.in_flight.load(Ordering::Relaxed),
        };
        lines.iter().map(status).collect()
    }
}
