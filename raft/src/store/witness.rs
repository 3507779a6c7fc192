//! Notices a database that came back without what was durable before.
//!
//! sled takes a log whose tail is damaged for one that was cut off while it was written, and goes on without the tail.
//! Everything there may have been acknowledged to a leader, so a replica must not go on without it: it would vote and count
//! as if it had never promised. So each sync is counted twice: inside the database, as the last write before the sync, and
//! beside it in a small file, once the sync is done. The file is never ahead of a database that is whole.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::base::sled;
use crate::error::OpenError;

/// The count in the database, in the tree `meta`.
const KEY: &str = "syncs";
/// The count beside it.
const FILE: &str = "syncs";

/// Counts the syncs of one database.
#[derive(Debug)]
pub(crate) struct Witness {
    meta: sled::Tree,
    file: File,
    count: u64,
}

impl Witness {
    /// Goes on counting for the database in `dir`.
    pub(crate) fn open(db: &sled::Db, dir: &Path) -> io::Result<Self> {
        let meta = db.open_tree("meta").map_err(io::Error::from)?;
        let count = inside(&meta).map_err(io::Error::from)?.unwrap_or(0);
        let file = File::options().create(true).truncate(false).write(true).open(dir.join(FILE))?;
        Ok(Self { meta, file, count })
    }

    /// How many syncs there were.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// To be called after everything that the next sync is for.
    pub(crate) fn before_sync(&mut self) -> Result<(), sled::Error> {
        self.count += 1;
        self.meta.insert(KEY, &self.count.to_be_bytes()).map(drop)
    }

    /// To be called when that sync is done. The file itself is not synced: after a power cut it may be behind, which hides
    /// a damage but never invents one.
    pub(crate) fn after_sync(&self) -> io::Result<()> {
        self.file.write_all_at(&self.count.to_be_bytes(), 0)
    }
}

/// Compares the two counts before anything is written.
///
/// # Errors
/// [`OpenError::Damaged`] when the database has fewer syncs than were done.
pub(crate) fn check(db: &sled::Db, dir: &Path) -> Result<(), OpenError> {
    let beside = match std::fs::read(dir.join(FILE)) {
        Ok(bytes) => <[u8; 8]>::try_from(&*bytes).map(u64::from_be_bytes).unwrap_or(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(OpenError::Io { path: dir.join(FILE).display().to_string(), source }),
    };
    let inside = inside(&db.open_tree("meta")?)?.unwrap_or(0);
    if inside >= beside {
        return Ok(());
    }
    let why = format!(
        "it ends at sync {inside} and {beside} were done, so acknowledged entries are gone; {}",
        super::disk::HOW_BACK
    );
    Err(OpenError::Damaged { what: "database".into(), why })
}

/// How many syncs the database knows of.
pub(super) fn inside(meta: &sled::Tree) -> Result<Option<u64>, sled::Error> {
    let bytes = meta.get(KEY)?;
    Ok(bytes.and_then(|bytes| <[u8; 8]>::try_from(&*bytes).ok()).map(u64::from_be_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(dir: &Path) -> sled::Db {
        sled::Config::new().path(dir).flush_every_ms(None).open().expect("a database")
    }

    fn synced(db: &sled::Db, witness: &mut Witness, times: u8) {
        for n in 0..times {
            db.insert([n], vec![n; 2_000]).expect("written");
            witness.before_sync().expect("written");
            db.flush().expect("synced");
            witness.after_sync().expect("written");
        }
    }

    /// Puts every file of `from` into `to`, but for the count beside the database.
    fn put(from: &Path, to: &Path) {
        for entry in std::fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
            if entry.file_type().expect("a type").is_file() && entry.file_name() != FILE {
                std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
            }
        }
    }

    #[test]
    fn a_database_that_came_back_without_its_tail_is_found_and_a_whole_one_is_not() {
        let (dir, earlier) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let db = database(dir.path());
        let mut witness = Witness::open(&db, dir.path()).expect("opened");
        synced(&db, &mut witness, 20);
        drop((witness, db));
        put(dir.path(), earlier.path());
        let db = database(dir.path());
        check(&db, dir.path()).expect("it is whole");
        synced(&db, &mut Witness::open(&db, dir.path()).expect("opened"), 20);
        drop(db);

        put(earlier.path(), dir.path());
        let db = database(dir.path());
        let words = check(&db, dir.path()).expect_err("it lost its tail").to_string();
        assert!(words.contains("ends at sync 20 and 40 were done"), "{words}");
    }
}
