//! Three nodes become five and three again, under load all the time: nothing accepted is lost, nobody is refused for good,
//! and what left holds nothing any more.

use std::time::{Duration, Instant};

use hyper::Method;

use super::Scale;
use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::load::{Load, Plan, Tally};
use crate::oracle::{self, Kill};
use crate::receiver::{Manners, Receiver, SECRET};
use crate::report::{Report, rate};
use crate::{Failure, Proof};

/// How long each size of the cluster is measured at least.
const MEASURE: Duration = Duration::from_secs(8);
/// Numbers of one phase begin so far behind those of the one before.
const APART: u64 = 100_000_000;
/// Refusals that say "again, in a moment".
const RETRYABLE: [&str; 3] = ["no_leader", "full", "timeout"];

/// What is known after all phases.
#[derive(Default)]
struct Run {
    tally: Tally,
    changes: Vec<Kill>,
    phases: Vec<(&'static str, String)>,
}

/// Runs it; each of the five phases accepts at least `scale.messages`.
///
/// # Errors
/// When a promise does not hold, or the cluster cannot be run; the report so far is in the words.
pub async fn run(scale: Scale) -> Proof<Report> {
    let mut cluster = Cluster::start(&Shape::full(3, scale.partitions)).await?;
    cluster.teach_webhook(SECRET).await?;
    let receiver = Receiver::start(Manners { verify: true, ..Manners::default() })?;
    let mut run = Run::default();
    run.phase("3 nodes", &mut cluster, &receiver, scale, &[]).await?;
    run.phase("3 → 5 nodes", &mut cluster, &receiver, scale, &[Step::Join(4), Step::Join(5)]).await?;
    run.phase("5 nodes", &mut cluster, &receiver, scale, &[]).await?;
    run.phase("5 → 3 nodes", &mut cluster, &receiver, scale, &[Step::Remove(4), Step::Remove(5)]).await?;
    run.phase("3 nodes again", &mut cluster, &receiver, scale, &[]).await?;
    cluster.wait_drained().await?;
    receiver.wait_quiet(Duration::from_secs(1)).await;
    let verdict = oracle::judge(&cluster, &run.tally, &receiver.seen(), &run.changes).await?;
    let mut report = Report::new("3 → 5 → 3 nodes under load");
    for (name, figures) in &run.phases {
        report.line(*name, figures);
    }
    report.verdict(&verdict, &run.tally);
    let lasting = run.tally.codes.keys().find(|code| !RETRYABLE.contains(&code.as_str()));
    let fair = ensure(lasting.is_none(), || format!("refused with {lasting:?}, which is no retryable moment"));
    verdict.sentence().and(fair).map_err(|failure| Failure::new(format!("{failure}\n{}", report.text())))?;
    Ok(report)
}

/// One change of the nodes.
#[derive(Clone, Copy)]
enum Step {
    Join(u64),
    Remove(u64),
}

impl Run {
    /// Runs the load while `steps` are done, and for a while if there are none.
    async fn phase(
        &mut self,
        name: &'static str,
        cluster: &mut Cluster,
        receiver: &Receiver,
        scale: Scale,
        steps: &[Step],
    ) -> Proof {
        let leaves = |id: u64| steps.iter().any(|step| matches!(step, Step::Remove(node) if *node == id));
        let nodes = cluster.nodes.iter().filter(|node| !leaves(node.id)).map(|node| node.url()).collect();
        let first = self.phases.len() as u64 * APART;
        let plan = Plan { nodes, first, ..super::plan(cluster, receiver, scale.connections, APART) };
        let began = Instant::now();
        let load = Load::start(&cluster.admin, plan);
        for step in steps {
            self.change(cluster, *step, scale).await?;
        }
        let changed = began.elapsed();
        eventually("enough is accepted", PATIENCE * 3, async || {
            let (count, for_long) = (load.handle.accepted(), began.elapsed() >= MEASURE);
            ensure(count >= scale.messages && for_long, || format!("{count} of {} are accepted", scale.messages))
        })
        .await?;
        load.handle.stop();
        let tally = load.finish().await?;
        let mut figures = format!(
            "{}/s accepted, longest gap {:.2} s, {} refused for a moment",
            rate(tally.accepted.len() as u64, tally.span()),
            tally.longest_gap().as_secs_f64(),
            tally.refused
        );
        if !steps.is_empty() {
            figures.push_str(&format!(", in place after {:.0} s", changed.as_secs_f64()));
        }
        self.phases.push((name, figures));
        self.tally.merge(tally);
        Ok(())
    }

    /// One node comes or goes; ends when every partition is in its place again.
    async fn change(&mut self, cluster: &mut Cluster, step: Step, scale: Scale) -> Proof {
        // Leaders move with it, and an attempt under way may be made again by the next one.
        let in_flight = cluster.stats().await?.pending + scale.connections as u64;
        self.changes.push(Kill { at: Instant::now(), in_flight });
        match step {
            Step::Join(id) => cluster.join(id).await?,
            Step::Remove(id) => cluster.remove(id).await?,
        }
        cluster.wait_settled().await?;
        if let Step::Remove(id) = step {
            cluster.wait_dismissed(id).await?;
            let at = cluster.nodes.iter().position(|node| node.id == id);
            let mut gone = cluster.nodes.remove(at.unwrap_or_default());
            let url = format!("{}/v1/cluster/nodes", cluster.url(0));
            let code = cluster.admin.send(Method::POST, &url, &gone.shape()).await?.code();
            ensure(code.as_deref() == Some("conflict"), || format!("node {id} may come back: {code:?}"))?;
            gone.stop(Duration::from_secs(30)).await?;
        }
        Ok(())
    }
}
