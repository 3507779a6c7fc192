//! Rules about crates: who may depend on whom, and which library may be used where.

use crate::report;
use crate::tree::{CRATES, read, sources};

/// What each crate of ours may depend on (design: "The house"). `node` may take all but the proofs.
const ARROWS: [(&str, &[&str]); 10] = [
    ("channels/contract", &[]),
    ("raft/machine", &["contract"]),
    ("raft", &["machine", "contract"]),
    ("actors", &["machine", "contract"]),
    ("channels", &["contract"]),
    ("config", &["contract"]),
    ("node", &["actors", "channels", "config", "contract", "machine", "raft"]),
    ("cluster-tests", &["node", "machine", "contract"]),
    ("cluster-tests/sim", &["node", "machine", "contract", "sim-chance"]),
    ("cluster-tests/sim/chance", &[]),
];

/// Libraries that only these crates may depend on. The bare relay of the bench needs a server and a client of its own.
const FENCES: [(&str, &[&str]); 12] = [
    ("openraft", &["raft"]),
    ("sled", &["raft"]),
    ("bincode", &["raft"]),
    ("ractor", &["actors"]),
    ("axum", &["node", "cluster-tests"]),
    ("utoipa", &["node"]),
    ("utoipa-axum", &["node"]),
    ("utoipa-swagger-ui", &["node"]),
    ("clap", &["node"]),
    ("reqwest", &["channels", "cluster-tests"]),
    ("lettre", &["channels"]),
    ("nix", &["cluster-tests", "node", "raft"]),
];

/// Libraries whose names may stand in these files alone, wherever their crate uses them.
const FILES: [(&str, &[&str]); 2] = [
    ("reqwest::", &["channels/src/http.rs", "cluster-tests/src/bench/relay.rs"]),
    ("axum::", &["node/", "cluster-tests/src/bench/relay.rs"]),
];

/// Libraries for tests: elsewhere they stand in `dev-dependencies` or are optional.
const TESTS_ONLY: [&str; 2] = ["proptest", "tempfile"];

/// One dependency of a manifest.
struct Dependency {
    name: String,
    dev: bool,
    optional: bool,
}

/// Reads the dependency tables of a manifest, in the two spellings that this repository uses.
fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut section = "";
    let mut all = Vec::new();
    for line in manifest.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        } else if section.ends_with("dependencies") && !section.starts_with("workspace") {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default().to_owned();
            let optional = line.contains("optional = true");
            all.push(Dependency { name, dev: section.starts_with("dev"), optional });
        }
    }
    all
}

fn arrows(krate: &str, manifest: &str) -> Vec<String> {
    let allowed = ARROWS.iter().find(|(name, _)| *name == krate).map_or(&[] as &[&str], |(_, allowed)| allowed);
    let mut faults = Vec::new();
    for Dependency { name, dev, optional } in dependencies(manifest) {
        // A crate may name itself, with its own test feature, among its dev-dependencies.
        let itself = dev && krate.rsplit('/').next() == name.strip_prefix("tidings-");
        if let Some(ours) = name.strip_prefix("tidings-").filter(|ours| !allowed.contains(ours) && !itself) {
            faults.push(format!("{krate} depends on {ours}"));
        }
        for (_, users) in FENCES.iter().filter(|(fenced, users)| *fenced == name && !users.contains(&krate)) {
            faults.push(format!("{krate} depends on {name}, which is for {}", users.join(", ")));
        }
        if TESTS_ONLY.contains(&name.as_str()) && !dev && !optional && krate != "cluster-tests" {
            faults.push(format!("{krate} depends on {name}, which is for tests"));
        }
    }
    faults
}

fn uses(path: &str, text: &str) -> Vec<String> {
    let fenced = FILES.iter().filter(|(_, homes)| !homes.iter().any(|home| path.starts_with(home)));
    let mut faults = Vec::new();
    for (word, homes) in fenced {
        let lines = text.lines().enumerate().filter(|(_, line)| line.contains(word));
        faults.extend(lines.map(|(at, _)| format!("{path}:{}: {word} belongs in {}", at + 1, homes.join(", "))));
    }
    faults
}

/// The one crate that may use unsafe code, because a C symbol can be replaced in no other way; its head says why.
const UNSAFE: &str = "cluster-tests/sim/chance";

fn head(krate: &str, manifest: &str) -> Vec<String> {
    let needed = ["license.workspace = true", "publish.workspace = true", "[lints]\nworkspace = true"];
    let excused = |line: &str| krate == UNSAFE && line.starts_with("[lints]");
    let missing = needed.iter().filter(|line| !manifest.contains(*line) && !excused(line));
    let mut faults: Vec<_> = missing.map(|line| format!("{krate}/Cargo.toml lacks {line:?}")).collect();
    if !manifest.contains("description = \"") || manifest.contains("description = \"\"") {
        faults.push(format!("{krate}/Cargo.toml does not say what the crate is"));
    }
    faults
}

#[test]
fn crates_depend_only_along_the_arrows_and_inside_the_fences() {
    let faults = CRATES.iter().flat_map(|krate| arrows(krate, &read(&format!("{krate}/Cargo.toml"))));
    report(&faults.collect::<Vec<_>>());
}

#[test]
fn every_manifest_takes_lints_and_licence_from_the_workspace() {
    let faults = CRATES.iter().flat_map(|krate| head(krate, &read(&format!("{krate}/Cargo.toml"))));
    report(&faults.collect::<Vec<_>>());
}

#[test]
fn fenced_libraries_are_named_only_in_their_files() {
    let own = "cluster-tests/tests/tidy/fences.rs";
    let sources = sources();
    let faults = sources.iter().filter(|file| file.path != own).flat_map(|file| uses(&file.path, &file.text));
    report(&faults.collect::<Vec<_>>());
}

#[test]
fn the_crates_named_here_are_the_workspace() {
    let members = read("Cargo.toml");
    let members =
        members.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).expect("members are there");
    let members: Vec<_> =
        members.split(',').map(|name| name.trim().trim_matches('"')).filter(|name| !name.is_empty()).collect();
    assert_eq!(members, CRATES);
}

#[test]
fn planted_arrows_and_uses_are_found() {
    let manifest = |lines: &str| format!("[package]\nname = \"x\"\n\n[dependencies]\n{lines}\n");
    assert_eq!(arrows("raft", &manifest("tidings-actors.workspace = true")).len(), 1);
    assert_eq!(arrows("raft", &manifest("ractor = { workspace = true }")).len(), 1);
    assert_eq!(arrows("raft/machine", &manifest("sled.workspace = true\ntempfile.workspace = true")).len(), 2);
    assert_eq!(arrows("raft", "[dev-dependencies]\ntidings-node.workspace = true\n").len(), 1);
    assert!(arrows("raft", &manifest("sled.workspace = true\ntidings-machine.workspace = true")).is_empty());
    assert_eq!(uses("node/src/main.rs", "use reqwest::Client;").len(), 1);
    assert_eq!(uses("actors/src/lib.rs", "fn f() {}\nuse axum::Router;").len(), 1);
    assert!(uses("channels/src/http.rs", "use reqwest::Client;").is_empty());
    assert_eq!(head("x", "[package]\ndescription = \"\"\n").len(), 4);
}
