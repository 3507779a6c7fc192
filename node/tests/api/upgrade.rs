//! Data directories and backups that older disk versions left are opened, whole, and go on.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tidings_channels::Registry;
use tidings_contract::{Clock, Secret, Time};
use tidings_node::{restore, serve, serve_with};

use crate::lone::{Lone, config};

/// The directories that are kept, the oldest first.
const KEPT: [(&str, Left); 5] =
    [("v1", Left::Data), ("v2", Left::Data), ("v2", Left::Backup), ("v3", Left::Data), ("v3", Left::Backup)];

/// Goes on where the kept directory stopped, so that nothing in it is too old.
#[derive(Debug)]
struct Since(Time, Instant);

impl Clock for Since {
    fn now(&self) -> Time {
        self.0.after(self.1.elapsed())
    }
}

/// Unpacks what `keep` of `cluster-tests` packed.
fn unpack(name: &str, into: &Path) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../cluster-tests/upgrade/{name}.tar.gz"));
    let file = File::open(&path).expect("the directory is kept");
    tar::Archive::new(GzDecoder::new(file)).unpack(into).expect("it can be unpacked");
    let facts = std::fs::read(into.join("facts.json")).expect("the facts are in it");
    serde_json::from_slice(&facts).expect("the facts are JSON")
}

/// Where the program of today finds what an older one left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// In a data directory.
    Data,
    /// In a backup, which is restored first. Version 1 had none.
    Backup,
}

/// Opens a kept directory with the program of today.
async fn open(name: &str, left: Left) -> (Lone, Value) {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let facts = unpack(name, dir.path());
    let text = |field: &str| facts[field].as_str().expect("a text").to_owned();
    let data = if left == Left::Data { "data" } else { "restored" };
    let mut config = config(1, dir.path().join(data));
    config.cluster.secret = Secret::new(text("secret"));
    if left == Left::Backup {
        restore(&config, &dir.path().join("a.backup"), |_, _| {}).await.expect("the old backup can be restored");
    }
    let clock = Arc::new(Since(Time(facts["at_ms"].as_u64().expect("a time")), Instant::now()));
    let running = serve_with(config.clone(), clock, Registry::new()).await.expect("the old directory is opened");
    let node = Lone::of(running, config, text("key"), dir);
    node.ready().await;
    (node, facts)
}

async fn sees_everything(node: &Lone, facts: &Value) {
    let stats = node.get("/v1/stats").await.expect(200);
    for figure in ["accepted", "pending", "ended"] {
        assert_eq!(stats[figure], facts["stats"][figure], "{figure}");
    }
    for trace in facts["ended"].as_array().expect("a list") {
        let path = format!("/v1/deliveries/{}", trace["id"].as_str().expect("an id"));
        assert_eq!(node.get(&path).await.expect(200), *trace);
    }
    for (path, field) in [("/v1/templates", "templates"), ("/v1/accounts", "accounts")] {
        assert_eq!(node.get(path).await.expect(200), facts[field], "{path}");
    }
    let crowd = node.get("/v1/deliveries?biz_id=crowd&limit=500").await.expect(200);
    assert_eq!(crowd["deliveries"].as_array().map(|all| all.len() as u64), facts["crowd"].as_u64());
    let dead = node.get("/v1/dead-letters").await.expect(200);
    assert!(dead.to_string().contains("\"never\""), "the dead letter is listed: {dead}");
    let viewer = facts["viewer"].as_str().expect("a key");
    assert_eq!(node.call("GET", "/v1/stats", Some(viewer), &[], None).await.status, 200, "the other key works");
}

async fn goes_on(node: &Lone, facts: &Value) {
    let once = &facts["idempotent"];
    let again = node.post_once(once["key"].as_str().expect("a key"), &once["body"]).await;
    assert_eq!((again.header("idempotent-replayed"), &again.body), (Some("true"), &once["answer"]));
    let repeated = node.send(facts["repeat"].clone()).await;
    assert_eq!(repeated["deliveries"][0]["state"], "suppressed", "the dedup window still holds");
    node.account("later", json!({})).await;
    for pending in facts["pending"].as_array().expect("a list") {
        assert_eq!(node.ended(pending.as_str().expect("an id")).await["state"], "delivered");
    }
    let body = json!({"template": "good", "to": ["+8613800138099"], "variables": {"n": "new"}});
    let fresh = node.send(body).await;
    let fresh = node.ended(fresh["deliveries"][0]["id"].as_str().expect("an id")).await;
    assert_eq!((&fresh["state"], fresh["events"].as_array().map(Vec::is_empty)), (&json!("delivered"), Some(false)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kept_directory_opens_shows_everything_and_goes_on() {
    for (name, left) in KEPT {
        let (node, facts) = open(name, left).await;
        sees_everything(&node, &facts).await;
        goes_on(&node, &facts).await;
        let accepted = node.accepted().await;
        assert_eq!(Some(accepted), facts["stats"]["accepted"].as_u64().map(|before| before + 2), "{name} {left:?}");
        let node = node.restart().await;
        assert_eq!(node.accepted().await, accepted, "{name} {left:?}");
        let mut config = node.config.clone();
        let _dir = node.stop().await;
        config.cluster.secret = Secret::new("the secret of some other cluster");
        let error = serve(config).await.expect_err("it is not the cluster's secret");
        assert!(error.to_string().contains("another secret"), "{name} {left:?}: {error}");
    }
}
