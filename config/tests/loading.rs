//! Defaults, layers and mistakes, as an operator meets them.

#![allow(clippy::expect_used)]

use std::path::{Path, PathBuf};

use tidings_config::{Config, DEFAULT_TOML, LogFormat, Mistakes};
use toml::{Table, Value};

const SECRET: (&str, &str) = ("TIDINGS_CLUSTER_SECRET", "0123456789abcdef");

fn load(file: Option<&str>, env: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("node.toml");
    if let Some(text) = file {
        std::fs::write(&path, text).expect("a file");
    }
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(file.map(|_| path.as_path()), env)
}

fn mistakes(file: Option<&str>, env: &[(&str, &str)]) -> Vec<String> {
    let Mistakes(all) = load(file, env).expect_err("something is wrong");
    all.iter().map(ToString::to_string).collect()
}

fn keys(table: &Table) -> Vec<String> {
    let of = |(section, keys): (&String, &Value)| {
        let keys = keys.as_table().expect("sections are tables");
        keys.keys().map(|key| format!("{section}.{key}")).collect::<Vec<_>>()
    };
    table.iter().flat_map(of).collect()
}

#[test]
fn default_toml_holds_every_key_and_equals_the_default() {
    let written: Table = DEFAULT_TOML.parse().expect("default.toml is TOML");
    let default = Table::try_from(Config::default()).expect("a configuration is a table");
    assert_eq!(keys(&written), keys(&default));
    assert_eq!(written, default);
}

#[test]
fn every_key_of_default_toml_has_a_comment_above_it() {
    let lines: Vec<_> = DEFAULT_TOML.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].contains(" = ") && !pair[1].starts_with('#')) {
        assert!(pair[0].starts_with("# ") && pair[0].ends_with('.'), "no comment above: {}", pair[1]);
    }
}

#[test]
fn the_file_wins_over_the_defaults_and_the_environment_over_the_file() {
    let file = "[node]\nid = 7\n[raft]\nqueue = 600\n[log]\nformat = \"json\"\n";
    let env = [SECRET, ("TIDINGS_NODE_ID", "9"), ("TIDINGS_NODE_LABELS", "zone=a, rack=7"), ("TIDINGS_URL", "x")];
    let config = load(Some(file), &env).expect("all is right");
    assert_eq!((config.node.id, config.raft.queue, config.raft.batch_commands), (9, 600, 512));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.node.labels.get("rack").map(String::as_str), Some("7"));
}

#[test]
fn every_key_can_be_set_by_an_environment_variable() {
    let default = Table::try_from(Config::default()).expect("a table");
    let names = Config::env_names();
    assert_eq!(names.len(), keys(&default).len());
    for (name, key) in names.iter().zip(keys(&default)) {
        assert_eq!(*name, format!("TIDINGS_{}", key.replace('.', "_").to_uppercase()));
        let (section, key) = key.split_once('.').expect("section.key");
        let text = match &default[section][key] {
            Value::String(text) => text.clone(),
            Value::Table(_) => String::new(),
            value => value.to_string(),
        };
        // The secret's default is empty, the one default that is refused.
        let text = if name == SECRET.0 { SECRET.1.to_owned() } else { text };
        assert!(load(None, &[SECRET, (name, &text)]).is_ok(), "{name} = {text}");
    }
}

#[test]
fn all_mistakes_come_at_once_each_with_key_value_and_what_would_be_right() {
    let file =
        "[node]\nid = \"one\"\nidd = 2\n[raft]\nheartbeat_ms = 900\n[clusters]\nx = 1\n[log]\nlevel = \"loud\"\n";
    let found = mistakes(Some(file), &[("TIDINGS_RAFT_QUEUE", "many"), ("TIDINGS_DISK_CACHE", "1")]).join("\n");
    for expected in [
        "[clusters]: is not a section; there are: access, breaker, cluster, delivery, disk, dispatch, http,",
        "node.id = \"one\": invalid type: string \"one\", expected u64; the default is 1",
        "node.idd: is not a key of [node]; there are: api_addr, api_listen,",
        "TIDINGS_RAFT_QUEUE = many: must be a whole number",
        "TIDINGS_DISK_CACHE = 1: is not a key of [disk]; there are: cache_bytes, retention_days",
        "raft.heartbeat_ms = 900: three heartbeats must fit into raft.election_min_ms (750): at most 250",
        "log.level = loud: must be off, error,",
        "cluster.secret: is missing",
    ] {
        assert!(found.contains(expected), "missing: {expected}\nfound:\n{found}");
    }
    assert_eq!(found.lines().count(), 8, "{found}");
}

#[test]
fn values_that_do_not_fit_together_are_refused() {
    let cases = [
        ("node", "peer_listen = \"127.0.0.1:7400\"", "node.peer_listen = 127.0.0.1:7400: is where the API listens"),
        ("node", "api_listen = \"0.0.0.0:7400\"", "node.api_addr = \"\": must be given because 0.0.0.0:7400"),
        ("node", "peer_addr = \"http://a:1\"", "node.peer_addr = http://a:1: must be host:port"),
        ("node", "id = 0", "node.id = 0: must be between 1 and"),
        ("cluster", "partitions = 70000", "cluster.partitions = 70000: invalid value"),
        ("cluster", "secret = \"short\"", "cluster.secret = ***: is too short"),
        ("cluster", "secret = 1234567890123456", "cluster.secret = ***: must be a text"),
        ("cluster", "secret_file = \"/nowhere\"", "cluster.secret_file = /nowhere: "),
        ("raft", "election_max_ms = 700", "raft.election_max_ms = 700: must be above"),
        ("raft", "queue = 100", "raft.queue = 100: must hold at least one batch"),
        ("retry", "first_ms = 700000", "retry.longest_ms = 600000: must not be below retry.first_ms (700000)"),
        ("log", "format = \"xml\"", "log.format = \"xml\": unknown variant `xml`, expected `text` or `json`"),
    ];
    for (section, line, expected) in cases {
        let env: &[_] = if section == "cluster" && !line.contains("partitions") { &[] } else { &[SECRET] };
        let found = mistakes(Some(&format!("[{section}]\n{line}\n")), env);
        assert!(found.iter().any(|mistake| mistake.starts_with(expected)), "{line}: {found:?}");
    }
}

#[test]
fn the_secret_comes_from_a_file_and_is_never_printed() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("secret");
    std::fs::write(&file, "correct horse battery staple\n").expect("a file");
    let config = load(None, &[("TIDINGS_CLUSTER_SECRET_FILE", &file.display().to_string())]).expect("all is right");
    assert_eq!(config.cluster.secret.expose(), "correct horse battery staple");
    let printed = format!("{config} {config:?}");
    assert!(!printed.contains("horse") && config.to_string().contains("secret = \"***\""), "{printed}");
}

#[test]
fn two_secrets_are_one_too_many() {
    let found = mistakes(None, &[SECRET, ("TIDINGS_CLUSTER_SECRET_FILE", "/etc/hostname")]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("give one of them"));
}

#[test]
fn a_broken_file_is_named_with_its_line_and_without_its_words() {
    let found = mistakes(Some("[cluster]\nsecret = \"swordfish\n"), &[SECRET]);
    assert!(found[0].contains("node.toml:2: "), "{found:?}");
    assert!(!found[0].contains("swordfish"), "{found:?}");
    let missing = Config::load(Some(Path::new("/nowhere/node.toml")), [(SECRET.0.to_owned(), SECRET.1.to_owned())]);
    assert!(missing.expect_err("no such file").to_string().starts_with("/nowhere/node.toml: cannot be read"));
}

#[test]
fn the_examples_load_and_make_one_cluster() {
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let all: Vec<_> = (1..=3)
        .map(|n| Config::load(Some(&examples.join(format!("node{n}.toml"))), []).expect("an example is right"))
        .collect();
    for (n, config) in (1..).zip(&all) {
        assert_eq!(config.node.id, u64::from(n));
        assert_eq!((config.node.api_listen.port(), config.node.peer_listen.port()), (7400 + n, 7500 + n));
        assert_eq!(config.cluster.secret.expose(), all[0].cluster.secret.expose());
    }
}
