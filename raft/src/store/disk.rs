//! The one database of a node: opened once, with a version, an owner and a thread that makes writes durable.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::flusher::{Flusher, Health};
use super::identity::Life;
use super::upgrade;
#[cfg(not(feature = "sim"))]
use super::witness;
use crate::base::{sled, spawn_blocking};
use crate::error::OpenError;
use crate::options::Options;

/// What is to be done with a database that must not be used any more.
pub(super) const HOW_BACK: &str = "this node must not go on with it. Move its data directory away and start it with an \
    empty data directory: the other nodes take it in again under its number by themselves, as long as they are a majority. \
    A cluster of one node comes back from a backup (`tidings restore`)";
/// Under this name the disk knows that a restore into it has not finished.
const RESTORING: &str = "restoring";
/// See [`crate::MAX_ENTRY_BYTES`]: with this segment size no page ever becomes a file of its own.
const SEGMENT_BYTES: usize = 16 << 20;
/// How long to wait for a process that is just ending to let go of the database.
const LOCK_ATTEMPTS: u32 = 50;
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// What opening a disk needs to know.
#[derive(Clone, Debug)]
pub(crate) struct DiskOptions {
    /// The node's data directory.
    pub(crate) dir: PathBuf,
    /// Whose data it is.
    pub(crate) node: u64,
    /// sled's page cache, in bytes.
    pub(crate) cache_bytes: u64,
    /// Free bytes below which nothing new is written.
    pub(crate) reserve_bytes: u64,
}

impl DiskOptions {
    /// Those of a node.
    pub(crate) fn of(options: &Options) -> Self {
        Self {
            dir: options.data_dir.clone(),
            node: options.node,
            cache_bytes: options.cache_bytes,
            reserve_bytes: options.disk_reserve_bytes,
        }
    }
}

/// The open database. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    db: sled::Db,
    dir: Arc<Path>,
    meta: sled::Tree,
    flusher: Arc<Flusher>,
    life: Life,
}

impl Disk {
    /// Opens the database, makes it ours if it is new, and checks that it is ours if it is not.
    pub(crate) async fn open(options: &DiskOptions) -> Result<Self, OpenError> {
        let dir = options.dir.join("ledger");
        let options = options.clone();
        let db = Self::open_when_free(&dir, options.cache_bytes).await?;
        let opened = spawn_blocking(move || unpanicked(|| Self::adopt(db, &dir, &options))).await;
        let disk = opened.map_err(|e| unreadable("it", &e))??;
        // Nobody hears of a start before it is durable.
        let path = || disk.dir.display().to_string();
        disk.settle().await.map_err(|source| OpenError::Io { path: path(), source })?;
        #[cfg(not(feature = "sim"))]
        disk.life.write_beside()?;
        Ok(disk)
    }

    async fn open_when_free(dir: &Path, cache_bytes: u64) -> Result<sled::Db, OpenError> {
        std::fs::create_dir_all(dir).map_err(|source| OpenError::Io { path: dir.display().to_string(), source })?;
        for attempt in 1.. {
            let path = dir.to_owned();
            let opened = spawn_blocking(move || {
                let config = sled::Config::new().path(path).cache_capacity(cache_bytes).segment_size(SEGMENT_BYTES);
                unpanicked(|| config.flush_every_ms(None).open().map_err(reported))
            });
            match opened.await.map_err(|e| unreadable("it", &e))? {
                Ok(db) => return Ok(db),
                Err(OpenError::Database(error)) if attempt < LOCK_ATTEMPTS && is_locked(&error) => {
                    tokio::time::sleep(LOCK_WAIT).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(OpenError::Option("unreachable: the loop above returns".into()))
    }

    fn adopt(db: sled::Db, dir: &Path, options: &DiskOptions) -> Result<Self, OpenError> {
        let meta = db.open_tree("meta")?;
        let version = upgrade::version_of(&db)?;
        version.map_or(Ok(()), upgrade::check)?;
        if version.is_none() {
            upgrade::write_version(&db, upgrade::VERSION)?;
            meta.insert("node", &options.node.to_be_bytes())?;
        }
        let owner = meta.get("node")?.and_then(|b| <[u8; 8]>::try_from(&*b).ok()).map(u64::from_be_bytes);
        match owner {
            Some(found) if found == options.node => {}
            Some(found) => return Err(OpenError::OtherNode { found, wanted: options.node }),
            None => return Err(OpenError::Damaged { what: "meta".into(), why: "no node number".into() }),
        }
        if meta.contains_key(RESTORING)? {
            return Err(OpenError::Unfinished);
        }
        // The simulated disk loses no tail it has synced.
        #[cfg(not(feature = "sim"))]
        witness::check(&db, dir)?;
        // Only what is ours and whole is touched.
        if let Some(found) = version {
            upgrade::bring_up(&db, found)?;
        }
        let flusher = Flusher::start(db.clone(), dir, options.reserve_bytes)
            .map_err(|source| OpenError::Io { path: dir.join("db").display().to_string(), source })?;
        let life = Life::begin(&db, dir, flusher.health().promised())?;
        Ok(Self { db, dir: dir.into(), meta, flusher: Arc::new(flusher), life })
    }

    /// A tree by name, made if it is not there.
    pub(crate) fn tree(&self, name: &str) -> Result<sled::Tree, sled::Error> {
        self.db.open_tree(name)
    }

    /// The names of the trees that begin with `prefix`, in order.
    pub(crate) fn trees(&self, prefix: &str) -> Vec<String> {
        let names = self.db.tree_names();
        let mut names: Vec<String> = names.iter().filter_map(|n| String::from_utf8(n.to_vec()).ok()).collect();
        names.retain(|name| name.starts_with(prefix));
        names.sort_unstable();
        names
    }

    /// Forgets a whole tree.
    pub(crate) fn drop_tree(&self, name: &str) -> Result<bool, sled::Error> {
        self.db.drop_tree(name)
    }

    /// Small values of the node and of its groups.
    pub(crate) fn meta(&self) -> &sled::Tree {
        &self.meta
    }

    /// Who this disk is, and what it remembers.
    pub(crate) fn life(&self) -> &Life {
        &self.life
    }

    /// The thread that writes and syncs.
    pub(crate) fn flusher(&self) -> &Arc<Flusher> {
        &self.flusher
    }

    /// Whether the disk takes writes.
    pub(crate) fn health(&self) -> &Health {
        self.flusher.health()
    }

    /// Bytes of the database, and bytes free beside it.
    pub(crate) fn usage(&self) -> Option<(u64, u64)> {
        let stat = rustix::fs::statvfs(&*self.dir).ok()?;
        Some((self.db.size_on_disk().ok()?, stat.f_bavail.saturating_mul(stat.f_frsize)))
    }

    /// Returns when everything written before is durable.
    pub(crate) async fn settle(&self) -> std::io::Result<()> {
        let (done, settled) = oneshot::channel();
        self.flusher.write(Box::new(|| Ok(())), Box::new(move |result| drop(done.send(result))))?;
        settled.await.map_err(|_| std::io::Error::other("the disk was closed"))?
    }

    /// Keeps a small value durably.
    pub(crate) async fn keep(&self, key: String, value: Vec<u8>) -> std::io::Result<()> {
        self.meta.insert(key, value)?;
        self.settle().await
    }

    /// From here on the disk cannot be opened until [`Disk::end_restore`].
    pub(crate) async fn begin_restore(&self) -> std::io::Result<()> {
        self.keep(RESTORING.to_owned(), Vec::new()).await
    }

    /// Everything that was to be restored is here. Returns when all of it is durable.
    pub(crate) async fn end_restore(&self) -> std::io::Result<()> {
        self.settle().await?;
        self.meta.remove(RESTORING)?;
        self.settle().await
    }

    /// A small text that was kept.
    pub(crate) fn small(&self, key: &str) -> Option<String> {
        let found = self.meta.get(key).ok().flatten()?;
        String::from_utf8(found.to_vec()).ok()
    }
}

/// sled panics on some damage instead of reporting it. What it says then is for its makers; what is to be done is not.
fn unpanicked<T>(open: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(open));
    opened.unwrap_or_else(|panic| {
        let words =
            panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        let words = words.unwrap_or("no words").lines().next().unwrap_or_default();
        Err(unreadable("it", &words))
    })
}

/// What panicked while it read from the database found damage that sled does not report.
pub(crate) fn unreadable(what: &str, panic: &impl std::fmt::Display) -> OpenError {
    OpenError::Damaged { what: "database".into(), why: format!("{what} cannot be read ({panic}); {HOW_BACK}") }
}

/// Errors that are not the file system's mean that the database is damaged.
fn reported(error: sled::Error) -> OpenError {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        sled::Error::Io(ref io) if !matches!(io.kind(), InvalidData | UnexpectedEof) => error.into(),
        damage => unreadable("it", &damage),
    }
}

fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.to_string().contains("lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(dir: &Path, node: u64) -> DiskOptions {
        DiskOptions { dir: dir.to_owned(), node, cache_bytes: 1 << 20, reserve_bytes: 0 }
    }

    #[tokio::test]
    async fn a_disk_of_another_version_or_another_node_is_refused_with_a_clear_error() {
        let dir = tempfile::tempdir().expect("a directory");
        drop(Disk::open(&options(dir.path(), 1)).await.expect("a new disk"));

        let disk = Disk::open(&options(dir.path(), 1)).await.expect("it is ours");
        disk.keep("version".into(), 1_u32.to_be_bytes().to_vec()).await.expect("written");
        drop(disk);
        let disk = Disk::open(&options(dir.path(), 1)).await.expect("the version before is read");
        let version = disk.meta().get("version").expect("readable").expect("there");
        assert_eq!(*version, upgrade::VERSION.to_be_bytes());
        drop((disk, version));

        let error = Disk::open(&options(dir.path(), 2)).await.expect_err("it is node 1's");
        assert!(matches!(error, OpenError::OtherNode { found: 1, wanted: 2 }), "{error}");

        let disk = Disk::open(&options(dir.path(), 1)).await.expect("it is ours");
        disk.keep("version".into(), 9_u32.to_be_bytes().to_vec()).await.expect("written");
        drop(disk);
        let error = Disk::open(&options(dir.path(), 1)).await.expect_err("it is of the future");
        assert!(error.to_string().contains("disk version 9"), "{error}");
    }

    #[tokio::test]
    async fn damage_that_sled_panics_on_is_told_with_what_to_do() {
        for (file, from, count) in [("db", 0, 4_096), ("db", 100, 60_000), ("conf", 0, 4_096)] {
            let dir = tempfile::tempdir().expect("a directory");
            let disk = Disk::open(&options(dir.path(), 1)).await.expect("a new disk");
            let tree = disk.tree("log/p0").expect("a tree");
            for n in 0..2_000_u64 {
                tree.insert(n.to_be_bytes(), vec![7; 1_000]).expect("written");
            }
            disk.settle().await.expect("settled");
            drop((tree, disk));
            let path = dir.path().join("ledger").join(file);
            let mut bytes = std::fs::read(&path).expect("read");
            bytes.iter_mut().skip(from).take(count).for_each(|byte| *byte = !*byte);
            std::fs::write(&path, &bytes).expect("damaged");
            let words = Disk::open(&options(dir.path(), 1)).await.map(drop).expect_err("it is damaged").to_string();
            assert!(words.contains("empty data directory"), "{file} from {from}: {words}");
        }
    }

    #[tokio::test]
    async fn a_disk_on_which_a_restore_did_not_finish_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Disk::open(&options(dir.path(), 1)).await.expect("a new disk");
        disk.begin_restore().await.expect("marked");
        drop(disk);
        let error = Disk::open(&options(dir.path(), 1)).await.expect_err("it is not whole");
        assert!(matches!(error, OpenError::Unfinished), "{error}");
    }

    #[tokio::test]
    async fn values_of_the_largest_size_never_leave_the_file_that_is_synced() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Disk::open(&options(dir.path(), 1)).await.expect("a new disk");
        let tree = disk.tree("log/p0").expect("a tree");
        for index in 0..60_u64 {
            tree.insert(index.to_be_bytes(), vec![7; crate::MAX_ENTRY_BYTES + 256]).expect("written");
        }
        disk.settle().await.expect("settled");
        let blobs = std::fs::read_dir(dir.path().join("ledger/blobs")).expect("sled's folder").count();
        assert_eq!(blobs, 0, "sled does not sync files in `blobs`");
    }
}
