//! A small disk of its own for one node: a file mounted through a loop device, so that it can be filled.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::compose::tool;
use crate::{Proof, When};

/// A mounted file system in a file. It is unmounted when this is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

/// Why there can be no small disk here, if there cannot.
pub fn missing() -> Option<String> {
    if !nix::unistd::Uid::effective().is_root() {
        return Some("only root may mount".to_owned());
    }
    let free = tool("losetup", &["--find"]);
    free.err().map(|failure| format!("no loop device is free ({failure})"))
}

impl SmallDisk {
    /// Makes one of `bytes` in the file beside `at`, mounted at `at`, which everybody may write to.
    ///
    /// # Errors
    /// When it cannot be made or mounted.
    pub fn mount(at: &Path, bytes: u64) -> Proof<Self> {
        let image = at.with_extension("img");
        File::create(&image).and_then(|file| file.set_len(bytes)).when("making the file of a small disk")?;
        let [file, target] = [image.as_path(), at].map(|path| path.display().to_string());
        tool("mkfs.ext4", &["-q", "-F", "-m", "0", &file])?;
        tool("mount", &["-o", "loop", &file, &target])?;
        let disk = Self { at: at.to_path_buf() };
        open_to_all(at)?;
        Ok(disk)
    }

    /// Leaves only about `left` bytes free.
    ///
    /// # Errors
    /// When it cannot be filled.
    pub fn fill(&self, left: u64) -> Proof {
        let stat = nix::sys::statvfs::statvfs(&self.at).when("asking for free space")?;
        let take = (stat.blocks_available() * stat.fragment_size()).saturating_sub(left);
        let [length, file] = [take.to_string(), self.ballast().display().to_string()];
        tool("fallocate", &["-l", &length, &file]).map(drop)
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn free(&self) -> Proof {
        fs::remove_file(self.ballast()).when("freeing the disk")
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a container that is just ending may still hold it for a moment.
        let _mounted = tool("umount", &["--lazy", &self.at.display().to_string()]);
    }
}

/// Lets the user of the image, who is nobody on this machine, write there.
///
/// # Errors
/// When the folder is not ours.
pub fn open_to_all(folder: &Path) -> Proof {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).when("opening a folder to the nodes")
}
