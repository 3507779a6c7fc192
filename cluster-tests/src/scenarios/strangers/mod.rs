//! A node under people who mean harm: connections that say nothing, drip, or never read, and bodies that nobody may send. It
//! answers its health within a second throughout, takes messages, and its memory stays bounded.

mod attacks;
mod watch;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::{Cluster, Shape, eventually};
use crate::failure::ensure;
use crate::process::{Node, Plan};
use crate::report::{Report, mib};
use crate::{Proof, When, binary};
use attacks::{Target, batch, bodies, readers, silent, streams};
use watch::Watch;

/// Descriptors that the node may have; a silent crowd is larger.
const DESCRIPTORS: u64 = 512;
/// Most memory it may occupy in all of it, in bytes: what an idle node does, and all budgets of the configuration below.
const MOST: u64 = 200 << 20;
/// Longest time its health may take.
const HEALTH: Duration = Duration::from_secs(1);
/// The secret of the cluster.
const SECRET: &str = "the secret of a cluster that lives for one proof";
/// Smaller budgets and shorter waits than by default, so that they are reached.
const CONFIG: &str = "[http]\nhead_ms = 2_000\nidle_ms = 5_000\nwrite_ms = 3_000\nbody_ms = 6_000\nbodies_bytes = 16_777_216\n\
                      stranger_bodies_bytes = 2_097_152\nanswers_bytes = 33_554_432\n";

/// Runs all attacks, one after another, against one node with few descriptors.
///
/// # Errors
/// When its health took longer than a second once, a message was not taken, its memory grew beyond the bound, or places did
/// not come back.
pub async fn run() -> Proof<Report> {
    let dir = TempDir::with_prefix("tidings-proof-").when("making a temporary folder")?;
    let cluster = node(&dir).await?;
    let target = teach(&cluster).await?;
    let mut report = Report::new(format!("strangers: one node with {DESCRIPTORS} descriptors"));
    let watch = Watch::start(&cluster, &target);
    report.line("connections that say nothing", silent(&target, 1_200, b"").await?);
    let slow = b"GET /healthz HTTP/1.1\r\nHost: node\r\nX: ";
    report.line("heads that drip", silent(&target, 800, slow).await?);
    report.line("bodies for accounts that do not exist, answered 404", bodies(&target, "nobody", 300, 404).await?);
    report.line("bodies for one that does, refused", bodies(&target, "supplier", 200, 0).await?);
    report.line("streams of bodies that nobody may send", streams(&target, 10, 1_024).await?);
    report.line("readers that never read 10 MB", readers(&target, 40).await?);
    report.line("bytes of the answer to the largest batch", batch(&target).await?);
    let seen = watch.end().await?;
    report
        .line("health asked, slowest", format!("{} times, {:.0} ms", seen.asked, seen.slowest.as_secs_f64() * 1_000.0));
    report.line("messages taken meanwhile", seen.taken);
    report.line("most memory", mib(seen.memory));
    ensure(seen.failed.is_empty(), || {
        format!("health or messages failed: {}\n{}", seen.failed.join("; "), report.text())
    })?;
    ensure(seen.slowest <= HEALTH, || format!("its health took {:?}\n{}", seen.slowest, report.text()))?;
    ensure(seen.memory <= MOST, || format!("it occupied {}\n{}", mib(seen.memory), report.text()))?;
    ensure(seen.taken > 0, || format!("no message was taken\n{}", report.text()))?;
    let left = eventually("places come back", Duration::from_secs(30), async || left(&cluster).await).await?;
    report.line("connections left", left);
    Ok(report)
}

/// One node of a cluster of its own, started by a shell that lowers its limit of descriptors.
async fn node(dir: &TempDir) -> Proof<Cluster> {
    let wrapper = dir.path().join("few-descriptors");
    let binary = binary::tidings()?;
    let script = format!("#!/bin/sh\nulimit -n {DESCRIPTORS}\nexec '{}' \"$@\"\n", binary.display());
    fs::write(&wrapper, script).when("writing the wrapper")?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).when("writing the wrapper")?;
    let plan = Plan { id: 1, secret: SECRET.to_owned(), extra: CONFIG.to_owned() };
    let mut cluster = Cluster::over(vec![Node::start(&wrapper, dir.path(), &plan)?])?;
    cluster.form(SECRET, &Shape::full(1, 2)).await?;
    Ok(cluster)
}

/// Accounts and a template to send with, and a file that is worth reading.
async fn teach(cluster: &Cluster) -> Proof<Target> {
    let account = json!({"provider": "sandbox", "settings": {}});
    let template = json!({"channel": "sms", "account": "sandbox", "content": {"text": "Hello {{ name }}"}});
    cluster.teach_as("sandbox", &account, "hello", &template).await?;
    let supplier = json!({"provider": "sms/twilio", "settings": {
        "account_sid": "AC0123456789abcdef0123456789abcdef", "auth_token": "secret", "from": "+15005550006"}});
    let url = format!("{}/v1/accounts/supplier", cluster.url(0));
    cluster.admin.send(Method::PUT, &url, &supplier).await?.expect_status(200)?;
    let file = vec![7; 10_000_000];
    let url = format!("{}/v1/materials?name=large", cluster.url(0));
    let headers = [("content-type", "image/png")];
    let kept = cluster.admin.call(Method::POST, &url, &headers, file.into()).await.when("keeping a file")?;
    let kept: Value = kept.expect_status(201)?.json()?;
    let file = kept["id"].as_str().when("reading the file's id")?.to_owned();
    let address = cluster.nodes[0].api_addr();
    Ok(Target { address, key: cluster.key.clone(), file, idle: Duration::from_secs(8) })
}

/// How many connections are left, if they are few.
async fn left(cluster: &Cluster) -> Proof<u64> {
    let url = format!("{}/metrics", cluster.url(0));
    let text = cluster.admin.call(Method::GET, &url, &[], Default::default()).await.when("asking for figures")?;
    let text = String::from_utf8_lossy(&text.body).into_owned();
    let line = text.lines().find(|line| line.starts_with("tidings_http_connections{") && line.contains("full"));
    let count = line.and_then(|line| line.rsplit(' ').next()).and_then(|count| count.parse::<u64>().ok());
    let count = count.when("finding the connections")?;
    ensure(count <= 8, || format!("{count} connections are left"))?;
    Ok(count)
}
