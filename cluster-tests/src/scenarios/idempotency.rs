//! One `Idempotency-Key`, a hundred requests at once to three nodes, across a leader's death: one message.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::Lost;
use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::receiver::{Manners, Receiver, SECRET};
use crate::report::Report;
use crate::{Failure, Proof, When};

/// Requests with one key at once.
const CROWD: usize = 100;

/// Runs `rounds` keys; the leader of most partitions is killed during every third round.
///
/// # Errors
/// When a key made two messages, or another body was taken under a used key.
pub async fn run(rounds: u64) -> Proof<Report> {
    let mut cluster = Cluster::start(&Shape::full(3, 4)).await?;
    cluster.teach_webhook(SECRET).await?;
    let receiver = Receiver::start(Manners::default())?;
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    let mut messages = HashSet::new();
    let mut kills = 0;
    for round in 0..rounds {
        let kill = round % 3 == 1;
        kills += u64::from(kill);
        let message = one_round(&mut cluster, &receiver, round, kill, &mut outcomes).await?;
        ensure(messages.insert(message), || format!("round {round} gave the message of another key"))?;
    }
    let stats = cluster.wait_drained().await?;
    receiver.wait_quiet(Duration::from_secs(1)).await;
    let seen = receiver.seen();
    let (keys, arrived) = (rounds, seen.arrivals.len() as u64);
    ensure(arrived == keys * RECIPIENTS, || {
        format!("{keys} keys of {RECIPIENTS} recipients gave {arrived} deliveries")
    })?;
    ensure(stats.accepted == arrived, || format!("{} are counted, {arrived} arrived", stats.accepted))?;
    let mut report = Report::new(format!("{CROWD} requests at once with one Idempotency-Key"));
    report.line("keys", keys);
    report.line("requests", keys * CROWD as u64);
    report.line("leaders killed meanwhile", kills);
    report.line("messages", messages.len());
    report.line("deliveries arrived", arrived);
    report.line("copies", seen.duplicates());
    for (outcome, count) in outcomes {
        report.line(format!("answers: {outcome}"), count);
    }
    Ok(report)
}

/// Recipients of each message: enough to touch several partitions.
const RECIPIENTS: u64 = 4;

async fn one_round(
    cluster: &mut Cluster,
    receiver: &Receiver,
    round: u64,
    kill: bool,
    outcomes: &mut BTreeMap<String, u64>,
) -> Proof<String> {
    let key = format!("order-{round}");
    let body = Bytes::from(body(receiver, round).to_string());
    let mut crowd = JoinSet::new();
    for caller in 0..CROWD {
        let (client, body, key) = (cluster.admin.clone(), body.clone(), key.clone());
        let url = format!("{}/v1/messages", cluster.url(caller));
        crowd.spawn(async move { client.call(Method::POST, &url, &[("idempotency-key", &key)], body).await });
    }
    let victim = cluster.leader_of_most().await?;
    if kill {
        cluster.nodes[victim].kill()?;
    }
    let mut told = HashSet::new();
    while let Some(answer) = crowd.join_next().await {
        let outcome = match answer.when("waiting for a caller")? {
            Ok(answer) if answer.status == 202 => {
                told.insert(message_of(&answer.json()?)?);
                if answer.headers.contains_key("idempotent-replayed") { "202 repeated" } else { "202 first" }.to_owned()
            }
            Ok(answer) => answer.code().unwrap_or_else(|| answer.status.to_string()),
            Err(Lost::NotSent(_)) => "not sent".to_owned(),
            Err(Lost::Unknown(_)) => "no answer".to_owned(),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    if kill {
        cluster.nodes[victim].restart()?;
        cluster.wait_ready().await?;
    }
    told.insert(repeat(cluster, &key, &body).await?);
    refuses_another_body(cluster, receiver, &key, round).await?;
    ensure(told.len() == 1, || format!("{key} gave {} messages: {told:?}", told.len()))?;
    told.into_iter().next().when("reading the message's id")
}

/// The same request once more, until it is wholly accepted.
async fn repeat(cluster: &Cluster, key: &str, body: &Bytes) -> Proof<String> {
    let url = format!("{}/v1/messages", cluster.url(1));
    eventually("the repeat is accepted", PATIENCE, async || {
        let headers = [("idempotency-key", key)];
        let answer = cluster.admin.call(Method::POST, &url, &headers, body.clone()).await.when("repeating")?;
        let answer: Value = answer.expect_status(202)?.json()?;
        let rejected = answer["rejected"].as_array().map_or(0, Vec::len);
        ensure(rejected == 0, || format!("{rejected} recipients were rejected: {answer}"))?;
        message_of(&answer)
    })
    .await
}

async fn refuses_another_body(cluster: &Cluster, receiver: &Receiver, key: &str, round: u64) -> Proof {
    let other = Bytes::from(body(receiver, round + 1_000_000).to_string());
    let url = format!("{}/v1/messages", cluster.url(2));
    let answer = cluster.admin.call(Method::POST, &url, &[("idempotency-key", key)], other).await.when("asking")?;
    let code = answer.code();
    if answer.status == 422 && code.as_deref() == Some("idempotency_mismatch") {
        return Ok(());
    }
    Err(Failure::new(format!("another body under a used key was answered {} {code:?}", answer.status)))
}

fn body(receiver: &Receiver, round: u64) -> Value {
    let to: Vec<_> = (0..RECIPIENTS)
        .map(|part| {
            let n = round * RECIPIENTS + part;
            json!({"to": receiver.url(n), "variables": {"n": n.to_string()}})
        })
        .collect();
    json!({"template": "hook", "to": to})
}

fn message_of(answer: &Value) -> Proof<String> {
    Ok(answer["message_id"].as_str().when("reading message_id")?.to_owned())
}
