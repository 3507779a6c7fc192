//! The thread through which everything that must be durable is written: one sync serves all groups.
//!
//! sled 0.34 flushes with `sync_file_range` on Linux, which neither waits for the disk's own cache nor for the file's
//! size. So a flush is followed by `fdatasync` of sled's one data file (`db` in its directory).

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::companion::{Beside, Companion};
use super::witness::Witness;
use crate::base::sled;
use crate::failing::words;

/// Most writes that wait. Each group has at most one append and one vote under way, so this is never reached in health.
const QUEUE: usize = 16_384;
/// Most writes one sync serves.
const GATHER: usize = 1_024;
/// So many writes in one sync are a crowd.
const CROWD: usize = 2;
/// In a crowd a sync waits for more writes as long as a sync takes, and never longer than this.
const LONGEST_WAIT: Duration = Duration::from_millis(2);
/// How often the free space is looked at.
const LOOK: Duration = Duration::from_secs(1);

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
    Stop,
}

/// Whether the disk takes writes.
#[derive(Debug, Default)]
pub(crate) struct Health {
    full: AtomicBool,
    failed: Mutex<Option<String>>,
    syncs: AtomicU64,
    promised: AtomicU64,
}

impl Health {
    /// Why nothing new should be written now; `None` while all is well.
    pub(crate) fn refuses(&self) -> Option<String> {
        if self.full.load(Ordering::Relaxed) {
            return Some("the disk is full".to_owned());
        }
        self.failure()
    }

    /// The first error the database reported. sled cannot go on after one: the process has to start again.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failed.lock().clone()
    }

    /// How many syncs there were.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// How many syncs of this disk's life there had been when the newest one was done that made something durable which
    /// others may count on.
    pub(crate) fn promised(&self) -> u64 {
        self.promised.load(Ordering::Acquire)
    }

    fn fail(&self, error: &io::Error) {
        tracing::error!(%error, "the database failed");
        self.failed.lock().get_or_insert_with(|| error.to_string());
    }
}

/// The door to the thread.
#[derive(Debug)]
pub(crate) struct Flusher {
    queue: SyncSender<Work>,
    health: Arc<Health>,
    companion: Beside,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Flusher {
    /// Starts the thread for the database in `dir`.
    pub(crate) fn start(db: sled::Db, dir: &Path, reserve: u64) -> io::Result<Self> {
        let file = File::open(dir.join("db"))?;
        let (queue, work) = sync_channel(QUEUE);
        let health = Arc::new(Health::default());
        let witness = Witness::open(&db, dir)?;
        health.promised.store(witness.count(), Ordering::Release);
        let companion = Beside::default();
        let worker = Worker {
            db,
            file,
            witness,
            dir: dir.to_owned(),
            reserve,
            health: Arc::clone(&health),
            looked: None,
            takes: Duration::ZERO,
            crowd: 0,
            noted: false,
            companion: companion.clone(),
        };
        let told = Arc::clone(&health);
        let run = move || {
            // Whoever waits for a write is told by the end of the queue; the process is told that it has to end.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| worker.run(&work))) {
                told.fail(&io::Error::other(format!("the thread that writes panicked: {}", words(&*panic))));
            }
        };
        let thread = std::thread::Builder::new().name("flusher".into()).spawn(run)?;
        Ok(Self { queue, health, companion, thread: Mutex::new(Some(thread)) })
    }

    /// Has `op` run after everything asked for before, and `done` told when it is durable.
    pub(crate) fn write(&self, op: Op, done: Done) -> io::Result<()> {
        self.send(Work::Write(op, done))
    }

    /// Has `companion` run before every sync from here on; the first one that is given stays.
    pub(crate) fn with_every_sync(&self, companion: Companion) {
        self.companion.set(companion);
    }

    /// Has `op` run; it becomes durable with the next sync, which comes within a second or so. Nobody waits for it, and it
    /// counts as nothing that others rely on.
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
        self.queue.try_send(work).map_err(|e| match e {
            TrySendError::Full(_) => io::Error::other("too many writes wait for the disk"),
            TrySendError::Disconnected(_) => io::Error::other("the disk was closed"),
        })
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        let thread = self.thread.lock().take();
        match thread {
            Some(thread) if thread.thread().id() != std::thread::current().id() => {
                // A full queue still empties: the thread is alive as long as we are.
                let _ = self.queue.send(Work::Stop);
                let _ = thread.join();
            }
            // The last owner was a write that just ended on the thread itself.
            _ => drop(self.queue.try_send(Work::Stop)),
        }
    }
}

struct Worker {
    db: sled::Db,
    file: File,
    witness: Witness,
    dir: PathBuf,
    reserve: u64,
    health: Arc<Health>,
    looked: Option<Instant>,
    /// How long a sync takes: a running mean.
    takes: Duration,
    /// How many writes the newest sync served.
    crowd: usize,
    /// Something was noted since the newest sync.
    noted: bool,
    companion: Beside,
}

impl Worker {
    fn run(mut self, work: &Receiver<Work>) {
        let mut chores: VecDeque<Chore> = VecDeque::new();
        let mut written: Vec<(Done, io::Result<()>)> = Vec::new();
        loop {
            self.look_at_space();
            let wait = if chores.is_empty() { LOOK } else { Duration::ZERO };
            let mut next = match work.recv_timeout(wait) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if next.is_some() {
                self.wait_for_more();
            } else if self.noted {
                self.sync_notes();
            }
            let mut stop = false;
            while let Some(one) = next {
                match one {
                    Work::Write(op, done) => written.push((done, op().map_err(io::Error::from))),
                    Work::Note(op) => self.take_note(op),
                    Work::Chore(chore) => chores.push_back(chore),
                    Work::Stop => stop = true,
                }
                next = if written.len() < GATHER && !stop { work.try_recv().ok() } else { None };
            }
            self.finish(&mut written);
            if stop {
                return;
            }
            self.do_a_chore(&mut chores);
        }
    }

    /// In a crowd, lets more writes come before the sync: it costs the same for all groups as for one. Who writes alone
    /// never waits.
    #[expect(clippy::disallowed_methods, reason = "a thread of its own, not a worker")]
    fn wait_for_more(&self) {
        if self.crowd >= CROWD {
            std::thread::sleep(self.takes.min(LONGEST_WAIT));
        }
    }

    /// Makes what was written durable and tells whoever waits.
    fn finish(&mut self, written: &mut Vec<(Done, io::Result<()>)>) {
        if written.is_empty() {
            return;
        }
        let began = Instant::now();
        let synced = self.sync();
        if synced.is_ok() {
            self.health.promised.store(self.witness.count(), Ordering::Release);
        }
        self.takes = (self.takes * 7 + began.elapsed()) / 8;
        self.crowd = written.len();
        for (done, result) in written.drain(..) {
            let result =
                result.and_then(|()| synced.as_ref().map_err(|e| io::Error::new(e.kind(), e.to_string())).copied());
            if let Err(error) = &result {
                self.health.fail(error);
            }
            done(result);
        }
    }

    fn take_note(&mut self, op: Op) {
        self.noted = true;
        if let Err(error) = op() {
            self.health.fail(&error.into());
        }
    }

    fn sync_notes(&mut self) {
        if let Err(error) = self.sync() {
            self.health.fail(&error);
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.noted = false;
        self.companion.write()?;
        self.witness.before_sync()?;
        self.db.flush()?;
        self.file.sync_data()?;
        self.witness.after_sync()?;
        self.health.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn do_a_chore(&self, chores: &mut VecDeque<Chore>) {
        let Some(mut chore) = chores.pop_front() else { return };
        match chore() {
            Ok(true) => chores.push_back(chore),
            // A group that left this disk took its trees with it.
            Ok(false) | Err(sled::Error::CollectionNotFound(_)) => {}
            Err(error) => self.health.fail(&error.into()),
        }
    }

    fn look_at_space(&mut self) {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        let Ok(stat) = rustix::fs::statvfs(&self.dir) else { return };
        let full = stat.f_bavail.saturating_mul(stat.f_frsize) < self.reserve;
        if self.health.full.swap(full, Ordering::Relaxed) != full {
            tracing::warn!(full, "free space on the disk passed the reserve");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn open(dir: &Path, reserve: u64) -> (sled::Db, Flusher) {
        let db = sled::Config::new().path(dir).flush_every_ms(None).open().expect("a database");
        let flusher = Flusher::start(db.clone(), dir, reserve).expect("a thread");
        (db, flusher)
    }

    #[test]
    fn writes_that_wait_together_share_one_sync_and_are_told_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let (db, flusher) = open(dir.path(), 0);
        let (hold, held) = mpsc::channel::<()>();
        // The first write keeps the thread busy until all the others wait.
        flusher
            .write(
                Box::new(move || {
                    let _ = held.recv();
                    Ok(())
                }),
                Box::new(drop),
            )
            .expect("queued");
        let (told, order) = mpsc::channel();
        for n in 0..100_u32 {
            let (tree, told) = (db.clone(), told.clone());
            let op = Box::new(move || tree.insert(n.to_be_bytes(), b"x").map(drop));
            flusher.write(op, Box::new(move |r| told.send((n, r.is_ok())).unwrap_or_default())).expect("queued");
        }
        hold.send(()).expect("the thread waits");
        let seen: Vec<_> = order.iter().take(100).collect();
        assert_eq!(seen, (0..100).map(|n| (n, true)).collect::<Vec<_>>());
        assert!(flusher.health().syncs() <= 2, "{} syncs for one crowd", flusher.health().syncs());
        assert_eq!(db.len(), 100);
    }

    #[test]
    fn a_chore_is_done_bit_by_bit_beside_the_writes() {
        let dir = tempfile::tempdir().expect("a directory");
        let (_db, flusher) = open(dir.path(), 0);
        let (told, seen) = mpsc::channel();
        let mut left = 3;
        let chore = move || {
            left -= 1;
            let _ = told.send(left);
            Ok(left > 0)
        };
        flusher.chore(Box::new(chore)).expect("queued");
        assert_eq!(seen.iter().take(3).collect::<Vec<_>>(), [2, 1, 0]);
    }

    #[test]
    fn a_thread_that_panicked_is_a_failure_of_the_disk_and_nobody_waits_for_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let (_db, flusher) = open(dir.path(), 0);
        let (told, seen) = mpsc::channel::<bool>();
        let done = Box::new(move |result: io::Result<()>| told.send(result.is_ok()).unwrap_or_default());
        flusher.write(Box::new(|| panic!("planted")), done).expect("queued");
        assert!(seen.recv().is_err(), "its end is the answer");
        let thread = flusher.thread.lock().take().expect("a thread");
        thread.join().expect("it caught the panic");
        let why = flusher.health().failure().expect("a failure");
        assert!(why.contains("planted"), "{why}");
        assert!(flusher.write(Box::new(|| Ok(())), Box::new(drop)).is_err());
    }

    #[test]
    fn a_disk_with_less_free_than_the_reserve_refuses() {
        let dir = tempfile::tempdir().expect("a directory");
        let (_db, flusher) = open(dir.path(), u64::MAX);
        let (told, seen) = mpsc::channel();
        flusher
            .write(Box::new(|| Ok(())), Box::new(move |r| told.send(r.is_ok()).unwrap_or_default()))
            .expect("queued");
        assert_eq!(seen.recv(), Ok(true), "what is under way still ends");
        assert_eq!(flusher.health().refuses().as_deref(), Some("the disk is full"));
        assert_eq!(flusher.health().failure(), None);
    }

    #[test]
    fn a_chore_for_a_tree_that_was_dropped_is_done_and_not_a_failure_of_the_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let (db, flusher) = open(dir.path(), 0);
        let tree = db.open_tree("log/p0").expect("a tree");
        tree.insert("key", "value").expect("written");
        db.drop_tree("log/p0").expect("dropped");
        let (done, ended) = mpsc::channel();
        let chore = move || {
            let found = tree.range("a"..).next().transpose();
            done.send(found.is_err()).expect("somebody waits");
            found.map(|_| false)
        };
        flusher.chore(Box::new(chore)).expect("taken");
        assert!(ended.recv().expect("it ran"), "sled says that the tree is gone");
        // One more round of the thread, so that the end of the chore was looked at.
        let (settled, waits) = mpsc::channel();
        let settle = Box::new(move |result: io::Result<()>| settled.send(result.is_ok()).unwrap_or_default());
        flusher.write(Box::new(|| Ok(())), settle).expect("taken");
        assert!(waits.recv().expect("written"));
        assert_eq!(flusher.health().failure(), None);
    }
}
