//! Finds the `tidings` binary that belongs to the running test: the same profile, and not older than its sources.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use crate::{Failure, Proof, When};

/// Folders whose files end up in the binary.
const SOURCES: [&str; 5] = ["actors", "channels", "config", "node", "raft"];

/// The path of the binary beside the running executable.
///
/// Under cargo it is built first if it is missing or older than a source file; several test processes that find this
/// at once wait for each other. Outside cargo the binary is taken as it is.
///
/// # Errors
/// When there is none and none can be built.
pub fn tidings() -> Proof<PathBuf> {
    let profile = profile_dir()?;
    let binary = profile.join("tidings");
    let Some(cargo) = std::env::var_os("CARGO") else {
        return if binary.is_file() { Ok(binary) } else { Err(absent(&profile)) };
    };
    if is_fresh(&binary) {
        return Ok(binary);
    }
    let lock = File::create(profile.join(".tidings-build.lock")).when("making the build lock")?;
    lock.lock().when("taking the build lock")?;
    if is_fresh(&binary) {
        return Ok(binary);
    }
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", "tidings-node", "--bin", "tidings"]);
    build.current_dir(root()).stdin(Stdio::null());
    build.env("CARGO_TARGET_DIR", profile.parent().when("finding the target folder")?);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    let status = build.status().when("building tidings")?;
    if status.success() && binary.is_file() { Ok(binary) } else { Err(absent(&profile)) }
}

/// The folder of the whole repository.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// `target/<profile>`: test executables stand in `deps` below it, binaries in it.
fn profile_dir() -> Proof<PathBuf> {
    let own = std::env::current_exe().when("finding the running executable")?;
    let dir = own.parent().when("finding the folder of the executable")?;
    let dir = if dir.ends_with("deps") { dir.parent().when("finding the profile's folder")? } else { dir };
    Ok(dir.to_path_buf())
}

fn is_fresh(binary: &Path) -> bool {
    let built = fs::metadata(binary).and_then(|meta| meta.modified());
    built.is_ok_and(|built| SOURCES.iter().all(|folder| newest(&root().join(folder)) <= Some(built)))
}

/// The time of the youngest source below `folder`; tests are not in the binary.
fn newest(folder: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let times = entries.filter_map(|entry| {
        let path = entry.path();
        let kind = entry.file_type().ok()?;
        match () {
            () if kind.is_dir() && entry.file_name() != "tests" => newest(&path),
            () if path.extension().is_some_and(|kind| kind == "rs" || kind == "toml") => {
                entry.metadata().and_then(|meta| meta.modified()).ok()
            }
            () => None,
        }
    });
    times.max()
}

fn absent(profile: &Path) -> Failure {
    Failure::new(format!("no tidings binary in {}: build the workspace first", profile.display()))
}
