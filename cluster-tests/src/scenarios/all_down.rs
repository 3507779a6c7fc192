//! All nodes lose power at once under load: after the restart everything that was accepted is delivered.

use std::time::{Duration, Instant};

use super::{Scale, plan};
use crate::Proof;
use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::load::Load;
use crate::oracle::{self, Kill};
use crate::receiver::{Manners, Receiver, SECRET};
use crate::report::Report;

/// Runs it with three nodes. `scale.kills` is not used: there is one, of all three.
///
/// # Errors
/// When a promise does not hold, or the cluster cannot be run.
pub async fn run(scale: Scale) -> Proof<Report> {
    let mut cluster = Cluster::start(&Shape::full(3, scale.partitions)).await?;
    cluster.teach_webhook(SECRET).await?;
    let receiver = Receiver::start(Manners { delay: Duration::from_millis(2), ..Manners::default() })?;
    let load = Load::start(&cluster.admin, plan(&cluster, &receiver, scale.connections, scale.messages * 8));
    eventually("half is accepted", PATIENCE, async || {
        ensure(load.handle.accepted() >= scale.messages / 2, || format!("{} are", load.handle.accepted()))
    })
    .await?;
    let in_flight = cluster.stats().await?.pending + scale.connections as u64;
    let at = Instant::now();
    for node in &cluster.nodes {
        node.hit()?;
    }
    for node in &mut cluster.nodes {
        node.reap()?;
    }
    let accepted_before = load.handle.accepted();
    for node in &mut cluster.nodes {
        node.restart()?;
    }
    cluster.wait_ready().await?;
    let back = at.elapsed();
    eventually("the rest is accepted", PATIENCE, async || {
        ensure(load.handle.accepted() >= scale.messages, || format!("{} are", load.handle.accepted()))
    })
    .await?;
    load.handle.stop();
    let tally = load.finish().await?;
    cluster.wait_drained().await?;
    receiver.wait_quiet(Duration::from_secs(1)).await;
    let verdict = oracle::judge(&cluster, &tally, &receiver.seen(), &[Kill { at, in_flight }]).await?;
    let mut report = Report::new("kill -9 of all three nodes at once");
    report.line("accepted before the kill", accepted_before);
    report.line("ready again after", format!("{:.2} s", back.as_secs_f64()));
    report.verdict(&verdict, &tally);
    verdict.sentence().map_err(|failure| crate::Failure::new(format!("{failure}\n{}", report.text())))?;
    Ok(report)
}
