//! The files that the rules look at: the folders of the house and the papers at the root, as they are on disk.

#![allow(clippy::expect_used, reason = "a tidy test that cannot read the tree has failed")]

use std::fs;
use std::path::{Path, PathBuf};

/// The folders of the house.
pub(crate) const FOLDERS: [&str; 7] = ["actors", "channels", "cluster-tests", "config", "docs", "node", "raft"];
/// Every crate of the workspace, by its folder.
pub(crate) const CRATES: [&str; 10] = [
    "actors",
    "channels",
    "channels/contract",
    "cluster-tests",
    "cluster-tests/sim",
    "cluster-tests/sim/chance",
    "config",
    "node",
    "raft",
    "raft/machine",
];

/// A file with its path from the root.
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) text: String,
}

pub(crate) fn root() -> PathBuf {
    tidings_cluster_tests::binary::root()
}

/// A file of the root folder, by its path from there.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every text file of the folders of the house, and the papers at the root.
pub(crate) fn texts() -> Vec<Text> {
    let root = root();
    let mut paths: Vec<PathBuf> = FOLDERS.iter().flat_map(|folder| files(&root.join(folder))).collect();
    let papers = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "Cargo.toml", "justfile", ".ci/run"];
    paths.extend(papers.map(|name| root.join(name)));
    paths.sort();
    let texts = paths.into_iter().filter_map(|path| {
        let text = fs::read_to_string(&path).ok()?;
        let path = path.strip_prefix(&root).expect("it was found below the root").display().to_string();
        Some(Text { path, text })
    });
    texts.collect()
}

/// Every Rust file of the folders of the house.
pub(crate) fn sources() -> Vec<Text> {
    texts().into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.expect("a folder can be listed").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') && name != "__pycache__" {
            all.extend(files(&path));
        } else if path.is_file() {
            all.push(path);
        }
    }
    all
}
