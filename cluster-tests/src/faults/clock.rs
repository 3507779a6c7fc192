//! Wall clocks are wrong: of the leader of most partitions, or of two nodes. Nothing may come before its time, a cap, a limit
//! and keys must hold by the provider's clock, and what is sent afterwards must come in time.

use std::time::Duration;

use hyper::Method;

use super::course::{Scene, under_load};
use super::table::Row;
use crate::cluster::{PATIENCE, eventually};
use crate::failure::ensure;
use crate::testbed::stand::Setup;
use crate::{Proof, When};

/// How long all steps take together.
const BENT_FOR: Duration = Duration::from_secs(12);
/// What was sent for later before the clocks were bent is due after so long: while they are bent, and when they are right again.
const LATER: [Duration; 2] = [Duration::from_secs(9), Duration::from_secs(45)];
/// What is sent when the clocks are right again is due after so long.
const SOON: Duration = Duration::from_secs(5);
const HOUR: i64 = 3_600;
/// Longer than a key is remembered.
const DAY: i64 = 25 * HOUR;

/// The seconds by which the first and the second node are off, one step after another.
type Steps = &'static [(i64, i64)];

/// An hour ahead.
pub const AHEAD: Steps = &[(HOUR, 0)];
/// An hour behind.
pub const BEHIND: Steps = &[(-HOUR, 0)];
/// A day ahead.
pub const DAY_AHEAD: Steps = &[(DAY, 0)];
/// Two of three nodes an hour ahead, so that the one that is right is alone.
pub const TWO_AHEAD: Steps = &[(HOUR, HOUR)];
/// No two nodes agree, and every two seconds they disagree in another way.
pub const APART: Steps = &[(HOUR, DAY), (-HOUR, 7), (2, -DAY), (DAY, -3), (-5, HOUR), (30 * DAY, -HOUR)];

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run(steps: Steps) -> Proof<Row> {
    under_load(Setup { bent: true, ..Setup::default() }, async |scene| {
        scene.teach_limits().await?;
        let leader = scene.stand.cluster.leader_of_most().await?;
        let second = scene.stand.others(leader).first().copied().when("finding another node")?;
        let [first, second] = [leader, second].map(|index| scene.stand.cluster.nodes[index].id);
        let bent = scene.stand.bent.clone().when("bending a node")?;
        scene.send_for_later(40, LATER[0], false).await?;
        scene.send_for_later(40, LATER[1], true).await?;
        scene.send_keyed().await?;
        scene.send_capped().await?;
        scene.send_limited(150).await?;
        scene.strike().await?;
        for (one, other) in steps {
            bent.clock(first, *one)?;
            bent.clock(second, *other)?;
            scene.hold(BENT_FOR / u32::try_from(steps.len()).when("counting steps")?).await;
            wrong(scene, leader).await?;
            scene.send_capped().await?;
            scene.send_keyed().await?;
            // Owners may change with each step: who is alone with its clock gives up what it leads.
            scene.strike().await?;
        }
        bent.clock(first, 0)?;
        bent.clock(second, 0)?;
        scene.mended();
        scene.send_capped().await?;
        scene.send_keyed().await?;
        scene.send_for_later(40, SOON, true).await?;
        scene.hold(SOON).await;
        let words = scene.beside.words();
        scene.note(words);
        Ok(())
    })
    .await
}

/// Waits until the node says how far its clock is from that of another one: at least a second, or nothing was bent.
async fn wrong(scene: &Scene, index: usize) -> Proof {
    let url = format!("{}/metrics", scene.stand.cluster.url(index));
    eventually("the node sees that clocks differ", PATIENCE, async || {
        let answer = scene.stand.cluster.admin.call(Method::GET, &url, &[], Default::default()).await;
        let text = answer.when("asking for metrics")?.expect_status(200)?.body;
        let text = String::from_utf8_lossy(&text).into_owned();
        let offsets = text.lines().filter(|line| line.starts_with("tidings_clock_offset_ms{"));
        let offsets = offsets.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        let most = offsets.map(f64::abs).fold(0.0, f64::max);
        ensure(most >= 1_000.0, || format!("the furthest clock is {most} ms off"))
    })
    .await
}
