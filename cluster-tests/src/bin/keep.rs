//! `keep NAME`: makes a small data directory and a backup with the binary beside it, packed into `upgrade/NAME.tar.gz`.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Method;
use serde_json::{Value, json};
use tidings_cluster_tests::binary::root;
use tidings_cluster_tests::cluster::{Cluster, PATIENCE, Shape, eventually};
use tidings_cluster_tests::failure::ensure;
use tidings_cluster_tests::{Failure, Proof, When};

/// The secret that the harness gives every cluster.
const SECRET: &str = "the secret of a cluster that lives for one proof";
/// Deliveries that end, enough for a snapshot and a log behind it.
const ENDED: u64 = 300;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        println!("keep NAME, like `keep v1`");
        return ExitCode::FAILURE;
    };
    match keep(&name).await {
        Ok(words) => {
            println!("{words}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the facts say when the directory was left; no node is involved")]
async fn keep(name: &str) -> Proof<String> {
    let extra = "[raft]\nsnapshot_entries = 100\n".to_owned();
    let mut cluster = Cluster::start(&Shape { extra, ..Shape::full(1, 2) }).await?;
    let mut facts = fill(&cluster).await?;
    let backup = cluster.admin.send(Method::GET, &format!("{}/v1/backup", cluster.url(0)), &Value::Null).await?;
    let backup = backup.expect_status(200)?.body;
    let status = cluster.nodes[0].stop(Duration::from_secs(30)).await?;
    ensure(status.success(), || format!("the node ended with {status}"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).when("reading the clock")?;
    facts["at_ms"] = json!(u64::try_from(now.as_millis()).when("reading the clock")?);
    let folder = root().join("cluster-tests/upgrade");
    fs::create_dir_all(&folder).when("making the folder")?;
    let path = folder.join(format!("{name}.tar.gz"));
    pack(&cluster.dir().join("node-1/data"), &facts, &backup, &path)?;
    let bytes = fs::metadata(&path).when("looking at the result")?.len();
    Ok(format!("{} holds {bytes} bytes", path.display()))
}

/// One of everything that is kept on a disk, and what a later program has to find there.
async fn fill(cluster: &Cluster) -> Proof<Value> {
    let good = json!({"provider": "sandbox", "settings": {}});
    let retry = json!({"max_attempts": 100, "first_ms": 500, "longest_ms": 4_000, "give_up_after_ms": 86_400_000});
    let template = |account: &str, text: &str| json!({"channel": "sms", "account": account, "content": {"text": text}, "retry": retry});
    cluster.teach("good", &good, &template("good", "Hello {{ n }}")).await?;
    let second = template("good", "Hello again {{ n }}");
    cluster
        .admin
        .send(Method::PUT, &format!("{}/v1/templates/good", cluster.url(0)), &second)
        .await?
        .expect_status(200)?;
    let mut once = template("good", "Once");
    once["dedup"] = json!({"window_ms": 86_400_000});
    cluster.teach("once", &good, &once).await?;
    let later = json!({"provider": "sandbox", "settings": {"fail": "later"}});
    cluster.teach("later", &later, &template("later", "Later")).await?;
    let never = json!({"provider": "sandbox", "settings": {"fail": "never"}});
    cluster.teach("never", &never, &template("never", "Never")).await?;

    let keyed = json!({"template": "good", "to": ["+8613800138000"], "variables": {"n": "key"}});
    let answer = send(cluster, &keyed, Some("kept-key")).await?;
    let first = json!({"template": "once", "to": ["+8613800138001"]});
    send(cluster, &first, None).await?;
    let repeated = send(cluster, &first, None).await?;
    let dead = send(cluster, &json!({"template": "never", "to": ["+8613800138002"]}), None).await?;
    let waiting =
        send(cluster, &json!({"template": "later", "to": ["+8613800138003", "+8613800138004"]}), None).await?;
    for n in 0..ENDED {
        let to = format!("+86139{n:08}");
        send(
            cluster,
            &json!({"template": "good", "to": [to], "variables": {"n": n.to_string()}, "biz_id": "crowd"}),
            None,
        )
        .await?;
    }
    let wanted = json!({"name": "a viewer", "role": "viewer"});
    let viewer = cluster.admin.send(Method::POST, &format!("{}/v1/keys", cluster.url(0)), &wanted).await?;
    let viewer: Value = viewer.expect_status(201)?.json()?;
    let pending = waiting["deliveries"].as_array().map_or(0, Vec::len) as u64;
    eventually("only what waits is pending", PATIENCE, async || {
        let stats = cluster.stats().await?;
        ensure(stats.pending == pending, || format!("{} are pending", stats.pending))
    })
    .await?;
    let traces = [&answer, &repeated, &dead].map(|answer| format!("/v1/deliveries/{}", id(answer, 0)));
    let mut ended = Vec::new();
    for trace in &traces {
        ended.push(cluster.ask::<Value>(trace).await?);
    }
    Ok(json!({
        "secret": SECRET, "key": cluster.key, "viewer": viewer["key"], "partitions": 2,
        "stats": cluster.ask::<Value>("/v1/stats").await?, "ended": ended, "crowd": ENDED,
        "pending": [id(&waiting, 0), id(&waiting, 1)],
        "idempotent": {"key": "kept-key", "body": keyed, "answer": answer},
        "templates": cluster.ask::<Value>("/v1/templates").await?,
        "accounts": cluster.ask::<Value>("/v1/accounts").await?,
        "repeat": first,
    }))
}

fn id(answer: &Value, at: usize) -> String {
    answer["deliveries"][at]["id"].as_str().unwrap_or_default().to_owned()
}

async fn send(cluster: &Cluster, body: &Value, key: Option<&str>) -> Proof<Value> {
    let headers: Vec<_> = key.iter().map(|key| ("idempotency-key", *key)).collect();
    let url = format!("{}/v1/messages", cluster.url(0));
    let answer = cluster.admin.call(Method::POST, &url, &headers, Bytes::from(body.to_string())).await;
    answer.map_err(|lost| Failure::new(lost.to_string()))?.expect_status(202)?.json()
}

fn pack(data: &Path, facts: &Value, backup: &[u8], to: &Path) -> Proof {
    let file = File::create(to).when("making the archive")?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::best()));
    let facts = serde_json::to_vec_pretty(facts).when("writing the facts")?;
    for (name, bytes) in [("facts.json", facts.as_slice()), ("a.backup", backup)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, name, bytes).when("packing a file")?;
    }
    archive.append_dir_all("data", data).when("packing the data")?;
    let zipped = archive.into_inner().when("packing")?.finish().when("packing")?;
    zipped.sync_all().when("packing")
}
