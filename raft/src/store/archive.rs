//! The archive of one partition: ended deliveries, message headers and amendments on disk, one tree per UTC day.
//!
//! Ended deliveries and amendments stand under the day they happened, headers under the day of their message. Ended
//! deliveries and headers gather in memory and are written many to a value (see `archive_block.rs`). Nothing is written
//! twice: the *watermark* says up to which log index everything is here, so a replay passes over it; what was written
//! above it before a crash is cut into the same blocks under the same names again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tidings_contract::{DeliveryId, MessageId, Time, stable_hash};
use tidings_machine::partition::{Ended, Event, Header, Record, State, What};

use super::archive_block::Pending;
use super::archive_find::on_disk;
use super::archive_index::{Cursor, Fresh, Page, Query, terms};
use super::disk::Disk;
use crate::base::sled;
use crate::codec;
use crate::types::GroupId;

/// Ended deliveries whose index entries are held in memory before they are written as one run.
const RUN: usize = 4_096;

/// What goes wrong when the archive is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the archive cannot be read: {0}")]
pub struct ArchiveError(pub(super) String);

/// Takes what a machine wants kept beside its state.
pub(crate) trait RecordSink<R>: Send + Sync {
    /// Keeps the records of the entry at `index`. Doing so again changes nothing.
    fn record(&self, index: u64, at: Time, records: Vec<R>) -> io::Result<()>;
    /// Writes what is still in memory, so that the log up to here is not needed any more.
    fn flush(&self) -> io::Result<()>;
}

/// One day's trees.
#[derive(Clone, Debug)]
pub(super) struct Day {
    pub(super) records: sled::Tree,
    pub(super) index: sled::Tree,
}

/// The archive of one partition on this node's disk.
#[derive(Debug)]
pub(crate) struct ArchiveStore {
    pub(super) disk: Disk,
    prefix: String,
    watermark_key: String,
    pub(super) days: RwLock<BTreeMap<u32, Day>>,
    pub(super) fresh: Mutex<Fresh>,
    /// While another replica's archive is taken over: whether its records of a day came, and the lines of our own blocks
    /// that were not among them.
    pub(super) replaced: Mutex<BTreeMap<u32, (bool, BTreeSet<sled::IVec>)>>,
}

impl ArchiveStore {
    /// Opens the archive of `group`.
    pub(crate) fn open(disk: &Disk, group: GroupId) -> Result<Self, sled::Error> {
        let watermark_key = Self::meta_name(group);
        let found = disk.meta().get(&watermark_key)?.and_then(|b| <[u8; 8]>::try_from(&*b).ok());
        let fresh = Fresh::new(found.map_or(0, u64::from_be_bytes));
        let store = Self {
            disk: disk.clone(),
            prefix: Self::tree_prefix(group),
            watermark_key,
            days: RwLock::default(),
            fresh: Mutex::new(fresh),
            replaced: Mutex::default(),
        };
        for name in disk.trees(&store.prefix) {
            if let Some(day) = name.strip_prefix(&store.prefix).and_then(|day| day.parse().ok()) {
                store.day(day)?;
            }
        }
        Ok(store)
    }

    /// What the names of the trees of `group` begin with.
    pub(crate) fn tree_prefix(group: GroupId) -> String {
        format!("archive/{group}/")
    }

    /// The name of the small value kept for the archive of `group`.
    pub(crate) fn meta_name(group: GroupId) -> String {
        format!("archived/{group}")
    }

    /// The trees of a day, made if they are not there.
    pub(super) fn day(&self, day: u32) -> Result<Day, sled::Error> {
        if let Some(known) = self.days.read().get(&day) {
            return Ok(known.clone());
        }
        let name = format!("{}{day:06}", self.prefix);
        let made = Day { records: self.disk.tree(&name)?, index: self.disk.tree(&format!("{name}/index"))? };
        Ok(self.days.write().entry(day).or_insert(made).clone())
    }

    /// The trees of the days from `first` on, newest first.
    pub(super) fn days_from(&self, first: u32) -> Vec<(u32, Day)> {
        self.days.read().range(first..).rev().map(|(day, trees)| (*day, trees.clone())).collect()
    }

    /// Forgets all days before `first`. Blocks.
    pub(crate) fn drop_before(&self, first: u32) -> Result<(), sled::Error> {
        self.fresh.lock().forget_before(first);
        let old = {
            let mut days = self.days.write();
            let kept = days.split_off(&first);
            std::mem::replace(&mut *days, kept)
        };
        for (day, trees) in old {
            drop(trees);
            self.disk.drop_tree(&format!("{}{day:06}/index", self.prefix))?;
            self.disk.drop_tree(&format!("{}{day:06}", self.prefix))?;
        }
        Ok(())
    }

    /// Sets the watermark after another replica's archive was taken over.
    pub(super) fn set_watermark(&self, index: u64) -> io::Result<()> {
        let mut fresh = self.fresh.lock();
        // What the other replica has not seen yet stays; its entries may be applied again.
        if fresh.pending.to() > index {
            self.write_records(&mut fresh)?;
        }
        self.disk.meta().insert(&self.watermark_key, &index.to_be_bytes())?;
        *fresh = Fresh::new(index);
        Ok(())
    }

    fn keep(&self, index: u64, at: Time, record: Record, fresh: &mut Fresh) -> io::Result<()> {
        match record {
            Record::Ended(ended) => {
                let day = ended.delivery.ended_at.unwrap_or(at).day();
                let key = [&b"e"[..], ended.delivery.id.bytes()];
                // A search walks the days that have trees, so also a day of which nothing is written yet has them.
                self.day(day)?;
                fresh.pending.push(index, day, key, &*ended).map_err(io::Error::other)?;
                fresh.add(day, &terms(&ended), ended.delivery.id);
            }
            Record::Header(header) => {
                let (day, key) = (header.message.time().day(), [&b"h"[..], header.message.bytes()]);
                self.day(day)?;
                fresh.pending.push(index, day, key, &*header).map_err(io::Error::other)?;
            }
            Record::Amend { delivery, event } => {
                let value = codec::encode(&event).map_err(io::Error::other)?;
                let key = amend_key(&delivery, stable_hash(&value));
                self.day(event.at.day())?.records.insert(key, value)?;
            }
            Record::Chunk(chunk) => self.keep_chunk(&chunk)?,
            Record::Dropped(material) => self.drop_material(&material)?,
            other => tracing::warn!(?other, "a record of a kind this version does not keep"),
        }
        Ok(())
    }

    /// An ended delivery with its amendments.
    pub(crate) fn get(&self, id: &DeliveryId) -> Result<Option<Ended>, ArchiveError> {
        let key = ended_key(id);
        let mut found = self.in_memory(&key);
        // A delivery ends on the day it was accepted or later, mostly soon; a proposer's clock may be a little behind the
        // edge's.
        for (_, day) in self.days_from(id.message().time().day().saturating_sub(1)).iter().rev() {
            if found.is_some() {
                break;
            }
            found = on_disk(day, &key)?;
        }
        let Some(value) = found else { return Ok(None) };
        self.amended(codec::decode(&value).map_err(unreadable)?).map(Some)
    }

    /// The header of a message, if this is its home.
    pub(crate) fn header(&self, message: &MessageId) -> Result<Option<Header>, ArchiveError> {
        let key = [b"h", message.bytes()].concat();
        let Some(day) = self.days.read().get(&message.time().day()).cloned() else { return Ok(None) };
        let found = self.kept(&day, &key)?;
        found.map(|value| codec::decode(&value).map_err(unreadable)).transpose()
    }

    /// The ended deliveries of a message in this partition after `after`, in the order of their ids, at most `limit`.
    pub(crate) fn of_message(
        &self,
        message: &MessageId,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<Ended>, ArchiveError> {
        let first = [b"e", message.bytes()].concat();
        let start = after.map_or_else(Vec::new, |after| [&ended_key(&after)[..], &[0]].concat()).max(first);
        let end = [b"e", message.bytes(), &[0xff; 6]].concat();
        let mut found = BTreeMap::new();
        for (number, day) in self.days_from(message.time().day().saturating_sub(1)) {
            found.extend(self.within((number, &day), &start..&end, limit)?);
        }
        let some = found.into_values().take(limit);
        some.map(|value| self.amended(codec::decode(&value).map_err(unreadable)?)).collect()
    }

    /// Adds what happened after the end.
    pub(super) fn amended(&self, mut ended: Ended) -> Result<Ended, ArchiveError> {
        let id = ended.delivery.id;
        let mut prefix = vec![b'a'];
        prefix.extend_from_slice(id.bytes());
        let mut more: Vec<Event> = Vec::new();
        for (_, day) in self.days_from(ended.delivery.ended_at.map_or(0, Time::day)) {
            for row in day.records.scan_prefix(&prefix) {
                let (_, value) = row.map_err(unreadable)?;
                more.push(codec::decode(&value).map_err(unreadable)?);
            }
        }
        more.sort_by_key(|event| (event.at, within_a_millisecond(&event.what)));
        more.retain(|event| !ended.delivery.events.contains(event));
        // The one end that can follow another: what was delivered was taken back.
        if more.iter().any(|event| matches!(event.what, What::Ended { state: State::Recalled, .. })) {
            ended.delivery.state = State::Recalled;
        }
        ended.delivery.events.extend(more);
        Ok(ended)
    }
}

/// Amendments stand on the disk in the order of a hash. Those of one millisecond are told in the order in which they can only
/// have happened: asked for, tried or reported, ended or drawn from it.
fn within_a_millisecond(what: &What) -> u8 {
    match what {
        What::RecallRequested { .. } => 0,
        What::Ended { .. } | What::AddressSuppressed { .. } => 2,
        _ => 1,
    }
}

impl RecordSink<Record> for ArchiveStore {
    fn record(&self, index: u64, at: Time, records: Vec<Record>) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut fresh = self.fresh.lock();
        if index < fresh.watermark() {
            return Ok(());
        }
        for record in records {
            self.keep(index, at, record, &mut fresh)?;
        }
        fresh.reach(index + 1);
        if fresh.len() >= RUN {
            return self.write_run(&mut fresh);
        }
        if fresh.pending.is_full() { self.write_records(&mut fresh) } else { Ok(()) }
    }

    fn flush(&self) -> io::Result<()> {
        self.write_run(&mut self.fresh.lock())
    }
}

impl ArchiveStore {
    /// Memory lets go of records only when the disk has them, and `fresh` is held meanwhile: readers never miss one.
    fn write_records(&self, fresh: &mut Fresh) -> io::Result<()> {
        for row in fresh.pending.written() {
            self.day(row.day)?.records.insert(row.key, row.value)?;
        }
        fresh.pending = Pending::default();
        Ok(())
    }

    fn write_run(&self, fresh: &mut Fresh) -> io::Result<()> {
        self.write_records(fresh)?;
        for (day, key, value) in fresh.rows() {
            self.day(day)?.index.insert(key, value)?;
        }
        // sled recovers a prefix of what was written, so the watermark is never found without the rows before it.
        let reached = fresh.reached();
        self.disk.meta().insert(&self.watermark_key, &reached.to_be_bytes())?;
        *fresh = Fresh::new(reached);
        Ok(())
    }
}

pub(super) fn ended_key(id: &DeliveryId) -> Vec<u8> {
    [b"e", id.bytes()].concat()
}

fn amend_key(id: &DeliveryId, hash: u64) -> Vec<u8> {
    [b"a", id.bytes(), &hash.to_be_bytes()].concat()
}

pub(super) fn unreadable(error: impl std::fmt::Display) -> ArchiveError {
    ArchiveError(error.to_string())
}

/// The archive of one partition, for reading. Cheap to clone.
#[derive(Clone)]
pub struct Archive {
    store: Arc<ArchiveStore>,
    /// Waits until what has just left the machine has been written.
    settle: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

impl Archive {
    pub(crate) fn new(store: Arc<ArchiveStore>, settle: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self { store, settle }
    }

    /// An ended delivery with everything that happened to it. Ask after the machine said that it is not pending: what
    /// leaves the machine is found here without a gap.
    ///
    /// # Errors
    /// The disk cannot be read or holds damaged data.
    pub async fn get(&self, id: DeliveryId) -> Result<Option<Ended>, ArchiveError> {
        self.read(move |store| store.get(&id)).await
    }

    /// The header of a message, if this partition is its home.
    ///
    /// # Errors
    /// The disk cannot be read or holds damaged data.
    pub async fn header(&self, message: MessageId) -> Result<Option<Header>, ArchiveError> {
        self.read(move |store| store.header(&message)).await
    }

    /// The ended deliveries of a message in this partition after `after`, in the order of their ids, at most `limit`.
    ///
    /// # Errors
    /// The disk cannot be read or holds damaged data.
    pub async fn of_message(
        &self,
        message: MessageId,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<Ended>, ArchiveError> {
        self.read(move |store| store.of_message(&message, after, limit)).await
    }

    /// A piece of a material, if this is its home and the piece is kept.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub async fn chunk(&self, material: String, index: u32) -> Result<Option<Vec<u8>>, ArchiveError> {
        self.read(move |store| store.chunk(&material, index)).await
    }

    /// One page of the ended deliveries that match, newest first; see [`Query`].
    ///
    /// # Errors
    /// The disk cannot be read or holds damaged data.
    pub async fn scan(&self, query: Query, from: Option<Cursor>, limit: usize) -> Result<Page, ArchiveError> {
        self.read(move |store| store.scan(&query, from, limit)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&ArchiveStore) -> Result<T, ArchiveError> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let archive = self.clone();
        let joined = crate::base::spawn_blocking(move || {
            (archive.settle)();
            look(&archive.store)
        });
        joined.await.map_err(unreadable)?
    }
}
