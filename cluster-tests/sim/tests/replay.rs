//! A seed is all there is: run again it gives the same trace, and another seed gives another.

#![allow(clippy::expect_used, reason = "these are tests; clippy only sees that in test functions")]

use std::process::Command;

/// The line that ends a run, with the hash of its trace.
fn last_line(seed: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(["--seed", seed]).output().expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    text.lines().last().expect("it prints a line").to_owned()
}

fn hash(line: &str) -> &str {
    line.rsplit("trace ").next().expect("the line ends with the hash")
}

#[test]
fn the_same_seed_twice_gives_the_same_trace_and_another_seed_another() {
    let (first, second, other) = (last_line("1"), last_line("1"), last_line("3"));
    assert_eq!(first, second);
    assert!(first.starts_with("seed 1 held"), "{first}");
    assert_ne!(hash(&first), hash(&other));
}
