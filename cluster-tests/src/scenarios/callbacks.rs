//! Callbacks survive their leader: whoever dies between an end and what tells of it, every caller is told, once a delivery.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Scale, plan};
use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::load::Load;
use crate::receiver::{Manners, Receiver, SECRET, Seen};
use crate::report::Report;
use crate::{Proof, When};

/// Sends under load while the leader of most partitions is killed, and counts what the caller was told.
///
/// # Errors
/// When a delivery was not told of, or told of as two different callbacks, or a signature is wrong.
pub async fn run(scale: Scale) -> Proof<Report> {
    let mut cluster = Cluster::start(&Shape::full(3, scale.partitions)).await?;
    let receiver = Receiver::start(Manners { verify: true, ..Manners::default() })?;
    let caller = Receiver::start(Manners { verify: true, keep: true, ..Manners::default() })?;
    let account = json!({"provider": "webhook", "settings": {"secret": SECRET, "allow_private": true}});
    let callback = json!({
        "url": format!("{}/told", caller.base()), "secret": SECRET, "events": ["delivered"], "allow_private": true,
    });
    let retry = json!({"max_attempts": 20, "first_ms": 200, "longest_ms": 2_000, "give_up_after_ms": 600_000});
    let template = json!({
        "channel": "webhook", "account": "hook", "content": {"n": "{{ n }}"}, "retry": retry, "callback": callback,
    });
    cluster.teach("hook", &account, &template).await?;
    let load = Load::start(&cluster.admin, plan(&cluster, &receiver, scale.connections, scale.messages * 4));
    for number in 1..=scale.kills {
        let share = scale.messages * u64::from(number) / u64::from(scale.kills + 1);
        accepted(&load, share).await?;
        let index = cluster.leader_of_most().await?;
        cluster.nodes[index].kill()?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        cluster.nodes[index].restart()?;
        cluster.wait_ready().await?;
    }
    accepted(&load, scale.messages).await?;
    load.handle.stop();
    let tally = load.finish().await?;
    // What tells of an end is pending like any delivery, so nothing pending means that all was told.
    let stats = cluster.wait_drained().await?;
    caller.wait_quiet(Duration::from_secs(1)).await;
    let told = told(&caller.seen())?;
    let untold = tally.accepted.values().filter(|id| !told.contains_key(*id)).count();
    ensure(untold == 0, || format!("{untold} of {} deliveries were not told of", tally.accepted.len()))?;
    let twice = told.values().filter(|callbacks| callbacks.len() > 1).count();
    ensure(twice == 0, || format!("{twice} deliveries were told of by several callbacks"))?;
    let ended: u64 = stats.ended.values().sum();
    ensure(stats.accepted == ended, || format!("{} accepted, {ended} ended", stats.accepted))?;
    let mut report = Report::new(format!("callbacks while the leader of most partitions dies {} times", scale.kills));
    report.line("deliveries accepted", tally.accepted.len());
    report.line("deliveries told of", told.len());
    report.line("calls, copies included", caller.seen().calls);
    Ok(report)
}

async fn accepted(load: &Load, count: u64) -> Proof {
    eventually("enough is accepted", PATIENCE * 3, async || {
        ensure(load.handle.accepted() >= count, || format!("{} of {count} are accepted", load.handle.accepted()))
    })
    .await
}

/// The ids of the callbacks that told of each delivery, with how often each came.
fn told(seen: &Seen) -> Proof<HashMap<String, HashMap<String, u64>>> {
    // A callback has no number, so the receiver counts each as wrong; a wrong signature is named as such.
    let forged = seen.wrong.iter().find(|wrong| wrong.contains("signature"));
    ensure(forged.is_none(), || format!("{forged:?}"))?;
    let mut told: HashMap<String, HashMap<String, u64>> = HashMap::new();
    for call in &seen.kept {
        let body: Value = serde_json::from_str(&call.body).when("reading a callback")?;
        let delivery = body["data"]["delivery_id"].as_str().when(format!("finding the delivery in {body}"))?;
        let id = call.headers.get("webhook-id").when("reading webhook-id")?;
        *told.entry(delivery.to_owned()).or_default().entry(id.clone()).or_default() += 1;
    }
    Ok(told)
}
