//! Any node takes any request; where one partition has no leader, each of its recipients is told so and can be repeated.

use std::collections::BTreeSet;

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tidings_contract::partition_of;

use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::receiver::{Manners, Receiver, SECRET};
use crate::report::Report;
use crate::{Failure, Proof, When};

const PARTITIONS: u16 = 6;
const RECIPIENTS: u64 = 60;

/// Runs it with three nodes of which each partition is on one, so that a dead node leaves partitions without a leader.
///
/// # Errors
/// When a node refuses what it should pass on, or a recipient is answered wrongly.
pub async fn run() -> Proof<Report> {
    let shape = Shape { nodes: 3, partitions: PARTITIONS, replication: 1, extra: String::new() };
    let mut cluster = Cluster::start(&shape).await?;
    cluster.teach_webhook(SECRET).await?;
    let receiver = Receiver::start(Manners::default())?;
    for (index, url) in cluster.urls().into_iter().enumerate() {
        let answer = post(&cluster, &url, &body(&receiver, 0..RECIPIENTS), &format!("all-up-{index}")).await?;
        ensure(answer.deliveries == RECIPIENTS && answer.rejected.is_empty(), || {
            format!("node {} took {} of {RECIPIENTS}", index + 1, answer.deliveries)
        })?;
    }
    let (victim, dead) = victim(&cluster).await?;
    cluster.nodes[victim].kill()?;
    let asked = cluster.url((victim + 1) % 3);
    let (key, answer) = with_a_living_home(&cluster, &asked, &body(&receiver, 0..RECIPIENTS)).await?;
    let expected: BTreeSet<u64> = (0..RECIPIENTS).filter(|n| dead.contains(&partition(&receiver, *n))).collect();
    let told: BTreeSet<u64> = answer.rejected.iter().map(|(index, _, _)| *index).collect();
    ensure(told == expected, || format!("{told:?} were rejected, {expected:?} have no leader"))?;
    let fair = answer.rejected.iter().all(|(_, code, retryable)| code == "no_leader" && *retryable);
    ensure(fair, || format!("not all were no_leader and retryable: {:?}", answer.rejected))?;
    only_the_dead(&cluster, &asked, &receiver, &expected).await?;
    cluster.nodes[victim].restart()?;
    cluster.wait_ready().await?;
    eventually("the repeat completes what was missing", PATIENCE, async || {
        let answer = post(&cluster, &asked, &body(&receiver, 0..RECIPIENTS), &key).await?;
        ensure(answer.rejected.is_empty(), || format!("{} are still rejected", answer.rejected.len()))
    })
    .await?;
    let stats = cluster.wait_drained().await?;
    ensure(stats.accepted == 4 * RECIPIENTS, || format!("{} were accepted, not {}", stats.accepted, 4 * RECIPIENTS))?;
    let mut report = Report::new("any node, one of them dead, one replica a partition");
    report.line("recipients a request", RECIPIENTS);
    report.line("answered no_leader, retryable", told.len());
    report.line("accepted beside them", RECIPIENTS - told.len() as u64);
    report.line("accepted in all after the repeat", stats.accepted);
    Ok(report)
}

/// What the intake answered about a request over several partitions.
struct Intake {
    deliveries: u64,
    rejected: Vec<(u64, String, bool)>,
}

async fn post(cluster: &Cluster, node: &str, body: &Value, key: &str) -> Proof<Intake> {
    let url = format!("{node}/v1/messages");
    let headers = [("idempotency-key", key)];
    let answer =
        cluster.admin.call(Method::POST, &url, &headers, Bytes::from(body.to_string())).await.when("posting")?;
    let answer: Value = answer.expect_status(202)?.json()?;
    let rejected = answer["rejected"].as_array().when("reading rejected")?.iter().map(|one| {
        let index = one["index"].as_u64().when("reading an index")?;
        let code = one["code"].as_str().when("reading a code")?.to_owned();
        Ok((index, code, one["retryable"].as_bool().when("reading retryable")?))
    });
    let deliveries = answer["deliveries"].as_array().when("reading deliveries")?.len() as u64;
    Ok(Intake { deliveries, rejected: rejected.collect::<Proof<_>>()? })
}

/// Posts under a key whose home partition has a leader: a key that cannot be claimed is refused as a whole.
async fn with_a_living_home(cluster: &Cluster, node: &str, body: &Value) -> Proof<(String, Intake)> {
    let mut last = Failure::new("no key was tried");
    for turn in 0..20 {
        let key = format!("one-down-{turn}");
        match post(cluster, node, body, &key).await {
            Ok(intake) => return Ok((key, intake)),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

/// A request of which nothing could be kept is refused as a whole, and says when to come back.
async fn only_the_dead(cluster: &Cluster, node: &str, receiver: &Receiver, dead: &BTreeSet<u64>) -> Proof {
    let one = *dead.first().when("finding a recipient without a leader")?;
    let body = Bytes::from(body(receiver, one..one + 1).to_string());
    let answer = cluster.admin.call(Method::POST, &format!("{node}/v1/messages"), &[], body).await.when("posting")?;
    let code = answer.code();
    ensure(answer.status == 503 && code.as_deref() == Some("no_leader"), || {
        format!("a request that nothing could be kept of was answered {} {code:?}", answer.status)
    })?;
    ensure(answer.headers.contains_key("retry-after"), || "503 came without Retry-After".to_owned())
}

/// A node that leads partitions and does not lead control, and the partitions it leads.
async fn victim(cluster: &Cluster) -> Proof<(usize, BTreeSet<u16>)> {
    let status = cluster.status().await?;
    let control = status.groups.iter().find(|group| group.name == "control").and_then(|group| group.leader);
    let leads = |id: u64| {
        let led = status.groups.iter().filter(move |group| group.leader == Some(id));
        led.filter_map(|group| group.name.strip_prefix('p')?.parse().ok()).collect::<BTreeSet<u16>>()
    };
    let choice = cluster.nodes.iter().position(|node| Some(node.id) != control && !leads(node.id).is_empty());
    let choice = choice.when("finding a node that leads partitions but not control")?;
    Ok((choice, leads(cluster.nodes[choice].id)))
}

fn partition(receiver: &Receiver, n: u64) -> u16 {
    partition_of(&receiver.url(n), PARTITIONS).0
}

fn body(receiver: &Receiver, numbers: std::ops::Range<u64>) -> Value {
    let to: Vec<_> = numbers.map(|n| json!({"to": receiver.url(n), "variables": {"n": n.to_string()}})).collect();
    json!({"template": "hook", "to": to})
}
