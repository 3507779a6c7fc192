//! A node under a C library that is bent: another wall clock, a slower or a broken disk. See `testbed/bent.c`.

use std::fs;
use std::path::{Path, PathBuf};

use super::compose::{Compose, tool};
use crate::{Proof, When};

/// The library inside the containers.
pub const PRELOAD: &str = "/bent/bent.so";

/// Why a node cannot be bent here, if it cannot.
pub fn missing() -> Option<String> {
    tool("cc", &["--version"]).err().map(|_| "there is no C compiler (cc)".to_owned())
}

/// The folder that the nodes read.
#[derive(Clone, Debug)]
pub struct Bent(PathBuf);

impl Bent {
    /// Compiles the library into `folder`, and leaves every node as it is.
    ///
    /// # Errors
    /// When it does not compile.
    pub fn build(folder: &Path) -> Proof<Self> {
        let source = Compose::folder().join("bent.c");
        let library = folder.join("bent.so");
        let [source, library] = [source, library].map(|path| path.display().to_string());
        tool("cc", &["-shared", "-fPIC", "-O2", "-o", &library, &source])?;
        Ok(Self(folder.to_path_buf()))
    }

    /// Moves the wall clock of node `id` to so many seconds before or after the true one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn clock(&self, id: u64, seconds: i64) -> Proof {
        self.say(id, "clock", seconds)
    }

    /// Makes every sync of node `id` so many milliseconds longer.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn slow_sync(&self, id: u64, ms: i64) -> Proof {
        self.say(id, "sync", ms)
    }

    /// Makes every sync of node `id` fail, or work again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn broken_disk(&self, id: u64, broken: bool) -> Proof {
        self.say(id, "broken", i64::from(broken))
    }

    fn say(&self, id: u64, name: &str, number: i64) -> Proof {
        let folder = self.0.join(format!("node-{id}"));
        fs::create_dir_all(&folder).when("making a node's bent folder")?;
        // Renamed into place, so that nobody reads half a number.
        let (new, file) = (folder.join("new"), folder.join(name));
        fs::write(&new, number.to_string()).when("bending a node")?;
        fs::rename(&new, &file).when("bending a node")
    }
}
