//! The long run: a million messages over three real processes, and every twenty seconds the leader of most is killed.

use std::time::{Duration, Instant};

use crate::Proof;
use crate::cluster::{Cluster, Shape, eventually};
use crate::failure::ensure;
use crate::load::{Load, Plan};
use crate::oracle::{self, Kill};
use crate::receiver::{Manners, Receiver, SECRET};
use crate::report::Report;

/// Callers at once.
const CONNECTIONS: usize = 64;
/// From one kill to the next.
const EVERY: Duration = Duration::from_secs(20);
/// Longest time until all is delivered after the last was accepted.
const DRAIN: Duration = Duration::from_secs(600);

/// Runs it until so many messages are accepted.
///
/// # Errors
/// When a promise does not hold, or the cluster cannot be run; the report so far is in the words.
pub async fn run(messages: u64) -> Proof<Report> {
    let mut cluster = Cluster::start(&Shape::full(3, 8)).await?;
    cluster.teach_webhook(SECRET).await?;
    let receiver = Receiver::start(Manners::default())?;
    let plan = Plan {
        nodes: cluster.urls(),
        template: "hook".to_owned(),
        receiver: receiver.base(),
        connections: CONNECTIONS,
        batch: 1,
        first: 0,
        most: messages * 8,
        keyed: true,
    };
    let load = Load::start(&cluster.admin, plan);
    let began = Instant::now();
    let mut kills = Vec::new();
    while load.handle.accepted() < messages {
        tokio::time::sleep(EVERY.saturating_sub(since(&kills, began))).await;
        kills.push(kill_leader(&mut cluster).await?);
    }
    load.handle.stop();
    let tally = load.finish().await?;
    eventually("nothing is pending", DRAIN, async || {
        let stats = cluster.stats().await?;
        ensure(stats.pending == 0 && stats.incomplete.is_empty(), || format!("{} are", stats.pending))
    })
    .await?;
    receiver.wait_quiet(Duration::from_secs(1)).await;
    let verdict = oracle::judge(&cluster, &tally, &receiver.seen(), &kills).await?;
    let mut report = Report::new(format!("kill -9 of the leader of most partitions, {} times", kills.len()));
    report.line("time of load", format!("{:.0} s", tally.span().as_secs_f64()));
    report.verdict(&verdict, &tally);
    verdict.sentence().map_err(|failure| crate::Failure::new(format!("{failure}\n{}", report.text())))?;
    Ok(report)
}

fn since(kills: &[Kill], began: Instant) -> Duration {
    kills.last().map_or(began, |kill| kill.at).elapsed()
}

async fn kill_leader(cluster: &mut Cluster) -> Proof<Kill> {
    let index = cluster.leader_of_most().await?;
    let in_flight = cluster.stats().await?.pending + CONNECTIONS as u64;
    let at = Instant::now();
    cluster.nodes[index].kill()?;
    cluster.nodes[index].restart()?;
    cluster.wait_ready().await?;
    Ok(Kill { at, in_flight })
}
