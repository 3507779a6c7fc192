//! Backup and restore: what was there is there again, what is damaged is refused before anything is written.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_config::Config;
use tidings_contract::Secret;
use tidings_node::{restore, serve};

use crate::lone::{CLUSTER_SECRET, Got, Lone, call, client, config, until};

const PASSWORD: &str = "correct-horse-battery-staple";

/// Takes a backup and puts it into a file of its own.
async fn backup(node: &Lone) -> (TempDir, PathBuf) {
    let got = node.get("/v1/backup").await;
    assert_eq!((got.status, got.header("content-type")), (200, Some("application/octet-stream")));
    assert!(!got.answer.cut);
    let dir = tempfile::tempdir().expect("a directory can be made");
    let path = dir.path().join("tidings.backup");
    std::fs::write(&path, &got.answer.body).expect("it can be written");
    (dir, path)
}

/// The configuration of another node, which is to be the first of a new cluster.
fn elsewhere(dir: &Path) -> Config {
    let mut other = config(7, dir.join("restored"));
    // What the file says wins.
    other.cluster.partitions = 5;
    other
}

fn id_of(sent: &Value) -> String {
    sent["deliveries"][0]["id"].as_str().expect("an id").to_owned()
}

/// A node with something of everything; gives the answer under the key `k`, an ended and a pending delivery.
async fn filled() -> (Lone, Value, String, String) {
    let node = Lone::with(|config| config.raft.snapshot_entries = 100).await;
    node.account("demo", json!({})).await;
    let hello = json!({"channel": "sms", "account": "demo", "content": {"text": "Hello {{ name }}"}});
    node.template("hello", hello).await;
    let mail = json!({"host": "mail.example.com", "from": "a@example.com", "username": "ann", "password": PASSWORD});
    node.put("/v1/accounts/mail", json!({"provider": "email/smtp", "settings": mail})).await.expect(200);
    node.account("slow", json!({"fail": "later"})).await;
    let retry = json!({"max_attempts": 100, "first_ms": 100, "longest_ms": 400, "give_up_after_ms": 3_600_000});
    let slow = json!({"channel": "sms", "account": "slow", "content": {"text": "hi"}, "retry": retry});
    node.template("slow", slow).await;
    for n in 0..150 {
        let to = format!("+86138{n:08}");
        let body = json!({"template": "hello", "to": [to], "variables": {"name": "Ann"}, "biz_id": "crowd"});
        node.send(body).await;
    }
    let body = json!({"template": "hello", "to": ["13800138000"], "variables": {"name": "Ann"}});
    let first = node.post_once("k", &body).await.expect(202);
    let ended = id_of(&first);
    let pending = id_of(&node.send(json!({"template": "slow", "to": ["13800138001"]})).await);
    node.ended(&ended).await;
    node.until("only what waits is pending", async || {
        (node.get("/v1/stats").await.expect(200)["pending"] == 1).then_some(())
    })
    .await;
    (node, first, ended, pending)
}

/// What can be compared of the whole, before and after.
async fn everything(node: &Lone) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["/v1/stats", "/v1/templates", "/v1/accounts", "/v1/keys", "/v1/deliveries?biz_id=crowd&limit=500"] {
        all.push(node.get(path).await.expect(200));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_cluster_has_everything_and_goes_on_with_what_was_pending() {
    let (node, first, ended, pending) = filled().await;
    let (before, trace) = (everything(&node).await, node.get(&format!("/v1/deliveries/{ended}")).await.expect(200));
    let old = node.get("/v1/cluster").await.expect(200)["id"].clone();
    let (_kept, file) = backup(&node).await;
    let late = id_of(&node.send(json!({"template": "hello", "to": ["13800138009"], "variables": {"name": "x"}})).await);
    let key = node.key.clone();
    let dir = node.stop().await;
    for secret in [PASSWORD, CLUSTER_SECRET, &key] {
        let bytes = std::fs::read(&file).expect("it can be read");
        assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "a secret is open in the backup");
    }

    let other = elsewhere(dir.path());
    let restored = restore(&other, &file, |_, _| {}).await.expect("it can be restored");
    assert_eq!((restored.accepted, restored.pending, restored.partitions), (152, 1, 2));
    assert_eq!(old, restored.from.as_str());
    let running = serve(other.clone()).await.expect("the restored node starts");
    let node = Lone::of(running, other, key, dir);
    node.ready().await;
    assert_eq!(everything(&node).await, before);
    assert_eq!(node.get(&format!("/v1/deliveries/{ended}")).await.expect(200), trace);
    assert_eq!(node.get(&format!("/v1/deliveries/{late}")).await.status, 404, "it came after the backup");
    let cluster = node.get("/v1/cluster").await.expect(200);
    assert_eq!((&cluster["id"], &cluster["partitions"]), (&json!(restored.cluster), &json!(2)));
    assert_ne!(cluster["id"], old);
    assert_eq!(
        cluster["nodes"].as_array().map(|nodes| nodes.iter().map(|n| n["id"].clone()).collect()),
        Some(vec![json!(7)])
    );

    let body = json!({"template": "hello", "to": ["13800138000"], "variables": {"name": "Ann"}});
    let again = node.post_once("k", &body).await;
    assert_eq!((again.header("idempotent-replayed"), &again.body), (Some("true"), &first));
    // The sealed secrets open: a setting is changed and the masked one stays.
    let mail = json!({"host": "mail.example.com", "from": "b@example.com", "username": "ann", "password": "***"});
    node.put("/v1/accounts/mail", json!({"provider": "email/smtp", "settings": mail})).await.expect(200);
    assert_eq!(node.get(&format!("/v1/deliveries/{pending}")).await.expect(200)["state"], "pending");
    node.account("slow", json!({})).await;
    assert_eq!(node.ended(&pending).await["state"], "delivered");
    let fresh =
        id_of(&node.send(json!({"template": "hello", "to": ["13800138010"], "variables": {"name": "x"}})).await);
    assert_eq!(node.ended(&fresh).await["state"], "delivered");
    let node = node.restart().await;
    assert_eq!(node.accepted().await, 153);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_cluster_can_be_backed_up_and_restored_again() {
    let (node, _, ended, _) = filled().await;
    let trace = node.get(&format!("/v1/deliveries/{ended}")).await.expect(200);
    let (kept, file) = backup(&node).await;
    let key = node.key.clone();
    let dir = node.stop().await;
    let other = elsewhere(dir.path());
    restore(&other, &file, |_, _| {}).await.expect("it can be restored");
    let node = Lone::of(serve(other.clone()).await.expect("it starts"), other, key.clone(), dir);
    node.ready().await;
    let (_kept, again) = backup(&node).await;
    node.stop().await;
    let third = config(9, kept.path().join("third"));
    let restored = restore(&third, &again, |_, _| {}).await.expect("it can be restored again");
    assert_eq!((restored.accepted, restored.pending), (152, 1));
    let node = Lone::of(serve(third.clone()).await.expect("it starts"), third, key, kept);
    node.ready().await;
    assert_eq!(node.get(&format!("/v1/deliveries/{ended}")).await.expect(200), trace);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_another_secret_and_a_used_directory_are_refused_before_anything_is_written() {
    let (node, ..) = filled().await;
    let (kept, file) = backup(&node).await;
    node.stop().await;
    let whole = std::fs::read(&file).expect("it can be read");
    let target = elsewhere(kept.path());
    let refused = async |bytes: &[u8]| {
        let bad = kept.path().join("bad.backup");
        std::fs::write(&bad, bytes).expect("it can be written");
        let error = restore(&target, &bad, |_, _| {}).await.expect_err("it is refused");
        assert!(!target.node.data_dir.exists(), "something was written although: {error}");
        error.to_string()
    };
    let places = (0..whole.len()).step_by(whole.len() / 60).chain([0, 12, 20, whole.len() - 1]);
    for at in places.collect::<Vec<_>>() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        let words = refused(&flipped).await;
        assert!(["damaged", "not a backup", "version"].iter().any(|why| words.contains(why)), "byte {at}: {words}");
        let words = refused(&whole[..at]).await;
        assert!(words.contains("ends in the middle") || words.contains("not a backup"), "cut at {at}: {words}");
    }
    assert!(refused(&[&whole[..], b"more"].concat()).await.contains("more behind the last record"));
    assert!(refused(b"something else altogether").await.contains("not a backup"));

    let mut stranger = target.clone();
    stranger.cluster.secret = Secret::new("another secret of at least sixteen");
    let error = restore(&stranger, &file, |_, _| {}).await.expect_err("the secret is another");
    assert!(error.to_string().contains("another secret") && !target.node.data_dir.exists(), "{error}");

    std::fs::create_dir_all(&target.node.data_dir).expect("it can be made");
    std::fs::write(target.node.data_dir.join("mine"), "here first").expect("it can be written");
    let error = restore(&target, &file, |_, _| {}).await.expect_err("it is not empty");
    assert!(error.to_string().contains("not empty"), "{error}");
    let left = std::fs::read_dir(&target.node.data_dir).expect("it can be read").count();
    assert_eq!(left, 1, "nothing was added to it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_admin_of_a_founded_cluster_takes_a_backup() {
    let node = Lone::unfounded(|_| {}).await;
    let ask = async |key: Option<&str>| -> Got {
        call(&client(), node.running.api_addr, "GET", "/v1/backup", key, &[], None).await
    };
    assert_eq!(ask(None).await.problem(401), "unauthorized");
    let like_a_key = Lone::start().await;
    let of_another = like_a_key.key.clone();
    assert_eq!(ask(Some(&of_another)).await.problem(503), "not_founded");
    let wanted = json!({"name": "looks", "role": "viewer"});
    let viewer = like_a_key.post("/v1/keys", wanted).await.expect(201)["key"].as_str().expect("a key").to_owned();
    let got = like_a_key.call("GET", "/v1/backup", Some(&viewer), &[], None).await;
    assert_eq!(got.problem(403), "forbidden");
    until("one backup ends and the next may begin", async || {
        (like_a_key.get("/v1/backup").await.status == 200).then_some(())
    })
    .await;
    node.stop().await;
    like_a_key.stop().await;
}
