//! What the command line is called: every command has help, and the README lists exactly those there are.

#![allow(clippy::expect_used)]

use std::collections::BTreeSet;
use std::process::Command;

const README: &str = include_str!("../src/cli/README.md");

fn help(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(words)
        .arg("--help")
        .env("NO_COLOR", "1")
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{words:?} --help: {output:?}");
    String::from_utf8(output.stdout).expect("help is text")
}

/// The names under `Commands:` in a help text.
fn commands(help: &str) -> Vec<String> {
    let below = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = below.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_readme_lists_every_command_there_is_and_no_other() {
    let mut real = BTreeSet::new();
    for command in commands(&help(&[])) {
        let below = commands(&help(&[&command]));
        if below.is_empty() {
            real.insert(command);
            continue;
        }
        for name in below {
            assert!(commands(&help(&[&command, &name])).is_empty());
            real.insert(format!("{command} {name}"));
        }
    }
    let rows = README.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: BTreeSet<_> = rows.map(str::to_owned).collect();
    assert_eq!(real, listed);
}

#[test]
fn every_help_says_what_it_is_for_and_names_url_key_and_json() {
    for command in commands(&help(&[])) {
        let text = help(&[&command]);
        assert!(text.lines().next().is_some_and(|line| line.len() > 10), "{command}: {text}");
        assert!(["--url", "--key", "--json"].iter().all(|flag| text.contains(flag)), "{command}: {text}");
    }
}

#[test]
fn the_key_of_the_environment_is_not_shown_in_help() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidings")).arg("--help").env("TIDINGS_KEY", "tdk_hidden").output();
    let text = String::from_utf8(output.expect("the binary runs").stdout).expect("help is text");
    assert!(text.contains("TIDINGS_KEY") && !text.contains("tdk_hidden"), "{text}");
}

#[test]
fn wrong_usage_ends_with_2() {
    for words in [
        &["sned"][..],
        &["send", "otp"],
        &["send", "otp", "--to", "a", "--send-at", "tomorrow"],
        &["trace"],
        &["trace", "dlv_1", "--state", "failed"],
        &["dlq", "redrive"],
        &["dlq", "redrive", "--all", "--code", "timeout"],
        &["cluster", "join", "--node", "2"],
        &["cluster", "remove"],
        &["providers", "put"],
        &["providers", "delete"],
        &["cluster", "replace", "3"],
        &["cluster", "transfer", "p0"],
        &["--url", "ftp://host", "key", "list"],
        &["template", "put", "-f", "/nowhere/a.toml"],
        &["node", "--config", "/nowhere/node.toml"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_tidings")).args(words).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{words:?}");
    }
}
