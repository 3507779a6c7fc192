//! Rules about papers: what they name must exist.

use std::fs;
use std::path::Path;

use crate::report;
use crate::tree::{CRATES, read, root, texts};

/// The texts between backticks.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with("```")).flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// The hops that a text names: `file.rs::function` or `file.rs::Type::function`.
pub(crate) fn hops(text: &str) -> Vec<&str> {
    quoted(text).filter(|name| name.contains(".rs::")).collect()
}

/// What is wrong with one hop; `read` gives a file's text.
pub(crate) fn hop_fault(hop: &str, read: impl Fn(&str) -> Option<String>) -> Option<String> {
    let (file, names) = hop.split_once(".rs::")?;
    let file = format!("{file}.rs");
    let Some(source) = read(&file) else { return Some(format!("{hop}: there is no {file}")) };
    let (function, owners) = {
        let mut names: Vec<_> = names.split("::").collect();
        let function = names.pop().unwrap_or_default().trim_end_matches("()");
        (function, names)
    };
    let defines = |line: &str| {
        let after = line.split(&format!("fn {function}")).nth(1);
        after.is_some_and(|after| after.starts_with(['(', '<']))
    };
    if !source.lines().any(defines) {
        return Some(format!("{hop}: {file} has no fn {function}"));
    }
    let missing = owners.iter().find(|owner| !source.contains(**owner))?;
    Some(format!("{hop}: {file} does not know {missing}"))
}

/// The relative targets of Markdown links, without their anchors.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let local = targets.filter(|target| !target.contains("://") && !target.starts_with(['#', '/']));
    local.map(|target| target.split('#').next().unwrap_or(target)).collect()
}

/// The recipes that a text tells to run: `just NAME`.
fn recipes(text: &str) -> Vec<&str> {
    let words = text.split('`').filter_map(|part| part.strip_prefix("just "));
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("just "));
    words.chain(lines).filter_map(|rest| rest.split_whitespace().next()).collect()
}

fn has_recipe(justfile: &str, name: &str) -> bool {
    justfile.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([':', ' '])))
}

#[test]
fn every_hop_of_a_message_exists() {
    let text = read("ARCHITECTURE.md");
    let hops = hops(&text);
    assert!(hops.len() >= 15, "only {} hops are named", hops.len());
    let faults = hops.into_iter().filter_map(|hop| hop_fault(hop, |file| fs::read_to_string(root().join(file)).ok()));
    report(&faults.collect::<Vec<_>>());
}

#[test]
fn every_link_leads_to_a_file() {
    let mut faults = Vec::new();
    for file in texts().iter().filter(|file| file.path.ends_with(".md")) {
        let folder = root().join(Path::new(&file.path).parent().expect("a file is in a folder"));
        let lost = links(&file.text).into_iter().filter(|target| !folder.join(target).exists());
        faults.extend(lost.map(|target| format!("{}: {target} is not there", file.path)));
    }
    report(&faults);
}

#[test]
fn every_documented_recipe_is_in_the_justfile() {
    let justfile = read("justfile");
    let mut faults = Vec::new();
    for file in texts().iter().filter(|file| file.path.ends_with(".md")) {
        let lost = recipes(&file.text).into_iter().filter(|name| !has_recipe(&justfile, name));
        faults.extend(lost.map(|name| format!("{}: just {name} is not a recipe", file.path)));
    }
    report(&faults);
}

#[test]
fn every_proof_of_the_promises_is_run_by_ci() {
    let (ci, proof) = (read(".ci/run"), read("cluster-tests/src/bin/proof.rs"));
    let names =
        proof.split("const NAMES").nth(1).and_then(|rest| rest.split(';').nth(1)).expect("the names are listed");
    let names: Vec<_> = names.split('"').skip(1).step_by(2).collect();
    assert!(names.len() >= 7, "{names:?}");
    let by_name = names.iter().filter(|name| !ci.contains(*name)).map(|name| format!(".ci/run leaves out {name}"));
    report(&by_name.collect::<Vec<_>>());
}

#[test]
fn every_crate_says_what_it_is_and_the_changelog_is_open() {
    let lost = CRATES.iter().filter(|krate| !root().join(krate).join("README.md").is_file());
    let mut faults: Vec<_> = lost.map(|krate| format!("{krate} has no README.md")).collect();
    if !read("CHANGELOG.md").lines().any(|line| line.starts_with("## Unreleased")) {
        faults.push("CHANGELOG.md has no Unreleased part".to_owned());
    }
    if !read("LICENSE").contains("Apache License") {
        faults.push("LICENSE is not the Apache License".to_owned());
    }
    report(&faults);
}

#[test]
fn planted_faults_in_papers_are_found() {
    let source =
        |file: &str| (file == "a/b.rs").then(|| "impl Intake {\n    pub async fn take<T>(self) {}\n}".to_owned());
    assert_eq!(hops("| `a/b.rs::take` | `x` | `a/b.rs::Intake::take` |"), ["a/b.rs::take", "a/b.rs::Intake::take"]);
    assert_eq!(hop_fault("a/b.rs::take", source), None);
    assert_eq!(hop_fault("a/b.rs::Intake::take", source), None);
    for wrong in ["a/c.rs::take", "a/b.rs::tak", "a/b.rs::given", "a/b.rs::Outlet::take"] {
        assert!(hop_fault(wrong, source).is_some(), "{wrong}");
    }
    assert_eq!(links("[a](b.md#c) [d](https://e) [f](#g)"), ["b.md"]);
    assert_eq!(recipes("run `just bench` or\njust verify\nit is just fine"), ["bench", "verify"]);
    assert!(has_recipe("bench: build\n", "bench") && !has_recipe("bench: build\n", "proof"));
}
