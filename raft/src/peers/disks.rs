//! What this node knows of its own disk and of the disks of its peers, and whose word therefore counts.
//!
//! Every frame carries how far its sender's disk is synced. The newest moment that was heard of each disk is written down
//! with the next sync here. A disk that is another than the one control knows, or that is behind that moment, or of which
//! two processes were heard in one start, is refused: nothing of it reaches a Raft group and nothing of a group reaches it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tidings_contract::planted;
use tidings_machine::control::DiskId;
use tokio::time::Instant;

use crate::codec;
use crate::store::{Disk, Heard, Life, Position};

/// Most disks that are remembered; a cluster has at most 1,000 nodes.
pub(super) const MOST: usize = 4_096;
/// A disk that another one is to replace must not have been heard of for so long.
pub(crate) const QUIET: Duration = Duration::from_secs(5);

/// The process at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Party {
    /// Its node.
    pub(crate) node: u64,
    /// Its disk, its start, and how far it was when it met us.
    pub(crate) position: Position,
    /// Our own disk when it met us.
    pub(crate) own: DiskId,
}

/// Why a disk is refused, in words for its own node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Doubt {
    /// Why.
    pub(crate) why: String,
    /// It can come back only as another disk, because under its present id it would count for what it does not have.
    pub(crate) renew: bool,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    heard: Heard,
    /// Something is not written down yet.
    fresh: bool,
    /// When it last spoke to us itself.
    at: Option<Instant>,
}

/// What control says of disks.
#[derive(Debug, Default)]
struct Word {
    known: BTreeMap<u64, DiskId>,
    retired: BTreeSet<DiskId>,
}

/// The disks.
#[derive(Debug)]
pub(crate) struct DiskBook {
    node: u64,
    disk: Disk,
    own: RwLock<DiskId>,
    heard: RwLock<BTreeMap<u64, Entry>>,
    word: RwLock<Word>,
    /// Disks that an operator forced on this node; `None` until the node was met.
    forced: RwLock<BTreeMap<u64, Option<DiskId>>>,
    /// Other disks that nodes came with, and when they last did.
    applicants: Mutex<BTreeMap<u64, (DiskId, Instant)>>,
    /// What each peer made of our own disk when it last met us.
    verdicts: RwLock<BTreeMap<u64, Option<String>>>,
    /// Why our own disk was given a new id in this life of the process.
    renewed: RwLock<Option<String>>,
    said: Mutex<BTreeMap<u64, String>>,
    /// New processes are written down one at a time, and so is the renewal of our own disk.
    writing: tokio::sync::Mutex<()>,
    born: Instant,
    /// The directory goes with the book.
    #[cfg(test)]
    _dir: Option<tempfile::TempDir>,
}

impl DiskBook {
    /// What the disk of this node knows.
    pub(crate) fn open(node: u64, disk: Disk) -> Result<Self, crate::error::OpenError> {
        let life = disk.life();
        let entry = |heard| Entry { heard, fresh: false, at: None };
        let kept = if planted("disk_memory_not_kept") { Vec::new() } else { life.heard()? };
        let heard = kept.into_iter().map(|(node, heard)| (node, entry(heard))).collect();
        let book = Self {
            node,
            own: RwLock::new(life.id()?),
            heard: RwLock::new(heard),
            word: RwLock::default(),
            forced: RwLock::new(life.forced()?.into_iter().collect()),
            applicants: Mutex::default(),
            verdicts: RwLock::default(),
            renewed: RwLock::default(),
            said: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            born: Instant::now(),
            #[cfg(test)]
            _dir: None,
            disk,
        };
        Ok(book)
    }

    /// Our own disk, now.
    pub(crate) fn position(&self) -> Position {
        let life = self.disk.life();
        let syncs = self.disk.health().promised();
        Position { disk: *self.own.read(), start: life.start, mark: life.mark, syncs }
    }

    /// How far our own disk is.
    pub(crate) fn syncs(&self) -> u64 {
        self.disk.health().promised()
    }

    /// The newest moment that was heard of the disk of `node`.
    pub(crate) fn moment_of(&self, node: u64) -> Option<Position> {
        self.heard.read().get(&node).map(|entry| entry.heard.position)
    }

    /// What control says of the disks of nodes.
    pub(crate) fn set_word(&self, known: &BTreeMap<u64, DiskId>, retired: impl ExactSizeIterator<Item = DiskId>) {
        let mut word = self.word.write();
        if word.known != *known {
            word.known.clone_from(known);
        }
        if word.retired.len() != retired.len() {
            word.retired = retired.collect();
        }
    }

    /// Whether a process of `node` on a disk at `theirs` counts.
    pub(crate) fn judge(&self, node: u64, theirs: &Position) -> Result<(), Doubt> {
        if planted("disk_not_asked") {
            return Ok(());
        }
        let forced = self.forced.read().get(&node).copied();
        let known = match forced {
            Some(bound) => bound,
            None => self.word.read().known.get(&node).copied(),
        };
        let heard = self.heard.read().get(&node).map(|entry| entry.heard);
        if known.is_some_and(|known| known != theirs.disk) {
            return Err(self.another(node, theirs.disk, known));
        }
        let Some(heard) = heard else { return Ok(()) };
        if heard.position.disk != theirs.disk {
            // Control changed it, or an operator did.
            let changed = known == Some(theirs.disk) || forced.is_some();
            return if changed { Ok(()) } else { Err(self.another(node, theirs.disk, Some(heard.position.disk))) };
        }
        compare(node, &heard, theirs)
    }

    fn another(&self, node: u64, disk: DiskId, known: Option<DiskId>) -> Doubt {
        let renew = self.word.read().retired.contains(&disk);
        if !renew {
            self.applicants.lock().insert(node, (disk, Instant::now()));
        }
        let known = known.map(|known| known.to_string()).unwrap_or_default();
        let what = if renew { "was given up" } else { "is not the one that the cluster knows" };
        let why = format!(
            "disk {disk} of node {node} {what}: the cluster knows node {node} by disk {known}. Its disk was lost, emptied or \
             replaced, or another process uses its number. It counts for nothing until the cluster takes it in as a new \
             disk, which happens by itself once a majority of control is up without it and disk {known} has not been heard \
             of for {} s",
            QUIET.as_secs()
        );
        Doubt { why, renew }
    }

    /// Writes down a process that was met, before anything it says counts. `own` is our own disk as it was told, and
    /// `asked` the newest moment of its disk that it was asked about: an error if either is another one by now.
    pub(crate) async fn accept(
        &self,
        node: u64,
        theirs: Position,
        own: DiskId,
        asked: Option<Position>,
    ) -> io::Result<Party> {
        let _one_at_a_time = self.writing.lock().await;
        self.is_still(own).map_err(|doubt| io::Error::other(doubt.why))?;
        let known = self.moment_of(node);
        if known.is_none_or(|known| !known.is_of_the_process(&theirs)) {
            let forked = self.heard.read().get(&node).is_some_and(|entry| entry.heard.forked);
            if known.is_some_and(|known| known.disk == theirs.disk) && (known != asked || forked) {
                // Its word that it was there before covers only what it was asked about.
                return Err(io::Error::other(format!("more was heard of the disk of node {node} while it was met")));
            }
            if known.is_none() && self.heard.read().len() >= MOST {
                return Err(io::Error::other("too many disks are known"));
            }
            let heard = Heard { position: theirs, forked: false };
            self.heard.write().insert(node, Entry { heard, fresh: true, at: None });
            self.bind_forced(node, theirs.disk)?;
            self.write()?;
            self.disk.settle().await?;
        }
        self.said.lock().remove(&node);
        Ok(Party { node, position: theirs, own })
    }

    /// An operator takes whatever disk the node comes with; this is it.
    fn bind_forced(&self, node: u64, disk: DiskId) -> io::Result<()> {
        if let Some(bound) = self.forced.write().get_mut(&node) {
            let value = codec::encode(&disk).map_err(io::Error::other)?;
            self.disk.meta().insert(Life::forcing(node), value)?;
            *bound = Some(disk);
        }
        Ok(())
    }

    /// Takes note of a frame from a process that was met; `false` if it does not count any more.
    pub(crate) fn hear(&self, party: &Party, syncs: u64) -> bool {
        if planted("disk_not_asked") {
            return true;
        }
        if *self.own.read() != party.own {
            return false;
        }
        let known = self.word.read().known.get(&party.node).copied();
        if known.is_some_and(|known| known != party.position.disk) && !self.forced.read().contains_key(&party.node) {
            return false;
        }
        let mut heard = self.heard.write();
        let Some(entry) = heard.get_mut(&party.node) else { return false };
        if entry.heard.forked || !entry.heard.position.is_of_the_process(&party.position) {
            return false;
        }
        entry.at = Some(Instant::now());
        if entry.heard.position.syncs < syncs {
            entry.heard.position.syncs = syncs;
            entry.fresh = true;
        }
        true
    }

    /// Writes down what is new; durable with the next sync.
    pub(crate) fn write(&self) -> io::Result<()> {
        let mut heard = self.heard.write();
        for (node, entry) in heard.iter_mut().filter(|(_, entry)| entry.fresh) {
            let (key, value) = Life::hearing(*node, &entry.heard).map_err(io::Error::other)?;
            self.disk.meta().insert(key, value)?;
            entry.fresh = false;
        }
        Ok(())
    }

    /// Whether something is not written down yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.heard.read().values().any(|entry| entry.fresh)
    }

    /// What was heard of the disks of `nodes`, and our own, to be told to others.
    pub(crate) fn table(&self, nodes: &BTreeSet<u64>) -> Vec<(u64, Heard)> {
        let heard = self.heard.read();
        let others = heard.iter().filter(|(node, _)| nodes.contains(node)).map(|(node, entry)| (*node, entry.heard));
        others.collect()
    }

    /// Takes in what node `from` heard of others; gives what it heard of our own disk, if it did.
    pub(crate) fn merge(&self, from: u64, table: &[(u64, Heard)]) -> Option<Position> {
        let mut own = None;
        for (node, said) in table {
            if *node == self.node {
                own = Some(said.position);
            } else if *node != from {
                self.merge_one(*node, said);
            }
        }
        own
    }

    fn merge_one(&self, node: u64, said: &Heard) {
        let known = self.word.read().known.get(&node).copied();
        if known.is_some_and(|known| known != said.position.disk) {
            return;
        }
        let mut heard = self.heard.write();
        if !heard.contains_key(&node) && heard.len() >= MOST {
            return;
        }
        let entry = heard.entry(node).or_insert(Entry { heard: *said, fresh: true, at: None });
        let (ours, theirs) = (entry.heard.position, said.position);
        if ours.disk != theirs.disk {
            if known == Some(theirs.disk) {
                *entry = Entry { heard: *said, fresh: true, at: None };
            }
            return;
        }
        let forked = said.forked || (ours.start == theirs.start && ours.mark != theirs.mark);
        let newer = (theirs.start, theirs.syncs) > (ours.start, ours.syncs);
        if (forked && !entry.heard.forked) || (newer && !forked) {
            entry.heard = Heard { position: if newer { theirs } else { ours }, forked };
            entry.fresh = true;
        }
    }

    /// Whether our own disk is still `own`, under which something was said a moment ago.
    pub(crate) fn is_still(&self, own: DiskId) -> Result<(), Doubt> {
        if *self.own.read() == own {
            return Ok(());
        }
        let why = format!("disk {own} of node {} was given up while it was met", self.node);
        Err(Doubt { why, renew: false })
    }

    /// Whether a moment that a peer heard of our own disk belongs to its life. Another disk's moment does not matter here.
    pub(crate) fn was_ours(&self, moment: &Position) -> Result<(), Doubt> {
        if moment.disk != *self.own.read() {
            return Ok(());
        }
        let contains = self.disk.life().contains(moment, self.syncs());
        if contains.unwrap_or(true) || planted("disk_not_asked") {
            return Ok(());
        }
        Err(Doubt { why: behind(self.node, moment.disk, moment), renew: true })
    }

    /// What a peer made of our own disk.
    pub(crate) fn told(&self, peer: u64, verdict: Option<String>) {
        if let Some(why) = &verdict {
            let mut said = self.said.lock();
            if said.get(&self.node) != Some(why) {
                tracing::error!("node {peer} refuses this node's disk: {why}");
                said.insert(self.node, why.clone());
            }
        }
        self.verdicts.write().insert(peer, verdict);
    }

    /// Says why a peer's disk is refused, once.
    pub(crate) fn say(&self, node: u64, why: &str) {
        let mut said = self.said.lock();
        if said.get(&node).is_none_or(|before| before != why) {
            tracing::warn!("refused: {why}");
            said.insert(node, why.to_owned());
        }
    }

    /// Our own disk was found to be behind, or to be used twice: it becomes another one, with the same content, which counts
    /// for nothing until the cluster takes it in. `as_disk` is the one that was found so.
    pub(crate) async fn renew(&self, as_disk: DiskId, why: &str) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock().await;
        if *self.own.read() != as_disk {
            return Ok(());
        }
        tracing::error!("{why}");
        *self.renewed.write() = Some(why.to_owned());
        let id = self.disk.life().renew().map_err(io::Error::other)?;
        // Nothing is said or taken in as the old disk from here on.
        *self.own.write() = id;
        self.verdicts.write().clear();
        self.disk.settle().await
    }

    /// Why our own disk counts for nothing, if no peer takes it.
    pub(crate) fn unaccepted(&self) -> Option<String> {
        let own = *self.own.read();
        let verdicts = self.verdicts.read();
        if verdicts.values().any(Option::is_none) {
            return None;
        }
        let said = verdicts.values().flatten().next().cloned();
        let renewed = || {
            let known = self.word.read().known.get(&self.node).copied();
            self.renewed.read().clone().filter(|_| known != Some(own))
        };
        renewed().or(said)
    }

    /// Our own disk.
    pub(crate) fn own(&self) -> DiskId {
        *self.own.read()
    }

    /// The disk of a node, as far as anybody heard of it.
    pub(crate) fn disk_of(&self, node: u64) -> Option<DiskId> {
        if node == self.node { Some(self.own()) } else { self.moment_of(node).map(|moment| moment.disk) }
    }

    /// Nodes that came with another disk within the last few seconds, and that disk.
    pub(crate) fn applicants(&self) -> BTreeMap<u64, DiskId> {
        let mut applicants = self.applicants.lock();
        applicants.retain(|_, (_, at)| at.elapsed() < QUIET);
        applicants.iter().map(|(node, (disk, _))| (*node, *disk)).collect()
    }

    /// Whether the disk that counts for a node has not been heard of for a while.
    pub(crate) fn is_quiet(&self, node: u64) -> bool {
        let at = self.heard.read().get(&node).and_then(|entry| entry.at);
        node != self.node && self.born.elapsed() >= QUIET && at.is_none_or(|at| at.elapsed() >= QUIET)
    }

    /// Whether the disk that counts for a node was heard of within the last few seconds.
    pub(crate) fn spoke_lately(&self, node: u64) -> bool {
        let at = self.heard.read().get(&node).and_then(|entry| entry.at);
        at.is_some_and(|at| at.elapsed() < QUIET)
    }

    /// The disks that an operator forced on this node and that were met, as long as control does not know them.
    pub(crate) fn forced(&self) -> BTreeMap<u64, DiskId> {
        let word = self.word.read();
        let forced = self.forced.read();
        let open = forced.iter().filter_map(|(node, disk)| Some((*node, (*disk)?)));
        open.filter(|(node, disk)| word.known.get(node) != Some(disk)).collect()
    }

    /// Control knows the disks that were forced: this node needs no word of its own any more.
    pub(crate) fn forget_forced(&self) {
        let word = self.word.read();
        let mut forced = self.forced.write();
        forced.retain(|node, disk| {
            let open = disk.is_none() || word.known.get(node) != disk.as_ref();
            if !open && let Err(error) = self.disk.meta().remove(Life::forcing(*node)) {
                tracing::warn!(%error, "a disk that was forced stays forced until the next start");
            }
            open
        });
    }
}

/// Compares a process on a known disk with what was heard of that disk.
fn compare(node: u64, heard: &Heard, theirs: &Position) -> Result<(), Doubt> {
    let ours = &heard.position;
    if heard.forked || (ours.start == theirs.start && ours.mark != theirs.mark) {
        let why = format!(
            "disk {} of node {node} was copied: two processes were heard of in its start {}. Whichever of them is to stay \
             comes back as a new disk, which the cluster takes in by itself; stop the other one",
            ours.disk, ours.start
        );
        return Err(Doubt { why, renew: true });
    }
    // Within one process its frames on another connection may have come in before these words: only the disk itself can say
    // that it is behind then; see `was_ours`.
    if theirs.start < ours.start {
        return Err(Doubt { why: behind(node, ours.disk, ours), renew: true });
    }
    Ok(())
}

fn behind(node: u64, disk: DiskId, moment: &Position) -> String {
    format!(
        "disk {disk} of node {node} was put back to an earlier state, or was copied and is used elsewhere: it knows nothing of \
         its start {} at sync {}, which a peer heard of. What it promised since is gone, so it counts for nothing until the \
         cluster takes it in as a new disk, which happens by itself once a majority of control is up without it. Never copy \
         a data directory: take a backup (`tidings backup`)",
        moment.start, moment.syncs
    )
}

#[cfg(test)]
impl DiskBook {
    /// The book of a node with a new disk, which lasts as long as the book.
    pub(crate) fn blank(node: u64) -> Self {
        let dir = tempfile::tempdir().unwrap_or_else(|error| panic!("no directory: {error}"));
        let options =
            crate::store::DiskOptions { dir: dir.path().to_owned(), node, cache_bytes: 1 << 20, reserve_bytes: 0 };
        let opened = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
            runtime.block_on(Disk::open(&options))
        });
        let disk = opened.join().ok().and_then(Result::ok).unwrap_or_else(|| panic!("no disk"));
        let book = Self::open(node, disk).unwrap_or_else(|error| panic!("no book: {error}"));
        Self { _dir: Some(dir), ..book }
    }
}
