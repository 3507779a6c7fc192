//! Who the disk of a node is, and what it remembers of its own life and of the disks of its peers.
//!
//! A disk has an id, drawn when its data directory is made. Each start of a process on it has a number and a random mark,
//! and the count of syncs at which it began. So a [`Position`] (start, mark, syncs) names a moment in the life of a disk,
//! and the disk can say whether that moment belongs to its past. One that was put back to an earlier state, or copied and
//! run twice, cannot say so, and its peers, who wrote the moment down, refuse it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidings_machine::control::DiskId;

use crate::base::sled;
use crate::codec;
use crate::error::OpenError;

/// The id, in the tree `meta`.
const ID: &str = "disk";
/// The starts, in the tree `meta`: number, mark, syncs when it began.
const STARTS: &str = "start/";
/// What was heard of the disks of peers, in the tree `meta`.
const HEARD: &str = "heard/";
/// Nodes whose next disk an operator takes for theirs, in the tree `meta`.
const FORCED: &str = "forced/";
/// The id beside the database.
#[cfg(not(feature = "sim"))]
const FILE: &str = "disk";
/// So many starts are remembered: more than a process that ends at once makes in hours.
const STARTS_KEPT: u64 = 16_384;

/// A moment in the life of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Which disk.
    pub(crate) disk: DiskId,
    /// Which start of a process on it, the first is 1.
    pub(crate) start: u64,
    /// Drawn at that start.
    pub(crate) mark: u64,
    /// How many syncs of its life made something durable that others may count on.
    pub(crate) syncs: u64,
}

impl Position {
    /// Whether both were said by one process.
    pub(crate) fn is_of_the_process(&self, other: &Self) -> bool {
        (self.disk, self.start, self.mark) == (other.disk, other.start, other.mark)
    }
}

/// What is known of the disk of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heard {
    /// The newest moment of it that was heard of.
    pub(crate) position: Position,
    /// Two processes were heard of in one start of it, so it was copied.
    pub(crate) forked: bool,
}

/// One start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Start {
    mark: u64,
    /// How many syncs there had been.
    syncs: u64,
}

/// The disk's own life.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    meta: sled::Tree,
    #[cfg_attr(feature = "sim", expect(dead_code, reason = "nothing stands beside a simulated database"))]
    dir: PathBuf,
    /// The start of this process.
    pub(crate) start: u64,
    /// Its mark.
    pub(crate) mark: u64,
}

impl Life {
    /// Begins the next start, after so many `syncs`. Durable with the next sync, which has to come before any peer hears
    /// of it; then the id is written beside the database.
    pub(crate) fn begin(db: &sled::Db, dir: &Path, syncs: u64) -> Result<Self, OpenError> {
        let meta = db.open_tree("meta")?;
        let number = match meta.scan_prefix(STARTS).keys().next_back() {
            Some(key) => number_of(&key?).unwrap_or(0) + 1,
            None => 1,
        };
        let life = Self { meta, dir: dir.to_owned(), start: number, mark: rand::random() };
        #[cfg(not(feature = "sim"))]
        life.compare()?;
        if life.meta.get(ID)?.is_none() {
            life.meta.insert(ID, encoded(&DiskId(rand::random()))?)?;
        }
        life.meta.insert(start_key(number), encoded(&Start { mark: life.mark, syncs })?)?;
        if let Some(old) = number.checked_sub(STARTS_KEPT) {
            life.meta.remove(start_key(old))?;
        }
        Ok(life)
    }

    /// A file beside a database that knows nothing of it stood beside another one.
    #[cfg(not(feature = "sim"))]
    fn compare(&self) -> Result<(), OpenError> {
        let Some(beside) = self.beside()? else { return Ok(()) };
        let inside = self.meta.get(ID)?.map(|bytes| codec::decode::<DiskId>(&bytes)).transpose().map_err(damaged)?;
        if inside.is_some_and(|inside| inside.to_string() == beside) {
            return Ok(());
        }
        let inside = match inside {
            Some(inside) => format!("is of disk {inside}"),
            None => "knows of no disk".to_owned(),
        };
        Err(damaged(format!("the database {inside}, and the file `{FILE}` beside it is of disk {beside}")))
    }

    #[cfg(not(feature = "sim"))]
    fn beside(&self) -> Result<Option<String>, OpenError> {
        let path = self.dir.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => Ok(None),
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(OpenError::Io { path: path.display().to_string(), source }),
        }
    }

    /// Writes the id beside the database, which must have it durably by now: a file that is ahead would be taken for that
    /// of another database.
    #[cfg(not(feature = "sim"))]
    pub(crate) fn write_beside(&self) -> Result<(), OpenError> {
        self.put_beside(&format!("{}\n", self.id()?))
    }

    #[cfg(not(feature = "sim"))]
    fn put_beside(&self, text: &str) -> Result<(), OpenError> {
        let path = self.dir.join(FILE);
        std::fs::write(&path, text).map_err(|source| OpenError::Io { path: path.display().to_string(), source })
    }

    /// Which disk this is.
    pub(crate) fn id(&self) -> Result<DiskId, OpenError> {
        let bytes = self.meta.get(ID)?.ok_or_else(|| damaged("no disk id"))?;
        codec::decode(&bytes).map_err(damaged)
    }

    /// From here on this is another disk, with the same content. To be settled before anybody hears of it.
    pub(crate) fn renew(&self) -> Result<DiskId, OpenError> {
        // Nothing stands beside until the next start: neither id would fit if the process died in between.
        #[cfg(not(feature = "sim"))]
        self.put_beside("")?;
        let id = DiskId(rand::random());
        self.meta.insert(ID, encoded(&id)?)?;
        Ok(id)
    }

    /// Whether a moment of start `start` belongs to this life: when that start had the mark, and had not ended before.
    /// `syncs_now` are those of now. A start too old to be remembered is only compared by its syncs.
    pub(crate) fn contains(&self, heard: &Position, syncs_now: u64) -> Result<bool, OpenError> {
        if heard.start > self.start {
            return Ok(false);
        }
        if heard.start == self.start {
            return Ok(heard.mark == self.mark && heard.syncs <= syncs_now);
        }
        let mark = self.start_of(heard.start)?.map(|start| start.mark);
        let next = self.meta.range(start_key(heard.start + 1)..).next().transpose()?;
        let Some((_, next)) = next else { return Ok(false) };
        let ended: Start = codec::decode(&next).map_err(damaged)?;
        let too_old = heard.start + STARTS_KEPT <= self.start;
        Ok((too_old || mark == Some(heard.mark)) && heard.syncs <= ended.syncs)
    }

    fn start_of(&self, number: u64) -> Result<Option<Start>, OpenError> {
        let bytes = self.meta.get(start_key(number))?;
        bytes.map(|bytes| codec::decode(&bytes)).transpose().map_err(damaged)
    }

    /// What was heard of the disks of peers, by their numbers.
    pub(crate) fn heard(&self) -> Result<Vec<(u64, Heard)>, OpenError> {
        let mut all = Vec::new();
        for row in self.meta.scan_prefix(HEARD) {
            let (key, value) = row?;
            all.extend(number_of(&key).zip(codec::decode(&value).ok()));
        }
        Ok(all)
    }

    /// The key and the value under which it is written down what was heard of a peer's disk.
    pub(crate) fn hearing(node: u64, heard: &Heard) -> Result<(String, Vec<u8>), codec::CodecError> {
        Ok((format!("{HEARD}{node:020}"), codec::encode(heard)?))
    }

    /// The nodes whose next disk an operator takes for theirs, with that disk once it was met.
    pub(crate) fn forced(&self) -> Result<Vec<(u64, Option<DiskId>)>, OpenError> {
        let mut all = Vec::new();
        for row in self.meta.scan_prefix(FORCED) {
            let (key, value) = row?;
            all.extend(number_of(&key).map(|node| (node, codec::decode(&value).ok())));
        }
        Ok(all)
    }

    /// The key under which the disk knows that an operator takes the next disk of a node for its own.
    pub(crate) fn forcing(node: u64) -> String {
        format!("{FORCED}{node:020}")
    }
}

fn start_key(number: u64) -> String {
    format!("{STARTS}{number:020}")
}

fn number_of(key: &[u8]) -> Option<u64> {
    std::str::from_utf8(key).ok()?.rsplit('/').next()?.parse().ok()
}

fn encoded<T: Serialize>(value: &T) -> Result<Vec<u8>, OpenError> {
    codec::encode(value).map_err(damaged)
}

fn damaged(why: impl std::fmt::Display) -> OpenError {
    OpenError::Damaged { what: "database".into(), why: format!("{why}; {}", super::disk::HOW_BACK) }
}

#[cfg(all(test, not(feature = "sim")))]
mod tests {
    use super::*;

    fn begin(dir: &Path, syncs: u64) -> Result<(sled::Db, Life), OpenError> {
        let db = sled::Config::new().path(dir).segment_size(1 << 20).flush_every_ms(None).open()?;
        let life = Life::begin(&db, dir, syncs)?;
        db.flush()?;
        life.write_beside()?;
        Ok((db, life))
    }

    fn position(life: &Life, syncs: u64) -> Position {
        Position { disk: life.id().unwrap_or_default(), start: life.start, mark: life.mark, syncs }
    }

    #[test]
    fn a_disk_knows_the_moments_of_its_own_life_and_no_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let (db, first) = begin(dir.path(), 0).expect("it begins");
        let (then, later) = (position(&first, 5), position(&first, 9));
        assert!(first.contains(&then, 5).expect("read") && !first.contains(&later, 5).expect("read"));
        drop((db, first));
        // It ended after 7 syncs: the moment with 9 is of a life that this disk does not have.
        let (_db, second) = begin(dir.path(), 7).expect("it begins again");
        assert_eq!((second.start, second.id().expect("an id")), (2, then.disk));
        assert!(second.contains(&then, 7).expect("read"), "5 syncs in its first start: that was so");
        assert!(!second.contains(&later, 100).expect("read"), "it was put back to before, and went on from there");
        let other_mark = Position { mark: then.mark ^ 1, ..then };
        assert!(!second.contains(&other_mark, 100).expect("read"), "another process in the same start");
        let future = Position { start: 3, ..then };
        assert!(!second.contains(&future, 100).expect("read"), "a start it does not know of");
    }

    #[test]
    fn a_database_without_the_disk_that_stood_beside_it_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        drop(begin(dir.path(), 0).expect("it begins"));
        std::fs::remove_file(dir.path().join("db")).expect("the database is lost, the file beside it is not");
        std::fs::remove_file(dir.path().join("conf")).expect("sled's own");
        let words = begin(dir.path(), 0).map(drop).expect_err("it is refused").to_string();
        assert!(words.contains("beside it is of disk") && words.contains("empty data directory"), "{words}");
    }

    #[test]
    fn a_renewed_disk_is_another_one_with_the_same_content() {
        let dir = tempfile::tempdir().expect("a directory");
        let (db, life) = begin(dir.path(), 0).expect("it begins");
        let old = life.id().expect("an id");
        let new = life.renew().expect("renewed");
        assert_ne!(old, new);
        drop((db, life));
        assert_eq!(begin(dir.path(), 3).expect("it begins again").1.id().expect("an id"), new);
    }
}
