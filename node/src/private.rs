//! Keeps the data directory from other people of the machine: recipients, contents and codes stand in it in the clear.

#[cfg(not(feature = "sim"))]
use std::fs::DirBuilder;
#[cfg(not(feature = "sim"))]
use std::fs::Permissions;
use std::io;
#[cfg(not(feature = "sim"))]
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What the group and others may do with a file.
#[cfg(not(feature = "sim"))]
const SHARED: u32 = 0o077;
/// What others may do.
#[cfg(not(feature = "sim"))]
const WORLD: u32 = 0o007;
/// A directory that belongs to all, like /tmp (chmod(1), "restricted deletion flag").
#[cfg(not(feature = "sim"))]
const STICKY: u32 = 0o1000;

/// Other people can read the data, and nothing can be done about it from here.
#[derive(Debug, thiserror::Error)]
#[error(
    "other users of this machine can read {}, and that cannot be changed: {source}. What to do: `chmod -R go= {}` as its \
     owner, or choose another node.data_dir", path.display(), path.display()
)]
pub struct Exposed {
    /// The file or directory.
    path: PathBuf,
    /// Why it cannot be changed.
    source: io::Error,
}

/// Makes `dir` if it is not there, for its owner alone, and takes from everybody else what they may do with what is there
/// from before. Files of its own only: what somebody else put beside them stays as it is.
///
/// A directory that belongs to another user, as volumes of containers do, is let pass with a line in the log: others see
/// which files are in it, and cannot open them.
///
/// # Errors
/// [`Exposed`] if everybody can read one of the node's own files in it and that cannot be changed. A directory that cannot
/// be made or looked at is left to whoever opens the database, who says so.
#[cfg(not(feature = "sim"))]
pub(crate) fn keep(dir: &Path) -> Result<(), Exposed> {
    if !dir.exists() {
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        return Ok(());
    }
    let mut tightened = 0;
    let shared_by_all = mode(dir).is_some_and(|mode| mode & STICKY != 0);
    if !shared_by_all {
        match tighten(dir) {
            Ok(changed) => tightened += changed,
            // A volume of another user: what this node writes into it is for its owner alone all the same.
            Err(exposed) => tracing::warn!(%exposed, "others see the names of the files in the data directory"),
        }
    }
    for own in ["ledger", "admin.key", "cluster.secret"] {
        tightened += tighten_all(&dir.join(own))?;
    }
    if tightened > 0 {
        tracing::warn!(dir = %dir.display(), files = tightened, "others could read the data; now its owner alone can");
    }
    Ok(())
}

/// The simulated disk has no directory.
#[cfg(feature = "sim")]
pub(crate) fn keep(_: &Path) -> Result<(), Exposed> {
    Ok(())
}

/// How many files were changed below `path`, itself included.
#[cfg(not(feature = "sim"))]
fn tighten_all(path: &Path) -> Result<u32, Exposed> {
    // The directory first: from then on nobody else comes to what is in it.
    let mut changed = tighten(path)?;
    let is_dir = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let Some(entries) = is_dir.then(|| std::fs::read_dir(path).ok()).flatten() else { return Ok(changed) };
    for entry in entries.flatten() {
        changed += tighten_all(&entry.path())?;
    }
    Ok(changed)
}

#[cfg(not(feature = "sim"))]
fn tighten(path: &Path) -> Result<u32, Exposed> {
    let Some(before) = mode(path).filter(|mode| mode & SHARED != 0) else { return Ok(0) };
    match std::fs::set_permissions(path, Permissions::from_mode(before & !SHARED & 0o7777)) {
        Ok(()) => Ok(1),
        Err(source) if before & WORLD != 0 => Err(Exposed { path: path.to_owned(), source }),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the group of this file can read it");
            Ok(0)
        }
    }
}

/// The mode of a file; nothing if there is none. A link has no mode of its own, and what it names is somebody else's.
#[cfg(not(feature = "sim"))]
fn mode(path: &Path) -> Option<u32> {
    let found = std::fs::symlink_metadata(path).ok().filter(|found| !found.is_symlink())?;
    Some(found.permissions().mode())
}

#[cfg(test)]
#[cfg(not(feature = "sim"))]
mod tests {
    use super::*;

    fn with_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
    }

    fn left(path: &Path) -> u32 {
        mode(path).expect("it is there") & 0o7777
    }

    #[test]
    fn a_new_directory_is_its_owners_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("a/b");
        keep(&data).expect("it can be made");
        assert_eq!(left(&data), 0o700);
    }

    #[test]
    fn what_is_there_is_taken_from_others_and_what_is_not_ours_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        std::fs::create_dir_all(data.join("ledger/blobs")).expect("made");
        let files = ["ledger/db", "ledger/blobs/1", "admin.key", "cluster.secret", "theirs"];
        for name in files {
            std::fs::write(data.join(name), "x").expect("written");
            with_mode(&data.join(name), 0o644);
        }
        for name in ["", "ledger", "ledger/blobs"] {
            with_mode(&data.join(name), 0o755);
        }
        keep(&data).expect("all of it is ours");
        let modes: Vec<u32> = files.iter().map(|name| left(&data.join(name))).collect();
        assert_eq!(modes, [0o600, 0o600, 0o600, 0o600, 0o644]);
        assert_eq!([left(&data), left(&data.join("ledger")), left(&data.join("ledger/blobs"))], [0o700; 3]);
    }

    #[test]
    fn a_directory_that_belongs_to_all_is_not_taken_from_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("tmp");
        std::fs::create_dir_all(data.join("ledger")).expect("made");
        with_mode(&data, 0o1777);
        with_mode(&data.join("ledger"), 0o755);
        keep(&data).expect("ours");
        assert_eq!((left(&data), left(&data.join("ledger"))), (0o1777, 0o700));
    }
}
