//! A revoked key works nowhere for longer than `access.stale_after_ms`: not on a node that never heard of it and hears nothing
//! now, and not on one that slept meanwhile.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::cluster::{Cluster, Shape, eventually};
use crate::failure::ensure;
use crate::report::Report;
use crate::{Proof, When};

/// How long a node believes its copy of the keys.
const STALE_AFTER: Duration = Duration::from_secs(4);
/// How long a node that is cut off is asked.
const ASKED: Duration = Duration::from_secs(10);
/// What an answer may be late by on a machine that is shared with three nodes.
const NOISE: Duration = Duration::from_millis(500);
/// Longest wait for something that must come true.
const PATIENCE: Duration = Duration::from_secs(60);

/// A key that is about to be revoked.
struct Doomed {
    id: String,
    client: Client,
}

/// Cuts off a follower of control and its leader, each once after a long sleep and once after a short one.
///
/// # Errors
/// When the key works for too long, the node does not say that it is cut off, or it does not come back.
pub async fn run() -> Proof<Report> {
    let extra = format!("[access]\nstale_after_ms = {}\n", STALE_AFTER.as_millis());
    let mut cluster = Cluster::start(&Shape { extra, ..Shape::full(3, 4) }).await?;
    let mut report = Report::new("keys-cut-off: a key is revoked while a node hears nothing");
    for leads in [false, true] {
        for sleep in [STALE_AFTER * 3 / 2, Duration::ZERO] {
            let who = if leads { "the leader of control" } else { "a follower" };
            let longest = cut_off(&mut cluster, leads, sleep).await?;
            report.line(
                format!("{who}, asleep for {:.0} s: the revoked key worked for", sleep.as_secs_f64()),
                format!("{:.2} s", longest.as_secs_f64()),
            );
        }
    }
    Ok(report)
}

/// How long after it was revoked the key still worked.
async fn cut_off(cluster: &mut Cluster, leads: bool, asleep: Duration) -> Proof<Duration> {
    let at = cut_off_node(cluster, leads).await?;
    let others: Vec<usize> = (0..cluster.nodes.len()).filter(|other| *other != at).collect();
    let doomed = doomed(cluster, at).await?;
    cluster.nodes[at].pause()?;
    let url = format!("{}/v1/keys/{}", cluster.url(others[0]), doomed.id);
    eventually("the key is revoked", PATIENCE, async || {
        cluster.admin.call(Method::DELETE, &url, &[], Default::default()).await.when("revoking")?.expect_status(204)
    })
    .await?;
    let revoked = Instant::now();
    tokio::time::sleep(asleep).await;
    for other in &others {
        cluster.nodes[*other].pause()?;
    }
    cluster.nodes[at].resume()?;
    let judged = ask(cluster, at, &doomed, revoked, asleep).await;
    for other in &others {
        cluster.nodes[*other].resume()?;
    }
    let longest = judged?;
    let url = format!("{}/v1/templates", cluster.url(at));
    eventually("the node is back, and knows that the key is revoked", PATIENCE, async || {
        doomed.client.call(Method::GET, &url, &[], Default::default()).await.when("asking")?.expect_status(401)?;
        cluster.admin.call(Method::GET, &url, &[], Default::default()).await.when("asking")?.expect_status(200)
    })
    .await?;
    cluster.wait_ready().await?;
    Ok(longest)
}

async fn cut_off_node(cluster: &Cluster, leads: bool) -> Proof<usize> {
    let leader = eventually("control has a leader", PATIENCE, async || {
        let status = cluster.status().await?;
        let control = status.groups.iter().find(|group| group.name == "control");
        control.and_then(|control| control.leader).when("finding control's leader")
    })
    .await?;
    let found = cluster.nodes.iter().position(|node| (node.id == leader) == leads);
    found.when("finding the node to cut off")
}

/// A key that works on the node.
async fn doomed(cluster: &Cluster, at: usize) -> Proof<Doomed> {
    let body = json!({"name": "doomed", "role": "viewer"});
    let made = cluster.admin.send(Method::POST, &format!("{}/v1/keys", cluster.url(at)), &body).await?;
    let made: Value = made.expect_status(201)?.json()?;
    let text = |name: &str| made[name].as_str().map(str::to_owned).when("reading the new key");
    Ok(Doomed { id: text("id")?, client: Client::new(&text("key")?) })
}

/// Asks the node that is cut off with the revoked key and with a good one.
async fn ask(cluster: &Cluster, at: usize, doomed: &Doomed, revoked: Instant, asleep: Duration) -> Proof<Duration> {
    let url = format!("{}/v1/templates", cluster.url(at));
    let (began, mut longest, mut refused) = (Instant::now(), Duration::ZERO, 0);
    while began.elapsed() < ASKED {
        let got = doomed.client.call(Method::GET, &url, &[], Default::default()).await.when("asking")?;
        match (got.status, got.code().as_deref()) {
            (200, _) => longest = revoked.elapsed(),
            (503, Some("cut_off")) => refused += 1,
            (status, code) => ensure(false, || format!("a cut-off node answered {status} {code:?}"))?,
        }
        let health = format!("{}/healthz", cluster.url(at));
        cluster.admin.call(Method::GET, &health, &[], Default::default()).await.when("asking")?.expect_status(200)?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let good = cluster.admin.call(Method::GET, &url, &[], Default::default()).await.when("asking")?;
    ensure(good.code().as_deref() == Some("cut_off"), || {
        "a good key is answered by a node that is cut off".to_owned()
    })?;
    ensure(refused > 0, || "the node never said that it is cut off".to_owned())?;
    let most = if asleep > STALE_AFTER { Duration::ZERO } else { STALE_AFTER + NOISE };
    ensure(longest <= most, || format!("the revoked key worked for {longest:?}, asleep for {asleep:?}"))?;
    Ok(longest)
}
