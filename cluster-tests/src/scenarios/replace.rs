//! Under load, a node dies with its disk and an empty one takes its place: all replicas come back, nothing accepted is lost,
//! and the dead one, when it returns with its old disk, is told that it is no member and disturbs nobody.

use std::time::{Duration, Instant};

use hyper::Method;

use super::{Scale, plan};
use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::load::Load;
use crate::oracle::{self, Kill};
use crate::receiver::{Manners, Receiver, SECRET};
use crate::report::Report;
use crate::{Failure, Proof, When};

/// Runs it with three nodes.
///
/// # Errors
/// When a promise does not hold, or the cluster cannot be run; the report so far is in the words.
pub async fn run(scale: Scale) -> Proof<Report> {
    let mut cluster = Cluster::start(&Shape::full(3, scale.partitions)).await?;
    cluster.teach_webhook(SECRET).await?;
    let receiver = Receiver::start(Manners { verify: true, ..Manners::default() })?;
    let index = cluster.leader_of_most().await?;
    let mut living = plan(&cluster, &receiver, scale.connections, scale.messages * 20);
    living.nodes.remove(index);
    let load = Load::start(&cluster.admin, living);
    accepted(&load, scale.messages / 4).await?;

    let in_flight = cluster.stats().await?.pending + scale.connections as u64;
    let kills = [Kill { at: Instant::now(), in_flight }];
    let mut dead = cluster.nodes.remove(index);
    dead.kill()?;
    let (data, aside) = (dead.data_dir(), dead.data_dir().with_extension("lost"));
    std::fs::rename(&data, &aside).when("taking the disk away")?;
    accepted(&load, scale.messages / 2).await?;
    let began = Instant::now();
    cluster.replace(dead.id, 4).await?;
    cluster.wait_settled().await?;
    let healed = began.elapsed();
    let now = load.handle.accepted();
    accepted(&load, now + scale.messages / 4).await?;

    let before = terms(&cluster).await?;
    std::fs::rename(&aside, &data).when("giving the disk back")?;
    dead.restart()?;
    let told = refused_life(&cluster, &dead.url()).await?;
    let now = load.handle.accepted();
    accepted(&load, now + scale.messages / 4).await?;
    let after = terms(&cluster).await?;
    load.handle.stop();
    let tally = load.finish().await?;
    cluster.wait_drained().await?;
    receiver.wait_quiet(Duration::from_secs(1)).await;
    let verdict = oracle::judge(&cluster, &tally, &receiver.seen(), &kills).await?;
    let mut report = Report::new("a dead node without a disk is replaced by an empty one");
    report.line("all replicas back after", format!("{:.1} s", healed.as_secs_f64()));
    report.line("the dead one, come back, says", told);
    // A starved machine elects by itself now and then, so this is told and not judged.
    report.line("groups that elected meanwhile", before.iter().zip(&after).filter(|(then, now)| then != now).count());
    report.verdict(&verdict, &tally);
    verdict.sentence().map_err(|failure| Failure::new(format!("{failure}\n{}", report.text())))?;
    Ok(report)
}

async fn accepted(load: &Load, count: u64) -> Proof {
    eventually("enough is accepted", PATIENCE * 3, async || {
        let now = load.handle.accepted();
        ensure(now >= count, || format!("{now} of {count} are accepted"))
    })
    .await
}

/// The term of every group, in their order.
async fn terms(cluster: &Cluster) -> Proof<Vec<u64>> {
    Ok(cluster.status().await?.groups.iter().map(|group| group.term).collect())
}

/// Waits until the node says that it was removed, and gives its words.
async fn refused_life(cluster: &Cluster, url: &str) -> Proof<String> {
    let url = format!("{url}/readyz");
    eventually("the node that came back knows that it was removed", PATIENCE, async || {
        let answer = cluster.admin.call(Method::GET, &url, &[], Default::default()).await.when("asking")?;
        let answer: serde_json::Value = answer.expect_status(503)?.json()?;
        let told = answer["reasons"][0].as_str().unwrap_or_default().to_owned();
        ensure(told.contains("was removed from the cluster"), || format!("it says {told:?}"))?;
        Ok(told)
    })
    .await
}
