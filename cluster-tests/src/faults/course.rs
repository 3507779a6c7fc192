//! The course of every fault: a testbed is started and loaded, something is broken and mended, the judge counts.

use std::time::{Duration, Instant};

use super::beside::Beside;
use super::table::Row;
use crate::cluster::{PATIENCE, Status, eventually};
use crate::failure::ensure;
use crate::load::{Handle, Load, Plan};
use crate::oracle::{self, Kill};
use crate::testbed::provider::INSIDE;
use crate::testbed::stand::{Setup, Stand};
use crate::{Failure, Proof};

/// Callers at once.
const CONNECTIONS: usize = 16;
/// Deliveries accepted before anything is broken, and again after all is mended.
const AROUND: u64 = 1_000;
/// A replica that is so many entries behind under load counts as caught up.
const CLOSE: u64 = 100;

/// A loaded testbed, and what was done to it.
#[derive(Debug)]
pub struct Scene {
    /// The testbed.
    pub stand: Stand,
    /// The load.
    pub load: Handle,
    /// What was sent beside the load.
    pub beside: Beside,
    kills: Vec<Kill>,
    mended: Option<Instant>,
    note: String,
    wrong: Vec<String>,
}

impl Scene {
    /// Notes that from here on owners may change: what is in flight by the cluster's own count may come twice.
    ///
    /// # Errors
    /// When the cluster cannot be counted, which it can before the first blow.
    pub async fn strike(&mut self) -> Proof {
        // Every caller may have one request on its way that the count does not show yet.
        let in_flight = self.stand.cluster.stats().await.map(|stats| stats.pending);
        let before = self.kills.last().map(|kill| kill.in_flight);
        let in_flight = in_flight.map(|pending| pending + CONNECTIONS as u64).or_else(|lost| before.ok_or(lost))?;
        self.kills.push(Kill { at: Instant::now(), in_flight });
        Ok(())
    }

    /// Notes that the fault is taken away: from here on the time to heal counts.
    pub fn mended(&mut self) {
        self.mended = Some(Instant::now());
    }

    /// Adds words to the row.
    pub fn note(&mut self, words: impl AsRef<str>) {
        if !self.note.is_empty() {
            self.note.push_str("; ");
        }
        self.note.push_str(words.as_ref());
    }

    /// Adds to what is wrong unless it holds. The run goes on, so that everything else is judged too.
    pub fn must(&mut self, holds: bool, words: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(words());
        }
    }

    /// Waits until so many more are accepted.
    ///
    /// # Errors
    /// When they are not within three times [`PATIENCE`]: a busy machine is slow, not wrong.
    pub async fn accept_more(&self, count: u64) -> Proof {
        let goal = self.load.accepted() + count;
        eventually("enough is accepted", PATIENCE * 3, async || {
            ensure(self.load.accepted() >= goal, || format!("{} of {goal} are", self.load.accepted()))
        })
        .await
    }

    /// Lets the fault last.
    pub async fn hold(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Waits until nobody takes the node at `index` for a leader.
    ///
    /// # Errors
    /// When a group has no other leader within [`PATIENCE`].
    pub async fn wait_led_by_others(&self, index: usize) -> Proof {
        let gone = self.stand.cluster.nodes[index].id;
        eventually("the others lead every group", PATIENCE, async || {
            let status = self.stand.cluster.status().await?;
            let orphans = status.groups.iter().filter(|group| group.leader.is_none_or(|leader| leader == gone));
            let orphans = orphans.count();
            ensure(orphans == 0, || format!("{orphans} groups have no leader"))
        })
        .await
    }

    /// The index of the node that leads the fewest partitions, and is not `leader`.
    ///
    /// # Errors
    /// When the cluster cannot be asked.
    pub async fn leader_of_fewest(&self) -> Proof<usize> {
        let status = self.stand.cluster.status().await?;
        let led = |id: u64| status.groups.iter().filter(|group| group.leader == Some(id)).count();
        let nodes = self.stand.cluster.nodes.iter().enumerate();
        Ok(nodes.min_by_key(|(_, node)| led(node.id)).map_or(0, |(index, _)| index))
    }

    /// Waits until every node is ready and every replica is there and has caught up.
    async fn wait_whole(&mut self) -> Proof<Duration> {
        let began = self.mended.unwrap_or_else(Instant::now);
        self.stand.cluster.wait_ready().await?;
        eventually("the cluster is whole", PATIENCE, async || whole(&self.stand.cluster.status().await?)).await?;
        Ok(began.elapsed())
    }

    fn logs(&self) -> String {
        let nodes = self.stand.cluster.nodes.iter();
        nodes.map(|node| format!("[node {}]\n{}", node.id, node.log_tail())).collect::<Vec<_>>().join("\n")
    }
}

/// Whether every group has a leader, its replicas, and nobody far behind.
fn whole(status: &Status) -> Proof {
    for group in &status.groups {
        let leader = group.leader.ok_or_else(|| Failure::new(format!("{} has no leader", group.name)))?;
        let (mut have, mut want) = (group.replicas.clone(), group.wanted.clone());
        have.sort_unstable();
        want.sort_unstable();
        ensure(have == want, || format!("{} is on {have:?} instead of {want:?}", group.name))?;
        for replica in have.into_iter().filter(|replica| *replica != leader) {
            let lag = group.lag.get(&replica).copied();
            let close = lag.is_some_and(|lag| lag <= CLOSE);
            ensure(close, || format!("{replica} is {lag:?} entries behind in {}", group.name))?;
        }
    }
    Ok(())
}

/// Runs one fault: `break_it` breaks, holds and mends.
///
/// # Errors
/// When the testbed cannot be run or does not heal; the words hold the ends of the nodes' logs.
pub async fn under_load(setup: Setup, break_it: impl AsyncFnOnce(&mut Scene) -> Proof) -> Proof<Row> {
    let stand = Stand::start(&setup).await?;
    let plan = Plan {
        nodes: stand.cluster.urls(),
        template: "hook".to_owned(),
        receiver: INSIDE.to_owned(),
        connections: CONNECTIONS,
        batch: 1,
        first: 0,
        most: u64::MAX / 2,
        keyed: true,
    };
    let load = Load::start(&stand.cluster.admin, plan);
    let handle = load.handle.clone();
    let (kills, wrong) = (Vec::new(), Vec::new());
    let beside = Beside::default();
    let mut scene = Scene { stand, load: handle, beside, kills, mended: None, note: String::new(), wrong };
    let healed = broken_and_healed(&mut scene, break_it).await;
    scene.load.stop();
    let mut tally = load.finish().await?;
    tally.merge(scene.beside.told());
    let heal = healed.map_err(|failure| Failure::new(format!("{failure}\n{:?}\n{}", tally.codes, scene.logs())))?;
    scene.stand.cluster.wait_drained().await?;
    scene.stand.provider.wait_quiet(Duration::from_secs(1)).await?;
    let seen = scene.stand.provider.seen().await?;
    let mut verdict = oracle::judge(&scene.stand.cluster, &tally, &seen, &scene.kills).await?;
    verdict.wrong.extend(scene.beside.judge(&seen));
    verdict.wrong.append(&mut scene.wrong);
    Ok(Row::new(verdict, &tally, heal, scene.note))
}

async fn broken_and_healed(scene: &mut Scene, break_it: impl AsyncFnOnce(&mut Scene) -> Proof) -> Proof<Duration> {
    scene.accept_more(AROUND).await?;
    break_it(scene).await?;
    let heal = scene.wait_whole().await?;
    scene.accept_more(AROUND).await?;
    Ok(heal)
}
