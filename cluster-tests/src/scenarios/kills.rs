//! Under load, the leader of most partitions is killed or frozen again and again: nothing accepted is lost, nothing is
//! invented, and a leader that wakes up deposed does no harm.

use std::time::{Duration, Instant};

use super::{Scale, plan};
use crate::Proof;
use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::load::{Handle, Load};
use crate::oracle::{self, Kill};
use crate::receiver::{Manners, Receiver, SECRET};
use crate::report::Report;

/// Longest time it takes to look at the cluster while a node is frozen: 800 ms for the node, and a busy machine.
const LOOK: Duration = Duration::from_secs(2);

/// What happens to the leader of most partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL, and a restart once the others lead.
    Kill,
    /// SIGSTOP, and SIGCONT once the others lead: it goes on in the belief that it leads.
    Freeze,
}

/// Runs it with three nodes.
///
/// # Errors
/// When a promise does not hold, or the cluster cannot be run; the report so far is in the words.
pub async fn run(fault: Fault, scale: Scale) -> Proof<Report> {
    let mut cluster = Cluster::start(&Shape::full(3, scale.partitions)).await?;
    cluster.teach_webhook(SECRET).await?;
    let receiver = Receiver::start(Manners { verify: true, ..Manners::default() })?;
    // The bound only keeps the run finite; it ends when enough is accepted and every kill is done.
    let load = Load::start(&cluster.admin, plan(&cluster, &receiver, scale.connections, scale.messages * 8));
    let mut kills = Vec::new();
    for number in 1..=scale.kills {
        let share = scale.messages * u64::from(number) / u64::from(scale.kills + 1);
        accepted(&load.handle, share).await?;
        kills.push(hit_one(&mut cluster, fault, scale).await?);
    }
    accepted(&load.handle, scale.messages).await?;
    load.handle.stop();
    let tally = load.finish().await?;
    cluster.wait_drained().await?;
    receiver.wait_quiet(Duration::from_secs(1)).await;
    let verdict = oracle::judge(&cluster, &tally, &receiver.seen(), &kills).await?;
    let what = if fault == Fault::Kill { "kill -9" } else { "freeze" };
    let mut report = Report::new(format!("{what} of the leader of most partitions, {} times", scale.kills));
    report.verdict(&verdict, &tally);
    verdict.sentence().map_err(|failure| crate::Failure::new(format!("{failure}\n{}", report.text())))?;
    Ok(report)
}

/// Takes the leader of most partitions away, lets the others take over, and gives it back.
async fn hit_one(cluster: &mut Cluster, fault: Fault, scale: Scale) -> Proof<Kill> {
    let index = cluster.leader_of_most().await?;
    // Every caller may have one request on its way that the count does not show yet.
    let in_flight = cluster.stats().await?.pending + scale.connections as u64;
    let gone = cluster.nodes[index].id;
    let at = Instant::now();
    match fault {
        Fault::Kill => cluster.nodes[index].kill()?,
        Fault::Freeze => cluster.nodes[index].pause()?,
    }
    eventually("the others lead every group", PATIENCE, async || {
        let status = cluster.status().await?;
        let orphans = status.groups.iter().filter(|group| group.leader.is_none_or(|leader| leader == gone)).count();
        ensure(orphans == 0, || format!("{orphans} groups have no leader"))
    })
    .await?;
    match fault {
        Fault::Kill => cluster.nodes[index].restart()?,
        Fault::Freeze => {
            looks_at_once(cluster, gone).await?;
            cluster.nodes[index].resume()?;
        }
    }
    cluster.wait_ready().await?;
    Ok(Kill { at, in_flight })
}

/// The cluster can be looked at without waiting for who does not answer, and says who that is.
async fn looks_at_once(cluster: &Cluster, frozen: u64) -> Proof {
    let began = Instant::now();
    let status = cluster.status().await?;
    let took = began.elapsed();
    ensure(took <= LOOK, || format!("it took {took:?} to look at the cluster while node {frozen} was frozen"))?;
    ensure(status.incomplete == [frozen], || format!("{:?} did not answer, it says", status.incomplete))
}

/// Waits until so many are accepted.
async fn accepted(load: &Handle, count: u64) -> Proof {
    eventually("enough is accepted", PATIENCE * 3, async || {
        ensure(load.accepted() >= count, || format!("{} of {count} are accepted", load.accepted()))
    })
    .await
}
