//! A group's log on disk: one value per entry, the newest ones also in memory.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{AnyError, EntryPayload, ErrorSubject, ErrorVerb, RaftLogReader, StorageIOError};
use parking_lot::Mutex;
use tidings_contract::Time;
use tokio::sync::oneshot;

use super::disk::Disk;
use crate::base::{sled, spawn_blocking};
use crate::codec;
use crate::host::stamp_of;
use crate::types::{Entry, GroupId, LogId, StorageError, Types, Vote};

/// Most bytes handed to replication at once, so that one append fits its time limit.
const READ_BYTES: usize = 1 << 20;
/// Entries removed from the disk between two syncs.
const SLICE: usize = 128;

/// Told of every payload that is about to be written to the local log.
pub(crate) trait AppendWatch: Send + Sync {
    /// `payload` may from here on be kept, whatever comes back.
    fn appended(&self, payload: &[u8]);
}

/// An entry that was looked for, and the first and the last index of the log.
type Found = (Option<Entry>, Option<(u64, u64)>);

/// The log of one group. Clones share it.
#[derive(Clone)]
pub(crate) struct DiskLog {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Disk,
    tree: sled::Tree,
    keys: Keys,
    tail_bytes: usize,
    tail: Mutex<Tail>,
    /// Everything below this index has been handed to sled.
    written: AtomicU64,
    watch: Option<Arc<dyn AppendWatch>>,
}

#[derive(Clone)]
struct Keys {
    vote: String,
    committed: String,
    purged: String,
}

/// The newest entries, without a gap up to the last one.
#[derive(Default)]
struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
    last: Option<LogId>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    committed_is_new: bool,
}

impl DiskLog {
    /// Opens the log of `group`, keeping about `tail_bytes` of the newest entries in memory.
    pub(crate) fn open(
        disk: &Disk,
        group: GroupId,
        tail_bytes: usize,
        watch: Option<Arc<dyn AppendWatch>>,
    ) -> Result<Self, StorageError> {
        let keys = Keys {
            vote: format!("vote/{group}"),
            committed: format!("committed/{group}"),
            purged: format!("purged/{group}"),
        };
        let tree = disk.tree(&Self::tree_name(group)).map_err(reading)?;
        let purged: Option<LogId> = get(disk.meta(), &keys.purged)?;
        let newest = match tree.last().map_err(reading)? {
            Some((_, value)) => Some(codec::decode::<Entry>(&value).map_err(reading)?.log_id),
            None => None,
        };
        let tail = Tail { last: newest.max(purged), purged, ..Tail::default() };
        let written = AtomicU64::new(tail.last.map_or(0, |id| id.index + 1));
        let log = Self {
            inner: Arc::new(Inner {
                disk: disk.clone(),
                tree,
                keys,
                tail_bytes,
                tail: Mutex::new(tail),
                written,
                watch,
            }),
        };
        if let Some(purged) = purged {
            log.inner.forget_up_to(purged.index)?;
        }
        Ok(log)
    }

    /// Whether another node than `node` led when it ended. It may have been promised a moment before that nobody is elected
    /// for a while, and a restart forgets when.
    pub(crate) fn followed(&self, node: u64) -> Result<bool, String> {
        let vote: Option<Vote> = get(self.inner.disk.meta(), &self.inner.keys.vote).map_err(|e| e.to_string())?;
        Ok(vote.is_some_and(|vote| vote.committed && vote.leader_id.node_id != node))
    }

    /// Forgets that `node` led when it ended, so that it has to be elected again, in a new term.
    ///
    /// openraft lets a leader that restarts go on in its old term. But a term is the epoch of an owner, and a restarted
    /// process is another owner: in the old term nobody would take its takeover. The vote itself stays.
    pub(crate) fn resign(&self, node: u64) -> Result<(), String> {
        let (meta, key) = (self.inner.disk.meta(), &self.inner.keys.vote);
        let vote: Option<Vote> = get(meta, key).map_err(|e| e.to_string())?;
        let Some(led) = vote.filter(|vote| vote.committed && vote.leader_id.node_id == node) else { return Ok(()) };
        let resigned = codec::encode(&Vote { committed: false, ..led }).map_err(|e| e.to_string())?;
        // It need not be on the disk before the election writes a newer vote: a crash until then only brings it back here.
        meta.insert(key, resigned).map(drop).map_err(|e| e.to_string())
    }

    /// The name of the tree that holds the log of `group`.
    pub(crate) fn tree_name(group: GroupId) -> String {
        format!("log/{group}")
    }

    /// The newest time stamped on any entry of any group on a disk that no group runs on. Entries that a snapshot took in
    /// are older than those behind it, unless nothing is behind it.
    pub(crate) fn newest_stamp(disk: &Disk) -> Result<Option<Time>, StorageError> {
        let mut newest = None;
        for name in disk.trees("log/") {
            for row in disk.tree(&name).map_err(reading)?.scan_prefix(b"").rev() {
                let (_, value) = row.map_err(reading)?;
                let entry: Entry = codec::decode(&value).map_err(reading)?;
                if let EntryPayload::Normal(blob) = entry.payload {
                    newest = newest.max(stamp_of(&blob.0));
                    break;
                }
            }
        }
        Ok(newest)
    }

    /// The entry at `index` in the log of `group` on a disk on which the group does not run, and the first and the last
    /// index there. Blocks.
    pub(crate) fn entry_at(disk: &Disk, group: GroupId, index: u64) -> Result<Found, StorageError> {
        let tree = disk.tree(&Self::tree_name(group)).map_err(reading)?;
        let mut keys = tree.scan_prefix(b"").keys();
        let (first, last) = (keys.next().transpose().map_err(reading)?, keys.next_back().transpose().map_err(reading)?);
        let index_of = |key: sled::IVec| <[u8; 8]>::try_from(&*key).ok().map(u64::from_be_bytes);
        let first = first.and_then(index_of);
        let last = last.and_then(index_of).or(first);
        let value = tree.get(index.to_be_bytes()).map_err(reading)?;
        let entry = value.map(|value| codec::decode::<Entry>(&value)).transpose().map_err(reading)?;
        Ok((entry, first.zip(last)))
    }

    /// The names of the small values kept for the log of `group`.
    pub(crate) fn meta_names(group: GroupId) -> [String; 3] {
        [format!("vote/{group}"), format!("committed/{group}"), format!("purged/{group}")]
    }

    fn read_tail(&self, start: u64, end: u64, most: usize) -> Option<Vec<Entry>> {
        let tail = self.inner.tail.lock();
        let first = tail.entries.front()?.log_id.index;
        let skip = usize::try_from(start.checked_sub(first)?).ok()?;
        let take = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut found = Vec::with_capacity(take.min(tail.entries.len().saturating_sub(skip)));
        for entry in tail.entries.iter().skip(skip).take(take) {
            bytes += size_of_entry(entry);
            if !found.is_empty() && bytes > most {
                break;
            }
            found.push(entry.clone());
        }
        Some(found)
    }

    async fn read(&self, start: u64, end: u64, most: usize) -> Result<Vec<Entry>, StorageError> {
        let (start, end) = {
            let tail = self.inner.tail.lock();
            let first = tail.purged.map_or(0, |id| id.index + 1);
            (start.max(first), end.min(tail.last.map_or(0, |id| id.index + 1)))
        };
        if start >= end {
            return Ok(Vec::new());
        }
        if let Some(found) = self.read_tail(start, end, most) {
            return Ok(found);
        }
        let log = self.clone();
        let joined = spawn_blocking(move || log.read_disk(start, end, most)).await;
        joined.map_err(reading)?
    }

    /// Reads from sled up to where the tail begins, and the rest from the tail.
    fn read_disk(&self, start: u64, end: u64, most: usize) -> Result<Vec<Entry>, StorageError> {
        let (mut found, mut bytes, mut next) = (Vec::new(), 0, start);
        while next < end && bytes < most {
            // What the tail holds may not have reached sled yet, and sled may still hold what was cut off.
            let tail_begins = {
                let tail = self.inner.tail.lock();
                tail.entries.front().map_or(end, |first| first.log_id.index).clamp(next, end)
            };
            for pair in self.inner.tree.range(next.to_be_bytes()..tail_begins.to_be_bytes()) {
                let (_, value) = pair.map_err(reading)?;
                bytes += value.len();
                if !found.is_empty() && bytes > most {
                    return Ok(found);
                }
                found.push(codec::decode::<Entry>(&value).map_err(reading)?);
            }
            next = tail_begins;
            if next < end {
                // None if the tail was trimmed meanwhile: then the disk has it now.
                let rest = self.read_tail(next, end, most - bytes.min(most));
                if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
                    found.extend(rest);
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Saves nothing more: the group leaves this disk.
    pub(crate) fn forget(&self) {
        self.inner.tail.lock().committed = None;
    }
}

impl Inner {
    fn write<T: Send + 'static>(
        &self,
        op: impl FnOnce() -> Result<(), sled::Error> + Send + 'static,
        done: impl FnOnce(std::io::Result<()>) -> T + Send + 'static,
    ) -> Result<(), StorageError> {
        self.disk.flusher().write(Box::new(op), Box::new(move |result| drop(done(result)))).map_err(writing)
    }

    /// Removes entries up to `index`, a slice at a time, when the flusher has nothing better to do.
    fn forget_up_to(&self, index: u64) -> Result<(), StorageError> {
        let tree = self.tree.clone();
        let chore = move || {
            let keys: Result<Vec<_>, _> = tree.range(..=index.to_be_bytes()).keys().take(SLICE).collect();
            let keys = keys?;
            for key in &keys {
                tree.remove(key)?;
            }
            Ok(keys.len() == SLICE)
        };
        self.disk.flusher().chore(Box::new(chore)).map_err(writing)
    }

    fn trim(&self, tail: &mut Tail) {
        let written = self.written.load(Ordering::Acquire);
        while tail.bytes > self.tail_bytes && tail.entries.front().is_some_and(|e| e.log_id.index < written) {
            if let Some(old) = tail.entries.pop_front() {
                tail.bytes -= size_of_entry(&old);
            }
        }
    }
}

impl RaftLogReader<Types> for DiskLog {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError> {
        let (start, end) = half_open(&range);
        self.read(start, end, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.read(start, end, READ_BYTES).await
    }
}

impl RaftLogStorage<Types> for DiskLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let tail = self.inner.tail.lock();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let (meta, key) = (self.inner.disk.meta().clone(), self.inner.keys.vote.clone());
        let value = codec::encode(vote).map_err(writing)?;
        let (done, saved) = oneshot::channel();
        self.inner.write(move || meta.insert(key, value).map(drop), move |result| done.send(result))?;
        saved.await.map_err(writing)?.map_err(writing)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        get(self.inner.disk.meta(), &self.inner.keys.vote)
    }

    /// Written with the next append: it only shortens a restart, and the log says it again.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        let mut tail = self.inner.tail.lock();
        (tail.committed, tail.committed_is_new) = (committed, true);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        let tail = self.inner.tail.lock().committed;
        if tail.is_some() { Ok(tail) } else { get(self.inner.disk.meta(), &self.inner.keys.committed) }
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let mut rows: Vec<([u8; 8], Vec<u8>)> = Vec::with_capacity(1);
        let mut committed = None;
        {
            let mut tail = self.inner.tail.lock();
            for entry in entries {
                if let (Some(watch), EntryPayload::Normal(blob)) = (&self.inner.watch, &entry.payload) {
                    watch.appended(&blob.0);
                }
                rows.push((entry.log_id.index.to_be_bytes(), codec::encode(&entry).map_err(writing)?));
                tail.bytes += size_of_entry(&entry);
                tail.last = Some(entry.log_id);
                tail.entries.push_back(entry);
            }
            if std::mem::take(&mut tail.committed_is_new) {
                committed = tail.committed;
            }
            self.inner.trim(&mut tail);
        }
        let inner = Arc::clone(&self.inner);
        let op = move || {
            for (key, value) in rows {
                inner.tree.insert(key, value)?;
                inner.written.store(u64::from_be_bytes(key) + 1, Ordering::Release);
            }
            inner.save_committed_value(committed)
        };
        self.inner.write(op, move |result| callback.log_io_completed(result))
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), StorageError> {
        let before = match since.index.checked_sub(1) {
            Some(index) => self.read(index, index + 1, usize::MAX).await?.pop().map(|entry| entry.log_id),
            None => None,
        };
        {
            let mut tail = self.inner.tail.lock();
            while tail.entries.back().is_some_and(|e| e.log_id.index >= since.index) {
                if let Some(gone) = tail.entries.pop_back() {
                    tail.bytes -= size_of_entry(&gone);
                }
            }
            tail.last = before.max(tail.purged);
        }
        let inner = Arc::clone(&self.inner);
        let op = move || {
            // From the end backwards, so that a crash in between leaves no gap.
            for key in inner.tree.range(since.index.to_be_bytes()..).keys().rev() {
                inner.tree.remove(key?)?;
            }
            inner.written.fetch_min(since.index, Ordering::AcqRel);
            Ok(())
        };
        self.inner.write(op, drop)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        {
            let mut tail = self.inner.tail.lock();
            while tail.entries.front().is_some_and(|e| e.log_id.index <= upto.index) {
                if let Some(gone) = tail.entries.pop_front() {
                    tail.bytes -= size_of_entry(&gone);
                }
            }
            tail.purged = Some(upto);
            tail.last = tail.last.max(Some(upto));
        }
        let (meta, key) = (self.inner.disk.meta().clone(), self.inner.keys.purged.clone());
        let value = codec::encode(&upto).map_err(writing)?;
        self.inner.write(move || meta.insert(key, value).map(drop), drop)?;
        self.inner.forget_up_to(upto.index)
    }
}

impl Inner {
    fn save_committed_value(&self, committed: Option<LogId>) -> Result<(), sled::Error> {
        let Some(committed) = committed else { return Ok(()) };
        let value = codec::encode(&committed).map_err(|e| sled::Error::Unsupported(e.to_string()))?;
        self.disk.meta().insert(&self.keys.committed, value).map(drop)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let committed = self.tail.get_mut().committed;
        if let Err(error) = self.save_committed_value(committed) {
            tracing::debug!(%error, "the last committed index was not saved; the log says it again");
        }
    }
}

fn size_of_entry(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(blob) => 64 + blob.0.len(),
        EntryPayload::Blank => 64,
        EntryPayload::Membership(_) => 512,
    }
}

pub(super) fn half_open(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(n) => *n,
        Bound::Excluded(n) => n.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(n) => n.saturating_add(1),
        Bound::Excluded(n) => *n,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

fn get<T: serde::de::DeserializeOwned>(meta: &sled::Tree, key: &str) -> Result<Option<T>, StorageError> {
    match meta.get(key).map_err(reading)? {
        Some(value) => codec::decode(&value).map(Some).map_err(reading),
        None => Ok(None),
    }
}

pub(super) fn reading(error: impl std::error::Error + 'static) -> StorageError {
    StorageIOError::new(ErrorSubject::Logs, ErrorVerb::Read, AnyError::new(&error)).into()
}

pub(super) fn writing(error: impl std::error::Error + 'static) -> StorageError {
    StorageIOError::new(ErrorSubject::Logs, ErrorVerb::Write, AnyError::new(&error)).into()
}
