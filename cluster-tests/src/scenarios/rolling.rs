//! A rolling restart under load: every node in turn is told to stop, waited for and started again. Nothing accepted is lost,
//! nothing is sent twice, and whoever is refused may come again a moment later.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Scale, plan};
use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::load::{Handle, Load, Tally};
use crate::oracle;
use crate::receiver::{Manners, Receiver, SECRET};
use crate::report::Report;
use crate::{Failure, Proof};

/// What a caller may be told while a node restarts: certainly not kept, come again, here or at another node.
const RETRYABLE: [&str; 4] = ["stopping", "no_leader", "full", "not_sent"];
/// How far a replica may be behind to count as in sync, in entries: under load it is never at zero.
const NEAR: u64 = 50;
/// Longest time in which nothing may be accepted. A node that stops hands over all it leads at once.
const GAP: Duration = Duration::from_secs(3);

/// What `GET /v1/cluster` says about who is how far behind.
#[derive(Deserialize)]
struct Standing {
    groups: Vec<GroupStanding>,
}

#[derive(Deserialize)]
struct GroupStanding {
    name: String,
    leader: Option<u64>,
    replicas: Vec<u64>,
    lag: BTreeMap<u64, u64>,
}

/// Runs it with three nodes; `scale.kills` is how often all of them are restarted.
///
/// # Errors
/// When a promise does not hold, or the cluster cannot be run; the report so far is in the words.
pub async fn run(scale: Scale) -> Proof<Report> {
    let mut cluster = Cluster::start(&Shape::full(3, scale.partitions)).await?;
    cluster.teach_webhook(SECRET).await?;
    let receiver = Receiver::start(Manners { delay: Duration::from_millis(5), ..Manners::default() })?;
    let load = Load::start(&cluster.admin, plan(&cluster, &receiver, scale.connections, scale.messages * 100));
    let rounds = u64::from(scale.kills);
    let nodes = cluster.nodes.len() as u64;
    let mut stops = Vec::new();
    for restart in 0..rounds * nodes {
        let index = usize::try_from(restart % nodes).unwrap_or_default();
        accepted(&load.handle, scale.messages * (restart + 1) / (rounds * nodes + 1)).await?;
        stops.push(restart_one(&mut cluster, index).await?);
    }
    let enough = load.handle.accepted().max(scale.messages);
    accepted(&load.handle, enough).await?;
    load.handle.stop();
    let tally = load.finish().await?;
    cluster.wait_drained().await?;
    receiver.wait_quiet(Duration::from_secs(1)).await;
    // No kill explains a copy here: a graceful stop makes none.
    let verdict = oracle::judge(&cluster, &tally, &receiver.seen(), &[]).await?;
    let mut report = Report::new(format!("rolling restart of three nodes under load, {rounds} times"));
    let longest = stops.iter().max().copied().unwrap_or_default();
    report.line("nodes stopped and started", stops.len());
    report.line("longest stop", format!("{:.2} s", longest.as_secs_f64()));
    report.line("answers to come again", tally.refused);
    report.verdict(&verdict, &tally);
    let judged = verdict.sentence().and_then(|()| fair(&tally));
    judged.map_err(|failure| Failure::new(format!("{failure}\n{}", report.text())))?;
    Ok(report)
}

/// Tells one node to stop, waits for its end, starts it again and waits until it is ready and in sync. Gives how long it
/// took to stop.
async fn restart_one(cluster: &mut Cluster, index: usize) -> Proof<Duration> {
    let began = Instant::now();
    let status = cluster.nodes[index].stop(PATIENCE).await?;
    let took = began.elapsed();
    let node = &mut cluster.nodes[index];
    ensure(status.success(), || format!("node {} ended with {status}: {}", node.id, node.log_tail()))?;
    node.restart()?;
    cluster.wait_ready().await?;
    let id = cluster.nodes[index].id;
    eventually("the node is in sync again", PATIENCE, async || {
        let standing: Standing = cluster.ask("/v1/cluster").await?;
        let near = |group: &&GroupStanding| {
            group.leader.is_some()
                && group.replicas.len() == cluster.nodes.len()
                && (group.leader == Some(id) || group.lag.get(&id).is_some_and(|lag| *lag <= NEAR))
        };
        let behind: Vec<_> = standing.groups.iter().filter(|group| !near(group)).map(|group| &group.name).collect();
        ensure(behind.is_empty(), || format!("{behind:?} are not"))
    })
    .await?;
    Ok(took)
}

/// Nobody was told anything but to come again, and nobody for long.
fn fair(tally: &Tally) -> Proof {
    let unfair: Vec<_> = tally.codes.keys().filter(|code| !RETRYABLE.contains(&code.as_str())).collect();
    ensure(unfair.is_empty(), || format!("answers that do not say that nothing was kept: {unfair:?}"))?;
    let gap = tally.longest_gap();
    ensure(gap <= GAP, || format!("nothing was accepted for {:.2} s", gap.as_secs_f64()))
}

/// Waits until so many are accepted.
async fn accepted(load: &Handle, count: u64) -> Proof {
    eventually("enough is accepted", PATIENCE * 3, async || {
        ensure(load.accepted() >= count, || format!("{} of {count} are accepted", load.accepted()))
    })
    .await
}
