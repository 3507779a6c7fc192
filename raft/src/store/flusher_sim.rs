//! The flusher of a simulated node: a queue in front of the simulated disk instead of a thread in front of a real one.
//! What waits when the node dies was never written; what was written and not synced yet dies with the power.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidings_contract::planted;
use tokio::sync::mpsc;

use super::companion::{Beside, Companion};
use crate::base::sled;

/// A change of the database.
pub(crate) type Op = Box<dyn FnOnce() -> Result<(), sled::Error> + Send>;
/// Told once the change is durable, or why it is not.
pub(crate) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;
/// Work that may be done whenever there is time, a little at a time; `true` while there is more.
pub(crate) type Chore = Box<dyn FnMut() -> Result<bool, sled::Error> + Send>;

enum Work {
    Write(Op, Done),
    Note(Op),
    Chore(Chore),
}

/// Whether the disk takes writes.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failed: Mutex<Option<String>>,
    syncs: AtomicU64,
    promised: AtomicU64,
}

impl Health {
    /// Why nothing new should be written now; `None` while all is well.
    pub(crate) fn refuses(&self) -> Option<String> {
        self.failure()
    }

    /// The first error the database reported.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failed.lock().clone()
    }

    /// How many syncs of this disk's life there had been when the newest one was done that others may count on.
    pub(crate) fn promised(&self) -> u64 {
        self.promised.load(Ordering::Relaxed)
    }

    /// How many syncs there were.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}

/// The count of syncs, in the tree `meta`; see `witness.rs` for the real one.
const SYNCS: &str = "syncs";
/// Notes become durable with the next sync, or after this time.
const NOTES: Duration = Duration::from_secs(1);

/// The door to the queue.
#[derive(Debug)]
pub(crate) struct Flusher {
    queue: mpsc::UnboundedSender<Work>,
    health: Arc<Health>,
    companion: Beside,
}

impl Flusher {
    /// Starts working on the queue, as long as the node lives.
    pub(crate) fn start(db: sled::Db, _dir: &Path, _reserve: u64) -> io::Result<Self> {
        let (queue, work) = mpsc::unbounded_channel();
        let health = Arc::new(Health::default());
        let count = db.open_tree("meta").and_then(|meta| meta.get(SYNCS)).map_err(io::Error::from)?;
        let count = count.and_then(|bytes| <[u8; 8]>::try_from(&*bytes).ok()).map_or(0, u64::from_be_bytes);
        health.promised.store(count, Ordering::Relaxed);
        let companion = Beside::default();
        tokio::spawn(serve(db, work, Arc::clone(&health), companion.clone()));
        Ok(Self { queue, health, companion })
    }

    /// Has `op` run after everything asked for before, and `done` told when it is durable.
    pub(crate) fn write(&self, op: Op, done: Done) -> io::Result<()> {
        if planted("ack_before_sync") {
            // Told before anything is on the disk.
            self.send(Work::Write(op, Box::new(drop)))?;
            done(Ok(()));
            return Ok(());
        }
        self.send(Work::Write(op, done))
    }

    /// Has `companion` run before every sync from here on; the first one that is given stays.
    pub(crate) fn with_every_sync(&self, companion: Companion) {
        self.companion.set(companion);
    }

    /// Has `op` run; it becomes durable with the next sync, which comes within a second or so.
    pub(crate) fn note(&self, op: Op) -> io::Result<()> {
        self.send(Work::Note(op))
    }

    /// Has `chore` done bit by bit.
    pub(crate) fn chore(&self, chore: Chore) -> io::Result<()> {
        self.send(Work::Chore(chore))
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    fn send(&self, work: Work) -> io::Result<()> {
        self.queue.send(work).map_err(|_| io::Error::other("the disk was closed"))
    }
}

async fn serve(db: sled::Db, mut work: mpsc::UnboundedReceiver<Work>, health: Arc<Health>, companion: Beside) {
    let mut chores: VecDeque<Chore> = VecDeque::new();
    let (mut count, mut noted) = (health.promised(), false);
    loop {
        let wait = if noted { NOTES } else { Duration::from_secs(86_400 * 365) };
        let mut next = match tokio::time::timeout(wait, work.recv()).await {
            Ok(Some(first)) => Some(first),
            Ok(None) => return,
            Err(_) => None,
        };
        let alone = next.is_none();
        let mut written = Vec::new();
        while let Some(one) = next {
            match one {
                Work::Write(op, done) => written.push((done, op().map_err(io::Error::from))),
                Work::Note(op) => {
                    noted = true;
                    if let Err(error) = op() {
                        health.failed.lock().get_or_insert_with(|| error.to_string());
                    }
                }
                Work::Chore(chore) => chores.push_back(chore),
            }
            next = work.try_recv().ok();
        }
        if !written.is_empty() || (alone && noted) {
            noted = false;
            count += 1;
            tokio::time::sleep(db.flush_takes()).await;
            let counted = db.open_tree("meta").and_then(|meta| meta.insert(SYNCS, &count.to_be_bytes())).map(drop);
            let told = companion.write().map_err(|error| sled::Error::Unsupported(error.to_string()));
            let synced = counted.and(told).and_then(|()| db.flush());
            health.syncs.fetch_add(1, Ordering::Relaxed);
            if synced.is_ok() && !written.is_empty() {
                health.promised.store(count, Ordering::Relaxed);
            }
            for (done, result) in written {
                let result =
                    result.and_then(|()| synced.as_ref().map(drop).map_err(|e| io::Error::other(e.to_string())));
                if let Err(error) = &result {
                    health.failed.lock().get_or_insert_with(|| error.to_string());
                }
                done(result);
            }
        }
        if let Some(mut chore) = chores.pop_front() {
            match chore() {
                Ok(true) => chores.push_back(chore),
                Ok(false) => {}
                Err(error) => drop(health.failed.lock().get_or_insert_with(|| error.to_string())),
            }
        }
    }
}
