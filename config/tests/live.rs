//! Keys that may change while a node runs: what the papers say and what the code does are the same.

#![allow(clippy::expect_used)]

use std::collections::BTreeSet;

use tidings_config::{Config, DEFAULT_TOML, LIVE};
use tidings_contract::Secret;

fn config() -> Config {
    let mut config = Config::default();
    config.cluster.secret = Secret::new("0123456789abcdef");
    config
}

/// The keys of `default.toml` whose comment ends with "Live.".
fn marked() -> BTreeSet<String> {
    let (mut section, mut before, mut marked) = (String::new(), "", BTreeSet::new());
    for line in DEFAULT_TOML.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#'))
            && before.ends_with(" Live.")
        {
            marked.insert(format!("{section}.{key}"));
        }
        before = line;
    }
    marked
}

#[test]
fn the_live_keys_of_the_code_are_those_marked_in_default_toml() {
    let live: BTreeSet<String> = LIVE.iter().map(|key| (*key).to_owned()).collect();
    assert_eq!(live, marked());
    assert_eq!(live.len(), LIVE.len(), "none stands twice");
    let known: BTreeSet<String> = Config::env_names().into_iter().collect();
    for key in LIVE {
        let name = format!("TIDINGS_{}", key.replace('.', "_").to_uppercase());
        assert!(known.contains(&name), "{key} is no key");
    }
}

#[test]
fn what_differs_is_named_and_only_live_keys_are_taken_over() {
    let old = config();
    let mut new = config();
    assert_eq!(old.changes(&new), []);
    new.dispatch.pool_size = 8;
    new.log.level = "debug".to_owned();
    new.raft.queue = 9_999;
    new.cluster.secret = Secret::new("fedcba9876543210");
    let changes = old.changes(&new);
    let told: Vec<_> = changes.iter().map(|change| (change.key.as_str(), change.live)).collect();
    let wanted = [("cluster.secret", false), ("dispatch.pool_size", true), ("log.level", true), ("raft.queue", false)];
    assert_eq!(told, wanted);
    let words: Vec<_> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(words[1], "dispatch.pool_size: 64 is now 8");
    assert!(!words[0].contains("fedcba") && words[0].contains("***"), "{}", words[0]);

    let mixed = old.with_live(&new).expect("it fits together");
    assert_eq!((mixed.dispatch.pool_size, mixed.log.level.as_str()), (8, "debug"));
    assert_eq!((mixed.raft.queue, mixed.cluster.secret.expose()), (4_096, "0123456789abcdef"));
    let left: Vec<_> = mixed.changes(&new).into_iter().map(|change| change.key).collect();
    assert_eq!(left, ["cluster.secret", "raft.queue"], "what needs a restart still differs");
}

#[test]
fn a_mixture_that_does_not_fit_together_is_refused_as_a_whole() {
    let mut new = config();
    new.retry.first_ms = new.retry.longest_ms + 1;
    let refused = config().with_live(&new).expect_err("the first wait is longer than the longest");
    assert!(refused.to_string().contains("retry.longest_ms"), "{refused}");
}
