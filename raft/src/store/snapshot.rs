//! Snapshots of a group's machine: kept in pieces with a checksum, made current only when durable.
//!
//! Each snapshot is a *generation*: a number under which its pieces stand. The current one, and those somebody still
//! reads, stay; all others are removed piece by piece when the flusher has time.

use std::io::{self, Read, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::disk::Disk;
use crate::base::{sled, spawn_blocking};
use crate::codec::{self, CodecError};
use crate::types::{GroupId, SnapshotMeta};

/// Size of a piece. Small enough to be one value of sled and one frame between peers.
pub(crate) const PIECE: usize = 128 * 1024;
const SLICE: usize = 32;

/// Where the pieces of one snapshot are.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotBody {
    source: Option<Source>,
    size: Size,
}

#[derive(Clone, Debug)]
struct Source {
    tree: sled::Tree,
    /// Alive as long as somebody reads, so that the pieces stay.
    generation: Arc<u64>,
}

/// How large a snapshot is, and its checksum (XXH3, 64 bits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Size {
    pub(crate) pieces: u32,
    pub(crate) bytes: u64,
    pub(crate) checksum: u64,
}

/// What is kept about the current snapshot.
#[derive(Serialize, Deserialize)]
struct Current {
    generation: u64,
    size: Size,
    meta: SnapshotMeta,
}

/// The snapshots of one group.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotStore {
    disk: Disk,
    tree: sled::Tree,
    key: String,
    alive: Arc<parking_lot::Mutex<Vec<std::sync::Weak<u64>>>>,
    current: Arc<parking_lot::Mutex<Option<Arc<u64>>>>,
    /// Held while a snapshot is made current: one that was built must not pass one that is being installed.
    making: Arc<tokio::sync::Mutex<()>>,
}

impl SnapshotBody {
    /// A body that holds nothing, for openraft to have something to hand around.
    pub(crate) fn empty() -> Self {
        Self { source: None, size: Size::default() }
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// Piece `number`, from 0.
    pub(crate) fn piece(&self, number: u32) -> io::Result<sled::IVec> {
        let source = self.source.as_ref().ok_or_else(|| io::Error::other("an empty snapshot"))?;
        let found = source.tree.get(piece_key(*source.generation, number))?;
        found.ok_or_else(|| io::Error::other(format!("piece {number} of a snapshot is gone")))
    }

    /// Reads all pieces and compares their checksum.
    pub(crate) fn verify(&self) -> io::Result<()> {
        let (mut hash, mut bytes) = (Xxh3::new(), 0_u64);
        for number in 0..self.size.pieces {
            let piece = self.piece(number)?;
            hash.update(&piece);
            bytes += piece.len() as u64;
        }
        if (bytes, hash.digest()) == (self.size.bytes, self.size.checksum) {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a snapshot does not match its checksum"))
        }
    }

    /// The bytes one after the other.
    pub(crate) fn reader(&self) -> impl Read {
        PieceReader { body: self.clone(), next: 0, piece: sled::IVec::default(), at: 0 }
    }
}

struct PieceReader {
    body: SnapshotBody,
    next: u32,
    piece: sled::IVec,
    at: usize,
}

impl Read for PieceReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && self.next < self.body.size.pieces {
            self.piece = self.body.piece(self.next)?;
            (self.next, self.at) = (self.next + 1, 0);
        }
        let rest = self.piece.get(self.at..).unwrap_or_default();
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

impl SnapshotStore {
    /// Opens the snapshots of `group`.
    pub(crate) fn open(disk: &Disk, group: GroupId) -> Result<Self, sled::Error> {
        let (tree, key) = (disk.tree(&Self::tree_name(group))?, Self::meta_name(group));
        let (alive, current, making) = Default::default();
        let store = Self { disk: disk.clone(), tree, key, alive, current, making };
        if let Some(current) = store.read_current().map_err(|e| sled::Error::Unsupported(e.to_string()))? {
            *store.current.lock() = Some(store.pin(current.generation));
        }
        store.sweep();
        Ok(store)
    }

    /// The name of the tree that holds the snapshots of `group`.
    pub(crate) fn tree_name(group: GroupId) -> String {
        format!("snap/{group}")
    }

    /// The index of the newest entry in the current snapshot of `group` on a disk on which the group does not run. Blocks.
    pub(crate) fn newest(disk: &Disk, group: GroupId) -> io::Result<Option<u64>> {
        let current = disk.meta().get(Self::meta_name(group))?;
        let current = current.map(|bytes| codec::decode::<Current>(&bytes)).transpose().map_err(io::Error::other)?;
        Ok(current.and_then(|current| current.meta.last_log_id).map(|id| id.index))
    }

    /// The name of the small value that says which snapshot of `group` is current.
    pub(crate) fn meta_name(group: GroupId) -> String {
        format!("snap/{group}")
    }

    /// Starts a new snapshot. Blocks on the disk: not for an async worker.
    pub(crate) fn writer(&self) -> Result<ChunkWriter, sled::Error> {
        let generation = self.pin(self.disk.meta().generate_generation()?);
        let source = Source { tree: self.tree.clone(), generation };
        Ok(ChunkWriter::new(source))
    }

    /// The current snapshot, if there is one.
    pub(crate) fn current(&self) -> Result<Option<(SnapshotMeta, SnapshotBody)>, CodecError> {
        // While this is held the current one is not let go of, so its pieces stay until they are pinned here too.
        let _held = self.current.lock();
        let Some(current) = self.read_current()? else { return Ok(None) };
        let generation = self.pin(current.generation);
        let source = Some(Source { tree: self.tree.clone(), generation });
        Ok(Some((current.meta, SnapshotBody { source, size: current.size })))
    }

    /// Makes a complete snapshot durable, then the current one; returns when both are on the disk. Does nothing if the
    /// current one is newer: its log is gone already, so an older one would leave a hole.
    pub(crate) async fn make_current(&self, meta: &SnapshotMeta, body: &SnapshotBody) -> io::Result<()> {
        let _one_at_a_time = self.making.lock().await;
        let known = self.read_current().map_err(io::Error::other)?;
        if known.is_some_and(|known| known.meta.last_log_id > meta.last_log_id) {
            return Ok(());
        }
        let body = self.own(body).await?;
        let Some(source) = &body.source else { return Err(io::Error::other("an empty snapshot")) };
        self.disk.settle().await?;
        let current = Current { generation: *source.generation, size: body.size, meta: meta.clone() };
        self.disk.keep(self.key.clone(), codec::encode(&current).map_err(io::Error::other)?).await?;
        *self.current.lock() = Some(Arc::clone(&source.generation));
        self.sweep();
        Ok(())
    }

    /// The same snapshot with its pieces in our own tree.
    async fn own(&self, body: &SnapshotBody) -> io::Result<SnapshotBody> {
        match &body.source {
            Some(source) if source.tree.name() != self.tree.name() || !self.is_ours(source) => {
                let (mut writer, body) = (self.writer()?, body.clone());
                let copy = move || {
                    io::copy(&mut body.reader(), &mut writer)?;
                    writer.finish()
                };
                spawn_blocking(copy).await.map_err(io::Error::other)?
            }
            _ => Ok(body.clone()),
        }
    }

    /// Whether the pieces are in this very tree; another database may have a tree of the same name.
    fn is_ours(&self, source: &Source) -> bool {
        self.alive.lock().iter().any(|weak| weak.as_ptr() == Arc::as_ptr(&source.generation))
    }

    fn read_current(&self) -> Result<Option<Current>, CodecError> {
        let found = self.disk.meta().get(&self.key).map_err(|e| CodecError::new(e.to_string()))?;
        found.map(|bytes| codec::decode(&bytes)).transpose()
    }

    fn pin(&self, generation: u64) -> Arc<u64> {
        let mut alive = self.alive.lock();
        alive.retain(|weak| weak.strong_count() > 0);
        if let Some(known) = alive.iter().filter_map(std::sync::Weak::upgrade).find(|known| **known == generation) {
            return known;
        }
        let generation = Arc::new(generation);
        alive.push(Arc::downgrade(&generation));
        generation
    }

    /// Removes, when there is time, every piece of a generation nobody needs.
    fn sweep(&self) {
        // The chore may outlive the store, so it holds the current one itself.
        let (tree, alive, current) = (self.tree.clone(), Arc::clone(&self.alive), Arc::clone(&self.current));
        let mut from = Vec::new();
        let chore = move || {
            let _pinned = &current;
            sweep_slice(&tree, &mut from, || needed(&alive))
        };
        if let Err(error) = self.disk.flusher().chore(Box::new(chore)) {
            tracing::debug!(%error, "old snapshots stay until the next one");
        }
    }
}

/// The generations somebody needs.
fn needed(alive: &parking_lot::Mutex<Vec<std::sync::Weak<u64>>>) -> Vec<u64> {
    alive.lock().iter().filter_map(|weak| weak.upgrade().map(|generation| *generation)).collect()
}

/// Looks at some pieces from `from` on and removes those of a generation that is not `needed`; `true` while there is more.
fn sweep_slice(tree: &sled::Tree, from: &mut Vec<u8>, needed: impl FnOnce() -> Vec<u64>) -> Result<bool, sled::Error> {
    let keys: Result<Vec<_>, _> = tree.range(from.clone()..).keys().take(SLICE).collect();
    let keys = keys?;
    // Asked after the pieces were seen. A generation is pinned before its first piece is written, so one that is being
    // written is needed; asked before, one that began in between would lose pieces.
    let needed = needed();
    for key in &keys {
        let generation = key.get(..8).and_then(|b| <[u8; 8]>::try_from(b).ok()).map(u64::from_be_bytes);
        if generation.is_none_or(|g| !needed.contains(&g)) {
            tree.remove(key)?;
        }
    }
    if let Some(last) = keys.last() {
        *from = [last, &[0][..]].concat();
    }
    Ok(keys.len() == SLICE)
}

/// Takes the bytes of a new snapshot and stores them piece by piece.
pub(crate) struct ChunkWriter {
    source: Source,
    size: Size,
    hash: Xxh3,
    piece: Vec<u8>,
}

impl ChunkWriter {
    fn new(source: Source) -> Self {
        Self { source, size: Size::default(), hash: Xxh3::new(), piece: Vec::with_capacity(PIECE) }
    }

    /// Stores what is left and returns the whole.
    pub(crate) fn finish(mut self) -> io::Result<SnapshotBody> {
        self.store()?;
        self.size.checksum = self.hash.digest();
        Ok(SnapshotBody { source: Some(self.source), size: self.size })
    }

    fn store(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        self.hash.update(&self.piece);
        let key = piece_key(*self.source.generation, self.size.pieces);
        self.source.tree.insert(key, self.piece.as_slice())?;
        self.size.pieces += 1;
        self.size.bytes += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == PIECE {
            self.store()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn piece_key(generation: u64, number: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&generation.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Writes what a snapshot holds once more, changed, as another generation in `tree`: `current` is what `meta` says about the
/// old one, and what comes back is to be kept in its place; `None` if nothing changed. Blocks.
pub(super) fn written_anew(
    (meta, tree): (&sled::Tree, &sled::Tree),
    current: &[u8],
    change: impl FnOnce(&mut dyn Read, &mut dyn Write) -> Result<(), CodecError>,
) -> io::Result<Option<Vec<u8>>> {
    let old: Current = codec::decode(current).map_err(io::Error::other)?;
    let source = |generation| Source { tree: tree.clone(), generation: Arc::new(generation) };
    let body = SnapshotBody { source: Some(source(old.generation)), size: old.size };
    body.verify()?;
    let generation = meta.generate_generation()?;
    let mut writer = ChunkWriter::new(source(generation));
    change(&mut io::BufReader::new(body.reader()), &mut writer).map_err(io::Error::other)?;
    let size = writer.finish()?.size;
    let anew = Current { generation, size, meta: old.meta };
    if size == old.size { Ok(None) } else { codec::encode(&anew).map(Some).map_err(io::Error::other) }
}

/// Keeps `bytes` as the current snapshot in the tree `name` and under that name.
#[cfg(test)]
pub(super) fn write_for_a_test(db: &sled::Db, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (meta, tree) = (db.open_tree("meta")?, db.open_tree(name)?);
    let generation = meta.generate_generation()?;
    let mut writer = ChunkWriter::new(Source { tree, generation: Arc::new(generation) });
    writer.write_all(bytes)?;
    let current = Current { generation, size: writer.finish()?.size, meta: SnapshotMeta::default() };
    meta.insert(name, codec::encode(&current).map_err(io::Error::other)?)?;
    Ok(())
}

/// Numbers that grow over restarts.
trait Generations {
    fn generate_generation(&self) -> Result<u64, sled::Error>;
}

impl Generations for sled::Tree {
    fn generate_generation(&self) -> Result<u64, sled::Error> {
        let next = self.update_and_fetch("generation", |old| {
            let old = old.and_then(|b| <[u8; 8]>::try_from(b).ok()).map_or(0, u64::from_be_bytes);
            Some((old + 1).to_be_bytes().to_vec())
        })?;
        Ok(next.and_then(|b| <[u8; 8]>::try_from(&*b).ok()).map_or(1, u64::from_be_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DiskOptions;
    use crate::types::LogId;

    async fn open(dir: &tempfile::TempDir) -> SnapshotStore {
        let options = DiskOptions { dir: dir.path().to_owned(), node: 1, cache_bytes: 1 << 20, reserve_bytes: 0 };
        let disk = Disk::open(&options).await.expect("a disk");
        SnapshotStore::open(&disk, GroupId::Control).expect("a place for snapshots")
    }

    fn write(store: &SnapshotStore, fill: u8) -> SnapshotBody {
        let mut writer = store.writer().expect("room");
        writer.write_all(&[fill; 1_000]).expect("written");
        writer.finish().expect("complete")
    }

    fn at(index: u64) -> SnapshotMeta {
        let id = LogId::new(openraft::CommittedLeaderId::new(1, 1), index);
        SnapshotMeta { last_log_id: Some(id), ..SnapshotMeta::default() }
    }

    #[tokio::test]
    async fn a_snapshot_that_begins_while_old_ones_are_swept_keeps_its_pieces() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = open(&dir).await;
        let (mut from, mut body) = (Vec::new(), None);
        drop(write(&store, 1));
        // The new one is begun and written just behind the look at what is needed.
        let look = || {
            let needed = needed(&store.alive);
            body = Some(write(&store, 2));
            needed
        };
        let more = sweep_slice(&store.tree, &mut from, look).expect("swept");
        assert!(!more, "there are fewer pieces than a slice");
        assert_eq!(body.expect("it was written").verify().map_err(|e| e.to_string()), Ok(()));
    }

    #[tokio::test]
    async fn a_sweep_that_outlives_its_store_keeps_the_current_snapshot() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = open(&dir).await;
        let body = write(&store, 1);
        store.make_current(&at(10), &body).await.expect("kept");
        drop(body);
        let disk = store.disk.clone();
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let wait = move || {
            let _ = held.recv();
            Ok(())
        };
        disk.flusher().write(Box::new(wait), Box::new(drop)).expect("queued");
        store.sweep();
        drop(store);
        hold.send(()).expect("the thread waits");
        for _ in 0..4 {
            disk.settle().await.expect("one chore between two syncs");
        }
        let store = SnapshotStore::open(&disk, GroupId::Control).expect("a place for snapshots");
        let (_, body) = store.current().expect("readable").expect("there is one");
        assert_eq!(body.verify().map_err(|e| e.to_string()), Ok(()));
    }

    #[tokio::test]
    async fn a_snapshot_that_was_built_late_does_not_replace_a_newer_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = open(&dir).await;
        let (built, installed) = (write(&store, 1), write(&store, 2));
        store.make_current(&at(20), &installed).await.expect("kept");
        store.make_current(&at(10), &built).await.expect("passed over");
        let (meta, body) = store.current().expect("readable").expect("there is one");
        assert_eq!(meta, at(20));
        assert_eq!(body.verify().map_err(|e| e.to_string()), Ok(()));
    }
}
