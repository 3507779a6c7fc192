//! A fourth node asks to join just after the node that leads the most partitions was killed.

use super::course::under_load;
use super::table::Row;
use crate::Proof;
use crate::cluster::Shape;
use crate::testbed::stand::Setup;

/// Runs it.
///
/// # Errors
/// When the testbed cannot be run or does not heal.
pub async fn run() -> Proof<Row> {
    under_load(Setup::default(), async |scene| {
        let spare = scene.stand.start_spare()?;
        let leader = scene.stand.cluster.leader_of_most().await?;
        scene.strike().await?;
        scene.stand.cluster.nodes[leader].kill()?;
        scene.stand.cluster.take_in(&spare).await?;
        scene.stand.cluster.nodes.push(spare);
        scene.wait_led_by_others(leader).await?;
        scene.stand.cluster.nodes[leader].restart()?;
        scene.mended();
        scene.stand.cluster.wait_placed(&Shape::full(3, 8)).await
    })
    .await
}
