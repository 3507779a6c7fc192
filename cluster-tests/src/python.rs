//! Runs the scripts of `verify/`: implementations of others, in the Python that `TIDINGS_PYTHON` names.

use std::fs;
use std::process::Command;

use serde::Serialize;

use crate::cluster::Cluster;
use crate::failure::ensure;
use crate::{Proof, When, binary};

/// Names the Python that has the packages; `python3` without it.
const PYTHON: &str = "TIDINGS_PYTHON";

/// What the script `name` says of `seen`, which it reads as JSON from a file in the cluster's folder. Its arguments are
/// `first` and that file.
///
/// # Errors
/// When Python or a package is missing, or the script fails; its words are in the failure.
pub(crate) fn verify(cluster: &Cluster, name: &str, first: &str, seen: &impl Serialize) -> Proof<String> {
    let file = cluster.dir().join(format!("{name}.json"));
    let json = serde_json::to_vec(seen).when("writing what was seen")?;
    fs::write(&file, json).when("writing what was seen")?;
    let file = file.to_string_lossy();
    say(name, &[first, &file])
}

/// What the script `name` says when it is called with these arguments.
///
/// # Errors
/// When Python or a package is missing, or the script fails; its words are in the failure.
pub(crate) fn say(name: &str, arguments: &[&str]) -> Proof<String> {
    let python = std::env::var(PYTHON).unwrap_or_else(|_| "python3".to_owned());
    let script = binary::root().join(format!("cluster-tests/verify/{name}.py"));
    let output = Command::new(python).arg(script).args(arguments).output().when("running Python")?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure(output.status.success(), || format!("{said} {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(said)
}
