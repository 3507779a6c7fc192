//! A database in memory with the interface of sled that this crate uses. What is not flushed is lost with the power, the
//! newest writes first, as sled recovers a prefix of what was written.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::{Bound, Deref, RangeBounds};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

/// What the database reports.
#[derive(Clone, Debug)]
pub enum Error {
    /// The disk.
    Io(Arc<io::Error>),
    /// Something that cannot be done.
    Unsupported(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Unsupported(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error.to_string())
    }
}

/// A key or a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IVec(Bytes);

impl Deref for IVec {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for IVec {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for IVec {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for IVec {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl From<&str> for IVec {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl<const N: usize> From<&[u8; N]> for IVec {
    fn from(bytes: &[u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

type Rows = BTreeMap<IVec, IVec>;

/// How to take one write back.
#[derive(Clone)]
enum Undo {
    Row(Arc<str>, IVec, Option<IVec>),
    Tree(Arc<str>, Option<Rows>),
}

/// One disk: what it holds, and how to take back what was never synced.
#[derive(Default)]
pub(crate) struct Platter {
    trees: BTreeMap<Arc<str>, Rows>,
    unsynced: Vec<Undo>,
    /// Which opening of the database may use the disk; those of dead processes may not.
    opening: u64,
    /// How long a sync takes.
    pub(crate) sync_takes: Duration,
}

impl fmt::Debug for Platter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Platter").field("unsynced", &self.unsynced.len()).finish_non_exhaustive()
    }
}

impl Platter {
    /// Shuts out whoever has it open and loses all but the oldest `keep` of the writes that were not synced.
    pub(crate) fn crash(&mut self, keep: impl FnOnce(usize) -> usize) {
        self.opening += 1;
        let kept = keep(self.unsynced.len());
        while self.unsynced.len() > kept {
            let Some(undo) = self.unsynced.pop() else { return };
            self.take_back(undo);
        }
        self.unsynced.clear();
    }

    /// What of it is durable.
    pub(crate) fn durable(&mut self) -> Self {
        let mut copy = Self { trees: self.trees.clone(), ..Self::default() };
        for undo in self.unsynced.iter().rev() {
            copy.take_back(undo.clone());
        }
        copy
    }

    /// Holds what `other` holds from here on. Whoever has it open is shut out.
    pub(crate) fn become_like(&mut self, other: Self) {
        self.opening += 1;
        self.trees = other.trees;
        self.unsynced.clear();
    }

    fn take_back(&mut self, undo: Undo) {
        match undo {
            Undo::Row(tree, key, old) => {
                if let Some(rows) = self.trees.get_mut(&tree) {
                    put(rows, key, old);
                }
            }
            Undo::Tree(tree, old) => match old {
                Some(rows) => drop(self.trees.insert(tree, rows)),
                None => drop(self.trees.remove(&tree)),
            },
        }
    }

    fn write(&mut self, tree: &Arc<str>, key: IVec, value: Option<IVec>) -> Option<IVec> {
        let rows = self.trees.get_mut(tree)?;
        let old = put(rows, key.clone(), value);
        self.unsynced.push(Undo::Row(Arc::clone(tree), key, old.clone()));
        old
    }
}

fn put(rows: &mut Rows, key: IVec, value: Option<IVec>) -> Option<IVec> {
    match value {
        Some(value) => rows.insert(key, value),
        None => rows.remove(&key),
    }
}

/// How a database is opened. Only the path matters.
#[derive(Debug, Default)]
pub(crate) struct Config(PathBuf);

impl Config {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn path(self, path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(crate) fn cache_capacity(self, _bytes: u64) -> Self {
        self
    }

    pub(crate) fn segment_size(self, _bytes: usize) -> Self {
        self
    }

    pub(crate) fn flush_every_ms(self, _every: Option<u64>) -> Self {
        self
    }

    pub(crate) fn open(self) -> Result<Db, Error> {
        let disk = super::disk(&self.0);
        disk.lock().opening += 1;
        let opening = disk.lock().opening;
        Ok(Db(Handle { disk, opening }))
    }
}

/// One opening of one disk.
#[derive(Clone, Debug)]
struct Handle {
    disk: Arc<Mutex<Platter>>,
    opening: u64,
}

impl Handle {
    fn on<T>(&self, work: impl FnOnce(&mut Platter) -> T) -> Result<T, Error> {
        let mut disk = self.disk.lock();
        if disk.opening == self.opening {
            Ok(work(&mut disk))
        } else {
            Err(Error::Io(Arc::new(io::Error::other("the process that opened the database is dead"))))
        }
    }
}

/// An open database.
#[derive(Clone, Debug)]
pub(crate) struct Db(Handle);

impl Db {
    pub(crate) fn open_tree(&self, name: &str) -> Result<Tree, Error> {
        let name: Arc<str> = name.into();
        self.0.on(|disk| {
            if !disk.trees.contains_key(&name) {
                disk.trees.insert(Arc::clone(&name), Rows::new());
                disk.unsynced.push(Undo::Tree(Arc::clone(&name), None));
            }
        })?;
        Ok(Tree { handle: self.0.clone(), name })
    }

    pub(crate) fn tree_names(&self) -> Vec<IVec> {
        self.0.on(|disk| disk.trees.keys().map(|name| (&**name).into()).collect()).unwrap_or_default()
    }

    pub(crate) fn drop_tree(&self, name: &str) -> Result<bool, Error> {
        self.0.on(|disk| {
            let Some((name, rows)) = disk.trees.remove_entry(name) else { return false };
            disk.unsynced.push(Undo::Tree(name, Some(rows)));
            true
        })
    }

    /// Everything written so far is on the disk.
    pub(crate) fn flush(&self) -> Result<usize, Error> {
        self.0.on(|disk| std::mem::take(&mut disk.unsynced).len())
    }

    /// Bytes of all keys and values.
    pub(crate) fn size_on_disk(&self) -> Result<u64, Error> {
        self.0.on(|disk| {
            let rows = disk.trees.values().flat_map(|rows| rows.iter());
            rows.map(|(key, value)| (key.len() + value.len()) as u64).sum()
        })
    }

    /// How long that takes.
    pub(crate) fn flush_takes(&self) -> Duration {
        self.0.disk.lock().sync_takes
    }
}

/// A named tree.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    handle: Handle,
    name: Arc<str>,
}

impl Tree {
    pub(crate) fn name(&self) -> IVec {
        (&*self.name).into()
    }

    fn rows_of<T: Default>(&self, look: impl FnOnce(&Rows) -> T) -> Result<T, Error> {
        self.handle.on(|disk| disk.trees.get(&self.name).map(look).unwrap_or_default())
    }

    pub(crate) fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<IVec>, Error> {
        self.rows_of(|rows| rows.get(&IVec::from(key.as_ref())).cloned())
    }

    pub(crate) fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.get(key).map(|found| found.is_some())
    }

    pub(crate) fn insert(&self, key: impl AsRef<[u8]>, value: impl Into<IVec>) -> Result<Option<IVec>, Error> {
        let (key, value) = (key.as_ref().into(), value.into());
        self.handle.on(|disk| disk.write(&self.name, key, Some(value)))
    }

    pub(crate) fn remove(&self, key: impl AsRef<[u8]>) -> Result<Option<IVec>, Error> {
        let key = key.as_ref().into();
        self.handle.on(|disk| disk.write(&self.name, key, None))
    }

    pub(crate) fn clear(&self) -> Result<(), Error> {
        let keys: Vec<IVec> = self.rows_of(|rows| rows.keys().cloned().collect())?;
        keys.into_iter().try_for_each(|key| self.remove(key).map(drop))
    }

    pub(crate) fn last(&self) -> Result<Option<(IVec, IVec)>, Error> {
        self.rows_of(|rows| rows.last_key_value().map(|(key, value)| (key.clone(), value.clone())))
    }

    pub(crate) fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Range {
        let of = |bound: Bound<&K>| bound.map(|key| IVec::from(key.as_ref()));
        let (start, end) = (of(range.start_bound()), of(range.end_bound()));
        let bytes = |bound: &Bound<IVec>| match bound {
            Bound::Included(key) | Bound::Excluded(key) => Some(key.clone()),
            Bound::Unbounded => None,
        };
        let empty = matches!((bytes(&start), bytes(&end)), (Some(start), Some(end)) if start >= end)
            && !matches!((&start, &end), (Bound::Included(a), Bound::Included(b)) if a == b);
        let rows = self.rows_of(|rows| match empty {
            true => Vec::new(),
            false => rows.range((start, end)).map(|(key, value)| Ok((key.clone(), value.clone()))).collect(),
        });
        Range(rows.unwrap_or_else(|error| vec![Err(error)]).into_iter())
    }

    pub(crate) fn scan_prefix(&self, prefix: impl AsRef<[u8]>) -> Range {
        let prefix = prefix.as_ref().to_vec();
        let rows = self.range(prefix.clone()..).0.take_while(|row| match row {
            Ok((key, _)) => key.starts_with(&prefix),
            Err(_) => true,
        });
        Range(rows.collect::<Vec<_>>().into_iter())
    }

    pub(crate) fn update_and_fetch<V: Into<IVec>>(
        &self,
        key: impl AsRef<[u8]>,
        change: impl FnOnce(Option<&[u8]>) -> Option<V>,
    ) -> Result<Option<IVec>, Error> {
        let old = self.get(&key)?;
        let new: Option<IVec> = change(old.as_deref()).map(Into::into);
        let (name, key) = (&self.name, key.as_ref().into());
        self.handle.on(|disk| disk.write(name, key, new.clone()))?;
        Ok(new)
    }
}

/// Some rows of a tree, as they stood when they were asked for.
pub(crate) struct Range(std::vec::IntoIter<Result<(IVec, IVec), Error>>);

impl Range {
    pub(crate) fn keys(self) -> impl DoubleEndedIterator<Item = Result<IVec, Error>> + Send {
        self.0.map(|row| row.map(|(key, _)| key))
    }
}

impl Iterator for Range {
    type Item = Result<(IVec, IVec), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back()
    }
}
