//! Rules about single files: how they begin and end, how long they are, which words and names are not used.

use crate::report;
use crate::tree::{sources, texts};

/// A file longer than this is two files.
const MOST_LINES: usize = 500;
/// File names that say nothing.
const EMPTY_NAMES: [&str; 9] = ["task", "job", "manager", "helper", "helpers", "util", "utils", "common", "misc"];

/// Words that a finished file does not have, put together here so that this file does not have them either.
fn unwanted() -> Vec<String> {
    [
        ["todo", "!"],
        ["unimpl", "emented!"],
        ["TO", "DO"],
        ["FIX", "ME"],
        ["HA", "CK"],
        ["XX", "X"],
        ["for n", "ow"],
        ["#[ig", "nore"],
        ["simpl", "ified"],
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["/ho", "me/"],
        ["crates", ".io"],
        ["pypi", ".org"],
        ["deb.deb", "ian.org"],
        ["files.pythonh", "osted.org"],
    ]
    .map(|parts| parts.concat())
    .to_vec()
}

fn opening(path: &str, text: &str) -> Option<String> {
    (!text.starts_with("//! ")).then(|| format!("{path}: opens without //! and its one job"))
}

fn length(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MOST_LINES).then(|| format!("{path}: {lines} lines, more than {MOST_LINES}"))
}

fn ending(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
        faults.push(format!("{path}: does not end with one newline"));
    }
    let trailing = text.lines().enumerate().filter(|(_, line)| line.ends_with([' ', '\t', '\r']));
    faults.extend(trailing.map(|(at, _)| format!("{path}:{}: ends with a space", at + 1)));
    faults
}

fn words(path: &str, text: &str) -> Vec<String> {
    let unwanted = unwanted();
    let lines = text.lines().enumerate();
    let found = lines.flat_map(|(at, line)| {
        unwanted.iter().filter(|word| line.contains(*word)).map(move |word| format!("{path}:{}: {word}", at + 1))
    });
    found.collect()
}

fn name(path: &str) -> Option<String> {
    let stem = path.rsplit('/').next()?.split('.').next()?;
    EMPTY_NAMES.contains(&stem).then(|| format!("{path}: {stem} says nothing"))
}

#[test]
fn every_source_opens_with_its_one_job_and_stays_within_its_budget() {
    let sources = sources();
    assert!(sources.len() > 50, "only {} sources were found", sources.len());
    let faults = sources.iter().flat_map(|file| {
        [opening(&file.path, &file.text), length(&file.path, &file.text), name(&file.path)].into_iter().flatten()
    });
    report(&faults.collect::<Vec<_>>());
}

#[test]
fn every_file_ends_with_one_newline_and_no_line_with_a_space() {
    let faults = texts().iter().flat_map(|file| ending(&file.path, &file.text)).collect::<Vec<_>>();
    report(&faults);
}

#[test]
fn no_file_is_unfinished_or_names_a_machine() {
    let faults = texts().iter().flat_map(|file| words(&file.path, &file.text)).collect::<Vec<_>>();
    report(&faults);
}

#[test]
fn planted_faults_in_a_file_are_found() {
    assert!(opening("a.rs", "use std::fs;\n").is_some());
    assert!(length("a.rs", &"x\n".repeat(MOST_LINES + 1)).is_some());
    assert_eq!(ending("a.rs", "one \ntwo").len(), 2);
    assert_eq!(ending("a.rs", "one\n\n").len(), 1);
    assert!(name("node/src/utils.rs").is_some());
    for word in unwanted() {
        assert_eq!(words("a.rs", &format!("fine\nnot {word} fine\n")).len(), 1, "{word}");
    }
    assert!(opening("a.rs", "//! One job.\n").is_none() && ending("a.rs", "one\ntwo\n").is_empty());
}
